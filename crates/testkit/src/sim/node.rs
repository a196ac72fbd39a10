//! A machine, its daemon, and its clients.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, select};

use podwalk_engine::decide::Policy;
use podwalk_engine::engine::{Engine, EngineConfig, EngineError, Parts, RecoveryReport};
use podwalk_engine::id::{InstanceId, PodId};
use podwalk_engine::ports::Spawn;
use podwalk_engine::recovery::RecoveryPlan;
use podwalk_engine::spec::PodSpec;

use crate::sim::rungs::Ground;
use crate::sim::{CrashJournal, Executor, Faults, Points, SimClock, SimHost, World};

/// How often time may go on before whoever waits is given up.
const PATIENCE: u32 = 10_000;

/// How a machine is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// How many attachments a pod of mode `cni` has.
    pub attachments: u32,
    /// How many of them are attached when the sandbox runs: the last ones, and
    /// never the first.
    pub late: u32,
    /// Whether a sandbox takes the network away from its namespace.
    pub consumes_network: bool,
    /// Whether effects that outlived their daemon go on while the next one acts,
    /// one change at each point that it passes; otherwise they wait until the
    /// end of the run.
    pub restless: bool,
    /// How walks behave.
    pub policy: Policy,
    /// How many interrupted walks run at once after a restart.
    pub recovery_at_once: usize,
    /// Who runs first; zero for whoever was ready first.
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            attachments: 1,
            late: 0,
            consumes_network: false,
            restless: false,
            policy: Policy::default(),
            recovery_at_once: 16,
            seed: 0,
        }
    }
}

/// A machine: what outlives a daemon on it, and what kills one.
#[derive(Debug, Clone)]
pub struct Node {
    /// How it was made.
    pub setup: Setup,
    /// Its time.
    pub clock: SimClock,
    /// What effects have left on it.
    pub host: SimHost,
    /// What its daemon has recorded.
    pub journal: CrashJournal,
    /// Where its daemon may die.
    pub points: Points,
    /// What goes wrong on it.
    pub faults: Faults,
    /// What stands on it.
    pub world: World,
    executor: Executor,
}

/// How a daemon dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Crash {
    /// By SIGKILL; the machine goes on.
    Kill {
        /// Whether its effects go on without it.
        strays: bool,
    },
    /// With the machine, by a power loss.
    Power {
        /// How many operations of the journal are on the platter all the same.
        kept: usize,
        /// Whether what was last done to the host's disk is lost.
        disk_lost: bool,
    },
}

/// How it ended to wait for something.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Ended<T> {
    /// With an answer.
    Answered(T),
    /// The daemon has died.
    Crashed,
    /// Nothing happens any more, and there was no answer.
    Stuck,
}

impl<T> Ended<T> {
    /// What follows an answer.
    pub fn then<U>(self, next: impl FnOnce(T) -> Ended<U>) -> Ended<U> {
        match self {
            Ended::Answered(answer) => next(answer),
            Ended::Crashed => Ended::Crashed,
            Ended::Stuck => Ended::Stuck,
        }
    }

    /// The answer.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn answer(self) -> T {
        let answer = match self {
            Ended::Answered(answer) => Ok(answer),
            Ended::Crashed => Err("the daemon has died"),
            Ended::Stuck => Err("nothing happens any more"),
        };
        assert!(answer.is_ok(), "no answer: {:?}", answer.err());
        match answer {
            Ok(answer) => answer,
            Err(_) => unreachable!("asserted above"),
        }
    }
}

/// A call on its way.
#[derive(Debug)]
pub struct Asked<T> {
    answer: Arc<Mutex<Option<T>>>,
    give_up: oneshot::Sender<()>,
}

