//! Version 1 of `podwalk_engine::record`, and of what it is made of.

use podwalk_engine::{clock, error, id, record, step};

use super::pods::Pod;
use super::specs::PodSpec;
use super::{Frozen, frozen_enum, frozen_struct};

frozen_enum! {
    Record = record::Record {
        Goal { goal: Goal, cause: Cause },
        Intent(intent: Intent),
        Done(output: Output),
        Failed {
            step: Step,
            direction: Direction,
            attachment: Option<u32>,
            outcome: Outcome,
            error: StepError,
        },
        Undone { step: Step, attachment: Option<u32> },
        Observed(observation: Observation),
        Snapshot(pod: Box<Pod>),
    }

    Goal = record::Goal { Run, Stop, Remove }

    Cause = record::Cause {
        Request,
        StartFailed { step: Step, error: StepError },
        NotResumed,
        AttemptsExhausted { step: Step },
        Reboot,
    }

    Direction = record::Direction { Up, Down }

    Outcome = record::Outcome { NotDone, Unknown }

    Intent = record::Intent {
        Create(intent: Box<CreateIntent>),
        MountNetns(intent: MountNetnsIntent),
        ReadyNetwork(intent: ReadyNetworkIntent),
        ConfigureCni(intent: ConfigureCniIntent),
        Start(intent: StartIntent),
        AttachLate(intent: AttachLateIntent),
    }

    Output = record::Output {
        Create(output: CreateOutput),
        MountNetns(output: MountNetnsOutput),
        ReadyNetwork(output: ReadyNetworkOutput),
        ConfigureCni(output: ConfigureCniOutput),
        Start(output: StartOutput),
        AttachLate(output: AttachLateOutput),
    }

    Observation = record::Observation {
        Exited { code: Option<i32> },
        Restart,
        Rebooted { from: BootId, last_record_ns: u64, cni_may_be_back: bool },
        Outlived { goal: Goal },
        Forgiven { step: Step, attachment: Option<u32>, reason: String },
    }

    Step = step::Step { Create, MountNetns, ReadyNetwork, ConfigureCni, Start, AttachLate }

    ErrorKind = error::ErrorKind { Invalid, Conflict, Retry, Timeout, Environment, Failed }
}

frozen_struct! {
    CreateIntent = record::CreateIntent { spec: PodSpec, sandbox_key: Option<String> }

    CreateOutput = record::CreateOutput {}

    MountNetnsIntent = record::MountNetnsIntent { sandbox_key: String }

    MountNetnsOutput = record::MountNetnsOutput { namespace: NetnsIdentity }

    NetnsIdentity = record::NetnsIdentity { boot: BootId, device: u64, inode: u64, cookie: u64 }

    ReadyNetworkIntent = record::ReadyNetworkIntent {}

    ReadyNetworkOutput = record::ReadyNetworkOutput { plan: Vec<PlannedAttachment> }

    PlannedAttachment = record::PlannedAttachment {
        network: String,
        interface: String,
        conflist: Vec<u8>,
        arguments: Vec<(String, String)>,
        capability_arguments: String,
        configuration_arguments: String,
    }

    ConfigureCniIntent = record::ConfigureCniIntent {}

    ConfigureCniOutput = record::ConfigureCniOutput { results: Vec<AttachmentResult> }

    AttachmentResult = record::AttachmentResult {
        result: String,
        link_local: Option<(String, u8)>,
    }

    StartIntent = record::StartIntent {
        handler: String,
        consumes_network: bool,
        network: Option<StartNetwork>,
    }

    StartNetwork = record::StartNetwork { sandbox_key: String, namespace: NetnsIdentity }

    StartOutput = record::StartOutput { process: ProcessIdentity, shim_address: Option<String> }

    ProcessIdentity = record::ProcessIdentity { pid: u32, start_time: u64 }

    AttachLateIntent = record::AttachLateIntent {}

    AttachLateOutput = record::AttachLateOutput {}

    StepError = error::StepError { kind: ErrorKind, message: String, remedy: String }

    Stamp = clock::Stamp { boot: BootId, wall_ns: u64, boottime_ns: u64 }
}

/// Sixteen bytes, without a length.
macro_rules! frozen_ids {
    ($($name:ident;)*) => {$(
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        pub(in crate::format) struct $name([u8; 16]);

        impl Frozen for $name {
            type Live = id::$name;

            fn freeze(live: id::$name) -> Self {
                Self(live.0)
            }

            fn thaw(self) -> id::$name {
                id::$name(self.0)
            }
        }
    )*};
}

frozen_ids! {
    PodId;
    BootId;
}
