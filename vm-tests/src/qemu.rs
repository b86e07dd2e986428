//! QEMU: finds, starts, watches and kills it. Nothing of a run is on disk: image and console are in memory
//! files.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};

use crate::arch::Arch;
use crate::guest::{PROBE_ANSWER, REPORT_PORT};

/// The argument with which this program starts itself as QEMU's parent; the command follows: see
/// [`become_hypervisor`].
pub const HYPERVISOR: &str = "hypervisor";

const KVM_LIMIT: Duration = Duration::from_secs(6);
/// Under KVM a kernel writes its first messages in a fraction of a second.
const KVM_SILENCE: Duration = Duration::from_secs(2);

/// An emulator and how it executes the guest's code.
pub struct Machine {
    program: PathBuf,
    arch: &'static Arch,
    kvm: bool,
}

impl Machine {
    /// The emulator for `arch`, not using KVM.
    pub fn find(arch: &'static Arch) -> Result<Machine, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program =
            std::env::split_paths(&path).map(|folder| folder.join(arch.qemu)).find(|path| path.exists());
        let program = program.ok_or_else(|| {
            format!(
                "{} is not in PATH (Debian: apt-get install --no-install-recommends qemu-system)",
                arch.qemu
            )
        })?;
        Ok(Machine { program, arch, kvm: false })
    }

    /// Uses KVM if a guest boots with it: even if /dev/kvm can be opened, guests may not run.
    ///
    /// Returns what was found, for people.
    pub fn try_kvm(&mut self, kernel: &Path, probe: &[u8]) -> Result<String, String> {
        if File::options().read(true).write(true).open("/dev/kvm").is_err() {
            return Ok("TCG (no /dev/kvm)".into());
        }
        self.kvm = true;
        let started = Instant::now();
        let answered = self.boot(kernel, probe, "earlyprintk=serial")?.answers_probe();
        self.kvm = answered;
        let seconds = started.elapsed().as_secs_f32();
        Ok(match answered {
            true => format!("KVM (the probe guest took {seconds:.1} s)"),
            false => format!("TCG (a probe guest got nowhere under KVM in {seconds:.1} s)"),
        })
    }

    /// Starts a guest. `parameters` are appended to the kernel's parameters for console and panic.
    pub fn boot(&self, kernel: &Path, image: &[u8], parameters: &str) -> Result<Running, String> {
        self.boot_with(kernel, image, parameters, &[])
    }

    /// The same with more arguments of QEMU's, for more devices.
    pub fn boot_with(
        &self,
        kernel: &Path,
        image: &[u8],
        parameters: &str,
        devices: &[String],
    ) -> Result<Running, String> {
        let initramfs = memory_file("initramfs")?;
        (&initramfs).write_all(image).map_err(|e| format!("initramfs: {e}"))?;
        let console = memory_file("console")?;
        let own = getpid().as_raw_nonzero();
        let mut command = Command::new("/proc/self/exe");
        command.args([HYPERVISOR, &own.to_string()]).arg(&self.program);
        command.args(self.arguments(parameters)).args(devices).arg("-kernel").arg(kernel);
        command.args(["-initrd", &format!("/proc/{own}/fd/{}", initramfs.as_raw_fd())]);
        command.args(["-chardev", &format!("file,id=console,path=/proc/{own}/fd/{}", console.as_raw_fd())]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{}: {e}", self.program.display()))?;
        let (sender, lines) = channel();
        let report = BufReader::new(child.stdout.take().expect("stdout is piped"));
        thread::spawn(move || report.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Running { child, lines, console, _initramfs: initramfs })
    }

    fn arguments(&self, parameters: &str) -> Vec<String> {
        // With one thread per processor, one may execute what another is just patching: then the guest panics
        // once in a while.
        let accelerator = if self.kvm { "kvm" } else { "tcg,thread=single" };
        let processor = if self.kvm { "max" } else { self.arch.emulated };
        let kernel = format!("console={} panic=-1 {parameters}", self.arch.console);
        let port = format!("virtserialport,chardev=report,name={REPORT_PORT}");
        let arguments = [
            ["-machine", self.arch.machine],
            ["-accel", accelerator],
            ["-cpu", processor],
            ["-smp", "2"],
            ["-m", "1024"],
            ["-display", "none"],
            ["-serial", "chardev:console"],
            // Not the stdio device, which stalls the guest when stdin ends.
            ["-chardev", "file,id=report,path=/proc/self/fd/1"],
            ["-device", "virtio-serial-pci"],
            ["-device", &port],
            ["-append", &kernel],
        ];
        let flags = ["-nodefaults", "-no-user-config", "-no-reboot"];
        flags.into_iter().chain(arguments.into_iter().flatten()).map(str::to_owned).collect()
    }
}

fn memory_file(name: &str) -> Result<File, String> {
    let file: OwnedFd = memfd_create(name, MemfdFlags::CLOEXEC).map_err(|e| format!("memfd {name}: {e}"))?;
    Ok(File::from(file))
}

/// The other half of [`Machine::boot`], in the new process: makes sure that it ends with its parent, then
/// executes QEMU.
///
/// Returns why it could not.
pub fn become_hypervisor(parent: &str, mut command: impl Iterator<Item = std::ffi::OsString>) -> String {
    if let Err(e) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return format!("prctl(PR_SET_PDEATHSIG): {e}");
    }
    // If the parent ended before the call above, nothing would ever end QEMU.
    if getppid().map(Pid::as_raw_nonzero).map(|pid| pid.to_string()).as_deref() != Some(parent) {
        return "the parent is gone".into();
    }
    let Some(program) = command.next() else { return "no command".into() };
    let error = Command::new(&program).args(command).exec();
    format!("{}: {error}", program.to_string_lossy())
}

/// A running guest; killed when dropped.
pub struct Running {
    child: Child,
    console: File,
    /// The guest's report, line by line; disconnected when it ends.
    pub lines: Receiver<String>,
    _initramfs: File,
}

impl Running {
    /// The last lines on the console; after a kernel panic, the lines from there on.
    pub fn last_words(&self) -> Vec<String> {
        const LINES: usize = 30;
        let text = self.console_text().replace('\r', "");
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        let panic = lines.iter().position(|line| line.contains("Kernel panic"));
        let start = panic.unwrap_or_else(|| lines.len().saturating_sub(LINES));
        lines.into_iter().skip(start).take(LINES).collect()
    }

    /// Everything that the guest's console has shown.
    pub fn console_text(&self) -> String {
        // QEMU writes through a descriptor of its own, so that the offset of this one stays at the start.
        let mut bytes = vec![0; self.console.metadata().map_or(0, |metadata| metadata.len() as usize)];
        let read = self.console.read_at(&mut bytes, 0).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }

    /// Waits at most `limit` for QEMU's end. Returns its status and its stderr; `None` if it still runs.
    pub fn finish(&mut self, limit: Duration) -> Option<(ExitStatus, String)> {
        let end = Instant::now() + limit;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let stderr = self.child.stderr.take().and_then(|stderr| std::io::read_to_string(stderr).ok());
                return Some((status, stderr.unwrap_or_default()));
            }
            if Instant::now() >= end {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as if its power were cut.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn answers_probe(&mut self) -> bool {
        let started = Instant::now();
        while started.elapsed() < KVM_LIMIT {
            if let Some((status, _)) = self.finish(Duration::from_millis(100)) {
                return status.success() && self.console_text().contains(PROBE_ANSWER);
            }
            if started.elapsed() > KVM_SILENCE && self.console_text().is_empty() {
                return false;
            }
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
