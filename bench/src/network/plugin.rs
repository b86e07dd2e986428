//! CNI plugins, called as libcni calls them: the reference plugins' chain, and pillbox's own plugin with the same
//! configuration.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::container::{Count, SETTLE, count_case};
use super::host::{Host, Namespace};
use super::trips;
use crate::course::{Course, Line, interleave, lines};
use crate::error::{Context, Result, error};
use crate::figures::Samples;
use crate::runtime::{Cost, is_executable};

/// The cases.
pub const VERBS: [&str; 2] = ["CNI ADD", "CNI DEL"];
/// The reference plugins, one after the other.
pub const CHAIN: &str = "bridge, host-local, portmap, firewall";
/// pillbox as a plugin.
pub const OWN: &str = "pillbox-net";

/// Each of these is a program of its own, and `bridge` calls host-local.
const CHAINED: [&str; 3] = ["bridge", "portmap", "firewall"];

const VERSION: &str = "1.0.0";

/// The name of the network.
const NETWORK: &str = "bench";

/// The interface's name in the container.
const INTERFACE: &str = "eth0";

/// The first address of a network's subnet, which the bridge has.
pub const GATEWAY: &str = "10.90.0.1";

/// Plugins that are called in order for one interface.
pub struct Plugins {
    /// Their name in the report.
    pub name: &'static str,
    folder: PathBuf,
    configurations: Vec<Value>,
}

/// The plugins' part of the conflist.
pub fn configurations() -> Vec<Value> {
    let ranges = json!([[{ "subnet": "10.90.0.0/16" }]]);
    let ipam = json!({ "type": "host-local", "ranges": ranges, "routes": [{ "dst": "0.0.0.0/0" }] });
    vec![
        json!({
            "type": "bridge", "bridge": "cni-bench", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": ipam,
        }),
        json!({ "type": "portmap", "capabilities": { "portMappings": true } }),
        json!({ "type": "firewall" }),
    ]
}

/// The same for pillbox's plugin, which does in one what the chain does.
pub fn own_configurations() -> Vec<Value> {
    let [mut bridge, portmap, _] = configurations().try_into().unwrap_or_default();
    bridge["type"] = json!(OWN);
    bridge["capabilities"] = portmap["capabilities"].clone();
    vec![bridge]
}

impl Plugins {
    /// The reference plugins in a folder.
    ///
    /// # Errors
    /// One of them, or what they need, is not there.
    pub fn reference(folder: &Path) -> Result<Plugins> {
        for name in CHAINED.into_iter().chain(["host-local"]) {
            let program = folder.join(name);
            if !is_executable(&program) {
                return Err(error(format!("{} is missing (containernetworking-plugins)", program.display())));
            }
        }
        crate::runtime::find("iptables").ok_or_else(|| error("iptables is missing"))?;
        Plugins { name: CHAIN, folder: folder.to_path_buf(), configurations: configurations() }.checked()
    }

    /// pillbox, called by its name as a plugin.
    ///
    /// # Errors
    /// It refuses to be one.
    pub fn own(pillbox: &Path, folder: PathBuf) -> Result<Plugins> {
        let program = std::path::absolute(pillbox).context(|| "find pillbox")?;
        let made = fs::create_dir_all(&folder).and_then(|()| symlink(program, folder.join(OWN)));
        made.context(|| format!("make the link {}/{OWN}", folder.display()))?;
        Plugins { name: OWN, folder, configurations: own_configurations() }.checked()
    }

    /// Makes sure that all of them know the version.
    fn checked(self) -> Result<Plugins> {
        for configuration in &self.configurations {
            let answer = self.call("VERSION", configuration, None, "", Path::new(""))?;
            let versions = answer["supportedVersions"].as_array();
            if !versions.into_iter().flatten().any(|version| version == VERSION) {
                let name = &configuration["type"];
                return Err(error(format!("{name}: does not know CNI {VERSION}: {answer}")));
            }
        }
        Ok(self)
    }

    /// Connects a namespace; returns the result of the last plugin.
    pub fn add(&self, id: &str, namespace: &Path) -> Result<Value> {
        let mut result = None;
        for configuration in &self.configurations {
            result = Some(self.call("ADD", configuration, result.as_ref(), id, namespace)?);
        }
        result.ok_or_else(|| error("no plugin"))
    }

    /// Undoes that; `result` is what [`Plugins::add`] has returned.
    pub fn delete(&self, id: &str, namespace: &Path, result: &Value) -> Result<()> {
        let mut configurations = self.configurations.iter().rev();
        configurations.try_for_each(|configuration| {
            self.call("DEL", configuration, Some(result), id, namespace).map(drop)
        })
    }

    /// Counts what the last plugin does for ADD and DEL, as [`trips::count`] does.
    fn count(&self, course: &Course<'_>, id: &str, namespace: &Path) -> Result<Vec<Count>> {
        let mut counts = Vec::new();
        let Some(configuration) = self.configurations.last() else { return Ok(counts) };
        let file = course.scratch.file("input");
        fs::write(&file, input(configuration, None).to_string()).context(|| "write a plugin's input")?;
        for (verb, case) in ["ADD", "DEL"].into_iter().zip(VERBS) {
            let mut command = self.command(verb, configuration, id, namespace);
            command.stdin(File::open(&file).context(|| "open a plugin's input")?);
            if let Some((trips, calls)) = trips::count(&mut command, &course.scratch.file("stderr"))? {
                counts.push(Count { case: count_case(case, self.name), trips, calls });
            }
        }
        Ok(counts)
    }

    fn command(&self, verb: &str, configuration: &Value, id: &str, namespace: &Path) -> Command {
        let mut command = Command::new(self.folder.join(configuration["type"].as_str().unwrap_or_default()));
        command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", id).env("CNI_NETNS", namespace);
        command.env("CNI_IFNAME", INTERFACE).env("CNI_PATH", &self.folder);
        command
    }

