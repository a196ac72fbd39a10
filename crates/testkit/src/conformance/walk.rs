//! A pod on its way, without an engine: for the step that is to be tested.

use std::sync::Arc;

use podwalk_engine::clock::Stamp;
use podwalk_engine::id::{BootId, PodId};
use podwalk_engine::pod::{Pod, Status, fold};
use podwalk_engine::ports::{
    AttachLate, ConfigureCni, Create, MountNetns, ReadyNetwork, Rung, Start, StepType,
};
use podwalk_engine::record::{
    AttachLateIntent, Cause, ConfigureCniIntent, CreateIntent, Entry, Goal, Intent,
    MountNetnsIntent, ReadyNetworkIntent, Record, StartIntent, StartNetwork,
};
use podwalk_engine::spec::PodSpec;
use podwalk_engine::step::Step;

use super::{Broken, Rule};

/// A step whose intent follows from the pod, as the engine makes it.
pub trait Intended: StepType {
    /// What is recorded before the step is taken.
    fn intent_of(rung: &dyn Rung<Step = Self>, pod: &Pod) -> Self::Intent;
}

/// A pod that climbs step by step, each recorded as the engine would.
///
/// It is the fold of its records, so that a rung is given what it would be given
/// by the engine.
#[derive(Debug, Clone)]
pub struct Walk {
    pod: Pod,
}

impl Walk {
    /// A pod that was asked for. Its namespace file, in modes that have one, is
    /// in `netns_dir` and named after it.
    ///
    /// # Errors
    /// [`Rule::CaseProves`] when these records make no pod.
    pub fn new(id: PodId, spec: PodSpec, netns_dir: &str) -> Result<Self, Broken> {
        let own = spec.network.has_own_namespace();
        let sandbox_key = own.then(|| format!("{netns_dir}/{id}"));
        let intent = CreateIntent {
            spec: Arc::new(spec),
            sandbox_key,
        };
        let records = [
            Record::Goal {
                goal: Goal::Run,
                cause: Cause::Request,
            },
            Record::Intent(Intent::Create(Box::new(intent))),
        ];
        let entries: Vec<Entry> = (0..)
            .zip(records)
            .map(|(sequence, record)| entry(id, sequence, record))
            .collect();
        match fold(&entries) {
            Ok(pod) => Ok(Self { pod }),
            Err(error) => Err(unfit(&error)),
        }
    }

    /// A pod that has come so far by other means.
    pub fn at(pod: Pod) -> Self {
        Self { pod }
    }

    /// The pod so far.
    pub fn pod(&self) -> Pod {
        self.pod.clone()
    }

    /// Takes one step with its rung.
    ///
    /// # Errors
    /// [`Rule::ApplyWorks`] when it does not succeed, [`Rule::CaseProves`] when
    /// it is not this pod's next one.
    pub async fn climb<S: Intended>(
        &mut self,
        rung: &dyn Rung<Step = S>,
    ) -> Result<S::Output, Broken> {
        let intent = S::intent_of(rung, &self.pod);
        self.record(Record::Intent(intent.clone().into()))?;
        let applied = rung.apply(&self.pod, &intent).await;
        let output = applied.map_err(|failure| {
            Broken::new(
                Rule::ApplyWorks,
                format!("{}, on the way up", S::STEP),
                failure.error.to_string(),
            )
        })?;
        self.record(Record::Done(output.clone().into()))?;
        Ok(output)
    }

    /// Takes down one step, as the engine would: quieted, attachment by
    /// attachment, then as a whole.
    ///
    /// # Errors
    /// [`Rule::QuietWorks`] or [`Rule::UndoWorks`].
    pub async fn descend<S: StepType>(&mut self, rung: &dyn Rung<Step = S>) -> Result<(), Broken> {
        self.pod = descend(rung, &self.pod, "on the way down").await?;
        Ok(())
    }

