//! Chains of others that drop what is forwarded, and that nobody else can change.

use crate::host::{LINK, Net, on_a_fresh_host, ruleset, run};

fn said(chain: &str) -> String {
    format!("link {LINK}: chain {chain} drops what is forwarded: let it accept packets from and to {LINK}")
}

#[test]
fn those_that_drop_a_bridge_s_packets_are_named() {
    on_a_fresh_host("drops::those_that_drop_a_bridge_s_packets_are_named", |net: &mut Net| {
        let chain = |table: &str, name: &str, policy: &str| {
            run(&format!("nft add table {table}"));
            run(&format!(
                "nft add chain {table} {name} {{ type filter hook forward priority 5 ; policy {policy} ; }}"
            ));
        };
        for (table, policy, rule) in [
            ("inet a", "drop", ""),
            ("ip b", "accept", "counter reject"),
            ("ip6 c", "accept", "drop"),
            // None of these drops everything that a bridge sends.
            ("inet d", "accept", ""),
            ("inet e", "accept", "iifname other drop"),
            ("bridge f", "drop", ""),
            // Somebody knows the bridge.
            ("inet g", "drop", "iifname pbtest0 accept"),
        ] {
            chain(table, "forward", policy);
            if !rule.is_empty() {
                run(&format!("nft add rule {table} forward {rule}"));
            }
        }
        // A user's last word, to which FORWARD leads first.
        for program in ["iptables-nft", "ip6tables-nft"] {
            run(&format!("{program} -N DOCKER-USER"));
            run(&format!("{program} -I FORWARD -j DOCKER-USER"));
        }
        run("iptables-nft -A DOCKER-USER -i other -j ACCEPT");
        run("iptables-nft -A DOCKER-USER -j DROP");
        // It sees no packets.
        chain("inet h", "forward", "drop");
        run("nft add table inet h { flags dormant ; }");
        let before = ruleset();
        net.bring_up();
        let expected = [
            said("inet a forward"),
            said("ip b forward"),
            said("ip filter DOCKER-USER"),
            said("ip6 c forward"),
        ];
        let mut notes: Vec<_> = net.notes.iter().filter(|note| note.contains("drops")).cloned().collect();
        notes.sort();
        assert_eq!(notes, expected);
        let mut problems = net.check();
        problems.sort();
        assert_eq!(problems, expected);
        run("nft insert rule inet a forward iifname pbtest0 accept");
        run("iptables-nft -I DOCKER-USER -i pbtest0 -j ACCEPT");
        assert_eq!(net.check().len(), 2);
        run("nft flush chain inet a forward");
        run("iptables-nft -D DOCKER-USER -i pbtest0 -j ACCEPT");
        net.remove();
        assert_eq!(ruleset(), before);
    });
}
