//! Version 1 of what steps record: intents and outputs.

use podwalk_engine::record;

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
    CreateIntent = record::CreateIntent { spec: Shared<PodSpec>, sandbox_key: Option<String> }

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

}
