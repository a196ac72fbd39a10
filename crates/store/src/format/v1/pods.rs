//! Version 1 of `podwalk_engine::pod`: snapshots and obituaries.

use podwalk_engine::pod;

use super::common::{Cause, Goal, PodId, Stamp, Step, StepError};
use super::specs::PodSpec;
use super::steps::{AttachmentResult, Intent, NetnsIdentity, PlannedAttachment, StartOutput};
use super::{Shared, frozen_enum, frozen_struct};

frozen_struct! {
    Obituary = pod::Obituary { pod: Pod }

    Pod = pod::Pod {
        id: PodId,
        next_sequence: u64,
        created: Stamp,
        last: Stamp,
        spec: Shared<PodSpec>,
        sandbox_key: Option<String>,
        goal: Goal,
        cause: Cause,
        slots: [Slot; 6],
        namespace: Option<NetnsIdentity>,
        plan: Vec<PlannedAttachment>,
        attachments: Vec<AttachmentStatus>,
        sandbox: Option<StartOutput>,
        exited: Option<Exit>,
        restarting: bool,
        outlived: Option<Goal>,
        debts: Vec<Debt>,
        released: Option<Stamp>,
    }

    Slot = pod::Slot {
        status: Status,
        since: Option<Stamp>,
        took_ns: Option<u64>,
        climbs: u32,
        intent: Option<Intent>,
        failure: Option<StepError>,
    }

    AttachmentStatus = pod::AttachmentStatus {
        result: Option<AttachmentResult>,
        released: bool,
    }

    Exit = pod::Exit { noticed: Stamp, code: Option<i32> }

    Debt = pod::Debt {
        step: Step,
        attachment: Option<u32>,
        attempts: u32,
        first: Stamp,
        last: Stamp,
        error: StepError,
    }
}

frozen_enum! {
    Status = pod::Status { Never, Maybe, Done }
}
