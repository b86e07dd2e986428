//! The store at every system call: a process is killed there, or the call fails as it does without room, descriptors or a
//! healthy file system. What it leaves must be readable, what others have must stay, and nothing may be lost or stuck.
//!
//! Its own harness: a tracer waits for all children of its process.

#[path = "../store/place.rs"]
mod place;

use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use pillbox_network::store::Store;
use pillbox_network::{Attachment, Error, Holder, Network, Port, Protocol, Range};
use pillbox_ptrace::{Next, Stop, Tracees, Tracer, set_result, skip_call};

use place::{Place, attachment, check_empty, check_reserved, check_single, collect, ip, range, release};

/// getppid(2), which the worker calls before its work.
const MARK: i64 = 110;

/// Calls on x86-64, and how they fail.
const FAILURES: [(i64, i64); 16] = [
    (0, EIO),      // read
    (1, ENOSPC),   // write
    (17, EIO),     // pread64
    (18, ENOSPC),  // pwrite64
    (41, EMFILE),  // socket
    (49, ENOBUFS), // bind
    (73, ENOLCK),  // flock
    (217, EIO),    // getdents64
    (257, EMFILE), // openat
    (257, ENOSPC),
    (258, ENOSPC), // mkdirat
    (263, EIO),    // unlinkat
    (264, ENOSPC), // renameat
    (266, ENOSPC), // symlinkat
    (267, EIO),    // readlinkat
    (316, ENOSPC), // renameat2
];

/// brk, mmap, munmap, mremap, madvise: how many there are depends on the lengths of names.
const MEMORY: [i64; 5] = [12, 9, 11, 25, 28];

const EIO: i64 = 5;
const EMFILE: i64 = 24;
const ENOSPC: i64 = 28;
const ENOLCK: i64 = 37;
const ENOBUFS: i64 = 105;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [work, folder] = &arguments[..]
        && work.starts_with("work-")
    {
        let _ = rustix::process::getppid();
        let folder = Path::new(folder);
        let result = if work == "work-all" { work_all(folder) } else { attach(folder, "measured").map(drop) };
        if let Err(error) = result {
            eprintln!("{error}");
            std::process::exit(1);
        }
        return;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    if filter.is_some_and(|filter| !"store_calls".contains(filter)) {
        return;
    }
    if !cfg!(target_arch = "x86_64") {
        return eprintln!("SKIP store_calls: knows the registers of x86-64 only");
    }
    let fresh = inject(Place::new);
    // One folder for all, where containers have come and gone.
    let shared = Place::new();
    prepare(&shared);
    let used = inject(|| &shared);
    let (alone, beside) = count_calls(&shared);
    assert_eq!(alone, beside, "calls for one container, alone and beside a thousand");
    let store = shared.store();
    let locked = store.lock().expect("locked");
    locked.attachments().expect("readable").iter().for_each(|attachment| release(&locked, attachment));
    collect(&locked);
    check_empty(&shared);
    println!(
        "store_calls: {fresh} cases in a new folder, {used} in a used one; {alone} calls for a container: ok"
    );
}

/// The range of five addresses.
fn small() -> Range {
    let subnet = pillbox_network::Cidr::parse("10.88.7.0/29").expect("a subnet");
    Range { subnet, gateway: Some(pillbox_network::Ip(subnet.hosts().0)), first: None, last: None }
}