    /// Takes in any other record.
    ///
    /// # Errors
    /// [`Rule::CaseProves`] when it cannot follow.
    pub fn record(&mut self, record: Record) -> Result<(), Broken> {
        append(&mut self.pod, record)
    }
}

/// Quiets and undoes a step; answers the pod after it.
pub(super) async fn descend<S: StepType>(
    rung: &dyn Rung<Step = S>,
    pod: &Pod,
    state: &str,
) -> Result<Pod, Broken> {
    let mut pod = pod.clone();
    let quieted = rung.quiet(&pod).await;
    quieted.map_err(|error| Broken::new(Rule::QuietWorks, state, error.to_string()))?;
    let attachments = pod.unreleased(S::STEP).into_iter().map(Some);
    for attachment in attachments.chain([None]) {
        let undone = rung.undo(&pod, attachment).await;
        undone.map_err(|error| Broken::new(Rule::UndoWorks, state, error.to_string()))?;
        let step = S::STEP;
        append(&mut pod, Record::Undone { step, attachment })?;
    }
    Ok(pod)
}

pub(super) fn append(pod: &mut Pod, record: Record) -> Result<(), Broken> {
    let entry = entry(pod.id, pod.next_sequence, record);
    pod.apply(&entry).map_err(|error| unfit(&error))
}

fn unfit(error: &dyn std::error::Error) -> Broken {
    Broken::new(
        Rule::CaseProves,
        "the walk's own records",
        error.to_string(),
    )
}

/// An entry; time goes on with each.
pub(super) fn entry(pod: PodId, sequence: u64, record: Record) -> Entry {
    let passed = sequence.saturating_mul(1_000_000);
    Entry {
        pod,
        sequence,
        stamp: Stamp {
            boot: BootId([0xc0; 16]),
            wall_ns: 1_700_000_000_000_000_000 + passed,
            boottime_ns: 1_000_000_000 + passed,
        },
        record,
    }
}

impl Intended for Create {
    fn intent_of(_: &dyn Rung<Step = Self>, pod: &Pod) -> CreateIntent {
        CreateIntent {
            spec: pod.spec.clone(),
            sandbox_key: pod.sandbox_key.clone(),
        }
    }
}

impl Intended for MountNetns {
    fn intent_of(_: &dyn Rung<Step = Self>, pod: &Pod) -> MountNetnsIntent {
        MountNetnsIntent {
            sandbox_key: pod.sandbox_key.clone().unwrap_or_default(),
        }
    }
}

impl Intended for ReadyNetwork {
    fn intent_of(_: &dyn Rung<Step = Self>, _: &Pod) -> ReadyNetworkIntent {
        ReadyNetworkIntent {}
    }
}

impl Intended for ConfigureCni {
    fn intent_of(_: &dyn Rung<Step = Self>, _: &Pod) -> ConfigureCniIntent {
        ConfigureCniIntent {}
    }
}

impl Intended for Start {
    /// In the pod's own namespace, or the host's; an owner's is for
    /// [`Case::with_intent`](super::Case::with_intent).
    fn intent_of(rung: &dyn Rung<Step = Self>, pod: &Pod) -> StartIntent {
        let own = pod.sandbox_key.clone().zip(pod.namespace);
        StartIntent {
            handler: rung.handler(pod),
            consumes_network: rung.consumes_network(pod),
            network: own.map(|(sandbox_key, namespace)| StartNetwork {
                sandbox_key,
                namespace,
            }),
        }
    }
}

impl Intended for AttachLate {
    fn intent_of(_: &dyn Rung<Step = Self>, _: &Pod) -> AttachLateIntent {
        AttachLateIntent {}
    }
}

/// Whether every step below this one is done.
pub(super) fn stands_below(pod: &Pod, step: Step) -> bool {
    let ladder = pod.ladder().iter();
    let mut below = ladder.take_while(|other| **other < step);
    below.all(|other| pod.status(*other) == Status::Done)
}
