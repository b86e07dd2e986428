//! The same as an ordinary user, with ranges of ids and without.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

use crate::harness::{Room, finish};

/// Of a name in /etc/passwd, which newuidmap(1) wants to know.
pub const USER: u32 = 65_534;
pub const WITHOUT_RANGES: u32 = 12_346;

/// A room of a user who has ranges of ids, or of one who has none.
pub fn room(user: u32) -> Option<Room> {
    static RANGES: Once = Once::new();
    let room = Room::of_user(user)?;
    if !["/usr/bin/newuidmap", "/usr/bin/newgidmap"].iter().all(|path| Path::new(path).exists()) {
        crate::host::skip("newuidmap is not installed");
        return None;
    }
    // In the tests' own mount namespace.
    RANGES.call_once(|| {
        let text = format!("{USER}:100000:65536\n");
        let file = Path::new(crate::host::SCRATCH).join("ranges");
        fs::write(&file, text).expect("file");
        for name in ["/etc/subuid", "/etc/subgid"] {
            rustix::mount::mount_bind(&file, name).expect("bind");
        }
    });
    Some(room)
}

/// The same for tests of other things.
pub fn room_with_ranges() -> Option<Room> {
    room(USER)
}

#[test]
fn a_user_is_root_inside() {
    let Some(room) = room(USER) else { return };
    let script = "id -u; cat /proc/self/uid_map; touch /new; mkdir /other; chown 5:6 /other; chmod 700 /other; stat -c %u:%g /other";
    let said = room.run(&[], &["sh", "-c", script]).ok();
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "65534", "1", "1", "100000", "65536", "5:6"]);
    assert_eq!(room.run(&["-u", "web"], &["sh", "-c", "id -u; id -G"]).ok(), "33\n34 50\n");
    room.run(&[], &["sh", "-c", "exit 7"]).exits(7);
    room.run(&[], &["nonesuch"]).fails(127, "nonesuch");
    // Files of other ids are removed as well.
    room.assert_gone();
}

#[test]
fn owners_of_a_tar_are_kept() {
    let Some(room) = room(USER) else { return };
    fs::create_dir(room.rootfs().join("srv")).expect("folder");
    std::os::unix::fs::chown(room.rootfs().join("srv"), Some(33), Some(34)).expect("chown");
    room.tar("rootfs.tar.gz");
    for _ in 0..2 {
        let said = room.call(&[
            "run",
            "--rm",
            "--network",
            "none",
            "rootfs.tar.gz",
            "stat",
            "-c",
            "%u:%g",
            "/srv",
            "/bin",
        ]);
        assert_eq!(said.ok(), "33:34\n0:0\n");
    }
    let layers = fs::read_dir(room.data().join("layers")).expect("layers").flatten().next().expect("layer");
    assert_eq!(fs::metadata(layers.path().join("fs/srv")).expect("srv").uid(), 100_000 + 32);
    let cut = fs::read(room.folder.join("rootfs.tar.gz")).expect("tar");
    fs::write(room.folder.join("cut.tar.gz"), &cut[..cut.len() / 2]).expect("file");
    room.call(&["run", "--rm", "cut.tar.gz", "true"]).fails(125, "cut.tar.gz: ");
    room.assert_gone();
}

#[test]
fn one_id_is_enough() {
    let Some(room) = room(WITHOUT_RANGES) else { return };
    std::os::unix::fs::chown(room.rootfs().join("tmp"), Some(33), Some(34)).expect("chown");
    room.tar("rootfs.tar");
    let said = room.call(&[
        "run",
        "--rm",
        "--network",
        "none",
        "rootfs.tar",
        "sh",
        "-c",
        "id -u; stat -c %u /tmp; touch /new; echo $?",
    ]);
    assert_eq!(said.stdout, "0\n0\n0\n");
    assert!(said.stderr.contains("no ranges of ids"), "{}", said.stderr);
    let refused =
        room.call(&["run", "--rm", "--network", "none", "-u", "web", "rootfs.tar", "true"]).exits(125);
    assert!(refused.stderr.contains("--user 33:34: you have no range of ids"), "{}", refused.stderr);
    room.assert_gone();
}

#[test]
fn the_hosts_network() {
    let Some(room) = room(USER) else { return };
    room.give_rootfs();
    let said =
        room.call(&["run", "--rm", "--network", "host", "./rootfs", "readlink", "/proc/self/ns/net"]).ok();
    let host = fs::read_link("/proc/self/ns/net").expect("namespace");
    assert_eq!(said.trim(), host.to_string_lossy());
}

#[test]
fn detached() {
    for user in [USER, WITHOUT_RANGES] {
        let Some(room) = room(user) else { return };
        room.give_rootfs();
        let run = [
            "run",
            "-d",
            "--name",
            "web",
            "--network",
            "none",
            "./rootfs",
            "sh",
            "-c",
            "echo out; sleep 1000",
        ];
        room.call(&run).exits(0);
        crate::harness::wait_for("output", || room.call(&["logs", "web"]).stdout == "out\n");
        assert_eq!(room.state("web"), "running");
        assert_eq!(room.call(&["exec", "web", "id", "-u"]).ok(), "0\n");
        room.call(&["exec", "web", "touch", "/new"]).ok();
        room.call(&["stop", "-t", "0", "web"]).ok();
        room.call(&["start", "web"]).ok();
        room.call(&["exec", "web", "stat", "/new"]).exits(0);
        room.call(&["rm", "-f", "web"]).ok();
        room.assert_gone();
    }
}

