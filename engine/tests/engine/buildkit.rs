//! Builds by BuildKit's protocol, as buildx asks for them.

use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::boxd::Boxd;
use crate::grpc::{
    BridgeRequest, BridgeResponse, BridgeResult, CacheOptions, Calls, Empty, Ended, Exporter, Name, Packet,
    Reference, ReturnRequest, Served, Session, SolveRequest, SolveResponse, Stat, StatusResponse, Vertex,
    framed, runtime, upgrade,
};
use crate::harness::{Room, wait_for};
use crate::numbers::Numbers;

const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";
const STATUS: &str = "/moby.buildkit.v1.Control/Status";
const BRIDGE: &str = "/moby.buildkit.v1.frontend.LLBBridge";

/// Bits of Go's modes.
const FOLDER: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
const SETUID: u32 = 1 << 23;

/// A boxd with an image, and a client of it.
struct Client {
    boxd: Boxd,
    runtime: Arc<Runtime>,
    calls: Calls,
    folder: std::path::PathBuf,
}

/// What has come of a build, and what was told of it.
struct Outcome {
    exporter: std::collections::BTreeMap<String, String>,
    ended: Ended,
    news: Vec<StatusResponse>,
}

impl Outcome {
    #[track_caller]
    fn ok(self) -> Outcome {
        assert_eq!((self.ended.0, self.ended.1.as_str()), (0, ""), "{}", self.text());
        self
    }

    /// What programs have written.
    fn text(&self) -> String {
        let logs = self.news.iter().flat_map(|news| &news.logs);
        logs.map(|log| String::from_utf8_lossy(&log.bytes).into_owned()).collect()
    }

    /// The ends of all parts.
    fn ends(&self) -> Vec<&Vertex> {
        let vertexes = self.news.iter().flat_map(|news| &news.vertexes);
        vertexes.filter(|vertex| vertex.completed.is_some()).collect()
    }

    #[track_caller]
    fn end_of(&self, name: &str) -> &Vertex {
        let found = self.ends().into_iter().find(|vertex| vertex.name.contains(name));
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.news))
    }
}

impl Client {
    fn new(room: &Room) -> Client {
        let boxd = Boxd::start(room, "d");
        let tar = fs::read(room.tar("rootfs.tar")).expect("tar");
        assert_eq!(boxd.send_tar("POST", "/images/create?fromSrc=-&repo=test", &tar).status, 200);
        let runtime = runtime();
        let calls = Calls::new(&boxd, &runtime);
        Client { boxd, runtime, calls, folder: room.folder.clone() }
    }

    /// Builds, and looks on.
    fn solve(
        &self,
        name: &str,
        served: Served,
        attributes: &[(&str, &str)],
        output: Output,
    ) -> (Outcome, Arc<Served>) {
        self.solve_request(&self.request(name, attributes, output), served)
    }

    fn solve_request(&self, request: &SolveRequest, served: Served) -> (Outcome, Arc<Served>) {
        let name = request.reference.as_str();
        let served = Arc::new(served);
        let _session = Session::new(&self.boxd, &self.runtime, &format!("session-{name}"), &served);
        let (solved, looked) = std::thread::scope(|scope| {
            let looked = scope.spawn(|| self.calls.ask(STATUS, "", &Name { name: name.into() }));
            (self.calls.ask(SOLVE, "", request), looked.join().expect("a look"))
        });
        let (messages, ended) = solved;
        let exporter =
            messages.first().map(|bytes| prost::Message::decode(bytes.clone()).expect("an answer"));
        let SolveResponse { exporter } = exporter.unwrap_or_default();
        let news = looked.0.into_iter().map(|bytes| prost::Message::decode(bytes).expect("news")).collect();
        (Outcome { exporter, ended, news }, served)
    }

    fn request(&self, name: &str, attributes: &[(&str, &str)], output: Output) -> SolveRequest {
        let parent = format!("test-{}-engine", crate::host::run_name());
        let fixed = [("force-network-mode", "none"), ("cgroup-parent", parent.as_str())];
        let attributes = fixed.iter().chain(attributes);
        let exporters = output.map(|(kind, attributes)| Exporter {
            kind: kind.to_string(),
            attributes: attributes
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
        });
        SolveRequest {
            reference: name.into(),
            session: format!("session-{name}"),
            frontend: "dockerfile.v0".into(),
            attributes: attributes.map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            cache: None,
            exporters: exporters.into_iter().collect(),
        }
    }
}

