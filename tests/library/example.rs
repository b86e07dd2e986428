// What the examples in the library's documentation need to run: they include this file. As root they run in
// namespaces of their own, with bundles in /srv; otherwise they are left out, which is said.

mod example {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::Command;
    use std::{env, fs};

    use pillbox::{Bundle, Container, CreateOptions, Root, Stdio};
    use serde_json::json;

    /// Set in the process that is in namespaces of its own, to a word that is unique to it.
    const ISOLATED: &str = "PILLBOX_EXAMPLE";

    /// The pid namespace ends with the example, and with it all that the example leaves running.
    const PREPARE: &str = r#"
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup
for folder in /run /srv; do mount -t tmpfs -o mode=755 tmpfs $folder; done
set +e
"$@"
status=$?
for cgroup in /sys/fs/cgroup/test-$PILLBOX_EXAMPLE-*; do
    [ -d "$cgroup" ] && echo 1 >"$cgroup/cgroup.kill" || continue
    tries=50
    until rmdir "$cgroup" 2>/dev/null || [ $((tries -= 1)) = 0 ]; do sleep 0.1; done
done
exit $status"#;

    /// Goes on in namespaces of its own, with the bundles that examples name.
    pub fn prepare() {
        if env::var_os(ISOLATED).is_none() {
            isolate();
        }
        bundle("/srv/hello", "echo hello", false);
        bundle("/srv/web", "sleep 1000", false);
        bundle("/srv/shell", "echo hello", true);
        for folder in ["/srv/store/base", "/srv/store/tools", "/run/hello/upper", "/run/hello/work"] {
            fs::create_dir_all(folder).expect("a folder");
        }
        root_file_system(Path::new("/srv/store/base"));
    }

    fn isolate() {
        if !rustix::process::geteuid().is_root() {
            assert!(env::var_os("PILLBOX_TEST_NO_SKIP").is_none(), "skipped: needs root");
            eprintln!("skipped: an example needs root");
            std::process::exit(0);
        }
        let mut command = Command::new("unshare");
        command.args(["-m", "-p", "-f", "-n", "-i", "-u", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-ec", PREPARE, "sh"]).arg(env::current_exe().expect("this program"));
        command.args(env::args_os().skip(1)).env(ISOLATED, format!("example-{}", std::process::id()));
        panic!("unshare (util-linux): {}", command.exec());
    }

    fn root_file_system(folder: &Path) {
        for name in ["bin", "dev", "proc", "etc"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        fs::copy(busybox.expect("busybox (Debian: busybox-static)"), folder.join("bin/busybox"))
            .expect("busybox");
        for name in ["sh", "sleep", "id"] {
            symlink("busybox", folder.join("bin").join(name)).expect("a link");
        }
        let nginx = folder.join("bin/nginx");
        fs::write(&nginx, "#!/bin/sh\n").expect("a program");
        fs::set_permissions(nginx, fs::Permissions::from_mode(0o755)).expect("a program");
    }

    fn bundle(folder: &str, script: &str, terminal: bool) {
        let path = Path::new(folder);
        root_file_system(&path.join("rootfs"));
        let name = path.file_name().expect("a name").to_string_lossy();
        let config = json!({
            "ociVersion": "1.3.0",
            "process": {
                "args": ["/bin/sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"], "terminal": terminal
            },
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                    "options": ["newinstance", "ptmxmode=0666"]}
            ],
            "linux": {
                "cgroupsPath": format!("/test-{}-{name}", env::var(ISOLATED).expect("prepared")),
                "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "network"}, {"type": "ipc"}]
            }
        });
        fs::write(path.join("config.json"), config.to_string()).expect("config.json");
    }

    fn create(id: &str) -> Container {
        prepare();
        let bundle = Bundle::read(&Path::new("/srv").join(id), None).expect("a bundle");
        let options = CreateOptions::new().stdin(Stdio::Null);
        Container::create(&Root::from_environment(), id, &bundle, options).expect("created")
    }

    /// The container `web`, whose program waits.
    #[allow(dead_code)]
    pub fn created() -> Container {
        create("web")
    }

    /// The container `hello`, whose program ends by itself when it is started.
    #[allow(dead_code)]
    pub fn ending() -> Container {
        create("hello")
    }

    /// The container `web`, whose program runs.
    #[allow(dead_code)]
    pub fn running() -> Container {
        let container = created();
        container.start().expect("started");
        container
    }
}
