//! What a process's environment says about the machine: where helper programs are, and its message buses.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where this process finds helper programs and message buses. The library does not read the environment by itself. A
/// program that wants the values of the variables calls [`use_environment`](Self::use_environment); one that has other
/// values calls [`establish`](Self::establish).
///
/// They apply to the whole process, because helpers belong to the machine and buses to the user. They can be
/// set once, before they are used for the first time.
///
/// ```
/// use pillbox::Surroundings;
///
/// let established = Surroundings::new().search_path("/usr/bin:/sbin").establish();
/// assert!(established);
/// assert!(!Surroundings::new().establish());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    search_path: Option<OsString>,
    system_bus: Option<String>,
    session_bus: Option<String>,
    runtime_dir: Option<PathBuf>,
}

static KNOWN: OnceLock<Surroundings> = OnceLock::new();

/// Whether the environment is read if no values have been set.
static READS_ENVIRONMENT: AtomicBool = AtomicBool::new(false);

impl Surroundings {
    /// Helpers are in `/usr/bin` and `/bin`, the system bus is where it usually is, and the user has no bus.
    pub fn new() -> Surroundings {
        Surroundings::default()
    }

    /// The absolute folders, separated by colons, in which `newuidmap` and `newgidmap` are searched.
    pub fn search_path(mut self, path: impl Into<OsString>) -> Self {
        self.search_path = Some(path.into());
        self
    }

    /// The address of the system's message bus: `unix:path=…`.
    pub fn system_bus(mut self, address: impl Into<String>) -> Self {
        self.system_bus = Some(address.into());
        self
    }

    /// The address of the user's message bus, through which an ordinary user's systemd is reached.
    pub fn session_bus(mut self, address: impl Into<String>) -> Self {
        self.session_bus = Some(address.into());
        self
    }

    /// The user's runtime folder. Its socket `bus` is used if no [`session_bus`](Self::session_bus) is set.
    pub fn runtime_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.runtime_dir = Some(folder.into());
        self
    }

    /// Sets these values for the process; false if there are values already.
    pub fn establish(self) -> bool {
        KNOWN.set(self).is_ok()
    }

    /// Reads them from `PATH`, `DBUS_SYSTEM_BUS_ADDRESS`, `DBUS_SESSION_BUS_ADDRESS` and `XDG_RUNTIME_DIR`
    /// when they are needed.
    pub fn use_environment() {
        READS_ENVIRONMENT.store(true, Ordering::Relaxed);
    }

    fn known() -> &'static Surroundings {
        KNOWN.get_or_init(|| {
            if !READS_ENVIRONMENT.load(Ordering::Relaxed) {
                return Surroundings::default();
            }
            let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
            Surroundings {
                search_path: std::env::var_os("PATH"),
                system_bus: text("DBUS_SYSTEM_BUS_ADDRESS"),
                session_bus: text("DBUS_SESSION_BUS_ADDRESS"),
                runtime_dir: text("XDG_RUNTIME_DIR").map(Into::into),
            }
        })
    }
}

/// Where helpers are searched, if that is set.
pub fn search_path() -> Option<&'static OsStr> {
    Surroundings::known().search_path.as_deref()
}

/// The address of the system's bus, if it is set.
#[cfg(feature = "systemd")]
pub fn system_bus() -> Option<&'static str> {
    Surroundings::known().system_bus.as_deref()
}

/// The address of the user's bus, or the folder of its socket.
#[cfg(feature = "systemd")]
pub fn session_bus() -> (Option<&'static str>, Option<&'static std::path::Path>) {
    let known = Surroundings::known();
    (known.session_bus.as_deref(), known.runtime_dir.as_deref())
}
