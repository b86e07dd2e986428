//! The config.json of `runc spec`, changed field by field.

use serde_json::{Map, Value, json};

use crate::systemd::{SUBORDINATE_IDS, USER};

/// The capabilities of the default configuration.
pub const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/// A configuration under construction.
#[derive(Clone)]
pub struct Config(Value);

impl Config {
    /// The output of `runc spec`, without a terminal, for a process with these arguments.
    pub fn new(arguments: &[&str]) -> Config {
        let flags = ["nosuid", "noexec", "nodev"];
        Config(json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": {"uid": 0, "gid": 0},
                "args": arguments,
                "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
                "cwd": "/",
                "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
                "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
                "noNewPrivileges": true
            },
            "root": {"path": "rootfs", "readonly": true},
            "hostname": "container",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                 "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
                {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": flags},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs",
                 "options": ["nosuid", "noexec", "nodev", "ro"]},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                 "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
            ],
            "linux": {
                "resources": {"devices": [{"allow": false, "access": "rwm"}]},
                "namespaces": [
                    {"type": "pid"}, {"type": "network"}, {"type": "ipc"},
                    {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}
                ],
                "maskedPaths": [
                    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"
                ],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
            }
        }))
    }

    /// The same for a shell that runs `script`.
    pub fn shell(script: &str) -> Config {
        Config::new(&["/bin/sh", "-c", script])
    }

    /// Sets the value at a path such as `/linux/resources/pids`; missing objects above it are made.
    pub fn set(mut self, path: &str, value: Value) -> Config {
        let mut place = &mut self.0;
        for key in path.split('/').skip(1) {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[key];
        }
        *place = value;
        self
    }

    /// Appends to the array at a path; a missing one is made.
    pub fn push(mut self, path: &str, value: Value) -> Config {
        match self.0.pointer_mut(path).and_then(Value::as_array_mut) {
            Some(array) => array.push(value),
            None => self = self.set(path, json!([value])),
        }
        self
    }

    /// Removes the entry whose `key` has `value` from the array at a path.
    pub fn without(mut self, path: &str, key: &str, value: &str) -> Config {
        if let Some(array) = self.0.pointer_mut(path).and_then(Value::as_array_mut) {
            array.retain(|entry| entry[key] != value);
        }
        self
    }

    /// Makes the root file system writable.
    pub fn writable(self) -> Config {
        self.set("/root/readonly", json!(false))
    }

    /// Maps container ids from 0 up to the guest's ids from `first` up.
    pub fn mapped(self, first: u32) -> Config {
        let map = json!([{"containerID": 0, "hostID": first, "size": 65536}]);
        let config = self.push("/linux/namespaces", json!({"type": "user"}));
        config.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
    }

    /// Maps what an ordinary user may map: root to the user, the other ids to the user's subordinate ones.
    pub fn of_user(self) -> Config {
        let map = json!([
            {"containerID": 0, "hostID": USER, "size": 1},
            {"containerID": 1, "hostID": SUBORDINATE_IDS, "size": 65536},
        ]);
        let config = self.push("/linux/namespaces", json!({"type": "user"}));
        config.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
    }

    /// The document, with the cgroup that the case will look for unless it has one already.
    pub fn text(self, cgroup: &str) -> String {
        let has_one = self.0["linux"]["cgroupsPath"].is_string();
        let config = if has_one { self } else { self.set("/linux/cgroupsPath", json!(cgroup)) };
        config.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_made_and_taken() {
        let config = Config::new(&["x"]).set("/linux/resources/pids/limit", json!(4)).push("/a/b", json!(1));
        let config = config.without("/linux/namespaces", "type", "cgroup");
        let value: Value = serde_json::from_str(&config.text("/c")).unwrap();
        assert_eq!(value["linux"]["resources"]["pids"]["limit"], 4);
        assert_eq!(value["linux"]["resources"]["devices"][0]["access"], "rwm");
        assert_eq!(value["a"]["b"], json!([1]));
        assert_eq!(value["linux"]["namespaces"].as_array().unwrap().len(), 5);
        assert_eq!(value["linux"]["cgroupsPath"], "/c");
    }
}
