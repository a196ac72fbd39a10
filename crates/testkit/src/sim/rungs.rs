//! The six steps, over the simulated host.
//!
//! Each effect is a list of changes, made one by one with a point before, after
//! and between them. Every rung checks first that the journal knows what is
//! about to happen, as durably as the effect itself lives (design, section 3,
//! rule 1), and notes it on the host when it does not.
//!
//! A rung of an embedder's own is made of the same: [`Ground::apply`] and
//! [`Ground::undo`] take a list of changes, [`Ground::probe`] a look at the
//! host, [`Ground::quiet`] ends what is left of an effect. What goes wrong, goes
//! on late or dies there, the ground sees to.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use podwalk_engine::error::{ErrorKind, StepError};
use podwalk_engine::pod::{Pod, Status};
use podwalk_engine::ports::{
    AttachLate, BoxFuture, ConfigureCni, Create, Durability, Failure, MountNetns, Probe,
    ReadyNetwork, Rung, Start, StepType,
};
use podwalk_engine::record::{
    CreateIntent, CreateOutput, MountNetnsIntent, MountNetnsOutput, PlannedAttachment,
    ReadyNetworkIntent, ReadyNetworkOutput, StartIntent, StartOutput,
};
use podwalk_engine::rungs::Rungs;
use podwalk_engine::step::{Lifetime, NetworkMode, Step};

use crate::sim::{
    Change, CrashJournal, Faults, Mishap, Passing, Point, Points, Progress, SimHost, Site, Thing,
};

mod cni;

/// How long an effect may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What all rungs of a machine share.
#[derive(Debug, Clone)]
pub struct Ground {
    /// What the effects change.
    pub host: SimHost,
    /// What must know of them first.
    pub journal: CrashJournal,
    /// Where a run may die.
    pub points: Points,
    /// What goes wrong.
    pub faults: Faults,
    /// How many attachments a pod of mode `cni` has.
    pub attachments: u32,
    /// How many of them are attached when the sandbox runs: the last ones, and
    /// never the first.
    pub late: u32,
    /// Whether a sandbox takes the network away from its namespace.
    pub consumes_network: bool,
    /// Whether effects that nobody waits for go on while others act.
    pub restless: bool,
}

/// The rung of one step.
#[derive(Debug)]
struct SimRung<S> {
    ground: Ground,
    step: PhantomData<fn() -> S>,
}

impl Ground {
    /// One rung per step.
    pub fn rungs(&self) -> Rungs {
        fn rung<S>(ground: &Ground) -> Arc<SimRung<S>> {
            Arc::new(SimRung {
                ground: ground.clone(),
                step: PhantomData,
            })
        }
        Rungs {
            create: rung::<Create>(self),
            mount_netns: rung::<MountNetns>(self),
            ready_network: rung::<ReadyNetwork>(self),
            configure_cni: rung::<ConfigureCni>(self),
            start: rung::<Start>(self),
            attach_late: rung::<AttachLate>(self),
        }
    }

    /// Sees the effect through, point by point, or as far as it is to come.
    async fn run(&self, site: Site, pod: &Pod, part: Part<'_>) -> Result<(), Mishap> {
        let Part {
            step, attachment, ..
        } = part;
        let mishap = self.faults.strike(step, site, pod.id, attachment);
        let pass = |at| {
            self.pass(Point::Effect {
                step,
                site,
                attachment,
                at,
            })
        };
        pass(Progress::Before).await;
        self.check_known(pod, step, site);
        let running = Running {
            host: self.host.clone(),
            effect: self.host.begin(pod.id, part.changes),
        };
        pass(Progress::Begun).await;
        let mut made = 0;
        loop {
            match mishap {
                Some(Mishap::Fail { after }) if made == after => break,
                Some(Mishap::Hang { after }) if made == after => std::future::pending().await,
                _ => {}
            }
            if !self.host.go_on(running.effect) {
                match mishap {
                    Some(Mishap::Hang { .. }) => std::future::pending().await,
                    _ => break,
                }
            }
            made += 1;
            pass(Progress::Changed(made)).await;
        }
        pass(Progress::End).await;
        self.host.end(running.effect);
        mishap.map_or(Ok(()), Err)
    }

    fn check_known(&self, pod: &Pod, step: Step, site: Site) {
        let attaches = pod.plan.iter().any(|planned| planned.step() == step);
        let lasts = step.lifetime() == Lifetime::OnDisk && attaches;
        let durability = match site {
            Site::Apply if lasts => Durability::Power,
            _ => Durability::Process,
        };
        let known = self.journal.pod(pod.id, durability);
        let is_known = |known: &Pod| known.status(step) != Status::Never;
        if !known.as_ref().is_some_and(is_known) {
            self.host
                .blame(format!("{step} of {} has no durable intent", pod.id));
        }
        let beside_a_sandbox = |known: &Pod| known.status(Step::Start) == Status::Done;
        let is_late = (step, site) == (Step::AttachLate, Site::Apply);
        if is_late && !known.as_ref().is_some_and(beside_a_sandbox) {
            self.host
                .blame(format!("{step} of {} came before its sandbox", pod.id));
        }
    }

