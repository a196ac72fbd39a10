//! Version 2 of `podwalk_engine::record::Record`.

use podwalk_engine::record;

use super::pods::Pod;
use super::steps::Output;
use crate::format::v1::common::{Cause, Goal, Step, StepError};
use crate::format::v1::frozen_enum;
use crate::format::v1::records::{self as v1, Direction, Observation, Outcome};
use crate::format::v1::steps::Intent;

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
}

impl From<v1::Record> for Record {
    fn from(earlier: v1::Record) -> Self {
        match earlier {
            v1::Record::Goal { goal, cause } => Self::Goal { goal, cause },
            v1::Record::Intent(intent) => Self::Intent(intent),
            v1::Record::Done(output) => Self::Done(output.into()),
            v1::Record::Failed {
                step,
                direction,
                attachment,
                outcome,
                error,
            } => Self::Failed {
                step,
                direction,
                attachment,
                outcome,
                error,
            },
            v1::Record::Undone { step, attachment } => Self::Undone { step, attachment },
            v1::Record::Observed(observation) => Self::Observed(observation),
            v1::Record::Snapshot(pod) => Self::Snapshot(Box::new((*pod).into())),
        }
    }
}
