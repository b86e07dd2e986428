//! Work in a container's root, or with the ids of an ordinary user's containers: by this program once more, in namespaces of its
//! own.

mod network;
mod place;
mod rootless;
mod streams;
mod task;

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};

pub use network::{act_on_networks, forward, hold_namespaces, open_name_sockets};
pub use place::{Bind, Ended, Place, Standing};
pub use rootless::{Entrance, NetworkAct, is_held};
pub use streams::{leave_streams, null};
use task::{Answer, Task};
pub use task::{Copy, OwnLayer, Pick, Source, copy_out_of, landing, move_into};

use crate::error::{Context, Error, Kind, Result};
use crate::ids::{IdMaps, Range};
use crate::layer::{Change, Gathering, Laying, Unpacked};
use crate::program::program;
use crate::stop::Stop;

/// The name by which the program is called for it.
const NAME: &str = "box-inside";

/// What the child says when it stands in its namespace.
const READY: &str = "ready\n";

/// Unpacks a layer into an empty folder.
///
/// # Errors
/// As for [`unpack`](crate::layer::unpack); the ids cannot be mapped.
pub fn unpack_layer(maps: &IdMaps, stream: &mut dyn Read, folder: &Path, stop: &Stop) -> Result<Unpacked> {
    let inside = Inside::start(Some(maps), &Task::Unpack { folder: folder.to_path_buf() })?;
    let _program = stop.over_program(&inside.child)?;
    match inside.feed(&mut |input| Ok(std::io::copy(stream, input).map(drop)?))? {
        Answer::Unpacked { unpacked } => Ok(unpacked),
        _ => Err(other_question()),
    }
}

/// Deletes a folder with files of any of the ids.
///
/// # Errors
/// The kernel refused; the ids cannot be mapped.
pub fn delete(maps: &IdMaps, folder: &Path) -> Result<()> {
    Inside::start(Some(maps), &Task::Delete { folder: folder.to_path_buf() })?.answer().map(drop)
}

/// Unpacks what `fill` writes into a container's root.
///
/// # Errors
/// It cannot be put there; `fill` failed.
pub fn copy_in(
    maps: Option<&IdMaps>,
    place: &Place,
    copy: Copy,
    fill: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let inside = Inside::start(maps, &Task::CopyIn { place: place.clone(), copy })?;
    inside.check(place)?;
    inside.feed(fill).map(drop)
}

/// What a container has changed.
///
/// # Errors
/// A layer cannot be read.
pub fn changes(maps: Option<&IdMaps>, layer: OwnLayer) -> Result<Vec<Change>> {
    match Inside::start(maps, &Task::Changes(layer))?.answer()? {
        Answer::Changes(changes) => Ok(changes),
        _ => Err(other_question()),
    }
}

/// Copies what layers, the topmost one first, have together in a folder into one of the host's.
///
/// # Errors
/// Something cannot be copied; the ids cannot be mapped.
pub fn copy_out(maps: &IdMaps, layers: &[PathBuf], path: &str, to: &Path) -> Result<()> {
    let task = Task::CopyOut { layers: layers.to_vec(), path: path.to_string(), to: to.to_path_buf() };
    Inside::start(Some(maps), &task)?.answer().map(drop)
}

/// Moves what is in a folder into another one, by the ids of containers.
///
/// # Errors
/// Something cannot be moved; the ids cannot be mapped.
pub fn move_files(maps: &IdMaps, from: &Path, to: &Path) -> Result<()> {
    let task = Task::Move { from: from.to_path_buf(), to: to.to_path_buf() };
    Inside::start(Some(maps), &task)?.answer().map(drop)
}

/// How many bytes of the disk a folder takes.
///
/// # Errors
/// It cannot be read.
pub fn usage(maps: Option<&IdMaps>, folder: &Path) -> Result<u64> {
    if maps.is_none() {
        return crate::layer::usage(folder);
    }
    match Inside::start(maps, &Task::Usage { folder: folder.to_path_buf() })?.answer()? {
        Answer::Usage(bytes) => Ok(bytes),
        _ => Err(other_question()),
    }
}

