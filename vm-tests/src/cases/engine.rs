//! box with real limits.

use std::net::TcpStream;
use std::os::unix::fs::lchown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use pillbox_netlink::link::{self, Kind, NewLink};
use pillbox_netlink::{LOOPBACK_INDEX, Socket};

use super::config::Config;
use super::container::wait_until;
use super::expectation::{contains, equal, holds};
use super::{Case, Guest, Need};

/// Where box lies in the guest.
pub const ENGINE: &str = "/usr/bin/box";

const MEMORY: &[Need] = &[Need::Engine, Need::Module("overlay"), Need::Controller("memory")];
const PIDS: &[Need] = &[Need::Engine, Need::Module("overlay"), Need::Controller("pids")];
const CPU: &[Need] = &[Need::Engine, Need::Module("overlay"), Need::Controller("cpu")];
const ALL: &[Need] = &[
    Need::Engine,
    Need::Module("overlay"),
    Need::Controller("memory"),
    Need::Controller("pids"),
    Need::Controller("cpu"),
];

const NETWORKS: &[Need] = &[
    Need::Engine,
    Need::Module("overlay"),
    Need::Module("bridge"),
    Need::Module("veth"),
    Need::Module("nf_tables"),
    Need::Module("nft_chain_nat"),
    Need::Module("nft_ct"),
    Need::Module("nft_fib_inet"),
    Need::Module("nft_fwd_netdev"),
    Need::Module("nft_masq"),
    Need::Module("nft_nat"),
];

const IPVLAN: &[Need] =
    &[Need::Engine, Need::Module("overlay"), Need::Module("dummy"), Need::Module("ipvlan")];

pub const CASES: &[Case] = &[
    Case::new("network_ipvlan_of_box", ipvlan).needs(IPVLAN),
    Case::new("network_of_an_ordinary_user", networks_of_an_ordinary_user).needs(NETWORKS).limit(90),
    Case::new("box_memory_limit_kills", memory_limit_kills).needs(MEMORY),
    Case::new("box_pids_limit", pids_limit).needs(PIDS),
    Case::new("box_cpus", cpus).needs(CPU),
    Case::new("box_stats", stats).needs(ALL),
    Case::new("box_update", update).needs(ALL),
    Case::new("box_restarts_after_out_of_memory", restarts_after_out_of_memory).needs(MEMORY),
    Case::new("box_cgroup_of_monitors", cgroup_of_monitors).needs(PIDS),
];

/// A store in memory and a root file system.
struct Store {
    folder: String,
    rootfs: String,
    /// Who calls box.
    user: u32,
}

impl Store {
    fn new(guest: &Guest) -> Result<Store, String> {
        let bundle = guest.container("box", Config::shell("true"))?.bundle;
        let folder = "/tmp/box".to_string();
        Ok(Store { folder, rootfs: bundle.join("rootfs").display().to_string(), user: 0 })
    }

    /// That of an ordinary user without ranges of ids.
    fn of_user(guest: &Guest) -> Result<Store, String> {
        let store = Store { folder: "/tmp/box-of-user".to_string(), user: 1000, ..Store::new(guest)? };
        std::fs::create_dir_all(&store.folder).map_err(|e| format!("{}: {e}", store.folder))?;
        for path in [&store.folder, &store.rootfs] {
            give_all(Path::new(path), store.user).map_err(|e| format!("{path}: {e}"))?;
        }
        Ok(store)
    }

    /// The status and the output of a command.
    fn call(&self, arguments: &[&str]) -> Result<(i32, String), String> {
        println!("$ box {}", arguments.join(" "));
        let mut command = Command::new(ENGINE);
        command.args(["--data-root", &format!("{}/data", self.folder)]);
        command.args(["--exec-root", &format!("{}/run/pillbox", self.folder)]);
        command.uid(self.user).gid(self.user);
        let output = command.args(arguments).stdin(Stdio::null()).env("PATH", "/bin").output();
        let output = output.map_err(|e| format!("{ENGINE}: {e}"))?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = output.status.code().unwrap_or(-1);
        println!("{stdout}{}=> {status}", String::from_utf8_lossy(&output.stderr));
        Ok((status, stdout))
    }

    /// The output of a command that succeeds, without the last line's end.
    fn must(&self, arguments: &[&str]) -> Result<String, String> {
        match self.call(arguments)? {
            (0, said) => Ok(said.trim_end().to_owned()),
            (status, _) => Err(format!("box {}: status {status}", arguments.join(" "))),
        }
    }

    /// A container that stays, called `one`.
    fn start(&self, flags: &[&str], script: &str) -> Result<(), String> {
        let fixed = ["run", "-d", "--name", "one", "--network", "none"];
        self.must(&[&fixed, flags, &[&self.rootfs, "sh", "-c", script]].concat()).map(drop)
    }

    fn run(&self, flags: &[&str], script: &str) -> Result<(i32, String), String> {
        let fixed = ["run", "--rm", "--network", "none"];
        self.call(&[&fixed, flags, &[&self.rootfs, "sh", "-c", script]].concat())
    }

