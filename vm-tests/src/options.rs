//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

const HELP: &str = "\
usage: vm-tests [--pillbox PATH] [options]
Boots Linux 6.12 under QEMU and runs the runtime's cases in it.

  --pillbox PATH   the runtime to test (default: pillbox beside this program)
  --runtime PATH   the same, for another runtime: a dynamic one is taken along with its libraries
  --measure FILE   measure instead of testing, for the runtime and each --peer: writes the figures as JSON
  --peer NAME=PATH another runtime to measure; may be given again; one that is not there is passed over
  --box PATH       box (default: box beside this program); without it its cases are skipped
  --power-cuts N   cut the power of a guest that works with box N times, instead of the cases
  --seed NUMBER    the moments of the cuts, and what they lose (default: others each time)
  --filter NAME    only cases whose names contain NAME; may be given again for more
  --list           print the cases' names and end
  --own-kernel     boot the distribution's own kernel, which is 6.1 in Debian 12
  --kernel PATH    boot this kernel instead of Debian's 6.12
  --modules DIR    its modules, as in /lib/modules/RELEASE
  --busybox PATH   a static busybox (default: /bin/busybox, else Debian's package)
  --timeout SECS   for the whole guest (default 900)
  --no-kvm         do not try KVM
  --keep           leave console and initramfs in target/vm-tests

Exit status: 0 all passed or skipped, 1 a case failed or the guest died, 2 nothing could be tested.
";

/// The parsed command line.
pub struct Options {
    /// The runtime under test, on the host.
    pub runtime: PathBuf,
    /// The file for measurements, if they are to be taken.
    pub measure: Option<PathBuf>,
    /// Names and programs of other runtimes to measure.
    pub peers: Vec<(String, PathBuf)>,
    /// box, on the host.
    pub engine: PathBuf,
    /// How often the power is cut, if that is wanted.
    pub power_cuts: Option<usize>,
    /// Of what is random.
    pub seed: Option<u64>,
    /// Parts of the names of cases; without any, all cases run.
    pub filters: Vec<String>,
    /// Only print names.
    pub list: bool,
    /// Whether it is to be the distribution's own kernel, whatever its version.
    pub own_kernel: bool,
    /// A kernel image given by the caller.
    pub kernel: Option<PathBuf>,
    /// Its modules.
    pub modules: Option<PathBuf>,
    /// A static busybox given by the caller.
    pub busybox: Option<PathBuf>,
    /// The time limit of a whole guest.
    pub timeout: Duration,
    /// Whether KVM may be tried.
    pub kvm: bool,
    /// Whether console and initramfs are written to a folder.
    pub keep: bool,
}

impl Options {
    /// Reads the command line. `--help` ends the process.
    pub fn parse() -> Result<Options, String> {
        Options::read(lexopt::Parser::from_env()).map_err(|e| e.to_string())
    }

    fn read(mut parser: lexopt::Parser) -> Result<Options, lexopt::Error> {
        let beside = std::env::current_exe().unwrap_or_default();
        let mut options = Options {
            runtime: beside.with_file_name("pillbox"),
            engine: beside.with_file_name("box"),
            power_cuts: None,
            seed: None,
            measure: None,
            peers: Vec::new(),
            filters: Vec::new(),
            list: false,
            own_kernel: false,
            kernel: None,
            modules: None,
            busybox: None,
            timeout: Duration::from_secs(900),
            kvm: true,
            keep: false,
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("pillbox" | "runtime") => options.runtime = parser.value()?.into(),
                Long("measure") => options.measure = Some(parser.value()?.into()),
                Long("peer") => {
                    let text = parser.value()?.string()?;
                    let (name, path) = text.split_once('=').ok_or("--peer: must be NAME=PATH")?;
                    options.peers.push((name.to_owned(), path.into()));
                }
                Long("box") => options.engine = parser.value()?.into(),
                Long("power-cuts") => options.power_cuts = Some(parser.value()?.parse()?),
                Long("seed") => options.seed = Some(parser.value()?.parse()?),
                Long("filter") => options.filters.push(parser.value()?.string()?),
                Long("list") => options.list = true,
                Long("own-kernel") => options.own_kernel = true,
                Long("kernel") => options.kernel = Some(parser.value()?.into()),
                Long("modules") => options.modules = Some(parser.value()?.into()),
                Long("busybox") => options.busybox = Some(parser.value()?.into()),
                Long("timeout") => options.timeout = Duration::from_secs(parser.value()?.parse()?),
                Long("no-kvm") => options.kvm = false,
                Long("keep") => options.keep = true,
                Short('h') | Long("help") => {
                    print!("{HELP}");
                    std::process::exit(0);
                }
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(options)
    }
}
