//! A thread that makes a network namespace, beside the caller and on another processor if there is one.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general::CLONE_NEWNET;
use pillbox_init::sys::{Processors, close_range, set_affinity, unshare_namespaces, use_every_processor};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags,
    SocketType,
};
use rustix::process::Pid;
use rustix::thread::{futex, sched_getcpu};
use rustix::time::Timespec;
use syscalls::{Sysno, syscall1};

use super::clone::{Stack, clone_thread, wait_until_left};
use super::descriptor::network_of;
use super::processor::{hold_here, lift_restriction, several_processors};
use super::signal::SignalsBlocked;

/// Where making a network namespace failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkStep {
    /// unshare(2), or the thread itself.
    Make,
    /// Setting its loopback up.
    Loopback,
    /// Handing it over.
    Send,
}

/// A thread that makes a network namespace; dropping it waits for its end.
///
/// A pointer, because a `Box` says with each move that nobody else uses what it owns.
pub struct NetworkThread(NonNull<Shared>);

/// How long the maker waits until it looks whether the thread is still there.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

const NOT_MADE: u32 = 0;
/// Not made, and the maker waits for it, or will.
const AWAITED: u32 = 1;
/// Made, or failed.
const MADE: u32 = 2;

struct Shared {
    /// Who waits for it.
    maker: Pid,
    /// Where the two of them may run, if that is more than one processor.
    processors: Option<Processors>,
    /// [`NOT_MADE`], [`AWAITED`] or [`MADE`].
    made: AtomicU32,
    /// Not 0 when the maker, which might run anywhere, may run on this thread's processor alone.
    moved: AtomicU32,
    /// Cleared by the kernel when the thread has left the memory.
    inside: AtomicU32,
    /// Where it failed, and why; an errno of 0 is success.
    failed: [AtomicU32; 2],
    channel: RawFd,
    word: u8,
    request: Vec<u8>,
    /// The thread's alone.
    stack: UnsafeCell<MaybeUninit<Stack>>,
}

impl NetworkThread {
    /// Begins: unshare(2), then `request` to the namespace's rtnetlink, then `word` with the namespace through `channel`,
    /// which is shut down for writing if any of it fails. The thread has copies of the caller's descriptors.
    pub fn begin(channel: &OwnedFd, word: u8, request: Vec<u8>) -> Result<NetworkThread, Errno> {
        let shared = Box::leak(Box::new(Shared {
            maker: rustix::thread::gettid(),
            processors: several_processors(),
            made: AtomicU32::new(NOT_MADE),
            moved: AtomicU32::new(0),
            inside: AtomicU32::new(1),
            // What stays if an outer sandbox kills it.
            failed: [NetworkStep::Make as u32, Errno::CANCELED.raw_os_error() as u32].map(AtomicU32::new),
            channel: std::os::fd::AsRawFd::as_raw_fd(channel),
            word,
            request,
            stack: UnsafeCell::new(MaybeUninit::uninit()),
        }));
        let thread = NetworkThread(NonNull::from(shared));
        let shared = thread.shared();
        // A handler of the process's must not run on that stack.
        let blocked = SignalsBlocked::new();
        // SAFETY: `run` makes system calls alone; what it uses is behind the pointer, and freed after `drop` has seen the thread
        // gone.
        let begun =
            unsafe { clone_thread(shared.stack.get().cast(), run, thread.0.as_ptr().cast(), &shared.inside) };
        drop(blocked);
        let number = begun.inspect_err(|_| shared.inside.store(0, Ordering::Relaxed))?;
        // Else it may be queued behind this thread, which has enough to do.
        if let Some(mut others) = shared.processors.clone() {
            others.remove(sched_getcpu());
            let _ = set_affinity(number, &others);
        }
        Ok(thread)
    }

    fn shared(&self) -> &Shared {
        // SAFETY: it was leaked in `begin` and is freed in `drop` alone; both sides write atomics only.
        unsafe { self.0.as_ref() }
    }