/// The kind of an output, and its attributes.
type Output<'a> = Option<(&'a str, &'a [(&'a str, &'a str)])>;

fn file(path: &str, mode: u32, content: &[u8]) -> (Stat, Vec<u8>) {
    let stat = Stat { path: path.into(), mode, size: content.len() as i64, ..Stat::default() };
    (stat, content.to_vec())
}

/// A client with a Dockerfile in its context, and other files.
fn served(dockerfile: &str, files: &[(Stat, Vec<u8>)]) -> Served {
    let own = file("Dockerfile", 0o644, dockerfile.as_bytes());
    let mut context = [std::slice::from_ref(&own), files].concat();
    context.sort_by(|one, other| one.0.path.cmp(&other.0.path));
    let folders = [("dockerfile".to_string(), vec![own]), ("context".to_string(), context)];
    Served { folders: folders.into(), ..Served::default() }
}

#[test]
fn a_build_and_the_same_once_more() {
    let Some(room) = Room::new() else { return };
    let client = Client::new(&room);
    let large: Vec<u8> = (0..3_000_000u32).map(|number| (number / 7) as u8).collect();
    let files = [
        file("a", SETUID | 0o755, b"one"),
        file("folder", FOLDER | 0o750, b""),
        file("folder/b", 0o600, b"two"),
        file("large", 0o644, &large),
        (Stat { path: "link".into(), mode: LINK | 0o777, link: "a".into(), ..Stat::default() }, vec![]),
        (Stat { path: "name".into(), mode: SETUID | 0o755, link: "a".into(), ..Stat::default() }, vec![]),
        file(".dockerignore", 0o644, b"*.log\n"),
    ];
    let many: Vec<_> = (0..300).map(|number| file(&format!("n{number:03}"), 0o644, b"x")).collect();
    let files = [&files[..], &many].concat();
    let dockerfile = "FROM test\nCOPY . /files\nRUN cd /files && ls -l a link name && cat a folder/b && wc -c <large && ls n* | wc -l && echo err >&2\nLABEL x=y\n";
    let output: Output = Some(("moby", &[("name", "mine:1,other:2")]));
    let (first, asked) = client.solve("first", served(dockerfile, &files), &[("label:l", "v")], output);
    let first = first.ok();
    let text = first.text();
    for words in ["-rwsr-xr-x", "link -> a", "onetwo", "3000000", "301\n", "err"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(*asked.excluded.lock().unwrap(), ["*.log"]);
    assert!(first.ends().iter().all(|vertex| !vertex.cached && vertex.error.is_empty()));
    assert!(
        first.news.iter().flat_map(|news| &news.logs).any(|log| log.stream == 2 && log.bytes == b"err\n")
    );
    let id = &first.exporter["containerimage.config.digest"];
    assert_eq!(first.exporter["image.name"], "docker.io/library/mine:1,docker.io/library/other:2");
    assert!(first.exporter["containerimage.digest"].starts_with("sha256:"));
    for name in ["mine:1", "other:2"] {
        let image = client.boxd.json("GET", &format!("/images/{name}/json"), None, 200);
        assert_eq!((&image["Id"], &image["Config"]["Labels"]), (&json!(id), &json!({"l": "v", "x": "y"})));
    }
    // Once more, with times that are others.
    let files: Vec<_> =
        files.into_iter().map(|(stat, content)| (Stat { modified: 1 << 60, ..stat }, content)).collect();
    let (second, _) = client.solve("second", served(dockerfile, &files), &[("label:l", "v")], output);
    let second = second.ok();
    assert!(second.end_of("RUN cd /files").cached && second.end_of("COPY . /files").cached);
    assert_eq!(second.exporter["containerimage.config.digest"], *id);
    // What was kept is listed, and goes.
    let list = |path: &str| client.calls.ask(path, "", &Empty {}).0;
    assert!(!list("/moby.buildkit.v1.Control/DiskUsage")[0].is_empty());
    assert_eq!(list("/moby.buildkit.v1.Control/Prune").len(), 2);
    assert!(list("/moby.buildkit.v1.Control/DiskUsage")[0].is_empty());
    let said = client.calls.ask("/moby.buildkit.v1.Control/ListenBuildHistory", "", &Empty {}).1;
    assert_eq!((said.0, said.1.as_str()), (12, "boxd keeps no history of builds"));
}

/// As buildx does it: the client is the front end, and settles on a result, which may be the context of another build.
#[test]
fn a_client_is_its_own_front_end() {
    let Some(room) = Room::new() else { return };
    let client = Client::new(&room);
    let calls = &client.calls;
    let ask =
        |build: &str, dockerfile: &str, attributes: &[(&str, &str)], inputs: Vec<(String, Reference)>| {
            let SolveRequest { attributes, .. } = client.request(build, attributes, None);
            let served = Arc::new(served(dockerfile, &[]));
            let session = Session::new(&client.boxd, &client.runtime, &format!("session-{build}"), &served);
            let inputs =
                inputs.into_iter().map(|(name, found)| (name, found.definition.expect("LLB"))).collect();
            let question = BridgeRequest { frontend: "dockerfile.v0".into(), attributes, inputs };
            let BridgeResponse { result } = calls.one(&format!("{BRIDGE}/Solve"), build, &question);
            (result.and_then(|result| result.reference).expect("a result"), session)
        };
    let settle = |build: &str, reference: Option<Reference>| {
        let result = Some(BridgeResult { reference });
        calls.one::<Empty>(&format!("{BRIDGE}/Return"), build, &ReturnRequest { result });
    };
    std::thread::scope(|scope| {
        let solve = |name: &'static str, output| {
            let request = SolveRequest { frontend: String::new(), ..client.request(name, &[], output) };
            let attributes = std::collections::BTreeMap::new();
            scope.spawn(move || calls.ask(SOLVE, "", &SolveRequest { attributes, ..request }))
        };
        // Whoever only looks what can be done builds nothing.
        let looks = solve("looks", None);
        assert!(!calls.ask(&format!("{BRIDGE}/Ping"), "looks", &Empty {}).0[0].is_empty());
        settle("looks", None);
        assert_eq!(looks.join().unwrap().1.0, 0);
        let below = solve("below", None);
        let above = solve("above", Some(("moby", &[("name", "above:1")])));
        let (first, _one) = ask("below", "FROM test\nRUN echo below >/below\n", &[], vec![]);
        let input = vec![("in".to_string(), first.clone())];
        let (second, _other) =
            ask("above", "FROM base\nRUN cat /below\n", &[("context:base", "input:in")], input);
        settle("below", Some(first));
        settle("above", Some(second));
        assert_eq!((below.join().unwrap().1.0, above.join().unwrap().1), (0, (0, String::new(), vec![])));
    });
    let image = client.boxd.json("GET", "/images/above:1/json", None, 200);
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    // Nobody waits for a build that there is not, or for what it has not asked for.
    let said = calls.ask(&format!("{BRIDGE}/Return"), "above", &ReturnRequest::default()).1;
    assert_eq!(said.0, 0);
    let (_, said) = calls.ask(SOLVE, "", &client.request("above", &[], None));
    assert_eq!(said.1, "build above: there is one of that name");
}