/// Makes it possible for pasta to reach the tests' host: with a device that the user may open, for it is root's on some machines, and
/// with something to take addresses from, and to listen at. False where there is no pasta.
pub fn open_way_out() -> bool {
    static DEVICE: Once = Once::new();
    if !Path::new("/usr/bin/pasta").exists() || !Path::new("/dev/net/tun").exists() {
        crate::host::skip("pasta or /dev/net/tun is missing");
        return false;
    }
    DEVICE.call_once(|| {
        let node = Path::new(crate::host::SCRATCH).join("tun");
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        let number = rustix::fs::makedev(10, 200);
        rustix::fs::mknodat(rustix::fs::CWD, &node, rustix::fs::FileType::CharacterDevice, mode, number)
            .expect("mknod");
        rustix::fs::chmod(&node, mode).expect("chmod");
        rustix::mount::mount_bind(&node, "/dev/net/tun").expect("bind");
        for line in [
            "link set lo up",
            "link add outside type veth peer name beyond",
            "link set beyond up",
            "address add 198.51.100.7/24 dev outside",
            "link set outside up",
            "route add default via 198.51.100.1",
        ] {
            let done = Command::new("ip").args(line.split(' ')).status().expect("ip");
            assert!(done.success(), "{line}");
        }
    });
    true
}

#[test]
fn a_network_in_user_mode() {
    let Some(room) = room(USER) else { return };
    if !open_way_out() {
        return;
    }
    room.give_rootfs();
    let lonely = ["-n", "--", "timeout"];
    let mut alone = Command::new("unshare");
    let command = room.command(&["run", "--rm", "./rootfs", "true"]);
    alone.args(lonely).args(command.get_args()).current_dir(&room.folder);
    alone.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    finish(&mut alone).fails(125, "without a default route on the host there is no way out");
    let start = [
        "run",
        "-d",
        "--name",
        "served",
        "-p",
        "127.0.0.1:18089:80",
        "./rootfs",
        "sh",
        "-c",
        "while :; do echo hello | nc -l -p 80; done",
    ];
    room.call(&start).exits(0);
    let said = room.call(&["exec", "served", "ls", "/sys/class/net"]).ok();
    assert_eq!(said.split_whitespace().count(), 2, "{said}");
    crate::harness::wait_for("an answer", || {
        let mut text = String::new();
        if let Ok(mut stream) = std::net::TcpStream::connect("127.0.0.1:18089") {
            stream.set_read_timeout(Some(std::time::Duration::from_secs(2))).expect("timeout");
            let _ = std::io::Read::read_to_string(&mut stream, &mut text);
        }
        text == "hello\n"
    });
    room.call(&["network", "connect", "bridge", "served"]).fails(1, "is connected to it already");
    room.call(&["network", "disconnect", "bridge", "served"]).fails(1, "stop it first (box stop served)");
    room.call(&["rm", "-f", "served"]).ok();
    room.call(&["run", "--rm", "--network", "named", "./rootfs", "true"])
        .fails(125, "network named: there is none");
    room.assert_gone();
}

/// A client on another machine: a network namespace with a link to this one.
struct Elsewhere(std::process::Child);

impl Elsewhere {
    /// It has `client`, and this side has `server`, both of one /24.
    fn new(server: &str, client: &str) -> Elsewhere {
        let child = Command::new("unshare").args(["-n", "sleep", "1000"]).spawn().expect("unshare");
        let pid = child.id().to_string();
        let own = || fs::read_link("/proc/self/ns/net").expect("a namespace");
        crate::harness::wait_for("its namespace", || {
            fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|theirs| theirs != own())
        });
        let elsewhere = Elsewhere(child);
        let ip = |line: &str| {
            let done = Command::new("ip").args(line.split(' ')).status().expect("ip");
            assert!(done.success(), "{line}");
        };
        ip(&format!("link add near type veth peer name far netns {pid}"));
        ip(&format!("address add {server}/24 dev near"));
        ip("link set near up");
        for line in [format!("address add {client}/24 dev far"), "link set far up".into()] {
            let mut far = elsewhere.command("ip");
            assert!(far.args(line.split(' ')).status().expect("ip").success(), "{line}");
        }
        elsewhere
    }

    /// A program that runs there.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id())).arg(program);
        command
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // The link goes with the namespace.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_published_port_shows_who_asks() {
    let Some(room) = room(USER) else { return };
    if !open_way_out() {
        return;
    }
    room.give_rootfs();
    let elsewhere = Elsewhere::new("203.0.113.1", "203.0.113.9");
    let serve = "while :; do nc -l -p 80 >/dev/null; done";
    let run = ["run", "-d", "--name", "asked", "-p", "18088:80", "./rootfs", "sh", "-c", serve];
    room.call(&run).exits(0);
    let connect = || {
        let mut client = elsewhere.command("busybox");
        client.args(["nc", "203.0.113.1", "18088"]).stdin(Stdio::piped()).spawn().expect("nc")
    };
    let mut client = connect();
    // 203.0.113.9, as the kernel writes it, also for a socket of both families.
    crate::harness::wait_for("the client's address", || {
        // Who came before the program listened was hung up on.
        if client.try_wait().expect("nc").is_some() {
            client = connect();
        }
        let sockets = room.call(&["exec", "asked", "cat", "/proc/net/tcp", "/proc/net/tcp6"]);
        sockets.ok().contains("097100CB:")
    });
    client.kill().expect("kill");
    client.wait().expect("nc");
    room.call(&["rm", "-f", "asked"]).ok();
    room.assert_gone();
}
