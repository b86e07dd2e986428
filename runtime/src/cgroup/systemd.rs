//! cgroups through systemd: a container's cgroup is a transient scope, or slice, that systemd makes and
//! manages.
//!
//! A scope needs a process to begin with. It gets one that only waits: init is then cloned into the scope's
//! cgroup as into any other, after limits and the device filter are set, and never has to be moved. If init
//! itself were moved, limits and filter would come too late; if the scope began with the runtime's pid, the
//! runtime would be moved.
//!
//! Source: org.freedesktop.systemd1(5).

#[cfg(test)]
#[path = "../../../dbus/tests/bus/fake_bus.rs"]
mod fake_bus;
mod properties;
#[cfg(test)]
mod tests;
mod unit;
mod variant;

use pillbox_dbus::{Bus, Call, CallError, Value};

use super::CgroupPath;
use super::bus::{self, word_call};
use crate::error::{Context, Error, Kind, Result};
use crate::resources::FileWrite;
use crate::sys::surroundings;

pub use properties::{Property, compile as compile_properties, of_limits};
pub use unit::Unit;

const DESTINATION: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const JOB_REMOVED: &str = "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',\
                           interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";

/// Which systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// The system's: process 1.
    System,
    /// The calling user's own.
    User,
}

impl Manager {
    /// The system's for root, the user's own for others, including users who are root only in a user
    /// namespace.
    pub fn of_caller() -> Manager {
        let own_namespace = std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !is_initial(&map));
        if !rustix::process::geteuid().is_root() || own_namespace && user_bus().is_some() {
            Manager::User
        } else {
            Manager::System
        }
    }

    /// The slice of units that name none.
    pub fn default_slice(self) -> &'static str {
        match self {
            Manager::System => "system.slice",
            Manager::User => "user.slice",
        }
    }

    fn bus(self) -> Result<String> {
        match self {
            Manager::System => {
                Ok(surroundings::system_bus().unwrap_or("unix:path=/run/dbus/system_bus_socket").to_string())
            }
            Manager::User => user_bus().ok_or_else(|| {
                Error::new(
                    "the user's D-Bus is unknown: set DBUS_SESSION_BUS_ADDRESS, or XDG_RUNTIME_DIR to the folder of its socket `bus`",
                )
            }),
        }
    }
}

