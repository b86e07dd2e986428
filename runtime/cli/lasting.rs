//! The heap of a program that ends soon, unless it says that it stays.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::allocator::{FirstChunk, Heap};

/// [`Heap`], until the process stays: from then on blocks come from the C library's heap, which gives memory
/// back.
pub struct Lasting {
    brief: Heap,
    chunk: &'static FirstChunk,
    /// Whether the brief heap has handed out anything beyond its first chunk.
    is_spread: AtomicBool,
    stays: AtomicBool,
}

impl Lasting {
    /// A heap with its first chunk, which no other heap may have.
    pub const fn beginning_with(chunk: &'static FirstChunk) -> Self {
        let (is_spread, stays) = (AtomicBool::new(false), AtomicBool::new(false));
        Lasting { brief: Heap::beginning_with(chunk), chunk, is_spread, stays }
    }

    /// Says that this process stays, which a monitor does first of all: later it may be too late, and nothing
    /// changes.
    pub fn stay(&self) {
        if !self.is_spread.load(Ordering::Acquire) {
            self.stays.store(true, Ordering::Release);
        }
    }

    fn stays(&self) -> bool {
        self.stays.load(Ordering::Acquire)
    }

    fn is_in_chunk(&self, block: *mut u8) -> bool {
        block.addr().wrapping_sub(ptr::from_ref(self.chunk).addr()) < size_of::<FirstChunk>()
    }

    /// A block of the brief heap.
    fn noted(&self, block: *mut u8) -> *mut u8 {
        if !self.is_in_chunk(block) {
            self.is_spread.store(true, Ordering::Release);
        }
        block
    }
}

// SAFETY: each block goes back to the heap that it came from. Before the process stays there is but one, and it stays only
// if all blocks so far are in the first chunk; afterwards that chunk tells them from the others. A thread
// that is just given one elsewhere could be missed, but a process says that it stays before it has threads.
unsafe impl GlobalAlloc for Lasting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the rules of `GlobalAlloc::alloc`.
        unsafe { if self.stays() { System.alloc(layout) } else { self.noted(self.brief.alloc(layout)) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            match self.stays() {
                true => System.alloc_zeroed(layout),
                false => self.noted(self.brief.alloc_zeroed(layout)),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is given back with its layout to the heap that it came from.
        unsafe {
            match self.stays() && !self.is_in_chunk(block) {
                true => System.dealloc(block, layout),
                false => self.brief.dealloc(block, layout),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the rules of `GlobalAlloc::realloc`, so that `new` is valid; the blocks are different ones, of
        // at least the bytes copied; the old one is given up.
        unsafe {
            match (self.stays(), self.is_in_chunk(block)) {
                (false, _) => self.noted(self.brief.realloc(block, layout, size)),
                (true, false) => System.realloc(block, layout, size),
                (true, true) => {
                    let new = Layout::from_size_align_unchecked(size, layout.align());
                    let other = System.alloc(new);
                    if !other.is_null() {
                        ptr::copy_nonoverlapping(block, other, layout.size().min(size));
                        self.brief.dealloc(block, layout);
                    }
                    other
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).expect("a valid layout")
    }

    #[test]
    fn blocks_go_back_where_they_came_from() {
        static CHUNK: FirstChunk = FirstChunk::new();
        static HEAP: Lasting = Lasting::beginning_with(&CHUNK);
        // SAFETY: every block is used within its size and with its layout, until it is freed.
        unsafe {
            let (one, other) = (HEAP.alloc(layout(100)), HEAP.alloc(layout(100)));
            one.write_bytes(7, 100);
            assert!(HEAP.is_in_chunk(one) && HEAP.is_in_chunk(other));
            HEAP.stay();
            let later = HEAP.alloc_zeroed(layout(100));
            assert!(!HEAP.is_in_chunk(later) && later.add(99).read() == 0);
            let moved = HEAP.realloc(one, layout(100), 200);
            assert!(!HEAP.is_in_chunk(moved) && moved.add(99).read() == 7);
            let moved = HEAP.realloc(moved, layout(200), 50);
            HEAP.dealloc(moved, layout(50));
            HEAP.dealloc(other, layout(100));
            HEAP.dealloc(later, layout(100));
        }
    }

    #[test]
    fn it_is_too_late_once_there_are_mappings() {
        static CHUNK: FirstChunk = FirstChunk::new();
        static HEAP: Lasting = Lasting::beginning_with(&CHUNK);
        let large = layout(1 << 20);
        // SAFETY: as above.
        unsafe {
            let mapped = HEAP.alloc(large);
            HEAP.stay();
            let small = HEAP.alloc(layout(100));
            assert!(!HEAP.stays() && HEAP.is_in_chunk(small));
            HEAP.dealloc(mapped, large);
            HEAP.dealloc(small, layout(100));
        }
    }
}
