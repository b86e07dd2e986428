//! A part of a build as it is shown: what it is, how long it takes, the end of what its program has written.

use std::time::{Duration, Instant};

use crate::build::{Ending, Stream};
use crate::digest::Digest;
use crate::transfer::Step;

/// How many lines of what a step has written are shown again if it fails.
const TAIL: usize = 50;

/// A line that is longer is shown as several.
pub const LINE_MAX: usize = 1 << 16;

pub struct Part {
    pub name: String,
    pub began: Instant,
    pub ending: Option<(Ending, Duration)>,
    pub notes: Vec<String>,
    /// Layers that come meanwhile.
    pub layers: Vec<(Digest, Step)>,
    /// The last lines of its program, each with the seconds since the part began.
    pub tail: Vec<String>,
    /// What stands in a line that is not complete, of stdout and stderr.
    open: [Vec<u8>; 2],
}

impl Part {
    pub fn begin(name: String) -> Part {
        Part {
            name,
            began: Instant::now(),
            ending: None,
            notes: Vec::new(),
            layers: Vec::new(),
            tail: Vec::new(),
            open: Default::default(),
        }
    }

    /// Takes what its program has written; the lines that are complete by that.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> Vec<String> {
        let open = &mut self.open[usize::from(stream == Stream::Stderr)];
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map(|end| open.len() + end + 1);
        open.extend_from_slice(bytes);
        // A program that never ends a line does not fill the memory.
        let end = end.or((open.len() >= LINE_MAX).then_some(open.len()));
        let lines: Vec<u8> = open.drain(..end.unwrap_or(0)).collect();
        self.keep(&lines)
    }

    /// It has ended; the lines that nobody has ended.
    pub fn end(&mut self, ending: Ending, time: Duration) -> Vec<String> {
        self.ending = Some((ending, time));
        let rest: Vec<Vec<u8>> = self.open.iter_mut().map(std::mem::take).collect();
        rest.iter().flat_map(|line| self.keep(line)).collect()
    }

    /// How much of a line is held that is not complete.
    #[cfg(test)]
    pub fn open_length(&self) -> usize {
        self.open[0].len()
    }

    fn keep(&mut self, bytes: &[u8]) -> Vec<String> {
        let seconds = self.began.elapsed().as_secs_f64();
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<String> = text.lines().map(|line| format!("{seconds:.3} {line}")).collect();
        self.tail.extend(lines.iter().cloned());
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        lines
    }
}
