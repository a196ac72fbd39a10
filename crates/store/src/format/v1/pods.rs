//! Version 1 of `podwalk_engine::pod`: snapshots and obituaries.

use podwalk_engine::pod;
use serde::Deserialize;

use super::common::{Cause, Goal, PodId, Stamp, Step, StepError};
use super::specs::PodSpec;
use super::steps::{AttachmentResult, Intent, NetnsIdentity, PlannedAttachment, StartOutput};
use super::{Shared, frozen_enum, frozen_struct};

frozen_struct! {
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

// Replaced by version 2.

#[derive(Debug, Deserialize)]
pub(in crate::format) struct Obituary {
    pub(in crate::format) pod: Pod,
}

#[derive(Debug, Deserialize)]
pub(in crate::format) struct Pod {
    pub(in crate::format) id: PodId,
    pub(in crate::format) next_sequence: u64,
    pub(in crate::format) created: Stamp,
    pub(in crate::format) last: Stamp,
    pub(in crate::format) spec: Shared<PodSpec>,
    pub(in crate::format) sandbox_key: Option<String>,
    pub(in crate::format) goal: Goal,
    pub(in crate::format) cause: Cause,
    pub(in crate::format) slots: [Slot; 6],
    pub(in crate::format) namespace: Option<NetnsIdentity>,
    pub(in crate::format) plan: Vec<PlannedAttachment>,
    pub(in crate::format) attachments: Vec<AttachmentStatus>,
    pub(in crate::format) sandbox: Option<StartOutput>,
    pub(in crate::format) exited: Option<Exit>,
    pub(in crate::format) restarting: bool,
    pub(in crate::format) outlived: Option<Goal>,
    pub(in crate::format) debts: Vec<Debt>,
    pub(in crate::format) released: Option<Stamp>,
}
