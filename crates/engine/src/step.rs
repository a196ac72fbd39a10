//! The line a pod walks: steps, the states they lead to, and who walks which.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::PodId;

/// A step of the walk; its undo is the same step taken down.
///
/// The order of the variants is the order of the walk and part of the journal's
/// format: new ones are added at the end of the format, never between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Step {
    /// Reserve id and name, make the namespace's placeholder file.
    Create,
    /// Make a network namespace and pin it on the file.
    MountNetns,
    /// Bring `lo` up, set sysctls, resolve the network plan.
    ReadyNetwork,
    /// CNI ADD for every attachment that is not late.
    ConfigureCni,
    /// Start the sandbox in the namespace.
    Start,
    /// CNI ADD for every attachment that wants a sandbox that runs. Only pods
    /// whose network plan has such walk it.
    AttachLate,
}

/// What is true of a pod once the step of the same rank is recorded as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Spec validated, id and name reserved.
    Created,
    /// A namespace is pinned on the file, exactly once.
    NetnsMounted,
    /// `lo` is up, sysctls are set, the network plan is pinned.
    NetworkReady,
    /// Every attachment's ADD has succeeded, but for the late ones.
    CniConfigured,
    /// The sandbox runs, and its late networks are attached.
    Started,
}

/// How long the effect of a step lives, if nobody undoes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lifetime {
    /// It dies with the kernel: a mount, an interface, a process.
    UntilReboot,
    /// It survives power loss: an address on disk, a lease elsewhere.
    OnDisk,
}

/// Whose network a pod has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NetworkMode {
    /// A namespace of its own, configured by CNI.
    #[default]
    Cni,
    /// A namespace of its own with nothing but `lo`.
    None,
    /// The host's.
    Host,
    /// Another pod's.
    Pod(PodId),
}

impl Step {
    /// Every step, in the order of the walk.
    pub const ALL: [Step; 6] = [
        Step::Create,
        Step::MountNetns,
        Step::ReadyNetwork,
        Step::ConfigureCni,
        Step::Start,
        Step::AttachLate,
    ];

    /// The rank in the walk, from zero.
    pub fn rank(self) -> usize {
        self as usize
    }

    /// How long its effect lives.
    pub fn lifetime(self) -> Lifetime {
        match self {
            Step::ConfigureCni | Step::AttachLate => Lifetime::OnDisk,
            _ => Lifetime::UntilReboot,
        }
    }

    /// The state that it leads to. Of a pod that has late attachments Start
    /// leads only half of the way: see [`Pod::state`](crate::pod::Pod::state).
    pub fn state(self) -> State {
        match self {
            Step::Create => State::Created,
            Step::MountNetns => State::NetnsMounted,
            Step::ReadyNetwork => State::NetworkReady,
            Step::ConfigureCni => State::CniConfigured,
            Step::Start | Step::AttachLate => State::Started,
        }
    }

    /// Whether its debts may be outlived or forgiven: the network's may, a
    /// sandbox process that may be alive never (design, section 3, rule 7).
    pub fn is_network(self) -> bool {
        self != Step::Start
    }
}

impl NetworkMode {
    /// The steps that a pod of this mode walks, if it has no late attachment:
    /// [`Pod::ladder`](crate::pod::Pod::ladder) knows.
    pub fn ladder(&self) -> &'static [Step] {
        match self {
            NetworkMode::Cni | NetworkMode::None => &[
                Step::Create,
                Step::MountNetns,
                Step::ReadyNetwork,
                Step::ConfigureCni,
                Step::Start,
            ],
            NetworkMode::Host | NetworkMode::Pod(_) => &[Step::Create, Step::Start],
        }
    }

    /// Whether the pod has a namespace, and so a sandbox key, of its own.
    pub fn has_own_namespace(&self) -> bool {
        matches!(self, NetworkMode::Cni | NetworkMode::None)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, out)
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, out)
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkMode::Cni => out.write_str("cni"),
            NetworkMode::None => out.write_str("none"),
            NetworkMode::Host => out.write_str("host"),
            NetworkMode::Pod(owner) => write!(out, "pod:{owner}"),
        }
    }
}
