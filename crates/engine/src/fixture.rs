//! Pods and their records, as tests need them.

use crate::clock::Stamp;
use crate::error::{ErrorKind, StepError};
use crate::id::{BootId, InstanceId, PodId};
use crate::pod::{Pod, fold};
use crate::record::{
    AttachLateIntent, AttachLateOutput, AttachmentResult, Cause, ConfigureCniIntent,
    ConfigureCniOutput, CreateIntent, CreateOutput, Direction, Entry, Goal, Intent,
    MountNetnsIntent, MountNetnsOutput, NetnsIdentity, Observation, Outcome, Output,
    PlannedAttachment, ProcessIdentity, ReadyNetworkIntent, ReadyNetworkOutput, Record,
    StartIntent, StartNetwork, StartOutput,
};
use crate::spec::PodSpec;
use crate::step::{NetworkMode, Step};

/// One second, in nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;

pub(crate) fn pod_id(number: u8) -> PodId {
    PodId::new([number; 12], InstanceId(*b"test"))
}

pub(crate) fn boot(number: u8) -> BootId {
    BootId([number; 16])
}

/// So many seconds after a boot; the wall clock goes on with each.
pub(crate) fn at(boot_number: u8, seconds: u64) -> Stamp {
    Stamp {
        boot: boot(boot_number),
        wall_ns: u64::from(boot_number) * 1_000_000 * SECOND + seconds * SECOND,
        boottime_ns: seconds * SECOND,
    }
}

pub(crate) fn spec(network: NetworkMode) -> PodSpec {
    PodSpec {
        name: "web".to_owned(),
        namespace: "default".to_owned(),
        network,
        ..PodSpec::default()
    }
}

pub(crate) fn error(message: &str) -> StepError {
    StepError::new(ErrorKind::Failed, message)
}

pub(crate) fn namespace() -> NetnsIdentity {
    NetnsIdentity {
        boot: boot(1),
        device: 4,
        inode: 4_026_532_000,
        cookie: 7,
    }
}

pub(crate) fn planned(attachments: u32) -> Vec<PlannedAttachment> {
    planned_late(attachments, 0)
}

/// So many, of which the last `late` are attached when the sandbox runs.
pub(crate) fn planned_late(attachments: u32, late: u32) -> Vec<PlannedAttachment> {
    (0..attachments)
        .map(|number| PlannedAttachment {
            network: format!("net{number}"),
            interface: format!("eth{number}"),
            conflist: b"{}".to_vec(),
            arguments: Vec::new(),
            capability_arguments: String::new(),
            configuration_arguments: String::new(),
            late: number + late >= attachments,
        })
        .collect()
}

pub(crate) fn results(attachments: u32) -> Vec<AttachmentResult> {
    (0..attachments)
        .map(|number| AttachmentResult {
            result: format!("{{\"number\":{number}}}"),
            link_local: None,
        })
        .collect()
}

pub(crate) fn intent(step: Step, network: &NetworkMode) -> Intent {
    let own = network.has_own_namespace();
    let sandbox_key = own.then(|| "/var/run/netns/web".to_owned());
    match step {
        Step::Create => Intent::Create(Box::new(CreateIntent {
            spec: spec(network.clone()).into(),
            sandbox_key,
        })),
        Step::MountNetns => Intent::MountNetns(MountNetnsIntent {
            sandbox_key: sandbox_key.unwrap_or_default(),
        }),
        Step::ReadyNetwork => Intent::ReadyNetwork(ReadyNetworkIntent {}),
        Step::ConfigureCni => Intent::ConfigureCni(ConfigureCniIntent {}),
        Step::Start => Intent::Start(StartIntent {
            handler: String::new(),
            consumes_network: false,
            network: sandbox_key.map(|sandbox_key| StartNetwork {
                sandbox_key,
                namespace: namespace(),
            }),
        }),
        Step::AttachLate => Intent::AttachLate(AttachLateIntent {}),
    }
}

pub(crate) fn output(step: Step, attachments: u32) -> Output {
    output_late(step, attachments, 0)
}

/// What a step of a pod answers whose last `late` attachments are late.
pub(crate) fn output_late(step: Step, attachments: u32, late: u32) -> Output {
    match step {
        Step::Create => Output::Create(CreateOutput {}),
        Step::MountNetns => Output::MountNetns(MountNetnsOutput {
            namespace: namespace(),
        }),
        Step::ReadyNetwork => Output::ReadyNetwork(ReadyNetworkOutput {
            plan: planned_late(attachments, late),
        }),
        Step::ConfigureCni => Output::ConfigureCni(ConfigureCniOutput {
            results: results(attachments - late),
        }),
        Step::Start => Output::Start(StartOutput {
            process: process(100),
            shim_address: None,
        }),
        Step::AttachLate => Output::AttachLate(AttachLateOutput {
            results: results(late),
        }),
    }
}

