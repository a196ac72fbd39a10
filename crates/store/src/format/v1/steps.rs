//! Version 1 of what steps record: intents and outputs.

use podwalk_engine::record;
use serde::Deserialize;

use super::common::BootId;
use super::specs::PodSpec;
use super::{Shared, frozen_enum, frozen_struct};

frozen_enum! {
    Intent = record::Intent {
        Create(intent: Box<CreateIntent>),
        MountNetns(intent: MountNetnsIntent),
        ReadyNetwork(intent: ReadyNetworkIntent),
        ConfigureCni(intent: ConfigureCniIntent),
        Start(intent: StartIntent),
        AttachLate(intent: AttachLateIntent),
    }

}

frozen_struct! {
    CreateIntent = record::CreateIntent { spec: Shared<PodSpec>, sandbox_key: Option<String> }

    CreateOutput = record::CreateOutput {}

    MountNetnsIntent = record::MountNetnsIntent { sandbox_key: String }

    MountNetnsOutput = record::MountNetnsOutput { namespace: NetnsIdentity }

    NetnsIdentity = record::NetnsIdentity { boot: BootId, device: u64, inode: u64, cookie: u64 }

    ReadyNetworkIntent = record::ReadyNetworkIntent {}

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

}

// Replaced by version 2.

#[derive(Debug, Deserialize)]
pub(in crate::format) enum Output {
    Create(CreateOutput),
    MountNetns(MountNetnsOutput),
    ReadyNetwork(ReadyNetworkOutput),
    ConfigureCni(ConfigureCniOutput),
    Start(StartOutput),
    AttachLate(AttachLateOutput),
}

#[derive(Debug, Deserialize)]
pub(in crate::format) struct ReadyNetworkOutput {
    pub(in crate::format) plan: Vec<PlannedAttachment>,
}

#[derive(Debug, Deserialize)]
pub(in crate::format) struct PlannedAttachment {
    pub(in crate::format) network: String,
    pub(in crate::format) interface: String,
    pub(in crate::format) conflist: Vec<u8>,
    pub(in crate::format) arguments: Vec<(String, String)>,
    pub(in crate::format) capability_arguments: String,
    pub(in crate::format) configuration_arguments: String,
}

#[derive(Debug, Deserialize)]
pub(in crate::format) struct AttachLateOutput {}