    fn field(&self, field: &str) -> Result<String, String> {
        self.must(&["inspect", "--format", field, "one"])
    }

    /// A file of the cgroup of `one`.
    fn limit(&self, name: &str) -> Result<String, String> {
        let path = Path::new("/sys/fs/cgroup").join(format!("pillbox-{}", self.field("{{.Id}}")?)).join(name);
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(text.trim_end().to_owned())
    }

    /// Everything is removed.
    fn end(self) -> Result<(), String> {
        self.must(&["rm", "-f", "one"])?;
        equal("containers", self.must(&["ps", "-a", "-q"])?.as_str(), "")?;
        std::fs::remove_dir_all(&self.folder).map_err(|e| format!("{}: {e}", self.folder))
    }
}

/// More than any limit here.
const GREEDY: &str = "dd if=/dev/zero of=/dev/null bs=64M count=1";

fn memory_limit_kills(guest: &Guest) -> Result<(), String> {
    let store = Store::new(guest)?;
    let limit = ["-m", "16m", "--memory-swap", "16m"];
    equal("status", store.run(&limit, &format!("exec {GREEDY}"))?.0, 137)?;
    store.start(&limit, &format!("exec {GREEDY}"))?;
    equal("wait", store.must(&["wait", "one"])?.as_str(), "137")?;
    equal("state", store.field("{{.State.OOMKilled}} {{.State.ExitCode}}")?.as_str(), "true 137")?;
    store.must(&["rm", "one"])?;
    store.start(&limit, "exit 3")?;
    equal("wait", store.must(&["wait", "one"])?.as_str(), "3")?;
    equal("state", store.field("{{.State.OOMKilled}}")?.as_str(), "false")?;
    store.end()
}

fn pids_limit(guest: &Guest) -> Result<(), String> {
    let store = Store::new(guest)?;
    let script = "for i in 1 2 3 4 5 6; do sleep 100 & done; wait";
    let (status, _) = store.run(&["--pids-limit", "4"], script)?;
    holds("the shell cannot fork", status != 0)?;
    store.start(&["--pids-limit", "4"], "sleep 100")?;
    equal("pids.max", store.limit("pids.max")?.as_str(), "4")?;
    store.end()
}

fn cpus(guest: &Guest) -> Result<(), String> {
    let store = Store::new(guest)?;
    let (_, said) = store.run(&["--cpus", "0.5", "--cpu-shares", "512"], "cat /sys/fs/cgroup/cpu.max")?;
    equal("cpu.max", said.as_str(), "50000 100000\n")?;
    store.start(&["--cpus", "0.5"], "sleep 100")?;
    equal("cpu.max", store.limit("cpu.max")?.as_str(), "50000 100000")?;
    store.end()
}

fn stats(guest: &Guest) -> Result<(), String> {
    let store = Store::new(guest)?;
    store.start(&["-m", "64m"], "sleep 100 & sleep 100 & wait")?;
    wait_until("all processes are there", || {
        let said = store.must(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"])?;
        Ok(said == "one 3")
    })?;
    let said = store.must(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.CPUPerc}}"])?;
    contains("the limit", &said, "64MiB")?;
    holds("a share of the processor", said.ends_with('%'))?;
    store.end()
}

fn update(guest: &Guest) -> Result<(), String> {
    let store = Store::new(guest)?;
    store.start(&["-m", "64m", "--pids-limit", "100"], "sleep 100")?;
    equal("memory.max", store.limit("memory.max")?.as_str(), "67108864")?;
    store.must(&[
        "update",
        "-m",
        "32m",
        "--memory-swap",
        "32m",
        "--pids-limit",
        "7",
        "--cpus",
        "0.25",
        "one",
    ])?;
    for (name, expected) in [("memory.max", "33554432"), ("pids.max", "7"), ("cpu.max", "25000 100000")] {
        equal(name, store.limit(name)?.as_str(), expected)?;
    }
    // It is kept for the next start.
    store.must(&["restart", "-t", "0", "one"])?;
    equal("memory.max", store.limit("memory.max")?.as_str(), "33554432")?;
    equal("pids.max", store.limit("pids.max")?.as_str(), "7")?;
    store.end()
}

fn restarts_after_out_of_memory(guest: &Guest) -> Result<(), String> {
    let store = Store::new(guest)?;
    let flags = ["-m", "16m", "--memory-swap", "16m", "--restart", "on-failure:2"];
    store.start(&flags, &format!("exec {GREEDY}"))?;
    wait_until("it is given up", || {
        Ok(store.field("{{.State.Status}} {{.RestartCount}} {{.State.OOMKilled}}")? == "exited 2 true")
    })?;
    store.end()
}

