//! A rung over a shelf: two things are put there, one after the other. It keeps every rule, or
//! breaks the one it is told to break.

use std::collections::BTreeSet;
use std::future::{poll_fn, ready};
use std::sync::{Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use podwalk_engine::error::{ErrorKind, StepError};
use podwalk_engine::id::BootId;
use podwalk_engine::pod::Pod;
use podwalk_engine::ports::{BoxFuture, Failure, MountNetns, Probe, Rung};
use podwalk_engine::record::{MountNetnsIntent, MountNetnsOutput, NetnsIdentity};

/// What is put there, in this order.
pub(crate) const THINGS: [&str; 2] = ["bracket", "book"];

/// Which promise is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    Nothing,
    NoTime,
    LookTakesOneThing,
    LookSeesAllOfNothing,
    LookSeesPartOfNothing,
    LookSeesOnlyAPartOfAll,
    LookReadsAnother,
    LookNeverSees,
    LookTakesAPartForAll,
    ApplyWorksOnce,
    QuietFails,
    QuietKillsNothing,
    UndoOfNothingFails,
    UndoOfNothingPutsThere,
    UndoFails,
    UndoLeavesTheBracket,
    UndoNeedsTheAnswer,
    SecondUndoFails,
}

#[derive(Debug)]
pub(crate) struct Shelf {
    wrong: Wrong,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    there: BTreeSet<&'static str>,
    /// How often all of it was put there.
    puts: u64,
    /// What an apply has still to do.
    going_on: Vec<&'static str>,
}

impl Shelf {
    pub(crate) fn new(wrong: Wrong) -> Self {
        Self {
            wrong,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == wrong
    }

    pub(crate) fn look(&self) -> BTreeSet<String> {
        self.state()
            .there
            .iter()
            .map(|thing| thing.to_string())
            .collect()
    }

    pub(crate) fn put(&self, thing: &'static str) {
        self.state().there.insert(thing);
    }

    /// What was begun and not quieted comes to its end.
    pub(crate) fn let_go_on(&self) {
        let mut state = self.state();
        let rest = std::mem::take(&mut state.going_on);
        state.there.extend(rest);
    }

    fn output(&self) -> MountNetnsOutput {
        MountNetnsOutput {
            namespace: NetnsIdentity {
                boot: BootId([1; 16]),
                device: 4,
                inode: 7,
                cookie: self.state().puts,
            },
        }
    }

    fn found(&self) -> Probe<MountNetnsOutput> {
        let things = self.state().there.len();
        let all = || Probe::Complete(self.output());
        match things {
            _ if self.is(Wrong::LookNeverSees) => Probe::Absent,
            0 if self.is(Wrong::LookSeesAllOfNothing) => all(),
            0 if self.is(Wrong::LookSeesPartOfNothing) => Probe::Partial,
            0 => Probe::Absent,
            1 if self.is(Wrong::LookTakesAPartForAll) => all(),
            1 => Probe::Partial,
            _ if self.is(Wrong::LookSeesOnlyAPartOfAll) => Probe::Partial,
            _ if self.is(Wrong::LookReadsAnother) => {
                let mut other = self.output();
                other.namespace.inode += 1;
                Probe::Complete(other)
            }
            _ => all(),
        }
    }

    fn take(&self, pod: &Pod) -> Result<(), &'static str> {
        let mut state = self.state();
        let nothing = state.there.is_empty();
        let answered = pod.namespace.is_some();
        match self.wrong {
            Wrong::UndoOfNothingFails if nothing => return Err("nothing is there"),
            Wrong::SecondUndoFails if nothing && answered => return Err("it is gone"),
            Wrong::UndoFails if !nothing => return Err("it is stuck"),
            Wrong::UndoOfNothingPutsThere if nothing => drop(state.there.insert("dust")),
            Wrong::UndoLeavesTheBracket => state.there.retain(|thing| *thing == "bracket"),
            Wrong::UndoNeedsTheAnswer if !answered => {}
            _ => state.there.clear(),
        }
        Ok(())
    }
}

fn error(message: &str) -> StepError {
    StepError::new(ErrorKind::Failed, message)
}

/// Lets everybody else run once.
async fn yield_once() {
    let mut waited = false;
    poll_fn(|context| match std::mem::replace(&mut waited, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

impl Rung for Shelf {
    type Step = MountNetns;

    fn deadline(&self, _pod: &Pod) -> Duration {
        Duration::from_secs(u64::from(!self.is(Wrong::NoTime)))
    }

    fn quiet<'a>(&'a self, _pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
        if !self.is(Wrong::QuietKillsNothing) {
            self.state().going_on.clear();
        }
        Box::pin(ready(match self.is(Wrong::QuietFails) {
            true => Err(error("it does not die")),
            false => Ok(()),
        }))
    }

    fn probe<'a>(
        &'a self,
        _pod: &'a Pod,
        _intent: &'a MountNetnsIntent,
    ) -> BoxFuture<'a, Probe<MountNetnsOutput>> {
        let found = self.found();
        if self.is(Wrong::LookTakesOneThing) {
            self.state().there.pop_first();
        }
        Box::pin(ready(found))
    }

    fn apply<'a>(
        &'a self,
        _pod: &'a Pod,
        _intent: &'a MountNetnsIntent,
    ) -> BoxFuture<'a, Result<MountNetnsOutput, Failure>> {
        Box::pin(async move {
            if self.is(Wrong::ApplyWorksOnce) && self.state().puts > 0 {
                return Err(Failure::not_done(error("that was once")));
            }
            self.state().going_on = THINGS.to_vec();
            while !self.state().going_on.is_empty() {
                yield_once().await;
                let mut state = self.state();
                let next = state.going_on.remove(0);
                state.there.insert(next);
            }
            yield_once().await;
            self.state().puts += 1;
            Ok(self.output())
        })
    }

    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        _attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(ready(self.take(pod).map_err(error)))
    }
}
