//! Who is buried where, and which obituary may go next.

use std::collections::VecDeque;
use std::time::Duration;

use podwalk_engine::clock::Stamp;
use podwalk_engine::id::PodId;
use podwalk_engine::pod::Obituary;

/// How many obituaries are kept at least.
pub const OBITUARIES: usize = 1000;

/// For how long after its DEL an obituary is kept, however many there are:
/// power loss may bring back what DEL removed within two minutes, and then the
/// plan is needed again (design, section 3, rule 6). Some more, for clocks.
pub const KEPT_AFTER_RELEASE: Duration = Duration::from_secs(300);

/// One obituary's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grave {
    /// The burial's number.
    pub(crate) number: u64,
    /// The pod.
    pub(crate) pod: PodId,
    /// The pod's records below this number are litter.
    pub(crate) next_sequence: u64,
    /// When its DEL was recorded.
    pub(crate) released: Option<Stamp>,
    /// It does not decode: it is kept until somebody drops it.
    pub(crate) unreadable: bool,
}

impl Grave {
    /// The grave of a pod.
    pub(crate) fn of(number: u64, obituary: &Obituary) -> Self {
        Self {
            number,
            pod: obituary.pod.id,
            next_sequence: obituary.pod.next_sequence,
            released: obituary.pod.released,
            unreadable: false,
        }
    }

    /// A grave whose obituary does not decode.
    pub(crate) fn unreadable(number: u64, pod: PodId) -> Self {
        Self {
            number,
            pod,
            next_sequence: 0,
            released: None,
            unreadable: true,
        }
    }

    fn may_go(&self, now: &Stamp) -> bool {
        let released = self.released.as_ref();
        !self.unreadable && released.is_none_or(|at| now.since(at) > KEPT_AFTER_RELEASE)
    }
}

/// All graves, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Graves(VecDeque<Grave>);

impl Graves {
    /// Adds the newest.
    pub(crate) fn dig(&mut self, grave: Grave) {
        self.0.push_back(grave);
    }

    /// The number of the next burial.
    pub(crate) fn next_number(&self) -> u64 {
        self.0.back().map_or(0, |last| last.number + 1)
    }

    /// The graves of one pod: none, or one, or more if it came back.
    pub(crate) fn of(&self, pod: PodId) -> impl Iterator<Item = &Grave> {
        self.0.iter().filter(move |grave| grave.pod == pod)
    }

    /// The pod's records below this number are litter.
    pub(crate) fn floor(&self, pod: PodId) -> u64 {
        self.of(pod)
            .map(|grave| grave.next_sequence)
            .max()
            .unwrap_or(0)
    }

    /// Which graves make room for the burial of `pod` at `now`: its own older
    /// ones, and the oldest that are too many. A few at a time, since their
    /// removal is part of the burial's batch.
    pub(crate) fn to_clear(&self, pod: PodId, now: &Stamp) -> Vec<Grave> {
        const AT_ONCE: usize = 4;
        let surplus = (self.0.len() + 1).saturating_sub(OBITUARIES).min(AT_ONCE);
        let readable = self.0.iter().filter(|grave| !grave.unreadable);
        let mut gone: Vec<Grave> = readable
            .take(surplus)
            .take_while(|grave| grave.may_go(now))
            .copied()
            .collect();
        let own = self.of(pod).filter(|own| !own.unreadable);
        let more: Vec<Grave> = own.filter(|own| !gone.contains(own)).copied().collect();
        gone.extend(more);
        gone
    }

    /// Forgets one.
    pub(crate) fn clear(&mut self, number: u64) {
        self.0.retain(|grave| grave.number != number);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests;
