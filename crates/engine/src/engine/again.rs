//! A sandbox that could not be looked at is looked at again.
//!
//! A started pod whose probe answers Unknown is reported as recorded, and its
//! walk rests. Nobody watches its process then, so that its end would not be
//! noticed before its Stop. A pod whose late networks are to be attached waits,
//! for they are attached only to a sandbox that runs. Hence what was found is
//! forgotten after a while, with longer and longer pauses, and the walk looks
//! anew.

use std::time::Duration;

use crate::clock::Stamp;
use crate::pod::backoff;

/// How often a sandbox was looked at in vain, and whether somebody waits to do
/// it again.
#[derive(Debug, Default)]
pub(crate) struct Again {
    looks: u32,
    waits: bool,
    since: Option<Stamp>,
}

impl Again {
    /// How long to wait, if it is `unknown` what there is and nobody waits.
    pub(crate) fn begin(&mut self, unknown: bool, now: Stamp) -> Option<Duration> {
        if !unknown {
            self.looks = 0;
            self.since = None;
            return None;
        }
        self.since.get_or_insert(now);
        if self.waits {
            return None;
        }
        self.waits = true;
        self.looks = self.looks.saturating_add(1);
        Some(backoff(self.looks))
    }

    /// For how long it has been unknown.
    pub(crate) fn in_vain(&self, now: &Stamp) -> Duration {
        let since = self.since.as_ref();
        since.map(|since| now.since(since)).unwrap_or_default()
    }

    /// The wait is over.
    pub(crate) fn end(&mut self) {
        self.waits = false;
    }
}
