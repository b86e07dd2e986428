//! The heap of a program that ends soon: memory is handed out in order, and freed by the end of the process.
//!
//! A command of pillbox, or of box, needs a few hundred KB for a few milliseconds. A general allocator would
//! map and unmap pages meanwhile, and fault each of them in again: that was half of the time that reading a
//! configuration took. Here the block that was handed out last can grow in place, and its memory is used
//! again when it is freed. Other small blocks that are freed serve later allocations of their size, so that
//! the heap of a loop (`events`, a foreground container) does not grow. Large blocks are mappings of their
//! own.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap, munmap};

/// How many bytes are mapped at once; the kernel allocates a page when it is touched.
const CHUNK: usize = 1 << 20;

/// The size in bytes from which a block is a mapping of its own.
const LARGE: usize = CHUNK / 4;

/// The least alignment of a mapping.
const PAGE: usize = 4096;

/// The allocator.
pub struct Heap {
    locked: AtomicBool,
    chunk: UnsafeCell<Chunk>,
}

// SAFETY: only `with` accesses the chunk, one thread at a time.
unsafe impl Sync for Heap {}

/// A heap's first chunk, in the program's .bss: unlike a mapping, it shares page tables with the program's
/// code.
#[repr(align(16))]
pub struct FirstChunk(UnsafeCell<[MaybeUninit<u8>; CHUNK]>);

// SAFETY: only its heap accesses it, while it holds the lock, and the owners of blocks that the heap has handed out.
unsafe impl Sync for FirstChunk {}

impl FirstChunk {
    /// A chunk, for one heap.
    pub const fn new() -> Self {
        FirstChunk(UnsafeCell::new([const { MaybeUninit::zeroed() }; CHUNK]))
    }
}

impl Heap {
    /// A heap with its first chunk, which no other heap may have.
    pub const fn beginning_with(chunk: &'static FirstChunk) -> Self {
        let chunk = Chunk { start: chunk.0.get().cast(), size: CHUNK, ..Chunk::NONE };
        Heap { locked: AtomicBool::new(false), chunk: UnsafeCell::new(chunk) }
    }

    /// A heap that maps its first chunk on the first allocation.
    #[cfg(test)]
    pub const fn new() -> Self {
        Heap { locked: AtomicBool::new(false), chunk: UnsafeCell::new(Chunk::NONE) }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Chunk) -> T) -> T {
        // pillbox allocates in one thread: the one that makes a network namespace does not. In box threads
        // seldom meet here.
        while self.locked.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: the lock is held, and `act` cannot reach the heap, so there is no other reference.
        let result = act(unsafe { &mut *self.chunk.get() });
        self.locked.store(false, Ordering::Release);
        result
    }
}

// SAFETY: blocks are disjoint, because a chunk hands out each byte once unless it was freed, and mappings don't
// overlap; they are aligned as requested and live until they are freed. Nothing here panics.
// The functions are not inlined because there are hundreds of callers.
unsafe impl GlobalAlloc for Heap {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_mapping(layout) { map(layout.size()) } else { self.with(|chunk| chunk.take(layout).0) }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_mapping(layout) {
            return map(layout.size());
        }
        let (block, used) = self.with(|chunk| chunk.take(layout));
        if !block.is_null() {
            // SAFETY: the block has at least `used` bytes; those after them are still zero, as the kernel gave them.
            unsafe { block.write_bytes(0, used) };
        }
        block
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if is_mapping(layout) {
            // SAFETY: such a block is a mapping of this size, which its owner has given up.
            let _ = unsafe { munmap(block.cast(), layout.size()) };
        } else {
            // SAFETY: such a block was taken with this layout, and its owner has given it up.
            self.with(|chunk| unsafe { chunk.give_back(block, layout.size()) });
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, old: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the rules of `GlobalAlloc::realloc`: `size` is not zero and does not overflow.
        let new = unsafe { Layout::from_size_align_unchecked(size, old.align()) };
        match (is_mapping(old), is_mapping(new)) {
            (true, true) => {
                // SAFETY: the block is a mapping of the old size, and its owner uses the result from now on.
                let moved = unsafe { mremap(block.cast(), old.size(), size, MremapFlags::MAYMOVE) };
                return moved.map_or(ptr::null_mut(), <*mut c_void>::cast);
            }
            (false, false) if self.with(|chunk| chunk.resize(block, old.size(), size)) => return block,
            _ => {}
        }
        // SAFETY: `new` is as valid as the caller's arguments; the blocks are different ones, of at least the
        // bytes copied; the old one is given up.
        unsafe {
            let other = self.alloc(new);
            if !other.is_null() {
                ptr::copy_nonoverlapping(block, other, old.size().min(size));
                self.dealloc(block, old);
            }
            other
        }
    }
}

