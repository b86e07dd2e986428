//! How far a transfer is: a line for each layer on a terminal, a line for each step elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::say;
use super::table::human_size;
use crate::digest::Digest;
use crate::reference::Reference;
use crate::transfer::{Observer, Step};

/// How often lines on a terminal change.
const PERIOD: Duration = Duration::from_millis(100);

/// Where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Which way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Pull,
    Push,
}

/// An observer that shows what it hears.
pub struct Progress {
    stream: Stream,
    direction: Direction,
    /// Columns and lines, on a terminal.
    size: Option<(usize, usize)>,
    board: Mutex<Board>,
}

#[derive(Default)]
struct Board {
    layers: Vec<(Digest, Step)>,
    shown: usize,
    last: Option<Instant>,
}

impl Progress {
    pub fn new(stream: Stream, direction: Direction) -> Progress {
        let size = match stream {
            Stream::Stdout => {
                std::io::stdout().is_terminal().then(|| rustix::termios::tcgetwinsize(std::io::stdout()))
            }
            Stream::Stderr => {
                std::io::stderr().is_terminal().then(|| rustix::termios::tcgetwinsize(std::io::stderr()))
            }
        };
        let size = size.and_then(Result::ok).map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        Progress { stream, direction, size, board: Mutex::default() }
    }

    fn write(&self, text: &str) {
        // Nobody who reads it is no reason to stop.
        let _ = match self.stream {
            Stream::Stdout => {
                std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush())
            }
            Stream::Stderr => std::io::stderr().write_all(text.as_bytes()),
        };
    }

    /// The lines of all layers, over those that were there before.
    fn draw(&self, board: &mut Board, columns: usize) {
        let mut text = match board.shown {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        for (digest, step) in &board.layers {
            let line = format!("{}: {}", digest.short(), words(self.direction, *step));
            let line: String = line.chars().take(columns.max(20) - 1).collect();
            text += &format!("\r\x1b[2K{line}\n");
        }
        board.shown = board.layers.len();
        self.write(&text);
    }
}

impl Observer for Progress {
    fn note(&self, layer: &Digest, step: Step) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let is_moving = matches!(step, Step::Moving { .. });
        match board.layers.iter_mut().find(|(digest, _)| digest == layer) {
            Some((_, known)) => *known = step,
            None => board.layers.push((*layer, step)),
        }
        match self.size {
            Some((columns, lines)) if board.layers.len() < lines => {
                let is_due = board.last.is_none_or(|last| last.elapsed() >= PERIOD);
                if is_due || !is_moving {
                    board.last = Some(Instant::now());
                    self.draw(&mut board, columns);
                }
            }
            _ if is_moving => {}
            _ => self.write(&format!("{}: {}\n", layer.short(), words(self.direction, step))),
        }
    }

    fn begin(&self, reference: &Reference) {
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        // Its layers stand below it.
        (board.layers, board.shown) = (Vec::new(), 0);
        self.write(&format!("{}: Pulling from {}\n", reference.target(), reference.repository.path));
    }

    fn remark(&self, text: &str) {
        say(text);
    }
}

/// What is said of a step.
pub fn words(direction: Direction, step: Step) -> String {
    let is_pull = direction == Direction::Pull;
    match step {
        Step::Present if is_pull => "Already exists".to_string(),
        Step::Present => "Layer already exists".to_string(),
        Step::Waiting if is_pull => "Pulling fs layer".to_string(),
        Step::Waiting => "Preparing".to_string(),
        Step::Moving { done, total } => {
            let verb = if is_pull { "Downloading" } else { "Pushing" };
            format!("{verb} {}  {}/{}", bar(done, total), human_size(done), human_size(total))
        }
        Step::Fetched => "Download complete".to_string(),
        Step::Unpacked => "Pull complete".to_string(),
        Step::Mounted => "Mounted from another repository".to_string(),
        Step::Pushed => "Pushed".to_string(),
    }
}

/// `[=====>    ]`.
fn bar(done: u64, total: u64) -> String {
    const WIDTH: u64 = 30;
    let full = (done * WIDTH).checked_div(total).unwrap_or(0).min(WIDTH) as usize;
    format!("[{:=<full$}>{:<rest$}]", "", "", rest = WIDTH as usize - full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_what_is_done() {
        assert_eq!(bar(0, 10).len(), 33);
        assert_eq!(bar(5, 10), format!("[{}>{}]", "=".repeat(15), " ".repeat(15)));
        assert_eq!(bar(10, 10), format!("[{}>]", "=".repeat(30)));
        assert_eq!(bar(0, 0), bar(0, 1));
    }
}
