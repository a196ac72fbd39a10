//! What a journal must hold, in memory: all that was written, and what each
//! pod's next record could be.

use std::sync::Arc;

use std::collections::BTreeMap;

use podwalk_engine::error::{ErrorKind, StepError};
use podwalk_engine::id::{BootId, PodId};
use podwalk_engine::pod::{Obituary, Pod, fold};
use podwalk_engine::record::{
    AttachLateIntent, AttachLateOutput, AttachmentResult, Cause, ConfigureCniIntent,
    ConfigureCniOutput, CreateIntent, CreateOutput, Direction, Entry, Goal, Intent,
    MountNetnsIntent, MountNetnsOutput, NetnsIdentity, Observation, Outcome, Output,
    PlannedAttachment, ProcessIdentity, ReadyNetworkIntent, ReadyNetworkOutput, Record,
    StartIntent, StartOutput,
};
use podwalk_engine::step::Step;

use super::walk::entry;
use crate::sim::pod_spec;

/// One thing that was written.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Append(Vec<Entry>),
    Compact(Entry),
    Bury(Box<Obituary>),
}

/// A living pod.
#[derive(Debug, Clone)]
pub(super) struct Living {
    /// Its records, a snapshot in the place of those before it.
    pub(super) entries: Vec<Entry>,
    /// The fold of all that it ever had.
    pub(super) pod: Pod,
}

/// What a journal must hold after some operations.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) pods: BTreeMap<PodId, Living>,
    /// Oldest first.
    pub(super) obituaries: Vec<Obituary>,
}

impl Model {
    pub(super) fn of(operations: &[Operation]) -> Self {
        let mut model = Self::default();
        for operation in operations {
            model.take(operation);
        }
        model
    }

    pub(super) fn take(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(batch) => batch
                .chunk_by(|one, next| one.pod == next.pod)
                .for_each(|of_pod| self.append(of_pod)),
            Operation::Compact(snapshot) => {
                let pod = folded(None, std::slice::from_ref(snapshot));
                if let (Some(living), Some(pod)) = (self.pods.get_mut(&snapshot.pod), pod) {
                    living.entries = vec![snapshot.clone()];
                    living.pod.next_sequence = pod.next_sequence;
                }
            }
            Operation::Bury(obituary) => {
                let id = obituary.pod.id;
                self.pods.remove(&id);
                self.obituaries.retain(|other| other.pod.id != id);
                self.obituaries.push((**obituary).clone());
            }
        }
    }

    /// One pod's part of a batch; the first ones make the pod.
    fn append(&mut self, entries: &[Entry]) {
        let Some(id) = entries.first().map(|entry| entry.pod) else {
            return;
        };
        let before = self.pods.remove(&id);
        let pod = folded(before.as_ref().map(|living| &living.pod), entries);
        let mut all = before.map(|living| living.entries).unwrap_or_default();
        all.extend_from_slice(entries);
        if let Some(pod) = pod {
            self.pods.insert(id, Living { entries: all, pod });
        }
    }

    /// The obituaries of those who are gone.
    pub(super) fn gone(&self) -> Vec<&Obituary> {
        let is_gone = |obituary: &&Obituary| !self.pods.contains_key(&obituary.pod.id);
        self.obituaries.iter().filter(is_gone).collect()
    }

    /// What could be appended for this pod next.
    pub(super) fn next(&self, id: PodId, records: u8, choice: u8) -> Vec<Entry> {
        let Some(living) = self.pods.get(&id) else {
            return self.first(id);
        };
        let mut pod = living.pod.clone();
        let mut entries = Vec::new();
        for number in 0..records.max(1) {
            let next = next_record(&pod, choice.wrapping_add(number));
            let next = entry(id, pod.next_sequence, next);
            if pod.apply(&next).is_ok() {
                entries.push(next);
            }
        }
        entries
    }

    /// A pod begins with two records; one that comes back, with a snapshot.
    fn first(&self, id: PodId) -> Vec<Entry> {
        let buried = self.obituaries.iter().find(|other| other.pod.id == id);
        if let Some(obituary) = buried {
            return vec![snapshot_of(&obituary.pod)];
        }
        let intent = CreateIntent {
            spec: Arc::new(pod_spec("web")),
            sandbox_key: Some(format!("/run/netns/{id}")),
        };
        vec![
            entry(id, 0, goal(Goal::Run)),
            entry(id, 1, Record::Intent(Intent::Create(Box::new(intent)))),
        ]
    }

    /// A snapshot of the pod as it is now.
    pub(super) fn snapshot(&self, id: PodId) -> Option<Entry> {
        self.pods.get(&id).map(|living| snapshot_of(&living.pod))
    }

    /// The obituary of the pod as it is now.
    pub(super) fn obituary(&self, id: PodId) -> Option<Obituary> {
        self.pods.get(&id).map(|living| Obituary {
            pod: living.pod.clone(),
        })
    }
}