/// Containers over one link have each other, by their names as well.
fn ipvlan(guest: &Guest) -> Result<(), String> {
    let store = Store::new(guest)?;
    let add = || {
        let mut socket = Socket::open()?;
        let dummy = NewLink { up: true, ..NewLink::new("dummy8", Kind::Dummy) };
        socket.request(&[link::add(&dummy)?])
    };
    add().map_err(|e: pillbox_netlink::Error| format!("dummy8: {e}"))?;
    let fixed = ["network", "create", "--driver", "ipvlan", "--opt", "parent=dummy8"];
    store
        .must(&[&fixed[..], &["--subnet", "10.90.8.0/24", "--subnet", "fd00:90:8::/64", "over"]].concat())?;
    let serve = "while :; do echo served | nc -l -p 80; done";
    store.must(&["run", "-d", "--name", "one", "--network", "over", &store.rootfs, "sh", "-c", serve])?;
    let kind = store.must(&["exec", "one", "cat", "/sys/class/net/eth0/address"])?;
    equal(
        "its link's address",
        Ok(kind),
        std::fs::read_to_string("/sys/class/net/dummy8/address")
            .map(|text| text.trim().to_string())
            .map_err(|e| e.to_string()),
    )?;
    let addresses =
        store.field("{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}")?;
    for address in addresses.split(' ').chain(["one"]) {
        let ask = format!("nc {address} 80");
        let fixed = ["run", "--rm", "--network", "over", &store.rootfs];
        // The server is there again a moment after each client.
        wait_until("it answers", || {
            Ok(store.call(&[&fixed[..], &["sh", "-c", &ask]].concat())?.1 == "served\n")
        })?;
    }
    store.must(&["rm", "-f", "one"])?;
    store.must(&["network", "rm", "over"])?;
    let delete = link::delete("dummy8").and_then(|delete| Socket::open()?.request(&[delete]));
    delete.map_err(|e| format!("dummy8: {e}"))?;
    store.start(&[], "true")?;
    store.end()
}

/// Monitors are in a cgroup of their own, which goes with the last one.
fn cgroup_of_monitors(guest: &Guest) -> Result<(), String> {
    let store = Store::new(guest)?;
    for parent in [None, Some("/test-monitors")] {
        let above = format!("/sys/fs/cgroup{}", parent.unwrap_or_default());
        let folder = Path::new(&above).join("box-monitors");
        let monitors =
            || std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines().count();
        let flags: Vec<&str> = parent.iter().flat_map(|parent| ["--cgroup-parent", parent]).collect();
        store.start(&flags, "sleep 1000")?;
        let fixed = ["run", "-d", "--rm", "--name", "two", "--network", "none"];
        store.must(&[&fixed[..], &flags, &[&store.rootfs, "sleep", "1000"]].concat())?;
        equal("monitors", monitors(), 2)?;
        store.must(&["rm", "-f", "two"])?;
        wait_until("the first monitor's end", || Ok(monitors() == 1))?;
        store.must(&["rm", "-f", "one"])?;
        wait_until("the cgroup's end", || Ok(!folder.exists()))?;
        holds("the cgroup above has gone with it", parent.is_none() || !Path::new(&above).exists())?;
    }
    store.start(&[], "true")?;
    store.end()
}

/// Makes a tree a user's.
pub fn give_all(path: &Path, user: u32) -> std::io::Result<()> {
    lchown(path, Some(user), Some(user))?;
    if std::fs::symlink_metadata(path)?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give_all(&entry?.path(), user)?;
        }
    }
    Ok(())
}

/// Bridges, pairs and the packet filter are made in a user namespace; published ports are the host's.
fn networks_of_an_ordinary_user(guest: &Guest) -> Result<(), String> {
    let store = Store::of_user(guest)?;
    let up = link::set_up(LOOPBACK_INDEX).and_then(|up| Socket::open()?.request(&[up]));
    up.map_err(|e| format!("the loopback: {e}"))?;
    store.must(&["network", "create", "net"])?;
    let start = |name: &str, flags: &[&str], script: &str| {
        let fixed = ["run", "-d", "--name", name, "--network", "net"];
        store.must(&[&fixed, flags, &[&store.rootfs, "sh", "-c", script]].concat())
    };
    start("one", &["-p", "127.0.0.1:18080:80"], "while :; do echo served | nc -l -p 80; done")?;
    start("two", &[], "sleep 1000")?;
    wait_until("the published port answers", || {
        let mut text = String::new();
        let stream = TcpStream::connect("127.0.0.1:18080");
        let read = stream.map(|mut stream| std::io::Read::read_to_string(&mut stream, &mut text));
        Ok(read.is_ok() && text == "served\n")
    })?;
    // The server is there again a moment after each client.
    let answers = |command: &[&str]| wait_until("it answers", || Ok(store.call(command)?.1 == "served\n"));
    answers(&["exec", "two", "sh", "-c", "nc one 80"])?;
    answers(&["run", "--rm", "--network", "container:one", &store.rootfs, "sh", "-c", "nc 127.0.0.1 80"])?;
    store.must(&["rm", "-f", "one", "two"])?;
    store.must(&["network", "rm", "net"])?;
    let holder = format!("{}/run/pillbox/.rootless/holder", store.folder);
    holds("the process that held the networks has ended", !Path::new(&holder).exists())
}
