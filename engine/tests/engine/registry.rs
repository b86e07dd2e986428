//! A registry that misbehaves as it is told, on this machine's loopback.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use pillbox_engine::Digest;
use serde_json::{Value, json};

use crate::host;

/// A request, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// How many came for the same path before.
    pub before: usize,
}

/// What the registry does with a request.
pub enum Answer {
    /// What a registry does.
    Usual,
    /// A status, with headers and a text.
    Status(u16, Vec<(&'static str, String)>, String),
    /// The usual answer, of which so many bytes come before the connection ends.
    Cut(usize),
    /// The usual answer, of which so many bytes come and nothing more for a long time.
    Stall(usize),
    /// The usual answer, in pieces of so many bytes with a pause before each.
    Slow(usize, Duration),
}

type Behaviour = dyn Fn(&Request) -> Answer + Send + Sync;

/// What a registry has.
#[derive(Default, Clone)]
pub struct Content {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
}

pub struct Registry {
    /// `127.0.0.1:PORT`.
    pub host: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const GZIP_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

impl Content {
    pub fn blob(&mut self, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        self.blobs.insert(digest.to_string(), content.to_vec());
        digest
    }

    /// Puts other bytes in the place of a blob's.
    pub fn falsify(&mut self, digest: &Digest, content: &[u8]) {
        self.blobs.insert(digest.to_string(), content.to_vec());
    }

    pub fn manifest(&mut self, tag: &str, media_type: &str, document: &Value) -> Digest {
        let text = document.to_string().into_bytes();
        let digest = Digest::of(&text);
        for name in [tag.to_string(), digest.to_string()] {
            self.manifests.insert(name, (media_type.to_string(), text.clone()));
        }
        digest
    }

    /// An image of gzip layers; each is given compressed, with the digest of its tar.
    pub fn image(&mut self, tag: &str, architecture: &str, layers: &[(Vec<u8>, Digest)]) -> Digest {
        let document = self.image_document(architecture, layers);
        self.manifest(tag, OCI_MANIFEST, &document)
    }

    pub fn image_document(&mut self, architecture: &str, layers: &[(Vec<u8>, Digest)]) -> Value {
        let diff_ids: Vec<&Digest> = layers.iter().map(|(_, diff_id)| diff_id).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "created": "2024-05-06T07:08:09Z",
            "config": {"Cmd": ["sh", "-c", "echo from the image"], "Labels": {"made": "here"}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": layers.iter().map(|_| json!({"created_by": "a test"})).collect::<Vec<_>>(),
        });
        let config = config.to_string().into_bytes();
        let config_digest = self.blob(&config);
        let layers: Vec<Value> = layers
            .iter()
            .map(|(blob, _)| json!({"mediaType": GZIP_LAYER, "digest": self.blob(blob), "size": blob.len()}))
            .collect();
        json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": layers,
            "config": {"mediaType": OCI_CONFIG, "digest": config_digest, "size": config.len()},
        })
    }
}

impl Registry {
    pub fn start(
        content: Content,
        behaviour: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Registry {
        Registry::start_at("127.0.0.1", content, behaviour)
    }

    pub fn start_at(
        address: &str,
        content: Content,
        behaviour: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Registry {
        raise_loopback();
        let listener = TcpListener::bind((address, 0)).expect("listen");
        let host = listener.local_addr().expect("address").to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let served = Served { content, behaviour: Box::new(behaviour), seen: seen.clone() };
        let served = Arc::new(served);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                // A client that is gone is none.
                std::thread::spawn(move || served.serve(stream).ok());
            }
        });
        Registry { host, seen }
    }

    /// All requests whose path has these words.
    pub fn requests(&self, words: &str) -> Vec<Request> {
        let seen = self.seen.lock().expect("requests");
        seen.iter().filter(|request| request.path.contains(words)).cloned().collect()
    }
}

/// Namespaces are born with a loopback that is down.
pub fn raise_loopback() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut ip = Command::new(host::busybox());
        assert!(ip.args(["ip", "link", "set", "lo", "up"]).status().expect("ip").success());
    });
}

