//! The function that the C library's start code calls.
//!
//! The standard library's own entry also sets up a signal stack and handlers, to report stack overflows: a
//! dozen system calls in each command, for a program whose recursion is bounded. This does only what is
//! needed.

use std::ffi::{CStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;

use pillbox::container::occupy_stdio;

/// Called once, by the C library, in the only thread.
// SAFETY: the one definition of `main`, with the type that the start code calls it by.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    let stdio = occupy_stdio();
    // A closed pipe is an error to handle; it must not end a runtime in the middle of its work.
    let _ = pillbox_init::sys::ignore_signal(linux_raw_sys::general::SIGPIPE);
    let mut arguments = (0..usize::try_from(count).unwrap_or_default()).map(|index| {
        // SAFETY: `main` gets `count` pointers to C strings, which live as long as the process.
        let text = unsafe { CStr::from_ptr(*arguments.add(index)) };
        std::ffi::OsStr::from_bytes(text.to_bytes()).to_os_string()
    });
    let program = arguments.next().unwrap_or_default();
    let status = crate::main_with(&program, arguments, stdio);
    // The C library's exit does not flush Rust's buffer.
    let _ = std::io::Write::flush(&mut std::io::stdout());
    status.into()
}
