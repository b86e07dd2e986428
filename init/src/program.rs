//! The last steps: the working folder, the user's home, the executable, execve(2).

use core::ffi::CStr;

use heapless::Vec;
use pillbox_init::plan::operation::{Exec, FindExecutable};
use pillbox_init::report::Stage;
use pillbox_init::sys;
use rustix::fd::OwnedFd;
use rustix::fs::{Access, AtFlags, CWD, FileType, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::Uid;

use crate::failure::{At, Failure};
use crate::mem::{Place, PointerTable};
use crate::path::{self, PATH_MAX, c_str};

/// `HOME=`, a path, and its NUL.
type Home = Vec<u8, { b"HOME=".len() + PATH_MAX }>;

/// What is found out about the program before it is executed.
#[derive(Default)]
pub struct State {
    /// Whether init was refused its working folder, so that `retry_cwd` has to enter it.
    cwd_refused: bool,
    /// Its HOME, if it is to be set.
    home: Home,
    executable: Vec<u8, PATH_MAX>,
}

/// Enters the working folder while init still has its rights.
pub fn set_cwd(program: &mut State, path: &CStr) -> Result<(), Failure> {
    match rustix::process::chdir(path) {
        Ok(()) => check_cwd(),
        // It may be a folder of the user's on a file system where root has no rights (NFS, FUSE).
        Err(Errno::ACCESS | Errno::PERM) => {
            program.cwd_refused = true;
            Ok(())
        }
        Err(errno) => Err(errno.into()),
    }
}

pub fn retry_cwd(program: &State, path: &CStr) -> Result<(), Failure> {
    if program.cwd_refused {
        rustix::process::chdir(path)?;
        check_cwd()?;
    }
    Ok(())
}

/// Checks that the working folder lies inside the root. One outside (/proc/self/fd/N of a leaked descriptor)
/// has no path: the kernel says "(unreachable)".
fn check_cwd() -> Result<(), Failure> {
    let mut buffer = [0u8; PATH_MAX];
    let path = sys::getcwd(&mut buffer).at(Stage::Verify)?;
    if path.to_bytes().first() == Some(&b'/') { Ok(()) } else { Err(Errno::NOENT).at(Stage::Verify) }
}

/// HOME as login(1) sets it: the sixth field of the user's line in the container's /etc/passwd, else `/`.
pub fn read_home(program: &mut State, root: &OwnedFd, uid: Uid) -> Result<(), Failure> {
    let home = &mut program.home;
    home.extend_from_slice(b"HOME=").map_err(|_| Errno::NAMETOOLONG)?;
    let known = home.len();
    if let Ok(file) = path::open_with(
        root,
        c"/etc/passwd",
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
        ResolveFlags::empty(),
    ) {
        // An image may have a link to /dev/zero there.
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == FileType::RegularFile {
            find_home(&file, uid, home)?;
        }
    }
    if home.len() == known {
        home.push(b'/').map_err(|_| Errno::NAMETOOLONG)?;
    }
    home.push(0).map_err(|_| Errno::NAMETOOLONG)?;
    Ok(())
}

/// Appends the home from the first line of this uid that has one. Lines may have any length.
fn find_home(file: &OwnedFd, uid: Uid, home: &mut Home) -> Result<(), Errno> {
    const NUMBER: usize = 2;
    const HOME: usize = 5;
    // Not even a huge sparse file is read for ever.
    const READS_MAX: usize = 1 << 16;
    let mut buffer = [0u8; 1024];
    let (mut field, mut number, mut digits, known) = (0, Some(0u32), 0, home.len());
    for _ in 0..READS_MAX {
        let length = rustix::io::read(file, &mut buffer)?;
        let bytes = if length == 0 { &b"\n"[..] } else { &buffer[..length] };
        for &byte in bytes {
            match byte {
                b'\n' if home.len() > known => return Ok(()),
                b'\n' => (field, number, digits) = (0, Some(0), 0),
                b':' => field += 1,
                _ if field == NUMBER => {
                    digits += 1;
                    let digit = byte.is_ascii_digit().then_some(u32::from(byte & 15));
                    number = number
                        .zip(digit)
                        .and_then(|(number, digit)| number.checked_mul(10)?.checked_add(digit));
                }
                _ if field == HOME && digits > 0 && number == Some(uid.as_raw()) => {
                    home.push(byte).map_err(|_| Errno::NAMETOOLONG)?;
                }
                _ => {}
            }
        }
        if length == 0 {
            return Ok(());
        }
    }
    Err(Errno::FBIG)
}

/// Searches as execvp(3) does; what it finds is executed later.
pub fn find_executable(program: &mut State, step: &FindExecutable<'_>) -> Result<(), Failure> {
    let name = step.name.to_bytes();
    if name.is_empty() {
        return Err(Errno::NOENT.into());
    }
    if name.contains(&b'/') {
        program.executable = candidate(b"", name)?;
        return check_executable(c_str(&program.executable)?).map_err(Failure::from);
    }
    let mut refused = Errno::NOENT;
    for folder in step.search.to_bytes().split(|&byte| byte == b':') {
        let folder = if folder.is_empty() { b"." } else { folder };
        let Ok(path) = candidate(folder, name) else { continue };
        match check_executable(c_str(&path)?) {
            Ok(()) => {
                program.executable = path;
                return Ok(());
            }
            Err(errno @ (Errno::ACCESS | Errno::PERM)) => refused = errno,
            Err(_) => {}
        }
    }
    Err(refused.into())
}

fn candidate(folder: &[u8], name: &[u8]) -> Result<Vec<u8, PATH_MAX>, Errno> {
    let mut path = Vec::new();
    let mut push = |bytes: &[u8]| path.extend_from_slice(bytes).map_err(|_| Errno::NAMETOOLONG);
    if !folder.is_empty() {
        push(folder)?;
        push(b"/")?;
    }
    push(name)?;
    push(b"\0")?;
    Ok(path)
}

fn check_executable(path: &CStr) -> Result<(), Errno> {
    let status = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    // For a user other than root this leaves capabilities out of account: if there are any, the next call
    // decides.
    let refused = match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::empty()) {
        Err(Errno::ACCESS) if !rustix::thread::capabilities(None)?.effective.is_empty() => Errno::ACCESS,
        asked => return asked,
    };
    match sys::may_execute(path) {
        // The kernel or an installed filter is older than that call: execve(2) will decide.
        Err(Errno::NOSYS | Errno::PERM) if status.st_mode & 0o111 != 0 => Ok(()),
        Err(Errno::NOSYS | Errno::PERM) => Err(refused),
        asked => asked,
    }
}

