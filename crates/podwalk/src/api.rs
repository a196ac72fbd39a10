//! What goes over the socket, both ways: JSON, documented, stable.
//!
//! | method | path | does |
//! |---|---|---|
//! | POST | `/v1/pods` | starts a pod: [`RunRequest`] → [`RunAnswer`] |
//! | GET | `/v1/pods?all=true` | lists: array of [`PodSummary`] |
//! | GET | `/v1/pods/{pod}` | inspects: [`PodDetail`] |
//! | POST | `/v1/pods/{pod}/stop` | stops |
//! | DELETE | `/v1/pods/{pod}?force=true` | removes; without force only a stopped pod |
//! | GET | `/v1/pods/{pod}/journal` | its records: array of [`JournalLine`] |
//! | GET | `/v1/debts` | the ledger: array of [`DebtLine`] |
//! | POST | `/v1/pods/{pod}/debts/pay` | tries at once to undo what is owed: [`PayAnswer`] |
//! | POST | `/v1/pods/{pod}/debts/forgive` | writes it off: [`ReasonRequest`] → [`ForgiveAnswer`] |
//! | GET | `/v1/quarantine` | pods that do not decode: array of [`QuarantineSummary`] |
//! | GET | `/v1/quarantine/{pod}` | one of them with its bytes: [`QuarantineDetail`] |
//! | DELETE | `/v1/quarantine/{pod}` | drops it: [`ReasonRequest`] → [`DropAnswer`] |
//! | GET | `/v1/orphans` | what is this daemon's on the host and no pod's: array of [`Orphan`] |
//! | DELETE | `/v1/orphans` | removes those in which nobody lives: array of [`Orphan`] |
//! | GET | `/v1/events?since=CURSOR` | one [`EventLine`] per line, without end |
//! | GET | `/v1/plan` | what recovery would do: [`PlanAnswer`] |
//! | GET | `/v1/version` | [`VersionAnswer`] |
//!
//! `{pod}` is an id, a unique prefix of one, or a name; of a pod in quarantine a
//! name as far as it can be read. An error is an
//! [`ErrorAnswer`] with a status that fits.

use std::collections::BTreeMap;

use podwalk_cri::config::PodSandboxConfig;
use podwalk_engine::clock::Stamp;
use podwalk_engine::engine::PodView;
use podwalk_engine::pod::{Debt, Pod, Status};
use podwalk_engine::record::{Entry, Goal};
use podwalk_engine::recovery::{RecoveryPlan, Verdict};
use podwalk_engine::step::Step;
use serde::{Deserialize, Serialize};

use crate::handlers::recorded_handler;
use crate::settings::NetworkSettings;

mod debts;
mod quarantine;

pub use debts::{DebtLine, ForgiveAnswer, PayAnswer, ReasonRequest};
pub use quarantine::{
    DropAnswer, Dropped, EnvelopeLine, Leftover, QuarantineDetail, QuarantineLine,
    QuarantineSummary, RawLine,
};

/// A request to start a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RunRequest {
    /// What to start.
    pub config: PodSandboxConfig,
    /// `cni`, `host`, `none` or `pod:ID`; overrides the configuration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The runtime handler; empty for the default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub runtime_handler: String,
}

/// The pod that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunAnswer {
    /// Its id.
    pub id: String,
    /// It ran already, or was on its way.
    pub joined: bool,
}

/// A pod in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// The highest state that holds.
    pub state: String,
    /// Started, alive and wanted.
    pub ready: bool,
    /// `Run`, `Stop` or `Remove`.
    pub goal: String,
    /// `cni`, `host`, `none` or `pod:ID`.
    pub network_mode: String,
    /// Its first address; empty if it has none.
    pub ip: String,
    /// The runtime handler that started it, or that it asks for; empty for the default.
    pub runtime_handler: String,
    /// Nanoseconds since the Unix epoch.
    pub created_at: u64,
    /// How many undos are owed: those that have failed, and the DELs that a
    /// reboot has left.
    pub owed: usize,
}

