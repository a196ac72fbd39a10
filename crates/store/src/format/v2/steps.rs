//! Version 2 of what steps record.

use podwalk_engine::record;

use crate::format::v1::steps::{
    self as v1, AttachmentResult, ConfigureCniOutput, CreateOutput, MountNetnsOutput, StartOutput,
};
use crate::format::v1::{frozen_enum, frozen_struct};

frozen_enum! {
    Output = record::Output {
        Create(output: CreateOutput),
        MountNetns(output: MountNetnsOutput),
        ReadyNetwork(output: ReadyNetworkOutput),
        ConfigureCni(output: ConfigureCniOutput),
        Start(output: StartOutput),
        AttachLate(output: AttachLateOutput),
    }
}

frozen_struct! {
    ReadyNetworkOutput = record::ReadyNetworkOutput { plan: Vec<PlannedAttachment> }

    PlannedAttachment = record::PlannedAttachment {
        network: String,
        interface: String,
        conflist: Vec<u8>,
        arguments: Vec<(String, String)>,
        capability_arguments: String,
        configuration_arguments: String,
        late: bool,
    }

    AttachLateOutput = record::AttachLateOutput { results: Vec<AttachmentResult> }
}

impl From<v1::Output> for Output {
    fn from(earlier: v1::Output) -> Self {
        match earlier {
            v1::Output::Create(output) => Self::Create(output),
            v1::Output::MountNetns(output) => Self::MountNetns(output),
            v1::Output::ReadyNetwork(output) => Self::ReadyNetwork(output.into()),
            v1::Output::ConfigureCni(output) => Self::ConfigureCni(output),
            v1::Output::Start(output) => Self::Start(output),
            v1::Output::AttachLate(output) => Self::AttachLate(output.into()),
        }
    }
}

impl From<v1::ReadyNetworkOutput> for ReadyNetworkOutput {
    fn from(earlier: v1::ReadyNetworkOutput) -> Self {
        let plan = earlier.plan.into_iter().map(Into::into).collect();
        Self { plan }
    }
}

/// Version 1 knew no late attachments: all were there before the sandbox.
impl From<v1::PlannedAttachment> for PlannedAttachment {
    fn from(earlier: v1::PlannedAttachment) -> Self {
        Self {
            network: earlier.network,
            interface: earlier.interface,
            conflist: earlier.conflist,
            arguments: earlier.arguments,
            capability_arguments: earlier.capability_arguments,
            configuration_arguments: earlier.configuration_arguments,
            late: false,
        }
    }
}

impl From<v1::AttachLateOutput> for AttachLateOutput {
    fn from(v1::AttachLateOutput {}: v1::AttachLateOutput) -> Self {
        Self {
            results: Vec::new(),
        }
    }
}
