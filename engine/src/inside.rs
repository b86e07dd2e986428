//! Work that needs the ids of an ordinary user's containers: by this program once more, in a user namespace with the same ids.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use pillbox::root::Layers;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result};
use crate::ids::{IdMaps, Range};
use crate::layer::{Ownership, Unpacked, Unpacking, copy_tree, unpack};

/// The name by which the program is called for it.
const NAME: &str = "box-inside";

/// What the child says when it stands in its namespace.
const READY: &str = "ready\n";

/// `CLONE_NEWUSER`.
const NEW_USER: u32 = 0x1000_0000;

/// `CLONE_NEWNS`.
const NEW_MOUNTS: u32 = 0x0002_0000;

/// How it went, in one line of JSON.
#[derive(Serialize, Deserialize)]
enum Answer {
    Unpacked { unpacked: Unpacked },
    Done,
    Refused { text: String, is_corrupt: bool },
}

/// Unpacks a layer into an empty folder.
///
/// # Errors
/// As for [`unpack`]; the ids cannot be mapped.
pub fn unpack_layer(maps: &IdMaps, stream: &mut dyn Read, folder: &Path) -> Result<Unpacked> {
    let mut inside = Inside::start(maps, "unpack", folder)?;
    let mut input = inside.input.take().ok_or_else(|| Error::invalid("no pipe"))?;
    // The child ends early when it refuses a layer, and says why.
    let copied = std::io::copy(stream, &mut input);
    drop(input);
    match (inside.answer()?, copied) {
        (Answer::Unpacked { unpacked }, Ok(_)) => Ok(unpacked),
        (Answer::Refused { text, is_corrupt }, _) => {
            Err(Error::new(if is_corrupt { Kind::Corrupt } else { Kind::Host }, text))
        }
        (_, Err(error)) => Err(error.into()),
        (Answer::Done, _) => Err(Error::corrupt("an answer to another question")),
    }
}

/// Deletes a folder with files of any of the ids.
///
/// # Errors
/// The kernel refused; the ids cannot be mapped.
pub fn delete(maps: &IdMaps, folder: &Path) -> Result<()> {
    match Inside::start(maps, "delete", folder)?.answer()? {
        Answer::Refused { text, .. } => Err(Error::new(Kind::Host, text)),
        _ => Ok(()),
    }
}

/// Copies what layers, the topmost one first, have together in a folder into one of the host's.
///
/// # Errors
/// Something cannot be copied; the ids cannot be mapped.
pub fn copy_out(maps: &IdMaps, layers: &[PathBuf], path: &str, to: &Path) -> Result<()> {
    let mut inside = Inside::start(maps, "copy", to)?;
    let asked = serde_json::to_vec(&(layers, path)).map_err(|error| Error::invalid(error.to_string()))?;
    if let Some(mut input) = inside.input.take() {
        input.write_all(&asked).context(|| "a process with your container ids")?;
    }
    match inside.answer()? {
        Answer::Refused { text, .. } => Err(Error::new(Kind::Host, text)),
        _ => Ok(()),
    }
}

/// The same by the calling process, with its own rights.
///
/// # Errors
/// Something cannot be copied.
pub fn copy_out_of(layers: &[PathBuf], path: &str, to: &Path, keeps_owners: bool) -> Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let to = rustix::fs::open(to, flags, Mode::empty()).context(|| to.display().to_string())?;
    let root = match keeps_owners {
        true => Layers::new(layers.iter().map(PathBuf::as_path)).mount()?,
        // Without rights there is no overlay: the topmost layer that has the folder is what there is.
        false => {
            let has_it = |layer: &&PathBuf| layer.join(path.trim_start_matches('/')).is_dir();
            let Some(layer) = layers.iter().find(has_it) else { return Ok(()) };
            rustix::fs::open(layer, flags, Mode::empty()).context(|| layer.display().to_string())?
        }
    };
    let beneath = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&root, path, flags, Mode::empty(), beneath) {
        // The container has an empty folder there.
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(rustix::fs::fchmod(&to, Mode::from_raw_mode(0o755))?),
        folder => copy_tree(folder?, &to, keeps_owners),
    }
}

