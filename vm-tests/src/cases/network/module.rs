//! Kernel modules that a case is to do without. The guest has no modprobe: the kernel gets none by itself.

use std::ffi::CString;
use std::fs;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::system::delete_module;

use crate::cases::container::wait_until;
use crate::cases::expectation::holds;
use crate::orders::Orders;

/// Loads a module of the image.
pub fn load(name: &str) -> Result<(), String> {
    let is_loaded = Orders::read()?.load(name)?;
    holds(&format!("the image has the module {name}"), is_loaded)
}

/// Unloads a module that is loaded, and before it those that use it.
pub fn unload(name: &str) -> Result<(), String> {
    let users = users(name)?.ok_or_else(|| format!("module {name}: it is not loaded, or built in"))?;
    for user in users {
        // One of them may have been another's user.
        if self::users(&user)?.is_some() {
            unload(&user)?;
        }
    }
    let text = CString::new(name).map_err(|e| e.to_string())?;
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    wait_until(&format!("the module {name} is unloaded"), || match delete_module(&text, flags) {
        Ok(()) => Ok(true),
        // A network namespace that goes may still use it.
        Err(Errno::AGAIN | Errno::BUSY) => Ok(false),
        Err(e) => Err(format!("module {name}: unload it: {e}")),
    })
}

/// The modules that use a module; none if it is not loaded.
fn users(name: &str) -> Result<Option<Vec<String>>, String> {
    let loaded = fs::read_to_string("/proc/modules").map_err(|e| format!("/proc/modules: {e}"))?;
    let line = loaded.lines().find(|line| line.split(' ').next() == Some(name));
    // NAME SIZE REFERENCES USER,USER, STATUS
    let users = line.map(|line| line.split(' ').nth(3).unwrap_or_default().split(','));
    Ok(users.map(|users| users.filter(|user| !matches!(*user, "" | "-")).map(str::to_owned).collect()))
}
