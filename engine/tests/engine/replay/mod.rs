//! What Docker's clients have asked dockerd, asked of boxd.

mod compare;
mod different;
mod recordings;

use std::fs;
use std::io::{BufReader, Write};
use std::net::Shutdown;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::boxd::{Boxd, read_body, read_head};
use crate::distribution::Server;
use crate::harness::Room;
use crate::{host, networks};
use different::DIFFERENT;
use recordings::{Recording, Recordings, Values};

/// One place where boxd is not as recorded.
struct Difference {
    recording: String,
    place: String,
    text: String,
}

/// An answer of which the head alone has been read.
struct Answer {
    reader: BufReader<UnixStream>,
    status: u16,
    headers: Vec<(String, String)>,
}

/// An exchange that ends later.
struct Open<'e> {
    exchange: &'e Value,
    answer: Answer,
}

struct Replay<'r> {
    room: &'r Room,
    boxd: Boxd,
    values: Values,
    /// The last images that were saved.
    saved: Vec<u8>,
    found: Vec<Difference>,
}

#[test]
fn recordings_of_dockers_clients() {
    let Some((room, _alone)) = networks::room() else { return };
    let Some(registry) = Server::open(&room, 5977) else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/docker-api-recordings.json");
    let recordings = Recordings::read(&path);
    let mut replay = Replay::new(&room, &registry);
    for recording in &recordings.recordings {
        replay.run(recording);
    }
    replay.compare_events(&recordings.events);
    let found = std::mem::take(&mut replay.found);
    let left = room.call(&["ps", "-aq"]).ok();
    let names: Vec<&str> = left.lines().collect();
    room.call(&[&["rm", "-f"], &names[..]].concat()).ok();
    let unlisted: Vec<String> = found
        .iter()
        .filter(|difference| !difference.is_listed())
        .map(|Difference { recording, place, text }| format!("{recording} {place}: {text}"))
        .collect();
    assert!(unlisted.is_empty(), "{} differences:\n{}", unlisted.len(), unlisted.join("\n"));
    let is_found = |recording, place| found.iter().any(|difference| difference.is_of(recording, place));
    let stale: Vec<_> =
        DIFFERENT.iter().filter(|(recording, place, _)| !is_found(recording, place)).collect();
    assert!(stale.is_empty(), "these are as recorded: {stale:?}");
}

impl Difference {
    fn is_of(&self, recording: &str, place: &str) -> bool {
        self.recording.starts_with(recording) && self.place.starts_with(place)
    }

    fn is_listed(&self) -> bool {
        DIFFERENT.iter().any(|(recording, place, _)| self.is_of(recording, place))
    }
}

