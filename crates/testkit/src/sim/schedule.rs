//! One run, written down: what clients ask for, what goes wrong, who dies when.

use podwalk_engine::id::PodId;
use podwalk_engine::spec::PodSpec;
use podwalk_engine::step::NetworkMode;

use crate::sim::node::{pod_id, pod_spec};
use crate::sim::{Crash, Fault, Setup};

/// One run, from a fresh machine to its end. The same schedule is always the
/// same run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The machine.
    pub setup: Setup,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Who asks for pods; each for one, by its name.
    pub clients: Vec<Client>,
    /// What is asked for besides, at given moments.
    pub requests: Vec<Request>,
    /// How the first lives end, one after the other. The last life does not.
    pub deaths: Vec<Death>,
    /// Clients go on in the next life, and repeat what was not answered;
    /// otherwise only the first life has clients.
    pub persistent: bool,
}

/// Somebody who wants one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Whose network the pod has.
    pub mode: Mode,
    /// What is asked for, each when the one before is answered.
    pub calls: Vec<Call>,
}

/// Whose network a pod has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Its own, configured by CNI.
    Cni,
    /// Its own, with nothing but `lo`.
    Alone,
    /// The host's.
    Host,
    /// That of the pod of the client with this index.
    GuestOf(usize),
}

/// One call about a client's pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// Start it, or join its start.
    Start,
    /// Stop it.
    Stop,
    /// Remove it.
    Remove,
    /// No call: its sandbox dies by itself, and the engine is told.
    Die,
    /// No call: ten minutes pass, and what was written to disk is there to stay.
    Pause,
    /// No call: the disk is full, and the journal refuses what comes next, three times.
    Fill,
}

/// A call at a given moment, whatever else is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// In which life, from zero.
    pub life: usize,
    /// At which point of it, from one.
    pub point: u64,
    /// About whose pod: an index of [`Schedule::clients`].
    pub client: usize,
    /// What.
    pub call: Call,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Death {
    /// At which point of it, from one.
    pub point: u64,
    /// How.
    pub crash: Crash,
}

impl Schedule {
    /// One client, who asks for these, and nothing that goes wrong.
    pub fn of(mode: Mode, calls: &[Call]) -> Self {
        Self {
            clients: vec![Client {
                mode,
                calls: calls.to_vec(),
            }],
            ..Self::default()
        }
    }

    /// Start, stop and remove.
    pub fn up_and_down() -> Self {
        Self::of(Mode::Cni, &[Call::Start, Call::Stop, Call::Remove])
    }

    /// The same, dying once more.
    #[must_use]
    pub fn dying(mut self, point: u64, crash: Crash) -> Self {
        self.deaths.push(Death { point, crash });
        self
    }

    /// The same with a call at a moment of the life that is the last so far.
    #[must_use]
    pub fn asking(mut self, point: u64, client: usize, call: Call) -> Self {
        self.requests.push(Request {
            life: self.deaths.len(),
            point,
            client,
            call,
        });
        self
    }
}

impl Client {
    /// The name of the pod of the client with this index.
    pub fn name(index: usize) -> String {
        format!("web{index}")
    }

    /// The id that this client offers with its `attempt`-th start.
    pub fn id(index: usize, attempt: u32) -> PodId {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        pod_id(index.saturating_mul(1000).saturating_add(attempt))
    }

    /// What it asks for; the owner is known by now, if the pod is a guest.
    pub(crate) fn spec(&self, index: usize, owner: Option<PodId>) -> PodSpec {
        let network = match self.mode {
            Mode::Cni => NetworkMode::Cni,
            Mode::Alone => NetworkMode::None,
            Mode::Host => NetworkMode::Host,
            Mode::GuestOf(_) => NetworkMode::Pod(owner.unwrap_or(pod_id(u32::MAX))),
        };
        PodSpec {
            network,
            ..pod_spec(&Self::name(index))
        }
    }
}
