//! One schedule, carried out.
//!
//! 1. A fresh machine; the faults are set.
//! 2. Each life boots, recovers, hears its clients and requests, and dies where
//!    the schedule says. The last one comes to rest.
//! 3. What outlived a daemon is let run to its end; then the
//!    [oracle](super::oracle) is heard, and every answer must have been the
//!    [truth](super::claims). Who has listed when the life began, and listened
//!    since, knows what a list shows now.
//! 4. All faults are mended and every pod is removed: nothing may be left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use podwalk_engine::clock::Clock;
use podwalk_engine::engine::{Engine, EngineError};
use podwalk_engine::id::PodId;
use podwalk_engine::ports::{Durability, JournalError};
use podwalk_engine::recovery::RecoveryPlan;

use crate::sim::audience::Audience;
use crate::sim::claims::{Answered, Claims};
use crate::sim::schedule::{Call, Client, Mode, Request, Schedule};
use crate::sim::{Asked, Crash, Ended, Node, Point, Refusal, World, oracle};

/// How long a walk may take that nobody waits for: longer than all deadlines of
/// a pod together.
const PATIENCE: Duration = Duration::from_secs(600);

/// What one run has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// How many points its last life passed, until everything was answered.
    pub points: u64,
    /// How many operations of the journal a power loss at its last crash could
    /// have taken.
    pub unsynced: usize,
    /// What is wrong; empty if nothing is.
    pub complaints: Vec<String>,
    /// How often each point was passed, in all lives.
    pub reached: BTreeMap<Point, u64>,
    /// At which points its lives ended.
    pub died_at: Vec<Point>,
}

impl World {
    /// Carries a schedule out.
    pub fn run(&self, schedule: &Schedule) -> Run {
        let node = Node::of(self, schedule.setup);
        for fault in &schedule.faults {
            node.faults.add(fault.clone());
        }
        let claims = Claims::new(schedule);
        let mut run = Run::default();
        for (life, death) in schedule.deaths.iter().enumerate() {
            node.arm(Some(death.point));
            if !matches!(live(&node, schedule, life, &claims), Ended::Crashed) {
                let complaint = format!("life {life} did not die at point {}", death.point);
                run.complaints.push(complaint);
                return run.over(&node);
            }
            run.died_at.extend(node.points.crashed_at());
            run.unsynced = node.journal.unsynced();
            node.crash(death.crash);
            // A daemon may not begin on a full disk; it is tried until it does.
            node.journal.refuse(None);
            match death.crash {
                Crash::Power { .. } => claims.note_reboot(),
                Crash::Kill { .. } => claims.note_unfinished(&node),
            }
        }
        node.arm(None);
        let ended = live(&node, schedule, schedule.deaths.len(), &claims);
        run.points = node.points.passed();
        run.complaints = match ended {
            Ended::Answered((engine, audience)) => judge(&node, &engine, &claims, audience),
            Ended::Crashed | Ended::Stuck => vec!["the last life came to no end".to_owned()],
        };
        run.over(&node)
    }
}

impl Run {
    fn over(mut self, node: &Node) -> Self {
        self.reached = node.points.reached();
        self
    }
}

/// One life, until all who ask are answered and its recovery is over.
fn live(
    node: &Node,
    schedule: &Schedule,
    life: usize,
    claims: &Claims,
) -> Ended<(Engine, Audience)> {
    node.open().then(|opened| {
        let Ok((engine, plan)) = opened else {
            return Ended::Stuck;
        };
        let audience = Audience::of(&engine);
        let requests = requests(node, schedule, life, &engine, claims);
        let waits = all_calls(node, schedule, life, &engine, plan, claims);
        let settled = node.until(|| {
            waits.iter().all(Asked::is_answered) && requests.iter().all(Pending::is_settled)
        });
        settled.then(|()| Ended::Answered((engine, audience)))
    })
}