/// All of a pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodDetail {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// Which attempt.
    pub attempt: u32,
    /// The highest state that holds.
    pub state: String,
    /// `Run`, `Stop` or `Remove`.
    pub goal: String,
    /// Started, alive and wanted.
    pub ready: bool,
    /// `cni`, `host`, `none` or `pod:ID`.
    pub network_mode: String,
    /// The runtime handler that started it, or that it asks for; empty for the default.
    pub runtime_handler: String,
    /// Its network.
    pub network_settings: NetworkSettings,
    /// Its sandbox, once it was started.
    pub sandbox: Option<SandboxDetail>,
    /// Every step of its walk.
    pub steps: Vec<StepDetail>,
    /// What is owed.
    pub owed: Vec<DebtDetail>,
    /// The client's labels.
    pub labels: BTreeMap<String, String>,
    /// The client's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SandboxDetail {
    /// Its process.
    pub pid: u32,
    /// Nanoseconds since the Unix epoch.
    pub started_at: u64,
    /// Its process was found gone.
    pub exited: bool,
    /// Its exit code, where the kernel gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

/// A step of a walk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepDetail {
    /// Its name.
    pub step: String,
    /// `Never`, `Maybe` or `Done`.
    pub status: String,
    /// Since when, nanoseconds since the Unix epoch; 0 before it began.
    pub since: u64,
    /// How long it took, where it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An undo that is owed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DebtDetail {
    /// The step.
    pub step: String,
    /// The network, where it is one attachment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// What the last try met.
    pub last_error: String,
}

/// One record of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalLine {
    /// Its number within the pod.
    pub sequence: u64,
    /// Nanoseconds since the Unix epoch.
    pub at: u64,
    /// The boot.
    pub boot: String,
    /// What it says.
    pub record: serde_json::Value,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// Where to go on from.
    pub cursor: String,
    /// Nanoseconds since the Unix epoch.
    pub at: u64,
    /// What happened; `gap` when older events are not known any more.
    pub event: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The pod as it was then.
    pub pod: Option<PodSummary>,
}

/// What recovery would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanAnswer {
    /// Pod by pod.
    pub pods: Vec<PodPlanLine>,
    /// Pods that do not decode.
    pub quarantined: Vec<QuarantineLine>,
}

/// A namespace file that is this daemon's and no pod's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Orphan {
    /// The id of the pod that it was made for.
    pub id: String,
    /// The file.
    pub path: String,
    /// Processes that live in the namespace, or carry the id in their cgroup or environment: it is
    /// kept.
    pub processes: Vec<u32>,
    /// It was removed just now.
    pub removed: bool,
    /// Why it could not be; empty if it was not tried, or worked.
    pub error: String,
}

/// What would be done with one pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodPlanLine {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: String,
    /// `Run`, `Stop` or `Remove`.
    pub goal: String,
    /// In one word: `adopt`, `resume`, `undo`, `descend` or `rest`.
    pub verdict: String,
    /// Decision by decision, if all goes well.
    pub steps: Vec<String>,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionAnswer {
    /// The daemon's version.
    pub version: String,
    /// The state directory's own name.
    pub instance: String,
}

/// Why a request was not granted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// What a client can do about it.
    pub kind: String,
    /// What happened.
    pub message: String,
}

fn goal(goal: Goal) -> String {
    format!("{goal:?}")
}

impl PodSummary {
    /// Of a pod as clients see it.
    pub fn of(view: &PodView, settings: &NetworkSettings) -> Self {
        let pod = &view.pod;
        let ip = match settings.ip_address.is_empty() {
            true => &settings.global_ipv6_address,
            false => &settings.ip_address,
        };
        Self {
            id: pod.id.to_string(),
            name: pod.spec.name.clone(),
            namespace: pod.spec.namespace.clone(),
            state: pod.state().to_string(),
            ready: view.ready,
            goal: goal(pod.goal),
            network_mode: pod.spec.network.to_string(),
            ip: ip.clone(),
            runtime_handler: recorded_handler(pod).to_owned(),
            created_at: pod.created.wall_ns,
            owed: pod.count_owed(),
        }
    }
}

