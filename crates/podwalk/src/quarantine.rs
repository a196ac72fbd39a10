//! Pods that do not decode: shown with their bytes, and dropped by name.
//!
//! What such a pod owns on the host is not known, so that nothing of it is
//! touched while it is set aside. Whoever drops it decides that its records are
//! of no use any more: they are written to a file beside the journal first, and
//! what may be left on the host is named.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use podwalk_engine::engine::Engine;
use podwalk_engine::id::PodId;
use podwalk_engine::ports::JournalError;
use podwalk_store::SledJournal;
use tokio::sync::Mutex;

use crate::api::{DropAnswer, Dropped, Leftover, QuarantineDetail};

/// The quarantine of a daemon.
#[derive(Clone)]
pub struct Quarantine {
    engine: Engine,
    journal: Arc<SledJournal>,
    places: Arc<Places>,
    /// Two drops of one pod do not write one file.
    drops: Arc<Mutex<()>>,
}

/// Where a pod's things are, and where the bytes of one that is dropped go.
#[derive(Debug, Clone)]
pub struct Places {
    /// The files of what was dropped.
    pub kept: PathBuf,
    /// Namespace files.
    pub netns_dir: PathBuf,
    /// Bundles of sandboxes, and what their runtimes keep.
    pub run_dir: PathBuf,
}

/// Why a pod in quarantine was not shown or dropped.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// None is meant.
    #[error("no pod '{0}' in quarantine")]
    NoSuchPod(String),
    /// More than one is meant.
    #[error("'{text}' means more than one pod in quarantine: {ids}")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// Who is meant.
        ids: String,
    },
    /// Its bytes could not be kept: nothing was dropped.
    #[error("the bytes of pod {pod} cannot be kept in {}, and nothing is dropped: {source} (make room there, or make it writable)", path.display())]
    NotKept {
        /// The pod.
        pod: PodId,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Every pod that is set aside, with all that is wrong with it.
pub fn by_pod(list: Vec<(PodId, String)>) -> BTreeMap<PodId, String> {
    let mut pods: BTreeMap<PodId, String> = BTreeMap::new();
    for (pod, reason) in list {
        // An obituary and records of one pod may both be damaged.
        let reasons = pods.entry(pod).or_default();
        if !reasons.is_empty() {
            reasons.push_str("; ");
        }
        reasons.push_str(&reason);
    }
    pods
}

/// The one pod that a text means.
///
/// # Errors
/// [`QuarantineError::NoSuchPod`], [`QuarantineError::Ambiguous`].
pub fn one(list: Vec<QuarantineDetail>, text: &str) -> Result<QuarantineDetail, QuarantineError> {
    let meant = list.into_iter().filter(|pod| pod.is_meant_by(text));
    let mut meant: Vec<_> = meant.collect();
    match (meant.pop(), meant.is_empty()) {
        (Some(pod), true) => Ok(pod),
        (None, _) => Err(QuarantineError::NoSuchPod(text.chars().take(80).collect())),
        (Some(last), false) => {
            let ids = meant.iter().chain([&last]).map(|pod| pod.id.as_str());
            Err(QuarantineError::Ambiguous {
                text: text.to_owned(),
                ids: ids.collect::<Vec<_>>().join(", "),
            })
        }
    }
}

impl Quarantine {
    /// Of this engine and its journal.
    pub fn new(engine: Engine, journal: Arc<SledJournal>, places: Places) -> Self {
        Self {
            engine,
            journal,
            places: Arc::new(places),
            drops: Arc::default(),
        }
    }

    /// Every pod in it, with its bytes.
    ///
    /// # Errors
    /// [`QuarantineError::Journal`].
    pub async fn list(&self) -> Result<Vec<QuarantineDetail>, QuarantineError> {
        let mut list = Vec::new();
        for (pod, reason) in by_pod(self.engine.quarantined()) {
            let raw = self.journal.quarantined(pod).await?;
            list.push(QuarantineDetail::of(pod.to_string(), reason, &raw));
        }
        Ok(list)
    }

    /// The one that an id, a prefix of one, or a name that can be read means.
    ///
    /// # Errors
    /// [`QuarantineError`].
    pub async fn find(&self, text: &str) -> Result<QuarantineDetail, QuarantineError> {
        one(self.list().await?, text)
    }

    /// Keeps a pod's bytes in a file, and then drops it from the journal. Both
    /// are on the platter when this answers.
    ///
    /// # Errors
    /// [`QuarantineError`], and then the pod is in quarantine as before.
    pub async fn drop_pod(
        &self,
        text: &str,
        reason: String,
    ) -> Result<DropAnswer, QuarantineError> {
        let _one_at_a_time = self.drops.lock().await;
        let detail = self.find(text).await?;
        let pod: PodId = detail
            .id
            .parse()
            .map_err(|_| QuarantineError::NoSuchPod(detail.id.clone()))?;
        let path = self.places.kept.join(format!("{pod}.json"));
        let dropped = Dropped {
            drop_reason: reason.clone(),
            dropped_at: self.engine.now().wall_ns,
            pod: detail,
        };
        keep(path.clone(), dropped)
            .await
            .map_err(|source| QuarantineError::NotKept {
                pod,
                path: path.clone(),
                source,
            })?;
        self.journal.drop_quarantined(pod).await?;
        self.engine.leave_quarantine(pod);
        tracing::warn!(%pod, reason, kept_in = %path.display(), "a pod in quarantine is dropped");
        Ok(DropAnswer {
            id: pod.to_string(),
            kept_in: path.display().to_string(),
            may_be_left: self.places.leftovers(pod),
        })
    }
}

/// Writes the file on a thread that may block.
async fn keep(path: PathBuf, dropped: Dropped) -> io::Result<()> {
    let written = tokio::task::spawn_blocking(move || write_whole(&path, &dropped));
    written
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Under another name first, so that what is there is whole; on the platter,
/// name and all, before the journal's bytes go.
fn write_whole(path: &Path, dropped: &Dropped) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let draft = path.with_extension("draft");
    let mut options = File::options();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&draft)?;
    serde_json::to_writer_pretty(&mut file, dropped)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let parent = directory.parent().unwrap_or(directory);
    [directory, parent]
        .iter()
        .try_for_each(|directory| File::open(directory)?.sync_all())
}

impl Places {
    /// What may be left of a pod whose records say nothing, and how to look.
    fn leftovers(&self, pod: PodId) -> Vec<Leftover> {
        let netns = self.netns_dir.join(pod.to_string());
        let look = [
            (
                format!("its namespace, pinned on {}", netns.display()),
                format!("findmnt {}", netns.display()),
            ),
            (
                "its sandbox's processes".to_owned(),
                format!("grep -l {pod} /proc/[0-9]*/cgroup"),
            ),
            (
                "its bundle, and what its runtime keeps of it".to_owned(),
                format!("find {} -name {pod}", self.run_dir.display()),
            ),
            (
                "its cgroups".to_owned(),
                format!("find /sys/fs/cgroup -name '*{pod}*'"),
            ),
            (
                "its addresses, if host-local gave them".to_owned(),
                format!("grep -rl {pod} /var/lib/cni/networks"),
            ),
        ];
        look.map(|(what, look)| Leftover { what, look }).into()
    }
}

#[cfg(test)]
mod tests;
