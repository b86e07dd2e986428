//! Two rules in a chain of iptables.

use crate::host::{LINK, Net, on_a_fresh_host, ruleset, run};

const PROGRAMS: [&str; 2] = ["iptables-nft", "ip6tables-nft"];

/// How iptables shows ours in a chain.
fn ours(chain: &str) -> String {
    let rule = |direction| format!("-A {chain} {direction} {LINK} -m comment --comment pillbox -j ACCEPT\n");
    rule("-o") + &rule("-i")
}

const MISSING: &str = "network net: the chains of iptables lack the rules that let its packets pass: somebody has flushed \
                       them (pillbox net gc)";

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
        for commands in [
            // As ufw and administrators leave it.
            &["-P FORWARD DROP", "-A FORWARD -i other -j ACCEPT", "-A FORWARD -j REJECT"][..],
            // As dockerd does.
            &["-P FORWARD DROP", "-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-A FORWARD -j DOCKER-USER"],
            // Only the host itself is filtered.
            &["-P INPUT DROP", "-A INPUT -i lo -j ACCEPT"],
        ] {
            for program in PROGRAMS {
                commands.iter().for_each(|command| drop(run(&format!("{program} {command}"))));
            }
            let before = ruleset();
            net.bring_up();
            let chain = if commands.contains(&"-N DOCKER-USER") { "DOCKER-USER" } else { "FORWARD" };
            for program in PROGRAMS {
                let rules = run(&format!("{program} -S"));
                let position = rules.find(&ours(chain)).expect("ours");
                assert_eq!(
                    rules.find(&format!("-A {chain} ")),
                    Some(position),
                    "in front of all others: {rules}"
                );
                assert_eq!(rules.matches("pillbox").count(), 2, "{rules}");
            }
            let with_ours: Vec<_> = ruleset().lines().map(String::from).collect();
            let mut rest = with_ours.iter();
            assert!(before.lines().all(|line| rest.any(|kept| kept == line)), "{before}\n{with_ours:#?}");
            net.remove();
            assert_eq!(ruleset(), before);
            run("nft flush ruleset");
        }
    });
}

#[test]
fn rules_that_are_in_forward_are_enough() {
    on_a_fresh_host("iptables::rules_that_are_in_forward_are_enough", |net: &mut Net| {
        net.bring_up();
        // dockerd, later; ufw, which lets the next command look again.
        for program in PROGRAMS {
            run(&format!("{program} -N DOCKER-USER"));
            run(&format!("{program} -I FORWARD -j DOCKER-USER"));
        }
        std::fs::create_dir("/etc/ufw").expect("a folder");
        std::fs::write("/etc/ufw/ufw.conf", "ENABLED=yes\n").expect("written");
        let before = ruleset();
        net.bring_up();
        assert_eq!(ruleset(), before);
        assert_eq!(net.check(), Vec::<String>::new());
        // Only one is left.
        run(&format!("iptables-nft -D FORWARD -i {LINK} -m comment --comment pillbox -j ACCEPT"));
        assert_eq!(net.check(), [MISSING]);
        net.mend();
        assert_eq!(run("iptables-nft -S DOCKER-USER"), format!("-N DOCKER-USER\n{}", ours("DOCKER-USER")));
        net.remove();
        assert!(!ruleset().contains(LINK));
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
        // ufw and its like, without a word to anybody: the next command looks again.
        run("iptables-nft -F FORWARD");
        std::fs::create_dir("/etc/ufw").expect("a folder");
        std::fs::write("/etc/ufw/ufw.conf", "ENABLED=yes\n").expect("written");
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
