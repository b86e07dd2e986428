//! Commands that are killed at any moment.

use std::thread;
use std::time::{Duration, Instant};

use super::host::{bridged, on_a_host};
use crate::cases::Guest;
use crate::cases::expectation::{equal, holds};

/// How often `create` is killed.
const TIMES: u32 = 16;

/// What a killed `create` has made of a network is known to `net gc`, and then nothing is wrong, or left.
pub fn killed(guest: &Guest) -> Result<(), String> {
    on_a_host(guest, |host| {
        let container = host.bundle("victim", &bridged(&["8080:80", "127.0.0.1:8081:81/udp"]))?;
        let mut duration = Duration::MAX;
        for _ in 0..3 {
            let begun = Instant::now();
            container.create()?;
            duration = duration.min(begun.elapsed());
            container.remove()?;
            host.remove_networks()?;
            host.is_as_before()?;
        }
        let mut killed = 0;
        for round in 1..=TIMES {
            let mut call = container.start_create()?;
            thread::sleep(duration * round / TIMES);
            call.child.kill().map_err(|e| format!("kill: {e}"))?;
            let finished = guest.finish(call)?;
            killed += u32::from(finished.code() == 137);
            container.remove()?;
            host.net(&["gc"])?;
            equal("net check", host.net(&["check"])?.as_str(), "")?;
            host.remove_networks()?;
            host.is_as_before()?;
        }
        holds(&format!("of {TIMES}, {killed} were killed before they had ended"), killed > TIMES / 4)?;
        // And it can be made.
        container.launch()?;
        container.remove()
    })
}
