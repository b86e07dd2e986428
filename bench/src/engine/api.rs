//! Docker's API: boxd beside dockerd, by Docker's client and without one.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Figure;
use super::contender::{Contender, field};
use super::image::FIVE;
use super::life::names;
use crate::course::{Course, Line, interleave, lines};
use crate::error::{Context, Result, error};
use crate::runtime::Cost;

/// What Docker's client does without a daemon.
pub const CLIENT: &str = "docker --version";
/// A container by Docker's client.
pub const RUN: &str = "API: docker run --rm --network none";
/// A container without a client.
pub const LIFE: &str = "API: create, start, wait, remove";
/// How many containers are listed.
pub const LISTED: usize = 200;
/// How many containers there are when a daemon starts.
const KNOWN: usize = 500;
/// The longest answer that is looked into, in bytes.
const SHORT: usize = 1 << 12;
/// How often a daemon is started for its first list.
const STARTS: usize = 5;
/// How many containers a client starts at once.
const AT_ONCE: usize = 100;
/// Memory that a daemon that has nothing to do keeps, with the daemons that it has started.
pub const IDLE: &str = "API: daemon, idle: RSS in MB";
/// The time from a daemon's start to its list.
pub const FIRST: &str = "API: first list of 500 after a start, ms";
/// How many containers failed of those that are started at once.
pub const FAILED: &str = "API: 100 × docker run -d at once: failed";

const SETTLE: Duration = Duration::from_millis(50);

/// The case of the list.
pub fn list() -> String {
    format!("API: list of {LISTED}")
}

/// Measures all of it; the first contender is boxd, which can be started again.
pub fn measure(course: &Course<'_>, contenders: &mut [Contender]) -> Result<(Vec<Line>, Vec<Figure>)> {
    let list = list();
    let cases = [CLIENT, RUN, LIFE, &list];
    eprintln!("bench: {} …", cases.join(", "));
    let mut figures: Vec<Figure> = Vec::new();
    for engine in &*contenders {
        // It has started everything that it starts with the first container.
        engine.time(&["run", "--rm", "--network", "none", FIVE, "/bin/true"])?;
        // What it has started for that ends behind the answer.
        std::thread::sleep(SETTLE);
        figures.push(Figure { what: IDLE.into(), subject: engine.name, value: resident(engine)? });
        (0..LISTED).try_for_each(|_| create(engine).map(drop))?;
    }
    let samples = interleave(course.runs, cases.len(), contenders, &mut |engine, samples| {
        samples[0].add(engine.time(&["--version"]));
        samples[1].add(engine.time(&["run", "--rm", "--network", "none", FIVE, "/bin/true"]));
        samples[2].add(timed(|| life(engine)));
        samples[3].add(timed(|| ask(engine, "GET", "/containers/json?all=1", None, 200).map(drop)));
        std::thread::sleep(SETTLE);
    });
    let measured = lines(&cases, &names(contenders), samples);
    // Before the others have something to tidy up.
    if let Some(boxd) = contenders.first_mut() {
        (LISTED..KNOWN).try_for_each(|_| create(boxd).map(drop))?;
        let name = boxd.name;
        let mut times = (0..STARTS).map(|_| first_list(boxd)).collect::<Result<Vec<f64>>>()?;
        times.sort_by(f64::total_cmp);
        figures.push(Figure { what: FIRST.into(), subject: name, value: times[STARTS / 2] });
    }
    for engine in &*contenders {
        figures.push(Figure { what: FAILED.into(), subject: engine.name, value: at_once(engine)? as f64 });
    }
    contenders.iter().for_each(Contender::discard_all);
    Ok((measured, figures))
}

fn timed(action: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let began = Instant::now();
    action()?;
    Ok(Cost { time: began.elapsed() })
}

/// A request on a connection of its own. The answer must have this status.
fn ask(engine: &Contender, method: &str, path: &str, body: Option<&Value>, status: u16) -> Result<Value> {
    let socket = engine.socket().ok_or_else(|| error(format!("{} has no socket", engine.name)))?;
    let answer = exchange(&socket, method, path, body).context(|| format!("{method} {path}"))?;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split(' ').nth(1) != Some(&status.to_string()) {
        return Err(error(format!("{}: {method} {path}: {answer}", engine.name)));
    }
    // A list is not looked into, which would take longer than the answer: it comes in chunks from one, and in one piece from the other.
    if text.len() > SHORT {
        return Ok(Value::Null);
    }
    Ok(serde_json::from_str(text.trim()).unwrap_or_default())
}

fn exchange(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<String> {
    let mut connection = UnixStream::connect(socket)?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut request = format!("{method} /v1.47{path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n");
    if !body.is_empty() {
        request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    connection.write_all(format!("{request}\r\n{body}").as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Creates a container; its id.
fn create(engine: &Contender) -> Result<String> {
    let mut host = json!({"NetworkMode": "none"});
    if let Some(cgroup) = engine.cgroup() {
        host["CgroupParent"] = cgroup.into();
    }
    let body = json!({"Image": FIVE, "Cmd": ["/bin/true"], "HostConfig": host});
    let made = ask(engine, "POST", "/containers/create", Some(&body), 201)?;
    made["Id"].as_str().map(str::to_string).ok_or_else(|| error(format!("{}: no id: {made}", engine.name)))
}

/// A container from its creation to its removal.
fn life(engine: &Contender) -> Result<()> {
    let id = create(engine)?;
    ask(engine, "POST", &format!("/containers/{id}/start"), None, 204)?;
    // Its head comes before the end, and its document in a chunk.
    ask(engine, "POST", &format!("/containers/{id}/wait"), None, 200)?;
    ask(engine, "DELETE", &format!("/containers/{id}"), None, 204)?;
    Ok(())
}

/// Resident memory of a daemon and of those that it has started, in MB.
fn resident(engine: &Contender) -> Result<f64> {
    let kib: Result<Vec<_>> =
        engine.daemons().into_iter().map(|pid| field(format!("/proc/{pid}/status"), "VmRSS:")).collect();
    Ok(f64::from(kib?.into_iter().sum::<i32>()) * 1024.0 / 1e6)
}

/// Starts many containers by as many clients; how many failed.
fn at_once(engine: &Contender) -> Result<usize> {
    eprintln!("bench: {AT_ONCE} clients of {} at once …", engine.name);
    let mut clients = Vec::new();
    for _ in 0..AT_ONCE {
        let mut command = engine.command(&["run", "-d", "--network", "none", FIVE, "/bin/true"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        clients.push(command.spawn().context(|| format!("spawn {command:?}"))?);
    }
    let mut failed = 0;
    for client in &mut clients {
        failed += usize::from(!client.wait().context(|| "wait")?.success());
    }
    Ok(failed)
}

/// From the start of a daemon to its first answer, in ms.
fn first_list(engine: &mut Contender) -> Result<f64> {
    engine.stop_daemon();
    std::thread::sleep(SETTLE);
    if let Some(socket) = engine.socket() {
        // The old one takes it along.
        let _ = fs::remove_file(socket);
    }
    let began = Instant::now();
    engine.start_daemon()?;
    loop {
        match ask(engine, "GET", "/containers/json?all=1", None, 200) {
            Ok(_) => return Ok(began.elapsed().as_secs_f64() * 1e3),
            Err(error) if began.elapsed() > Duration::from_secs(30) => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
}
