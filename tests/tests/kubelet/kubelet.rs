//! Kubelet's loops: relist, one worker per pod, garbage collection; and the others, which have files
//! of their own.
//!
//! As in kubelet, a worker acts on a list that was made after its last action had ended, and errors
//! are tried again with the next one. What is different is the pace: kubelet relists each second.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_cri::v1;
use podwalk_tests::cri::{self, Cri};
use podwalk_tests::dice::Dice;
use podwalk_tests::wait;
use tokio::task::JoinHandle;
use tonic::{Request, Status};

use crate::plugin::Unsteady;
use crate::pods::{attempt, group, is_ready, uid_of};
use crate::shared::{Call, DEADLINE, Relist, Shared, bounded};
use crate::{PATIENCE, events, node};

/// Kubelet's second, five times as fast.
const RELIST: Duration = Duration::from_millis(200);

/// Garbage is collected each so many relists; in kubelet each sixty.
const COLLECT: u64 = 5;

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
    pub(crate) fn begin(cri: &'a Cri, pods: usize, seed: u64, plugin: Unsteady) -> Self {
        let shared = Arc::new(Shared::new(cri, seed, plugin));
        let loops = vec![
            cri.tasks().spawn(relist(shared.clone())),
            cri.tasks().spawn(collect(shared.clone())),
            cri.tasks().spawn(events::listen(shared.clone())),
            cri.tasks().spawn(node::ask(shared.clone())),
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
        let begun = self.shared.begin();
        let status = match self.cri.verbose_status(&sandbox.id) {
            Ok(status) => status,
            Err(status) => {
                self.shared
                    .judge(begun, &Call::Status(&sandbox.id), &status);
                return Ok(());
            }
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

    /// The daemon is about to be killed.
    pub(crate) fn note_kill(&self) {
        self.shared.note_kill();
    }

    /// There is another daemon.
    pub(crate) fn note_restart(&self) {
        self.shared.note_restart();
    }

    /// What the daemon that runs has not told yet.
    pub(crate) fn unheard(&self) -> Vec<String> {
        let told = self.shared.told();
        let mut unheard = told.missing();
        if told.stream().is_none() {
            unheard.push("no event stream is open".to_owned());
        }
        drop(told);
        let daemon = self.shared.daemon();
        if !self.shared.connects().daemons.contains(&daemon) {
            unheard.push(format!("daemon {daemon} has not answered a connect"));
        }
        unheard
    }

    /// What was done and heard, in a sentence.
    pub(crate) fn summary(&self) -> String {
        let (starts, deaths, excused) = {
            let memory = self.shared.memory();
            (memory.starts, memory.deaths, memory.excused.clone())
        };
        let (daemons, ready) = {
            let connects = self.shared.connects();
            (connects.daemons.len(), connects.ready)
        };
        let told = self.shared.told();
        let (streams, messages, awaited) = (told.streams, told.messages, told.awaited);
        let failed = told.never_up.len();
        format!(
            "{starts} starts, {failed} were seen to have failed, {deaths} sandboxes died, {daemons} daemons connected to, ready {ready} \
             times, {messages} events over {streams} streams, {awaited} of them awaited, to be \
             tried again: {excused:#?}"
        )
    }

    /// Deletes every pod.
    pub(crate) fn want_nothing(&mut self) {
        self.resting.clear();
        self.shared.wanted.send_modify(BTreeSet::clear);
    }

    /// Ends all loops.
    pub(crate) fn end(self) -> Result<()> {
        self.check()?;
        let told = self.shared.told();
        ensure!(told.messages > 0 && told.awaited > 0, "{told:#?}");
        ensure!(!told.never_up.is_empty(), "no failed start was ever listed");
        drop(told);
        for task in self.loops.into_iter().chain(self.workers.into_values()) {
            task.abort();
        }
        Ok(())
    }
}

/// Asks for all sandboxes, again and again.
async fn relist(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(RELIST);
    loop {
        ticks.tick().await;
        // The daemon may be dead; the next tick finds another.
        let _ = relist_once(&shared).await;
    }
}

async fn relist_once(shared: &Shared) -> Result<(), Status> {
    let (asked, asked_at) = (Instant::now(), events::wall_clock());
    let (begun, stream) = (shared.begin(), shared.told().stream());
    let mut client = shared.client.clone();
    let request = v1::ListPodSandboxRequest::default();
    let list = shared.call(
        Call::Plain("ListPodSandbox"),
        client.list_pod_sandbox(bounded(request)),
    );
    let listed = Arc::new(group(list.await?.items));
    shared.note_answer(begun);
    let has_failed = |id: &str| shared.plugin.has_failed(id);
    shared.memory().hear(&listed, has_failed);
    let stopped = shared.memory().stopped.clone();
    shared.told().compare(stream, asked_at, &listed, &stopped);
    let request = v1::ListContainersRequest::default();
    let list = shared.call(
        Call::Plain("ListContainers"),
        client.list_containers(bounded(request)),
    );
    let containers = list.await?.containers;
    if !containers.is_empty() {
        shared.accuse(format!("containers that nobody has made: {containers:?}"));
    }
    shared.relisted.send_modify(|last| {
        *last = Relist {
            number: last.number + 1,
            asked,
            listed,
            daemon: begun.daemon,
        };
    });
    Ok(())
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
        // An error is judged already, and tried again with the next list.
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
    let request = bounded(v1::StopPodSandboxRequest {
        pod_sandbox_id: id.to_owned(),
    });
    let mut client = shared.client.clone();
    let stop = client.stop_pod_sandbox(request);
    shared.call(Call::Stop(id), stop).await?;
    shared.memory().stopped.insert(id.to_owned());
    Ok(())
}

async fn start(
    shared: &Shared,
    name: &str,
    attempt: u32,
    dice: &mut Dice,
) -> Result<String, Status> {
    let mut request = Request::new(v1::RunPodSandboxRequest {
        config: Some(cri::pod(name, attempt)),
        runtime_handler: String::new(),
    });
    request.set_timeout(2 * DEADLINE);
    let mut client = shared.client.clone();
    let run = shared.call(Call::Run(name, attempt), client.run_pod_sandbox(request));
    // Now and then the caller gives up far too early, and calls again.
    let ran = match dice.percent(10) {
        true => tokio::time::timeout(Duration::from_millis(dice.below(40)), run)
            .await
            .unwrap_or_else(|_| Err(Status::cancelled("given up")))?,
        false => run.await?,
    };
    shared.memory().starts += 1;
    Ok(ran.pod_sandbox_id)
}

/// Reads the pod's address.
async fn look(shared: &Shared, id: &str) -> Result<(), Status> {
    let request = v1::PodSandboxStatusRequest {
        pod_sandbox_id: id.to_owned(),
        verbose: false,
    };
    let mut client = shared.client.clone();
    let status = shared.call(
        Call::Status(id),
        client.pod_sandbox_status(bounded(request)),
    );
    let status = status.await?.status.unwrap_or_default();
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
                // Collected again the next time.
                let _ = remove(&shared, &sandbox.id).await;
            }
        }
    }
}

async fn remove(shared: &Shared, id: &str) -> Result<(), Status> {
    shared.memory().removed.insert(id.to_owned());
    let request = v1::RemovePodSandboxRequest {
        pod_sandbox_id: id.to_owned(),
    };
    let mut client = shared.client.clone();
    let remove = client.remove_pod_sandbox(bounded(request));
    shared.call(Call::Remove(id), remove).await?;
    Ok(())
}
