//! Samples and their statistics.

use std::time::Duration;

use crate::error::Result;
use crate::runtime::Cost;

/// All samples of one runtime in one case.
#[derive(Debug, Default)]
pub struct Samples {
    times: Vec<Duration>,
    /// How many runs failed.
    pub failures: usize,
    /// The text of the first failure.
    pub first_failure: Option<String>,
}

impl Samples {
    /// Adds one run.
    pub fn add(&mut self, outcome: Result<Cost>) {
        match outcome {
            Ok(Cost { time }) => self.times.push(time),
            Err(error) => {
                self.failures += 1;
                self.first_failure.get_or_insert(error.to_string());
            }
        }
    }

    /// The time in ms that `percent` of the runs did not exceed (nearest rank); `None` without any run.
    pub fn percentile(&self, percent: usize) -> Option<f64> {
        let mut times = self.times.clone();
        times.sort_unstable();
        let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(rank).map(|time| time.as_secs_f64() * 1000.0)
    }

    /// The median in ms.
    pub fn median(&self) -> Option<f64> {
        self.percentile(50)
    }

    /// How many runs succeeded.
    pub fn runs(&self) -> usize {
        self.times.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::error;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut samples = Samples::default();
        assert_eq!(samples.median(), None);
        for ms in (1..=20).rev() {
            samples.add(Ok(Cost { time: Duration::from_millis(ms) }));
        }
        samples.add(Err(error("no")));
        assert_eq!(
            [0, 50, 95, 100].map(|percent| samples.percentile(percent)),
            [1.0, 10.0, 19.0, 20.0].map(Some)
        );
        assert_eq!((samples.runs(), samples.failures), (20, 1));
        assert_eq!(samples.first_failure.as_deref(), Some("no"));
    }
}
