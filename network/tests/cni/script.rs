//! Plugins of the tests' own: shell scripts that write down how they are called, and answer as they are told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pillbox_network::cni::{Attached, Capabilities, Conflist, Parameters, Programs, execute};
use serde_json::Value;

/// A folder with plugins and what they have written down; removed afterwards.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("pillbox-cni-{}-{test}", std::process::id()));
        fs::create_dir_all(path.join("bin")).unwrap();
        fs::create_dir(path.join("got")).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a program that does only what `text` says.
    pub fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Writes a plugin that notes each call and then does what `text` says.
    pub fn plugin(&self, name: &str, text: &str) {
        let got = self.0.join("got");
        let got = got.display();
        self.program(
            name,
            &format!(
                "cat >{got}/{name}.$CNI_COMMAND.stdin\nenv | sort >{got}/{name}.$CNI_COMMAND.env\n\
                 echo $CNI_COMMAND {name} >>{got}/calls\n{text}"
            ),
        );
    }

    /// Writes a plugin that answers with what it has been given, and its name as one more interface.
    pub fn chained(&self, name: &str) {
        self.plugin(name, &format!("{ADD} echo '{}'", result(name)));
    }

    /// The calls so far, in order: `ADD a, DEL a`.
    pub fn calls(&self) -> String {
        let calls = fs::read_to_string(self.0.join("got/calls")).unwrap_or_default();
        calls.lines().collect::<Vec<_>>().join(", ")
    }

    /// What a plugin has read from stdin.
    pub fn stdin(&self, name: &str, operation: &str) -> Value {
        let text = fs::read(self.0.join(format!("got/{name}.{operation}.stdin"))).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// A plugin's environment, without what its shell adds.
    pub fn environment(&self, name: &str, operation: &str) -> Vec<String> {
        let text = fs::read_to_string(self.0.join(format!("got/{name}.{operation}.env"))).unwrap();
        let is_shells =
            |line: &&str| ["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|name| line.starts_with(name));
        text.lines().filter(|line| !is_shells(line)).map(str::to_string).collect()
    }

    /// Where those plugins are.
    pub fn programs(&self) -> Programs {
        Programs {
            folders: vec![format!("{}/bin", self.0.display())],
            environment: vec!["PATH=/usr/bin:/bin".into()],
            limit: Duration::from_secs(20),
            run: execute,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Shell: only ADD goes on behind it; everything else succeeds.
pub const ADD: &str = "[ $CNI_COMMAND = ADD ] || exit 0;";

/// A result with an interface of that name and an address.
pub fn result(name: &str) -> String {
    format!(
        r#"{{"interfaces":[{{"name":"{name}","sandbox":"/n"}}],"ips":[{{"address":"10.1.0.5/16","interface":0}}]}}"#
    )
}

/// A network `net` of those plugins.
pub fn conflist(version: &str, plugins: &[&str]) -> Conflist {
    let plugins: Vec<String> = plugins.iter().map(|name| format!(r#"{{"type":"{name}"}}"#)).collect();
    let text = format!(r#"{{"cniVersion":"{version}","name":"net","plugins":[{}]}}"#, plugins.join(","));
    Conflist::parse(text.as_bytes()).unwrap()
}

/// A container `c1` with eth0 on that network, in the test's own namespace.
pub fn attached(conflist: Conflist) -> Attached {
    let parameters = Parameters {
        container_id: "c1".into(),
        namespace: "/proc/self/ns/net".into(),
        interface: "eth0".into(),
        args: String::new(),
        capabilities: Capabilities::default(),
    };
    Attached::new(conflist, parameters).unwrap()
}
