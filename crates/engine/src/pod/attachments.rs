//! What becomes of a pod's attachments: those of ConfigureCni, and the late ones.

use crate::clock::Stamp;
use crate::pod::{AttachmentStatus, Pod, Status};
use crate::record::AttachmentResult;
use crate::step::Step;

impl Pod {
    /// Nothing is known of a step's attachments.
    pub(super) fn begin_anew(&mut self, step: Step) {
        self.attachments
            .resize(self.plan.len(), AttachmentStatus::default());
        for status in self.attached_by(step) {
            *status = AttachmentStatus::default();
        }
    }

    fn attached_by(&mut self, step: Step) -> impl Iterator<Item = &mut AttachmentStatus> {
        let all = self.attachments.iter_mut().zip(&self.plan);
        all.filter(move |(_, planned)| planned.step() == step)
            .map(|(status, _)| status)
    }

    /// ADD has answered for all of a step's attachments.
    pub(super) fn attach(
        &mut self,
        step: Step,
        results: &[AttachmentResult],
    ) -> Result<(), &'static str> {
        let planned = self.plan.iter().filter(|planned| planned.step() == step);
        if results.len() != planned.count() {
            return Err("as many results as attachments");
        }
        for (status, result) in self.attached_by(step).zip(results) {
            status.result = Some(result.clone());
        }
        Ok(())
    }

    /// Whether DEL of that attachment is recorded.
    pub(super) fn is_released(&self, step: Step, attachment: Option<u32>) -> bool {
        let Some(index) = attachment.map(|index| index as usize) else {
            return false;
        };
        let of_step = |index: usize| {
            self.plan
                .get(index)
                .is_some_and(|planned| planned.step() == step)
        };
        let status = self.attachments.get(index).filter(|_| of_step(index));
        status.is_some_and(|status| status.released)
    }

    /// DEL of one attachment has succeeded.
    pub(super) fn release(&mut self, attachment: u32) {
        if let Some(status) = self.attachments.get_mut(attachment as usize) {
            status.released = true;
        }
    }

    /// A step's attachments are gone; those of the other one may be there.
    pub(super) fn detach(&mut self, step: Step) {
        let attaching = [Step::ConfigureCni, Step::AttachLate];
        match attaching
            .iter()
            .all(|step| self.status(*step) == Status::Never)
        {
            true => self.attachments.clear(),
            false => self.begin_anew(step),
        }
    }

    /// What a step has attached is on disk still, or may be there again.
    pub(super) fn bring_back(&mut self, step: Step, may_be_back: bool, stamp: Stamp) {
        let slot = &mut self.slots[step.rank()];
        let may_be_back = may_be_back && slot.climbs > 0;
        if slot.status == Status::Done || (may_be_back && slot.status == Status::Never) {
            slot.status = Status::Maybe;
            slot.since = Some(stamp);
        }
        if may_be_back {
            self.attachments
                .resize(self.plan.len(), AttachmentStatus::default());
            for attachment in self.attached_by(step) {
                attachment.released = false;
            }
        }
    }
}
