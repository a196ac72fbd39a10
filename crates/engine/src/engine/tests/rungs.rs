//! What the loop hears of a rung.

use std::marker::PhantomData;

use super::*;
use crate::fixture::intent;
use crate::ports::{
    BoxFuture, ConfigureCni, Create, Failure, MountNetns, Probe, ReadyNetwork, Rung, Start,
    StepType,
};
use crate::record::Outcome;
use crate::rungs::{AnyRung, NoLateAttachments};

/// A rung that says only what it must.
struct Plain<S>(PhantomData<S>);

impl<S: StepType> Rung for Plain<S> {
    type Step = S;

    fn deadline(&self, _pod: &Pod) -> Duration {
        Duration::from_secs(7)
    }

    fn probe<'a>(
        &'a self,
        _pod: &'a Pod,
        _intent: &'a S::Intent,
    ) -> BoxFuture<'a, Probe<S::Output>> {
        Box::pin(std::future::ready(Probe::Partial))
    }

    fn apply<'a>(
        &'a self,
        _pod: &'a Pod,
        _intent: &'a S::Intent,
    ) -> BoxFuture<'a, Result<S::Output, Failure>> {
        let error = StepError::new(ErrorKind::Failed, "not today");
        Box::pin(std::future::ready(Err(Failure::unknown(error))))
    }

    fn undo<'a>(
        &'a self,
        _pod: &'a Pod,
        _attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn plain<S: StepType>() -> Arc<dyn Rung<Step = S>> {
    Arc::new(Plain(PhantomData))
}

/// One that says more.
struct Virtual(Plain<Start>);

impl Rung for Virtual {
    type Step = Start;

    fn deadline(&self, pod: &Pod) -> Duration {
        self.0.deadline(pod)
    }

    fn undo_deadline(&self, _pod: &Pod) -> Duration {
        Duration::from_secs(8)
    }

    fn handler(&self, _pod: &Pod) -> String {
        "vm".to_owned()
    }

    fn consumes_network(&self, _pod: &Pod) -> bool {
        true
    }

    fn probe<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a <Start as StepType>::Intent,
    ) -> BoxFuture<'a, Probe<<Start as StepType>::Output>> {
        self.0.probe(pod, intent)
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a <Start as StepType>::Intent,
    ) -> BoxFuture<'a, Result<<Start as StepType>::Output, Failure>> {
        self.0.apply(pod, intent)
    }

    fn undo<'a>(
        &'a self,
        pod: &'a Pod,
        attachment: Option<u32>,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        self.0.undo(pod, attachment)
    }
}

fn rungs(start: Arc<dyn Rung<Step = Start>>) -> Rungs {
    Rungs {
        create: plain::<Create>(),
        mount_netns: plain::<MountNetns>(),
        ready_network: plain::<ReadyNetwork>(),
        configure_cni: plain::<ConfigureCni>(),
        start,
        attach_late: Arc::new(NoLateAttachments),
    }
}

fn pod() -> Pod {
    let mut pod = Story::new(NetworkMode::Cni, 1).started().pod();
    std::sync::Arc::make_mut(&mut pod.spec).runtime_handler = "crun".to_owned();
    pod
}

/// Deadlines in seconds, the handler, and whether the network is used up.
fn heard(rung: &dyn AnyRung) -> (u64, u64, String, bool) {
    let pod = pod();
    let (up, down) = (rung.deadline(&pod), rung.undo_deadline(&pod));
    let handler = rung.handler(&pod);
    (
        up.as_secs(),
        down.as_secs(),
        handler,
        rung.consumes_network(&pod),
    )
}

#[test]
fn a_rung_that_says_little_has_the_pod_s_handler_and_one_deadline() {
    let rungs = rungs(plain());
    assert_eq!(
        heard(rungs.of(Step::Start)),
        (7, 7, "crun".to_owned(), false)
    );
}

#[test]
fn what_a_rung_says_is_what_is_heard() {
    let rungs = rungs(Arc::new(Virtual(Plain(PhantomData))));
    assert_eq!(heard(rungs.of(Step::Start)), (7, 8, "vm".to_owned(), true));
    let own = intent(Step::Start, &NetworkMode::Cni);
    let failed = futures_executor::block_on(rungs.of(Step::Start).apply(&pod(), &own));
    assert_eq!(failed.unwrap_err().outcome, Outcome::Unknown);
}

#[test]
fn an_intent_of_another_step_is_none_of_a_rung_s() {
    let (rungs, pod) = (rungs(plain()), pod());
    let foreign = intent(Step::MountNetns, &NetworkMode::Cni);
    let rung = rungs.of(Step::Start);
    let refused = futures_executor::block_on(rung.apply(&pod, &foreign)).unwrap_err();
    assert_eq!(refused.outcome, Outcome::NotDone);
    let probe = futures_executor::block_on(rung.probe(&pod, &foreign));
    assert!(matches!(probe, Probe::Unknown), "{probe:?}");
}

#[test]
fn an_embedder_without_late_attachments_refuses_a_plan_that_has_some() {
    let (rungs, pod) = (rungs(plain()), pod());
    let reserved = rungs.of(Step::AttachLate);
    assert_eq!(reserved.deadline(&pod), std::time::Duration::ZERO);
    let late = intent(Step::AttachLate, &NetworkMode::Cni);
    let probe = futures_executor::block_on(reserved.probe(&pod, &late));
    assert!(matches!(probe, Probe::Absent), "{probe:?}");
    let refused = futures_executor::block_on(reserved.apply(&pod, &late)).unwrap_err();
    assert_eq!(refused.outcome, Outcome::NotDone);
    futures_executor::block_on(reserved.undo(&pod, None)).unwrap();
}