/// An address of this machine that is none of the loopback's.
pub fn distant_address() -> String {
    raise_loopback();
    let mut ip = Command::new(host::busybox());
    // Another test may have been faster.
    ip.args(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"]).output().expect("ip");
    "192.0.2.1".to_string()
}

struct Served {
    content: Content,
    behaviour: Box<Behaviour>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Served {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut beginning = Vec::new();
        while let Some(mut request) = read_request(&mut stream, &mut beginning)? {
            {
                let mut seen = self.seen.lock().expect("requests");
                request.before = seen.iter().filter(|other| other.path == request.path).count();
                seen.push(request.clone());
            }
            if request.method == "CONNECT" {
                stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
                continue;
            }
            let answer = (self.behaviour)(&request);
            if let Answer::Status(status, headers, text) = &answer {
                write_head(&mut stream, *status, headers, text.len())?;
                stream.write_all(text.as_bytes())?;
                continue;
            }
            let (status, headers, body) = self.usual(&request);
            let from = request
                .headers
                .get("range")
                .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
            let (status, headers, body) = match from.filter(|from| status == 200 && *from < body.len()) {
                Some(from) => {
                    let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                    (206, vec![("Content-Range", range)], body[from..].to_vec())
                }
                None => (status, headers, body),
            };
            write_head(&mut stream, status, &headers, body.len())?;
            match answer {
                Answer::Cut(length) => {
                    stream.write_all(&body[..length.min(body.len())])?;
                    return Ok(());
                }
                Answer::Stall(length) => {
                    stream.write_all(&body[..length.min(body.len())])?;
                    std::thread::sleep(Duration::from_secs(600));
                    return Ok(());
                }
                Answer::Slow(length, pause) => {
                    for piece in body.chunks(length) {
                        std::thread::sleep(pause);
                        stream.write_all(piece)?;
                    }
                }
                _ if request.method == "HEAD" => {}
                _ => stream.write_all(&body)?,
            }
        }
        Ok(())
    }

    fn usual(&self, request: &Request) -> (u16, Vec<(&'static str, String)>, Vec<u8>) {
        let path = request.path.as_str();
        let last = path.rsplit('/').next().unwrap_or_default();
        if path == "/v2/" {
            return (200, Vec::new(), b"{}".to_vec());
        }
        if path.contains("/tags/list") {
            // One on each page.
            let names = self.content.manifests.keys().filter(|name| !name.contains(':'));
            let after = path.split_once("?last=").map(|(_, last)| last);
            let mut left = names.filter(|name| after.is_none_or(|last| name.as_str() > last));
            let page: Vec<&String> = left.next().into_iter().collect();
            let rest = path.split('?').next().unwrap_or_default();
            let link = page.first().filter(|_| left.next().is_some());
            let link = link.map(|last| ("Link", format!("<{rest}?last={last}>; rel=\"next\"")));
            let body = json!({"name": "x", "tags": page}).to_string();
            return (200, link.into_iter().collect(), body.into_bytes());
        }
        if let Some((media_type, text)) =
            self.content.manifests.get(last).filter(|_| path.contains("/manifests/"))
        {
            let digest = Digest::of(text).to_string();
            return (
                200,
                vec![("Content-Type", media_type.clone()), ("Docker-Content-Digest", digest)],
                text.clone(),
            );
        }
        if let Some(blob) = self.content.blobs.get(last).filter(|_| path.contains("/blobs/")) {
            return (200, Vec::new(), blob.clone());
        }
        (
            404,
            Vec::new(),
            br#"{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}"#.to_vec(),
        )
    }
}

fn read_request(stream: &mut TcpStream, beginning: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    let end = loop {
        // TLS, which is not spoken here.
        if beginning.first() == Some(&0x16) {
            return Ok(None);
        }
        if let Some(end) = beginning.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            length => beginning.extend_from_slice(&piece[..length]),
        }
    };
    let head = String::from_utf8_lossy(&beginning[..end]).into_owned();
    beginning.drain(..end + 4);
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_string);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_string()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().expect("length"));
    while beginning.len() < length {
        let mut piece = [0; 4096];
        match stream.read(&mut piece)? {
            0 => return Ok(None),
            length => beginning.extend_from_slice(&piece[..length]),
        }
    }
    beginning.drain(..length);
    Ok(Some(Request { method, path, headers, before: 0 }))
}

fn write_head(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(&'static str, String)],
    length: usize,
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())
}

/// A gzip layer and the digest of its tar.
pub fn layer(tar: &Path) -> (Vec<u8>, Digest) {
    let content = std::fs::read(tar).expect("tar");
    let output = Command::new("gzip").args(["-nc"]).arg(tar).output().expect("gzip");
    assert!(output.status.success());
    (output.stdout, Digest::of(&content))
}
