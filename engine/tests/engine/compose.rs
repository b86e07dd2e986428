//! docker compose on boxd and, where one can be started, on dockerd: the same commands, and the same that is said.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::boxd::Boxd;
use crate::harness::Room;
use crate::table::{Dockerd, docker};
use crate::{host, networks};

/// Services that need one another, on two networks, with a volume; others with profiles; one that is built and watched.
const PROJECT: &str = r#"name: pro
services:
  db:
    image: base:1
    command: [sh, -c, "echo db is here; sleep 1; touch /ready; exec sleep 1000"]
    stop_signal: KILL
    healthcheck: {test: [CMD, test, -e, /ready], interval: 200ms, retries: 100}
    volumes: [data:/data]
    networks: {back: {aliases: [store]}}
  web:
    image: base:1
    command: [sh, -c, "ping -c 1 -W 5 store >/dev/null && echo found store; echo x >/data/x; exec sleep 1000"]
    stop_signal: KILL
    depends_on: {db: {condition: service_healthy}}
    environment: {A: b}
    ports: ["127.0.0.1:28111:80"]
    volumes: [data:/data]
    networks: [front, back]
  worker:
    image: base:1
    command: [sleep, "1000"]
    stop_signal: KILL
    networks: [back]
  tool:
    image: base:1
    command: [sh, -c, "echo tool ran; exit 4"]
    profiles: [tools]
    networks: [back]
  sick:
    image: base:1
    command: [sleep, "1000"]
    stop_signal: KILL
    healthcheck: {test: [CMD, "false"], interval: 100ms, retries: 1}
    profiles: [sick]
    network_mode: none
  behind:
    image: base:1
    command: [sleep, "1000"]
    depends_on: {sick: {condition: service_healthy}}
    profiles: [sick]
    network_mode: none
  dev:
    build: {context: web}
    image: dev:1
    command: [sleep, "1000"]
    stop_signal: KILL
    profiles: [dev]
    network_mode: none
    develop: {watch: [{action: sync, path: ./web/src, target: /src}]}
networks: {front: {}, back: {}}
volumes: {data: {}}
"#;