/// The map of the initial user namespace maps every id to itself: user_namespaces(7).
fn is_initial(map: &str) -> bool {
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

fn user_bus() -> Option<String> {
    let (address, folder) = surroundings::session_bus();
    address.map(str::to_string).or_else(|| {
        let socket = folder?.join("bus");
        Some(format!("unix:path={}", escape(socket.to_str()?)))
    })
}

/// Escapes a value in a server address: "Server Addresses" in the D-Bus specification.
fn escape(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/.\\*".contains(&byte);
    let escaped = path
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") });
    escaped.collect()
}

/// A connection to systemd.
#[derive(Debug)]
pub struct Systemd {
    bus: Bus,
}

impl Systemd {
    /// Connects to the manager through its bus.
    ///
    /// # Errors
    /// There is no answer; the error says what may help.
    pub fn connect(manager: Manager) -> Result<Systemd> {
        let bus = manager.bus().and_then(|address| bus::connect(&address));
        let bus = bus.context(|| "--cgroup-manager=systemd: systemd cannot be reached (cgroupfs needs none)");
        Ok(Systemd { bus: bus.map_err(|error| error.or_kind(Kind::Cgroup))? })
    }

    fn call(&mut self, member: &str, body: &[Value]) -> std::result::Result<Vec<Value>, CallError> {
        self.bus.call(&Call { destination: DESTINATION, path: PATH, interface: MANAGER, member, body })
    }

    /// The cgroup of the manager, below which its units are; empty for the root.
    pub fn control_group(&mut self) -> Result<String> {
        let body = [Value::text(MANAGER), Value::text("ControlGroup")];
        let interface = "org.freedesktop.DBus.Properties";
        let call = Call { destination: DESTINATION, path: PATH, interface, member: "Get", body: &body };
        match self.bus.call(&call).map_err(|error| word_call(error, "Get ControlGroup"))?.into_iter().next() {
            Some(Value::Variant(value)) => match *value {
                Value::Text(path) => Ok(path),
                other => Err(Error::formatted(format_args!(
                    "systemd: ControlGroup is of type {}, not a path",
                    other.signature()
                ))),
            },
            _ => Err(Error::new("systemd: Get ControlGroup does not answer with a variant")),
        }
    }

    /// Where the unit's cgroup will be.
    pub fn cgroup(&mut self, unit: &Unit) -> Result<CgroupPath> {
        unit.cgroup(&self.control_group()?)
    }

    /// Starts the unit, and waits until it runs.
    ///
    /// # Errors
    /// systemd's own text; the unit exists already and runs.
    pub fn start(&mut self, unit: &Unit, properties: &[Property]) -> Result<()> {
        self.bus.add_match(JOB_REMOVED)?;
        self.call("Subscribe", &[]).map_err(|error| word_call(error, "Subscribe"))?;
        let step = || format!("StartTransientUnit {}", unit.name);
        let body = [
            Value::text(&unit.name),
            Value::text("fail"),
            Value::Array("(sv)".into(), properties.iter().map(marshal).collect()),
            Value::Array("(sa(sv))".into(), Vec::new()),
        ];
        let job = match self.call("StartTransientUnit", &body) {
            // An earlier unit that failed still holds the name.
            Err(CallError::Method(name, _)) if name.ends_with(".UnitExists") => {
                let _ = self.call("ResetFailedUnit", &[Value::text(&unit.name)]);
                self.call("StartTransientUnit", &body)
            }
            answer => answer,
        };
        self.wait_for_job(job.map_err(|error| word_call(error, &step()))?).context(step)
    }

    /// Ends the unit and makes systemd forget it; it is no error if it is gone already.
    pub fn stop(&mut self, unit: &str) -> Result<()> {
        let gone =
            |error: &CallError| matches!(error, CallError::Method(name, _) if name.ends_with(".NoSuchUnit"));
        self.bus.add_match(JOB_REMOVED)?;
        self.call("Subscribe", &[]).map_err(|error| word_call(error, "Subscribe"))?;
        match self.call("StopUnit", &[Value::text(unit), Value::text("replace")]) {
            Ok(job) => self.wait_for_job(job).context(|| format!("StopUnit {unit}"))?,
            Err(error) if gone(&error) => return Ok(()),
            Err(error) => return Err(word_call(error, &format!("StopUnit {unit}"))),
        }
        // Only failed units need this; systemd has forgotten others by now.
        let _ = self.call("ResetFailedUnit", &[Value::text(unit)]);
        Ok(())
    }

    /// Moves a process of the caller's into the unit, or into the cgroup `below` it, even out of a part of
    /// the hierarchy that is not the manager's.
    pub fn attach(&mut self, unit: &str, below: &str, process: u32) -> Result<()> {
        let processes = Value::Array("u".into(), vec![Value::Uint32(process)]);
        let moved = self.call("AttachProcessesToUnit", &[Value::text(unit), Value::text(below), processes]);
        moved.map(drop).map_err(|error| word_call(error, &format!("AttachProcessesToUnit {unit}")))
    }

    /// Changes limits of a running unit, until it ends.
    pub fn set_limits(&mut self, unit: &str, limits: &[FileWrite<'_>]) -> Result<()> {
        let properties = of_limits(limits).iter().map(marshal).collect();
        let body = [Value::text(unit), Value::Boolean(true), Value::Array("(sv)".into(), properties)];
        let set = self.call("SetUnitProperties", &body);
        set.map(drop).map_err(|error| word_call(error, &format!("SetUnitProperties {unit}")))
    }

    /// The body of JobRemoved is (id, job, unit, result).
    fn wait_for_job(&mut self, answer: Vec<Value>) -> Result<()> {
        let Some(Value::ObjectPath(job)) = answer.into_iter().next() else {
            return Err(Error::new("systemd: it answers without a job"));
        };
        let result = self.bus.wait_for_signal(MANAGER, "JobRemoved", |body| match body {
            [_, Value::ObjectPath(path), _, Value::Text(result)] if *path == job => Some(result.clone()),
            _ => None,
        })?;
        if result == "done" {
            Ok(())
        } else {
            Err(Error::formatted(format_args!("systemd: the job's result is {result}")))
        }
    }
}

fn marshal((name, value): &Property) -> Value {
    Value::Structure(vec![Value::text(name), value.clone().variant()])
}
