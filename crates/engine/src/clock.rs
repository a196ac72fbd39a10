//! Time as the core sees it: handed in, never asked for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::BootId;
use crate::ports::BoxFuture;

/// A moment, by the two clocks that a journal needs.
///
/// Durations within a boot use the boot-time clock, which no operator sets;
/// across a reboot only the wall clock is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// The boot during which this was.
    pub boot: BootId,
    /// Nanoseconds since the Unix epoch.
    pub wall_ns: u64,
    /// Nanoseconds since that boot, time asleep included (`CLOCK_BOOTTIME`).
    pub boottime_ns: u64,
}

impl Stamp {
    /// How long before this moment `earlier` was; zero if it was not before.
    ///
    /// Of another boot's moment at least this boot's age is known, however
    /// wrong the wall clock was in one of them.
    pub fn since(&self, earlier: &Stamp) -> Duration {
        let nanoseconds = if self.boot == earlier.boot {
            self.boottime_ns.saturating_sub(earlier.boottime_ns)
        } else {
            let by_the_wall = self.wall_ns.saturating_sub(earlier.wall_ns);
            by_the_wall.max(self.boottime_ns)
        };
        Duration::from_nanos(nanoseconds)
    }
}

/// The port through which time comes in.
pub trait Clock: Send + Sync + 'static {
    /// This moment.
    fn now(&self) -> Stamp;

    /// Ends when `duration` of boot time has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}