/// Whether a block is a mapping of its own. Freeing a block asks the same question, and must get the same
/// answer.
fn is_mapping(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= PAGE
}

/// Zeroed private memory; null if there is none.
fn map(size: usize) -> *mut u8 {
    // SAFETY: a new mapping, at an address that the kernel chooses, overlaps nothing.
    let start = unsafe {
        mmap_anonymous(ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    };
    start.map_or(ptr::null_mut(), <*mut c_void>::cast)
}

/// The number of sizes of small blocks: see [`class`].
const CLASSES: usize = 52;

/// The size to which a small block is rounded up, and the number of that size class. Sizes are multiples of
/// 16 up to 128, then four for each doubling.
fn class(size: usize) -> (usize, usize) {
    if size <= 128 {
        let number = size.saturating_sub(1) / 16;
        return ((number + 1) * 16, number);
    }
    let doubling = (size - 1).ilog2() as usize;
    let quarters = ((size - 1) >> (doubling - 2)) + 1;
    (quarters << (doubling - 2), doubling * 4 + quarters - 25)
}

/// Memory from which blocks are taken. Its first `taken` bytes are blocks; at most `used` bytes have ever
/// been. For each class, `free` has a list of free blocks of this and former chunks: each begins with the
/// address of the next.
struct Chunk {
    start: *mut u8,
    size: usize,
    taken: usize,
    used: usize,
    free: [*mut u8; CLASSES],
}

impl Chunk {
    const NONE: Chunk =
        Chunk { start: ptr::null_mut(), size: 0, taken: 0, used: 0, free: [ptr::null_mut(); CLASSES] };

    /// A block, or null, and how many bytes at its start may be other than zero.
    fn take(&mut self, layout: Layout) -> (*mut u8, usize) {
        let (size, number) = class(layout.size());
        // Free blocks are only known to be aligned to 16, so a block with a larger alignment is always a new
        // one.
        if let Some(free) = self.free.get_mut(number).filter(|free| !free.is_null() && layout.align() <= 16) {
            let block = *free;
            // SAFETY: nobody owns a free block; it is large enough for an address, and `give_back` wrote one.
            *free = unsafe { block.cast::<*mut u8>().read() };
            return (block, size);
        }
        loop {
            let padding = self.start.wrapping_add(self.taken).align_offset(layout.align().max(16));
            let place = self.taken.saturating_add(padding);
            let end = place.saturating_add(size);
            if end <= self.size {
                let before = self.used.saturating_sub(place).min(size);
                self.taken = end;
                self.used = self.used.max(end);
                return (self.start.wrapping_add(place), before);
            }
            // The rest of this chunk is given up; the next one has room for any alignment.
            let mapped = CHUNK.max(size.saturating_add(layout.align()));
            let start = map(mapped);
            if start.is_null() {
                return (start, 0);
            }
            (self.start, self.size, self.taken, self.used) = (start, mapped, 0, 0);
        }
    }

    /// # Safety
    /// The block must have been taken for `size` bytes, and its owner must not use it any more.
    unsafe fn give_back(&mut self, block: *mut u8, size: usize) {
        let (size, number) = class(size);
        if self.is_last(block, size) {
            self.taken -= size;
        } else if let Some(free) = self.free.get_mut(number) {
            // SAFETY: the block has at least 16 bytes, is aligned to 16, and nobody else uses it.
            unsafe { block.cast::<*mut u8>().write(*free) };
            *free = block;
        }
    }

    /// Makes a block larger or smaller in place; `false` if that is not possible.
    fn resize(&mut self, block: *mut u8, old: usize, new: usize) -> bool {
        let ((old, _), (new, _)) = (class(old), class(new));
        if old == new {
            return true;
        }
        let end = (self.taken - old.min(self.taken)).saturating_add(new);
        if !self.is_last(block, old) || end > self.size {
            return false;
        }
        self.taken = end;
        self.used = self.used.max(end);
        true
    }

    fn is_last(&self, block: *mut u8, size: usize) -> bool {
        block.addr().wrapping_sub(self.start.addr()).checked_add(size) == Some(self.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a valid layout")
    }

    #[test]
    fn the_last_block_grows_in_place_and_is_used_again() {
        let heap = Heap::new();
        let small = layout(100, 8);
        // SAFETY: every block is used within its size and with its layout, until it is freed.
        unsafe {
            let first = heap.alloc(small);
            let second = heap.alloc(small);
            assert_eq!(heap.realloc(second, small, 5000), second, "grows where it is");
            assert_eq!(heap.realloc(first, small, 112), first, "has room");
            assert_ne!(heap.realloc(first, layout(112, 8), 113), first, "not the last: moves");
            let third = heap.alloc(layout(200, 8));
            heap.dealloc(third, layout(200, 8));
            assert_eq!(heap.alloc(layout(200, 8)), third);
            assert_eq!(heap.alloc(small), first, "for another of its size");
        }
    }

    #[test]
    fn sizes_of_blocks() {
        let (mut last, mut next) = (0, 0);
        for asked in 1..LARGE {
            let (size, number) = class(asked);
            assert!(
                asked <= size && size <= (asked + 15).max(asked + asked / 4) && size % 16 == 0,
                "{asked}"
            );
            if size != last {
                assert_eq!(number, next, "{asked}");
                (last, next) = (size, next + 1);
            }
            assert_eq!(number + 1, next, "{asked}");
        }
        assert_eq!((last, next), (LARGE, CLASSES));
    }

    #[test]
    fn a_loop_does_not_grow() {
        let heap = Heap::new();
        let mut before = 0;
        for round in 0..100 {
            // SAFETY: as above.
            unsafe {
                let sizes = [40, 3000, 100, 64, 17];
                let mut blocks = sizes.map(|size| heap.alloc(layout(size, 8)));
                blocks[2] = heap.realloc(blocks[2], layout(100, 8), 900);
                blocks[1] = heap.realloc(blocks[1], layout(3000, 8), 10);
                for (block, size) in blocks.into_iter().zip([40, 10, 900, 64, 17]) {
                    heap.dealloc(block, layout(size, 8));
                }
            }
            let taken = heap.with(|chunk| chunk.taken);
            assert!(round < 3 || taken == before, "{taken} instead of {before} in round {round}");
            before = taken;
        }
    }

    #[test]
    fn zeroed_blocks_are_zero_where_memory_was_used_before() {
        let heap = Heap::new();
        let size = 3000;
        // SAFETY: as above.
        unsafe {
            let block = heap.alloc(layout(size, 1));
            block.write_bytes(0xff, size);
            heap.dealloc(block, layout(size, 1));
            let again = heap.alloc_zeroed(layout(2 * size, 1));
            assert_eq!(again, block);
            assert!(std::slice::from_raw_parts(again, 2 * size).iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn blocks_are_aligned_and_keep_their_content() {
        let heap = Heap::new();
        for align in [1, 8, 64, PAGE, 4 * PAGE] {
            for size in [1, 1000, LARGE - 1, LARGE, CHUNK, 3 * CHUNK] {
                let old = layout(size, align);
                // SAFETY: as above.
                unsafe {
                    let block = heap.alloc(old);
                    assert_eq!(block.addr() % align, 0);
                    block.write_bytes(7, size);
                    let mut size = size;
                    let mut block = block;
                    for next in [size + 1, 2 * size, LARGE, CHUNK + 1, 10] {
                        block = heap.realloc(block, layout(size, align), next);
                        assert_eq!(block.addr() % align.min(PAGE), 0);
                        let kept = std::slice::from_raw_parts(block, size.min(next));
                        assert!(kept.iter().all(|&byte| byte == 7), "{align} {size} {next}");
                        block.write_bytes(7, next);
                        size = next;
                    }
                    heap.dealloc(block, layout(size, align));
                }
            }
        }
    }
}
