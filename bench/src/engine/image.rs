//! The images, as archives that every engine loads (Docker's format).

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::tar::Tar;
use crate::error::{Context, Result};
use crate::program;

/// The image that most cases run, of five layers.
pub const FIVE: &str = "localhost/bench:five";
/// Images that fill the list.
pub const MANY: &str = "localhost/many";
/// An image whose files are one layer.
pub const WHOLE: &str = "localhost/files:whole";
/// An image with the same files in four layers.
pub const QUARTERS: &str = "localhost/files:quarters";

/// How many files the images that are pulled have, of [`FILE`] bytes: in sum what a Debian with a few tools has.
const FILES: usize = 6900;
const FILE: usize = 30_000;

/// A layer: its digest and its tar.
struct Layer {
    digest: String,
    tar: Vec<u8>,
}

impl Layer {
    fn new(fill: impl FnOnce(&mut Tar<Vec<u8>>) -> std::io::Result<()>) -> Result<Self> {
        let mut tar = Tar::new(Vec::new());
        fill(&mut tar).context(|| "make a layer")?;
        let tar = tar.finish().context(|| "make a layer")?;
        Ok(Layer { digest: hex(&tar), tar })
    }
}

/// One image of an archive.
struct Image<'l> {
    name: String,
    layers: &'l [Layer],
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the image of five layers: programs, and four times a hundred files above them.
pub fn write_five(archive: &Path) -> Result<()> {
    write(archive, &[Image { name: FIVE.into(), layers: &layers()? }])
}

/// Writes this many images with the same layers and configurations of their own.
pub fn write_many(archive: &Path, count: usize) -> Result<()> {
    let layers = layers()?;
    let image = |number| Image { name: format!("{MANY}:{number}"), layers: &layers };
    write(archive, &(0..count).map(image).collect::<Vec<_>>())
}

/// Writes an image of many files in this many layers; returns its size in bytes.
pub fn write_files(archive: &Path, name: &str, layers: usize) -> Result<usize> {
    let mut words = Words::new();
    let mut made = Vec::new();
    for layer in 0..layers {
        made.push(Layer::new(|tar| {
            for number in (layer..FILES).step_by(layers) {
                if number < layers || number % 100 < layers {
                    tar.folder(&format!("usr/{}/", number / 100))?;
                }
                tar.file(&format!("usr/{}/{number}", number / 100), 0o644, &words.text(FILE))?;
            }
            Ok(())
        })?);
    }
    write(archive, &[Image { name: name.into(), layers: &made }])?;
    Ok(made.iter().map(|layer| layer.tar.len()).sum())
}

fn layers() -> Result<Vec<Layer>> {
    let this = std::env::current_exe().and_then(fs::read).context(|| "read the benchmark's own program")?;
    let mut layers = vec![Layer::new(|tar| {
        for name in ["bin/", "etc/", "proc/", "sys/", "dev/", "tmp/"] {
            tar.folder(name)?;
        }
        tar.file("etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n")?;
        tar.file("etc/group", 0o644, b"root:x:0:\n")?;
        tar.file("bin/true", 0o755, &program::exit())?;
        tar.file("bin/pause", 0o755, &program::pause())?;
        tar.file("bin/bench", 0o755, &this)
    })?];
    for layer in 1..5 {
        layers.push(Layer::new(|tar| {
            tar.folder(&format!("layer-{layer}/"))?;
            (0..100).try_for_each(|file| tar.file(&format!("layer-{layer}/{file}"), 0o644, b"small\n"))
        })?);
    }
    Ok(layers)
}

fn write(archive: &Path, images: &[Image<'_>]) -> Result<()> {
    let file = File::create(archive).context(|| format!("create {}", archive.display()))?;
    let mut tar = Tar::new(BufWriter::new(file));
    let mut written = Vec::new();
    let mut manifest = Vec::new();
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    for image in images {
        let digests: Vec<_> = image.layers.iter().map(|layer| format!("sha256:{}", layer.digest)).collect();
        let names: Vec<_> = image.layers.iter().map(|layer| format!("{}.tar", layer.digest)).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": { "Env": ["PATH=/bin"], "Labels": { "name": image.name } },
            "rootfs": { "type": "layers", "diff_ids": digests },
        });
        let config = config.to_string();
        let config_name = format!("{}.json", hex(config.as_bytes()));
        tar.file(&config_name, 0o644, config.as_bytes()).context(|| "write an archive")?;
        manifest.push(json!({ "Config": config_name, "RepoTags": [image.name], "Layers": names }));
        for (layer, name) in image.layers.iter().zip(names) {
            if !written.contains(&name) {
                tar.file(&name, 0o644, &layer.tar).context(|| "write an archive")?;
                written.push(name);
            }
        }
    }
    let manifest = json!(manifest).to_string();
    tar.file("manifest.json", 0o644, manifest.as_bytes()).context(|| "write an archive")?;
    let mut file = tar.finish().context(|| "write an archive")?;
    file.flush().context(|| "write an archive")
}

/// Text that gzip makes about as small as it makes a Debian: words, and every now and then bytes that mean nothing.
struct Words {
    state: u64,
    words: Vec<Vec<u8>>,
}

impl Words {
    fn new() -> Self {
        let mut words = Words { state: 0x9e37_79b9_7f4a_7c15, words: Vec::new() };
        words.words = (0..4096).map(|_| words.noise(8)).collect();
        words
    }

    /// xorshift64
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn noise(&mut self, size: usize) -> Vec<u8> {
        (0..size).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    fn text(&mut self, size: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(size + 8);
        while text.len() < size {
            match self.next() {
                word if word % 8 == 0 => text.extend(self.noise(8)),
                word => text.extend(&self.words[usize::try_from(word >> 32).unwrap_or(0) % 4096]),
            }
        }
        text.truncate(size);
        text
    }
}