/// A request that waits for its moment, which may never come.
struct Pending {
    begun: Arc<AtomicBool>,
    asked: Asked<()>,
}

impl Pending {
    fn is_settled(&self) -> bool {
        !self.begun.load(Ordering::SeqCst) || self.asked.is_answered()
    }
}

fn requests(
    node: &Node,
    schedule: &Schedule,
    life: usize,
    engine: &Engine,
    claims: &Claims,
) -> Vec<Pending> {
    let due = schedule.requests.iter().filter(|one| one.life == life);
    due.map(|request| {
        let caller = Caller::new(node, schedule, engine, claims);
        let Request { client, call, .. } = *request;
        let now = node.points.at(request.point);
        let begun = Arc::new(AtomicBool::new(false));
        let flag = begun.clone();
        let asked = node.ask(async move {
            // A life that ends before the moment drops the other half.
            if now.await.is_ok() {
                flag.store(true, Ordering::SeqCst);
                caller.call(client, call).await;
            }
        });
        Pending { begun, asked }
    })
    .collect()
}

/// The recovery and the clients of a life.
fn all_calls(
    node: &Node,
    schedule: &Schedule,
    life: usize,
    engine: &Engine,
    plan: RecoveryPlan,
    claims: &Claims,
) -> Vec<Asked<()>> {
    let recovering = engine.clone();
    let recovery = node.ask(async move {
        recovering.recover(&plan).await;
    });
    let mut waits = vec![recovery];
    if life > 0 && !schedule.persistent {
        return waits;
    }
    for (index, client) in schedule.clients.iter().enumerate() {
        let caller = Caller::new(node, schedule, engine, claims);
        let calls = client.calls.clone();
        waits.push(node.ask(async move {
            while let Some(call) = calls.get(caller.claims.answered_calls(index)) {
                caller.call(index, *call).await;
                caller.claims.count_answer(index);
                caller.node.points.pass("client.heard").await;
            }
        }));
    }
    waits
}

/// Who carries calls to the engine and remembers what it said.
struct Caller {
    node: Node,
    engine: Engine,
    claims: Claims,
    clients: Arc<[Client]>,
    /// Clients about whose pods others ask too, or whose sandboxes die.
    watched: Vec<usize>,
}

fn watched(schedule: &Schedule) -> Vec<usize> {
    let asked = schedule.requests.iter().map(|one| one.client);
    let clients = schedule.clients.iter().enumerate();
    let dying = clients.filter(|(_, client)| client.calls.contains(&Call::Die));
    asked.chain(dying.map(|(index, _)| index)).collect()
}

impl Caller {
    fn new(node: &Node, schedule: &Schedule, engine: &Engine, claims: &Claims) -> Self {
        Self {
            node: node.clone(),
            engine: engine.clone(),
            claims: claims.clone(),
            clients: schedule.clients.clone().into(),
            watched: watched(schedule),
        }
    }

    async fn call(&self, index: usize, call: Call) {
        match call {
            Call::Start => self.start(index).await,
            Call::Stop | Call::Remove => self.end(index, call).await,
            Call::Die => self.die(index).await,
            Call::Pause => self.node.clock.sleep(PATIENCE).await,
            Call::Fill => self.node.journal.refuse(Some(full())),
        }
    }

    async fn start(&self, index: usize) {
        let Some(client) = self.clients.get(index) else {
            return;
        };
        let owner = match client.mode {
            Mode::GuestOf(owner) => self.claims.newest(owner, &self.engine),
            _ => None,
        };
        let id = self.claims.offer(index, owner);
        match self.engine.start(id, client.spec(index, owner)).await {
            Ok(started) => self.hear(index, started.id, Answered::Started),
            Err(error) => self.claims.refused(&format!("Start of {id}"), &error),
        }
    }

