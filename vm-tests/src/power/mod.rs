//! Power cuts: a guest works on a store of box on a disk, and is killed at a random moment. Of what it had not flushed the
//! disk keeps any part. The next boot must find a store in which every image that is listed runs, and go on working.

mod disk;
mod work;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, thread};

use disk::Disk;
pub use work::main as guest;

use crate::kernel::Kernel;
use crate::options::Options;
use crate::qemu::Machine;
use crate::report::{Event, Outcome};
use crate::{arch, session};

/// The modules that the guest needs beside those of the report.
pub const MODULES: [&str; 3] = ["virtio_blk", "ext4", "overlay"];

/// The size of the disk.
const SIZE: u64 = 256 << 20;

/// A boot and a check under emulation, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// The moment of a cut, after the guest has begun to work.
const LONGEST: Duration = Duration::from_secs(12);

/// What the guest tells when it has found the store as it must be.
const CHECKED: &str = "power_checked";

/// Cuts the power `count` times. Returns whether every boot found what it must.
pub fn run(machine: &Machine, kernel: &Kernel, options: &Options, count: usize) -> Result<bool, String> {
    let folder = Folder::new()?;
    let disk = Disk::new(format(&folder.0)?, &folder.0.join("disk.sock"))
        .map_err(|e| format!("the disk's server: {e}"))?;
    let image = session::power_image(arch::own()?, kernel, options)?;
    let seed = options.seed.unwrap_or_else(now);
    println!("{count} cuts, seed {seed}");
    let mut random = Random(seed);
    // The last boot only looks.
    for cut in 0..=count {
        let mut guest =
            machine.boot_with(&kernel.image, &image, "quiet mitigations=off", &disk.arguments())?;
        let began = Instant::now();
        loop {
            let line = match guest.lines.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
                Ok(line) => line,
                Err(_) => {
                    println!("FAIL boot {cut}: the guest says nothing more; its console's last lines:");
                    guest.last_words().iter().for_each(|line| println!("    {line}"));
                    if let Some((status, said)) = guest.finish(Duration::from_secs(1)) {
                        println!("    QEMU: {status}: {}", said.trim());
                    }
                    return Ok(false);
                }
            };
            match Event::parse(&line).ok_or_else(|| format!("no event: {line}"))? {
                Event::End { case, outcome: Outcome::Passed, seconds } if case == CHECKED => {
                    println!("ok boot {cut} {seconds:.1} s");
                    break;
                }
                Event::End { outcome: Outcome::Failed(detail), .. } => {
                    println!("FAIL boot {cut}");
                    detail.lines().for_each(|line| println!("    {line}"));
                    return Ok(false);
                }
                _ => {}
            }
        }
        if cut == count {
            break;
        }
        let moment = LONGEST.mul_f64(random.fraction());
        thread::sleep(moment);
        guest.kill();
        let (pending, lost) = disk.cut(|| random.fraction() < 0.5);
        println!("cut after {:.2} s: {lost} of {pending} blocks lost", moment.as_secs_f64());
    }
    Ok(true)
}

/// An empty file system as a disk's content.
fn format(folder: &Path) -> Result<Vec<u8>, String> {
    let path = folder.join("disk");
    let file = fs::File::create(&path).and_then(|file| file.set_len(SIZE));
    file.map_err(|e| format!("{}: {e}", path.display()))?;
    let mut mkfs = Command::new("mkfs.ext4");
    let output = mkfs.args(["-q", "-F"]).arg(&path).output();
    let output = output.map_err(|e| format!("mkfs.ext4: {e} (Debian: package e2fsprogs)"))?;
    if !output.status.success() {
        return Err(format!("mkfs.ext4: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let content = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(content)
}

/// A folder that is removed with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, String> {
        let path = std::env::temp_dir().join(format!("vm-tests-power-{}", std::process::id()));
        fs::create_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// SplitMix64.
struct Random(u64);

impl Random {
    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ word >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }
}
