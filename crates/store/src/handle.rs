//! The open store as its readers see it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use podwalk_engine::id::PodId;
use podwalk_engine::ports::{JournalError, Replay};
use podwalk_engine::record::Entry;

use crate::failure::{SledFailure, guarded};
use crate::graves::Graves;
use crate::key::{self, Key};
use crate::scan::{self, Pair, RawRecords};
use crate::space;

/// A batch that was refused for want of space, and may be in the file all the
/// same. Until the store is reopened it is hidden from readers; then it is
/// looked for and taken back.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// The keys it wrote.
    pub(crate) wrote: HashSet<Vec<u8>>,
    /// The pairs it removed.
    pub(crate) removed: Vec<Pair>,
}

/// sled's handle, behind one lock: whoever reads sees whole batches only.
#[derive(Debug)]
pub(crate) struct Handle {
    /// None only while it is being reopened, or after that has failed.
    pub(crate) db: Option<sled::Db>,
    /// What a full disk has left in doubt.
    pub(crate) refused: Option<Refused>,
}

/// One record that does not decode, as it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Which of the pod's records; none for its obituary.
    pub sequence: Option<u64>,
    /// Its bytes, envelope included, chunks joined.
    pub bytes: Vec<u8>,
}

impl Handle {
    /// A handle without doubts.
    pub(crate) fn new(db: sled::Db) -> Self {
        Self {
            db: Some(db),
            refused: None,
        }
    }

    /// Reads everything.
    pub(crate) fn replay(&self) -> Result<Replay, JournalError> {
        let scan = self.reading(|db| match &self.refused {
            None => scan::scan(db.iter()),
            Some(_) => scan::scan(self.pairs(db, &[])?.into_iter().map(Ok)),
        })?;
        Ok(scan.replay)
    }

    /// Reads one pod.
    pub(crate) fn read(&self, pod: PodId, graves: &Graves) -> Result<Vec<Entry>, JournalError> {
        let records = self.records(pod)?;
        let judged = scan::judge(pod, &records, graves.floor(pod));
        judged.entries.map_err(|reason| JournalError::Unreadable {
            detail: format!("pod {pod} is in quarantine: {reason}"),
        })
    }

    /// The bytes of a pod that does not decode or fold; empty for all others.
    pub(crate) fn quarantined(
        &self,
        pod: PodId,
        graves: &Graves,
    ) -> Result<Vec<RawRecord>, JournalError> {
        let records = self.records(pod)?;
        let mut raw = Vec::new();
        for grave in graves.of(pod).filter(|grave| grave.unreadable) {
            let pairs = self.reading(|db| self.pairs(db, &key::grave(grave.number, pod)))?;
            let bytes = pairs.iter().flat_map(|(_, value)| value.to_vec()).collect();
            raw.push(RawRecord {
                sequence: None,
                bytes,
            });
        }
        if !scan::judge(pod, &records, graves.floor(pod)).makes_a_pod() {
            raw.extend(records.into_iter().map(|(sequence, bytes)| RawRecord {
                sequence: Some(sequence),
                bytes,
            }));
        }
        Ok(raw)
    }

    /// All pairs whose keys begin with `prefix`, in order, without those that
    /// a full disk has left in doubt.
    pub(crate) fn pairs(&self, db: &sled::Db, prefix: &[u8]) -> Result<Vec<Pair>, sled::Error> {
        let found: Vec<Pair> = db.scan_prefix(prefix).collect::<Result<_, _>>()?;
        let Some(refused) = &self.refused else {
            return Ok(found);
        };
        let kept = found
            .into_iter()
            .filter(|(key, _)| !refused.wrote.contains(key.as_ref()));
        let removed = refused.removed.iter().cloned();
        let back = removed.filter(|(key, _)| key.starts_with(prefix));
        let sorted: BTreeMap<_, _> = kept.chain(back).collect();
        Ok(sorted.into_iter().collect())
    }

    /// The pod's pairs below record `end`, for removal.
    pub(crate) fn pairs_below(
        db: &sled::Db,
        pod: PodId,
        end: Option<u64>,
    ) -> Result<Vec<Pair>, sled::Error> {
        let Some(sequence) = end else {
            return db.scan_prefix(key::records_of(pod)).collect();
        };
        let begin = key::records_of(pod).to_vec();
        let end = Key::Record {
            pod,
            sequence,
            chunk: 0,
        };
        let range = (Bound::Included(begin), Bound::Excluded(end.bytes()));
        db.range::<Vec<u8>, _>(range).collect()
    }

    fn records(&self, pod: PodId) -> Result<RawRecords, JournalError> {
        let pairs = self.reading(|db| self.pairs(db, &key::records_of(pod)))?;
        let mut records = RawRecords::new();
        for (key, value) in pairs {
            if let Some(Key::Record { sequence, .. }) = Key::parse(&key) {
                scan::push_chunk(&mut records, sequence, &value);
            }
        }
        Ok(records)
    }

    fn reading<T>(
        &self,
        read: impl FnOnce(&sled::Db) -> Result<T, sled::Error>,
    ) -> Result<T, JournalError> {
        let Some(db) = &self.db else {
            return Err(JournalError::Unreadable {
                detail: "it is closed until there is space to open it again".to_owned(),
            });
        };
        guarded(|| read(db)).map_err(|failure| JournalError::Unreadable {
            detail: match failure {
                // sled's handle keeps the error, and some reads meet it.
                SledFailure::Error(error) if space::is_full(&error) => {
                    format!("its disk is full ({error}); it can be read again when there is space")
                }
                failure => failure.to_string(),
            },
        })
    }
}

#[cfg(test)]
mod tests;
