//! Kubelet's loops: relist, one worker per pod, garbage collection, the event stream.
//!
//! As in kubelet, a worker acts on a list that was made after its last action had ended, and errors
//! are tried again with the next one. What is different is the pace: kubelet relists each second.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_cri::v1;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use podwalk_tests::cri::{self, Cri};
use podwalk_tests::dice::Dice;
use podwalk_tests::wait;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::PATIENCE;
use crate::pods::{Listed, Memory, attempt, group, is_ready};

/// Kubelet's second, five times as fast.
const RELIST: Duration = Duration::from_millis(200);

/// Garbage is collected each so many relists; in kubelet each sixty.
const COLLECT: u64 = 5;

/// Kubelet's deadline of RunPodSandbox and StopPodSandbox.
const DEADLINE: Duration = Duration::from_secs(240);

/// A list, and when it was asked for.
#[derive(Clone)]
struct Relist {
    number: u64,
    asked: Instant,
    listed: Arc<Listed>,
}

struct Shared {
    client: RuntimeServiceClient<Channel>,
    relisted: watch::Sender<Relist>,
    /// The names of pods that are wanted.
    wanted: watch::Sender<BTreeSet<String>>,
    memory: Mutex<Memory>,
    seed: u64,
}

pub(crate) struct Kubelet<'a> {
    cri: &'a Cri,
    shared: Arc<Shared>,
    /// Pods that had been wanted and shall be again, under the same uid.
    resting: BTreeSet<String>,
    workers: BTreeMap<String, JoinHandle<()>>,
    loops: Vec<JoinHandle<()>>,
    named: usize,
}

impl<'a> Kubelet<'a> {
    /// Connects and wants so many pods.
    pub(crate) fn begin(cri: &'a Cri, pods: usize, seed: u64) -> Self {
        let nothing = Relist {
            number: 0,
            asked: Instant::now(),
            listed: Arc::default(),
        };
        let shared = Arc::new(Shared {
            client: cri.client(),
            relisted: watch::Sender::new(nothing),
            wanted: watch::Sender::default(),
            memory: Mutex::default(),
            seed,
        });
        let loops = vec![
            cri.tasks().spawn(relist(shared.clone())),
            cri.tasks().spawn(collect(shared.clone())),
            cri.tasks().spawn(listen(shared.clone())),
        ];
        let mut kubelet = Self {
            cri,
            shared,
            resting: BTreeSet::new(),
            workers: BTreeMap::new(),
            loops,
            named: 0,
        };
        for _ in 0..pods {
            kubelet.want_another();
        }
        kubelet
    }

    fn want_another(&mut self) {
        self.named += 1;
        self.want(format!("pod-{}", self.named));
    }

    fn want(&mut self, name: String) {
        self.shared.wanted.send_modify(|wanted| {
            wanted.insert(name.clone());
        });
        let shared = self.shared.clone();
        let (tasks, number) = (self.cri.tasks(), self.named as u64);
        self.workers
            .entry(name.clone())
            .or_insert_with(|| tasks.spawn(worker(shared, name, number)));
    }

    fn unwant(&self, name: &str) {
        self.shared.wanted.send_modify(|wanted| {
            wanted.remove(name);
        });
    }

    /// Deletes a pod and makes another, or the same anew; or has a sandbox die.
    pub(crate) fn disturb(&mut self, dice: &mut Dice) -> Result<()> {
        let wanted: Vec<_> = self.shared.wanted.borrow().iter().cloned().collect();
        let chosen = wanted[dice.index(wanted.len())].clone();
        match dice.below(10) {
            0..5 => {
                self.unwant(&chosen);
                self.want_another();
            }
            5..7 => {
                self.unwant(&chosen);
                self.resting.insert(chosen);
            }
            _ => self.end_sandbox_of(&chosen)?,
        }
        // A static pod comes back under its uid.
        if dice.percent(50)
            && let Some(name) = self.resting.pop_first()
        {
            self.want(name);
        }
        Ok(())
    }

