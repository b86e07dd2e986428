//! A thread that makes a network namespace while its maker goes on, on another processor if there is one.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general::CLONE_NEWNET;
use pillbox_init::sys::{Processors, close_range, unshare_namespaces, use_every_processor};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketFlags,
    SocketType,
};
use rustix::process::Pid;
use rustix::thread::futex;
use rustix::time::Timespec;
use syscalls::{Sysno, syscall1};

use super::clone::{Stack, clone_thread, wait_until_left};
use super::descriptor::network_of;
use super::processor::{hold_here, lift_restriction, send_away, several_processors};
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
/// Holds a pointer and not a `Box`: moving a `Box` would assert that nothing else uses what it owns.
pub struct NetworkThread(NonNull<Shared>);

/// How often the waiting maker checks that the thread still exists.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

const NOT_MADE: u32 = 0;
/// Not made yet, and the maker waits for it or is going to.
const AWAITED: u32 = 1;
/// Made, or failed.
const MADE: u32 = 2;

struct Shared {
    /// The thread that waits for it.
    maker: Pid,
    /// The processors that both threads may use, if there is more than one.
    processors: Option<Processors>,
    /// [`NOT_MADE`], [`AWAITED`] or [`MADE`].
    made: AtomicU32,
    /// Not 0 if the maker had no restriction of its own and is now held to this thread's processor.
    moved: AtomicU32,
    /// Cleared by the kernel when the thread has left the memory.
    inside: AtomicU32,
    /// The step that failed, and its errno; 0 is success.
    failed: [AtomicU32; 2],
    channel: RawFd,
    word: u8,
    request: Vec<u8>,
    /// Used by the thread alone.
    stack: UnsafeCell<MaybeUninit<Stack>>,
}

impl NetworkThread {
    /// Starts the thread. It calls unshare(2), sends `request` to the namespace's rtnetlink, and sends `word`
    /// with the namespace through `channel`, which it shuts down for writing if any of this fails. It has
    /// copies of the caller's descriptors.
    pub fn begin(channel: &OwnedFd, word: u8, request: Vec<u8>) -> Result<NetworkThread, Errno> {
        let shared = Box::leak(Box::new(Shared {
            maker: rustix::thread::gettid(),
            processors: several_processors(),
            made: AtomicU32::new(NOT_MADE),
            moved: AtomicU32::new(0),
            inside: AtomicU32::new(1),
            // The result if an outer sandbox kills the thread.
            failed: [NetworkStep::Make as u32, Errno::CANCELED.raw_os_error() as u32].map(AtomicU32::new),
            channel: std::os::fd::AsRawFd::as_raw_fd(channel),
            word,
            request,
            stack: UnsafeCell::new(MaybeUninit::uninit()),
        }));
        let thread = NetworkThread(NonNull::from(shared));
        let shared = thread.shared();
        // No signal handler of the process may run on that stack.
        let blocked = SignalsBlocked::new();
        // SAFETY: `run` only makes system calls. What it uses is behind the pointer, and is freed after
        // `drop` has seen the thread end.
        let begun =
            unsafe { clone_thread(shared.stack.get().cast(), run, thread.0.as_ptr().cast(), &shared.inside) };
        drop(blocked);
        let number = begun.inspect_err(|_| shared.inside.store(0, Ordering::Relaxed))?;
        if let Some(processors) = &shared.processors {
            send_away(number, processors);
        }
        Ok(thread)
    }

    fn shared(&self) -> &Shared {
        // SAFETY: it was leaked in `begin` and is only freed in `drop`; both threads write only atomics.
        unsafe { self.0.as_ref() }
    }

