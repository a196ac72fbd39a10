//! Why a verb did not do what was asked.

use crate::error::{ErrorKind, StepError};
use crate::id::PodId;
use crate::pod::Owed;
use crate::ports::JournalError;
use crate::spec::{InvalidSpec, PodKey};
use crate::step::Step;

/// Why a verb did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No pod has this id.
    #[error("no pod {id}")]
    NoSuchPod {
        /// The id.
        id: PodId,
    },
    /// The spec cannot be granted as it is.
    #[error("the pod's spec is not valid: {0}")]
    InvalidSpec(#[from] InvalidSpec),
    /// A pod with this key runs, with another spec.
    #[error("pod {key} runs already as {id}, with another spec (stop it first)")]
    AlreadyExists {
        /// The key.
        key: PodKey,
        /// Who has it.
        id: PodId,
    },
    /// The id is another pod's, or was.
    #[error("the id {id} is that of pod {key} (choose another)")]
    IdTaken {
        /// The id.
        id: PodId,
        /// Whose it is.
        key: PodKey,
    },
    /// Another pod holds what is asked for.
    #[error("{what} is held by pod {holder}{}", Held(.debt))]
    Held {
        /// A host port or a name.
        what: String,
        /// Who holds it.
        holder: PodId,
        /// The debt by which it is held, if there is one.
        debt: Option<Box<Owed>>,
    },
    /// The owner of the network is not there, or not started.
    #[error("network mode pod:{owner}: that pod is not started (start it first)")]
    OwnerNotStarted {
        /// The owner.
        owner: PodId,
    },
    /// The start failed. What had been done is undone, or owed.
    #[error("pod {id}: {step} failed: {error}{}", Afterwards(.afterwards))]
    StartFailed {
        /// The pod.
        id: PodId,
        /// The step that failed.
        step: Step,
        /// Why: the first cause.
        error: StepError,
        /// What undoing met after it, and still owes.
        afterwards: Vec<Owed>,
    },
    /// The pod was stopped or removed while it started.
    #[error("pod {id} was stopped while it started")]
    Stopped {
        /// The pod.
        id: PodId,
    },
    /// The sandbox was started and has exited since.
    #[error("pod {id}: its sandbox has exited (stop the pod, or start it anew)")]
    Exited {
        /// The pod.
        id: PodId,
    },
    /// Something could not be undone yet; it is tried again.
    #[error("pod {id} still owes what could not be undone{}; it is tried again by itself, and whenever it is asked for", Afterwards(.debts))]
    Owes {
        /// The pod.
        id: PodId,
        /// What it owes.
        debts: Vec<Owed>,
    },
    /// No such debt.
    #[error("pod {id} owes nothing of {step}")]
    NoSuchDebt {
        /// The pod.
        id: PodId,
        /// The step.
        step: Step,
    },
    /// Nothing is owed.
    #[error("pod {id} owes nothing")]
    OwesNothing {
        /// The pod.
        id: PodId,
    },
    /// A sandbox that may be alive is never written off.
    #[error(
        "pod {id}: {step} cannot be forgiven: a process of the sandbox may be alive (end it, then pay the debt or stop the pod again)"
    )]
    NotForgivable {
        /// The pod.
        id: PodId,
        /// The step.
        step: Step,
    },
    /// The journal does not take what must be recorded.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The engine is about to end, and begins nothing new.
    #[error("the daemon is about to end (ask again when it is back)")]
    Closing,
}

/// What a caller can do about an [`EngineError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineErrorKind {
    /// There is no such pod.
    NotFound,
    /// Change the request.
    Invalid,
    /// Something else holds what is asked for.
    Conflict,
    /// Ask again later.
    Retry,
    /// An effect did not end in time.
    Timeout,
    /// The host lacks something.
    Environment,
    /// An effect said no.
    Failed,
}

impl EngineError {
    /// What a caller can do about it.
    pub fn kind(&self) -> EngineErrorKind {
        match self {
            EngineError::NoSuchPod { .. } | EngineError::NoSuchDebt { .. } => {
                EngineErrorKind::NotFound
            }
            EngineError::InvalidSpec(_) | EngineError::NotForgivable { .. } => {
                EngineErrorKind::Invalid
            }
            EngineError::AlreadyExists { .. }
            | EngineError::IdTaken { .. }
            | EngineError::Held { .. }
            | EngineError::OwnerNotStarted { .. }
            | EngineError::OwesNothing { .. }
            | EngineError::Stopped { .. } => EngineErrorKind::Conflict,
            EngineError::StartFailed { error, .. } => error.kind.into(),
            EngineError::Exited { .. } => EngineErrorKind::Failed,
            EngineError::Owes { .. } | EngineError::Closing => EngineErrorKind::Retry,
            EngineError::Journal(JournalError::TooLarge { .. }) => EngineErrorKind::Invalid,
            EngineError::Journal(_) => EngineErrorKind::Environment,
        }
    }
}

impl EngineError {
    /// Whether a debt is behind it, which the ledger tells more of.
    pub fn names_debt(&self) -> bool {
        match self {
            EngineError::Held { debt, .. } => debt.is_some(),
            EngineError::StartFailed { afterwards, .. } => !afterwards.is_empty(),
            EngineError::Owes { .. } | EngineError::NotForgivable { .. } => true,
            _ => false,
        }
    }
}

impl From<ErrorKind> for EngineErrorKind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid => EngineErrorKind::Invalid,
            ErrorKind::Conflict => EngineErrorKind::Conflict,
            ErrorKind::Retry => EngineErrorKind::Retry,
            ErrorKind::Timeout => EngineErrorKind::Timeout,
            ErrorKind::Environment => EngineErrorKind::Environment,
            ErrorKind::Failed => EngineErrorKind::Failed,
        }
    }
}

/// By what somebody holds something, and what can be done about it.
struct Held<'a>(&'a Option<Box<Owed>>);

impl std::fmt::Display for Held<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => out.write_str(" (stop that pod, or choose another)"),
            Some(owed) => write!(
                out,
                ", which still owes the undo of {owed} (pay or forgive that debt, or choose another)"
            ),
        }
    }
}

/// Debts as they stand behind a first cause.
struct Afterwards<'a>(&'a [Owed]);

impl std::fmt::Display for Afterwards<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|owed| {
            write!(out, "; undoing {owed}")?;
            match owed.debt.attempts {
                1 => write!(out, " failed: {}", owed.debt.error),
                attempts => write!(out, " failed {attempts} times: {}", owed.debt.error),
            }
        })
    }
}
