//! iptables-legacy, whose tables nobody else sees. Where the kernel has none there is nothing that they could drop.

use std::path::Path;

use crate::host::{LINK, Net, on_a_fresh_host, run};

const PROGRAMS: [&str; 2] = ["iptables-legacy", "ip6tables-legacy"];

/// Runs a command of iptables-legacy and of ip6tables-legacy.
fn both(command: &str) {
    PROGRAMS.iter().for_each(|program| drop(run(&format!("{program} {command}"))));
}

fn refused(program: &str) -> String {
    format!(
        "link {LINK}: chain FORWARD of {program} drops what is forwarded: let it accept packets from and to {LINK} \
         ({program} -I FORWARD -i {LINK} -j ACCEPT; {program} -I FORWARD -o {LINK} -j ACCEPT)"
    )
}

#[test]
fn only_what_it_drops_is_refused() {
    on_a_fresh_host("legacy::only_what_it_drops_is_refused", |net: &mut Net| {
        net.bring_up();
        net.remove();
        if !Path::new("/proc/net/ip_tables_names").exists()
            || !Path::new("/proc/net/ip6_tables_names").exists()
        {
            return;
        }
        for harmless in ["-S", "-P INPUT DROP", "-A FORWARD -p tcp -j DROP", "-A FORWARD -i other -j REJECT"]
        {
            both(harmless);
            net.bring_up();
            assert_eq!(net.check(), Vec::<String>::new(), "{harmless}");
            net.remove();
        }
        both("-F FORWARD");
        for (harm, undo) in [
            ("-P FORWARD DROP", "-P FORWARD ACCEPT"),
            ("-A FORWARD -j DROP", "-D FORWARD -j DROP"),
            ("-A FORWARD -j REJECT", "-D FORWARD -j REJECT"),
        ] {
            for program in PROGRAMS {
                run(&format!("{program} {harm}"));
                assert_eq!(net.refused(), refused(program), "{harm}");
                // What the error names is enough.
                run(&format!("{program} -I FORWARD -i {LINK} -j ACCEPT"));
                run(&format!("{program} -I FORWARD -o {LINK} -j ACCEPT"));
                net.bring_up();
                assert_eq!(net.check(), Vec::<String>::new(), "{harm}");
                run(&format!("{program} -D FORWARD -i {LINK} -j ACCEPT"));
                run(&format!("{program} -D FORWARD -o {LINK} -j ACCEPT"));
                assert_eq!(net.check(), [refused(program)], "{harm}");
                net.remove();
                run(&format!("{program} {undo}"));
            }
        }
        // A chain that FORWARD leads to.
        both("-N MORE");
        both("-A MORE -p udp -j ACCEPT");
        both("-A FORWARD -j MORE");
        net.bring_up();
        net.remove();
        both("-A MORE -j DROP");
        assert_eq!(net.refused(), refused(PROGRAMS[0]));
    });
}
