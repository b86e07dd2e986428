//! A container in the foreground: create, start and wait in one process.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus};

use super::bundle::Bundle;
use super::create::{CreateOptions, Created, finish, prepare, set_up, take_back};
use super::delete::run_poststop;
use super::scope;
use super::start::start_hooks;
use crate::console::{self, RawTerminal};
use crate::container_id::ContainerId;
use crate::error::{Context, Result};
use crate::hooks::{self, Place};
use crate::notify;
use crate::plan::Plan;
use crate::spawn::Init;
use crate::state::{Root, Status};
use crate::sys;

/// How a foreground container ended, and what had to be left out of it.
#[derive(Debug)]
pub struct Ended {
    /// The program's status, or 128 + the signal that ended it.
    pub status: u8,
}

/// Runs a container until its program ends, passing signals on; `keep` leaves it behind, stopped.
///
/// # Errors
/// As for [`super::create`]; the program could not be executed. Nothing is left then.
pub fn run(
    root: &Root,
    id: &ContainerId,
    bundle: &Bundle,
    options: &CreateOptions,
    keep: bool,
    warn: &mut dyn FnMut(&str),
) -> Result<Ended> {
    let mut prepared = prepare(root, bundle, id, options, false)?;
    // From here on: a signal that comes while the container is being made must reach it, not end the runtime.
    let signals = ForwardedSignals::block()?;
    let mut created = set_up(root, id, bundle, &mut prepared, options, warn)?;
    let spec = prepared.spec();
    created.plan.warnings.iter().for_each(|warning| warn(warning));
    let Created { init, plan, record, cgroup, directory } = &mut created;
    let hooks = &spec.hooks;
    let listening = options.notify.as_ref().map_or(Ok(None), |to| notify::listen(directory.folder(), to));
    let ended = listening
        .map(|proxy| init.notify = proxy)
        .and_then(|()| start_hooks(spec, init, record, cgroup.as_ref()))
        .and_then(|()| finish(init, record, options))
        .and_then(|()| {
            let mut started = || {
                let place = Place::outside("poststart", Status::Running, record.pid);
                hooks::run(&hooks.poststart, record, &place)
            };
            supervise(init, plan, &signals, options, &mut started)
        });
    let record = created.record.clone();
    let ended = match ended {
        Ok(status) => clean_up(created, keep).map(|()| Ended { status }),
        Err(error) => {
            take_back(created);
            Err(error)
        }
    };
    if !keep || ended.is_err() {
        run_poststop(hooks, &record, warn);
    }
    ended
}

/// Until init is gone: its report if the exec fails, signals, the terminal. `started` is called once the program
/// runs, and ends it all with its error.
pub(super) fn supervise(
    init: &mut Init,
    plan: &Plan,
    signals: &ForwardedSignals,
    options: &CreateOptions,
    started: &mut dyn FnMut() -> Result<()>,
) -> Result<u8> {
    let mut proxy = match (&options.console_socket, init.console.take()) {
        (Some(socket), Some(master)) => {
            console::send_descriptor(socket, &master, "/dev/ptmx").context(|| "--console-socket")?;
            None
        }
        (_, master) => master.map(Proxy::new),
    };
    let mut exec_pending = true;
    loop {
        let ready = wait(init, signals, exec_pending, proxy.as_ref())?;
        if ready.signal {
            signals.forward(&init.process, proxy.as_ref())?;
        }
        // A manager that cannot be told is no reason to end a container; it will miss the message itself.
        if ready.said && init.notify.as_ref().is_some_and(|notify| notify.pass_on(None).unwrap_or(true)) {
            init.notify = None;
        }
        if let Some(active) = proxy.as_mut() {
            active.pass_on(ready.input, ready.output);
        }
        if exec_pending && (ready.channel || ready.ended) {
            init.await_exec(plan)?;
            exec_pending = false;
            started()?;
        }
        if ready.ended {
            if let Some(active) = proxy.take() {
                active.drain();
            }
            return reap(&init.process);
        }
    }
}

#[derive(Default)]
struct Ready {
    ended: bool,
    channel: bool,
    signal: bool,
    said: bool,
    input: bool,
    output: bool,
}

