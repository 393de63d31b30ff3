//! The relay's clock: nanoseconds since it began.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
    wall: Duration,
}

impl Clock {
    pub(super) fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { began: Instant::now(), wall }
    }

    pub(super) fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// The time of day at `now`, for the capture.
    pub(super) fn time_of_day(&self, now: u64) -> Duration {
        self.wall + Duration::from_nanos(now)
    }
}

pub(super) fn nanoseconds(milliseconds: f64) -> u64 {
    (milliseconds * 1e6) as u64
}