impl<T> Asked<T> {
    /// Takes the answer, if it is there.
    pub fn take(&self) -> Option<T> {
        self.answer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Whether the answer is there.
    pub fn is_answered(&self) -> bool {
        let answer = self.answer.lock();
        answer.unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The caller goes away: its future is dropped.
    pub fn give_up(self) {
        let _ = self.give_up.send(());
    }
}

impl Node {
    /// A fresh machine with the harness's own parts.
    pub fn new(setup: Setup) -> Self {
        Self::of(&World::default(), setup)
    }

    /// A fresh machine with these parts.
    pub fn of(world: &World, setup: Setup) -> Self {
        let (clock, points) = (SimClock::default(), Points::default());
        Self {
            host: SimHost::new(clock.clone()),
            journal: CrashJournal::new(points.clone(), world.journal()),
            world: world.clone(),
            faults: Faults::default(),
            executor: Executor::new(setup.seed),
            setup,
            clock,
            points,
        }
    }

    /// What the engine is made of, to be put together otherwise.
    pub fn parts(&self) -> Parts {
        let parts = Parts {
            journal: Arc::new(self.journal.clone()),
            rungs: self.ground().rungs(),
            clock: Arc::new(self.clock.clone()),
            spawn: Arc::new(self.executor.clone()),
            config: EngineConfig {
                netns_dir: "/var/run/netns".to_owned(),
                policy: self.setup.policy,
                recovery_at_once: self.setup.recovery_at_once,
            },
        };
        self.world.build(self, parts)
    }

    /// What the rungs stand on.
    pub fn ground(&self) -> Ground {
        Ground {
            host: self.host.clone(),
            journal: self.journal.clone(),
            points: self.points.clone(),
            faults: self.faults.clone(),
            attachments: self.setup.attachments,
            late: self.setup.late,
            consumes_network: self.setup.consumes_network,
            restless: self.setup.restless,
        }
    }

    /// Starts a daemon; its recovery is not begun.
    pub fn open(&self) -> Ended<Result<(Engine, RecoveryPlan), EngineError>> {
        self.journal.reopen();
        self.run(Engine::open_deciding(self.parts(), self.world.decide()))
    }

    /// Starts a daemon and lets it recover.
    pub fn boot(&self) -> Ended<(Engine, RecoveryReport)> {
        self.open().then(|opened| {
            let Ok((engine, plan)) = opened else {
                return Ended::Stuck;
            };
            let recovering = engine.clone();
            let recovered = self.run(async move { recovering.recover(&plan).await });
            recovered.then(|report| Ended::Answered((engine, report)))
        })
    }

    /// Sets a call off, and does not wait for it.
    pub fn ask<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Asked<T> {
        let answer = Arc::new(Mutex::new(None));
        let (give_up, given_up) = oneshot::channel();
        let place = answer.clone();
        self.executor.spawn(Box::pin(async move {
            let gone = Box::pin(async {
                if given_up.await.is_err() {
                    std::future::pending::<()>().await;
                }
            });
            if let Either::Left((end, _)) = select(Box::pin(call), gone).await {
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
            }
        }));
        Asked { answer, give_up }
    }

    /// Waits for a call.
    pub fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Ended<T> {
        let asked = self.ask(call);
        self.wait_for(&asked)
    }

    /// Waits for a call that is on its way.
    pub fn wait_for<T>(&self, asked: &Asked<T>) -> Ended<T> {
        let answered = self.until(|| asked.is_answered());
        answered.then(|()| asked.take().map_or(Ended::Stuck, Ended::Answered))
    }

    /// Lets time pass until something holds.
    pub fn until(&self, holds: impl Fn() -> bool) -> Ended<()> {
        for _ in 0..PATIENCE {
            let rests = self.settle();
            if self.points.is_crashed() {
                self.executor.kill();
                return Ended::Crashed;
            }
            if holds() {
                return Ended::Answered(());
            }
            if !rests || self.points.is_endless() || !self.clock.to_next_timer() {
                return Ended::Stuck;
            }
        }
        Ended::Stuck
    }

    /// Lets everybody act who can, while time stands still. False when there is
    /// no end to it.
    pub fn settle(&self) -> bool {
        self.executor.run(|| self.points.is_crashed())
    }

    /// Lets time pass, and everybody act meanwhile.
    pub fn pass(&self, duration: Duration) {
        self.settle();
        self.clock.pass(duration);
        self.settle();
    }

    /// The daemon dies, wherever it is.
    pub fn crash(&self, crash: Crash) {
        self.executor.kill();
        match crash {
            Crash::Kill { strays: true } => {}
            Crash::Kill { strays: false } => self.host.kill_strays(),
            Crash::Power { kept, disk_lost } => {
                self.journal.lose_power(kept);
                self.host.go_down(disk_lost);
                self.clock.reboot(Duration::from_secs(60));
            }
        }
        self.points.arm(None);
    }

    /// The machine is booted anew in good order: nothing on disk is lost.
    pub fn reboot(&self) {
        self.crash(Crash::Power {
            kept: usize::MAX,
            disk_lost: false,
        });
    }

    /// The next life dies at this point, counted from one.
    pub fn arm(&self, crash_at: Option<u64>) {
        self.points.arm(crash_at);
    }
}

/// The id of the `number`-th pod of a test.
pub fn pod_id(number: u32) -> PodId {
    let mut random = [0; 12];
    random[8..].copy_from_slice(&number.to_be_bytes());
    PodId::new(random, InstanceId(*b"test"))
}

/// A spec that is valid and says nothing special.
pub fn pod_spec(name: &str) -> PodSpec {
    PodSpec {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        ..PodSpec::default()
    }
}
