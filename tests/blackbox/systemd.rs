//! `--cgroup-manager=systemd` with a real systemd, which is pid 1 of namespaces of its own and knows only the
//! units below.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Container, copy_program, pillbox_only, skip};

/// Runs $3 as a service of a systemd that has no other services, with a message bus; in the cgroup $1, with
/// its files in $2.
const BOOT: &str = r#"
set -e
(
    echo 0 > "$1/cgroup.procs"
    exec unshare -m -p -f -n -u -i -C --kill-child --propagation private sh -ec '
        umount /sys/fs/cgroup
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        mount -t proc proc /proc
        # One that nothing is mounted over, or the kernel gives no other to user namespaces.
        mkdir "$1/proc"
        mount -t proc proc "$1/proc"
        # It would change settings of the machine there.
        mount --bind /proc/sys /proc/sys
        mount -o remount,bind,ro /proc/sys
        mkdir -p /run/dbus /run/systemd "$1/upper" "$1/work"
        mount -t tmpfs tmpfs /run/dbus
        mount -t tmpfs tmpfs /run/systemd
        mount -t overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" overlay /etc
        echo 0123456789abcdef0123456789abcdef > /etc/machine-id
        export container=other SYSTEMD_UNIT_PATH="$1/units" SYSTEMD_GENERATOR_PATH=/nonexistent
        exec "$2" --system --unit=test.target --log-target=console
    ' sh "$2" "$3"
)
status=$?
find "$1" -mindepth 1 -depth -type d -exec rmdir {} +
exit $status
"#;

const USER: u32 = 65534;

