//! No unwinder: a panic here prints its message and aborts, and nothing else would walk the stack.
//!
//! The standard library prints backtraces with what libunwind finds, and so brings along, besides libunwind,
//! readers of DWARF, of compressed sections and of mangled names: four fifths of a small static program, to
//! print the names of a binary that is stripped. These definitions stand where libunwind's would be linked;
//! because `_Unwind_Backtrace` never calls its callback, all of that is dead code, and is left out.

use std::ffi::{c_int, c_void};

/// The stack ends at once. See the Itanium C++ ABI, exception handling, level I.
// SAFETY: the one definition of this symbol in a static program; its types are those of <unwind.h>.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(
    _callback: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
    _argument: *mut c_void,
) -> c_int {
    const END_OF_STACK: c_int = 5;
    END_OF_STACK
}

/// The rest of what the standard library names of libunwind's, which is for callbacks, landing pads and
/// exceptions: there are none.
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
