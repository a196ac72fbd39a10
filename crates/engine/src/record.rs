//! What the journal holds.
//!
//! These are the live types. Their bytes on disk are frozen by the store,
//! version by version; nothing here promises a layout.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Stamp;
use crate::error::StepError;
use crate::id::{BootId, PodId};
use crate::pod::Pod;
use crate::spec::PodSpec;
use crate::step::Step;

/// One record in its envelope: whose, which in the pod's own count, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The pod.
    pub pod: PodId,
    /// The record's number within the pod, from zero, without gaps.
    pub sequence: u64,
    /// When it was made.
    pub stamp: Stamp,
    /// What it says.
    pub record: Record,
}

/// One fact about one pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Somebody wants the pod to be so.
    Goal {
        /// What is wanted.
        goal: Goal,
        /// Why.
        cause: Cause,
    },
    /// A step is about to be taken.
    Intent(Intent),
    /// A step was taken.
    Done(Output),
    /// A step, or its undo, did not end well.
    Failed {
        /// The step.
        step: Step,
        /// Going up, or undoing.
        direction: Direction,
        /// Which attachment it was about, where it was about one.
        attachment: Option<u32>,
        /// What is known of the effect.
        outcome: Outcome,
        /// What happened.
        error: StepError,
    },
    /// A step's effect, or one attachment's, is gone.
    Undone {
        /// The step.
        step: Step,
        /// The attachment; none when the whole step is undone.
        attachment: Option<u32>,
    },
    /// A fact that nobody asked for.
    Observed(Observation),
    /// Everything before this record, folded.
    Snapshot(Box<Pod>),
}

/// What is wanted of a pod. Goals only go up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Goal {
    /// It shall run.
    Run,
    /// It shall be stopped and remembered.
    Stop,
    /// It shall be gone.
    Remove,
}

/// Why a goal was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A client asked.
    Request,
    /// The start failed at this step.
    StartFailed {
        /// Where.
        step: Step,
        /// Why.
        error: StepError,
    },
    /// The start was interrupted by a crash, and is not to be resumed.
    NotResumed,
    /// It was interrupted and resumed as often as the configuration allows.
    AttemptsExhausted {
        /// The step that never came to an end.
        step: Step,
    },
    /// The machine was booted anew.
    Reboot,
}

/// Up, or undoing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Taking the step.
    Up,
    /// Undoing it.
    Down,
}

/// What is known of an effect that did not report success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The effect said that it failed. What it left behind is not known.
    NotDone,
    /// Nobody knows: a deadline, a crash, a lost connection.
    Unknown,
}

/// What a step is about to do: enough to find and undo it without its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// See [`CreateIntent`].
    Create(Box<CreateIntent>),
    /// See [`MountNetnsIntent`].
    MountNetns(MountNetnsIntent),
    /// See [`ReadyNetworkIntent`].
    ReadyNetwork(ReadyNetworkIntent),
    /// See [`ConfigureCniIntent`].
    ConfigureCni(ConfigureCniIntent),
    /// See [`StartIntent`].
    Start(StartIntent),
    /// See [`AttachLateIntent`].
    AttachLate(AttachLateIntent),
}

/// What a step has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// See [`CreateOutput`].
    Create(CreateOutput),
    /// See [`MountNetnsOutput`].
    MountNetns(MountNetnsOutput),
    /// See [`ReadyNetworkOutput`].
    ReadyNetwork(ReadyNetworkOutput),
    /// See [`ConfigureCniOutput`].
    ConfigureCni(ConfigureCniOutput),
    /// See [`StartOutput`].
    Start(StartOutput),
    /// See [`AttachLateOutput`].
    AttachLate(AttachLateOutput),
}

/// The pod's spec, and the names derived from its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateIntent {
    /// What was asked for.
    pub spec: Arc<PodSpec>,
    /// The path of the namespace file, in modes that have one.
    pub sandbox_key: Option<String>,
}

/// Nothing but the fact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateOutput {}

/// Where the namespace is to be pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountNetnsIntent {
    /// The namespace file.
    pub sandbox_key: String,
}

/// Which namespace is pinned now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountNetnsOutput {
    /// Its identity.
    pub namespace: NetnsIdentity,
}

/// A network namespace: inode numbers are reused within a few creations, so
/// that only all four together name one (design, section 3, rule 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NetnsIdentity {
    /// The boot it lives in.
    pub boot: BootId,
    /// The device number of nsfs.
    pub device: u64,
    /// Its inode number there.
    pub inode: u64,
    /// `SO_NETNS_COOKIE` of a socket made in it.
    pub cookie: u64,
}

/// Nothing but the fact: the sysctls are in the spec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyNetworkIntent {}

/// The network plan, pinned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyNetworkOutput {
    /// The pod's attachments: the default network's is first, those that are
    /// attached late are last.
    pub plan: Vec<PlannedAttachment>,
}

