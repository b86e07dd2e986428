//! Lists that are made of what is known already: whatever was done before, they show what they would show without it.

use std::fs;
use std::time::Duration;

use crate::build::prepare;
use crate::harness::Room;
use crate::numbers::Numbers;

/// So many that what is known of them is worth a file.
const CONTAINERS: usize = 36;

/// What is shown, without what depends on the moment.
fn listed(room: &Room) -> Vec<String> {
    let fields = "{{.ID}} {{.Names}} {{.Image}} {{.Command}} {{.CreatedAt}} {{.Ports}} {{.State}} {{.Labels}} {{.Mounts}} {{.Networks}} {{.LocalVolumes}}";
    let list = |flags: &[&str]| {
        room.call(&[&["ps", "-a", "--no-trunc", "--format", fields], flags].concat()).exits(0).stdout
    };
    let filters =
        ["network=one", "network=two", "volume=kept", "ancestor=base:1", "status=exited", "label=a"];
    let mut lists = vec![list(&[])];
    lists.extend(filters.iter().map(|filter| list(&["--filter", filter])));
    lists.push(
        room.call(&[
            "images",
            "-a",
            "--no-trunc",
            "--format",
            "{{.Repository}} {{.Tag}} {{.ID}} {{.Containers}}",
        ])
        .exits(0)
        .stdout,
    );
    lists
}

fn forget(room: &Room) {
    for name in [".summaries", ".at-rest"] {
        let _ = fs::remove_file(room.data().join("containers").join(name));
    }
}

#[test]
fn lists_are_what_they_would_be_if_nothing_were_known() {
    let Some(room) = Room::new() else { return };
    prepare(&room);
    for name in ["other:1", "always:1"] {
        room.call(&["tag", "base:1", name]).ok();
    }
    room.call(&["volume", "create", "kept"]).ok();
    for name in ["one", "two"] {
        room.call(&["network", "create", name]).ok();
    }
    let make = |name: &str, number: usize| {
        let all = [&["--network", "one"][..], &["-v", "kept:/kept"], &["-l", "a=b"], &["--network", "none"]];
        let image = ["base:1", "other:1", "always:1"][number / 4 % 3];
        room.call(&[&["create", "--name", name], all[number % 4], &[image, "sleep", "1000"]].concat())
    };
    let mut names: Vec<String> = (0..CONTAINERS).map(|number| format!("c{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        make(name, number).exits(0);
    }
    let seed = std::env::var("PILLBOX_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20);
    let rounds =
        std::env::var("PILLBOX_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(40);
    let (mut numbers, mut done) = (Numbers(seed), Vec::new());
    for round in 0..rounds {
        for _ in 0..=numbers.below(3) {
            let place = numbers.below(names.len());
            let name = names[place].clone();
            let fresh = format!("n{round}-{place}");
            let commands: [&[&str]; 15] = [
                &["start", &name],
                &["kill", &name],
                &["rename", &name, &fresh],
                &["rm", "-f", &name],
                &["network", "connect", "two", &name],
                &["network", "disconnect", "two", &name],
                &["network", "disconnect", "-f", "one", &name],
                &["update", "--restart", "no", "--memory", "100m", &name],
                &["tag", "other:1", "base:1"],
                &["commit", &name, "base:1"],
                &["rmi", "-f", "other:1"],
                &["tag", "base:1", "other:1"],
                &["pause", &name],
                &["unpause", &name],
                &["cp", "context", &format!("{name}:/copied")],
            ];
            let command = commands[numbers.below(commands.len())];
            // Some of them cannot be done, as things are.
            let status = room.call(command).status;
            done.push(format!("{} ({status})", command.join(" ")));
            match (command[0], status) {
                ("rename", 0) => names[place] = fresh,
                ("rm", 0) => drop(make(&name, 8 + numbers.below(4)).exits(0)),
                _ => {}
            }
        }
        // What is settled only is kept.
        std::thread::sleep(Duration::from_millis([0, 60][numbers.below(2)]));
        let known = listed(&room);
        let again = listed(&room);
        forget(&room);
        let anew = listed(&room);
        if numbers.below(2) == 0 {
            forget(&room);
        }
        assert!(known == anew && again == anew, "seed {seed}: {}\n{known:#?}\n{anew:#?}", done.join("\n"));
    }
    room.call(&[&["rm", "-f"], &names.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat()).exits(0);
}
