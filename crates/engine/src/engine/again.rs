//! A sandbox that could not be looked at is looked at again.
//!
//! A started pod whose probe answers Unknown is reported as recorded, and its
//! walk rests. Nobody watches its process then, so that its end would not be
//! noticed before its Stop. Hence what was found is forgotten after a while,
//! with longer and longer pauses, and the walk looks anew.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::Inner;
use crate::engine::slot::Slot;
use crate::pod::backoff;

/// How often a sandbox was looked at in vain, and whether somebody waits to do
/// it again.
#[derive(Debug, Default)]
pub(crate) struct Again {
    looks: u32,
    waits: bool,
}

impl Again {
    /// How long to wait, if it is `unknown` what there is and nobody waits.
    pub(crate) fn begin(&mut self, unknown: bool) -> Option<Duration> {
        if !unknown {
            self.looks = 0;
            return None;
        }
        if self.waits {
            return None;
        }
        self.waits = true;
        self.looks = self.looks.saturating_add(1);
        Some(backoff(self.looks))
    }

    /// The wait is over.
    pub(crate) fn end(&mut self) {
        self.waits = false;
    }
}

impl Inner {
    /// Sees to it that a sandbox of which nothing could be told is looked at
    /// once more. The wait keeps neither the engine nor its journal.
    pub(super) fn look_again_later(self: &Arc<Self>, slot: &Arc<Slot>) {
        if self.is_closing() {
            return;
        }
        let Some(wait) = slot.wait_to_look_again() else {
            return;
        };
        let over = self.clock.sleep(wait);
        let (inner, slot) = (Arc::downgrade(self), Arc::downgrade(slot));
        self.spawn.spawn(Box::pin(async move {
            over.await;
            if let (Some(inner), Some(slot)) = (inner.upgrade(), slot.upgrade())
                && slot.look_again()
            {
                Inner::kick(&inner, &slot);
            }
        }));
    }
}
