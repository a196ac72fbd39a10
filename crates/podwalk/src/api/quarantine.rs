//! What is said of pods that do not decode.

use podwalk_engine::record::{Intent, Record};
use podwalk_store::{RawRecord, format};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A pod that does not decode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuarantineLine {
    /// Its id.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A pod that does not decode, in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuarantineSummary {
    /// Its id.
    pub id: String,
    /// Its name, where that can be read; empty if not.
    pub name: String,
    /// How many records are kept of it.
    pub records: usize,
    /// Their size.
    pub bytes: usize,
    /// When the last of those that can be read was written, nanoseconds since
    /// the Unix epoch; 0 if none can.
    pub last_record: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// A pod that does not decode, with its bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuarantineDetail {
    /// Its id.
    pub id: String,
    /// Its name, where that can be read; empty if not.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
    /// All that the journal has of it, in order.
    pub records: Vec<RawLine>,
}

/// One record as it lies in the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RawLine {
    /// Its number within the pod, by its place; none for an obituary.
    pub sequence: Option<u64>,
    /// How many bytes there are.
    pub bytes: usize,
    /// What its envelope says, if there are bytes enough for one.
    pub envelope: Option<EnvelopeLine>,
    /// Why it does not decode; none if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it says, if it decodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Value>,
    /// The bytes, two digits each.
    pub hex: String,
}

/// What an envelope says. Of a record that does not decode it may be damaged
/// itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvelopeLine {
    /// The version of the record's format.
    pub version: u16,
    /// The pod.
    pub pod: String,
    /// The record's number within the pod; of an obituary, that of the pod's
    /// next record.
    pub sequence: u64,
    /// When it was written, nanoseconds since the Unix epoch.
    pub at: u64,
    /// The boot.
    pub boot: String,
}

/// A pod that was dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DropAnswer {
    /// Its id.
    pub id: String,
    /// The file that keeps its bytes: a [`QuarantineDetail`] with the reason
    /// of the drop and its time.
    pub kept_in: String,
    /// What may be left of it on the host, that nobody owns now.
    pub may_be_left: Vec<Leftover>,
}

/// What may be left of a pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leftover {
    /// What.
    pub what: String,
    /// A command that shows it.
    pub look: String,
}

/// What is kept of a pod that was dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dropped {
    /// The operator's words.
    pub drop_reason: String,
    /// When, nanoseconds since the Unix epoch.
    pub dropped_at: u64,
    /// The pod.
    #[serde(flatten)]
    pub pod: QuarantineDetail,
}

impl QuarantineDetail {
    /// Of a pod's raw records.
    pub fn of(id: String, reason: String, raw: &[RawRecord]) -> Self {
        let name = raw.iter().find_map(name_in);
        Self {
            id,
            name: name.unwrap_or_default(),
            reason,
            records: raw.iter().map(RawLine::of).collect(),
        }
    }

    /// The same, in a list.
    pub fn summary(&self) -> QuarantineSummary {
        let readable = self.records.iter().filter(|line| line.error.is_none());
        let written = readable.filter_map(|line| Some(line.envelope.as_ref()?.at));
        QuarantineSummary {
            id: self.id.clone(),
            name: self.name.clone(),
            records: self.records.len(),
            bytes: self.records.iter().map(|line| line.bytes).sum(),
            last_record: written.max().unwrap_or_default(),
            reason: self.reason.clone(),
        }
    }

    /// Whether `text` is its id, begins it, or is its name.
    pub fn is_meant_by(&self, text: &str) -> bool {
        !text.is_empty() && (self.id.starts_with(text) || self.name == text)
    }
}

/// The pod's name, if this record has it and can be read.
fn name_in(raw: &RawRecord) -> Option<String> {
    match raw.sequence {
        None => format::decode_obituary(&raw.bytes)
            .ok()
            .map(|obituary| obituary.pod.spec.name.clone()),
        Some(_) => match format::decode(&raw.bytes).ok()?.record {
            Record::Intent(Intent::Create(intent)) => Some(intent.spec.name.clone()),
            Record::Snapshot(pod) => Some(pod.spec.name.clone()),
            _ => None,
        },
    }
}

impl RawLine {
    fn of(raw: &RawRecord) -> Self {
        let decoded = match raw.sequence {
            None => format::decode_obituary(&raw.bytes).map(|it| serde_json::to_value(&it.pod)),
            Some(_) => format::decode(&raw.bytes).map(|it| serde_json::to_value(&it.record)),
        };
        let (error, record) = match decoded {
            Ok(record) => (None, record.ok()),
            Err(error) => (Some(error.to_string()), None),
        };
        let envelope = format::claimed(&raw.bytes).map(|envelope| EnvelopeLine {
            version: envelope.version,
            pod: envelope.pod.to_string(),
            sequence: envelope.sequence,
            at: envelope.stamp.wall_ns,
            boot: envelope.stamp.boot.to_string(),
        });
        Self {
            sequence: raw.sequence,
            bytes: raw.bytes.len(),
            envelope,
            error,
            record,
            hex: hex(&raw.bytes),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // A string takes all that is written to it.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests;
