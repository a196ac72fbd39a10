//! Time that passes when the test lets it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use podwalk_engine::clock::{Clock, Stamp};
use podwalk_engine::id::BootId;
use podwalk_engine::ports::BoxFuture;

/// The wall clock at the first boot.
const BEGINNING: u64 = 1_700_000_000_000_000_000;

/// A clock with timers that stands still until it is told to go on.
#[derive(Debug, Clone)]
pub struct SimClock {
    dial: Arc<Mutex<Dial>>,
}

#[derive(Debug)]
struct Dial {
    boots: u64,
    wall_ns: u64,
    boottime_ns: u64,
    made: u64,
    timers: BTreeMap<(u64, u64), Option<Waker>>,
}

impl Default for SimClock {
    fn default() -> Self {
        let dial = Dial {
            boots: 1,
            wall_ns: BEGINNING,
            boottime_ns: 1_000_000_000,
            made: 0,
            timers: BTreeMap::new(),
        };
        Self {
            dial: Arc::new(Mutex::new(dial)),
        }
    }
}

impl SimClock {
    fn dial(&self) -> MutexGuard<'_, Dial> {
        self.dial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass until the next timer; false if there is none.
    pub fn to_next_timer(&self) -> bool {
        let Some(due) = self.dial().timers.keys().next().map(|(due, _)| *due) else {
            return false;
        };
        let now = self.dial().boottime_ns;
        self.pass(Duration::from_nanos(due.saturating_sub(now)));
        true
    }

    /// Lets time pass, and wakes whoever has waited long enough.
    pub fn pass(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let mut dial = self.dial();
        dial.boottime_ns = dial.boottime_ns.saturating_add(ns);
        dial.wall_ns = dial.wall_ns.saturating_add(ns);
        let now = dial.boottime_ns;
        let due = dial.timers.range_mut(..=(now, u64::MAX));
        let wakers: Vec<_> = due.filter_map(|(_, waker)| waker.take()).collect();
        drop(dial);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Boots anew: another boot id, the boot-time clock from its beginning.
    pub fn reboot(&self, downtime: Duration) {
        self.pass(downtime);
        let mut dial = self.dial();
        dial.boots += 1;
        dial.boottime_ns = 1_000_000_000;
        dial.timers.clear();
    }

    /// Sets the wall clock, as an operator or a dead battery may.
    pub fn set_wall(&self, wall_ns: u64) {
        self.dial().wall_ns = wall_ns;
    }
}

impl Clock for SimClock {
    fn now(&self) -> Stamp {
        let dial = self.dial();
        Stamp {
            boot: BootId(u128::from(dial.boots).to_be_bytes()),
            wall_ns: dial.wall_ns,
            boottime_ns: dial.boottime_ns,
        }
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut dial = self.dial();
        dial.made += 1;
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let name = (dial.boottime_ns.saturating_add(ns), dial.made);
        dial.timers.insert(name, None);
        Box::pin(Sleep {
            clock: self.clone(),
            name,
        })
    }
}

struct Sleep {
    clock: SimClock,
    name: (u64, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut dial = self.clock.dial();
        if dial.boottime_ns >= self.name.0 {
            return Poll::Ready(());
        }
        dial.timers.insert(self.name, Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.dial().timers.remove(&self.name);
    }
}

#[cfg(test)]
mod tests;
