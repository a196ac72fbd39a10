//! Version 1 of `podwalk_engine::record::Record`.

use podwalk_engine::record;
use serde::Deserialize;

use super::common::{BootId, Cause, Goal, Step, StepError};
use super::frozen_enum;
use super::pods::Pod;
use super::steps::{Intent, Output};

frozen_enum! {
    Direction = record::Direction { Up, Down }

    Outcome = record::Outcome { NotDone, Unknown }

    Observation = record::Observation {
        Exited { code: Option<i32> },
        Restart,
        Rebooted { from: BootId, last_record_ns: u64, cni_may_be_back: bool },
        Outlived { goal: Goal },
        Forgiven { step: Step, attachment: Option<u32>, reason: String },
    }
}

// Replaced by version 2.

#[derive(Debug, Deserialize)]
pub(in crate::format) enum Record {
    Goal {
        goal: Goal,
        cause: Cause,
    },
    Intent(Intent),
    Done(Output),
    Failed {
        step: Step,
        direction: Direction,
        attachment: Option<u32>,
        outcome: Outcome,
        error: StepError,
    },
    Undone {
        step: Step,
        attachment: Option<u32>,
    },
    Observed(Observation),
    Snapshot(Box<Pod>),
}
