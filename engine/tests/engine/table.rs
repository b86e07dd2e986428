//! Docker's commands on boxd and on dockerd, one beside the other: what they print, and with which status they end.
//!
//! `fixtures/docker-table.json` has what dockerd 28.5 makes of them. Where a dockerd can be started it is asked as well, and
//! `PILLBOX_BLESS=1` writes the file anew.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::boxd::Boxd;
use crate::harness::{Room, finish};
use crate::{host, networks};

/// In this order: what one has made the next ones find.
const COMMANDS: &[&str] = &[
    "docker version --format '{{.Server.APIVersion}} {{.Server.Os}}'",
    "docker info --format '{{.OSType}} {{.Swarm.LocalNodeState}}'",
    "docker context ls --format '{{.Name}}'",
    "docker import -c 'CMD [\"sh\"]' -c 'LABEL kind=test' rootfs.tar base:1",
    "docker images --format '{{.Repository}}:{{.Tag}}'",
    "docker image ls -q --filter reference='ba*'",
    "docker image inspect base:1 --format '{{json .Config.Cmd}} {{.Os}} {{json .Config.Labels}} {{.RepoTags}}'",
    "docker image inspect nosuch",
    "docker history --format '{{.Comment}}' base:1",
    "docker tag base:1 other:2",
    "docker tag nosuch other:2",
    "docker save -o saved.tar other:2; tar -tf saved.tar | grep -c blobs/sha256/.",
    "docker rmi other:2",
    "docker load -i saved.tar",
    "docker load -q -i saved.tar",
    "docker image rm other:2",
    "docker rmi nosuch",
    "docker search base",
    "docker push localhost:1/base:1",
    "docker logout localhost:1",
    "docker run --rm base:1 echo hi",
    "docker run --rm base:1 sh -c 'echo out; echo err >&2; exit 3'",
    "echo text | docker run --rm -i base:1 cat",
    "docker run --rm base:1 nosuchcmd",
    "docker run --rm base:1 /etc",
    "docker run --rm --entrypoint /bin/echo base:1 a b",
    "docker run --rm -e A=1 -w /tmp -u 33:34 -h hh base:1 sh -c 'echo $A; pwd; id -u; id -g; hostname'",
    "docker run --rm --read-only base:1 touch /x",
    "docker run --rm --tmpfs /t:size=1m base:1 sh -c 'echo x >/t/x && cat /t/x'",
    "docker run --rm -v $PWD/bind:/b:ro base:1 cat /b/f",
    "docker run --rm --mount type=bind,src=/nonexistent,dst=/b base:1 true",
    "docker run --rm --network none base:1 ls /sys/class/net",
    "docker run --rm --network nosuch base:1 true",
    "docker run --rm --cap-drop ALL base:1 grep CapEff /proc/self/status",
    "docker run --rm --init base:1 true",
    "docker run --nosuchflag base:1",
    "script -qec 'stty rows 31 cols 77; docker run --rm -it base:1 stty size' /dev/null",
    "docker create --name made base:1 echo made",
    "docker create --name made base:1 true",
    "docker start -a made",
    "docker start nosuch",
    "docker run -d --name long --label l=1 base:1 sh -c 'echo one; echo two >&2; trap \"exit 5\" TERM; while :; do sleep 0.1; done'",
    "docker ps --format '{{.Names}} {{.State}} {{.Image}}'",
    "docker ps -a --filter status=exited --format '{{.Names}} {{.Status}}'",
    "docker ps -q --filter label=l=1 --filter name=lo",
    "docker ps --filter nosuch=1",
    "until docker logs long 2>&1 | grep -q two; do sleep 0.1; done; docker logs long 2>&1 | sort",
    "docker logs --tail 1 long 2>&1 | wc -l",
    "docker logs nosuch",
    "docker inspect long --format '{{.State.Status}} {{.Config.Image}} {{.HostConfig.NetworkMode}} {{json .Config.Labels}} {{.RestartCount}}'",
    "docker inspect nosuch",
    "docker exec long sh -c 'echo o; exit 7'",
    "echo data | docker exec -i long cat",
    "docker exec -d long touch /tmp/x",
    "docker exec -e B=2 -w /tmp -u 33 long sh -c 'echo $B; pwd; id -u'",
    "docker exec long nosuchcmd",
    "docker exec nosuch true",
    "docker top long -o comm",
    "docker stats --no-stream --format '{{.Name}}' long",
    "docker cp file long:/tmp/copied",
    "docker cp long:/tmp/copied back && cat back",
    "docker cp long:/tmp/copied - | tar -t",
    "docker cp long:/nosuch .",
    "docker diff made",
    "docker port long",
    "docker rename long longer",
    "docker rename made longer",
    "docker update --restart on-failure:2 longer",
    "docker inspect longer --format '{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}'",
    "docker update --restart no longer",
    "docker pause longer",
    "docker exec longer true",
    "docker ps --filter name=longer --format '{{.State}}'",
    "docker unpause longer",
    "docker unpause longer",
    "docker commit -m words -c 'ENV C=d' longer made:1",
    "docker image inspect made:1 --format '{{.Config.Env}} {{.Comment}}'",
    "docker export longer | tar -t | grep -c tmp/copied",
    "docker rm longer",
    "docker stop -t 5 longer",
    "docker stop longer",
    "docker wait longer",
    "docker kill longer",
    "docker restart -t 1 longer",
    "docker kill -s KILL longer",
    "docker kill -s NOSUCH longer",
    "docker attach longer",
    "docker rm longer made",
    "docker rm nosuch",
    "docker rm -f nosuch",
    "docker run -d --name web -p 127.0.0.1:28090:80 --expose 81 base:1 sleep 1000",
    "docker port web",
    "docker port web 80/tcp",
    "docker run --rm -p 127.0.0.1:28090:80 base:1 true",
    "docker rm -f web",
    "docker run -d --name ill --health-cmd 'exit 1' --health-interval 100ms --health-retries 1 base:1 sleep 1000",
    "until docker inspect ill --format '{{.State.Health.Status}}' | grep unhealthy; do sleep 0.1; done; docker ps --format '{{.Names}} {{.Status}}'",
    "docker rm -f ill",
    "docker volume create --label a=b data",
    "docker volume create data",
    "docker volume ls --format '{{.Name}} {{.Driver}}'",
    "docker volume inspect data --format '{{.Name}} {{.Scope}} {{json .Labels}}'",
    "docker volume inspect nosuch",
    "docker run -d --name user -v data:/d base:1 sleep 1000",
    "docker volume rm data",
    "docker rm -f user",
    "docker volume rm data",
    "docker volume rm nosuch",
    "docker volume create; docker volume prune -f | tail -n 1",
    "docker network create --label n=1 net1",
    "docker network create net1",
    "docker network create --subnet 10.98.0.0/24 net2",
    "docker network create --subnet 10.98.0.0/25 net3",
    "docker network ls --filter name=net --format '{{.Name}} {{.Driver}} {{.Scope}}'",
    "docker network inspect net2 --format '{{.Name}} {{(index .IPAM.Config 0).Subnet}} {{.Internal}}'",
    "docker run -d --name on1 --network net1 --network-alias al base:1 sleep 1000",
    "docker run --rm --network net1 base:1 sh -c 'ping -c 1 -W 2 on1 >/dev/null && ping -c 1 -W 2 al >/dev/null && echo found'",
    "docker network connect --ip 10.98.0.9 net2 on1",
    "docker inspect on1 --format '{{(index .NetworkSettings.Networks \"net2\").IPAddress}}'",
    "docker network disconnect net2 on1",
    "docker network rm net1",
    "docker rm -f on1",
    "docker network rm net1 net2",
    "docker network rm bridge",
    "docker network inspect nosuch",
    "docker network prune -f",
    "DOCKER_BUILDKIT=0 docker build -q -t built:1 context",
    "docker run --rm built:1",
    "DOCKER_BUILDKIT=0 docker build -q -t built:2 broken 2>/dev/null",
    "docker events --since 1h --until 0s --filter container=web --format '{{.Action}}'",
    "docker events --since 1h --until 0s --filter type=volume --filter event=create --format '{{.Type}} {{.Action}}' | sort -u",
    "docker system df --format '{{.Type}}'",
    "docker container prune -f",
    "docker image prune -f | tail -n 1",
    "docker system prune -f --volumes | tail -n 1",
    "docker rmi -f built:1 made:1 >/dev/null; docker images --format '{{.Repository}}:{{.Tag}}'",
    "docker swarm leave",
    "docker service ls",
    "docker node ls",
    "docker secret ls",
    "docker config ls",
    "docker plugin ls --format '{{.Name}}'",
    "docker stack ls",
];

