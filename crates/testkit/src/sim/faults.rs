//! What goes wrong, and where.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use podwalk_engine::id::PodId;
use podwalk_engine::step::Step;

/// Where an effect can be hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// Taking the step.
    Apply,
    /// Undoing it.
    Undo,
    /// Looking at it.
    Probe,
    /// Killing what is left of it.
    Quiet,
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mishap {
    /// So many of its changes happen, then it says that it failed. Of a look:
    /// it cannot be told.
    Fail {
        /// How many changes happen; all, if it has fewer.
        after: usize,
    },
    /// All of it happens, and its answer is lost. Of an undo or a quieting, as
    /// of a failure after all of it.
    LoseAnswer,
    /// So many of its changes happen, then nothing more, until it is killed.
    /// Killed by nobody, it goes on at last.
    Hang {
        /// How many changes happen before; all, if it has fewer.
        after: usize,
    },
    /// An ADD answers something that does not fit the pod. Elsewhere nothing
    /// happens: other answers have no room for it.
    Nonsense,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// At which step.
    pub step: Step,
    /// At which side of it.
    pub site: Site,
    /// Only for this pod.
    pub pod: Option<PodId>,
    /// Only for this attachment.
    pub attachment: Option<u32>,
    /// What happens.
    pub mishap: Mishap,
    /// How often it still happens; none for ever.
    pub times: Option<u32>,
}

impl Fault {
    /// A fault of every pod, once.
    pub fn once(step: Step, site: Site, mishap: Mishap) -> Self {
        Self {
            step,
            site,
            pod: None,
            attachment: None,
            mishap,
            times: Some(1),
        }
    }

    /// A fault of every pod, until it is mended.
    pub fn for_ever(step: Step, site: Site, mishap: Mishap) -> Self {
        Self {
            times: None,
            ..Self::once(step, site, mishap)
        }
    }

    /// The same, at most so often.
    #[must_use]
    pub fn at_most(self, times: u32) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    /// The same, of one pod.
    #[must_use]
    pub fn of(mut self, pod: PodId) -> Self {
        self.pod = Some(pod);
        self
    }

    /// The same, of one attachment.
    #[must_use]
    pub fn of_attachment(mut self, attachment: u32) -> Self {
        self.attachment = Some(attachment);
        self
    }
}

/// The plan of what goes wrong: shared between the test and the rungs.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    plan: Arc<Mutex<Vec<Fault>>>,
}

impl Faults {
    fn plan(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this goes wrong too.
    pub fn add(&self, fault: Fault) {
        self.plan().push(fault);
    }

    /// From now on nothing goes wrong.
    pub fn mend(&self) {
        self.plan().clear();
    }

    /// What goes wrong here and now, if anything: the first that fits.
    pub fn strike(
        &self,
        step: Step,
        site: Site,
        pod: PodId,
        attachment: Option<u32>,
    ) -> Option<Mishap> {
        let mut plan = self.plan();
        let fault = plan.iter_mut().find(|fault| {
            fault.step == step
                && fault.site == site
                && fault.times != Some(0)
                && fault.pod.is_none_or(|wanted| wanted == pod)
                && (fault.attachment.is_none() || fault.attachment == attachment)
        })?;
        fault.times = fault.times.map(|times| times - 1);
        Some(fault.mishap)
    }
}
