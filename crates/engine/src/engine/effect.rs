//! Effects, each within its deadline, and how their ends are recorded.

use std::time::Duration;

use futures_util::future::{Either, select};

use crate::engine::Inner;
use crate::engine::gate::Pass;
use crate::engine::point;
use crate::engine::slot::Slot;
use crate::error::{ErrorKind, StepError};
use crate::pod::Pod;
use crate::ports::{Failure, Probe};
use crate::record::{
    AttachLateIntent, ConfigureCniIntent, CreateIntent, Direction, Goal, Intent, MountNetnsIntent,
    Outcome, Output, ReadyNetworkIntent, Record, StartIntent, StartNetwork,
};
use crate::step::{NetworkMode, Step};

/// How long a look may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);
/// How long killing what is left of an effect may take.
const QUIET_DEADLINE: Duration = Duration::from_secs(15);

impl Inner {
    /// Lets walks of an earlier life through a few at a time.
    pub(super) async fn pass(&self, slot: &Slot) -> Option<Pass> {
        match slot.is_inherited() {
            true => Some(self.gate.enter().await),
            false => None,
        }
    }

    /// What is about to be done: derived from the pod alone.
    pub(super) fn intent(&self, pod: &Pod, step: Step) -> Result<Intent, StepError> {
        Ok(match step {
            Step::Create => Intent::Create(Box::new(CreateIntent {
                spec: pod.spec.clone(),
                sandbox_key: pod.sandbox_key.clone(),
            })),
            Step::MountNetns => Intent::MountNetns(MountNetnsIntent {
                sandbox_key: pod.sandbox_key.clone().unwrap_or_default(),
            }),
            Step::ReadyNetwork => Intent::ReadyNetwork(ReadyNetworkIntent {}),
            Step::ConfigureCni => Intent::ConfigureCni(ConfigureCniIntent {}),
            Step::Start => Intent::Start(StartIntent {
                handler: self.rungs.of(Step::Start).handler(pod),
                consumes_network: self.rungs.of(Step::Start).consumes_network(pod),
                network: self.start_network(pod)?,
            }),
            Step::AttachLate => Intent::AttachLate(AttachLateIntent {}),
        })
    }

    /// The namespace that the sandbox is started in: its own, its owner's, or
    /// none for the host's.
    fn start_network(&self, pod: &Pod) -> Result<Option<StartNetwork>, StepError> {
        let of = |pod: &Pod| {
            let sandbox_key = pod.sandbox_key.clone()?;
            let namespace = pod.namespace?;
            Some(StartNetwork {
                sandbox_key,
                namespace,
            })
        };
        let network = match pod.spec.network {
            NetworkMode::Host => return Ok(None),
            NetworkMode::Cni | NetworkMode::None => of(pod),
            NetworkMode::Pod(owner) => self
                .slot(owner)
                .map(|slot| slot.pod())
                .filter(|owner| owner.is_ready())
                .and_then(|owner| of(&owner)),
        };
        match network {
            Some(network) => Ok(Some(network)),
            None => Err(StepError::new(
                ErrorKind::Conflict,
                format!(
                    "there is no namespace to start it in (mode {})",
                    pod.spec.network
                ),
            )
            .remedy("the owner of the network must be started, and stay so")),
        }
    }

    fn recorded_intent(&self, pod: &Pod, step: Step) -> Result<Intent, StepError> {
        match pod.slot(step).intent.clone() {
            Some(intent) => Ok(intent),
            None => self.intent(pod, step),
        }
    }

    pub(super) async fn quiet(&self, pod: &Pod, step: Step) -> Result<(), StepError> {
        point::reached("engine.quiet");
        let quiet = self.rungs.of(step).quiet(pod);
        match select(quiet, self.clock.sleep(QUIET_DEADLINE)).await {
            Either::Left((end, _)) => end,
            Either::Right(_) => Err(late("killing what is left of it", QUIET_DEADLINE)),
        }
    }

    pub(super) async fn probe(&self, pod: &Pod, step: Step) -> Probe<Output> {
        let Ok(intent) = self.recorded_intent(pod, step) else {
            return Probe::Unknown;
        };
        point::reached("engine.probe");
        let probe = self.rungs.of(step).probe(pod, &intent);
        match select(probe, self.clock.sleep(PROBE_DEADLINE)).await {
            Either::Left((found, _)) => found,
            Either::Right(_) => Probe::Unknown,
        }
    }

    /// Takes a step within its deadline. A start is cut short when somebody
    /// asks for the pod's end; every other effect is waited for (rule 12).
    pub(super) async fn apply(&self, slot: &Slot, step: Step) -> Result<Output, Failure> {
        let pod = slot.pod();
        let intent = self
            .recorded_intent(&pod, step)
            .map_err(Failure::not_done)?;
        let rung = self.rungs.of(step);
        point::reached("engine.apply");
        let deadline = rung.deadline(&pod);
        let effect = async {
            match select(rung.apply(&pod, &intent), self.clock.sleep(deadline)).await {
                Either::Left((end, _)) => end,
                Either::Right(_) => Err(Failure::unknown(late("it", deadline))),
            }
        };
        if step != Step::Start {
            return effect.await;
        }
        match select(Box::pin(effect), Box::pin(ask_for_end(slot))).await {
            Either::Left((end, _)) => end,
            Either::Right(_) => Err(Failure::unknown(StepError::new(
                ErrorKind::Conflict,
                "the pod was asked to end while its sandbox started",
            ))),
        }
    }

    pub(super) async fn undo(
        &self,
        pod: &Pod,
        step: Step,
        attachment: Option<u32>,
    ) -> Result<(), StepError> {
        let rung = self.rungs.of(step);
        let deadline = rung.undo_deadline(pod);
        point::reached("engine.undo");
        match select(rung.undo(pod, attachment), self.clock.sleep(deadline)).await {
            Either::Left((end, _)) => end,
            Either::Right(_) => Err(late("its undo", deadline)),
        }
    }

    pub(super) fn failed_step(step: Step, failure: Failure) -> Record {
        tracing::debug!(%step, error = %failure.error, "a step has failed");
        Record::Failed {
            step,
            direction: Direction::Up,
            attachment: failure.attachment,
            outcome: failure.outcome,
            error: failure.error,
        }
    }

    pub(super) fn ended_undo(
        step: Step,
        attachment: Option<u32>,
        end: Result<(), StepError>,
    ) -> Record {
        match end {
            Ok(()) => Record::Undone { step, attachment },
            Err(error) => Record::Failed {
                step,
                direction: Direction::Down,
                attachment,
                outcome: Outcome::Unknown,
                error,
            },
        }
    }
}

/// Ends when the pod's goal is no longer to run.
async fn ask_for_end(slot: &Slot) {
    while slot.pod().goal == Goal::Run {
        if slot.called().await.is_err() {
            // Another wait has taken this one's place: never end by mistake.
            std::future::pending::<()>().await;
        }
    }
}

fn late(what: &str, deadline: Duration) -> StepError {
    StepError::new(
        ErrorKind::Timeout,
        format!("{what} did not end within {} s", deadline.as_secs_f64()),
    )
}