/// What differs on purpose, and why.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "docker save -o saved.tar other:2; tar -tf saved.tar | grep -c blobs/sha256/.",
        "one blob less: Docker's has a file for versions before 1.10",
    ),
    ("docker push localhost:1/base:1", "nothing is said before the registry has answered"),
    ("docker exec long nosuchcmd", "no words of runc's"),
    ("docker container prune -f", "a build that failed leaves no container"),
];

/// The status, and what was printed, with placeholders.
type Said = (i32, String);

#[test]
fn dockers_commands_on_both_daemons() {
    let Some((room, _alone)) = networks::room() else { return };
    let Some(version) = client_version(&room) else { return host::skip("docker is not installed") };
    if version < 28 {
        return host::lack("docker is older than 28: its words are others");
    }
    prepare(&room);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/docker-table.json");
    let live = Dockerd::start(&room).map(|dockerd| run_all(&room, &dockerd.socket));
    if let (Some(live), true) = (&live, std::env::var_os("PILLBOX_BLESS").is_some()) {
        let lines: Vec<String> = COMMANDS
            .iter()
            .map(|command| format!("{}:{}", serde_json::json!(command), serde_json::json!(live[*command])))
            .collect();
        fs::write(&path, format!("{{\n{}\n}}\n", lines.join(",\n"))).expect("the file");
    }
    let text = fs::read_to_string(&path).expect("the file");
    let known: BTreeMap<String, Said> = serde_json::from_str(&text).expect("JSON");
    let boxd = Boxd::start(&room, "table");
    let own = run_all(&room, &boxd.socket);
    let mut wrong = Vec::new();
    println!("| command | dockerd | boxd | |\n|---|---|---|---|");
    for command in COMMANDS {
        let (docker, own) = (&known[*command], &own[*command]);
        let reason = DIFFERENT.iter().find(|(known, _)| known == command).map(|(_, reason)| *reason);
        let verdict = if docker == own { "same" } else { reason.unwrap_or("DIFFERS") };
        println!("| `{}` | {} | {} | {verdict} |", command.replace('|', "\\|"), docker.0, own.0);
        if (docker == own) == reason.is_some() {
            wrong.push(format!("{command}\n  dockerd {docker:?}\n  boxd    {own:?}"));
        }
        if let Some(live) = live.as_ref().map(|live| &live[*command]).filter(|live| *live != docker) {
            wrong.push(format!("{command}\n  dockerd {docker:?}\n  dockerd now {live:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A dockerd of the test's own.
pub struct Dockerd {
    child: Child,
    pub socket: PathBuf,
}

impl Dockerd {
    /// `None` where there is none, or none that starts.
    pub fn start(room: &Room) -> Option<Dockerd> {
        Dockerd::with(room, &[])
    }

    /// The same with more flags.
    pub fn with(room: &Room, flags: &[&str]) -> Option<Dockerd> {
        let socket = room.folder.join("dockerd.sock");
        let folder = room.folder.join("dockerd");
        let log = fs::File::create(room.folder.join("dockerd.log")).expect("log");
        let mut command = Command::new("dockerd");
        command.arg("--host").arg(format!("unix://{}", socket.display()));
        command.arg("--data-root").arg(folder.join("data")).arg("--exec-root").arg(folder.join("exec"));
        command
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .arg("--exec-opt")
            .arg("native.cgroupdriver=cgroupfs");
        command.arg(format!("--cgroup-parent=/test-{}-dockerd", host::run_name())).args(flags);
        let started = command.stdout(Stdio::null()).stderr(log).spawn();
        let Ok(child) = started else {
            host::lack("dockerd is not installed: what it makes of the commands stands in a file");
            return None;
        };
        let mut dockerd = Dockerd { child, socket };
        let began = Instant::now();
        while docker(room, &dockerd.socket, "docker version").0 != 0 {
            let is_over = dockerd.child.try_wait().expect("wait").is_some();
            if is_over || began.elapsed() > Duration::from_secs(40) {
                host::lack("dockerd does not start here: what it makes of the commands stands in a file");
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let version =
            docker(room, &dockerd.socket, "docker version --format '{{.Server.Version}}' | cut -d. -f1").1;
        if version.trim().parse::<u32>().is_ok_and(|version| version >= 28) {
            return Some(dockerd);
        }
        host::lack("dockerd is older than 28: its words are others");
        None
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // It ends its containers, and its containerd.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn client_version(room: &Room) -> Option<u32> {
    let (status, said) =
        docker(room, Path::new("/nonexistent"), "docker --version | tr -dc '0-9.' | cut -d. -f1");
    said.trim().parse().ok().filter(|_| status == 0)
}

/// What the commands need.
fn prepare(room: &Room) {
    for applet in ["grep", "touch", "trap"] {
        let _ = symlink("busybox", room.rootfs().join("bin").join(applet));
    }
    room.tar("rootfs.tar");
    let write = |path: &str, text: &str| {
        let path = room.folder.join(path);
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(path, text).expect("file");
    };
    write("bind/f", "bound\n");
    write("file", "content\n");
    write("context/Dockerfile", "FROM base:1\nCOPY f /f\nRUN echo more >>/f\nCMD [\"cat\", \"/f\"]\n");
    write("context/f", "first\n");
    write("broken/Dockerfile", "FROM base:1\nRUN exit 3\n");
}

fn run_all(room: &Room, socket: &Path) -> BTreeMap<String, Said> {
    COMMANDS.iter().map(|command| ((*command).to_string(), docker(room, socket, command))).collect()
}

pub fn docker(room: &Room, socket: &Path, line: &str) -> Said {
    let mut command = Command::new("timeout");
    command.args(["--foreground", "-k", "1", "60", "sh", "-c", line]).env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", room.folder.join("home"));
    command.env("DOCKER_HOST", format!("unix://{}", socket.display())).stdin(Stdio::null());
    let output = finish(command.current_dir(&room.folder));
    // A terminal of script's shows the end of its own input.
    (output.status, masked(&output.stdout.replace("^@", "")))
}

/// Without ids, times and sizes, and without the columns' blanks.
fn masked(text: &str) -> String {
    let word = |word: &str| {
        let is_id =
            |part: &str| matches!(part.len(), 12 | 64) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = &word[number.len()..];
        let is_size = ["B", "kB", "MB", "GB"].contains(&unit) && number.parse::<f64>().is_ok();
        match word.strip_prefix("sha256:").unwrap_or(word) {
            id if is_id(id) => "ID".to_string(),
            _ if is_size => "SIZE".to_string(),
            _ => word.to_string(),
        }
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    let text = text.lines().map(line).collect::<Vec<_>>().join("\n");
    ["Up", ")"].into_iter().fold(text, without_times)
}

/// `Up 3 seconds` is `Up TIME`, `Exited (0) 3 seconds ago` is `Exited (0) TIME ago`.
fn without_times(text: String, before: &str) -> String {
    const UNITS: [&str; 4] = ["second", "seconds", "minute", "minutes"];
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let unit = words.iter().position(|word| UNITS.contains(word));
        let first = unit.and_then(|unit| words[..unit].iter().rposition(|word| word.ends_with(before)));
        match (first, unit) {
            (Some(first), Some(unit)) => [&words[..=first], &["TIME"], &words[unit + 1..]].concat().join(" "),
            _ => line.to_string(),
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
