//! `box daemon`, also called `boxd`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pillbox::container::ForwardedSignals;
use rustls::ServerConfig;

use super::daemon::Daemon;
use super::listener::Listener;
use super::log::{Level, Log};
use super::server::serve;
use super::tls::{TlsFiles, configure};
use crate::command::{Arguments, DAEMON, Global};
use crate::container::size::parse_time;
use crate::error::{Context, Error, Result};
use crate::store::{Environment, Place, Store, write_without_sync};

/// The name by which the program is called for it.
const NAME: &str = "boxd";

/// Whether the program was called for this, by its name.
pub fn is_called(program: Option<&OsStr>) -> bool {
    program.is_some_and(|name| Path::new(name).file_name() == Some(OsStr::new(NAME)))
}

/// Whether a command line's process stays, and does several things at once: each with processes of its own, which nobody else may
/// wait for.
pub fn stays(program: Option<&OsStr>, mut arguments: impl Iterator<Item = OsString>) -> bool {
    is_called(program) || arguments.any(|word| word == DAEMON)
}

/// The command line of `boxd` as that of box.
pub fn as_command(arguments: Vec<OsString>) -> Vec<OsString> {
    [vec![OsString::from(DAEMON)], arguments].concat()
}

/// Serves until a signal ends it.
///
/// # Errors
/// A flag cannot be; another boxd serves the socket.
pub fn run(global: &Global, arguments: &Arguments) -> Result<u8> {
    let path = |flag| arguments.value(flag).map(PathBuf::from);
    let level = match arguments.text("log-level")? {
        Some("debug") => Level::Debug,
        None | Some("info") => Level::Info,
        Some("error") => Level::Error,
        Some(other) => {
            return Err(Error::invalid(format!("--log-level {other}: must be debug, info or error")));
        }
    };
    let idle = arguments.text("idle")?.map(|text| parse_time("--idle", text)).transpose()?;
    let log = Log::open(path("log").as_deref(), level)?;
    let user = rustix::process::geteuid();
    let environment = Environment::of_process();
    let data = path("data-root").or(global.data_root.clone());
    let runtime = path("exec-root").or(global.exec_root.clone());
    // Each client needs some. Where the kernel refuses more, it is as it was.
    let _ = pillbox::raise_open_files();
    let store = Store::open(Place::of_user(user, &environment, data, runtime)?)?;
    // A signal that comes before the first request, or while it tidies up, leaves no socket and no pid file either.
    let signals = ForwardedSignals::block()?;
    let listeners = listeners(arguments, &environment)?;
    let pidfile = path("pidfile");
    if let Some(file) = &pidfile {
        let text = format!("{}\n", std::process::id());
        write_without_sync(file, text.as_bytes()).context(|| format!("--pidfile {}", file.display()))?;
    }
    let served = serve(Daemon::new(store, log, arguments.is_set("metrics")), listeners, &signals, idle);
    if let Some(file) = &pidfile {
        // It is gone if somebody has tidied up.
        let _ = std::fs::remove_file(file);
    }
    served.map(|()| 0)
}

fn listeners(arguments: &Arguments, environment: &Environment) -> Result<Vec<Listener>> {
    let hosts = arguments.texts("host")?;
    if hosts.is_empty() {
        return Ok(vec![Listener::at(&usual_socket(environment)?)?]);
    }
    let mut listeners = Vec::new();
    for host in &hosts {
        match host.split_once("://") {
            Some(("tcp", address)) => {
                let address = address.trim_end_matches('/');
                let has_both = address
                    .rsplit_once(':')
                    .is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok());
                if !has_both {
                    return Err(Error::invalid(format!(
                        "--host {host}: must have an address and a port, as tcp://0.0.0.0:2376"
                    )));
                }
                listeners.push(Listener::on_network(address, tls(arguments, host)?)?);
            }
            Some(("unix", path)) if path.starts_with('/') => listeners.push(Listener::at(Path::new(path))?),
            Some(("fd", "" | "*")) => listeners.extend(Listener::passed()?),
            _ => {
                return Err(Error::invalid(format!(
                    "--host {host}: must be unix:// and an absolute path, fd://, or tcp:// and an address with --tlsverify"
                )));
            }
        }
    }
    Ok(listeners)
}

/// Whoever may speak to boxd is as good as its user: on the network that has to be shown.
fn tls(arguments: &Arguments, host: &str) -> Result<Arc<ServerConfig>> {
    let file = |flag: &str| {
        let missing = || {
            Error::invalid(format!(
                "--host {host}: on the network boxd serves clients with a certificate alone: --tlsverify with --tlscacert, --tlscert and --tlskey"
            ))
        };
        arguments.value(flag).map(Path::new).filter(|_| arguments.is_set("tlsverify")).ok_or_else(missing)
    };
    configure(&TlsFiles {
        authorities: file("tlscacert")?,
        certificate: file("tlscert")?,
        key: file("tlskey")?,
    })
}

/// Root's is the machine's.
fn usual_socket(environment: &Environment) -> Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/run/boxd.sock"));
    }
    let missing =
        || Error::invalid("XDG_RUNTIME_DIR is not set: --host unix://PATH says where the socket is to be");
    Ok(environment.runtime_dir.as_ref().ok_or_else(missing)?.join("boxd.sock"))
}
