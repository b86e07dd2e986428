//! An ordinary user's container, connected by pasta or slirp4netns.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pillbox_netlink::route::{self, Route};
use serde_json::{Value, json};

use crate::harness::{Container, Output, copy_program, processes_naming, skip, wait_for};
use crate::host::{Host, on_a_host};
use crate::inventory::Inventory;
use crate::machine::{Machine, OUTSIDE_4};
use crate::standpoint::{Standpoint, ip};
use crate::traffic::Tcp;

const USER: u32 = 65534;

/// Both programs, of which the test takes those that are installed.
const PROGRAMS: [&str; 2] = ["pasta", "slirp4netns"];

/// A user's container, and the only folder in which the user's programs are looked for.
struct Users<'h> {
    container: Container<'h>,
    tools: PathBuf,
}

impl<'h> Users<'h> {
    fn new(host: &'h Host, program: &Path) -> Users<'h> {
        let mut container = Container::new(&host.runtime);
        let tools = container.folder.join("tools");
        fs::create_dir(&tools).expect("a folder");
        symlink(program, tools.join(program.file_name().expect("a name"))).expect("a link");
        copy_program(&host.runtime.path, &container.folder.join("runtime"));
        let own = [&container.folder, &container.bundle(), &container.rootfs(), &container.state_folder()];
        for path in own {
            chown(path, Some(USER), Some(USER)).expect("chown");
        }
        for entry in fs::read_dir(container.rootfs()).expect("rootfs").flatten() {
            chown(entry.path(), Some(USER), Some(USER)).expect("chown");
        }
        let users = Users { container, tools };
        let mut spec = users.command(&["spec", "--rootless"]);
        users.container.finish(spec.current_dir(users.container.bundle())).ok();
        let written = fs::read(users.container.bundle().join("config.json")).expect("config.json");
        container = users.container;
        container.spec = serde_json::from_slice(&written).expect("JSON");
        container.spec["process"]["terminal"] = json!(false);
        container.spec["process"]["args"] = json!(["/bin/sleep", "1000000"]);
        container.with_namespace("network", None);
        Users { container, ..users }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        let user = USER.to_string();
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
        command.args(["--inh-caps=-all", "--bounding-set=-all"]);
        let Container { folder, .. } = &self.container;
        command.args(["env", "-i"]).arg(format!("PATH={}", self.tools.display()));
        command.arg(format!("XDG_RUNTIME_DIR={}", folder.display())).arg(folder.join("runtime"));
        command.arg("--root").arg(self.container.state_folder()).args(arguments).stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn call(&self, arguments: &[&str]) -> Output {
        self.container.finish(&mut self.command(arguments))
    }

    #[track_caller]
    fn create_and_start(&self, port: &str) {
        self.container.write_spec();
        let (bundle, id) = (self.container.bundle(), &self.container.id);
        let bundle = bundle.to_str().expect("UTF-8");
        self.call(&["create", "--publish", port, "--bundle", bundle, id]).ok();
        self.call(&["start", id]).ok();
    }

    #[track_caller]
    fn state(&self) -> Value {
        let printed = self.call(&["state", &self.container.id]).ok().stdout;
        serde_json::from_str(&printed).expect(&printed)
    }
}

/// A body for each of the programs.
fn with_each_program(host: &Host, body: impl Fn(&Host, &str, &Path)) {
    // A /dev/net/tun that everybody may open, as on other hosts.
    let made = Command::new("sh")
        .args(["-ec", "mount -t tmpfs -o mode=755 tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200"])
        .status();
    assert!(made.expect("sh").success());
    for name in PROGRAMS {
        let folders = ["/usr/bin", "/usr/local/bin"].map(|folder| Path::new(folder).join(name));
        match folders.iter().find(|path| path.exists()) {
            Some(program) => body(host, name, program),
            None => skip(&format!("{name} is not installed")),
        }
    }
}

#[test]
fn a_user_is_connected() {
    on_a_host(|host| {
        let outside = Machine::outside();
        // pasta gives the container the addresses of the link that leads outside.
        let gateway = route::add(&Route::default_via(ip(OUTSIDE_4))).expect("a route");
        Standpoint::Host.socket().request(&[gateway]).expect("a route");
        with_each_program(host, |host, name, program| {
            let users = Users::new(host, program);
            users.create_and_start("8080:80");
            let state = users.state();
            let network = &state["network"][0];
            assert_eq!((&network["network"], &network["interface"]), (&json!(name), &json!("eth0")));
            let addresses = network["addresses"].as_array().unwrap_or_else(|| panic!("{network}"));
            let pid = u32::try_from(state["pid"].as_u64().expect("a pid")).expect("a pid");
            let inside = Standpoint::Of(pid);
            let first = addresses[0].as_str().expect("an address");
            assert!(inside.addresses("eth0").iter().any(|own| own == first), "{network}");
            let _server = inside.serve("it", Tcp, 80);
            let answer = wait_for("an answer", || {
                Some(Standpoint::Host.ask(Tcp, "127.0.0.1:8080"))
                    .filter(|answer| answer.starts_with("it sees "))
            });
            assert!(answer.starts_with("it sees "), "{answer}");
            users.call(&["delete", "--force", &users.container.id]).ok();
            users.container.assert_gone();
            let state = users.container.state_folder();
            wait_for("the program's end", || {
                processes_naming(state.to_str().expect("UTF-8")).is_empty().then_some(())
            });
        });
        drop(outside);
    });
}

#[test]
fn what_a_user_cannot_have_is_named() {
    on_a_host(|host| {
        // Neither of the programs.
        let users = Users::new(host, Path::new("/bin/busybox"));
        users.container.write_spec();
        let before = Inventory::take();
        let refused = |flags: &[&str], why: &str| {
            let bundle = users.container.bundle();
            let arguments = [&["create", "--bundle", bundle.to_str().expect("UTF-8")], flags].concat();
            let output = users.call(&[&arguments[..], &[&users.container.id]].concat());
            assert_eq!((output.code, output.error_lines()), (1, vec![why]), "{flags:?}");
            users.container.assert_gone();
            before.is_back();
        };
        let why = "pillbox: --publish: an ordinary user's container gets a network by pasta or slirp4netns, and neither is in \
                   PATH: install the package passt or slirp4netns; without them there is the host's network, or none";
        refused(&["--publish", "8080:80"], why);
        let netconf = users.container.bundle().join("netconf.json");
        fs::write(&netconf, r#"{"model": {"type": "bridge"}, "interfaces": [{}]}"#).expect("netconf.json");
        let file = netconf.display();
        let why = "an ordinary user can make no links on the host: the model must have the type pasta, which runs in user mode";
        refused(&[], &format!("pillbox: {file}: {why}"));
    });
}