pub(crate) fn process(pid: u32) -> ProcessIdentity {
    ProcessIdentity {
        pid,
        start_time: u64::from(pid) * 10,
    }
}

pub(crate) fn failed(step: Step, direction: Direction, attachment: Option<u32>) -> Record {
    Record::Failed {
        step,
        direction,
        attachment,
        outcome: Outcome::NotDone,
        error: error("no"),
    }
}

pub(crate) fn undone(step: Step, attachment: Option<u32>) -> Record {
    Record::Undone { step, attachment }
}

pub(crate) fn goal(goal: Goal) -> Record {
    Record::Goal {
        goal,
        cause: Cause::Request,
    }
}

/// What a pod has been through, record by record, a second apart.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) entries: Vec<Entry>,
    network: NetworkMode,
    attachments: u32,
    late: u32,
    boot: u8,
    second: u64,
    id: PodId,
}

impl Story {
    /// A pod that was asked for.
    pub(crate) fn new(network: NetworkMode, attachments: u32) -> Self {
        let story = Self {
            entries: Vec::new(),
            network: network.clone(),
            attachments: match network {
                NetworkMode::Cni => attachments,
                _ => 0,
            },
            late: 0,
            boot: 1,
            second: 100,
            id: pod_id(1),
        };
        let asked = story.then(goal(Goal::Run));
        let intent = intent(Step::Create, &network);
        asked.then(Record::Intent(intent))
    }

    /// A pod that was asked for: one network before its sandbox, and so many
    /// after.
    pub(crate) fn with_late(late: u32) -> Self {
        let story = Self::new(NetworkMode::Cni, 1 + late);
        Self { late, ..story }
    }

    fn ladder(&self) -> &'static [Step] {
        match self.late {
            0 => self.network.ladder(),
            _ => &Step::ALL,
        }
    }

    /// The same story, of another pod.
    pub(crate) fn of(mut self, id: PodId) -> Self {
        self.id = id;
        for entry in &mut self.entries {
            entry.pod = id;
        }
        self
    }

    pub(crate) fn then(mut self, record: Record) -> Self {
        self.second += 1;
        self.entries.push(Entry {
            pod: self.id,
            sequence: self.entries.len() as u64,
            stamp: at(self.boot, self.second),
            record,
        });
        self
    }

    pub(crate) fn later(mut self, seconds: u64) -> Self {
        self.second += seconds;
        self
    }

    pub(crate) fn begins(self, step: Step) -> Self {
        let intent = intent(step, &self.network);
        self.then(Record::Intent(intent))
    }

    pub(crate) fn ends(self, step: Step) -> Self {
        let output = output_late(step, self.attachments, self.late);
        self.then(Record::Done(output))
    }

    /// Up to the end of `step`; the intent to create is there already.
    pub(crate) fn up_to(self, step: Step) -> Self {
        let ladder = self.ladder().iter();
        let steps: Vec<Step> = ladder.copied().filter(|taken| *taken <= step).collect();
        steps.into_iter().fold(self, |story, taken| match taken {
            Step::Create => story.ends(taken),
            _ => story.begins(taken).ends(taken),
        })
    }

    /// All the way up.
    pub(crate) fn started(self) -> Self {
        self.up_to(Step::AttachLate)
    }

    /// All the way down to Created.
    pub(crate) fn stopped(self) -> Self {
        self.then(goal(Goal::Stop)).down()
    }

    pub(crate) fn down(self) -> Self {
        let (first, all) = (self.attachments - self.late, self.attachments);
        let story = match self.late {
            0 => self,
            _ => self.released(Step::AttachLate, first..all),
        };
        let story = story.then(undone(Step::Start, None));
        if !story.network.has_own_namespace() {
            return story;
        }
        story
            .released(Step::ConfigureCni, 0..first)
            .then(undone(Step::ReadyNetwork, None))
            .then(undone(Step::MountNetns, None))
    }

    fn released(self, step: Step, attachments: std::ops::Range<u32>) -> Self {
        let numbers = attachments.rev();
        numbers
            .fold(self, |story, number| story.then(undone(step, Some(number))))
            .then(undone(step, None))
    }

    pub(crate) fn observes(self, observation: Observation) -> Self {
        self.then(Record::Observed(observation))
    }

    pub(crate) fn pod(&self) -> Pod {
        fold(&self.entries).expect("the story makes a pod")
    }
}