fn folded(before: Option<&Pod>, entries: &[Entry]) -> Option<Pod> {
    let Some(before) = before else {
        return fold(entries).ok();
    };
    let mut pod = before.clone();
    entries
        .iter()
        .try_for_each(|entry| pod.apply(entry))
        .ok()
        .map(|()| pod)
}

fn snapshot_of(pod: &Pod) -> Entry {
    let mut folded = pod.clone();
    folded.next_sequence += 1;
    let mut snapshot = entry(
        pod.id,
        pod.next_sequence,
        Record::Snapshot(Box::new(folded)),
    );
    snapshot.stamp = pod.last;
    snapshot
}

/// The first record from `choice` on that can follow.
fn next_record(pod: &Pod, choice: u8) -> Record {
    let candidates = candidates(pod);
    let from = usize::from(choice) % candidates.len();
    let mut in_turn = candidates[from..].iter().chain(&candidates[..from]);
    let follows = |record: &&Record| {
        let entry = entry(pod.id, pod.next_sequence, (*record).clone());
        pod.clone().apply(&entry).is_ok()
    };
    let found = in_turn.find(follows).cloned();
    // A note can always follow.
    found.unwrap_or_else(|| note(0))
}

fn candidates(pod: &Pod) -> Vec<Record> {
    let mut records = vec![note(10), note(2_000), goal(Goal::Stop), goal(Goal::Remove)];
    for step in Step::ALL {
        records.extend(output(step, pod).map(Record::Done));
        records.extend(intent(step).map(Record::Intent));
        for direction in [Direction::Up, Direction::Down] {
            records.push(Record::Failed {
                step,
                direction,
                attachment: match step {
                    Step::ConfigureCni => Some(0),
                    Step::AttachLate => Some(1),
                    _ => None,
                },
                outcome: Outcome::Unknown,
                error: StepError::new(ErrorKind::Failed, "no").remedy("try again"),
            });
        }
        records.push(Record::Undone {
            step,
            attachment: None,
        });
    }
    records.push(Record::Observed(Observation::Restart));
    records.push(Record::Observed(Observation::Exited { code: Some(1) }));
    records
}

fn goal(goal: Goal) -> Record {
    Record::Goal {
        goal,
        cause: Cause::Request,
    }
}

/// A record of about so many bytes that changes nothing.
pub(super) fn note(bytes: usize) -> Record {
    Record::Observed(Observation::Forgiven {
        step: Step::Start,
        attachment: None,
        reason: "n".repeat(bytes),
    })
}

fn intent(step: Step) -> Option<Intent> {
    match step {
        Step::MountNetns => Some(Intent::MountNetns(MountNetnsIntent {
            sandbox_key: "/run/netns/pod".to_owned(),
        })),
        Step::ReadyNetwork => Some(Intent::ReadyNetwork(ReadyNetworkIntent {})),
        Step::ConfigureCni => Some(Intent::ConfigureCni(ConfigureCniIntent {})),
        Step::Start => Some(Intent::Start(StartIntent {
            handler: "crun".to_owned(),
            consumes_network: false,
            network: None,
        })),
        Step::AttachLate => Some(Intent::AttachLate(AttachLateIntent {})),
        Step::Create => None,
    }
}

fn output(step: Step, pod: &Pod) -> Option<Output> {
    match step {
        Step::Create => Some(Output::Create(CreateOutput {})),
        Step::MountNetns => Some(Output::MountNetns(MountNetnsOutput {
            namespace: NetnsIdentity {
                boot: BootId([1; 16]),
                device: 4,
                inode: 4_026_532_000,
                cookie: pod.next_sequence,
            },
        })),
        Step::ReadyNetwork => Some(Output::ReadyNetwork(ReadyNetworkOutput {
            plan: vec![planned(false), planned(true)],
        })),
        Step::ConfigureCni => Some(Output::ConfigureCni(ConfigureCniOutput {
            results: results(pod, step),
        })),
        Step::Start => Some(Output::Start(StartOutput {
            process: ProcessIdentity {
                pid: 1000,
                start_time: pod.next_sequence,
            },
            shim_address: None,
        })),
        Step::AttachLate => Some(Output::AttachLate(AttachLateOutput {
            results: results(pod, step),
        })),
    }
}

fn results(pod: &Pod, step: Step) -> Vec<AttachmentResult> {
    let planned = pod.plan.iter().filter(|planned| planned.step() == step);
    planned.map(|_| result()).collect()
}

fn planned(late: bool) -> PlannedAttachment {
    PlannedAttachment {
        network: "net".to_owned(),
        interface: "eth0".to_owned(),
        conflist: b"{\"name\":\"net\"}".to_vec(),
        arguments: vec![("K".to_owned(), "v".to_owned())],
        capability_arguments: "{}".to_owned(),
        configuration_arguments: "{}".to_owned(),
        late,
    }
}

fn result() -> AttachmentResult {
    AttachmentResult {
        result: "{\"ips\":[]}".to_owned(),
        link_local: Some(("fe80::1".to_owned(), 64)),
    }
}
