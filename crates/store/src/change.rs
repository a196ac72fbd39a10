//! From a group of calls to one batch: what is written, what is removed.

use std::collections::BTreeSet;

use crate::format::SNAPSHOT_LIMIT;
use crate::graves::{Grave, Graves};
use crate::handle::Handle;
use crate::job::{Job, Puts, Work};
use crate::key::{self, Key, chunks};
use crate::meta::Meta;
use crate::scan::Pair;

/// The most that one batch ever writes and removes, bytes: the largest
/// obituary, and some. Measured good with a barrier before and after it.
const LARGEST_CHANGE: usize = SNAPSHOT_LIMIT + (64 << 10);

/// One batch, before it is written.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Pairs to be written; their keys are new.
    pub(crate) puts: Puts,
    /// Pairs to be removed, as they are now.
    pub(crate) removes: Vec<Pair>,
    /// What did not fit: removed by later batches.
    pub(crate) later: Vec<Vec<u8>>,
    /// New graves.
    pub(crate) dug: Vec<Grave>,
    /// Numbers of graves that go.
    pub(crate) cleared: Vec<u64>,
    /// Keys and values, bytes.
    pub(crate) payload: usize,
}

impl Change {
    /// The change that serves all `jobs`. Removals stop at `bound` bytes of
    /// payload; what is left over is litter, which no reader counts.
    ///
    /// # Errors
    /// sled's, while it looks up what is to be removed.
    pub(crate) fn plan(
        jobs: &mut [Job],
        db: &sled::Db,
        graves: &Graves,
        bound: usize,
    ) -> Result<Self, sled::Error> {
        let mut change = Self {
            payload: jobs.iter().map(|job| job.payload).sum(),
            ..Self::default()
        };
        // A plan may fail, and only what was written changes the graves.
        let mut graves = match jobs.iter().any(|job| buries(&job.work)) {
            true => graves.clone(),
            false => Graves::default(),
        };
        for job in jobs {
            change.add(&mut job.work, db, &mut graves, bound)?;
        }
        Ok(change)
    }

    /// The change that removes litter, from the front of `litter`. A set: what
    /// is left over twice is still removed, and counted, once.
    ///
    /// # Errors
    /// As for [`Change::plan`].
    pub(crate) fn sweep(
        litter: &mut BTreeSet<Vec<u8>>,
        db: &sled::Db,
        bound: usize,
    ) -> Result<Self, sled::Error> {
        let mut change = Self::default();
        while change.payload < bound
            && let Some(key) = litter.pop_first()
        {
            if let Some(value) = db.get(&key)? {
                change.remove((key.into(), value), bound);
            }
        }
        litter.extend(change.later.drain(..));
        Ok(change)
    }

    fn add(
        &mut self,
        work: &mut Work,
        db: &sled::Db,
        graves: &mut Graves,
        bound: usize,
    ) -> Result<(), sled::Error> {
        match work {
            Work::Append { puts, .. } => self.puts.append(puts),
            Work::Compact {
                pod,
                sequence,
                puts,
            } => {
                self.puts.append(puts);
                self.remove_all(Handle::pairs_below(db, *pod, Some(*sequence))?, bound);
            }
            Work::Bury { grave, value, now } => {
                // Before the clearing: a key is not written and removed by
                // one batch.
                grave.number = graves.next_number();
                for old in graves.to_clear(grave.pod, now) {
                    self.clear(old, db, graves)?;
                }
                self.dig(*grave, value, graves);
                let records = Handle::pairs_below(db, grave.pod, None)?;
                self.remove_all(records, bound);
            }
            Work::Drop { pod, records } => {
                let unreadable = graves.of(*pod).filter(|grave| grave.unreadable);
                for grave in unreadable.copied().collect::<Vec<_>>() {
                    self.clear(grave, db, graves)?;
                }
                if *records {
                    self.remove_all(Handle::pairs_below(db, *pod, None)?, bound);
                }
            }
        }
        Ok(())
    }

    fn dig(&mut self, grave: Grave, value: &[u8], graves: &mut Graves) {
        let Grave { number, pod, .. } = grave;
        self.puts.extend(
            chunks(value).map(|(chunk, value)| {
                (Key::Obituary { number, pod, chunk }.bytes(), value.to_vec())
            }),
        );
        graves.dig(grave);
        self.dug.push(grave);
    }

    /// Removes an obituary whole, or leaves it for another time: half of one
    /// would be taken for damage.
    fn clear(
        &mut self,
        grave: Grave,
        db: &sled::Db,
        graves: &mut Graves,
    ) -> Result<(), sled::Error> {
        if self.dug.iter().any(|dug| dug.number == grave.number) {
            return Ok(());
        }
        let prefix = key::grave(grave.number, grave.pod);
        let pairs = db.scan_prefix(prefix).collect::<Result<Vec<_>, _>>()?;
        let bytes: usize = pairs.iter().map(pair_bytes).sum();
        if self.payload + bytes > LARGEST_CHANGE {
            return Ok(());
        }
        self.remove_all(pairs, LARGEST_CHANGE);
        graves.clear(grave.number);
        self.cleared.push(grave.number);
        Ok(())
    }

    fn remove_all(&mut self, pairs: Vec<Pair>, bound: usize) {
        for pair in pairs {
            self.remove(pair, bound);
        }
    }

    /// A removal is counted as what it removes: sled rewrites the page.
    fn remove(&mut self, pair: Pair, bound: usize) {
        let bytes = pair_bytes(&pair);
        if self.payload > 0 && self.payload + bytes > bound {
            self.later.push(pair.0.to_vec());
            return;
        }
        self.payload += bytes;
        self.removes.push(pair);
    }

    /// The bookkeeping after it.
    pub(crate) fn meta_after(&self, before: &Meta) -> Meta {
        let mut after = *before;
        after.batches += 1;
        for (key, value) in &self.puts {
            after.census.add(key, value);
        }
        for (key, value) in &self.removes {
            after.census.subtract(key, value);
        }
        after
    }

    /// As sled takes it, the bookkeeping included.
    pub(crate) fn batch(&self, after: &Meta) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for (key, value) in &self.puts {
            batch.insert(key.as_slice(), value.as_slice());
        }
        for (key, _) in &self.removes {
            batch.remove(key);
        }
        batch.insert(&key::META, &after.bytes());
        batch
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.removes.is_empty()
    }
}

fn pair_bytes((key, value): &Pair) -> usize {
    key.len() + value.len()
}

fn buries(work: &Work) -> bool {
    matches!(work, Work::Bury { .. } | Work::Drop { .. })
}

#[cfg(test)]
mod tests;