/// In this order; the status, and what comes on stdout. How it goes on is said on stderr, in any order.
const COMMANDS: &[(&str, i32, &str)] = &[
    ("docker compose config --services | sort", 0, "db\nweb\nworker"),
    ("docker compose up -d", 0, ""),
    (
        "docker compose ps --format '{{.Service}} {{.State}} {{.Health}}'",
        0,
        "db running healthy\nweb running\nworker running",
    ),
    // web was started behind db's health, and has found it by its other name.
    ("until docker compose logs --no-log-prefix web | grep store; do sleep 0.1; done", 0, "found store"),
    ("docker compose logs db", 0, "db-1 | db is here"),
    ("docker compose exec -T web sh -c 'cat /data/x; echo $A'", 0, "x\nb"),
    ("echo text | docker compose exec -T web cat", 0, "text"),
    ("docker compose exec -T web sh -c 'exit 7'", 7, ""),
    ("docker compose exec -T worker ls /sys/class/net", 0, "eth0\nlo"),
    ("docker compose exec -T web ls /sys/class/net", 0, "eth0\neth1\nlo"),
    ("docker compose exec -T worker ping -c 1 -W 5 web >/dev/null", 0, ""),
    ("docker compose run --rm -T web echo ran", 0, "ran"),
    ("docker compose run --rm -T tool", 4, "tool ran"),
    ("docker compose up --no-log-prefix --exit-code-from tool tool | grep ran", 0, "tool ran"),
    ("docker compose --profile tools ps -a --format '{{.Service}} {{.ExitCode}}' tool", 0, "tool 4"),
    ("docker compose scale worker=3", 0, ""),
    (
        "docker compose ps --format '{{.Name}} {{.State}}' worker",
        0,
        "pro-worker-1 running\npro-worker-2 running\npro-worker-3 running",
    ),
    ("docker compose exec -T web nslookup worker | grep '^Address: [0-9]*[.]' | sort -u | wc -l", 0, "3"),
    ("docker compose exec -T --index 2 worker echo second", 0, "second"),
    ("docker compose up -d --scale worker=1", 0, ""),
    ("docker compose ps --format '{{.Name}} {{.State}}' worker", 0, "pro-worker-1 running"),
    // What has not changed is left alone; what has is made anew, and keeps its name.
    (
        "docker compose ps -q web >before; docker compose up -d; docker compose ps -q web | cmp - before",
        0,
        "",
    ),
    (
        "sed -i 's/A: b/A: c/' compose.yaml; docker compose up -d; docker compose ps -q web | cmp -s - before",
        1,
        "",
    ),
    ("docker compose exec -T web sh -c 'echo $A'", 0, "c"),
    ("docker compose port web 80", 0, "127.0.0.1:28111"),
    ("docker compose top worker | grep -c 'sleep 1000'", 0, "1"),
    (
        "docker compose cp compose.yaml web:/tmp/x; docker compose exec -T web head -n 1 /tmp/x",
        0,
        "name: pro",
    ),
    ("docker compose cp web:/tmp/x back; cmp back compose.yaml", 0, ""),
    ("docker compose pause worker; docker compose ps -a --format '{{.State}}' worker", 0, "paused"),
    ("docker compose unpause worker; docker compose ps -a --format '{{.State}}' worker", 0, "running"),
    ("docker compose restart worker; docker compose ps -a --format '{{.State}}' worker", 0, "running"),
    (
        "docker compose kill worker; docker compose ps -a --format '{{.State}} {{.ExitCode}}' worker",
        0,
        "exited 137",
    ),
    ("docker compose start worker; docker compose ps --format '{{.State}}' worker", 0, "running"),
    (
        "(sleep 1; docker compose kill -s TERM worker; docker compose kill worker) & docker compose wait worker >said; echo $?; grep -o 'exited.*' said",
        0,
        "137\nexited with status code 137",
    ),
    (
        "docker compose start worker; docker compose stop worker; docker compose ps -a --format '{{.State}}' worker",
        0,
        "exited",
    ),
    (
        "docker compose events --json --since 1h --until -1s 2>/dev/null | grep -c '\"action\":\"die\".*\"service\":\"tool\"'",
        0,
        "1",
    ),
    ("docker compose ls --format json | grep -o 'running([0-9])'", 0, "running(2)"),
    ("docker compose volumes --format '{{.Name}}'", 0, "pro_data"),
    ("docker compose stats --no-stream --format '{{.Name}}' | sort", 0, "pro-db-1\npro-web-1"),
    ("docker compose images --format json | grep -c base", 0, "1"),
    ("docker compose rm -f -s worker >&2; docker compose ps -a -q worker", 0, ""),
    // What needs something that does not become healthy is not started.
    (
        "docker compose --profile sick up -d behind 2>&1 | grep -o 'container pro-sick-1 is unhealthy'",
        0,
        "container pro-sick-1 is unhealthy",
    ),
    ("docker compose --profile sick ps -a --format '{{.Service}} {{.State}}' behind", 0, "behind created"),
    ("docker compose --profile dev build -q dev", 0, ""),
    ("docker compose --profile dev up -d dev; docker compose --profile dev exec -T dev cat /src/f", 0, "one"),
    (
        "timeout 40 docker compose --profile dev watch --no-up dev >watch.log 2>&1 & watch=$!; \
         until grep -q 'Watch enabled' watch.log; do sleep 0.1; done; echo two >web/src/f; echo new >web/src/g; \
         until docker compose --profile dev exec -T dev cat /src/f /src/g >now 2>/dev/null && grep -q two now; do sleep 0.2; done; \
         kill $watch; cat now",
        0,
        "two\nnew",
    ),
    ("docker compose --profile '*' down -v", 0, ""),
    (
        "docker ps -aq; docker volume ls -q; docker network ls -q --filter label=com.docker.compose.project=pro",
        0,
        "",
    ),
];

#[test]
fn a_project_on_both_daemons() {
    let Some((room, _alone)) = networks::room() else { return };
    if docker(&room, Path::new("/nonexistent"), "docker compose version").0 != 0 {
        // Debian 12 has none. What it asks is recorded as well.
        return host::lack("docker has no compose");
    }
    for applet in ["false", "test"] {
        let _ = symlink("busybox", room.rootfs().join("bin").join(applet));
    }
    room.tar("rootfs.tar");
    fs::create_dir_all(room.folder.join("web/src")).expect("folder");
    fs::write(room.folder.join("web/Dockerfile"), "FROM base:1\nCOPY src /src\n").expect("file");
    let mut wrong = Vec::new();
    if let Some(dockerd) = Dockerd::start(&room) {
        wrong.extend(differences(&room, "dockerd", &dockerd.socket));
    }
    let boxd = Boxd::start(&room, "compose");
    wrong.extend(differences(&room, "boxd", &boxd.socket));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    room.assert_gone();
}

/// What is not as it should be.
fn differences(room: &Room, daemon: &str, socket: &Path) -> Vec<String> {
    fs::write(room.folder.join("compose.yaml"), PROJECT).expect("file");
    fs::write(room.folder.join("web/src/f"), "one\n").expect("file");
    let _ = fs::remove_file(room.folder.join("web/src/g"));
    assert_eq!(docker(room, socket, "docker import rootfs.tar base:1").0, 0, "import");
    let differs = |(line, status, said): &(&str, i32, &str)| {
        let found = docker(room, socket, line);
        println!("{daemon}: {line}: {found:?}");
        let is_right = (found.0, found.1.trim_end()) == (*status, *said);
        (!is_right).then(|| format!("{daemon}: {line}\n  {found:?}, not {:?}", (status, said)))
    };
    COMMANDS.iter().filter_map(differs).collect()
}
