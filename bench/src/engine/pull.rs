//! Pulling from a registry on this host: cold, unpacked, and with box on the disk.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Figure;
use super::contender::{BOX, Contender, PODMAN};
use super::image;
use super::life::names;
use crate::course::{Course, Line, interleave, lines};
use crate::error::{Context, Result, error};
use crate::runtime::{Cost, find, time};

/// The cases.
pub const PULL: [&str; 2] = ["pull of one layer, synced", "pull of four layers, synced"];
/// What the first is compared with.
pub const BY_HAND: &str = "curl | gzip -dc | tar -x";
/// The peak memory of box.
pub const MEMORY: &str = "peak memory of a pull, MB";
/// What came over the network.
pub const SIZE: &str = "the one layer, compressed, MB";

/// Each takes seconds.
const RUNS: usize = 7;

/// How long the registry has to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A registry that ends with this value.
struct Registry {
    process: Child,
    host: String,
}

impl Registry {
    fn start(program: &Path, folder: &Path) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = port.context(|| "find a free port")?;
        fs::create_dir_all(folder).context(|| format!("mkdir {}", folder.display()))?;
        let configuration = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n",
            folder.join("blobs").display()
        );
        fs::write(&configuration, text).context(|| "write the registry's configuration")?;
        let mut command = Command::new(program);
        command.arg("serve").arg(&configuration).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null()).env("OTEL_TRACES_EXPORTER", "none");
        let process = command.spawn().context(|| format!("start {}", program.display()))?;
        let registry = Registry { process, host: address.to_string() };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if began.elapsed() > PATIENCE {
                return Err(error(format!("{}: does not answer", program.display())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

enum Who<'a> {
    Engine(&'a Contender),
    ByHand { url: &'a str, folder: &'a Path },
}

/// Measures it. `disk` is a folder on the disk of the engines' stores.
pub fn measure(
    course: &Course<'_>,
    contenders: &[Contender],
    disk: &Path,
) -> Result<(Vec<Line>, Vec<Figure>)> {
    eprintln!("bench: {} …", PULL.join(", "));
    let program = find("docker-registry").ok_or_else(|| error("docker-registry: not on PATH"))?;
    let registry = Registry::start(&program, &disk.join("registry"))?;
    let pusher = contenders.first().ok_or_else(|| error("no engine"))?;
    let names = [("whole", image::WHOLE, 1), ("quarters", image::QUARTERS, 4)].map(|(tag, local, layers)| {
        let name = format!("{}/files:{tag}", registry.host);
        offer(pusher, disk, local, layers, &name).map(|()| name)
    });
    let [whole, quarters] = names;
    let (whole, quarters) = (whole?, quarters?);
    let (url, size) = blob(pusher, &registry.host, &whole)?;
    let folder = disk.join("by-hand");
    let mut measured =
        one(contenders, course, PULL[0], &whole, Some(Who::ByHand { url: &url, folder: &folder }), disk)?;
    measured.extend(one(contenders, course, PULL[1], &quarters, None, disk)?);
    let mut figures = vec![Figure { what: SIZE.into(), subject: BOX, value: size / 1e6 }];
    for engine in contenders {
        let kib = engine.peak(&pull_arguments(engine, &quarters))?;
        engine.time(&["rmi", &quarters])?;
        figures.push(Figure { what: MEMORY.into(), subject: engine.name, value: kib as f64 * 1.024e-3 });
    }
    Ok((measured, figures))
}

/// Makes an image and pushes it.
fn offer(engine: &Contender, disk: &Path, local: &str, layers: usize, name: &str) -> Result<()> {
    let archive = disk.join("files.tar");
    image::write_files(&archive, local, layers)?;
    engine.time(&["load".as_ref(), "-i".as_ref(), archive.as_os_str()])?;
    fs::remove_file(&archive).context(|| "remove the archive")?;
    engine.time(&["tag", local, name])?;
    engine.time(&["push", name])?;
    engine.time(&["rmi", local, name])?;
    Ok(())
}

/// Where the image's layer is, and its size.
fn blob(engine: &Contender, host: &str, name: &str) -> Result<(String, f64)> {
    let text = engine.output(&["manifest", "inspect", name])?;
    let manifest: Value = serde_json::from_str(&text).context(|| "parse the manifest")?;
    let layer = &manifest["layers"][0];
    let digest = layer["digest"].as_str().ok_or_else(|| error(format!("no layer in {text}")))?;
    Ok((format!("http://{host}/v2/files/blobs/{digest}"), layer["size"].as_f64().unwrap_or_default()))
}

fn pull_arguments<'a>(engine: &Contender, name: &'a str) -> Vec<&'a str> {
    // The others take loopback addresses to be without TLS.
    let flags: &[&str] = if engine.name == PODMAN { &["--tls-verify=false"] } else { &[] };
    [&["pull", "-q"], flags, &[name]].concat()
}

fn one(
    contenders: &[Contender],
    course: &Course<'_>,
    case: &str,
    name: &str,
    by_hand: Option<Who<'_>>,
    disk: &Path,
) -> Result<Vec<Line>> {
    let errors = course.scratch.file("stderr");
    let mut subjects = names(contenders);
    subjects.extend(by_hand.iter().map(|_| BY_HAND));
    let all: Vec<_> = contenders.iter().map(Who::Engine).chain(by_hand).collect();
    let samples = interleave(course.runs.min(RUNS), 1, &all, &mut |who, samples| {
        samples[0].add(match who {
            Who::Engine(engine) => pull(engine, name, disk),
            Who::ByHand { url, folder } => fetch_by_hand(url, folder, disk, &errors),
        });
        // Nor what a removal has left.
        let _ = sync(disk);
    });
    Ok(lines(&[case], &subjects, samples))
}

/// With what is left to be written to the disk: box has written all of it by then, others have not.
fn pull(engine: &Contender, name: &str, disk: &Path) -> Result<Cost> {
    let cost = engine.time(&pull_arguments(engine, name)).and_then(|cost| synced(cost, disk))?;
    engine.time(&["rmi", name])?;
    Ok(cost)
}

fn synced(cost: Cost, disk: &Path) -> Result<Cost> {
    let began = Instant::now();
    sync(disk)?;
    Ok(Cost { time: cost.time + began.elapsed() })
}

fn sync(disk: &Path) -> Result<()> {
    let opened = fs::File::open(disk).context(|| format!("open {}", disk.display()))?;
    rustix::fs::syncfs(&opened).map_err(std::io::Error::from).context(|| "sync the disk")
}

fn fetch_by_hand(url: &str, folder: &Path, disk: &Path, errors: &Path) -> Result<Cost> {
    fs::create_dir(folder).context(|| format!("mkdir {}", folder.display()))?;
    let script = r#"set -e; curl -sSf "$1" | gzip -dc | tar -x -C "$2""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", url]).arg(folder);
    let cost = time(&mut command, errors).and_then(|cost| synced(cost, disk));
    fs::remove_dir_all(folder).context(|| format!("remove {}", folder.display()))?;
    cost
}