    fn call(
        &self,
        verb: &str,
        configuration: &Value,
        result: Option<&Value>,
        id: &str,
        namespace: &Path,
    ) -> Result<Value> {
        let name = configuration["type"].as_str().unwrap_or_default();
        let input = input(configuration, result);
        let mut command = self.command(verb, configuration, id, namespace);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let step = || format!("{name}: {verb}");
        let mut child = command.spawn().context(step)?;
        // Whoever does not read it says why.
        let _ = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(input.to_string().as_bytes()));
        let mut answer = Vec::new();
        child.stdout.take().map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut answer)).context(step)?;
        let mut said = String::new();
        child.stderr.take().map_or(Ok(0), |mut pipe| pipe.read_to_string(&mut said)).context(step)?;
        let ended = child.wait().context(step)?;
        let answer = String::from_utf8_lossy(&answer);
        if !ended.success() {
            let words: Vec<&str> = said.split_whitespace().chain(answer.split_whitespace()).collect();
            return Err(error(format!("{}: {ended}: {}", step(), words.join(" "))));
        }
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&answer).map_err(|_| {
            let begins = answer.lines().next().unwrap_or_default();
            error(format!("{}: the answer is no JSON, but begins with {begins:?}", step()))
        })
    }
}

/// What a plugin reads.
fn input(configuration: &Value, result: Option<&Value>) -> Value {
    let mut input = configuration.clone();
    input["cniVersion"] = json!(VERSION);
    input["name"] = json!(NETWORK);
    let capabilities = input.as_object_mut().and_then(|members| members.remove("capabilities"));
    if capabilities.is_some() {
        let port = json!({ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" });
        input["runtimeConfig"] = json!({ "portMappings": [port] });
    }
    if let Some(result) = result {
        input["prevResult"] = result.clone();
    }
    input
}

/// The versions of the reference plugins and of what they execute, as far as they say it.
pub fn versions(folder: &Path) -> String {
    let first_line = |mut command: Command| -> Option<String> {
        let output = command.stdin(Stdio::null()).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).lines().next().map(str::to_string)
    };
    let mut iptables = Command::new("iptables");
    iptables.arg("--version");
    let versions = [Command::new(folder.join("bridge")), iptables].into_iter().filter_map(first_line);
    versions.collect::<Vec<_>>().join("; ")
}

/// The address in a result, without its prefix.
pub fn address(result: &Value) -> Result<String> {
    let address = result["ips"][0]["address"].as_str().and_then(|text| text.split('/').next());
    address.map(str::to_string).ok_or_else(|| error(format!("no address in the result {result}")))
}

/// Measures ADD and DEL of a namespace, of all plugins, each on a host of its own, and counts what pillbox's does.
pub fn measure(course: &Course<'_>, all: &[&Plugins]) -> Result<(Vec<Line>, Vec<Count>)> {
    eprintln!("bench: CNI plugins …");
    let mut subjects = Vec::new();
    for plugins in all {
        subjects.push((Host::new()?, *plugins));
    }
    let samples = interleave(course.runs, VERBS.len(), &subjects, &mut |(host, plugins), samples| {
        if let Err(error) = once(course, host, plugins, samples) {
            samples[0].add(Err(error));
        }
    });
    let mut counts = Vec::new();
    for (host, plugins) in subjects.iter().filter(|(_, plugins)| plugins.name == OWN) {
        host.enter()?;
        let id = course.id();
        let namespace = Namespace::new(host, course.scratch.file(&id))?;
        counts.extend(plugins.count(course, &id, &namespace.path)?);
    }
    let names: Vec<&str> = all.iter().map(|plugins| plugins.name).collect();
    Ok((lines(&VERBS, &names, samples), counts))
}

fn once(course: &Course<'_>, host: &Host, plugins: &Plugins, samples: &mut [Samples]) -> Result<()> {
    host.enter()?;
    let id = course.id();
    let namespace = Namespace::new(host, course.scratch.file(&id))?;
    let begin = Instant::now();
    let result = plugins.add(&id, &namespace.path);
    let time = begin.elapsed();
    let begin = Instant::now();
    let deleted = result.and_then(|result| {
        samples[0].add(Ok(Cost { time }));
        plugins.delete(&id, &namespace.path, &result)
    });
    let time = begin.elapsed();
    samples[1].add(deleted.map(|()| Cost { time }));
    drop(namespace);
    std::thread::sleep(SETTLE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_plugin_has_the_configuration_of_the_chain_but_for_its_name() {
        let (chain, own) = (configurations(), own_configurations());
        assert_eq!(own.len(), 1);
        assert_eq!((&own[0]["type"], &own[0]["capabilities"]), (&json!(OWN), &chain[1]["capabilities"]));
        for member in ["bridge", "isGateway", "ipMasq", "hairpinMode", "ipam"] {
            assert_eq!(own[0][member], chain[0][member], "{member}");
            assert!(!own[0][member].is_null(), "{member}");
        }
    }

    #[test]
    fn a_plugin_reads_what_it_can_do_as_what_it_is_to_do() {
        let result = json!({ "ips": [{ "address": "10.90.0.2/16" }] });
        let input = input(&configurations()[1], Some(&result));
        assert_eq!((&input["capabilities"], &input["cniVersion"]), (&Value::Null, &json!(VERSION)));
        assert_eq!(input["runtimeConfig"]["portMappings"][0]["hostPort"], 8080);
        assert_eq!(address(&input["prevResult"]).expect("an address"), "10.90.0.2");
        assert!(address(&json!({})).is_err());
    }
}