impl PodDetail {
    /// Of a pod as clients see it.
    pub fn of(view: &PodView, network_settings: NetworkSettings) -> Self {
        let pod = &view.pod;
        let spec = &pod.spec;
        Self {
            id: pod.id.to_string(),
            name: spec.name.clone(),
            namespace: spec.namespace.clone(),
            uid: spec.uid.clone(),
            attempt: spec.attempt,
            state: pod.state().to_string(),
            goal: goal(pod.goal),
            ready: view.ready,
            network_mode: spec.network.to_string(),
            runtime_handler: recorded_handler(pod).to_owned(),
            network_settings,
            sandbox: sandbox(pod),
            steps: steps(pod),
            owed: pod.debts.iter().map(|debt| owed(pod, debt)).collect(),
            labels: spec.labels.clone(),
            annotations: spec.annotations.clone(),
        }
    }
}

fn sandbox(pod: &Pod) -> Option<SandboxDetail> {
    let sandbox = pod.sandbox.as_ref()?;
    let since = pod.slot(Step::Start).since;
    Some(SandboxDetail {
        pid: sandbox.process.pid,
        started_at: since.map_or(0, |stamp| stamp.wall_ns),
        exited: pod.exited.is_some(),
        exit_code: pod.exited.and_then(|exit| exit.code),
    })
}

fn steps(pod: &Pod) -> Vec<StepDetail> {
    let ladder = pod.ladder().iter();
    let detail = |step: &Step| {
        let slot = pod.slot(*step);
        StepDetail {
            step: step.to_string(),
            status: status(slot.status),
            since: slot.since.map_or(0, |stamp: Stamp| stamp.wall_ns),
            took_ms: slot.took_ns.map(|took| took as f64 / 1e6),
            error: slot.failure.as_ref().map(ToString::to_string),
        }
    };
    ladder.map(detail).collect()
}

fn status(status: Status) -> String {
    format!("{status:?}")
}

fn owed(pod: &Pod, debt: &Debt) -> DebtDetail {
    let network = |index: u32| {
        let planned = pod.plan.get(index as usize);
        planned.map_or(index.to_string(), |planned| planned.network.clone())
    };
    DebtDetail {
        step: debt.step.to_string(),
        attachment: debt.attachment.map(network),
        attempts: debt.attempts,
        last_error: debt.error.to_string(),
    }
}

impl JournalLine {
    /// Of a record.
    pub fn of(entry: &Entry) -> Self {
        Self {
            sequence: entry.sequence,
            at: entry.stamp.wall_ns,
            boot: entry.stamp.boot.to_string(),
            record: serde_json::to_value(&entry.record).unwrap_or_default(),
        }
    }
}

impl PlanAnswer {
    /// Of a plan.
    pub fn of(plan: &RecoveryPlan) -> Self {
        let pods = plan.pods.iter().map(|planned| PodPlanLine {
            id: planned.pod.id.to_string(),
            name: planned.pod.spec.name.clone(),
            state: planned.pod.state().to_string(),
            goal: goal(planned.pod.goal),
            verdict: verdict(planned.verdict).to_owned(),
            steps: planned.steps.iter().map(ToString::to_string).collect(),
        });
        let quarantined = plan.quarantined.iter().map(|(id, reason)| QuarantineLine {
            id: id.to_string(),
            reason: reason.clone(),
        });
        Self {
            pods: pods.collect(),
            quarantined: quarantined.collect(),
        }
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Adopt => "adopt",
        Verdict::Resume => "resume",
        Verdict::Undo => "undo",
        Verdict::Descend => "descend",
        Verdict::Rest => "rest",
    }
}
