//! From sorted pairs of key and value to pods, obituaries and quarantine.
//!
//! This is the only reader: opening, replaying, reading one pod, and reading
//! from a copy all come through here, and nothing here writes.
//!
//! What counts of a pod begins at its last snapshot, or else at record zero.
//! What lies before that, and what lies before an obituary's number, is
//! litter: a compaction or burial that was cut between its batches.

use std::collections::HashMap;

use podwalk_engine::id::PodId;
use podwalk_engine::pod::{Obituary, fold};
use podwalk_engine::ports::Replay;
use podwalk_engine::record::{Entry, Record};

use crate::format;
use crate::graves::{Grave, Graves};
use crate::key::Key;
use crate::meta::Census;

/// One pair, as sled hands it out.
pub(crate) type Pair = (sled::IVec, sled::IVec);

/// Everything that was found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// What the journal answers.
    pub(crate) replay: Replay,
    /// Who is buried, with numbers.
    pub(crate) graves: Graves,
    /// What the bookkeeping should say.
    pub(crate) census: Census,
    /// Keys that a cut compaction or burial has left.
    pub(crate) litter: Vec<Vec<u8>>,
    /// Keys that no release wrote.
    pub(crate) unknown_keys: u64,
}

/// Reads all pairs, in the order of their keys.
///
/// # Errors
/// Those of the iterator.
pub(crate) fn scan<E>(pairs: impl Iterator<Item = Result<Pair, E>>) -> Result<Scan, E> {
    let mut reader = Reader::default();
    for pair in pairs {
        let (key, value) = pair?;
        reader.take(&key, &value);
    }
    Ok(reader.finish())
}

/// One pod's records, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PodScan {
    /// What counts, or why it does not decode.
    pub(crate) entries: Result<Vec<Entry>, String>,
    /// Sequences below this are litter.
    pub(crate) begins: u64,
}

impl PodScan {
    /// Whether the engine can go on with what counts: it decodes, folds, and
    /// there is a number for the next record. Nothing at all is no pod to be set
    /// aside.
    pub(crate) fn makes_a_pod(&self) -> bool {
        match &self.entries {
            Ok(entries) if entries.is_empty() => true,
            Ok(entries) => fold(entries).is_ok_and(|pod| pod.next_sequence < u64::MAX),
            Err(_) => false,
        }
    }
}

/// Raw records of one pod: number and bytes.
pub(crate) type RawRecords = Vec<(u64, Vec<u8>)>;

/// Decides over one pod's records. `floor` is the first number that is not
/// before the pod's obituary; zero if it has none.
pub(crate) fn judge(pod: PodId, records: &RawRecords, floor: u64) -> PodScan {
    let kept = records.partition_point(|(sequence, _)| *sequence < floor);
    let decoded: Vec<_> = records[kept..]
        .iter()
        .map(|(sequence, bytes)| (*sequence, decode(pod, *sequence, bytes)))
        .collect();
    let is_snapshot = |(_, entry): &(u64, Result<Entry, String>)| matches!(entry, Ok(entry) if matches!(entry.record, Record::Snapshot(_)));
    let start = decoded.iter().rposition(is_snapshot).unwrap_or(0);
    let counted = decoded.into_iter().skip(start);
    let entries = in_sequence(counted, floor);
    let begins = match records.get(kept + start) {
        // Of a pod that does not decode not a byte is touched.
        _ if entries.is_err() => 0,
        Some((first, _)) if start > 0 => *first,
        _ => floor,
    };
    PodScan { entries, begins }
}

