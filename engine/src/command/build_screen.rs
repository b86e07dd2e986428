//! A build on a terminal: a line for each of its parts, with the time that it takes, over those that were there before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::build_part::Part;
use super::progress::{Direction, words};
use crate::build::Ending;
use crate::message::line;

/// How many of the last lines of a program that runs are shown.
const TAIL: usize = 6;

/// The least columns that lines are made for.
const COLUMNS_MIN: usize = 40;

/// What has been drawn.
#[derive(Default)]
pub struct Screen {
    shown: usize,
}

impl Screen {
    /// Draws over what was there: as much as fits, or everything when it is over. `above` comes to stand above it, and stays.
    pub fn draw(
        &mut self,
        above: &str,
        parts: &BTreeMap<usize, Part>,
        time: Duration,
        is_over: bool,
    ) -> String {
        let (columns, rows) = size();
        let lines =
            compose(parts, time, columns, if is_over { usize::MAX } else { rows.max(4) - 1 }, is_over);
        let up = match self.shown {
            0 => String::new(),
            lines => format!("\x1b[{lines}A"),
        };
        self.shown = if is_over { 0 } else { lines.len() };
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        format!("{up}\r\x1b[J{above}{lines}")
    }
}

/// Columns and rows of stderr's terminal.
fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok().filter(|size| size.ws_col > 0);
    let (columns, rows) = size.map_or((80, 24), |size| (size.ws_col, size.ws_row));
    (usize::from(columns).max(COLUMNS_MIN), usize::from(rows))
}

/// All lines, of which those of what has ended longest ago are left out if there are too many.
fn compose(
    parts: &BTreeMap<usize, Part>,
    time: Duration,
    columns: usize,
    most: usize,
    is_over: bool,
) -> Vec<String> {
    let ended = parts.values().filter(|part| part.ending.is_some()).count();
    let end = if is_over { " FINISHED" } else { "" };
    let head = format!("[+] Building {:.1}s ({ended}/{}){end}", time.as_secs_f64(), parts.len());
    let mut groups: Vec<(bool, Vec<String>)> =
        parts.values().map(|part| (part.ending.is_some(), group(part, columns))).collect();
    let count =
        |groups: &[(bool, Vec<String>)]| 1 + groups.iter().map(|(_, lines)| lines.len()).sum::<usize>();
    while count(&groups) > most {
        let Some(oldest) = groups.iter().position(|(is_ended, _)| *is_ended) else { break };
        groups.remove(oldest);
    }
    let mut lines: Vec<String> =
        [head].into_iter().chain(groups.into_iter().flat_map(|(_, lines)| lines)).collect();
    lines.truncate(most);
    lines
}

/// The lines of a part: its own, and below it what it has said.
fn group(part: &Part, columns: usize) -> Vec<String> {
    let (mark, time) = match &part.ending {
        None => ("", part.began.elapsed()),
        Some((Ending::Done, time)) => ("", *time),
        Some((Ending::Cached, time)) => ("CACHED ", *time),
        Some((Ending::Cancelled, time)) => ("CANCELED ", *time),
        Some((Ending::Failed(_), time)) => ("ERROR ", *time),
    };
    let time = format!("{:.1}s", time.as_secs_f64());
    let own = fitted(&format!(" => {mark}{}", part.name), columns - time.len() - 2);
    let mut lines = vec![format!("{}{}{time}", own.text, " ".repeat(columns - time.len() - 1 - own.width))];
    let mut below: Vec<String> = part.notes.iter().map(|note| format!(" => => {note}")).collect();
    let layers = part.layers.iter();
    below.extend(
        layers.map(|(layer, step)| format!(" => => {} {}", layer.short(), words(Direction::Pull, *step))),
    );
    if part.ending.is_none() {
        let said = &part.tail[part.tail.len().saturating_sub(TAIL)..];
        below.extend(said.iter().map(|said| format!(" => => # {}", line(last_of(said)))));
    }
    lines.extend(below.iter().map(|text| fitted(text, columns - 1).text));
    lines
}

/// What a terminal would show of a line that a program has written over itself again and again.
fn last_of(line: &str) -> &str {
    let line = line.trim_end_matches('\r');
    line.rsplit('\r').next().unwrap_or(line)
}

/// A text that takes no more than so many columns.
struct Fitted {
    text: String,
    width: usize,
}

/// Letters that may be wide count as if they were.
fn fitted(text: &str, columns: usize) -> Fitted {
    let mut fitted = Fitted { text: String::new(), width: 0 };
    for letter in text.chars() {
        let width = if letter.is_ascii() { 1 } else { 2 };
        if fitted.width + width > columns {
            break;
        }
        fitted.text.push(letter);
        fitted.width += width;
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Stream;

    fn parts() -> BTreeMap<usize, Part> {
        let names = ["[internal] load build context", "[1/3] FROM base", "[2/3] RUN make", "[3/3] RUN true"];
        let mut parts: BTreeMap<usize, Part> =
            (1..).zip(names.map(|name| Part::begin(name.to_string()))).collect();
        let part = |parts: &mut BTreeMap<usize, Part>, number: usize, ending: Ending| {
            drop(parts.get_mut(&number).expect("a part").end(ending, Duration::from_millis(1250)));
        };
        part(&mut parts, 1, Ending::Done);
        parts.get_mut(&1).expect("a part").notes.push("transferring".into());
        part(&mut parts, 2, Ending::Cached);
        for number in 0..10 {
            let said = format!("line {number}\rover \x1b[2J{number}\n");
            parts.get_mut(&3).expect("a part").write(Stream::Stdout, said.as_bytes());
        }
        parts
    }

    #[test]
    fn what_runs_and_what_has_ended_is_shown() {
        let lines = compose(&parts(), Duration::from_millis(2310), 60, 100, false);
        assert_eq!(lines[0], "[+] Building 2.3s (2/4)");
        assert_eq!(lines[1], format!(" => [internal] load build context{}1.2s", " ".repeat(22)));
        assert_eq!(lines[2], " => => transferring");
        assert!(lines[3].starts_with(" => CACHED [1/3] FROM base ") && lines[3].len() == 59, "{lines:?}");
        assert!(lines[4].starts_with(" => [2/3] RUN make "));
        assert_eq!((lines.len(), lines[5].as_str()), (12, " => => # over \\u001b[2J4"));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let lines = compose(&parts(), Duration::ZERO, 60, 9, false);
        assert_eq!(lines.len(), 9);
        assert!(
            lines[1].starts_with(" => [2/3] RUN make") && lines[8].starts_with(" => [3/3] RUN true"),
            "{lines:?}"
        );
        assert_eq!(compose(&parts(), Duration::ZERO, 60, 3, false).len(), 3);
        let long = BTreeMap::from([(1, Part::begin("x".repeat(100) + &"ä".repeat(100)))]);
        assert_eq!(compose(&long, Duration::ZERO, 60, 9, false)[1].chars().count(), 59);
        assert_eq!(fitted("aää", 4).text, "aä");
    }

    #[test]
    fn it_is_drawn_over_itself() {
        let (mut screen, parts) = (Screen::default(), parts());
        assert!(screen.draw("", &parts, Duration::ZERO, false).starts_with("\r\x1b[J[+]"));
        let again = screen.draw("box: a word\n", &parts, Duration::ZERO, false);
        assert!(again.starts_with("\x1b[12A\r\x1b[Jbox: a word\n[+]"), "{again:?}");
        assert!(screen.draw("", &parts, Duration::ZERO, true).contains("(2/4) FINISHED\n"));
    }
}