const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// What `script` writes to stdout and stderr as a service of systemd; `$1` is the runtime with its `--root`.
fn with_systemd(container: &Container, script: &str) -> String {
    let folder = container.folder.join("systemd");
    let (units, output) = (folder.join("units"), folder.join("output"));
    fs::create_dir_all(&units).expect("units");
    let unit = |name: &str, text: &str| {
        fs::write(units.join(name), format!("[Unit]\nDefaultDependencies=no\n{text}")).expect("unit");
    };
    unit("test.target", "Wants=case.service\n");
    unit("dbus.socket", "[Socket]\nListenStream=/run/dbus/system_bus_socket\n");
    let bus = "dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation";
    unit(
        "dbus.service",
        &format!("Requires=dbus.socket\nAfter=dbus.socket\n[Service]\nExecStart=/usr/bin/{bus}\n"),
    );
    for name in ["sysinit", "basic", "shutdown", "umount", "final", "exit"] {
        unit(&format!("{name}.target"), "");
    }
    // The same for the systemd of an ordinary user.
    let own = folder.join("user");
    fs::create_dir_all(own.join("units")).expect("user's folder");
    for name in
        ["dbus.socket", "dbus.service", "default.target", "shutdown.target", "exit.target", "basic.target"]
    {
        let of_user = |text: String| {
            text.replace("/run/dbus/system_bus_socket", "%t/bus")
                .replace("--system ", "--session ")
                .replace("case.", "dbus.")
        };
        let text =
            fs::read_to_string(units.join(name)).or_else(|_| fs::read_to_string(units.join("test.target")));
        fs::write(own.join("units").join(name), of_user(text.expect("unit"))).expect("unit");
    }
    chown(&own, Some(USER), Some(USER)).expect("chown");
    let environment = format!(
        "XDG_RUNTIME_DIR={0} HOME={0} SYSTEMD_UNIT_PATH={0}/units SYSTEMD_GENERATOR_PATH=/nonexistent",
        own.display()
    );
    unit(
        "user.service",
        &format!(
            "[Service]\nType=notify\nUser={USER}\nDelegate=yes\nEnvironment={environment}\nExecStart={SYSTEMD} --user\n"
        ),
    );
    fs::write(folder.join("script"), script).expect("script");
    let runtime =
        format!("{} --root {}", container.runtime.path.display(), container.state_folder().display());
    unit(
        "case.service",
        &format!(
            "Requires=dbus.socket dbus.service\nAfter=dbus.socket dbus.service\nSuccessAction=exit-force\nFailureAction=exit-force\n\
             [Service]\nType=oneshot\nTimeoutStartSec=15\nWorkingDirectory={}\nStandardOutput=file:{}\nStandardError=inherit\n\
             ExecStart=/bin/sh {}/script \"{runtime}\" {}\n",
            container.bundle().display(),
            output.display(),
            folder.display(),
            container.id
        ),
    );
    fs::create_dir(container.cgroup()).expect("cgroup");
    let mut boot = Command::new("sh");
    boot.args(["-ec", BOOT, "sh"]).arg(container.cgroup()).arg(&folder).arg(SYSTEMD);
    let ended = container.finish(&mut boot);
    fs::read_to_string(&output).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

fn has_systemd() -> bool {
    let has =
        [SYSTEMD, "/usr/bin/dbus-daemon", "/usr/bin/systemctl"].iter().all(|path| Path::new(path).exists());
    if !has {
        skip("no systemd or no dbus-daemon: apt-get install systemd dbus");
    }
    has
}

#[test]
fn a_container_is_a_scope_of_systemds() {
    pillbox_only(|runtime| {
        if !has_systemd() {
            return;
        }
        let mut container = Container::sh(runtime, "trap 'exit 0' TERM; while :; do sleep 0.05; done");
        container.spec["linux"]["cgroupsPath"] = json!(format!("a-b.slice:p:{}", container.id));
        container.spec["annotations"] = json!({"org.systemd.property.TimeoutStopSec": "7"});
        container.write_spec();
        let said = with_systemd(
            &container,
            r#"
            unit=p-$2.scope
            $1 --systemd-cgroup create --pid-file pid "$2" > created 2>&1 < /dev/null; echo "create $?"; cat created
            $1 start "$2"; echo "start $?"
            echo "in $(grep ^0:: /proc/$(cat pid)/cgroup)"
            systemctl show $unit -p ActiveState -p Slice -p Delegate -p TimeoutStopUSec -p DefaultDependencies
            systemctl daemon-reload; echo "reload $?"
            echo "processes $(wc -l < /sys/fs/cgroup/a.slice/a-b.slice/$unit/cgroup.procs)"
            $1 delete --force "$2"; echo "delete $?"
            echo "left $(systemctl list-units --all --no-legend $unit) $(find /sys/fs/cgroup -name $unit)"
            "#,
        );
        let scope = format!("p-{}.scope", container.id);
        for line in [
            "create 0",
            "start 0",
            &format!("in 0::/a.slice/a-b.slice/{scope}"),
            "ActiveState=active",
            "Slice=a-b.slice",
            "Delegate=yes",
            "TimeoutStopUSec=7s",
            "DefaultDependencies=no",
            "reload 0",
            "delete 0",
            "left  ",
        ] {
            assert!(said.lines().any(|said| said.trim_end() == line.trim_end()), "{line:?}: {said}");
        }
        let processes = said.lines().find_map(|line| line.strip_prefix("processes ")).expect("processes");
        assert!(matches!(processes, "1" | "2"), "the shell, and perhaps its sleep: {said}");
    });
}

#[test]
fn a_unit_that_runs_is_not_taken_over() {
    pillbox_only(|runtime| {
        if !has_systemd() {
            return;
        }
        let mut container = Container::sh(runtime, "exit 5");
        container.spec["linux"]["cgroupsPath"] = json!(format!(":p:{}", container.id));
        container.write_spec();
        let said = with_systemd(
            &container,
            r#"
            $1 --systemd-cgroup run "$2" < /dev/null; echo "run $?"
            $1 --systemd-cgroup create "$2" > /dev/null 2>&1 < /dev/null; echo "create $?"
            # Another folder of state, which does not know of the first one.
            $1-other --systemd-cgroup create "$2" < /dev/null; echo "again $?"
            $1 delete "$2"; echo "delete $?"
            $1 --systemd-cgroup run "$2" < /dev/null; echo "run anew $?"
            echo "left $(find /sys/fs/cgroup -name "p-$2.scope")"
            "#,
        );
        for line in ["run 5", "create 0", "again 1", "delete 0", "run anew 5", "left"] {
            assert!(said.lines().any(|said| said.trim_end() == line), "{line:?}: {said}");
        }
    });
}

/// Called from a process in the user's part of the hierarchy, and from one in the system's.
#[test]
fn a_users_container_is_a_scope_of_their_systemds() {
    pillbox_only(|runtime| {
        if !has_systemd() {
            return;
        }
        let container = Container::new(runtime);
        for path in [&container.bundle(), &container.rootfs(), &container.state_folder()] {
            chown(path, Some(USER), Some(USER)).expect("chown");
        }
        let program = container.folder.join("runtime");
        copy_program(&container.runtime.path, &program);
        let said = with_systemd(
            &container,
            r#"
            systemctl start user.service; echo "manager $?"
            folder=$(dirname "$PWD")
            export XDG_RUNTIME_DIR=$folder/systemd/user
            pillbox="$folder/runtime --root $folder/state --cgroup-manager=systemd"
            as_user="setpriv --reuid 65534 --regid 65534 --clear-groups"
            cat > use <<END
            $pillbox create --pid-file pid $2 < /dev/null; echo "\$1 create \$?"
            $pillbox start $2; echo "\$1 start \$?"
            echo "\$1 in \$(grep ^0:: /proc/\$(cat pid)/cgroup)"
            $pillbox delete --force $2; echo "\$1 delete \$?"
            echo "\$1 left \$(systemctl --user list-units --all --no-legend pillbox-$2.scope)"
END
            $as_user $pillbox spec --rootless
            sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"sleep", "1000"/' config.json
            $as_user systemd-run --quiet --user --scope sh use within
            $as_user sh use outside
            # It would wait for units that it does not know.
            systemctl kill --signal=KILL user.service
            "#,
        );
        assert!(said.contains("manager 0\n"), "{said}");
        let cgroup = format!("0::/system.slice/user.service/user.slice/pillbox-{}.scope", container.id);
        for place in ["within", "outside"] {
            for line in ["create 0", "start 0", &format!("in {cgroup}"), "delete 0", "left"] {
                let line = format!("{place} {line}");
                assert!(said.lines().any(|said| said.trim_end() == line), "{line:?}: {said}");
            }
        }
    });
}

#[test]
fn without_a_bus_nothing_is_made() {
    pillbox_only(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["linux"]["cgroupsPath"] = json!(format!(":p:{}", container.id));
        container.write_spec();
        let bundle = container.bundle().to_str().expect("path").to_string();
        for flags in
            [&["--cgroup-manager=systemd"][..], &["--systemd-cgroup"], &["--cgroup-manager", "systemd"]]
        {
            let mut command = container.command(flags);
            command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus");
            let output = container.finish(command.args(["run", "--bundle", &bundle, &container.id]));
            let output = output.fails_with("systemd cannot be reached").fails_with("/nonexistent/bus");
            assert_eq!(output.error_lines().len(), 1, "{output:?}");
        }
        container.assert_gone();
        // Turned off, the annotation has no effect.
        container.spec["linux"]["cgroupsPath"] = json!(format!("/{}", container.id));
        container.write_spec();
        let output = container.finish(container.command(&["--systemd-cgroup=false"]).args([
            "run",
            "--bundle",
            &bundle,
            &container.id,
        ]));
        output.ok();
    });
}