    /// Kills the sandbox of a pod, if it has one and the daemon answers.
    fn end_sandbox_of(&self, name: &str) -> Result<()> {
        let listed = self.shared.relisted.borrow().listed.clone();
        let sandboxes = listed.get(&uid_of(name)).into_iter().flatten();
        let Some(sandbox) = sandboxes.into_iter().find(|one| is_ready(one)) else {
            return Ok(());
        };
        let Ok(status) = self.cri.verbose_status(&sandbox.id) else {
            return Ok(());
        };
        let Some(pid) = cri::inspected(&status)?["sandbox"]["pid"].as_u64() else {
            return Ok(());
        };
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if comm.trim() != "pause" {
            return Ok(());
        }
        let mut memory = self.shared.memory();
        memory.down.insert(sandbox.id.clone());
        memory.deaths += 1;
        drop(memory);
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
        match nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno).context("kill"),
        }
    }

    /// Waits until so many lists have come.
    pub(crate) fn await_relists(&self, count: u64) -> Result<()> {
        let last = self.shared.relisted.borrow().number + count;
        let came = wait::until(PATIENCE, || {
            Ok((self.shared.relisted.borrow().number >= last).then_some(()))
        })?;
        came.context("the daemon does not list any more")
    }

    /// What the daemon may not tell, it has not told; and no loop has ended.
    pub(crate) fn check(&self) -> Result<()> {
        let memory = self.shared.memory();
        ensure!(memory.broken.is_empty(), "{:#?}", memory.broken);
        let mut tasks = self.loops.iter().chain(self.workers.values());
        ensure!(tasks.all(|task| !task.is_finished()), "a loop has panicked");
        Ok(())
    }

    /// Whether every pod is as wanted and all others are gone.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsettled().is_empty()
    }

    /// Who is not as wanted.
    pub(crate) fn unsettled(&self) -> Vec<String> {
        let listed = self.shared.relisted.borrow().listed.clone();
        let wanted = self.shared.wanted.borrow().clone();
        let up = |name: &String| {
            let sandboxes = listed.get(&uid_of(name)).map_or(&[][..], |list| list);
            sandboxes.len() == 1 && is_ready(&sandboxes[0])
        };
        let missing = wanted.iter().filter(|name| !up(name)).cloned();
        let uids: BTreeSet<_> = wanted.iter().map(|name| uid_of(name)).collect();
        let extra = listed.keys().filter(|uid| !uids.contains(*uid)).cloned();
        missing.chain(extra).collect()
    }

    /// The sandboxes that run.
    pub(crate) fn running(&self) -> Vec<String> {
        let listed = self.shared.relisted.borrow().listed.clone();
        let sandboxes = listed.values().flatten();
        sandboxes.map(|one| one.id.clone()).collect()
    }

    /// How many pods are wanted.
    pub(crate) fn wanted(&self) -> usize {
        self.shared.wanted.borrow().len()
    }

    pub(crate) fn starts(&self) -> u64 {
        self.shared.memory().starts
    }

    pub(crate) fn deaths(&self) -> u64 {
        self.shared.memory().deaths
    }

    /// Deletes every pod.
    pub(crate) fn want_nothing(&mut self) {
        self.resting.clear();
        self.shared.wanted.send_modify(BTreeSet::clear);
    }

    /// Ends all loops.
    pub(crate) fn end(self) -> Result<()> {
        self.check()?;
        for task in self.loops.into_iter().chain(self.workers.into_values()) {
            task.abort();
        }
        Ok(())
    }
}

fn uid_of(name: &str) -> String {
    format!("uid-of-{name}")
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accuse(&self, what: String) {
        self.memory().broken.push(what);
    }
}

/// Asks for all sandboxes, again and again.
async fn relist(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(RELIST);
    loop {
        ticks.tick().await;
        let asked = Instant::now();
        let request = v1::ListPodSandboxRequest::default();
        // The daemon may be dead; the next tick finds another.
        if let Ok(answer) = shared.client.clone().list_pod_sandbox(request).await {
            let listed = Arc::new(group(answer.into_inner().items));
            shared.memory().hear(&listed);
            shared.relisted.send_modify(|last| {
                *last = Relist {
                    number: last.number + 1,
                    asked,
                    listed,
                };
            });
        }
    }
}

/// Keeps one pod as it is wanted.
async fn worker(shared: Arc<Shared>, name: String, number: u64) {
    let mut dice = Dice::new(shared.seed, number);
    let mut relisted = shared.relisted.subscribe();
    let mut acted = Instant::now();
    loop {
        let newer = relisted.wait_for(|relist| relist.asked > acted).await;
        let Ok(listed) = newer.map(|relist| relist.listed.clone()) else {
            return;
        };
        let sandboxes = listed.get(&uid_of(&name)).cloned().unwrap_or_default();
        let wanted = shared.wanted.borrow().contains(&name);
        // An error is tried again with the next list.
        let _ = sync(&shared, &name, wanted, &sandboxes, &mut dice).await;
        acted = Instant::now();
    }
}

async fn sync(
    shared: &Shared,
    name: &str,
    wanted: bool,
    sandboxes: &[v1::PodSandbox],
    dice: &mut Dice,
) -> Result<(), Status> {
    let ready = sandboxes.iter().filter(|one| is_ready(one)).count();
    if !wanted {
        for sandbox in sandboxes.iter().filter(|one| is_ready(one)) {
            stop(shared, &sandbox.id).await?;
        }
        return Ok(());
    }
    let next = match sandboxes.first() {
        None => 0,
        Some(newest) if ready == 1 && is_ready(newest) => {
            return look(shared, &newest.id).await;
        }
        Some(newest) => attempt(newest) + 1,
    };
    for sandbox in sandboxes {
        stop(shared, &sandbox.id).await?;
    }
    let id = start(shared, name, next, dice).await?;
    look(shared, &id).await
}

