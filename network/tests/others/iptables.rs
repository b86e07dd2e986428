//! Two rules in a chain of iptables.

use crate::host::{LINK, Net, on_a_fresh_host, ruleset, run};

const PROGRAMS: [&str; 2] = ["iptables-nft", "ip6tables-nft"];

/// How iptables shows ours in a chain.
fn ours(chain: &str) -> String {
    let rule = |direction| format!("-A {chain} {direction} {LINK} -m comment --comment pillbox -j ACCEPT\n");
    rule("-i") + &rule("-o")
}

const MISSING: &str = "network net: the rules that let its packets pass are missing in the chains of iptables, or stand \
                       before others': somebody has changed them (pillbox net gc)";

#[test]
fn they_stand_there_before_anybody_lets_it_drop() {
    on_a_fresh_host("iptables::they_stand_there_before_anybody_lets_it_drop", |net: &mut Net| {
        assert_eq!(ruleset(), "");
        net.bring_up();
        for program in PROGRAMS {
            assert_eq!(
                run(&format!("{program} -S FORWARD")),
                format!("-P FORWARD ACCEPT\n{}", ours("FORWARD"))
            );
        }
        let text = ruleset();
        for family in ["ip", "ip6"] {
            let head = format!(
                "table {family} filter {{\n\tcomment \"pillbox\"\n\tchain FORWARD {{\n\t\tcomment \"pillbox\"\n\
                 \t\ttype filter hook forward priority filter; policy accept;\n"
            );
            assert!(text.contains(&head), "{text}");
        }
        net.bring_up();
        assert_eq!(ruleset(), text);
        assert_eq!(net.check(), Vec::<String>::new());
        net.remove();
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn what_others_use_of_ours_stays() {
    on_a_fresh_host("iptables::what_others_use_of_ours_stays", |net: &mut Net| {
        for (used, left) in [
            ("-P FORWARD DROP", "-P FORWARD DROP\n"),
            ("-A FORWARD -i other -j ACCEPT", "-P FORWARD ACCEPT\n-A FORWARD -i other -j ACCEPT\n"),
        ] {
            net.bring_up();
            PROGRAMS.iter().for_each(|program| drop(run(&format!("{program} {used}"))));
            net.remove();
            PROGRAMS.iter().for_each(|program| assert_eq!(run(&format!("{program} -S FORWARD")), left));
            run("nft flush ruleset");
        }
        // The table alone.
        net.bring_up();
        run("iptables-nft -A INPUT -i other -j ACCEPT");
        net.remove();
        let text = ruleset();
        assert!(text.contains("INPUT") && !text.contains("FORWARD"), "{text}");
    });
}

#[test]
fn nothing_of_others_changes() {
    on_a_fresh_host("iptables::nothing_of_others_changes", |net: &mut Net| {
        // What they have; which of the rules in FORWARD ours stand in front of, behind all others.
        let cases: [(&[&str], Option<&str>); 7] = [
            // As administrators leave it.
            (&["-P FORWARD DROP", "-A FORWARD -i other -j ACCEPT"], None),
            (&["-A FORWARD -i other -j ACCEPT", "-A FORWARD -j REJECT"], Some("-A FORWARD -j REJECT")),
            // As dockerd does, with what a user refuses.
            (
                &[
                    "-P FORWARD DROP",
                    "-N DOCKER-USER",
                    "-A DOCKER-USER -p tcp -j DROP",
                    "-A FORWARD -j DOCKER-USER",
                ],
                None,
            ),
            // As ufw does, with a policy and by a rule.
            (&["-P FORWARD DROP", "-N deny", "-A deny -p tcp -j DROP", "-A FORWARD -j deny"], None),
            (
                &[
                    "-N deny",
                    "-A deny -p tcp -j DROP",
                    "-N refuse",
                    "-N all",
                    "-A all -j REJECT",
                    "-A refuse -j all",
                    "-A FORWARD -j deny",
                    "-A FORWARD -j refuse",
                    "-A FORWARD -o other",
                ],
                Some("-A FORWARD -j refuse"),
            ),
            // As kube-proxy does, on a node whose policy is Docker's.
            (
                &[
                    "-P FORWARD DROP",
                    "-N KUBE-PROXY-FIREWALL",
                    "-N KUBE-FORWARD",
                    "-N KUBE-SERVICES",
                    "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
                    "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
                    "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                    "-A FORWARD -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL",
                    "-A FORWARD -j KUBE-FORWARD",
                    "-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES",
                    "-t nat -N KUBE-MARK-MASQ",
                    "-t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000",
                    "-t nat -N KUBE-POSTROUTING",
                    "-t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
                    "-t nat -A KUBE-POSTROUTING -j MASQUERADE",
                    "-t nat -A POSTROUTING -j KUBE-POSTROUTING",
                ],
                None,
            ),
            // Only the host itself is filtered.
            (&["-P INPUT DROP", "-A INPUT -i lo -j ACCEPT"], None),
        ];
        for (commands, refusing) in cases {
            for program in PROGRAMS {
                commands.iter().for_each(|command| drop(run(&format!("{program} {command}"))));
            }
            let before = ruleset();
            net.bring_up();
            for program in PROGRAMS {
                let rules = run(&format!("{program} -S FORWARD"));
                let behind = rules.split_once(&ours("FORWARD")).expect("ours").1;
                match (behind.lines().next(), refusing) {
                    (Some(next), Some(refusing)) => assert!(next.starts_with(refusing), "{rules}"),
                    (next, refusing) => assert_eq!(next, refusing, "{rules}"),
                }
                assert_eq!(run(&format!("{program} -S")).matches("pillbox").count(), 2, "{rules}");
            }
            let with_ours: Vec<_> = ruleset().lines().map(String::from).collect();
            let mut rest = with_ours.iter();
            assert!(before.lines().all(|line| rest.any(|kept| kept == line)), "{before}\n{with_ours:#?}");
            net.bring_up();
            assert_eq!(net.check(), Vec::<String>::new());
            assert_eq!(ruleset().lines().collect::<Vec<_>>(), with_ours);
            net.remove();
            assert_eq!(ruleset(), before);
            run("nft flush ruleset");
        }
    });
}

#[test]
fn what_others_decide_later_is_decided_before_ours() {
    on_a_fresh_host("iptables::what_others_decide_later_is_decided_before_ours", |net: &mut Net| {
        const FIRST: &str = "-A FORWARD -i first -j ACCEPT";
        // Somebody else uses the chain: it is looked at each time.
        PROGRAMS.iter().for_each(|program| drop(run(&format!("{program} {FIRST}"))));
        net.bring_up();
        let order = |rules: &[&str]| {
            PROGRAMS.iter().for_each(|program| {
                let listed = run(&format!("{program} -S FORWARD"));
                let expected: String = rules.iter().map(|rule| format!("{rule}\n")).collect();
                assert_eq!(
                    listed,
                    format!("-P FORWARD ACCEPT\n{expected}").replace("OURS\n", &ours("FORWARD"))
                );
            });
        };
        let each =
            |command: &str| PROGRAMS.iter().for_each(|program| drop(run(&format!("{program} {command}"))));
        // ufw, when it is enabled.
        each("-A FORWARD -o other -j DROP");
        each("-A FORWARD -j DROP");
        order(&[FIRST, "OURS", "-A FORWARD -o other -j DROP", "-A FORWARD -j DROP"]);
        assert_eq!(net.check(), [MISSING]);
        net.bring_up();
        order(&[FIRST, "-A FORWARD -o other -j DROP", "OURS", "-A FORWARD -j DROP"]);
        assert_eq!(net.check(), Vec::<String>::new());
        // dockerd, which puts its own in front.
        each("-N DOCKER-USER");
        each("-I FORWARD -j DOCKER-USER");
        net.bring_up();
        order(&[
            "-A FORWARD -j DOCKER-USER",
            FIRST,
            "-A FORWARD -o other -j DROP",
            "OURS",
            "-A FORWARD -j DROP",
        ]);
        // ufw, when it is told to reject what it does not know: in a chain that is there.
        each("-N reject");
        each("-I FORWARD 2 -j reject");
        net.bring_up();
        order(&[
            "-A FORWARD -j DOCKER-USER",
            "-A FORWARD -j reject",
            FIRST,
            "-A FORWARD -o other -j DROP",
            "OURS",
            "-A FORWARD -j DROP",
        ]);
        each("-A reject -j REJECT");
        assert_eq!(net.check(), [MISSING]);
        std::fs::write("/etc/default/ufw", "DEFAULT_FORWARD_POLICY=REJECT\n").expect("written");
        net.bring_up();
        order(&[
            "-A FORWARD -j DOCKER-USER",
            "OURS",
            "-A FORWARD -j reject",
            FIRST,
            "-A FORWARD -o other -j DROP",
            "-A FORWARD -j DROP",
        ]);
        each("-D FORWARD -j reject");
        // Only one is left.
        each(&format!("-D FORWARD -i {LINK} -m comment --comment pillbox -j ACCEPT"));
        assert_eq!(net.check(), [MISSING]);
        assert_eq!(net.mend(), ["network net: others' chains let its packets pass again"]);
        order(&[
            "-A FORWARD -j DOCKER-USER",
            FIRST,
            "-A FORWARD -o other -j DROP",
            "OURS",
            "-A FORWARD -j DROP",
        ]);
        net.remove();
        order(&["-A FORWARD -j DOCKER-USER", FIRST, "-A FORWARD -o other -j DROP", "-A FORWARD -j DROP"]);
    });
}

#[test]
fn what_somebody_has_flushed_is_seen_and_put_back() {
    on_a_fresh_host("iptables::what_somebody_has_flushed_is_seen_and_put_back", |net: &mut Net| {
        net.bring_up();
        let before = ruleset();
        for command in ["iptables-nft -F FORWARD", "ip6tables-nft -F FORWARD", "nft delete table ip filter"] {
            run(command);
            assert_eq!(net.check(), [MISSING], "{command}");
            assert_eq!(net.mend(), ["network net: others' chains let its packets pass again"], "{command}");
            assert_eq!(net.check(), Vec::<String>::new(), "{command}");
        }
        assert_eq!(ruleset().matches(LINK).count(), before.matches(LINK).count());
        run("nft flush ruleset");
        assert_eq!(net.check(), ["nf_tables: table inet pillbox is missing: somebody has flushed it"]);
        assert_eq!(net.mend(), ["nf_tables: table inet pillbox is there again"]);
        assert_eq!(net.check(), Vec::<String>::new());
        // Where others use the chain, the next command looks each time.
        run("iptables-nft -A FORWARD -i other -j ACCEPT");
        assert_eq!(net.mend(), ["network net: others' chains let its packets pass again"]);
        run("iptables-nft -F FORWARD");
        net.bring_up();
        assert_eq!(net.check(), Vec::<String>::new());
    });
}

#[test]
fn a_table_that_iptables_has_not_made_is_left_alone() {
    on_a_fresh_host("iptables::a_table_that_iptables_has_not_made_is_left_alone", |net: &mut Net| {
        for family in ["ip", "ip6"] {
            run(&format!("nft add table {family} filter"));
            run(&format!(
                "nft add chain {family} filter forward {{ type filter hook forward priority 0 ; }}"
            ));
        }
        let before = ruleset();
        net.bring_up();
        assert_eq!(ruleset(), before);
        assert_eq!(net.check(), Vec::<String>::new());
        net.remove();
        assert_eq!(ruleset(), before);
    });
}
