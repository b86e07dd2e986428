//! Whether the table has all commands of docker's, and what can be asked of boxd alone.

use std::path::Path;

use super::commands::COMMANDS;
use super::{client_version, docker};
use crate::boxd::Boxd;
use crate::harness::Room;
use crate::host;

/// What has no line of its own in the table: another name of a command that has one, or nothing that a daemon is asked for.
const ELSEWHERE: &[(&str, &str)] = &[
    ("docker container ls", "docker ps"),
    ("docker container ", "docker "),
    ("docker image ls", "docker images"),
    ("docker image rm", "docker rmi"),
    ("docker image ", "docker "),
    ("docker system events", "docker events"),
    ("docker system info", "docker info"),
    ("docker builder build", "docker build"),
];

/// Of the client alone.
const OF_THE_CLIENT: &[&str] =
    &["docker context ", "docker manifest ", "docker trust ", "docker stack config"];

/// After these a dockerd would be another one.
const OF_BOXD: &[(&str, &str)] = &[
    (
        "docker swarm init",
        "Error response from daemon: box has no swarms: its containers are on this machine alone",
    ),
    (
        "docker swarm join --token x 127.0.0.1:1",
        "Error response from daemon: box has no swarms: its containers are on this machine alone",
    ),
];

#[test]
fn what_is_asked_of_boxd_alone() {
    let Some(room) = Room::new() else { return };
    if client_version(&room).is_none() {
        return host::skip("docker is not installed");
    }
    let boxd = Boxd::start(&room, "alone");
    for (command, expected) in OF_BOXD {
        let said = docker(&room, &boxd.socket, &format!("exec 2>&1; {command}"));
        assert_eq!(said, (1, (*expected).to_string()), "{command}");
    }
    // The client asks for neither as long as the daemon does not say that it can do them.
    for path in ["/plugins/pull", "/plugins/create", "/containers/one/checkpoints"] {
        let said = boxd.refused("POST", path, None, 501);
        assert!(said.starts_with("box has no "), "{path}: {said}");
    }
}

/// No command of the client's is forgotten.
#[test]
fn the_table_has_all_commands() {
    let Some(room) = Room::new() else { return };
    match client_version(&room) {
        None => return host::skip("docker is not installed"),
        Some(version) if version < 28 => {
            return host::lack("docker is older than 28: its commands are others");
        }
        Some(_) => {}
    }
    let known = |command: &String| {
        let usual = ELSEWHERE
            .iter()
            .find_map(|(name, usual)| Some(format!("{usual}{}", command.strip_prefix(name)?)));
        let is_clients = OF_THE_CLIENT.iter().any(|name| command.starts_with(name));
        is_clients || has_line(command) || usual.is_some_and(|usual| has_line(&usual))
    };
    let all = commands_of_client(&room);
    assert!(all.len() > 100, "{all:?}");
    let missing: Vec<&String> = all.iter().filter(|command| !known(command)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn has_line(command: &str) -> bool {
    let lines = COMMANDS.iter().chain(OF_BOXD.iter().map(|(line, _)| line));
    lines.into_iter().any(|line| format!("{line} ").contains(&format!("{command} ")))
}

/// Those that its help shows, but for those of its plugins.
fn commands_of_client(room: &Room) -> Vec<String> {
    let help = |command: &str| {
        let names = "/Commands:$/ { on = 1; next } /^[A-Z]/ { on = 0 } on && $1 { print $1, $2 }";
        let line = format!("{command} --help 2>/dev/null | awk '{names}'");
        let (_, said) = docker(room, Path::new("/nonexistent"), &line);
        let name = |line: &str| {
            line.split_once(' ').map(|(name, text)| (format!("{command} {name}"), text == "Manage"))
        };
        said.lines().filter_map(name).collect::<Vec<_>>()
    };
    let mut commands = Vec::new();
    for (command, is_group) in help("docker") {
        match is_group {
            // Plugins have a star; buildx has one more command beside its own.
            _ if command.ends_with('*') || command == "docker bake" => {}
            // buildx's own, where there is one.
            true if command == "docker builder" => {
                commands.extend(["build", "prune"].map(|name| format!("{command} {name}")));
            }
            true => commands.extend(help(&command).into_iter().map(|(command, _)| command)),
            false => commands.push(command),
        }
    }
    commands
}