/// Lays down what `fill` writes, a tar of what was gathered, in a root.
///
/// # Errors
/// It cannot be put there; `fill` failed.
pub fn lay(
    maps: Option<&IdMaps>,
    place: &Place,
    laying: &Laying,
    fill: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let inside = Inside::start(maps, &Task::Lay { place: place.clone(), laying: laying.clone() })?;
    inside.feed(fill).map(drop)
}

/// Dates back what is younger than a moment, in seconds since 1970.
///
/// # Errors
/// The kernel refused.
pub fn date_back(maps: Option<&IdMaps>, folder: &Path, latest: i64) -> Result<()> {
    if maps.is_none() {
        return crate::layer::date_back(folder, latest);
    }
    Inside::start(maps, &Task::Date { folder: folder.to_path_buf(), latest })?.answer().map(drop)
}

/// A tar of files in a container's root, or of a container's own layer, as it is read.
pub struct TarStream(Inside);

impl TarStream {
    /// Begins to pack something in a container's root.
    ///
    /// # Errors
    /// The process for it cannot be started; the container has ended.
    pub fn of(maps: Option<&IdMaps>, place: &Place, pick: Pick) -> Result<TarStream> {
        let inside = Inside::start(maps, &Task::Pack { place: place.clone(), pick })?;
        inside.check(place)?;
        Ok(TarStream(inside))
    }

    /// Begins to pack a container's own layer, with what it hides.
    ///
    /// # Errors
    /// The process for it cannot be started.
    pub fn of_layer(maps: Option<&IdMaps>, layer: OwnLayer) -> Result<TarStream> {
        Inside::start(maps, &Task::PackLayer(layer)).map(TarStream)
    }

    /// Begins to gather files in a root.
    ///
    /// # Errors
    /// The process for it cannot be started.
    pub fn of_gathered(maps: Option<&IdMaps>, place: &Place, gathering: &Gathering) -> Result<TarStream> {
        let task = Task::Gather { place: place.clone(), gathering: gathering.clone() };
        Inside::start(maps, &task).map(TarStream)
    }

    /// The result of whoever has read it, unless there was nothing whole to read.
    ///
    /// # Errors
    /// Something could not be packed, or the reader failed.
    pub fn finish<T>(self, read: Result<T>) -> Result<T> {
        let Inside { child, input, output, answers } = self.0;
        // It ends when nobody reads what it writes.
        drop((input, output));
        match (finish(child, answers), read) {
            (Err(error), Ok(_)) => Err(error),
            (Err(error), Err(_)) if error.kind() != Kind::Closed => Err(error),
            (_, read) => read,
        }
    }
}

impl Read for TarStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.output.read(buffer)
    }
}

fn other_question() -> Error {
    Error::corrupt("an answer to another question")
}

fn no_pipe() -> Error {
    Error::invalid("no pipe")
}

/// The child, as its parent sees it.
struct Inside {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    answers: BufReader<ChildStderr>,
}

