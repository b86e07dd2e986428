//! The program: arguments, environment, user, rights.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::container::capability::Capabilities;
use crate::container::facts::Facts;
use crate::container::options::Options;
use crate::error::{Error, Result};
use crate::ids::IdMaps;
use crate::image::Execution;
use crate::layer::clean;

/// Where programs are looked for, unless the image says it.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub fn compile(
    image: &Execution,
    options: &Options,
    facts: &Facts,
    hostname: &str,
    capabilities: &Capabilities,
) -> Result<Value> {
    let (origin, wanted) = options.user.as_deref().map_or(("USER", &*image.user), |user| ("--user", user));
    let found = facts.accounts.find(wanted);
    let mut account = found.map_err(|error| error.context(format!("{origin} {wanted}")))?;
    facts.accounts.add_groups(&mut account, &options.groups)?;
    let is_squashed = facts.maps.as_ref().is_some_and(IdMaps::is_squashed);
    if is_squashed && (account.uid != 0 || account.gid != 0 || !options.groups.is_empty()) {
        return Err(Error::invalid(format!(
            "--user {}:{}: you have no range of ids, so that root is the only user in containers, without more groups: have one entered in /etc/subuid and /etc/subgid, and newuidmap installed",
            account.uid, account.gid
        )));
    }
    let mut user = json!({"uid": account.uid, "gid": account.gid});
    // With a single id the kernel allows no others.
    if !is_squashed {
        user["additionalGids"] = json!(account.groups);
    }
    let mut process = json!({
        "user": user,
        "args": arguments(image, options)?,
        "env": environment(image, options, hostname),
        "cwd": working_folder(image, options)?,
        // Of another user than root the kernel takes them away at execve; what is bounding a setuid program may get.
        "capabilities": {
            "bounding": capabilities.names(),
            "effective": capabilities.names(),
            "permitted": capabilities.names(),
        },
    });
    // An ordinary user may not take a score back that the session has raised.
    if facts.maps.is_none() || options.limits.oom_score_adj.is_some() {
        process["oomScoreAdj"] = json!(options.limits.oom_score_adj.unwrap_or(0));
    }
    if options.streams.terminal {
        process["terminal"] = json!(true);
        if let Some([height, width]) = options.console_size {
            process["consoleSize"] = json!({"height": height, "width": width});
        }
    }
    if options.rights.no_new_privileges {
        process["noNewPrivileges"] = json!(true);
    }
    if let Some(profile) = &options.rights.apparmor {
        process["apparmorProfile"] = json!(profile);
    }
    if !options.limits.ulimits.is_empty() {
        process["rlimits"] =
            options.limits.ulimits.iter().map(|text| compile_ulimit(text)).collect::<Result<_>>()?;
    }
    Ok(process)
}

/// The entry point and what follows it. An entry point of the command line takes the image's command with it.
pub fn arguments(image: &Execution, options: &Options) -> Result<Vec<String>> {
    let (entrypoint, command) = match options.entrypoint.as_deref() {
        Some("") => (Vec::new(), Vec::new()),
        Some(program) => (vec![program.to_string()], Vec::new()),
        None => (image.entrypoint.clone(), image.cmd.clone()),
    };
    let command = if options.command.is_empty() { command } else { options.command.clone() };
    let arguments = [entrypoint, command].concat();
    match arguments.first() {
        None => Err(Error::invalid("no command: the image names none, so say one behind the image")),
        Some(program) if program.is_empty() => Err(Error::invalid("the command is an empty word")),
        Some(_) => Ok(arguments),
    }
}

/// Docker's order: PATH, HOSTNAME, TERM, the image's, the command line's. Each name stands once, with its last value.
fn environment(image: &Execution, options: &Options, hostname: &str) -> Vec<String> {
    let mut environment = vec![PATH.to_string(), format!("HOSTNAME={hostname}")];
    if options.streams.terminal {
        environment.push("TERM=xterm".to_string());
    }
    // There may be very many.
    let places = environment.iter().enumerate();
    let mut places: HashMap<String, usize> =
        places.map(|(place, variable)| (name_of(variable).to_string(), place)).collect();
    for variable in image.env.iter().chain(&options.environment) {
        match places.get(name_of(variable)) {
            Some(place) => environment[*place] = variable.clone(),
            None => {
                places.insert(name_of(variable).to_string(), environment.len());
                environment.push(variable.clone());
            }
        }
    }
    // A name alone takes a variable away.
    environment.retain(|variable| variable.contains('='));
    environment
}

fn name_of(variable: &str) -> &str {
    variable.split('=').next().unwrap_or(variable)
}

fn working_folder(image: &Execution, options: &Options) -> Result<String> {
    let folder = options.workdir.as_deref().unwrap_or(&image.working_dir);
    match folder {
        "" => Ok("/".to_string()),
        // An image may have one as its author has written it: `/a/../b/`.
        folder if folder.starts_with('/') => Ok(format!("/{}", clean(folder))),
        folder => Err(Error::invalid(format!("--workdir {folder}: must be an absolute path"))),
    }
}

/// `nofile=1024:2048`; -1 is no limit.
///
/// # Errors
/// It is none.
pub fn compile_ulimit(text: &str) -> Result<Value> {
    let wrong = || {
        Error::invalid(format!("--ulimit {text}: must be NAME=SOFT or NAME=SOFT:HARD, as nofile=1024:2048"))
    };
    let (name, values) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let value = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        text => text.parse::<u64>().map_err(|_| wrong()),
    };
    let (soft, hard) = (value(soft)?, value(hard)?);
    if soft > hard {
        return Err(Error::invalid(format!("--ulimit {text}: the soft limit is above the hard one")));
    }
    Ok(json!({"type": format!("RLIMIT_{}", name.to_ascii_uppercase()), "soft": soft, "hard": hard}))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    /// What a variable costs does not depend on how many there are.
    #[test]
    fn many_variables_take_no_longer() {
        let time = |count: usize| {
            let env = (0..count).map(|number| format!("A{number}=value")).collect();
            let image = Execution { env, ..Execution::default() };
            let began = clock_gettime(ClockId::ThreadCPUTime);
            assert_eq!(environment(&image, &Options::default(), "name").len(), count + 2);
            Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - began).expect("a time")
        };
        let best = |count: usize| (0..5).map(|_| time(count)).min().expect("a time");
        let (few, many) = (best(1_000), best(16_000));
        assert!(many < few * 64, "{few:?} {many:?}");
    }
}