/// What containers do, one after the other.
fn work_all(folder: &Path) -> Result<(), Error> {
    let store = Store::open(&folder.join("network"))?;
    let gone = Holder { path: folder.join("gone").display().to_string(), ..Holder::default() };
    let mut locked = store.lock()?;
    locked.put_network(&Network { name: "net".to_string(), ..Network::default() })?;
    let v4 = locked.lease("net", &small(), None, "first")?;
    let v6 = locked.lease("net", &range(false, 9), None, "first")?;
    let ports = [
        locked.reserve(&Port::default(), "first")?,
        locked.reserve(&Port { protocol: Protocol::Udp, ..Port::default() }, "first")?,
    ];
    let first = attachment(&store, "first", gone.clone(), &[v4, v6], &ports);
    locked.note(&first)?;
    drop(locked);
    // One that is given back because it was never noted.
    let mut locked = store.lock()?;
    let wanted = locked.lease("net", &small(), None, "second")?;
    drop(locked);
    let mut locked = store.lock()?;
    let wanted = locked.lease("net", &small(), Some(wanted.ip), "second")?;
    let second = attachment(&store, "second", gone, &[wanted], &[]);
    locked.note(&second)?;
    locked.note(&second)?;
    drop(locked);
    let locked = store.lock()?;
    locked.release_leases(&first)?;
    locked.release_ports(&first)?;
    locked.strike("first")?;
    locked.remove_network("net")?;
    locked.sweep()?;
    let stale = locked.stale()?;
    assert!(stale.attachments.contains(&second) || !stale.unreadable.is_empty(), "{stale:?}");
    Ok(())
}

/// Lets a container live there, and all addresses be used once.
fn prepare(place: &Place) {
    let store = place.store();
    let mut locked = store.lock().expect("locked");
    let leases: Vec<_> = (0..5).map(|_| locked.lease("net", &small(), None, "x").expect("free")).collect();
    let used = attachment(&store, "x", Holder::default(), &leases, &[]);
    locked.note(&used).expect("noted");
    release(&locked, &used);
    let lease = locked.lease("net", &small(), None, "bystander").expect("free");
    let port = locked.reserve(&Port::default(), "bystander").expect("free");
    let bystander = attachment(&store, "bystander", Holder::default(), &[lease], &[port]);
    locked.note(&bystander).expect("noted");
}

/// Kills the worker at each call, and lets each call fail, each time in a place. Returns how many cases there were.
fn inject<P: AsPlace>(place: impl Fn() -> P) -> usize {
    let mut cases = 0;
    for at in 0.. {
        let try_one = |way| {
            let place = place();
            let run = Run::of("work-all", place.get().path(), at, way);
            let name = format!("call {at}, {way:?}, {:?}", run.calls.get(at));
            let is_right = match (run.calls.get(at), way) {
                (Some(_), Way::Kill) => run.status.code().is_none(),
                (Some(_), Way::Fail(_)) => matches!(run.status.code(), Some(0 | 1)),
                (None, _) | (_, Way::Nothing) => run.status.success(),
            };
            assert!(is_right, "{name}: {}", run.status);
            judge(place.get(), &name);
            run.calls.get(at).copied()
        };
        // Once there is no such call, the work is done.
        let Some(number) = try_one(Way::Kill) else { break };
        cases += 1;
        for (_, errno) in FAILURES.iter().filter(|(of, _)| *of == number) {
            try_one(Way::Fail(*errno));
            cases += 1;
        }
    }
    cases
}

/// Checks what a worker has left, and removes it as `gc` does.
fn judge(place: &Place, name: &str) {
    let Some(store) = Store::find(&place.path().join("network")).expect(name) else { return };
    let mut locked = store.lock().expect(name);
    check_single(&locked.attachments().expect(name));
    let bystander = locked.attachment("bystander").expect(name);
    collect(&locked);
    assert_eq!(locked.attachments().expect(name), Vec::from_iter(bystander.clone()), "{name}");
    bystander.iter().for_each(|bystander| check_reserved(place, bystander));
    assert!(locked.left_behind().expect(name).freed.is_empty(), "{name}");
    let ports = std::fs::read_dir(place.path().join("network/ports")).into_iter().flatten().count();
    assert_eq!(ports, usize::from(bystander.is_some()), "{name}");
    let free = 5 - usize::from(bystander.is_some());
    for _ in 0..free {
        let lease =
            locked.lease("net", &small(), None, "all").unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_ne!(lease.ip, ip("10.88.7.1"), "{name}");
    }
    locked.lease("net", &small(), None, "more").expect_err(name);
}

