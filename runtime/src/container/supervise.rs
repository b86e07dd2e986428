//! The runtime beside a program in the foreground: it passes on and waits, and nothing that stalls may hold it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use super::options::CommandLine;
use super::signals::ForwardedSignals;
use super::terminal::hand_over_console;
use super::wait;
use crate::console::{self, Relay};
use crate::error::{Context, Result, Warning, WarningKind, describe_errno};
use crate::plan::Plan;
use crate::spawn::Init;
use crate::spawn::notify;
use crate::sys::process_end::collect;

/// Before the program runs: its terminal goes to whoever asked for it, or gets the size of the user's.
///
/// # Errors
/// Nobody listens at `--console-socket`.
pub fn settle_terminal(init: &mut Init, line: &CommandLine) -> Result<()> {
    hand_over_console(init, line)?;
    // Without a user's terminal it keeps the size that it has.
    init.console.as_ref().map(console::copy_size);
    Ok(())
}

/// Until init is gone: its report if the exec fails, signals, the terminal. `started` is called once the program
/// runs, and ends it all with its error.
pub fn supervise(
    init: &mut Init,
    plan: &Plan,
    signals: &ForwardedSignals,
    warn: &mut dyn FnMut(Warning),
    started: &mut dyn FnMut() -> Result<()>,
) -> Result<u8> {
    let mut relay = init.console.take().map(Relay::new);
    let mut exec_pending = true;
    loop {
        let ready = wait_for_any(init, signals, exec_pending, relay.as_mut())?;
        if ready.signal {
            signals.each(|signal| forward(signal, &init.process, relay.as_ref()))?;
        }
        // A manager that cannot be told is no reason to end a container; it will miss the message itself.
        if ready.said && init.notify.as_mut().is_some_and(|notify| notify.pass_on(None).unwrap_or(true)) {
            init.notify = None;
        }
        if let Some(active) = relay.as_mut()
            && let Err(errno) = active.pass_on(ready.relayed)
        {
            // Hung up, as a terminal is whose user has gone: the program learns it, instead of writing into nothing for ever.
            relay = None;
            warn_of_loss(errno, warn);
        }
        // One message, and back to the rest: an agent may take its time before the program's execve goes on.
        if exec_pending && (ready.channel || ready.ended) && init.hear_of_exec(plan)? {
            exec_pending = false;
            started()?;
        }
        if ready.ended && !exec_pending {
            // At once: until then the process holds its pid namespace, and whoever deletes the container waits for that.
            let status = collect(&init.process).map(wait::status).context(|| "wait for init")?;
            if let Some(rest) = relay {
                drain(rest, signals, warn)?;
            }
            return Ok(status);
        }
    }
}

struct Ready {
    ended: bool,
    channel: bool,
    signal: bool,
    said: bool,
    relayed: [bool; 3],
}

fn wait_for_any(
    init: &Init,
    signals: &ForwardedSignals,
    exec_pending: bool,
    relay: Option<&mut Relay>,
) -> Result<Ready> {
    let ([master, input, output], look_again) = relay.map_or(Default::default(), Relay::wanted);
    let (notify, try_again) = init.notify.as_ref().map_or((None, None), notify::Proxy::wanted);
    let incoming = |descriptor| Some((descriptor, PollFlags::IN));
    let watched = [
        incoming(init.process.as_fd()),
        incoming(signals.descriptor()),
        exec_pending.then(|| (init.channel(), PollFlags::IN)),
        notify.and_then(incoming),
        master,
        input,
        output,
    ];
    let [ended, signal, channel, said, relayed @ ..] = poll_any(watched, try_again.or(look_again))?;
    Ok(Ready { ended, channel, signal, said: said || try_again.is_some(), relayed })
}

/// Which of the descriptors are ready; none at the end of the time.
fn poll_any<const N: usize>(
    watched: [Option<(BorrowedFd<'_>, PollFlags)>; N],
    timeout: Option<Timespec>,
) -> Result<[bool; N]> {
    // An array: waiting takes no memory, however often. In the place of what is left out stands a descriptor that is there.
    let stead = watched.iter().flatten().next().map_or(rustix::stdio::stdin(), |(descriptor, _)| *descriptor);
    let mut polled = watched.map(|one| {
        let (descriptor, events) = one.unwrap_or((stead, PollFlags::empty()));
        PollFd::from_borrowed_fd(descriptor, events)
    });
    loop {
        match poll(&mut polled, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            result => {
                result.context(|| "wait for the container")?;
                break;
            }
        }
    }
    Ok(std::array::from_fn(|index| watched[index].is_some() && !polled[index].revents().is_empty()))
}

fn forward(signal: Signal, process: &OwnedFd, relay: Option<&Relay>) {
    // A new size is told to the program by its own terminal.
    if signal == Signal::WINCH && relay.is_some_and(|relay| console::copy_size(relay.master())) {
        return;
    }
    // One that comes when init has just ended has nobody to go to.
    let _ = rustix::process::pidfd_send_signal(process.as_fd(), signal);
}

/// What the program wrote before its end goes out, however long its reader takes: until somebody who does not want to wait for
/// that sends a signal that ends programs.
fn drain(mut relay: Relay, signals: &ForwardedSignals, warn: &mut dyn FnMut(Warning)) -> Result<()> {
    let mut given_up = false;
    while !given_up {
        match relay.drain() {
            Ok(true) => {}
            Ok(false) => break,
            Err(errno) => {
                warn_of_loss(errno, warn);
                break;
            }
        }
        let ([.., output], timeout) = relay.wanted();
        let signal = Some((signals.descriptor(), PollFlags::IN));
        poll_any([signal, output], timeout)?;
        signals.each(|signal| {
            given_up |= [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM].contains(&signal);
        })?;
    }
    Ok(())
}

/// A reader that has gone away knows that it has; what else loses output nobody would learn.
fn warn_of_loss(errno: Errno, warn: &mut dyn FnMut(Warning)) {
    if !matches!(errno, Errno::PIPE | Errno::IO | Errno::CONNRESET) {
        let cause = describe_errno(errno);
        warn(Warning::new(
            WarningKind::OutputLost,
            format_args!("stdout: {cause}: output is lost, and the container's terminal hung up"),
        ));
    }
}
