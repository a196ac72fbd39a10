//! ConfigureCni and AttachLate: the same effects, of different attachments.

use std::time::Duration;

use podwalk_engine::error::StepError;
use podwalk_engine::pod::Pod;
use podwalk_engine::ports::{AttachLate, BoxFuture, ConfigureCni, Failure, Probe, Rung, StepType};
use podwalk_engine::record::{
    AttachLateIntent, AttachLateOutput, AttachmentResult, ConfigureCniIntent, ConfigureCniOutput,
};
use podwalk_engine::step::Step;

use super::{DEADLINE, Ground, Part, SimRung, applied, common, undone};
use crate::sim::{Change, Site, Thing};

/// What CNI does on the host, attachment by attachment.
impl Ground {
    /// ADD for every attachment that is this step's.
    async fn attach(&self, pod: &Pod, step: Step) -> Result<Vec<AttachmentResult>, Failure> {
        let mut results = Vec::new();
        let planned = (0..).zip(&pod.plan);
        for (attachment, planned) in planned.filter(|(_, planned)| planned.step() == step) {
            let changes = [
                Change::Make(Thing::Address(attachment)),
                Change::Make(Thing::Interface(attachment)),
            ];
            let part = Part {
                step,
                attachment: Some(attachment),
                changes: &changes,
            };
            let nonsense = applied(self.run(Site::Apply, pod, part).await)
                .map_err(|failure| failure.of_attachment(attachment))?;
            if !nonsense {
                results.push(AttachmentResult {
                    result: format!("{{\"interfaces\":[\"{}\"]}}", planned.interface),
                    link_local: None,
                });
            }
        }
        Ok(results)
    }

    /// DEL of one attachment; what is left of the step, if none is named.
    async fn detach(
        &self,
        pod: &Pod,
        step: Step,
        attachment: Option<u32>,
    ) -> Result<(), StepError> {
        let Some(number) = attachment else {
            return self.undo(pod, step, &[]).await;
        };
        let changes = [
            Change::Take(Thing::Interface(number)),
            Change::Take(Thing::Address(number)),
        ];
        let part = Part {
            step,
            attachment,
            changes: &changes,
        };
        undone(self.run(Site::Undo, pod, part).await)
    }
}

impl Rung for SimRung<ConfigureCni> {
    type Step = ConfigureCni;
    common!();

    fn probe<'a>(
        &'a self,
        pod: &'a Pod,
        _: &'a ConfigureCniIntent,
    ) -> BoxFuture<'a, Probe<ConfigureCniOutput>> {
        // What plugins have done can only be told where there are none.
        Box::pin(
            self.ground
                .probe(pod, Step::ConfigureCni, move || match pod.plan.is_empty() {
                    true => Probe::Complete(ConfigureCniOutput::default()),
                    false => Probe::Unknown,
                }),
        )
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        _: &'a ConfigureCniIntent,
    ) -> BoxFuture<'a, Result<ConfigureCniOutput, Failure>> {
        Box::pin(async move {
            if pod.plan.is_empty() {
                self.ground.apply(pod, Step::ConfigureCni, &[]).await?;
            }
            let results = self.ground.attach(pod, Step::ConfigureCni).await?;
            Ok(ConfigureCniOutput { results })
        })
    }

    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(self.ground.detach(pod, Step::ConfigureCni, attachment))
    }
}

impl Rung for SimRung<AttachLate> {
    type Step = AttachLate;
    common!();

    fn probe<'a>(
        &'a self,
        pod: &'a Pod,
        _: &'a AttachLateIntent,
    ) -> BoxFuture<'a, Probe<AttachLateOutput>> {
        Box::pin(self.ground.probe(pod, Step::AttachLate, || Probe::Unknown))
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        _: &'a AttachLateIntent,
    ) -> BoxFuture<'a, Result<AttachLateOutput, Failure>> {
        Box::pin(async move {
            let results = self.ground.attach(pod, Step::AttachLate).await?;
            Ok(AttachLateOutput { results })
        })
    }

    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(self.ground.detach(pod, Step::AttachLate, attachment))
    }
}