/// What one container does.
fn attach(folder: &Path, key: &str) -> Result<Attachment, Error> {
    let store = Store::open(&folder.join("network"))?;
    let mut locked = store.lock()?;
    let lease = locked.lease("net", &range(true, 2000), None, key)?;
    let port = locked.reserve(&Port::default(), key)?;
    let attachment = attachment(&store, key, Holder::default(), &[lease], &[port]);
    locked.note(&attachment).map(|()| attachment)
}

/// How many calls a container takes, alone and beside a thousand.
fn count_calls(place: &Place) -> (usize, usize) {
    let count = || {
        // The first one finds no file that says in which order addresses are given.
        let runs = [(); 2].map(|()| {
            let run = Run::of("work-one", place.path(), 0, Way::Nothing);
            assert!(run.status.success(), "{}", run.status);
            let store = place.store();
            let locked = store.lock().expect("locked");
            release(&locked, &locked.attachment("measured").expect("readable").expect("noted"));
            run.calls.len()
        });
        runs[1]
    };
    let alone = count();
    for number in 0..1000 {
        attach(place.path(), &format!("container-{number}")).expect("attached");
    }
    (alone, count())
}

trait AsPlace {
    fn get(&self) -> &Place;
}

impl AsPlace for Place {
    fn get(&self) -> &Place {
        self
    }
}

impl AsPlace for &Place {
    fn get(&self) -> &Place {
        self
    }
}

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Kill,
    /// It is not made, and fails with this errno.
    Fail(i64),
    Nothing,
}

/// A worker, and what happens to it.
struct Run {
    at: usize,
    way: Way,
    /// The calls that it began after the mark.
    calls: Vec<i64>,
    status: ExitStatus,
}

impl Run {
    /// Runs the worker in that folder to its end.
    fn of(work: &str, folder: &Path, at: usize, way: Way) -> Run {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.arg(work).arg(folder).stderr(Stdio::null());
        let mut run = Run { at, way, calls: Vec::new(), status: ExitStatus::default() };
        run.status = Tracees::default().run(&mut command, &mut run).expect("ptrace is allowed");
        run
    }
}

#[derive(Default)]
struct Tracee {
    has_begun: bool,
    is_in_call: bool,
    /// The failure of the call that it is in.
    failing: Option<i64>,
}

impl Tracer for Run {
    type Tracee = Tracee;

    fn begin(&mut self, _: i32, _: Option<&mut Tracee>) -> Tracee {
        Tracee::default()
    }

    fn stopped(&mut self, pid: i32, process: &mut Tracee, stop: Stop) -> io::Result<Next> {
        let number = match stop {
            Stop::Call(number) => number,
            Stop::Signal(signal) => return Ok(Next::Call(signal)),
            _ => return Ok(Next::Call(0)),
        };
        process.is_in_call = !process.is_in_call;
        if !process.is_in_call {
            if let Some(errno) = process.failing.take() {
                set_result(pid, -errno)?;
            }
            return Ok(Next::Call(0));
        }
        if !process.has_begun {
            process.has_begun = number == MARK;
            return Ok(Next::Call(0));
        }
        if MEMORY.contains(&number) {
            return Ok(Next::Call(0));
        }
        self.calls.push(number);
        if self.calls.len() == self.at + 1 {
            match self.way {
                Way::Nothing => {}
                Way::Kill => {
                    let process = rustix::process::Pid::from_raw(pid).expect("a pid");
                    rustix::process::kill_process(process, rustix::process::Signal::KILL)?;
                    return Ok(Next::Killed);
                }
                Way::Fail(errno) => {
                    skip_call(pid)?;
                    process.failing = Some(errno);
                }
            }
        }
        Ok(Next::Call(0))
    }
}
