//! The runtime while a program runs in the foreground: it passes signals and output on, and waits. Nothing
//! that stalls may hold it up.

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

/// Sends the program's terminal to `--console-socket`, or gives it the size of the user's, before the program
/// runs.
///
/// # Errors
/// Nobody listens at `--console-socket`.
pub fn settle_terminal(init: &mut Init, line: &CommandLine) -> Result<()> {
    hand_over_console(init, line)?;
    // If the user has no terminal, it keeps its size.
    init.console.as_ref().map(console::copy_size);
    Ok(())
}

/// Serves init until it has ended: its report if the exec fails, signals, the terminal. `started` is called
/// once the program runs; an error of it is returned at once.
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
        // An unreachable manager is no reason to end a container; the manager will notice that the message is
        // missing.
        if ready.said && init.notify.as_mut().is_some_and(|notify| notify.pass_on(None).unwrap_or(true)) {
            init.notify = None;
        }
        if let Some(active) = relay.as_mut()
            && let Err(errno) = active.pass_on(ready.relayed)
        {
            // The terminal hangs up, as if its user had gone, so that the program does not write to nobody
            // for ever.
            relay = None;
            warn_of_loss(errno, warn);
        }
        // Only one message at a time: an agent may take long until it lets the program's execve go on.
        if exec_pending && (ready.channel || ready.ended) && init.hear_of_exec(plan)? {
            exec_pending = false;
            started()?;
        }
        if ready.ended && !exec_pending {
            // Now, not after the output: until then the process holds its pid namespace, for which `delete`
            // waits.
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

/// Which of the descriptors are ready; none after the timeout.
fn poll_any<const N: usize>(
    watched: [Option<(BorrowedFd<'_>, PollFlags)>; N],
    timeout: Option<Timespec>,
) -> Result<[bool; N]> {
    // An array, so that waiting does not allocate. Any open descriptor takes the place of those that are left
    // out.
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
    // The program learns of a new size from its own terminal.
    if signal == Signal::WINCH && relay.is_some_and(|relay| console::copy_size(relay.master())) {
        return;
    }
    // If init has just ended, nobody is left to get it.
    let _ = rustix::process::pidfd_send_signal(process.as_fd(), signal);
}

/// Passes on what the program wrote before its end, however long the reader takes, until a signal that ends
/// programs stops it.
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

/// Warns of lost output, unless the reader has gone away, which it knows itself.
fn warn_of_loss(errno: Errno, warn: &mut dyn FnMut(Warning)) {
    if !matches!(errno, Errno::PIPE | Errno::IO | Errno::CONNRESET) {
        let cause = describe_errno(errno);
        warn(Warning::new(
            WarningKind::OutputLost,
            format_args!("stdout: {cause}: output is lost, and the container's terminal hung up"),
        ));
    }
}
