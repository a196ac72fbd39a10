//! What the engine relies on in parts of an embedder's own, as tests.
//!
//! The engine undoes what it cannot know and repeats what it cannot see. That
//! is right only over rungs and a journal that keep their sides of the bargain,
//! which no type can say: an undo that succeeds where nothing is, a look that
//! leaves no trace, a batch that is whole or not there. Here each such promise
//! is a rule, and a part that breaks one is told which, where, and what
//! differs.
//!
//! 1. **A rung.** Climb to its step with a [`Walk`], tell how the world around
//!    it is looked at ([`Case::new`]), and let [`rung`](fn@rung) drive it: over
//!    nothing, over the whole effect, over what an interruption leaves, over
//!    parts of the effect that the embedder makes.
//! 2. **A journal.** Any bytes are a [`script`] of appends, compactions,
//!    burials and ends of the process; [`journal`](fn@journal) plays one
//!    against a model in memory. A generator of random bytes drives it, and
//!    shrinks what it finds.
//!
//! Both are futures, for whatever executor the part needs, and answer a
//! [`Broken`].
//!
//! ```
//! use podwalk_engine::ports::Create;
//! use podwalk_testkit::conformance::{self, Case, Walk};
//! use podwalk_testkit::sim::{Node, Setup, pod_id, pod_spec};
//!
//! # futures_executor::block_on(async {
//! let node = Node::new(Setup::default());
//! let rungs = node.ground().rungs();
//! let walk = Walk::new(pod_id(1), pod_spec("web"), "/run/netns")?;
//! let things = || node.host.things().iter().map(|thing| format!("{thing:?}")).collect();
//! let case = Case::<Create>::new(&*rungs.create, walk.pod(), things);
//! let report = conformance::rung(&case).await?;
//! assert!(report.undos > 4);
//! # Ok::<(), conformance::Broken>(())
//! # }).unwrap();
//! ```

use std::fmt;

mod journal;
mod model;
mod rung;
mod script;
mod walk;

pub use journal::{Opening, journal};
pub use rung::{Case, Report, rung};
pub use script::{Act, script};
pub use walk::{Intended, Walk};

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub rule: Rule,
    /// Of what, and when.
    pub state: String,
    /// What differs from what was promised.
    pub detail: String,
}

impl Broken {
    pub(crate) fn new(rule: Rule, state: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            rule,
            state: state.into(),
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({}): {}", self.rule, self.state, self.detail)
    }
}

impl std::error::Error for Broken {}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What is promised to the engine.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Rule] = &[$(Rule::$name),*];
        }

        impl fmt::Display for Rule {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(match self {
                    $(Rule::$name => $text,)*
                })
            }
        }
    };
}

rules! {
    /// The case itself proves nothing: its walk is not below the step, or what
    /// it looks at does not show what the rung does.
    CaseProves = "the case must be able to show something";
    /// An effect and its undo have time: with none, every outcome is unknown.
    HasTime = "the deadlines of a step are not zero";
    /// A look never touches. It is repeated at will, also over what is in use.
    LookTouchesNothing = "a look touches nothing";
    /// A look at nothing does not find something.
    NothingIsAbsent = "where nothing is, nothing is found";
    /// A look at the whole effect finds it as its answer told, or cannot tell;
    /// it may call it absent only where taking the step again changes nothing.
    WholeIsComplete = "what is wholly there is found as it was answered";
    /// A look at a part does not find the whole. It may call it absent only
    /// where taking the step over it makes the whole.
    PartIsNotWhole = "what is partly there is not found whole";
    /// Taking the step succeeds: from nothing, again after an undo, and over
    /// whatever a look has called absent.
    ApplyWorks = "the step can be taken";
    /// Quieting succeeds, also where nothing runs.
    QuietWorks = "what runs can be quieted";
    /// What was quieted has ended: nothing changes any more.
    QuietEndsAll = "what was quieted goes on no more";
    /// Undoing nothing succeeds, and leaves the world alone.
    UndoOfNothing = "an undo of nothing succeeds and changes nothing";
    /// Undoing succeeds.
    UndoWorks = "the step can be undone";
    /// An undo leaves nothing, whether the answer was recorded or lost, and
    /// however far the effect had come.
    UndoLeavesNothing = "an undo leaves the world as it was before";
    /// A second undo is as good as one.
    UndoTwice = "a second undo succeeds and changes nothing";
    /// A journal takes what it is given while there is space.
    Takes = "the journal takes what it is given";
    /// What was acknowledged is read, in its order, and nothing else.
    Reads = "a pod's records are those that were appended, in order";
    /// A replay holds every pod and every obituary.
    Replays = "a replay is what was written, pod by pod";
    /// A batch is there as a whole, or not at all.
    Atomic = "a batch is whole or not there";
    /// What was acknowledged survives what it was to survive, and what survives
    /// is a beginning of what was written.
    Survives = "what was acknowledged survives, and nothing survives out of order";
    /// A snapshot stands for all that was before it.
    Compacts = "a snapshot takes the place of all before it, and folds to the same pod";
    /// A pod that is buried is gone but for its obituary.
    Buries = "a buried pod has an obituary and no records";
    /// Epochs only grow: an event's cursor is never given out twice.
    EpochGrows = "the epoch grows with every opening";
}
