//! The host's orders to the guest, and where both find them in the image.

use std::fs::{self, File};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::system::finit_module;
use serde_json::Value;

/// What to do, as a JSON object. An image without it is that of the probe.
pub const ORDERS: &str = "/orders.json";
/// The folder of the modules.
pub const MODULES: &str = "/modules";

/// The orders, written by `session::image`.
pub struct Orders(Value);

impl Orders {
    /// The document in the image.
    pub fn read() -> Result<Orders, String> {
        let text = fs::read_to_string(ORDERS).map_err(|e| format!("{ORDERS}: {e}"))?;
        Ok(Orders(serde_json::from_str(&text).map_err(|e| format!("{ORDERS}: {e}"))?))
    }

    /// The path of the runtime under test.
    pub fn runtime(&self) -> PathBuf {
        PathBuf::from(self.0["runtime"].as_str().unwrap_or_default())
    }

    /// The names of the cases, in their order.
    pub fn cases(&self) -> Vec<String> {
        texts(&self.0["cases"])
    }

    /// Whether pid 1 is to be systemd.
    pub fn want_systemd(&self) -> bool {
        self.0["systemd"] == true
    }

    /// Whether a store is to be worked on until the power is cut.
    pub fn want_power_cuts(&self) -> bool {
        self.0["power"] == true
    }

    /// Loads the modules that the report needs.
    pub fn load_first(&self) -> Result<(), String> {
        texts(&self.0["first"]).iter().try_for_each(|name| self.load(name).map(drop))
    }

    /// Loads a module and its dependencies; false if neither the image nor the kernel has it.
    pub fn load(&self, name: &str) -> Result<bool, String> {
        let Some(order) = self.0["modules"].get(name) else { return Ok(false) };
        for module in texts(order) {
            let file =
                File::open(format!("{MODULES}/{module}.ko")).map_err(|e| format!("module {module}: {e}"))?;
            match finit_module(file, c"", 0) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(format!("loading the module {module}: {e}")),
            }
        }
        Ok(true)
    }
}

fn texts(array: &Value) -> Vec<String> {
    array.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
