//! Where the C library's start code calls the program.
//!
//! The standard library's own entry also makes a stack and handlers for a message about stack overflows: a dozen
//! system calls in each command, for a program whose recursion is bounded. What is needed of it stands here.

use std::ffi::{CStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;

use pillbox::container::occupy_stdio;

/// Called once, by the C library, in the one thread that there is.
// SAFETY: the one definition of `main`, with the type that the start code calls it by.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    let stdio = occupy_stdio();
    // A closed pipe is an error to report, or one to bear: not the end of a runtime amid its work.
    let _ = pillbox_init::sys::ignore_signal(linux_raw_sys::general::SIGPIPE);
    let arguments = (1..usize::try_from(count).unwrap_or_default()).map(|index| {
        // SAFETY: `main` gets `count` pointers to C strings, which stay as long as the process.
        let text = unsafe { CStr::from_ptr(*arguments.add(index)) };
        std::ffi::OsStr::from_bytes(text.to_bytes()).to_os_string()
    });
    let status = crate::main_with(arguments.collect::<Vec<OsString>>(), stdio);
    // The C library's exit knows nothing of Rust's buffer.
    let _ = std::io::Write::flush(&mut std::io::stdout());
    status.into()
}
