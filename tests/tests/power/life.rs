//! Pods' lives as an engine would record them, with sizes that it seldom has.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Result;
use podwalk_engine::clock::Stamp;
use podwalk_engine::id::{BootId, PodId};
use podwalk_engine::pod::{Obituary, Pod, fold};
use podwalk_engine::ports::Durability;
use podwalk_engine::record::{
    AttachmentResult, Cause, ConfigureCniIntent, ConfigureCniOutput, CreateIntent, CreateOutput,
    Entry, Goal, Intent, MountNetnsIntent, MountNetnsOutput, NetnsIdentity, Observation, Output,
    PlannedAttachment, ProcessIdentity, ReadyNetworkIntent, ReadyNetworkOutput, Record,
    StartIntent, StartOutput,
};
use podwalk_engine::spec::PodSpec;
use podwalk_engine::step::Step;
use podwalk_tests::dice::Dice;

/// One call of the journal.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    /// Records, and what they are to survive.
    Append(Vec<Entry>, Durability),
    /// A snapshot in the place of all records.
    Compact(Entry),
    /// An obituary in the place of all records.
    Bury(Box<Obituary>),
}

impl Call {
    /// What it survives once it is answered, by the journal's word.
    pub(crate) fn durability(&self) -> Durability {
        match self {
            Self::Append(_, durability) => *durability,
            Self::Compact(_) => Durability::Process,
            Self::Bury(_) => Durability::Power,
        }
    }
}

/// What is left of a life.
#[derive(Debug, Clone, Copy)]
enum Act {
    Born {
        bytes: usize,
    },
    Pin,
    Plan,
    Configure {
        bytes: usize,
    },
    Start {
        bytes: usize,
    },
    Run,
    Note {
        bytes: usize,
        durability: Durability,
    },
    Compact,
    End,
    Stop,
    Release,
    Unmount,
    Bury,
}

/// One pod from its birth to its burial.
#[derive(Debug)]
pub(crate) struct Life {
    id: PodId,
    /// As its records so far fold; none before its birth.
    pod: Option<Pod>,
    acts: VecDeque<Act>,
}

impl Life {
    /// A life with notes and compactions in its middle.
    pub(crate) fn drawn(number: u64, dice: &mut Dice) -> Self {
        let mut id = [0xa0; 16];
        // Not in the order of birth: keys of one page are of any age.
        id[..8].copy_from_slice(&dice.any().to_be_bytes());
        id[8..].copy_from_slice(&number.to_be_bytes());
        let mut acts = VecDeque::from([
            Act::Born { bytes: size(dice) },
            Act::Pin,
            Act::Plan,
            Act::Configure {
                bytes: modest(dice),
            },
            Act::Start {
                bytes: modest(dice),
            },
            Act::Run,
        ]);
        for _ in 0..dice.below(12) {
            let durability = match dice.percent(30) {
                true => Durability::Power,
                false => Durability::Process,
            };
            let bytes = size(dice);
            acts.push_back(Act::Note { bytes, durability });
            if dice.percent(15) {
                acts.push_back(Act::Compact);
            }
        }
        acts.extend([Act::End, Act::Stop, Act::Release, Act::Unmount, Act::Bury]);
        Self {
            id: PodId(id),
            pod: None,
            acts,
        }
    }

    /// The next call of its life at this moment; none when it is over.
    ///
    /// # Errors
    /// If what it records is no pod's life: the fold says what is wrong.
    pub(crate) fn go_on(&mut self, moment_ns: u64) -> Result<Option<Call>> {
        let Some(act) = self.acts.pop_front() else {
            return Ok(None);
        };
        let stamp = Stamp {
            boot: BootId([0xb0; 16]),
            wall_ns: 1_700_000_000_000_000_000 + moment_ns,
            boottime_ns: moment_ns,
        };
        match (act, self.pod.clone()) {
            (Act::Bury, Some(pod)) => return Ok(Some(Call::Bury(Obituary { pod }.into()))),
            (Act::Compact, Some(mut pod)) => {
                pod.next_sequence += 1;
                let snapshot = Record::Snapshot(Box::new(pod));
                let entry = self.record(vec![snapshot], stamp)?.remove(0);
                return Ok(Some(Call::Compact(entry)));
            }
            _ => {}
        }
        let (records, durability) = self.records(act, stamp);
        Ok(Some(Call::Append(self.record(records, stamp)?, durability)))
    }

    fn record(&mut self, records: Vec<Record>, stamp: Stamp) -> Result<Vec<Entry>> {
        let next = self.pod.as_ref().map_or(0, |pod| pod.next_sequence);
        let entries: Vec<Entry> = (next..)
            .zip(records)
            .map(|(sequence, record)| Entry {
                pod: self.id,
                sequence,
                stamp,
                record,
            })
            .collect();
        match &mut self.pod {
            Some(pod) => entries.iter().try_for_each(|entry| pod.apply(entry))?,
            None => self.pod = Some(fold(&entries)?),
        }
        Ok(entries)
    }

