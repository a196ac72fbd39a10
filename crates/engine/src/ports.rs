//! What the core needs from the world: a journal, a rung per step, a clock, a
//! spawner.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::error::StepError;
use crate::id::PodId;
use crate::pod::{Obituary, Pod};
use crate::record::{
    AttachLateIntent, AttachLateOutput, ConfigureCniIntent, ConfigureCniOutput, CreateIntent,
    CreateOutput, Entry, Intent, MountNetnsIntent, MountNetnsOutput, Outcome, Output,
    ReadyNetworkIntent, ReadyNetworkOutput, StartIntent, StartOutput,
};
use crate::step::Step;

pub use crate::clock::Clock;

/// A future that a port hands out.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a record must survive before the append that wrote it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// SIGKILL: it was handed to the kernel.
    Process,
    /// Power loss: it is on the platter, and all that was appended before it.
    Power,
}

/// The journal. `crates/store` has two, `crates/testkit` one that crashes.
///
/// A batch is atomic: all of it is there after a crash, or nothing. Batches
/// survive in the order in which they were appended, without holes.
pub trait Journal: Send + Sync + 'static {
    /// Appends the entries, in order, as one batch, and answers when they are
    /// as durable as asked for.
    ///
    /// # Errors
    /// Nothing of the batch is there after [`JournalError::Full`] and
    /// [`JournalError::TooLarge`]; after [`JournalError::Poisoned`] nobody
    /// knows until the journal is opened anew.
    fn append(
        &self,
        batch: Vec<Entry>,
        durability: Durability,
    ) -> BoxFuture<'_, Result<(), JournalError>>;

    /// Reads everything. What was there when the journal was opened is on the
    /// platter by now: after a crash, what a client asks for again may be
    /// answered without another record.
    ///
    /// # Errors
    /// Only when nothing can be read at all: a pod that does not decode is
    /// in [`Replay::quarantined`].
    fn replay(&self) -> BoxFuture<'_, Result<Replay, JournalError>>;

    /// Reads one pod's records, in order; none if there is no such pod.
    ///
    /// # Errors
    /// As for [`Journal::replay`].
    fn read(&self, pod: PodId) -> BoxFuture<'_, Result<Vec<Entry>, JournalError>>;

    /// Puts one entry, a [`crate::record::Record::Snapshot`], in the place of
    /// all that the pod had.
    ///
    /// # Errors
    /// As for [`Journal::append`].
    fn compact(&self, snapshot: Entry) -> BoxFuture<'_, Result<(), JournalError>>;

    /// Removes all that the pod had, keeps the obituary, and answers when that
    /// survives power loss: it is the last record of a Remove.
    ///
    /// # Errors
    /// As for [`Journal::append`].
    fn bury(&self, obituary: Obituary) -> BoxFuture<'_, Result<(), JournalError>>;

    /// Whether new pods may be taken in.
    ///
    /// # Errors
    /// [`JournalError::Full`] below the reserve that keeps room for undoing,
    /// [`JournalError::Poisoned`] after a failed sync.
    fn admits(&self) -> Result<(), JournalError>;

    /// A number that grows with every opening; the first half of an event's
    /// cursor.
    fn epoch(&self) -> u64;
}

/// All that a journal holds.
#[derive(Debug, Default)]
pub struct Replay {
    /// The entries of each pod, in order.
    pub pods: Vec<(PodId, Vec<Entry>)>,
    /// Pods that are gone, oldest first.
    pub obituaries: Vec<Obituary>,
    /// Pods that do not decode, each with what is wrong with it.
    pub quarantined: Vec<(PodId, String)>,
}

/// Why the journal did not take a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// No space. The journal goes on as soon as there is some.
    #[error(
        "the journal's disk is full: {detail} (free space there; the daemon goes on by itself)"
    )]
    Full {
        /// What was refused.
        detail: String,
    },
    /// One record larger than the format allows.
    #[error(
        "a record of {bytes} bytes is larger than the journal's limit of {limit} (make the spec smaller)"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A sync failed: what is on the platter is not known. Final.
    #[error(
        "the journal takes no more work after a failed sync: {detail} (check the disk, then restart the daemon; pods keep running)"
    )]
    Poisoned {
        /// The first failure.
        detail: String,
    },
    /// It cannot be read.
    #[error("the journal cannot be read: {detail}")]
    Unreadable {
        /// What failed.
        detail: String,
    },
}

/// Runs the core's walks. An executor of the embedder's choice.
pub trait Spawn: Send + Sync + 'static {
    /// Runs `task` to its end, independently of the caller.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// What ties a step to the types of its intent and output.
pub trait StepType: Send + Sync + 'static {
    /// The step.
    const STEP: Step;
    /// What is recorded before.
    type Intent: Clone + Send + Sync + Into<Intent> + 'static;
    /// What is recorded after.
    type Output: Clone + Send + Sync + Into<Output> + 'static;
    /// The intent, if it is this step's.
    fn intent(intent: &Intent) -> Option<&Self::Intent>;
}

