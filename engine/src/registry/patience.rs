//! How often and when a registry is asked again that does not answer as it should.

use std::time::{Duration, Instant};

use ureq::Body;
use ureq::http::{Response, StatusCode, header};

use crate::error::Result;
use crate::message;
use crate::stop::Stop;

/// How often a request is tried.
pub const ATTEMPTS: u32 = 5;

/// The longest that a registry may let us wait.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// How often is looked meanwhile whether the work is to end.
const LOOK: Duration = Duration::from_millis(100);

/// Whether it has no time now.
pub fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

/// What a registry says in seconds. Those that give a date instead get the usual wait.
pub fn retry_after(answer: &Response<Body>) -> Option<Duration> {
    let value = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(value.trim().parse().ok()?).min(WAIT_MAX))
}

/// Waits before the next attempt: as long as the registry wants, or twice as long each time.
///
/// # Errors
/// `stop` is set: then there is no other attempt, and the connection may have broken because of that.
pub fn pause(stop: &Stop, wanted: Option<Duration>, attempt: u32, why: &str) -> Result<()> {
    stop.check()?;
    let wait = wanted.unwrap_or_else(|| Duration::from_millis(250 << attempt.min(6)));
    if wait > Duration::from_secs(1) {
        message::say(format_args!("waiting {} seconds for the registry: {why}", wait.as_secs()));
    }
    let end = Instant::now() + wait;
    loop {
        match end.saturating_duration_since(Instant::now()) {
            Duration::ZERO => return Ok(()),
            left => std::thread::sleep(left.min(LOOK)),
        }
        stop.check()?;
    }
}
