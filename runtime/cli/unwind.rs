//! Replaces the unwinder: a panic prints its message and aborts, and nothing else walks the stack.
//!
//! To print backtraces, the standard library links libunwind and parsers of DWARF, of compressed sections and
//! of mangled names: four fifths of a small static program, for a stripped binary that has no names to print.
//! These definitions are linked instead of libunwind's. `_Unwind_Backtrace` never calls its callback, so all
//! of the rest is dead code, which the linker leaves out.

use std::ffi::{c_int, c_void};

/// Reports the end of the stack at once. See the Itanium C++ ABI, exception handling, level I.
// SAFETY: the one definition of this symbol in a static program; its types are those of <unwind.h>.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(
    _callback: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
    _argument: *mut c_void,
) -> c_int {
    const END_OF_STACK: c_int = 5;
    END_OF_STACK
}

/// Defines libunwind's other functions that the standard library refers to. They serve callbacks, landing
/// pads and exceptions, which never occur here.
macro_rules! unreachable_symbols {
    ($($name:ident)*) => {$(
        // SAFETY: as above; no value is taken or returned, whatever the caller's types.
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> ! {
            std::process::abort()
        }
    )*};
}

unreachable_symbols! {
    _Unwind_DeleteException
    _Unwind_FindEnclosingFunction
    _Unwind_GetCFA
    _Unwind_GetDataRelBase
    _Unwind_GetIP
    _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData
    _Unwind_GetRegionStart
    _Unwind_GetTextRelBase
    _Unwind_RaiseException
    _Unwind_Resume
    _Unwind_SetGR
    _Unwind_SetIP
}