#[test]
fn what_goes_wrong_is_said() {
    let Some(room) = Room::new() else { return };
    let client = Client::new(&room);
    let dockerfile = "FROM test\nRUN echo before; exit 3\n";
    let (failed, _) = client.solve("one", served(dockerfile, &[]), &[], None);
    let words = "process \"/bin/sh -c echo before; exit 3\" did not complete successfully: exit code: 3";
    assert_eq!((failed.ended.0, failed.ended.1.as_str()), (2, &*format!("Dockerfile:2: {words}")));
    assert_eq!(failed.end_of("RUN echo before").error, words);
    assert!(failed.text().contains("before\n"), "{}", failed.text());
    // The lines, as clients show them.
    let details = String::from_utf8_lossy(&failed.ended.2).into_owned();
    assert!(
        details.contains("errdefs.Source+json") && details.contains(r#""start":{"line":2}"#),
        "{details}"
    );
    let said = |name: &str, dockerfile: &str, attributes: &[(&str, &str)], output: Output| {
        let (outcome, _) = client.solve(name, served(dockerfile, &[]), attributes, output);
        assert_eq!(outcome.ended.0, 2, "{}", outcome.ended.1);
        outcome.ended.1
    };
    for (number, (dockerfile, attributes, output, words)) in [
        ("FROM test\nRUM x", &[][..], None, "Dockerfile:2: "),
        ("FROM test", &[("filename", "nonesuch")], None, "open nonesuch: no such file or directory"),
        (
            "FROM test",
            &[("context", "https://github.com/a/b.git")],
            None,
            "https://github.com/a/b.git: git fetch: ",
        ),
        ("FROM test", &[("context:x", "oci-layout://y")], None, "--build-context x=oci-layout://y: "),
        ("FROM test", &[("context:x", "local:y")], None, "--build-context x=local:y: "),
        ("FROM test", &[("platform", "linux/amd64,linux/arm64")], None, "one platform at a time"),
        ("FROM test", &[], Some(("moby", &[("name", "A:B:C")][..])), "invalid tag \"A:B:C\""),
        ("FROM test", &[], Some(("moby", &[("compression", "zstd")])), "compression=zstd is not done"),
        ("FROM test", &[], Some(("moby", &[("push", "true")])), "a name is needed"),
        ("FROM test", &[], Some(("floppy", &[])), "--output type=floppy: "),
    ]
    .into_iter()
    .enumerate()
    {
        let said = said(&format!("wrong-{number}"), dockerfile, attributes, output);
        assert!(said.contains(words), "{said}");
    }
    let request =
        SolveRequest { frontend: "gateway.v0".into(), ..client.request("gate", &[("source", "x/y")], None) };
    assert!(client.calls.ask(SOLVE, "", &request).1.1.contains("syntax=x/y: "));
    // A session that does not come.
    let (_, said) = client.calls.ask(SOLVE, "", &client.request("alone", &[], None));
    assert_eq!(said.1, "no active session for session-alone");
}

/// They are compiled within one another, by a thread of boxd's.
#[test]
fn stages_that_need_one_another() {
    let Some(room) = Room::new() else { return };
    let client = Client::new(&room);
    let stages = |count: usize| -> String {
        let next = |number: usize| {
            format!("FROM test AS s{number}\nCOPY --from=s{} /bin/busybox /copied\n", number - 1)
        };
        "FROM test AS s0\n".to_string() + &(1..count).map(next).collect::<String>()
    };
    for count in [101, 5000] {
        let (outcome, _) = client.solve(&format!("many-{count}"), served(&stages(count), &[]), &[], None);
        let said = &outcome.ended.1;
        assert!(said.contains("more than 100 stages, each of which needs the next one"), "{said}");
    }
    let attributes = [("target", "s99"), ("build-arg:A", "b")];
    let (outcome, _) = client.solve("hundred", served(&stages(100), &[]), &attributes, None);
    outcome.ok();
    assert_eq!(client.boxd.get("/_ping").status, 200);
}

#[test]
fn secrets_are_asked_for() {
    let Some(room) = Room::new() else { return };
    let client = Client::new(&room);
    let dockerfile = "FROM test\nRUN --mount=type=secret,id=key,required wc -c </run/secrets/key\nRUN --mount=type=secret,id=none ls /run/secrets || echo nothing\n";
    let mut holder = served(dockerfile, &[]);
    holder.secrets.insert("key".into(), b"hush-hush".to_vec());
    let (found, _) = client.solve("with", holder, &[], None);
    let found = found.ok();
    assert!(found.text().contains("9\n") && found.text().contains("nothing\n"), "{}", found.text());
    let (missing, _) = client.solve("without", served(dockerfile, &[]), &[("no-cache", "")], None);
    assert!(missing.ended.1.contains("the secret key is missing"), "{}", missing.ended.1);
    let grep = std::process::Command::new("grep").args(["-rl", "hush-hush"]).arg(room.data()).output();
    assert_eq!(String::from_utf8_lossy(&grep.expect("grep").stdout), "");
}

#[test]
fn an_ordinary_user_builds() {
    let Some(room) = Room::of_user(1234) else { return };
    room.give_rootfs();
    let client = Client::new(&room);
    let files = [
        file("a", SETUID | 0o755, b"one"),
        file("folder", FOLDER | 0o700, b""),
        file("folder/b", 0o600, b"two"),
    ];
    let dockerfile = "FROM test\nCOPY . /files\nRUN cat /files/a /files/folder/b && id -u\n";
    let (built, _) =
        client.solve("user", served(dockerfile, &files), &[("cgroup-parent", "")], Some(("moby", &[])));
    let built = built.ok();
    assert!(built.text().contains("onetwo0\n"), "{}", built.text());
    let (built, got) =
        client.solve("out", served(dockerfile, &files), &[("cgroup-parent", "")], Some(("tar", &[])));
    built.ok();
    assert!(got.received.lock().unwrap().len() > 512);
}

#[test]
fn files_come_out() {
    let Some(room) = Room::new() else { return };
    let client = Client::new(&room);
    let dockerfile = "FROM test AS make\nRUN mkdir -p /out/sub && echo one >/out/a && echo two >/out/sub/b && ln -s a /out/link && ln /out/a /out/sub/same\nFROM scratch\nCOPY --from=make /out /\n";
    let (built, got) = client.solve("tar", served(dockerfile, &[]), &[], Some(("tar", &[])));
    assert!(built.ok().exporter.is_empty());
    let path = client.folder.join("out.tar");
    fs::write(&path, &*got.received.lock().unwrap()).expect("file");
    let list = std::process::Command::new("tar").args(["-tf"]).arg(&path).output().expect("tar");
    let list = String::from_utf8(list.stdout).expect("text");
    assert!(list.contains("sub/b\n") && list.contains("link\n"), "{list}");
    // A folder is named first.
    let marked = served(dockerfile, &[]);
    marked.listed.lock().unwrap().push("beginning".into());
    let (built, got) = client.solve("local", marked, &[], Some(("local", &[])));
    built.ok();
    assert_eq!(*got.listed.lock().unwrap(), ["beginning", "a", "link", "sub", "sub/b", "sub/same"]);
    let mut content = got.received.lock().unwrap().clone();
    content.sort_unstable();
    assert_eq!(content.len(), 8, "{content:?}");
    let (built, got) = client.solve("oci", served(dockerfile, &[]), &[], Some(("oci", &[("name", "oci:1")])));
    built.ok();
    let tar = got.received.lock().unwrap().clone();
    assert!(tar.windows(10).any(|bytes| bytes == b"oci-layout"));
}

#[test]
fn a_client_that_leaves_ends_its_build() {
    let Some(room) = Room::new() else { return };
    let client = Client::new(&room);
    let served = Arc::new(served("FROM test\nRUN echo begun; sleep 1234\n", &[]));
    let is_running = || {
        let found = std::process::Command::new("pgrep").args(["-f", "^sleep 1234"]).output().expect("pgrep");
        !found.stdout.is_empty()
    };
    let mut names = vec!["one", "two"];
    while let Some(name) = names.pop() {
        let runtime = runtime();
        let session = Session::new(&client.boxd, &runtime, &format!("session-{name}"), &served);
        let mut stream = upgrade(&client.boxd, "/grpc", "");
        let request = framed(&client.request(name, &[], None));
        stream.write_all(&preface(SOLVE, &request)).expect("send");
        wait_for("the program", is_running);
        drop((stream, session));
        wait_for("its end", || !is_running());
    }
    // Others were never held up, and nothing is left.
    assert_eq!(client.boxd.get("/_ping").status, 200);
    let containers = || client.boxd.json("GET", "/containers/json?all=1", None, 200);
    wait_for("the end of its container", || containers() == json!([]));
    let threads = || fs::read_dir(format!("/proc/{}/task", client.boxd.pid().as_raw_pid())).unwrap().count();
    wait_for("the ends of all threads", || threads() <= 2);
}

/// The beginning of HTTP/2, and a call.
fn preface(path: &str, message: &[u8]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let mut block = vec![0x83, 0x86];
    for (name, value) in [(&b":path"[..], path), (b":authority", "d"), (b"content-type", "application/grpc")]
    {
        block.push(0);
        block.push(name.len() as u8);
        block.extend_from_slice(name);
        block.push(value.len() as u8);
        block.extend_from_slice(value.as_bytes());
    }
    for (kind, flags, content) in [(1u8, 4u8, &block[..]), (0, 1, message)] {
        bytes.extend_from_slice(&(content.len() as u32).to_be_bytes()[1..]);
        bytes.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        bytes.extend_from_slice(content);
    }
    bytes
}

/// Whatever comes, there is an answer or an end, and others are served.
#[test]
fn what_is_no_protocol_does_no_harm() {
    let Some(room) = Room::new() else { return };
    let mut client = Client::new(&room);
    assert!(client.boxd.refused("POST", "/grpc", None, 400).contains("must be h2c"));
    assert!(client.boxd.refused("POST", "/session", None, 400).contains("X-Docker-Expose-Session-Uuid"));
    let whole = preface(SOLVE, &framed(&client.request("fuzz", &[], None)));
    let mut numbers = Numbers(11);
    for round in 0..120 {
        let path = if round % 3 == 0 { "/session" } else { "/grpc" };
        let name = format!("X-Docker-Expose-Session-Uuid: fuzz-{round}\r\n");
        let mut stream = upgrade(&client.boxd, path, &name);
        let mut bytes = whole.clone();
        for _ in 0..=numbers.below(5) {
            let at = numbers.below(bytes.len());
            match numbers.below(3) {
                0 => bytes[at] = numbers.below(256) as u8,
                1 => bytes.insert(at, numbers.below(256) as u8),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut said = Vec::new();
        let ended = stream.read_to_end(&mut said);
        assert!(!matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{round}");
    }
    let began = Instant::now();
    for (bytes, code) in [
        (vec![], 2),
        (vec![0, 0, 0, 0, 9, 1], 14),
        (vec![1, 0, 0, 0, 0], 12),
        (vec![0, 0xff, 0xff, 0xff, 0xff], 8),
        ([&[0, 0, 0, 0, 4][..], &[0xff; 4]].concat(), 2),
        // A message in a message in a message.
        ([&[0, 0, 0, 0x10, 0][..], &[0x12; 0x1000]].concat(), 2),
    ] {
        let said = client.calls.raw(SOLVE, "", bytes.clone()).1;
        assert_eq!(said.0, code, "{bytes:?}: {}", said.1);
    }
    for path in
        ["/", "/a.B/C", "/moby.buildkit.v1.Control/Nonesuch", "/moby.buildkit.v1.frontend.LLBBridge/Ping"]
    {
        let said = client.calls.ask(path, "none", &Empty {}).1;
        assert!(matches!(said.0, 5 | 12), "{path}: {said:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(client.boxd.get("/_ping").status, 200);
    assert!(!client.boxd.has_ended());
}

/// A client that sends other files than it has named, or names that lead out of the folder.
#[test]
fn folders_that_lie() {
    let Some(room) = Room::new() else { return };
    let client = Client::new(&room);
    type Lie = fn(Packet) -> Packet;
    let lies: [(Lie, &str); 5] = [
        (|packet| Packet { id: packet.id + 7, ..packet }, "which was not asked for"),
        (
            |mut packet| {
                let more = if packet.data.is_empty() { 0 } else { 40_000 };
                packet.data.extend(vec![b'x'; more]);
                packet
            },
            "large: it was changed while it was sent",
        ),
        (|packet| Packet { kind: if packet.kind == 2 { 4 } else { packet.kind }, ..packet }, "the client: "),
        (|packet| Packet { kind: if packet.kind == 2 { 77 } else { packet.kind }, ..packet }, "kind 77"),
        (
            |packet| {
                let stat = packet.stat.map(|stat| Stat { size: -1, ..stat });
                Packet { stat, ..packet }
            },
            "-1 bytes",
        ),
    ];
    for (number, (lie, words)) in lies.into_iter().enumerate() {
        let large = file("large", 0o644, &[b'l'; 600_000]);
        let mut liar = served("FROM test\nCOPY . /files\n", &[large]);
        liar.lie = Some(lie);
        let (failed, _) = client.solve(&format!("lie-{number}"), liar, &[], None);
        assert!(failed.ended.0 != 0 && failed.ended.1.contains(words), "{number}: {}", failed.ended.1);
    }
    for (number, path) in ["../out", "/etc/../../out", "link/out"].into_iter().enumerate() {
        let target = client.folder.display().to_string();
        let link = Stat { path: "link".into(), mode: LINK | 0o777, link: target, ..Stat::default() };
        let mut liar = served("FROM test\nCOPY . /files\n", &[]);
        let files = liar.folders.get_mut("context").unwrap();
        files.extend([(link, vec![]), file(path, 0o644, b"x")]);
        let (outcome, _) = client.solve(&format!("out-{number}"), liar, &[], None);
        assert!(!client.folder.join("out").exists(), "{path}: {}", outcome.ended.1);
    }
    let images: Value = client.boxd.json("GET", "/images/json", None, 200);
    assert_eq!(images.as_array().unwrap().len(), 1);
}

/// `type=local`: the folder is the client's.
#[test]
fn caches_are_kept_with_the_client() {
    let Some(room) = Room::new() else { return };
    let client = Client::new(&room);
    let dockerfile = "FROM test AS made\nRUN cat /proc/sys/kernel/random/uuid >/noise\nFROM test\nCOPY --from=made /noise /\nRUN true\n";
    let cache = |kind: &str, attributes: &[(&str, &str)]| Exporter {
        kind: kind.into(),
        attributes: attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    };
    let solve = |name: &str, cache: CacheOptions, blobs: std::collections::BTreeMap<String, Vec<u8>>| {
        let output: Output = Some(("moby", &[("name", "mine:1")]));
        let request = SolveRequest { cache: Some(cache), ..client.request(name, &[], output) };
        client.solve_request(&request, Served { blobs: blobs.into(), ..served(dockerfile, &[]) })
    };
    let exports = vec![cache("local", &[("dest", "/cache"), ("mode", "max")]), cache("inline", &[])];
    let (first, kept) = solve("first", CacheOptions { exports, imports: vec![] }, Default::default());
    let first = first.ok();
    let manifest: Value = serde_json::from_str(&first.exporter["cache.manifest"]).expect("a descriptor");
    let digest = manifest["digest"].as_str().expect("digest");
    let blobs = kept.blobs.lock().unwrap().clone();
    assert!(blobs.contains_key(digest), "{digest} in {:?}", blobs.keys());
    client.calls.ask("/moby.buildkit.v1.Control/Prune", "", &Empty {});
    let imports = vec![cache("local", &[("src", "/cache"), ("digest", digest)])];
    let from_there = CacheOptions { imports, exports: vec![cache("inline", &[])] };
    let (second, _) = solve("second", from_there.clone(), blobs.clone());
    let second = second.ok();
    assert!(second.end_of("COPY --from=made").cached && second.end_of("RUN true").cached);
    let id = |outcome: &Outcome| outcome.exporter["containerimage.config.digest"].clone();
    assert_eq!(id(&second), id(&first));
    // What has been falsified is warned of, and is none.
    let falsify =
        |blob: &Vec<u8>| if blob.starts_with(&[0x1f, 0x8b]) { blob[1..].to_vec() } else { blob.clone() };
    let false_ones = blobs.iter().map(|(digest, blob)| (digest.clone(), falsify(blob))).collect();
    client.boxd.json("DELETE", "/images/mine:1?force=true", None, 200);
    let (third, _) = solve("third", from_there, false_ones);
    let third = third.ok();
    assert!(!third.end_of("RUN true").cached && id(&third) != id(&first));
    let warned: Vec<_> = third.news.iter().flat_map(|news| &news.warnings).collect();
    assert!(!warned.is_empty());
}

#[test]
fn several_outputs_come_of_one_build() {
    let Some(room) = Room::new() else { return };
    let client = Client::new(&room);
    let exporter = |kind: &str, attributes: &[(&str, &str)]| Exporter {
        kind: kind.into(),
        attributes: attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
    };
    let request = SolveRequest {
        exporters: vec![exporter("tar", &[]), exporter("moby", &[("name", "mine:1")])],
        ..client.request("both", &[], None)
    };
    let (outcome, served) = client.solve_request(&request, served("FROM test\nRUN echo here >/here\n", &[]));
    let outcome = outcome.ok();
    let image = client.boxd.json("GET", "/images/mine:1/json", None, 200);
    assert_eq!(image["Id"], outcome.exporter["containerimage.config.digest"]);
    let received = served.received.lock().unwrap();
    assert!(received.windows(5).any(|bytes| bytes == b"here\n"), "{} bytes", received.len());
}