    /// Passes a point; meanwhile others act.
    fn pass(&self, point: Point) -> Passing {
        if self.restless {
            self.host.let_strays_move();
        }
        self.points.pass(point)
    }

    fn look(&self, step: Step, site: Site, at: Progress) -> Passing {
        self.pass(Point::Effect {
            step,
            site,
            attachment: None,
            at,
        })
    }

    /// Kills what is left of the pod's effects and sees it gone.
    ///
    /// # Errors
    /// When it is to go wrong.
    pub async fn quiet(&self, pod: &Pod, step: Step) -> Result<(), StepError> {
        self.look(step, Site::Quiet, Progress::Before).await;
        let unkillable = || error("a process of it cannot be killed");
        match self.faults.strike(step, Site::Quiet, pod.id, None) {
            None => {}
            Some(Mishap::Hang { .. }) => std::future::pending().await,
            Some(Mishap::LoseAnswer) => {
                self.host.quiet(pod.id);
                return Err(unkillable());
            }
            Some(_) => return Err(unkillable()),
        }
        self.host.quiet(pod.id);
        self.look(step, Site::Quiet, Progress::End).await;
        Ok(())
    }

    /// Takes a step: its changes happen one by one.
    ///
    /// # Errors
    /// When it is to go wrong, after as many changes as that says.
    pub async fn apply(&self, pod: &Pod, step: Step, changes: &[Change]) -> Result<(), Failure> {
        let part = Part {
            step,
            attachment: None,
            changes,
        };
        applied(self.run(Site::Apply, pod, part).await).map(drop)
    }

    /// Undoes a step: its changes happen one by one.
    ///
    /// # Errors
    /// As for [`Ground::apply`].
    pub async fn undo(&self, pod: &Pod, step: Step, changes: &[Change]) -> Result<(), StepError> {
        let part = Part {
            step,
            attachment: None,
            changes,
        };
        undone(self.run(Site::Undo, pod, part).await)
    }

    /// What a look would find, unless it is disturbed.
    pub async fn probe<T>(
        &self,
        pod: &Pod,
        step: Step,
        found: impl FnOnce() -> Probe<T>,
    ) -> Probe<T> {
        self.look(step, Site::Probe, Progress::Before).await;
        match self.faults.strike(step, Site::Probe, pod.id, None) {
            Some(Mishap::Hang { .. }) => std::future::pending().await,
            Some(_) => Probe::Unknown,
            None => found(),
        }
    }

    /// The network plan of a pod, which ReadyNetwork answers with.
    pub fn plan(&self, pod: &Pod) -> Vec<PlannedAttachment> {
        let attachments = match pod.spec.network {
            NetworkMode::Cni => self.attachments,
            _ => 0,
        };
        (0..attachments)
            .map(|number| PlannedAttachment {
                network: format!("net{number}"),
                interface: format!("eth{number}"),
                conflist: b"{}".to_vec(),
                arguments: Vec::new(),
                capability_arguments: String::new(),
                configuration_arguments: Default::default(),
                late: number > 0 && number + self.late >= attachments,
            })
            .collect()
    }
}

/// One effect of a step: all of it, or one attachment's.
struct Part<'a> {
    step: Step,
    attachment: Option<u32>,
    changes: &'a [Change],
}

/// An effect that is waited for. Dropped before its end, it goes on alone.
struct Running {
    host: SimHost,
    effect: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.host.abandon(self.effect);
    }
}

/// The end of an apply; true when its answer is to be nonsense.
fn applied(end: Result<(), Mishap>) -> Result<bool, Failure> {
    match end {
        Ok(()) => Ok(false),
        Err(Mishap::Nonsense) => Ok(true),
        Err(Mishap::LoseAnswer) => Err(Failure::unknown(error("its answer was lost"))),
        Err(_) => Err(Failure::not_done(error("it failed"))),
    }
}

fn undone(end: Result<(), Mishap>) -> Result<(), StepError> {
    end.map_err(|_| error("its undo failed"))
}

fn error(message: &str) -> StepError {
    StepError::new(ErrorKind::Failed, message)
}

macro_rules! common {
    () => {
        fn deadline(&self, _pod: &Pod) -> Duration {
            DEADLINE
        }

        fn quiet<'a>(&'a self, pod: &'a Pod) -> BoxFuture<'a, Result<(), StepError>> {
            Box::pin(self.ground.quiet(pod, <Self::Step as StepType>::STEP))
        }
    };
}

use common;

impl Rung for SimRung<Create> {
    type Step = Create;
    common!();

    fn probe<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a CreateIntent,
    ) -> BoxFuture<'a, Probe<CreateOutput>> {
        Box::pin(self.ground.probe(pod, Step::Create, move || {
            let there = intent.sandbox_key.is_none() || self.ground.host.has(pod.id, Thing::File);
            match there {
                true => Probe::Complete(CreateOutput {}),
                false => Probe::Absent,
            }
        }))
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a CreateIntent,
    ) -> BoxFuture<'a, Result<CreateOutput, Failure>> {
        Box::pin(async move {
            let file = [Change::Make(Thing::File)];
            let changes = match intent.sandbox_key {
                Some(_) => &file[..],
                None => &[],
            };
            self.ground.apply(pod, Step::Create, changes).await?;
            Ok(CreateOutput {})
        })
    }

    fn undo<'a>(&'a self, pod: &'a Pod, _: Option<u32>) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            let changes = [Change::Take(Thing::File)];
            self.ground.undo(pod, Step::Create, &changes).await
        })
    }
}