    /// From now on the maker is better off where this thread ends: a process that it has cloned is to have its processor.
    /// To be called in that process, or after the clone: it would get the maker's place otherwise, and keep it. Writes an
    /// atomic and does nothing else.
    pub(super) fn make_way(&self) {
        let made = &self.shared().made;
        let _ = made.compare_exchange(NOT_MADE, AWAITED, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether fewer processes want to run, on average over a minute, than there are processors for the maker. A sandbox that
    /// does not tell leaves none to spare.
    pub(super) fn has_processors_to_spare(&self) -> bool {
        let allowed = self.shared().processors.as_ref().map_or(0, Processors::count);
        load_average().is_ok_and(|load| load < u64::from(allowed))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Where it failed, and why.
    pub fn finish(&self) -> Result<(), (NetworkStep, Errno)> {
        self.make_way();
        let made = &self.shared().made;
        // A thread that an outer sandbox has killed says nothing any more.
        while made.load(Ordering::Acquire) == AWAITED && self.shared().inside.load(Ordering::Acquire) != 0 {
            // Interrupted, or too late: the loop looks again.
            let _ = futex::wait(made, futex::Flags::PRIVATE, AWAITED, Some(&LOOK));
        }
        wait_until_left(&self.shared().inside);
        let [step, errno] = [0, 1].map(|index: usize| self.shared().failed[index].load(Ordering::Relaxed));
        let steps = [NetworkStep::Make, NetworkStep::Loopback, NetworkStep::Send];
        match steps.get(step as usize) {
            Some(step) if errno != 0 => Err((*step, Errno::from_raw_os_error(errno as i32))),
            _ => Ok(()),
        }
    }
}

/// How many processes want to run, on average over the last minute, rounded down: sysinfo(2). rustix's panics where that fails.
fn load_average() -> Result<u64, Errno> {
    /// SI_LOAD_SHIFT of `include/uapi/linux/sysinfo.h`.
    const SHIFT: u32 = 16;
    let mut info = MaybeUninit::<linux_raw_sys::system::sysinfo>::uninit();
    // SAFETY: sysinfo(2) writes one struct of that type to the pointer, and it is filled when the call succeeds.
    let info = unsafe {
        syscall1(Sysno::sysinfo, info.as_mut_ptr() as usize).map_err(super::errno)?;
        info.assume_init()
    };
    Ok(info.loads[0] >> SHIFT)
}

impl Drop for NetworkThread {
    fn drop(&mut self) {
        wait_until_left(&self.shared().inside);
        if self.shared().moved.load(Ordering::Acquire) != 0 {
            let _ = use_every_processor();
        }
        // SAFETY: `begin` has leaked it, and the thread is gone.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// The thread. Its thread-local storage is that of its maker, and the C library does not know of it: no memory may be
/// allocated here, and nothing may panic.
unsafe extern "C" fn run(shared: *const c_void) -> ! {
    // SAFETY: `begin` passes a `Shared`, which stays until this thread has left the memory; what is written is atomic.
    unsafe { &*shared.cast::<Shared>() }.work();
    loop {
        // SAFETY: exit(2) ends this thread alone, and closes its copies of the descriptors.
        let _ = unsafe { syscall1(Sysno::exit, 0) };
    }
}

impl Shared {
    fn work(&self) {
        self.keep_the_channel();
        let made = self.make();
        self.let_maker_follow();
        match made.and_then(|socket| self.hand_over(&socket)) {
            Ok(()) => self.failed[1].store(0, Ordering::Relaxed),
            Err((step, errno)) => {
                self.failed[0].store(step as u32, Ordering::Relaxed);
                self.failed[1].store(errno.raw_os_error() as u32, Ordering::Relaxed);
                // Whoever waits at the other end learns that nothing comes.
                let _ = rustix::net::shutdown(self.channel(), Shutdown::Write);
            }
        }
    }

    /// Other ends that its maker has open would not end with those who use them while this thread held copies.
    fn keep_the_channel(&self) {
        let channel = self.channel as u32;
        // SAFETY: the thread has a table of descriptors of its own, of which it uses the channel alone. What an outer sandbox
        // forbids stays open until the thread ends, as it would have.
        let _ = unsafe {
            close_range(0, channel.saturating_sub(1)).and_then(|()| close_range(channel + 1, u32::MAX))
        };
    }

    fn make(&self) -> Result<OwnedFd, (NetworkStep, Errno)> {
        unshare_namespaces(CLONE_NEWNET).map_err(|errno| (NetworkStep::Make, errno))?;
        self.set_loopback_up().map_err(|errno| (NetworkStep::Loopback, errno))
    }

    /// Lets the maker go on where this thread is about to leave a processor free: it would go on where it has run last,
    /// which is where init runs now. Init is woken after it, and so where it has run last, too: the
    /// kernel brings whoever is woken by a message to its sender, if that is alone there.
    fn let_maker_follow(&self) {
        if self.made.compare_exchange(NOT_MADE, MADE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return;
        }
        if self.processors.as_ref().is_some_and(lift_restriction) {
            self.moved.store(1, Ordering::Release);
            hold_here(Some(self.maker));
        }
        self.made.store(MADE, Ordering::Release);
        let _ = futex::wake(&self.made, futex::Flags::PRIVATE, 1);
    }

    fn hand_over(&self, socket: &OwnedFd) -> Result<(), (NetworkStep, Errno)> {
        match network_of(socket.as_fd()).and_then(|namespace| self.send(&namespace)) {
            // It has ended, and what it said before comes out elsewhere.
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            sent => sent.map_err(|errno| (NetworkStep::Send, errno)),
        }
    }

    fn channel(&self) -> BorrowedFd<'_> {
        // SAFETY: the thread has a copy of its own of the descriptor that its maker had when it began, and closes none.
        unsafe { BorrowedFd::borrow_raw(self.channel) }
    }

    fn set_loopback_up(&self) -> Result<OwnedFd, Errno> {
        /// `struct nlmsghdr` and the error in `struct nlmsgerr` behind it.
        const ACKNOWLEDGEMENT: usize = 20;
        // Protocol 0 is NETLINK_ROUTE.
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        rustix::net::send(&socket, &self.request, SendFlags::empty())?;
        // The kernel answers before it returns from that.
        let mut answer = [0u8; ACKNOWLEDGEMENT];
        rustix::net::recv(&socket, &mut answer, RecvFlags::DONTWAIT)?;
        match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
            0 => Ok(socket),
            errno => Err(Errno::from_raw_os_error(-errno)),
        }
    }

    fn send(&self, namespace: &OwnedFd) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [namespace.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let word = [self.word];
        let parts = [rustix::io::IoSlice::new(&word)];
        rustix::net::sendmsg(self.channel(), &parts, &mut control, SendFlags::NOSIGNAL).map(drop)
    }
}