    /// Leaves the maker's processor to a process that it has cloned: when the namespace is made, the maker
    /// moves to the thread's processor. Call this in the new process or after the clone, which would
    /// otherwise inherit the maker's new place and keep it. It only writes an atomic.
    pub(super) fn make_way(&self) {
        let made = &self.shared().made;
        let _ = made.compare_exchange(NOT_MADE, AWAITED, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether the load average of the last minute is below the number of processors that the maker may use.
    /// If a sandbox hides the load, there are none to spare.
    pub(super) fn has_processors_to_spare(&self) -> bool {
        let allowed = self.shared().processors.as_ref().map_or(0, Processors::count);
        load_average().is_ok_and(|load| load < u64::from(allowed))
    }

    /// Waits for the thread's end.
    ///
    /// # Errors
    /// The step that failed, and its errno.
    pub fn finish(&self) -> Result<(), (NetworkStep, Errno)> {
        self.make_way();
        let made = &self.shared().made;
        // If an outer sandbox has killed the thread, `made` never changes.
        while made.load(Ordering::Acquire) == AWAITED && self.shared().inside.load(Ordering::Acquire) != 0 {
            // After an interruption or an early change the loop checks again.
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

/// The load average of the last minute, rounded down: sysinfo(2). rustix's function panics if the call fails.
fn load_average() -> Result<u64, Errno> {
    /// SI_LOAD_SHIFT in `include/uapi/linux/sysinfo.h`.
    const SHIFT: u32 = 16;
    let mut info = MaybeUninit::<linux_raw_sys::system::sysinfo>::uninit();
    // SAFETY: sysinfo(2) writes one struct of this type to the pointer, and has filled it if the call
    // succeeds.
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
        // SAFETY: `begin` has leaked it, and the thread has ended.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// The thread's function. It has its maker's thread-local storage, and the C library does not know of it:
/// nothing here may allocate memory or panic.
unsafe extern "C" fn run(shared: *const c_void) -> ! {
    // SAFETY: `begin` passes a `Shared`, which stays until this thread has left the memory; only atomics in
    // it are written.
    unsafe { &*shared.cast::<Shared>() }.work();
    loop {
        // SAFETY: exit(2) ends only this thread, and closes its copies of the descriptors.
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
                // Tells the process at the other end that nothing will come.
                let _ = rustix::net::shutdown(self.channel(), Shutdown::Write);
            }
        }
    }

    /// Closes all other descriptors: as long as this thread held copies, closing the maker's ends of other
    /// channels would not be seen at their other ends.
    fn keep_the_channel(&self) {
        let channel = self.channel as u32;
        // SAFETY: the thread has a descriptor table of its own, of which it uses only the channel. If an
        // outer sandbox forbids the call, the copies stay open until the thread ends.
        let _ = unsafe {
            close_range(0, channel.saturating_sub(1)).and_then(|()| close_range(channel + 1, u32::MAX))
        };
    }

    fn make(&self) -> Result<OwnedFd, (NetworkStep, Errno)> {
        unshare_namespaces(CLONE_NEWNET).map_err(|errno| (NetworkStep::Make, errno))?;
        self.set_loopback_up().map_err(|errno| (NetworkStep::Loopback, errno))
    }

    /// Moves the maker to this thread's processor, which is about to become free. Otherwise it would go on
    /// where it last ran, and init runs there now. The namespace is sent after this, so that init too wakes
    /// up where it last ran: the kernel moves a process woken by a message to the sender's processor if the
    /// sender is alone there.
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
            // Init has ended; its own report says why.
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            sent => sent.map_err(|errno| (NetworkStep::Send, errno)),
        }
    }

    fn channel(&self) -> BorrowedFd<'_> {
        // SAFETY: the thread has its own copy of the descriptor that its maker had at the start, and does not
        // close it.
        unsafe { BorrowedFd::borrow_raw(self.channel) }
    }

    fn set_loopback_up(&self) -> Result<OwnedFd, Errno> {
        /// The size of a `struct nlmsghdr` and the error in the `struct nlmsgerr` after it.
        const ACKNOWLEDGEMENT: usize = 20;
        // Protocol 0 is NETLINK_ROUTE.
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        rustix::net::send(&socket, &self.request, SendFlags::empty())?;
        // The kernel has answered before send(2) returns.
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