impl Rung for SimRung<MountNetns> {
    type Step = MountNetns;
    common!();

    fn probe<'a>(
        &'a self,
        pod: &'a Pod,
        _: &'a MountNetnsIntent,
    ) -> BoxFuture<'a, Probe<MountNetnsOutput>> {
        Box::pin(self.ground.probe(pod, Step::MountNetns, move || {
            match self.ground.host.namespace(pod.id) {
                Some(namespace) => Probe::Complete(MountNetnsOutput { namespace }),
                None if self.ground.host.has(pod.id, Thing::Mount) => Probe::Partial,
                None => Probe::Absent,
            }
        }))
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        _: &'a MountNetnsIntent,
    ) -> BoxFuture<'a, Result<MountNetnsOutput, Failure>> {
        Box::pin(async move {
            let changes = [Change::Make(Thing::Mount)];
            self.ground.apply(pod, Step::MountNetns, &changes).await?;
            match self.ground.host.namespace(pod.id) {
                Some(namespace) => Ok(MountNetnsOutput { namespace }),
                None => Err(Failure::not_done(error("another is pinned below it"))),
            }
        })
    }

    fn undo<'a>(&'a self, pod: &'a Pod, _: Option<u32>) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            let changes = [Change::Take(Thing::Mount)];
            self.ground.undo(pod, Step::MountNetns, &changes).await
        })
    }
}

impl Rung for SimRung<ReadyNetwork> {
    type Step = ReadyNetwork;
    common!();

    fn probe<'a>(
        &'a self,
        pod: &'a Pod,
        _: &'a ReadyNetworkIntent,
    ) -> BoxFuture<'a, Probe<ReadyNetworkOutput>> {
        Box::pin(self.ground.probe(pod, Step::ReadyNetwork, move || {
            let plan = self.ground.plan(pod);
            match self.ground.host.has(pod.id, Thing::Loopback) {
                true => Probe::Complete(ReadyNetworkOutput { plan }),
                false => Probe::Absent,
            }
        }))
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        _: &'a ReadyNetworkIntent,
    ) -> BoxFuture<'a, Result<ReadyNetworkOutput, Failure>> {
        Box::pin(async move {
            let changes = [Change::Make(Thing::Loopback)];
            self.ground.apply(pod, Step::ReadyNetwork, &changes).await?;
            Ok(ReadyNetworkOutput {
                plan: self.ground.plan(pod),
            })
        })
    }

    fn undo<'a>(&'a self, pod: &'a Pod, _: Option<u32>) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(self.ground.undo(pod, Step::ReadyNetwork, &[]))
    }
}

impl Rung for SimRung<Start> {
    type Step = Start;
    common!();

    fn consumes_network(&self, _pod: &Pod) -> bool {
        self.ground.consumes_network
    }

    fn probe<'a>(&'a self, pod: &'a Pod, _: &'a StartIntent) -> BoxFuture<'a, Probe<StartOutput>> {
        Box::pin(self.ground.probe(pod, Step::Start, move || {
            let host = &self.ground.host;
            match (host.has(pod.id, Thing::RuntimeState), host.process(pod.id)) {
                (true, Some(process)) => Probe::Complete(StartOutput {
                    process,
                    shim_address: None,
                }),
                (false, None) => Probe::Absent,
                _ => Probe::Partial,
            }
        }))
    }

    fn apply<'a>(
        &'a self,
        pod: &'a Pod,
        intent: &'a StartIntent,
    ) -> BoxFuture<'a, Result<StartOutput, Failure>> {
        Box::pin(async move {
            let own = intent.network.as_ref().map(|network| network.namespace);
            let owner = pod.owner().unwrap_or(pod.id);
            if own.is_some() && own != self.ground.host.namespace(owner) {
                return Err(Failure::not_done(error("that is not the namespace")));
            }
            let sandbox = match intent.consumes_network {
                true => Change::MakeGreedy,
                false => Change::Make(Thing::Sandbox),
            };
            let changes = [Change::Make(Thing::RuntimeState), sandbox];
            self.ground.apply(pod, Step::Start, &changes).await?;
            match self.ground.host.process(pod.id) {
                Some(process) => Ok(StartOutput {
                    process,
                    shim_address: None,
                }),
                None => Err(Failure::not_done(error("it exited at once"))),
            }
        })
    }

    fn undo<'a>(&'a self, pod: &'a Pod, _: Option<u32>) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            let changes = [
                Change::Take(Thing::Sandbox),
                Change::Take(Thing::RuntimeState),
            ];
            self.ground.undo(pod, Step::Start, &changes).await
        })
    }
}
