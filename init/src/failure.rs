//! Why an operation failed, and how far it had got.

use core::num::NonZeroU64;

use pillbox_init::report::Stage;
use rustix::io::Errno;

/// The exit status of an init that could not begin or continue; its report says why.
pub const NOT_STARTED: i32 = 125;

/// Why an operation failed: errno, stage and detail. They are one number, which fits a register, because it
/// is passed on in many places.
#[derive(Clone, Copy)]
pub struct Failure(NonZeroU64);

impl Failure {
    /// See [`Report::Failed`].
    pub fn new(errno: Errno, stage: Stage, detail: u32) -> Failure {
        let number = u64::from(detail) << 32 | (stage as u64) << 16 | u64::from(errno.raw_os_error() as u16);
        // Neither an errno nor a stage is ever 0.
        Failure(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }

    pub fn errno(self) -> Errno {
        Errno::from_raw_os_error(i32::from(self.0.get() as u16))
    }

    pub fn stage(self) -> Stage {
        Stage::of_number((self.0.get() >> 16) as u8).unwrap_or(Stage::Call)
    }

    pub fn detail(self) -> u32 {
        (self.0.get() >> 32) as u32
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure::new(errno, Stage::Call, 0)
    }
}

/// Adds the stage that an operation had reached.
pub trait At<T> {
    fn at(self, stage: Stage) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, stage: Stage) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(errno, stage, 0))
    }
}