macro_rules! step_types {
    ($($(#[$doc:meta])* $name:ident: $intent:ty => $output:ty, $boxed:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub enum $name {}

        impl StepType for $name {
            const STEP: Step = Step::$name;
            type Intent = $intent;
            type Output = $output;

            fn intent(intent: &Intent) -> Option<&$intent> {
                match intent {
                    Intent::$name(intent) => Some(intent),
                    _ => None,
                }
            }
        }

        impl From<$intent> for Intent {
            fn from(intent: $intent) -> Intent {
                Intent::$name($boxed(intent))
            }
        }

        impl From<$output> for Output {
            fn from(output: $output) -> Output {
                Output::$name(output)
            }
        }
    )*};
}

fn boxed<T>(value: T) -> Box<T> {
    Box::new(value)
}

fn plain<T>(value: T) -> T {
    value
}

step_types! {
    /// The type of [`Step::Create`].
    Create: CreateIntent => CreateOutput, boxed;
    /// The type of [`Step::MountNetns`].
    MountNetns: MountNetnsIntent => MountNetnsOutput, plain;
    /// The type of [`Step::ReadyNetwork`].
    ReadyNetwork: ReadyNetworkIntent => ReadyNetworkOutput, plain;
    /// The type of [`Step::ConfigureCni`].
    ConfigureCni: ConfigureCniIntent => ConfigureCniOutput, plain;
    /// The type of [`Step::Start`].
    Start: StartIntent => StartOutput, plain;
    /// The type of [`Step::AttachLate`].
    AttachLate: AttachLateIntent => AttachLateOutput, plain;
}

/// One step's effect on the world.
///
/// The drive loop records the intent, calls [`Rung::apply`] and records the
/// output. After a crash, or when the effect's answer was lost, it calls
/// [`Rung::quiet`], then [`Rung::probe`] or [`Rung::undo`]. All futures may be
/// dropped at any moment; what they started is then found by `quiet`.
pub trait Rung: Send + Sync + 'static {
    /// Which step.
    type Step: StepType;

    /// How long one [`Rung::apply`] may take, all of its parts together. After
    /// it the outcome is unknown.
    fn deadline(&self, pod: &Pod) -> Duration;

    /// How long one [`Rung::undo`] may take, where that is not the same: of
    /// ConfigureCni each attachment's.
    fn undo_deadline(&self, pod: &Pod) -> Duration {
        self.deadline(pod)
    }

    /// The runtime handler by its name, for Start: recorded with the intent, so
    /// that the sandbox is ended by whom it was started.
    fn handler(&self, pod: &Pod) -> String {
        pod.spec.runtime_handler.clone()
    }

    /// Whether a second `apply` needs everything above Created to be made
    /// anew, because the first one used it up (design, section 3, rule 8).
    fn consumes_network(&self, _pod: &Pod) -> bool {
        false
    }

    /// Kills every process of an earlier effect of this pod, and sees them
    /// gone. Nothing to do is success.
    ///
    /// # Errors
    /// When one cannot be killed: it is a debt of this step.
    fn quiet<'a>(&'a self, _pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Looks, and never touches.
    fn probe<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a <Self::Step as StepType>::Intent,
    ) -> BoxFuture<'a, Probe<<Self::Step as StepType>::Output>>;

    /// Takes the step.
    ///
    /// # Errors
    /// [`Failure::outcome`] says whether the effect answered or nobody knows.
    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a <Self::Step as StepType>::Intent,
    ) -> BoxFuture<'a, Result<<Self::Step as StepType>::Output, Failure>>;

    /// Undoes the step, whatever is left of it; of nothing is success, and
    /// twice is the same as once. ConfigureCni is undone attachment by
    /// attachment, and then as a whole like every other step, when what is left
    /// of it belongs to none of them.
    ///
    /// # Errors
    /// When something may be left: it is owed.
    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>>;
}

/// What a look at a step's effect found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe<T> {
    /// Nothing of it is there.
    Absent,
    /// All of it is there, with this output.
    Complete(T),
    /// Some of it is there.
    Partial,
    /// It cannot be told.
    Unknown,
}

impl<T> Probe<T> {
    /// The same finding with another output.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Probe<U> {
        match self {
            Probe::Absent => Probe::Absent,
            Probe::Complete(output) => Probe::Complete(change(output)),
            Probe::Partial => Probe::Partial,
            Probe::Unknown => Probe::Unknown,
        }
    }
}

/// An [`Rung::apply`] that did not report success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What is known of the effect.
    pub outcome: Outcome,
    /// The attachment it was about, where it was about one.
    pub attachment: Option<u32>,
    /// What happened.
    pub error: StepError,
}

impl Failure {
    /// The effect answered that it failed.
    pub fn not_done(error: StepError) -> Self {
        Self {
            outcome: Outcome::NotDone,
            attachment: None,
            error,
        }
    }

    /// Nobody knows how the effect ended.
    pub fn unknown(error: StepError) -> Self {
        Self {
            outcome: Outcome::Unknown,
            attachment: None,
            error,
        }
    }

    /// The same, about one attachment.
    #[must_use]
    pub fn of_attachment(mut self, attachment: u32) -> Self {
        self.attachment = Some(attachment);
        self
    }
}