    fn records(&self, act: Act, stamp: Stamp) -> (Vec<Record>, Durability) {
        let goal = |goal| Record::Goal {
            goal,
            cause: Cause::Request,
        };
        // What lives on disk, and what is answered, must survive the power.
        match act {
            Act::Born { bytes } => {
                let records = vec![goal(Goal::Run), Record::Intent(self.create(bytes))];
                (records, Durability::Process)
            }
            Act::Configure { .. } | Act::Run => (self.climbed(act, stamp), Durability::Power),
            Act::Pin | Act::Plan | Act::Start { .. } => {
                (self.climbed(act, stamp), Durability::Process)
            }
            Act::Note { bytes, durability } => (vec![note(bytes)], durability),
            Act::End => (vec![goal(Goal::Remove)], Durability::Power),
            Act::Stop => (vec![undone(Step::Start)], Durability::Process),
            Act::Release => (vec![undone(Step::ConfigureCni)], Durability::Process),
            Act::Unmount => (vec![undone(Step::MountNetns)], Durability::Process),
            // These are calls of their own.
            Act::Compact | Act::Bury => (Vec::new(), Durability::Process),
        }
    }

    /// One step is done, and the next begins.
    fn climbed(&self, act: Act, stamp: Stamp) -> Vec<Record> {
        let (output, intent) = match act {
            Act::Plan => (
                Output::MountNetns(mounted(stamp)),
                Some(Intent::ReadyNetwork(ReadyNetworkIntent {})),
            ),
            Act::Configure { bytes } => (
                Output::ReadyNetwork(planned(bytes)),
                Some(Intent::ConfigureCni(ConfigureCniIntent {})),
            ),
            Act::Start { bytes } => (
                Output::ConfigureCni(configured(bytes)),
                Some(Intent::Start(StartIntent {
                    handler: "crun".to_owned(),
                    consumes_network: false,
                    network: None,
                })),
            ),
            Act::Run => (Output::Start(started(stamp)), None),
            _ => (
                Output::Create(CreateOutput {}),
                Some(Intent::MountNetns(MountNetnsIntent {
                    sandbox_key: self.key(),
                })),
            ),
        };
        let intent = intent.map(Record::Intent);
        std::iter::once(Record::Done(output))
            .chain(intent)
            .collect()
    }

    fn key(&self) -> String {
        format!("/var/run/netns/{}", self.id)
    }

    fn create(&self, bytes: usize) -> Intent {
        let spec = PodSpec {
            name: format!("pod-{}", self.id),
            namespace: "default".to_owned(),
            annotations: BTreeMap::from([("note".to_owned(), text(bytes))]),
            ..PodSpec::default()
        };
        Intent::Create(Box::new(CreateIntent {
            spec: spec.into(),
            sandbox_key: Some(self.key()),
        }))
    }
}

fn undone(step: Step) -> Record {
    Record::Undone {
        step,
        attachment: None,
    }
}

/// A record that changes nothing of the pod.
fn note(bytes: usize) -> Record {
    Record::Observed(Observation::Forgiven {
        step: Step::Start,
        attachment: None,
        reason: text(bytes),
    })
}

/// Mostly the size that records have, now and then chunks, seldom the largest
/// that the format takes.
fn size(dice: &mut Dice) -> usize {
    match dice.percent(2) {
        true => 100_000 + dice.index(280_000),
        false => modest(dice),
    }
}

/// The same without the largest: an obituary holds several of these.
fn modest(dice: &mut Dice) -> usize {
    let (least, most) = match dice.below(100) {
        0..60 => (16, 300),
        60..85 => (300, 4_000),
        _ => (4_000, 40_000),
    };
    least + dice.index(most - least)
}

/// Text that compresses badly enough and is quickly made.
fn text(bytes: usize) -> String {
    const WORDS: &str = "the network first, the sandbox then, and everything on disk before ";
    WORDS.chars().cycle().take(bytes).collect()
}

fn mounted(stamp: Stamp) -> MountNetnsOutput {
    MountNetnsOutput {
        namespace: NetnsIdentity {
            boot: stamp.boot,
            device: 4,
            inode: 4_026_532_000 + stamp.boottime_ns,
            cookie: stamp.boottime_ns,
        },
    }
}

fn planned(bytes: usize) -> ReadyNetworkOutput {
    ReadyNetworkOutput {
        plan: vec![PlannedAttachment {
            network: "podnet".to_owned(),
            interface: "eth0".to_owned(),
            conflist: text(bytes).into_bytes(),
            arguments: vec![("IgnoreUnknown".to_owned(), "1".to_owned())],
            capability_arguments: "{}".to_owned(),
            configuration_arguments: "{}".to_owned(),
            late: false,
        }],
    }
}

fn configured(bytes: usize) -> ConfigureCniOutput {
    ConfigureCniOutput {
        results: vec![AttachmentResult {
            result: text(bytes),
            link_local: None,
        }],
    }
}

fn started(stamp: Stamp) -> StartOutput {
    StartOutput {
        process: ProcessIdentity {
            pid: 4242,
            start_time: stamp.boottime_ns,
        },
        shim_address: None,
    }
}