/// Lets signals end init until it executes the program; signal n is bit n - 1.
pub fn end_on_signals(signals: u64) -> Result<(), Errno> {
    (1..=64).filter(|number| signals >> (number - 1) & 1 != 0).try_for_each(sys::end_on_signal)
}

/// Returns only if execve(2) fails and the runtime has to report it. If `start` has opened the gate
/// (`is_started`), most failures end init as they would end a shell.
pub fn exec(
    program: &State,
    inherited: sys::Inherited,
    is_started: bool,
    Exec { arguments, environment }: &Exec<'_>,
) -> Result<(), Failure> {
    let home = if program.home.is_empty() { None } else { Some(c_str(&program.home)?) };
    let arguments = PointerTable::new(Place::Arguments, arguments.len(), arguments.iter())?;
    let environment =
        PointerTable::new(Place::Environment, environment.len() + 1, environment.iter().chain(home))?;
    let path = c_str(&program.executable)?;
    let errno = arguments.exec(path, &environment);
    if is_started {
        end_like_a_shell(inherited, path, errno);
    }
    Err(errno.into())
}

/// For a container's manager, a container that was started has run, even if its program cannot be executed:
/// the reason goes to its output, and its status is what a shell would give. Other failures, such as missing
/// memory, are left to `start`.
fn end_like_a_shell(inherited: sys::Inherited, path: &CStr, errno: Errno) {
    let (status, words): (i32, &[u8]) = match errno {
        Errno::NOENT => {
            (127, b"no such file or directory: it, or the interpreter that it names, is missing\n")
        }
        Errno::NOTDIR => (127, b"not a directory: it, or the interpreter that it names, is missing\n"),
        Errno::ACCESS | Errno::PERM => (126, b"permission denied\n"),
        Errno::NOEXEC => (126, b"exec format error: not a program for this machine\n"),
        Errno::TOOBIG => (126, b"process.args or process.env: too long\n"),
        _ => return,
    };
    let _ = sys::ignore_signal(linux_raw_sys::general::SIGPIPE);
    let parts = [b"exec ", path.to_bytes(), b": ", words];
    let _ = rustix::io::writev(inherited.fd(2), &parts.map(rustix::io::IoSlice::new));
    sys::exit(status)
}
