//! What is proved: the parts that stand on the simulated machine.

use std::fmt;
use std::sync::Arc;

use podwalk_engine::decide::decide;
use podwalk_engine::engine::{Decide, Parts};

use crate::sim::{Mortal, Node, Thing};

type Build = Arc<dyn Fn(&Node, Parts) -> Parts + Send + Sync>;
type MakeJournal = Arc<dyn Fn() -> Arc<dyn Mortal> + Send + Sync>;

/// What is proved. By default the engine over the harness's own five rungs and
/// its own journal; an embedder puts parts of his own in their place.
#[derive(Clone)]
pub struct World {
    build: Build,
    journal: Option<MakeJournal>,
    decide: Decide,
    own: Vec<Thing>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            build: Arc::new(|_, parts| parts),
            journal: None,
            decide,
            own: Vec::new(),
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut world = out.debug_struct("World");
        world.field("own", &self.own).finish_non_exhaustive()
    }
}

impl World {
    /// The same with other parts: `build` is asked at each start of a daemon,
    /// with the machine and the parts as they are so far.
    #[must_use]
    pub fn with(self, build: impl Fn(&Node, Parts) -> Parts + Send + Sync + 'static) -> Self {
        let before = self.build.clone();
        Self {
            build: Arc::new(move |node, parts| build(node, before(node, parts))),
            ..self
        }
    }

    /// The same over a journal of the embedder's own, made anew for each
    /// machine. What it replays is compared with what it acknowledged.
    #[must_use]
    pub fn with_journal<J: Mortal>(self, make: impl Fn() -> J + Send + Sync + 'static) -> Self {
        Self {
            journal: Some(Arc::new(move || Arc::new(make()))),
            ..self
        }
    }

    /// The same, where a pod that has taken this thing's step must have it.
    #[must_use]
    pub fn expecting(mut self, thing: Thing) -> Self {
        self.own.push(thing);
        self
    }

    /// The same with another function that decides: an engine that is broken on
    /// purpose.
    #[doc(hidden)]
    #[must_use]
    pub fn deciding(self, decide: Decide) -> Self {
        Self { decide, ..self }
    }

    /// What an embedder's rungs leave of a pod that has taken their steps.
    pub fn own(&self) -> &[Thing] {
        &self.own
    }

    pub(crate) fn build(&self, node: &Node, parts: Parts) -> Parts {
        (self.build)(node, parts)
    }

    pub(crate) fn journal(&self) -> Option<Arc<dyn Mortal>> {
        self.journal.as_ref().map(|make| make())
    }

    pub(crate) fn decide(&self) -> Decide {
        self.decide
    }
}
