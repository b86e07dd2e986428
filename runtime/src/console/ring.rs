//! Holds what was read at one end and cannot be written at the other end yet.

/// More than a terminal gives at once, so that many reads share a write.
const SIZE: usize = 16 * 1024;

/// A first-in, first-out queue of bytes that reads fill, and writes empty, in place.
pub struct Ring {
    bytes: Box<[u8]>,
    /// The index of the oldest byte.
    first: usize,
    length: usize,
}

impl Ring {
    pub fn new() -> Ring {
        Ring { bytes: vec![0; SIZE].into(), first: 0, length: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn is_full(&self) -> bool {
        self.length == SIZE
    }

    /// The oldest bytes, up to the end of the buffer.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.first..SIZE.min(self.first + self.length)]
    }

    /// Removes the first `count` bytes of [`Self::pending`], which have been written.
    pub fn take(&mut self, count: usize) {
        self.length -= count;
        // An empty ring begins anew, so that the next read can use all of it.
        self.first = if self.is_empty() { 0 } else { (self.first + count) % SIZE };
    }

    /// Room for more bytes, up to the end of the buffer.
    pub fn room(&mut self) -> &mut [u8] {
        let end = self.first + self.length;
        if end < SIZE { &mut self.bytes[end..] } else { &mut self.bytes[end - SIZE..self.first] }
    }

    /// Adds the first `count` bytes of [`Self::room`], which have been filled.
    pub fn add(&mut self, count: usize) {
        self.length += count;
    }

    /// Appends what fits; returns how many bytes.
    #[cfg(test)]
    fn push(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.add(count);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::{Ring, SIZE};

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_went_in() {
        let sent: Vec<u8> = (0..10 * SIZE).map(|index| (index * 7 % 251) as u8).collect();
        let mut ring = Ring::new();
        let (mut rest, mut came) = (&sent[..], Vec::new());
        // Pieces of many lengths, so that the ring wraps at many places.
        for step in 1.. {
            rest = &rest[ring.push(&rest[..rest.len().min(step * 37 % 5000 + 1)])..];
            assert!(ring.length <= SIZE);
            let piece = &ring.pending()[..ring.pending().len().min(step * 61 % 4000 + 1)];
            came.extend_from_slice(piece);
            let count = piece.len();
            ring.take(count);
            if rest.is_empty() && ring.is_empty() {
                break;
            }
        }
        assert_eq!(came, sent);
    }

    #[test]
    fn a_full_ring_has_no_room() {
        let mut ring = Ring::new();
        assert_eq!(ring.push(&[1; SIZE + 1]), SIZE);
        assert!(ring.is_full() && ring.room().is_empty());
        ring.take(5);
        assert_eq!((ring.room().len(), ring.push(&[2; 9])), (5, 5));
        assert_eq!(ring.pending().len(), SIZE - 5);
        ring.take(SIZE - 5);
        assert_eq!(ring.pending(), [2; 5]);
    }
}
