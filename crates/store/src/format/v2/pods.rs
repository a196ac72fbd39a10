//! Version 2 of snapshots and obituaries.

use podwalk_engine::pod;

use super::steps::PlannedAttachment;
use crate::format::v1::common::{Cause, Goal, PodId, Stamp};
use crate::format::v1::pods::{self as v1, AttachmentStatus, Debt, Exit, Slot};
use crate::format::v1::specs::PodSpec;
use crate::format::v1::steps::{NetnsIdentity, StartOutput};
use crate::format::v1::{Shared, frozen_struct};

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
}

impl From<v1::Obituary> for Obituary {
    fn from(earlier: v1::Obituary) -> Self {
        Self {
            pod: earlier.pod.into(),
        }
    }
}

impl From<v1::Pod> for Pod {
    fn from(earlier: v1::Pod) -> Self {
        Self {
            id: earlier.id,
            next_sequence: earlier.next_sequence,
            created: earlier.created,
            last: earlier.last,
            spec: earlier.spec,
            sandbox_key: earlier.sandbox_key,
            goal: earlier.goal,
            cause: earlier.cause,
            slots: earlier.slots,
            namespace: earlier.namespace,
            plan: earlier.plan.into_iter().map(Into::into).collect(),
            attachments: earlier.attachments,
            sandbox: earlier.sandbox,
            exited: earlier.exited,
            restarting: earlier.restarting,
            outlived: earlier.outlived,
            debts: earlier.debts,
            released: earlier.released,
        }
    }
}
