//! Telling when a configuration directory has changed.
//!
//! A notification only says that something moved; what counts is read from the disk afterwards.
//! Watches are set before reading, so a change is either in what is read or notified. Watched
//! are the directory, its subdirectories (they hold plugin objects), and the nearest ancestor that
//! exists, because the directory may appear, vanish and be replaced.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::{ConfigDir, Loaded};

/// Why a directory cannot be watched; reading it may still work.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The kernel gives no watch.
    #[error("{path}: cannot be watched: {source}; raise fs.inotify.max_user_instances and max_user_watches", path = path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: notify::Error,
    },
    /// The reading task was cancelled: the runtime shuts down.
    #[error("{path}: reading it was cancelled, the program is ending", path = path.display())]
    Cancelled {
        /// The directory.
        path: PathBuf,
    },
}

/// A directory that is watched. Dropping it ends the watch.
pub struct ConfigWatch {
    directory: ConfigDir,
    armed: Armed,
    /// A change has been noticed and not been read yet: a call that is dropped in between must
    /// not swallow it.
    unread: bool,
    last: Option<Arc<Loaded>>,
}

impl ConfigDir {
    /// Watches the directory. The first [`ConfigWatch::next`] answers at once.
    ///
    /// # Errors
    /// [`WatchError::Watch`] when the kernel gives no watch.
    pub fn watch(&self) -> Result<ConfigWatch, WatchError> {
        let changes = Arc::new(Changes::default());
        let told = Arc::clone(&changes);
        let watcher = notify::recommended_watcher(move |event| told.take(event));
        let mut armed = Armed {
            watcher: watcher.map_err(|source| WatchError::Watch {
                path: self.path.clone(),
                source,
            })?,
            watched: HashMap::new(),
            changes,
        };
        armed.arm(&self.path)?;
        Ok(ConfigWatch {
            directory: self.clone(),
            armed,
            unread: true,
            last: None,
        })
    }
}

impl ConfigWatch {
    /// Waits until the directory reads differently from the last time, and gives it. Writes that
    /// follow each other closely may be told as one, and a file that is being written may be told
    /// as broken first: the last word is always told. The call may be dropped and made again.
    ///
    /// # Errors
    /// [`WatchError`]; the caller may call again.
    pub async fn next(&mut self) -> Result<Arc<Loaded>, WatchError> {
        loop {
            if !self.unread {
                self.armed.changes.bell.notified().await;
                self.unread = true;
            }
            let loaded = self.read().await?;
            self.unread = false;
            let same = self.last.as_ref().is_some_and(|last| last.same_as(&loaded));
            if !same {
                self.last = Some(Arc::clone(&loaded));
                return Ok(loaded);
            }
        }
    }

    async fn read(&mut self) -> Result<Arc<Loaded>, WatchError> {
        self.armed.arm(&self.directory.path)?;
        let directory = self.directory.clone();
        let read = tokio::task::spawn_blocking(move || directory.load()).await;
        read.map(Arc::new).map_err(|_| WatchError::Cancelled {
            path: self.directory.path.clone(),
        })
    }
}

/// What the watcher tells, from a thread of its own.
#[derive(Default)]
struct Changes {
    bell: Notify,
    /// Paths that were removed or renamed: the watcher has dropped its watches there, whatever is
    /// there by now.
    gone: Mutex<Vec<PathBuf>>,
}

impl Changes {
    fn take(&self, event: notify::Result<notify::Event>) {
        // An error may stand for lost events, so it rings too.
        let Ok(event) = event else {
            return self.bell.notify_one();
        };
        if let EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) = event.kind {
            self.gone().extend(event.paths);
        }
        if is_change(event.kind) {
            self.bell.notify_one();
        }
    }

    fn gone(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reading is no change; our own reading must not ring.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

struct Armed {
    watcher: RecommendedWatcher,
    /// Each watched path with its device and inode: a path that was replaced needs a new watch.
    watched: HashMap<PathBuf, (u64, u64)>,
    changes: Arc<Changes>,
}

impl Armed {
    /// Watches what must be watched now. It looks again until nothing appears meanwhile.
    fn arm(&mut self, directory: &Path) -> Result<(), WatchError> {
        loop {
            self.forget_gone();
            let wanted = wanted(directory);
            if wanted == self.watched {
                return Ok(());
            }
            self.drop_stale(&wanted);
            for (path, identity) in wanted {
                self.add(path, identity)?;
            }
        }
    }

    /// A file's numbers may be another's later, and a directory may go and come back: neither is
    /// watched any more, although it looks the same.
    fn forget_gone(&mut self) {
        let gone = std::mem::take(&mut *self.changes.gone());
        let is_gone = |path: &Path| gone.iter().any(|gone| path.starts_with(gone));
        self.watched.retain(|path, _| !is_gone(path));
    }

    fn drop_stale(&mut self, wanted: &HashMap<PathBuf, (u64, u64)>) {
        let watcher = &mut self.watcher;
        self.watched.retain(|path, identity| {
            let keep = wanted.get(path) == Some(identity);
            if !keep {
                // It fails when the path is gone, and the watch with it.
                let _ = watcher.unwatch(path);
            }
            keep
        });
    }

    fn add(&mut self, path: PathBuf, identity: (u64, u64)) -> Result<(), WatchError> {
        if self.watched.contains_key(&path) {
            return Ok(());
        }
        match self.watcher.watch(&path, RecursiveMode::NonRecursive) {
            Ok(()) => drop(self.watched.insert(path, identity)),
            Err(error) if is_gone(&error) => {}
            Err(source) => return Err(WatchError::Watch { path, source }),
        }
        Ok(())
    }
}

fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn wanted(directory: &Path) -> HashMap<PathBuf, (u64, u64)> {
    let mut paths = HashMap::new();
    let mut add = |path: &Path| match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            paths.insert(path.to_owned(), (metadata.dev(), metadata.ino()));
            true
        }
        _ => false,
    };
    // A relative path's ancestors end with "", which stands for the current directory.
    let ancestor = |path: &Path| match path.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => path.to_owned(),
    };
    for path in directory.ancestors().skip(1).map(ancestor) {
        if add(&path) {
            break;
        }
    }
    if add(directory) {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in entries {
            add(&entry.path());
        }
    }
    paths
}
