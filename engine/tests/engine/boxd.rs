//! A boxd of a test's own, and a client as small as it can be.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Room, wait_for};

/// A boxd that serves a room's store.
pub struct Boxd {
    child: Child,
    pub socket: PathBuf,
    pidfile: PathBuf,
    /// What it writes on stderr.
    said: PathBuf,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Boxd {
    pub fn start(room: &Room, name: &str) -> Boxd {
        Boxd::with(room, name, &[])
    }

    pub fn with(room: &Room, name: &str, flags: &[&str]) -> Boxd {
        let socket = room.folder.join(format!("{name}.sock"));
        let pidfile = room.folder.join(format!("{name}.pid"));
        // That of one that was killed.
        let _ = std::fs::remove_file(&pidfile);
        let log = room.folder.join(format!("{name}.log"));
        let host = format!("unix://{}", socket.display());
        let (pid, log) = (pidfile.display().to_string(), log.display().to_string());
        let fixed = ["daemon", "--host", &host, "--pidfile", &pid, "--log", &log];
        let mut command: Command = room.command_within("600", &[&fixed, flags].concat());
        let said = room.folder.join(format!("{name}.stderr"));
        let stderr = std::fs::File::create(&said).expect("file");
        let child = command.stdout(Stdio::null()).stderr(stderr).spawn().expect("boxd");
        let boxd = Boxd { child, socket, pidfile, said };
        wait_for("boxd", || UnixStream::connect(&boxd.socket).is_ok() && boxd.pidfile.exists());
        boxd
    }

    pub fn pid(&self) -> Pid {
        let text = std::fs::read_to_string(&self.pidfile).expect("pid file");
        Pid::from_raw(text.trim().parse().expect("a number")).expect("a pid")
    }

    /// Kilobytes of memory that it has.
    pub fn resident(&self) -> u64 {
        let text =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_pid())).expect("status");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.split_whitespace().next().expect("a number").parse().expect("a number")
    }

    /// Ends it without a warning.
    pub fn kill(mut self) {
        kill_process(self.pid(), Signal::KILL).expect("kill");
        self.child.wait().expect("wait");
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_some()
    }

    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
        stream
    }

    /// Sends bytes as they are.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("send");
        let mut reader = BufReader::new(stream);
        if bytes.starts_with(b"HEAD ") {
            let (status, headers) = read_head(&mut reader);
            return Answer { status, headers, body: Vec::new() };
        }
        read_answer(&mut reader)
    }

    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut stream = self.connect();
        send(&mut stream, method, path, "", body);
        read_answer(&mut BufReader::new(stream))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None)
    }

    pub fn post(&self, path: &str, body: Option<&Value>) -> Answer {
        self.call("POST", path, body)
    }

    /// A document, with the status that it has to have.
    #[track_caller]
    pub fn json(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> Value {
        let answer = self.call(method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        answer.json()
    }

    /// What is said with an error.
    #[track_caller]
    pub fn refused(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> String {
        let document = self.json(method, path, body, status);
        document["message"].as_str().expect("a message").to_string()
    }

    /// Sends a body as a tar.
    pub fn send_tar(&self, method: &str, path: &str, tar: &[u8]) -> Answer {
        let head = format!(
            "{method} /v1.51{path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
            tar.len()
        );
        self.raw(&[head.as_bytes(), tar].concat())
    }

    /// A stream in both directions, behind the answer's head.
    pub fn hijack(&self, path: &str, body: Option<&Value>) -> (u16, BufReader<UnixStream>) {
        let mut stream = self.connect();
        send(&mut stream, "POST", path, "Connection: Upgrade\r\nUpgrade: tcp\r\n", body);
        let mut reader = BufReader::new(stream);
        let (status, _) = read_head(&mut reader);
        (status, reader)
    }
}

impl Drop for Boxd {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process(self.pid(), Signal::TERM);
            let _ = self.child.wait();
        }
        // A thread that panics answers nobody, and the others go on.
        let said = std::fs::read_to_string(&self.said).unwrap_or_default();
        if said.contains("panicked at") && !std::thread::panicking() {
            panic!("boxd: {said}");
        }
    }
}

fn send(stream: &mut UnixStream, method: &str, path: &str, headers: &str, body: Option<&Value>) {
    let text = body.map(Value::to_string).unwrap_or_default();
    let kind = if body.is_some() { "Content-Type: application/json\r\n" } else { "" };
    let length = text.len();
    let head = format!(
        "{method} /v1.51{path} HTTP/1.1\r\nHost: d\r\n{headers}{kind}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all((head + &text).as_bytes()).expect("send");
}

/// The status and the headers.
pub fn read_head(reader: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status");
    let status =
        line.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_string())),
            None => return (status, headers),
        }
    }
}

fn read_answer(reader: &mut impl BufRead) -> Answer {
    let (status, headers) = read_head(reader);
    let body = read_body(reader, &headers);
    Answer { status, headers, body }
}

/// What follows a head, if its length is told.
pub fn read_body(reader: &mut impl BufRead, headers: &[(String, String)]) -> Vec<u8> {
    let header =
        |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let mut body = Vec::new();
    match (header("content-length"), header("transfer-encoding")) {
        (Some(length), _) => {
            let length: u64 = length.parse().expect("a length");
            reader.take(length).read_to_end(&mut body).expect("a body");
        }
        (None, Some("chunked")) => {
            while let Some(chunk) = read_chunk(reader) {
                body.extend_from_slice(&chunk);
            }
        }
        _ => {}
    }
    body
}

/// A piece of a body whose length nobody knows; `None` at its end.
pub fn read_chunk(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).expect("the length of a chunk");
    let length = u64::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("{line:?}"));
    let mut chunk = vec![0; length as usize + 2];
    reader.read_exact(&mut chunk).expect("a chunk");
    chunk.truncate(length as usize);
    (length > 0).then_some(chunk)
}

/// What has come of stdout and of stderr, in frames, until the end.
pub fn streams(reader: &mut impl Read) -> [String; 2] {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("a stream");
    let (mut streams, mut rest): ([String; 2], &[u8]) = (Default::default(), &bytes);
    while let Some((head, more)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let text = String::from_utf8_lossy(&more[..length]).into_owned();
        streams[usize::from(head[0]) - 1] += &text;
        rest = &more[length..];
    }
    assert!(rest.is_empty(), "{rest:?}");
    streams
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The documents of a stream, one a line.
    pub fn documents(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("a document")).collect()
    }
}