impl<'r> Replay<'r> {
    fn new(room: &'r Room, registry: &Server) -> Replay<'r> {
        let applets = Command::new(host::busybox()).arg("--list").output().expect("busybox").stdout;
        for applet in String::from_utf8(applets).expect("names").lines() {
            let _ = symlink("busybox", room.rootfs().join("bin").join(applet));
        }
        fs::create_dir(room.folder.join("bind")).expect("folder");
        fs::write(room.folder.join("bind/f"), "hello\n").expect("file");
        let mut values = Values::default();
        values.set("registry", &registry.host);
        values.set("room", &room.folder.display().to_string());
        let boxd = Boxd::start(room, "recorded");
        Replay { room, boxd, values, saved: Vec::new(), found: Vec::new() }
    }

    fn run(&mut self, recording: &Recording) {
        let mut open = Vec::new();
        for exchange in &recording.exchanges {
            let place = self.place(exchange);
            if exchange["status"].is_null() {
                self.aside(recording, exchange);
            } else if place.starts_with("GET ") && !is_stream(&place) {
                self.ask_until_it_agrees(recording, exchange);
            } else {
                let answer = self.ask(exchange);
                self.compare_head(recording, exchange, &answer);
                if answer.status == 101 {
                    self.send_input(exchange, &answer);
                }
                match is_held(&place, exchange) {
                    true => open.push(Open { exchange, answer }),
                    false => self.compare(recording, Open { exchange, answer }),
                }
            }
            // Whoever has started a container that is waited for waits now.
            let waits = |one: &Open<'_>| one.exchange["answer"]["StatusCode"].is_number();
            if place == "POST /containers/*/start" && open.iter().any(waits) {
                self.finish(recording, std::mem::take(&mut open));
            }
        }
        self.finish(recording, open);
    }

    /// What was recorded to its end has to end; from the rest the client has gone.
    fn finish(&mut self, recording: &Recording, open: Vec<Open<'_>>) {
        for one in open {
            let is_document = !one.exchange["answer"].is_null();
            let is_output = one.answer.status == 101 || self.place(one.exchange).ends_with("/logs");
            if is_document || is_output {
                self.compare(recording, one);
            }
        }
    }

    /// A request that was made by somebody else, as the recording needs it.
    fn aside(&mut self, recording: &Recording, exchange: &Value) {
        let mut answer = self.ask(exchange);
        let body = read_body(&mut answer.reader, &answer.headers);
        if exchange["ask"] == "GET /images/get" {
            self.saved = body;
        } else if answer.status >= 400 || body.windows(11).any(|part| part == b"errorDetail") {
            self.note(recording, exchange, " aside", String::from_utf8_lossy(&body).into_owned());
        }
    }

    /// What takes its time is asked again.
    fn ask_until_it_agrees(&mut self, recording: &Recording, exchange: &Value) {
        let began = Instant::now();
        let before = self.found.len();
        loop {
            let answer = self.ask(exchange);
            self.compare_head(recording, exchange, &answer);
            self.compare(recording, Open { exchange, answer });
            let agrees = self.found[before..].iter().all(Difference::is_listed);
            if agrees || began.elapsed() > PATIENCE {
                return;
            }
            self.found.truncate(before);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn ask(&mut self, exchange: &Value) -> Answer {
        let asked = exchange["ask"].as_str().expect("a request");
        let (method, path) = asked.split_once(' ').expect("a path");
        let path = self.values.fill(path);
        let version = if path.starts_with("/v1.") || path == "/_ping" { "" } else { "/v1.51" };
        let (kind, body) = self.body(exchange);
        let mut head = format!("{method} {version}{path}{} HTTP/1.1\r\nHost: d\r\n", self.query(exchange));
        if exchange["headers"]["upgrade"].is_string() {
            head += "Connection: Upgrade\r\nUpgrade: tcp\r\n";
        }
        if !kind.is_empty() {
            head += &format!("Content-Type: {kind}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        let mut stream = self.boxd.connect();
        stream.write_all(&[head.as_bytes(), &body].concat()).expect("send");
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader);
        Answer { reader, status, headers }
    }

    fn query(&mut self, exchange: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock").as_secs();
        // All of this second.
        self.values.set("now", &(now + 1).to_string());
        self.values.set("hour ago", &(now - 3600).to_string());
        let mut query = String::new();
        for (name, value) in exchange["query"].as_object().into_iter().flatten() {
            let value = self.values.fill_own(value.as_str().expect("a text"));
            let escaped: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            query += &format!("{}{name}={escaped}", if query.is_empty() { "?" } else { "&" });
        }
        query
    }

    /// The body of a request and its content type.
    fn body(&mut self, exchange: &Value) -> (String, Vec<u8>) {
        let kind = exchange["headers"]["content-type"].as_str();
        let own = |usual: &str| kind.unwrap_or(usual).to_string();
        match &exchange["body"] {
            Value::Null => (own(""), Vec::new()),
            Value::String(text) => match text.split_once(':') {
                Some(("text", text)) => (own("application/json"), text.as_bytes().to_vec()),
                Some(("tar", "saved")) => (own(""), self.saved.clone()),
                Some(("tar", what)) => (own(""), self.tar(what)),
                _ => panic!("{text}: no kind of body"),
            },
            document => {
                let mut document: Value =
                    serde_json::from_str(&self.values.fill_own(&document.to_string())).expect("JSON");
                if exchange["ask"] == "POST /containers/create" && document["HostConfig"].is_object() {
                    document["HostConfig"]["CgroupParent"] =
                        json!(format!("test-{}-engine", host::run_name()));
                }
                (own("application/json"), document.to_string().into_bytes())
            }
        }
    }

    fn tar(&self, what: &str) -> Vec<u8> {
        let folder = self.room.folder.join("tar");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("folder");
        let names: Vec<&str> = match what.strip_prefix("files:") {
            Some(names) => names.split(',').collect(),
            None if what == "rootfs" => return fs::read(self.room.tar("rootfs.tar")).expect("tar"),
            None => vec![".dockerfile.6c8de0723eb8b4fd5d3c", "Dockerfile", "f"],
        };
        for name in &names {
            match name.ends_with('/') {
                true => fs::create_dir_all(folder.join(name)).expect("folder"),
                false => fs::write(folder.join(name), "hello\n").expect("file"),
            }
        }
        let dockerfile = match what {
            "two" => "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1000000 count=3\n",
            "false" => "FROM busybox\nRUN false\n",
            _ => DOCKERFILE,
        };
        for name in names.iter().filter(|name| name.contains("ockerfile")) {
            fs::write(folder.join(name), dockerfile).expect("file");
        }
        let tar = Command::new("tar")
            .arg("-C")
            .arg(&folder)
            .arg("-cf-")
            .arg("--no-recursion")
            .args(&names)
            .output();
        tar.expect("tar").stdout
    }

    fn send_input(&self, exchange: &Value, answer: &Answer) {
        let mut stream = answer.reader.get_ref();
        if let Some(input) = exchange["input"].as_str() {
            stream.write_all(input.as_bytes()).expect("input");
        }
        stream.shutdown(Shutdown::Write).expect("the input's end");
    }

    fn place(&self, exchange: &Value) -> String {
        place(exchange["ask"].as_str().expect("a request"))
    }

    fn note(&mut self, recording: &Recording, exchange: &Value, member: &str, text: String) {
        let place = self.place(exchange) + member;
        self.found.push(Difference { recording: recording.name.clone(), place, text });
    }
}

/// How long a document may take to be as recorded.
const PATIENCE: Duration = Duration::from_secs(12);

const DOCKERFILE: &str = "FROM busybox:latest\nARG WHO=world\nENV GREETING=hello\nWORKDIR /app\nCOPY f /app/f\n\
RUN echo \"$GREETING $WHO\" >/app/out\nEXPOSE 8080/tcp\nLABEL a=b\nVOLUME /data\nUSER 1000\nENTRYPOINT [\"sh\"]\n\
CMD [\"-c\", \"true\"]\n";

/// What is not over when it has been answered.
fn is_held(place: &str, exchange: &Value) -> bool {
    let follows = place.ends_with("/logs") && exchange["query"]["follow"] == "1";
    follows || place.ends_with("/wait") || place.ends_with("/attach") || is_events(place, exchange)
}

fn is_events(place: &str, exchange: &Value) -> bool {
    place == "GET /events" && exchange["query"]["until"].is_null()
}

fn is_stream(place: &str) -> bool {
    place == "GET /events" || place.ends_with("/stats") || place.ends_with("/logs") || place.ends_with("/get")
}

/// A request without what it is about.
fn place(asked: &str) -> String {
    const WORDS: [&str; 7] = ["json", "create", "prune", "load", "get", "search", ""];
    const LAST: [&str; 5] = ["json", "history", "push", "tag", "get"];
    let (method, path) = asked.split_once(' ').expect("a path");
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match parts[..] {
        ["images", first, ..] if !WORDS.contains(&first) => {
            let last = parts.last().filter(|last| parts.len() > 2 && LAST.contains(last));
            last.map_or(format!("{method} /images/*"), |last| format!("{method} /images/*/{last}"))
        }
        [kind @ ("containers" | "exec" | "networks" | "volumes"), first, ref rest @ ..]
            if !WORDS.contains(&first) =>
        {
            let rest: String = rest.iter().map(|part| format!("/{part}")).collect();
            format!("{method} /{kind}/*{rest}")
        }
        _ => asked.to_string(),
    }
}