impl Inside {
    fn start(maps: Option<&IdMaps>, task: &Task) -> Result<Inside> {
        let standing = match (maps, task.place()) {
            (None, _) => Standing::OfCaller,
            (Some(_), Some(Place::Process { .. })) => Standing::OfProcess,
            (Some(_), _) => Standing::OwnIds,
        };
        let text =
            |value: serde_json::Result<String>| value.map_err(|error| Error::invalid(error.to_string()));
        let mut command = program("/proc/self/exe");
        command
            .arg0(NAME)
            .arg(text(serde_json::to_string(&standing))?)
            .arg(text(serde_json::to_string(task))?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context(|| "start a process with your container ids")?;
        let mut input = child.stdin.take().ok_or_else(no_pipe)?;
        let mut output = BufReader::new(child.stdout.take().ok_or_else(no_pipe)?);
        let answers = BufReader::new(child.stderr.take().ok_or_else(no_pipe)?);
        let mut line = String::new();
        output.read_line(&mut line).context(|| "a process with your container ids")?;
        let go =
            |input: &mut ChildStdin| input.write_all(b"\n").context(|| "a process with your container ids");
        let mapped = match maps.filter(|_| standing == Standing::OwnIds) {
            // It says itself why it does not come so far.
            _ if line != READY => Ok(()),
            None => go(&mut input),
            Some(maps) => set_maps(maps, child.id()).and_then(|()| go(&mut input)),
        };
        let inside = Inside { child, input: Some(input), output, answers };
        match mapped {
            Ok(()) if line != READY => Err(inside.answer().err().unwrap_or_else(other_question)),
            Ok(()) => Ok(inside),
            Err(error) => {
                // It ends when its input does.
                let _ = inside.answer();
                Err(error)
            }
        }
    }

    /// The process whose root it has found is still the one that was meant.
    fn check(&self, place: &Place) -> Result<()> {
        match place {
            Place::Process { ended, pid } if ended.has_ended()? => {
                Err(Error::conflict(format!("the container has just ended (process {pid})")))
            }
            _ => Ok(()),
        }
    }

    /// Gives it what `fill` writes. It ends early when it refuses something, and says why.
    fn feed(mut self, fill: &mut dyn FnMut(&mut dyn Write) -> Result<()>) -> Result<Answer> {
        let mut input = self.input.take().ok_or_else(no_pipe)?;
        let filled = fill(&mut input);
        drop(input);
        let answer = self.answer();
        match filled {
            Err(error) if error.kind() != Kind::Closed && answer.is_ok() => Err(error),
            _ => answer,
        }
    }

    /// The answer of a child that goes on.
    fn leave(mut self) -> Result<(Child, Answer)> {
        match self.first_answer() {
            Ok(answer) => Ok((self.child, answer)),
            Err(error) => {
                self.input = None;
                let _ = self.child.wait();
                Err(error)
            }
        }
    }

    fn first_answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context(|| "a process with your container ids")?;
        parse_answer(&line).unwrap_or_else(|| {
            let said = line.trim();
            Err(Error::new(Kind::Host, format!("a process with your container ids has not answered: {said}")))
        })
    }

    fn answer(self) -> Result<Answer> {
        let Inside { child, input, output: _output, answers } = self;
        drop(input);
        finish(child, answers)
    }
}

fn finish(mut child: Child, mut answers: BufReader<ChildStderr>) -> Result<Answer> {
    let mut text = String::new();
    let read = answers.read_to_string(&mut text);
    let status = child.wait().context(|| "wait for a process with your container ids")?;
    read.context(|| "a process with your container ids")?;
    parse_answer(text.lines().last().unwrap_or_default()).unwrap_or_else(|| {
        let said = text.trim();
        Err(Error::new(Kind::Host, format!("the process with your container ids ended: {status} {said}")))
    })
}

/// A line that the child has said; `None` if it is no answer.
fn parse_answer(line: &str) -> Option<Result<Answer>> {
    match serde_json::from_str(line).ok()? {
        Answer::Refused { text, kind } => Some(Err(Error::new(kind, text))),
        answer => Some(Ok(answer)),
    }
}

fn set_maps(maps: &IdMaps, pid: u32) -> Result<()> {
    if !maps.is_squashed() {
        map("newuidmap", pid, &maps.users)?;
        return map("newgidmap", pid, &maps.groups);
    }
    // One's own id anybody may map; a group only once there are no others to get rid of.
    let write = |name: &str, text: &str| {
        let path = format!("/proc/{pid}/{name}");
        std::fs::write(&path, text).context(|| path)
    };
    let line = |ranges: &[Range]| {
        ranges
            .iter()
            .map(|Range { inside, outside, count }| format!("{inside} {outside} {count}\n"))
            .collect::<String>()
    };
    write("uid_map", &line(&maps.users))?;
    write("setgroups", "deny")?;
    write("gid_map", &line(&maps.groups))
}

/// Sets a map by the setuid program that may.
fn map(helper: &str, pid: u32, ranges: &[Range]) -> Result<()> {
    let mut command = program(helper);
    command.arg(pid.to_string());
    for Range { inside, outside, count } in ranges {
        command.args([inside, outside, count].map(u32::to_string));
    }
    let output = command.stdin(Stdio::null()).output().context(|| helper.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(Kind::Host, format!("{helper}: {}", text.trim().replace('\n', " "))))
}

/// Whether the program was called for this, by its name.
pub fn is_called(program: Option<&OsStr>) -> bool {
    program.is_some_and(|name| name == NAME)
}

/// What the program does when it was called for this; the result is its exit status.
pub fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    task::main(arguments)
}
