//! What a process's environment says about the machine: where helper programs are, and its message buses.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where this process finds helper programs and message buses. The library reads no environment: a program that wants what the
/// variables say calls [`use_environment`](Self::use_environment), one that knows better [`establish`](Self::establish).
///
/// The buses are those of the process's user, and the helpers are the machine's: the values hold for the whole process, and the
/// first ones count.
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

/// Whether the environment is read where nothing else is known.
static READS_ENVIRONMENT: AtomicBool = AtomicBool::new(false);

impl Surroundings {
    /// Helpers in `/usr/bin` and `/bin`, systemd's system bus at its usual place, no bus of the user's.
    pub fn new() -> Surroundings {
        Surroundings::default()
    }

    /// Where `newuidmap` and `newgidmap` are searched: absolute folders with colons between them, as in `PATH`.
    pub fn search_path(mut self, path: impl Into<OsString>) -> Self {
        self.search_path = Some(path.into());
        self
    }

    /// The address of the system's message bus: `unix:path=…`.
    pub fn system_bus(mut self, address: impl Into<String>) -> Self {
        self.system_bus = Some(address.into());
        self
    }

    /// The address of the user's message bus, by which an ordinary user's systemd is reached.
    pub fn session_bus(mut self, address: impl Into<String>) -> Self {
        self.session_bus = Some(address.into());
        self
    }

    /// The user's runtime folder, which has the socket `bus` if [`session_bus`](Self::session_bus) says nothing.
    pub fn runtime_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.runtime_dir = Some(folder.into());
        self
    }

    /// Makes these values those of the process; false if it has others already.
    pub fn establish(self) -> bool {
        KNOWN.set(self).is_ok()
    }

    /// Takes them from `PATH`, `DBUS_SYSTEM_BUS_ADDRESS`, `DBUS_SESSION_BUS_ADDRESS` and `XDG_RUNTIME_DIR`, when they are needed.
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

/// Where helpers are searched, if that was said.
pub fn search_path() -> Option<&'static OsStr> {
    Surroundings::known().search_path.as_deref()
}

/// The address of the system's bus, if it was said.
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
