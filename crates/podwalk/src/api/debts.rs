//! What is said of debts.

use podwalk_engine::clock::Stamp;
use podwalk_engine::pod::{Debt, Owed, Pod};
use serde::{Deserialize, Serialize};

/// One undo that is owed, with all that the ledger knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DebtLine {
    /// The pod's id.
    pub pod: String,
    /// The pod's name.
    pub name: String,
    /// The pod's Kubernetes namespace.
    pub namespace: String,
    /// The step whose undo is owed.
    pub step: String,
    /// The network, where it is one attachment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<String>,
    /// That attachment's interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it failed first, nanoseconds since the Unix epoch.
    pub since: u64,
    /// When it failed last, nanoseconds since the Unix epoch.
    pub last_try: u64,
    /// When it is tried next by itself, nanoseconds since the Unix epoch; now,
    /// if it is due or on its way.
    pub next_try: u64,
    /// `Stop` or `Remove`, if that was answered with success although this is
    /// owed. A removed pod is in no other list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlived: Option<String>,
    /// Whether it may be forgiven: what a living sandbox owes may not.
    pub forgivable: bool,
    /// What the last try met.
    pub last_error: String,
}

/// Why somebody decides so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReasonRequest {
    /// In words for those who ask later; one line, and not empty.
    pub reason: String,
}

/// A pod that owes nothing any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PayAnswer {
    /// Its id.
    pub id: String,
}

/// What was written off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForgiveAnswer {
    /// The pod's id.
    pub id: String,
    /// What is not owed any more.
    pub forgiven: Vec<String>,
    /// What is owed all the same: what lay under the debts, and could not be
    /// undone.
    pub owed: Vec<String>,
}

impl DebtLine {
    /// All that a pod owes, as it is at this moment.
    pub fn of(pod: &Pod, now: &Stamp) -> Vec<Self> {
        let line = |debt: &Debt| line(pod, debt, now);
        pod.debts.iter().map(line).collect()
    }
}

fn line(pod: &Pod, debt: &Debt, now: &Stamp) -> DebtLine {
    let planned = debt
        .attachment
        .and_then(|number| pod.plan.get(number as usize));
    let wait = pod.pause(debt.step, now).unwrap_or_default();
    let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
    DebtLine {
        pod: pod.id.to_string(),
        name: pod.spec.name.clone(),
        namespace: pod.spec.namespace.clone(),
        step: debt.step.to_string(),
        attachment: planned.map(|planned| planned.network.clone()),
        interface: planned.map(|planned| planned.interface.clone()),
        attempts: debt.attempts,
        since: debt.first.wall_ns,
        last_try: debt.last.wall_ns,
        next_try: now.wall_ns.saturating_add(wait),
        outlived: pod.outlived.map(super::goal),
        forgivable: pod.is_forgivable(debt.step),
        last_error: debt.error.to_string(),
    }
}

impl ForgiveAnswer {
    /// Of what was forgiven, and of what is owed still.
    pub fn of(id: String, forgiven: &[Owed], owed: &[Owed]) -> Self {
        let told = |owed: &Owed| format!("{owed}: {}", owed.debt.error);
        Self {
            id,
            forgiven: forgiven.iter().map(ToString::to_string).collect(),
            owed: owed.iter().map(told).collect(),
        }
    }
}