/// The child, as its parent sees it.
struct Inside {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Inside {
    fn start(maps: &IdMaps, task: &str, folder: &Path) -> Result<Inside> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0(NAME).arg(task).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context(|| "start a process with your container ids")?;
        let gone = || Error::invalid("no pipe");
        let mut input = child.stdin.take().ok_or_else(gone)?;
        let output = child.stdout.take().ok_or_else(gone)?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).context(|| "a process with your container ids")?;
        let mapped = match line == READY {
            true => map("newuidmap", child.id(), &maps.users)
                .and_then(|()| map("newgidmap", child.id(), &maps.groups))
                .and_then(|()| input.write_all(b"\n").context(|| "a process with your container ids")),
            false => Err(Error::new(Kind::Host, format!("make a user namespace: {}", line.trim()))),
        };
        let inside = Inside { child, input: Some(input), output };
        match mapped {
            Ok(()) => Ok(inside),
            Err(error) => {
                // It ends when its input does.
                let _ = inside.answer();
                Err(error)
            }
        }
    }

    fn answer(mut self) -> Result<Answer> {
        drop(self.input.take());
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        let status = self.child.wait().context(|| "wait for a process with your container ids")?;
        read.context(|| "a process with your container ids")?;
        serde_json::from_str(&line).map_err(|_| {
            Error::new(Kind::Host, format!("the process with your container ids ended: {status}"))
        })
    }
}

/// Sets a map by the setuid program that may.
fn map(program: &str, pid: u32, ranges: &[Range]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for Range { inside, outside, count } in ranges {
        command.args([inside, outside, count].map(u32::to_string));
    }
    let output = command.stdin(Stdio::null()).output().context(|| program.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(Kind::Host, format!("{program}: {}", text.trim().replace('\n', " "))))
}

/// Whether the program was called for this, by its name.
pub fn is_called(program: Option<&OsStr>) -> bool {
    program.is_some_and(|name| name == NAME)
}

/// What the program does when it was called for this; the result is its exit status.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let (Some(task), Some(folder)) = (arguments.next(), arguments.next()) else { return 1 };
    let mut stdout = std::io::stdout();
    let mut say = |text: &str| stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok();
    if let Err(errno) = pillbox_init::sys::unshare_namespaces(NEW_USER) {
        say(&format!("{}\n", std::io::Error::from(errno)));
        return 1;
    }
    let mut go = [0];
    if !say(READY) || !matches!(std::io::stdin().read(&mut go), Ok(1)) {
        return 1;
    }
    let done = match task.to_str() {
        Some("unpack") => {
            let unpacking = Unpacking::new(Ownership::KeptInUserNamespace);
            unpack(std::io::stdin().lock(), Path::new(&folder), unpacking)
                .map(|unpacked| Answer::Unpacked { unpacked })
        }
        Some("copy") => copy_as_asked(Path::new(&folder)).map(|()| Answer::Done),
        Some("delete") => remove(Path::new(&folder)).map(|()| Answer::Done),
        _ => Err(Error::invalid("an unknown task")),
    };
    let answer = done.unwrap_or_else(|error| Answer::Refused {
        text: error.to_string(),
        is_corrupt: error.kind() == Kind::Corrupt,
    });
    let text = serde_json::to_string(&answer).unwrap_or_default();
    u8::from(!say(&format!("{text}\n")))
}

fn copy_as_asked(to: &Path) -> Result<()> {
    let (layers, path): (Vec<PathBuf>, String) = serde_json::from_reader(std::io::stdin().lock())
        .map_err(|error| Error::corrupt(error.to_string()))?;
    // An overlay is made where its layers' mounts are.
    pillbox_init::sys::unshare_namespaces(NEW_MOUNTS).map_err(std::io::Error::from)?;
    copy_out_of(&layers, &path, to, true)
}

fn remove(folder: &Path) -> Result<()> {
    let name = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes()).map_err(std::io::Error::from)?;
    Ok(crate::deletion::delete(rustix::fs::CWD, &name)?)
}
