//! The functions that the compiler expects of a C library, and the tables of pointers that execve(2) takes.

use core::ffi::{CStr, c_char, c_void};
use core::marker::PhantomData;

use rustix::io::Errno;

/// memcpy(3).
///
/// # Safety
/// `to` and `from` must be valid for `count` bytes and must not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    let mut index = 0;
    while index < count {
        // SAFETY: index < count, and the caller guarantees `count` bytes. The volatile write keeps the
        // compiler from making the loop a call of memcpy.
        unsafe { to.add(index).write_volatile(from.add(index).read()) };
        index += 1;
    }
    to
}

/// memmove(3).
///
/// # Safety
/// `to` and `from` must be valid for `count` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize) <= (from as usize) {
        // SAFETY: copying upwards never overwrites bytes that are still to be read; the caller guarantees
        // both ranges.
        return unsafe { memcpy(to, from, count) };
    }
    let mut index = count;
    while index > 0 {
        index -= 1;
        // SAFETY: index < count; copying downwards, for the same reason.
        unsafe { to.add(index).write_volatile(from.add(index).read()) };
    }
    to
}

/// memset(3).
///
/// # Safety
/// `to` must be valid for `count` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    let mut index = 0;
    while index < count {
        // SAFETY: index < count, and the caller guarantees `count` bytes.
        unsafe { to.add(index).write_volatile(byte as u8) };
        index += 1;
    }
    to
}

/// memcmp(3).
///
/// # Safety
/// `left` and `right` must be valid for `count` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    let mut index = 0;
    while index < count {
        // SAFETY: index < count, and the caller guarantees `count` bytes.
        let (l, r) = unsafe { (left.add(index).read_volatile(), right.add(index).read_volatile()) };
        if l != r {
            return i32::from(l) - i32::from(r);
        }
        index += 1;
    }
    0
}

/// bcmp(3).
///
/// # Safety
/// As [`memcmp`].
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, count: usize) -> i32 {
    // SAFETY: the caller guarantees the same.
    unsafe { memcmp(left, right, count) }
}

/// strlen(3).
///
/// # Safety
/// `string` must end with a NUL.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the caller guarantees that every byte up to the NUL can be read.
    while unsafe { string.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// The address of a mapping: in the same 2 MiB as the program, whose page tables then serve for the mapping
/// as well. Elsewhere it would need three page tables of its own, 12 KiB that count against the container's
/// memory limit.
#[derive(Clone, Copy)]
pub enum Place {
    /// The plan.
    Plan = 0x10_0000,
    /// The arguments of the container's program.
    Arguments = 0x1c_0000,
    /// Its environment.
    Environment = 0x1e_0000,
}

impl Place {
    /// The address, as a hint for mmap(2): a mapping that does not fit there goes elsewhere.
    pub fn hint(self) -> *mut c_void {
        const COVERED: usize = 2 << 20;
        core::ptr::without_provenance_mut((memcmp as *const () as usize & !(COVERED - 1)) + self as usize)
    }
}

/// A NULL-terminated table of pointers to C strings, in pages of its own because there may be thousands.
pub struct PointerTable<'a>(*const *const c_char, PhantomData<&'a CStr>);

impl<'a> PointerTable<'a> {
    /// A table of the first `count` of `strings`.
    pub fn new(place: Place, count: usize, strings: impl Iterator<Item = &'a CStr>) -> Result<Self, Errno> {
        let size = (count + 1) * size_of::<*const c_char>();
        // SAFETY: a new private mapping replaces nothing.
        let table = unsafe {
            rustix::mm::mmap_anonymous(
                place.hint(),
                size,
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::PRIVATE,
            )?
        }
        .cast::<*const c_char>();
        for (index, string) in strings.take(count).enumerate() {
            // SAFETY: index < count, and the mapping has room for count + 1 pointers; the last stays NULL.
            unsafe { table.add(index).write(string.as_ptr()) };
        }
        Ok(PointerTable(table, PhantomData))
    }

    /// execve(2) with this table as arguments; returns only with an error.
    pub fn exec(&self, path: &CStr, environment: &PointerTable<'_>) -> Errno {
        // SAFETY: both tables are NULL-terminated and the strings that they point to live as long as they do.
        unsafe { pillbox_init::sys::execve(path, self.0, environment.0) }
    }
}