    async fn end(&self, index: usize, call: Call) {
        let Some(id) = self.claims.newest(index, &self.engine) else {
            return;
        };
        self.claims.asked_to_end(id, call);
        let (answer, said) = match call {
            Call::Stop => (self.engine.stop(id).await, Answered::Stopped),
            _ => (self.engine.remove(id).await, Answered::Removed),
        };
        match answer {
            Ok(()) => self.hear(index, id, said),
            Err(error) => self.claims.refused(&format!("{call:?} of {id}"), &error),
        }
    }

    /// What is said must be true when it is heard: of the platter, and of the
    /// host.
    fn hear(&self, index: usize, id: PodId, said: Answered) {
        self.claims.hear(id, said);
        let host = &self.node.host;
        let lives = host.process(id).is_some();
        if said != Answered::Started && lives {
            host.blame(format!("{said:?} was said while the sandbox of {id} lives"));
        }
        // Others may have asked for something else meanwhile.
        if self.watched.contains(&index) {
            return;
        }
        if said == Answered::Started && !lives {
            host.blame(format!("{said:?} was said, and {id} has no sandbox"));
        }
        let platter = self.node.journal.pod(id, Durability::Power);
        if !said.is_true_of(platter.as_ref()) {
            host.blame(format!("{said:?} was said before the platter had it"));
        }
    }

    async fn die(&self, index: usize) {
        let Some(id) = self.claims.newest(index, &self.engine) else {
            return;
        };
        let Some(process) = self.node.host.process(id) else {
            return;
        };
        self.claims.died(id, process);
        self.node.host.let_sandbox_die(id);
        self.engine.note_exit(id, process, Some(137)).await;
    }
}

/// More than once, so that a second try meets it, too.
fn full() -> Refusal {
    let detail = "no space left on device".to_owned();
    Refusal {
        after: 0,
        times: Some(3),
        error: JournalError::Full { detail },
    }
}

fn judge(node: &Node, engine: &Engine, claims: &Claims, mut audience: Audience) -> Vec<String> {
    // Requests whose moment never came are off, and there is space again.
    node.arm(None);
    node.journal.refuse(None);
    // Walks go on when nobody waits for them any more.
    settle(node, || oracle::stalled(engine).is_empty());
    // What outlived the daemon has had its time now.
    node.host.let_strays_finish();
    let mut complaints = oracle::leaks(node, engine);
    complaints.extend(oracle::stalled(engine));
    // What cannot be looked at is found out when it can be.
    node.faults.mend();
    settle(node, || {
        oracle::complaints(node, engine).is_empty() && claims.lies(engine).is_empty()
    });
    complaints.extend(oracle::complaints(node, engine));
    complaints.extend(claims.lies(engine));
    audience.compare(engine);
    complaints.extend(remove_all(node, engine));
    audience.compare(engine);
    complaints.extend(audience.complaints());
    complaints
}

/// Lets time pass until something holds, or for long enough.
fn settle(node: &Node, holds: impl Fn() -> bool) {
    let begun = node.clock.now();
    let late = || node.clock.now().since(&begun) > PATIENCE;
    let _ = node.until(|| late() || holds());
}

/// A client gives everything up; nothing may be left.
fn remove_all(node: &Node, engine: &Engine) -> Vec<String> {
    let mut complaints = Vec::new();
    for view in engine.list() {
        for call in [Call::Stop, Call::Remove] {
            let (engine, id) = (engine.clone(), view.pod.id);
            let end = node.run(async move {
                match call {
                    Call::Stop => engine.stop(id).await,
                    _ => engine.remove(id).await,
                }
            });
            let gone = Err(EngineError::NoSuchPod { id });
            if end != Ended::Answered(Ok(())) && end != Ended::Answered(gone) {
                complaints.push(format!("{call:?} of {id} came to {end:?}"));
            }
        }
    }
    for (id, thing) in node.host.things() {
        complaints.push(format!("{thing:?} of {id} is left after all"));
    }
    for (id, _) in node.journal.contents().pods {
        complaints.push(format!("records of {id} are left after all"));
    }
    complaints
}