async fn stop(shared: &Shared, id: &str) -> Result<(), Status> {
    shared.memory().down.insert(id.to_owned());
    let mut request = Request::new(v1::StopPodSandboxRequest {
        pod_sandbox_id: id.to_owned(),
    });
    request.set_timeout(DEADLINE);
    shared.client.clone().stop_pod_sandbox(request).await?;
    Ok(())
}

async fn start(
    shared: &Shared,
    name: &str,
    attempt: u32,
    dice: &mut Dice,
) -> Result<String, Status> {
    let request = v1::RunPodSandboxRequest {
        config: Some(cri::pod(name, attempt)),
        runtime_handler: String::new(),
    };
    // Now and then the deadline is far too short, and the call is made again.
    let bound = match dice.percent(10) {
        true => Duration::from_millis(dice.below(40)),
        false => DEADLINE,
    };
    let mut client = shared.client.clone();
    let answer = tokio::time::timeout(bound, client.run_pod_sandbox(request)).await;
    let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("too short")));
    match answer {
        Ok(ran) => {
            shared.memory().starts += 1;
            Ok(ran.into_inner().pod_sandbox_id)
        }
        Err(status) => {
            if !is_to_be_expected(&status) {
                shared.accuse(format!(
                    "RunPodSandbox of {name}, attempt {attempt}: {status:?}"
                ));
            }
            Err(status)
        }
    }
}

/// Whether a start may end so: the daemon has died, or the call was given up; or one start was
/// interrupted by so many deaths that it was undone. The next one is another.
fn is_to_be_expected(status: &Status) -> bool {
    let worn_out = status.message().contains("as often as is allowed");
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => true,
        Code::Internal => worn_out,
        _ => false,
    }
}

/// Reads the pod's address.
async fn look(shared: &Shared, id: &str) -> Result<(), Status> {
    let request = v1::PodSandboxStatusRequest {
        pod_sandbox_id: id.to_owned(),
        verbose: false,
    };
    let answer = shared.client.clone().pod_sandbox_status(request).await?;
    let status = answer.into_inner().status.unwrap_or_default();
    // One that has died meanwhile has none.
    if status.state() == v1::PodSandboxState::SandboxReady {
        let network = status.network.unwrap_or_default();
        shared.memory().hear_address(id, &network.ip);
    }
    Ok(())
}

/// Removes what is not ready and is not the newest of a pod that is wanted.
async fn collect(shared: Arc<Shared>) {
    let mut relisted = shared.relisted.subscribe();
    let mut last = 0;
    loop {
        let due = relisted.wait_for(|relist| relist.number >= last + COLLECT);
        let due = due
            .await
            .map(|relist| (relist.number, relist.listed.clone()));
        let Ok((number, listed)) = due else {
            return;
        };
        last = number;
        let wanted: BTreeSet<_> = shared
            .wanted
            .borrow()
            .iter()
            .map(|name| uid_of(name))
            .collect();
        for (uid, sandboxes) in listed.iter() {
            let kept = usize::from(wanted.contains(uid));
            let dead = sandboxes.iter().skip(kept).filter(|one| !is_ready(one));
            for sandbox in dead {
                let request = v1::RemovePodSandboxRequest {
                    pod_sandbox_id: sandbox.id.clone(),
                };
                // Collected again the next time.
                let _ = shared.client.clone().remove_pod_sandbox(request).await;
            }
        }
    }
}

/// Listens to events, and again after the daemon was gone.
async fn listen(shared: Arc<Shared>) {
    loop {
        if let Err(error) = listen_once(&shared).await {
            let text = format!("{error:#}");
            if text.contains("event") {
                shared.accuse(text);
            }
        }
        // Not before there is somebody to connect to.
        let mut relisted = shared.relisted.subscribe();
        if relisted.changed().await.is_err() {
            return;
        }
    }
}

async fn listen_once(shared: &Shared) -> Result<()> {
    let request = v1::GetEventsRequest::default();
    let mut events = shared
        .client
        .clone()
        .get_container_events(request)
        .await?
        .into_inner();
    while let Some(event) = events.message().await? {
        let status = event.pod_sandbox_status.as_ref();
        let metadata = status.and_then(|status| status.metadata.as_ref());
        match metadata {
            Some(metadata) if !metadata.uid.is_empty() => {}
            _ => bail!("an event without its pod: {event:?}"),
        }
    }
    Ok(())
}