fn wait(init: &Init, signals: &ForwardedSignals, exec_pending: bool, proxy: Option<&Proxy>) -> Result<Ready> {
    // Whoever has hung up stays ready for ever, and is left out.
    let watched = [
        Some(init.process.as_fd()),
        Some(signals.descriptor.as_fd()),
        exec_pending.then(|| init.channel()),
        proxy.filter(|proxy| proxy.output_open).map(|proxy| proxy.master.as_fd()),
        proxy.filter(|proxy| proxy.input_open).map(|_| console::stdin()),
        init.notify.as_ref().map(|notify| notify.socket()),
    ];
    // An array: waiting takes no memory, however often. In the place of what is left out init stands again.
    let mut polled = watched.map(|descriptor| {
        PollFd::from_borrowed_fd(descriptor.unwrap_or(init.process.as_fd()), PollFlags::IN)
    });
    loop {
        match poll(&mut polled, None) {
            Err(Errno::INTR) => {}
            result => {
                result.context(|| "wait for the container")?;
                break;
            }
        }
    }
    let ready = |index: usize| watched[index].is_some() && !polled[index].revents().is_empty();
    let [ended, signal, channel, output, input, said] = std::array::from_fn(ready);
    Ok(Ready { ended, signal, channel, output, input, said })
}

/// Waits for init, which has ended.
fn reap(process: &OwnedFd) -> Result<u8> {
    let status = rustix::process::waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED)
        .context(|| "wait for init")?;
    Ok(status.map_or(0, word_status))
}

/// A status as shells have it.
pub(super) fn word_status(status: WaitIdStatus) -> u8 {
    let status =
        status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or_default());
    u8::try_from(status).unwrap_or(u8::MAX)
}

/// Processes that outlived the program (without a pid namespace they can), the cgroup, the state.
fn clean_up(created: Created, keep: bool) -> Result<()> {
    let Created { directory, cgroup, record, .. } = created;
    let unit = record.systemd_unit.as_deref();
    let gone = !keep && scope::remove_if_empty(cgroup.as_ref(), unit)?;
    if let Some(cgroup) = &cgroup
        && !gone
        && cgroup.is_populated()?
    {
        cgroup.kill()?;
    }
    if keep {
        return Ok(());
    }
    if !gone {
        scope::remove(cgroup.as_ref(), unit)?;
    }
    directory.remove()
}

/// The signals that a foreground container gets in the runtime's stead.
pub(super) struct ForwardedSignals {
    descriptor: OwnedFd,
    before: u64,
}

impl ForwardedSignals {
    const SIGNALS: [Signal; 12] = [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::TERM,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::CONT,
        Signal::WINCH,
        Signal::IO,
        Signal::POWER,
        Signal::SYS,
    ];

    pub(super) fn block() -> Result<ForwardedSignals> {
        let mask = Self::SIGNALS.iter().fold(0u64, |mask, signal| mask | 1 << (signal.as_raw() - 1));
        let descriptor = sys::signalfd(mask).context(|| "signalfd")?;
        let before = sys::set_signal_mask(mask);
        sys::set_signal_mask(before | mask);
        Ok(ForwardedSignals { descriptor, before })
    }

    fn forward(&self, process: &OwnedFd, proxy: Option<&Proxy>) -> Result<()> {
        const RECORD: usize = 128;
        let mut records = [0u8; RECORD * 8];
        let length = match rustix::io::read(&self.descriptor, &mut records) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            length => length.context(|| "read signals")?,
        };
        for record in records[..length].as_chunks::<RECORD>().0 {
            let number = i32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
            let Some(signal) = Signal::from_named_raw(number) else { continue };
            match proxy {
                Some(proxy) if signal == Signal::WINCH => console::copy_size(&proxy.master),
                // One that comes when init has just ended has nobody to go to.
                _ => drop(rustix::process::pidfd_send_signal(process.as_fd(), signal)),
            }
        }
        Ok(())
    }
}

impl Drop for ForwardedSignals {
    fn drop(&mut self) {
        sys::set_signal_mask(self.before);
    }
}

/// The runtime between the user's terminal and the container's.
struct Proxy {
    master: OwnedFd,
    input_open: bool,
    output_open: bool,
    _raw: Option<RawTerminal>,
}

impl Proxy {
    fn new(master: OwnedFd) -> Proxy {
        console::copy_size(&master);
        Proxy { master, input_open: true, output_open: true, _raw: RawTerminal::enter() }
    }

    fn pass_on(&mut self, input: bool, output: bool) {
        if input && !console::pass_on(console::stdin(), self.master.as_fd()) {
            self.input_open = false;
            self.end_input();
        }
        if output && self.output_open {
            self.output_open = console::pass_on(self.master.as_fd(), console::stdout());
        }
    }

    /// End of a piped stdin becomes what a person would type: Ctrl-D.
    fn end_input(&self) {
        const END_OF_TRANSMISSION: u8 = 4;
        let _ = rustix::io::write(&self.master, &[END_OF_TRANSMISSION]);
    }

    /// What the program wrote before it ended still stands in the terminal.
    fn drain(mut self) {
        while self.output_open {
            let mut polled = [PollFd::new(&self.master, PollFlags::IN)];
            match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
                Ok(1..) => self.pass_on(false, true),
                _ => break,
            }
        }
    }
}