/// A run of records without a gap, from zero (or the floor) or a snapshot on.
fn in_sequence(
    records: impl Iterator<Item = (u64, Result<Entry, String>)>,
    floor: u64,
) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    for (sequence, entry) in records {
        let entry = entry.map_err(|reason| format!("record {sequence}: {reason}"))?;
        let expected = match (entries.last(), &entry.record) {
            (Some(last), _) => last.sequence.checked_add(1),
            (None, Record::Snapshot(_)) => Some(sequence),
            (None, _) => Some(floor),
        };
        if expected != Some(sequence) {
            let expected = expected.map_or_else(|| "none".to_owned(), |number| number.to_string());
            return Err(format!(
                "record {sequence} stands where record {expected} should be: some are missing"
            ));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn decode(pod: PodId, sequence: u64, bytes: &[u8]) -> Result<Entry, String> {
    let entry = format::decode(bytes).map_err(|error| error.to_string())?;
    if entry.pod != pod || entry.sequence != sequence {
        return Err(format!(
            "it says that it is record {} of pod {}",
            entry.sequence, entry.pod
        ));
    }
    Ok(entry)
}

/// The state of one pass over sorted pairs.
#[derive(Default)]
struct Reader {
    scan: Scan,
    floors: HashMap<PodId, u64>,
    obituaries: Vec<(PodId, Obituary)>,
    open: Open,
}

/// What is being put together from chunks.
#[derive(Default)]
enum Open {
    #[default]
    Nothing,
    Grave {
        number: u64,
        pod: PodId,
        bytes: Vec<u8>,
    },
    Pod {
        pod: PodId,
        records: RawRecords,
        chunks: Vec<(u64, u16)>,
    },
}

impl Reader {
    fn take(&mut self, key: &[u8], value: &[u8]) {
        match Key::parse(key) {
            Some(Key::Obituary { number, pod, .. }) => self.obituary(number, pod, value),
            Some(Key::Record {
                pod,
                sequence,
                chunk,
            }) => self.record(pod, sequence, chunk, value),
            None => {
                self.scan.unknown_keys += u64::from(!crate::key::is_bookkeeping(key));
                return;
            }
        }
        self.scan.census.add(key, value);
    }

    fn obituary(&mut self, at: u64, of: PodId, value: &[u8]) {
        match &mut self.open {
            Open::Grave { number, bytes, .. } if *number == at => bytes.extend_from_slice(value),
            _ => {
                self.close();
                self.open = Open::Grave {
                    number: at,
                    pod: of,
                    bytes: value.to_vec(),
                };
            }
        }
    }

    fn record(&mut self, of: PodId, at: u64, chunk: u16, value: &[u8]) {
        if !matches!(&self.open, Open::Pod { pod, .. } if *pod == of) {
            self.close();
            self.open = Open::Pod {
                pod: of,
                records: Vec::new(),
                chunks: Vec::new(),
            };
        }
        let Open::Pod {
            records, chunks, ..
        } = &mut self.open
        else {
            return;
        };
        chunks.push((at, chunk));
        push_chunk(records, at, value);
    }

    /// Ends what was being put together.
    fn close(&mut self) {
        match std::mem::take(&mut self.open) {
            Open::Nothing => {}
            Open::Grave { number, pod, bytes } => self.close_grave(number, pod, &bytes),
            Open::Pod {
                pod,
                records,
                chunks,
            } => self.close_pod(pod, &records, &chunks),
        }
    }

    fn close_grave(&mut self, number: u64, pod: PodId, bytes: &[u8]) {
        match format::decode_obituary(bytes) {
            Ok(obituary) => {
                self.scan.graves.dig(Grave::of(number, &obituary));
                self.floors.insert(pod, obituary.pod.next_sequence);
                self.obituaries.push((pod, obituary));
            }
            Err(error) => {
                self.scan.graves.dig(Grave::unreadable(number, pod));
                let reason = format!("its obituary: {error}");
                self.scan.replay.quarantined.push((pod, reason));
            }
        }
    }

    fn close_pod(&mut self, pod: PodId, records: &RawRecords, chunks: &[(u64, u16)]) {
        let floor = self.floors.get(&pod).copied().unwrap_or(0);
        let judged = judge(pod, records, floor);
        let litter = chunks.iter().filter(|(at, _)| *at < judged.begins);
        self.scan.litter.extend(litter.map(|(sequence, chunk)| {
            Key::Record {
                pod,
                sequence: *sequence,
                chunk: *chunk,
            }
            .bytes()
        }));
        match judged.entries {
            // All of it was litter: the pod is gone.
            Ok(entries) if entries.is_empty() => {}
            Ok(entries) => {
                // It has records again after its burial: it is not gone.
                self.floors.remove(&pod);
                self.scan.replay.pods.push((pod, entries));
            }
            Err(reason) => self.scan.replay.quarantined.push((pod, reason)),
        }
    }

    fn finish(mut self) -> Scan {
        self.close();
        let floors = self.floors;
        self.scan.replay.obituaries = self
            .obituaries
            .into_iter()
            .filter(|(pod, obituary)| floors.get(pod) == Some(&obituary.pod.next_sequence))
            .map(|(_, obituary)| obituary)
            .collect();
        self.scan
    }
}

/// Adds a chunk to the record it is of; chunks come in order.
pub(crate) fn push_chunk(records: &mut RawRecords, sequence: u64, value: &[u8]) {
    match records.last_mut() {
        Some((last, bytes)) if *last == sequence => bytes.extend_from_slice(value),
        _ => records.push((sequence, value.to_vec())),
    }
}

#[cfg(test)]
mod tests;