/// All that ADD, CHECK and DEL of one attachment need, pinned before ADD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedAttachment {
    /// The network's name.
    pub network: String,
    /// The interface's name in the namespace (`CNI_IFNAME`).
    pub interface: String,
    /// The conflist, byte for byte as every operation is to use it.
    #[serde(with = "readable")]
    pub conflist: Vec<u8>,
    /// `CNI_ARGS`, in order.
    pub arguments: Vec<(String, String)>,
    /// Capability arguments: one JSON object.
    pub capability_arguments: String,
    /// What goes to the plugins as `args.cni`: one JSON object.
    pub configuration_arguments: String,
    /// It is attached when the sandbox runs, by AttachLate; otherwise before,
    /// by ConfigureCni.
    pub late: bool,
}

impl PlannedAttachment {
    /// The step that attaches it.
    pub fn step(&self) -> Step {
        match self.late {
            true => Step::AttachLate,
            false => Step::ConfigureCni,
        }
    }
}

/// Nothing but the fact: the plan is pinned already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigureCniIntent {}

/// What the attachments that are not late answered, in the plan's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigureCniOutput {
    /// One per attachment.
    pub results: Vec<AttachmentResult>,
}

/// What one ADD answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentResult {
    /// The final CNI result: JSON.
    pub result: String,
    /// The interface's `fe80::` address with its prefix length, if it has one.
    pub link_local: Option<(String, u8)>,
}

/// How the sandbox is to be started, and in whose network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartIntent {
    /// The runtime handler.
    pub handler: String,
    /// Whether that handler takes the network away from the namespace, so
    /// that a second start needs a fresh one.
    pub consumes_network: bool,
    /// The namespace that is named to the runtime; none for the host's.
    pub network: Option<StartNetwork>,
}

/// A namespace as it is named to a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartNetwork {
    /// The namespace file: the pod's own, or its owner's.
    pub sandbox_key: String,
    /// What must be found there.
    pub namespace: NetnsIdentity,
}

/// The running sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartOutput {
    /// Its process.
    pub process: ProcessIdentity,
    /// The shim's address, for handlers that have one.
    pub shim_address: Option<String>,
}

/// A process: its pid is reused, its start time tells it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The pid in the daemon's pid namespace.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`, in clock ticks since boot.
    pub start_time: u64,
}

/// Nothing but the fact: the plan is pinned already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachLateIntent {}

/// What the late attachments answered, in the plan's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachLateOutput {
    /// One per attachment that is late.
    pub results: Vec<AttachmentResult>,
}

/// A fact that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Observation {
    /// The sandbox's process is gone.
    Exited {
        /// Its exit code (128 + signal), where the kernel gave it.
        code: Option<i32>,
    },
    /// The walk goes down to Created and climbs again: from here on no Done
    /// above Created is trusted upward (design, section 3, rule 8).
    Restart,
    /// The machine was booted anew: what lived until reboot is gone.
    Rebooted {
        /// The boot before.
        from: BootId,
        /// Boot-time clock of that boot's last known record, nanoseconds.
        last_record_ns: u64,
        /// A DEL was recorded so shortly before its end that what it removed
        /// from disk may be back: it is owed again (rule 6).
        cni_may_be_back: bool,
    },
    /// Stop or Remove were answered with success although something is owed.
    Outlived {
        /// Which of the two.
        goal: Goal,
    },
    /// An operator wrote a debt off.
    Forgiven {
        /// The step that owed.
        step: Step,
        /// The attachment, if the debt was one's.
        attachment: Option<u32>,
        /// The operator's words.
        reason: String,
    },
}

impl Intent {
    /// Whose intent this is.
    pub fn step(&self) -> Step {
        match self {
            Intent::Create(_) => Step::Create,
            Intent::MountNetns(_) => Step::MountNetns,
            Intent::ReadyNetwork(_) => Step::ReadyNetwork,
            Intent::ConfigureCni(_) => Step::ConfigureCni,
            Intent::Start(_) => Step::Start,
            Intent::AttachLate(_) => Step::AttachLate,
        }
    }
}

impl Output {
    /// Whose output this is.
    pub fn step(&self) -> Step {
        match self {
            Output::Create(_) => Step::Create,
            Output::MountNetns(_) => Step::MountNetns,
            Output::ReadyNetwork(_) => Step::ReadyNetwork,
            Output::ConfigureCni(_) => Step::ConfigureCni,
            Output::Start(_) => Step::Start,
            Output::AttachLate(_) => Step::AttachLate,
        }
    }
}

/// Bytes that are text to people: text in formats for them, bytes in others.
mod readable {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        match to.is_human_readable() {
            true => String::from_utf8_lossy(bytes).serialize(to),
            false => bytes.serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        match from.is_human_readable() {
            true => String::deserialize(from).map(String::into_bytes),
            false => Vec::deserialize(from),
        }
    }
}