/// A bus that accepts the connection and never answers.
#[test]
fn a_silent_bus_is_not_waited_for_without_end() {
    pillbox_only(|runtime| {
        let mut container = Container::new(runtime);
        container.spec["linux"]["cgroupsPath"] = json!(format!(":p:{}", container.id));
        container.write_spec();
        let bundle = container.bundle().to_str().expect("path").to_string();
        let socket = container.folder.join("bus");
        let _listener = UnixListener::bind(&socket).expect("socket");
        let mut command =
            container.command(&["--systemd-cgroup", "create", "--bundle", &bundle, &container.id]);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", socket.display()));
        let started = Instant::now();
        let output = container.finish(&mut command).fails_with("no answer within 10 s");
        assert_eq!(output.error_lines().len(), 1, "{output:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{output:?}");
        container.assert_gone();
    });
}

#[test]
fn a_cgroups_path_for_cgroupfs_is_refused() {
    pillbox_only(|runtime| {
        let container = Container::new(runtime);
        container.write_spec();
        let bundle = container.bundle().to_str().expect("path").to_string();
        let mut command = container.command(&["--systemd-cgroup", "run", "--bundle", &bundle, &container.id]);
        container.finish(&mut command).fails_with("must be SLICE:PREFIX:NAME");
        container.assert_gone();
    });
}
