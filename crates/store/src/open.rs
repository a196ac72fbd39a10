//! Opening: the order in which things are checked, made and synced.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{OpenError, OpenReport, Warning};
use crate::failure::{SledFailure, guarded};
use crate::key;
use crate::lock::LockFile;
use crate::mark::{Mark, MarkFile};
use crate::meta::{Census, Meta};
use crate::nudge::Nudger;
use crate::point::point;
use crate::scan::{self, Scan};
use crate::{directory, snapshot, space};

/// How large sled's segments are: fixed when the file is made. The barrier
/// bound rests on it (see the committer).
const SEGMENT_BYTES: usize = 8 << 20;
/// Between two attempts when sled's own lock is still held: right after a
/// drop it is, for a moment.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// How a journal is to be opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The journal's own directory; made when it is missing.
    pub dir: PathBuf,
    /// New pods are refused while less than this is free, so that there is
    /// room to record how the others are undone. Bytes.
    pub reserve_bytes: u64,
    /// sled's page cache, bytes.
    pub cache_bytes: u64,
    /// How long sled may take to open and be read once.
    pub deadline: Duration,
}

impl OpenOptions {
    /// The defaults: 64 MiB in reserve, a cache of 32 MiB, two minutes.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            reserve_bytes: 64 << 20,
            cache_bytes: 32 << 20,
            deadline: Duration::from_secs(120),
        }
    }

    /// The file whose lock says who has the journal.
    fn lock_path(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// The file that says how far the journal has been.
    pub(crate) fn mark_path(&self) -> PathBuf {
        self.dir.join("mark")
    }

    /// The directory that is sled's.
    pub(crate) fn sled_dir(&self) -> PathBuf {
        self.dir.join("sled")
    }
}

/// A journal that is open.
pub(crate) struct Opened {
    pub(crate) lock: LockFile,
    pub(crate) db: sled::Db,
    /// Our own descriptor on sled's file, for barriers: open from the first
    /// moment on, so that no write-back error is missed.
    pub(crate) data: File,
    pub(crate) mark: MarkFile,
    pub(crate) meta: Meta,
    pub(crate) epoch: u64,
    pub(crate) scan: Scan,
    pub(crate) report: OpenReport,
}

/// Opens, or makes, the journal.
///
/// # Errors
/// [`OpenError`]. No record is lost by a refused or interrupted opening.
pub(crate) fn open(options: &OpenOptions) -> Result<Opened, OpenError> {
    let sled_dir = options.sled_dir();
    fs::create_dir_all(&options.dir).map_err(OpenError::io("make", &options.dir))?;
    let lock = LockFile::take(&options.lock_path())?;
    point!("store.locked");
    create_if_missing(options)?;
    let mut warnings = prepare(&sled_dir)?;
    snapshot::keep(&options.dir, &sled_dir)?;
    point!("store.swept");
    let mark = read_mark(options)?;
    let existing = open_data(&sled_dir)?;
    let loaded = load(&sled_dir, options.cache_bytes, options.deadline)?;
    point!("store.loaded");
    warnings.extend(examine(&loaded, existing.is_some(), &mark));
    let data = match existing {
        Some(data) => data,
        None => {
            File::open(data_path(&sled_dir)).map_err(OpenError::io("open", data_path(&sled_dir)))?
        }
    };
    let mark_file =
        MarkFile::open(&options.mark_path()).map_err(OpenError::io("open", options.mark_path()))?;
    sync_all(&options.dir, &sled_dir)?;
    snapshot::release(&options.dir)?;
    point!("store.created");
    let meta = Meta {
        batches: loaded.meta.map_or(0, |meta| meta.batches),
        census: loaded.scan.census,
    };
    let epoch = loaded.epoch.unwrap_or(0).max(mark.epoch) + 1;
    record_opening(&loaded.db, meta, epoch).map_err(|failure| refused(&sled_dir, failure))?;
    data.sync_data()
        .map_err(OpenError::io("sync", data_path(&sled_dir)))?;
    point!("store.counted");
    mark_file
        .set(Mark::of(epoch, &meta))
        .and_then(|()| mark_file.sync())
        .map_err(OpenError::io("write", options.mark_path()))?;
    point!("store.opened");
    Ok(Opened {
        lock,
        db: loaded.db,
        data,
        mark: mark_file,
        meta,
        epoch,
        report: report(&loaded.scan, warnings),
        scan: loaded.scan,
    })
}

/// A store comes into being whole: sled makes it under another name, it is
/// synced, and then renamed. One that was cut while sled made it would never
/// open again, and nothing was ever in it.
fn create_if_missing(options: &OpenOptions) -> Result<(), OpenError> {
    let sled_dir = options.sled_dir();
    let fresh = options.dir.join("sled.new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(OpenError::io("delete", &fresh))?;
    }
    if sled_dir.exists() {
        return Ok(());
    }
    require_space(&options.dir, None)?;
    fs::create_dir(&fresh).map_err(OpenError::io("make", &fresh))?;
    let loaded = load(&fresh, options.cache_bytes, options.deadline)?;
    record_opening(&loaded.db, Meta::default(), 0).map_err(|failure| refused(&fresh, failure))?;
    drop(loaded);
    sync_all(&options.dir, &fresh)?;
    point!("store.made");
    fs::rename(&fresh, &sled_dir).map_err(OpenError::io("rename", &fresh))?;
    directory::sync(&options.dir)
}

/// How far the journal has been, by its mark.
pub(crate) fn read_mark(options: &OpenOptions) -> Result<Mark, OpenError> {
    let path = options.mark_path();
    Mark::read(&path).map_err(OpenError::io("read", path))
}

/// What is done before sled may see its directory: an interrupted snapshot
/// goes (sled would take it for a whole one, and never open again), what is
/// there is synced, and blobs or a full disk refuse.
pub(crate) fn prepare(sled_dir: &Path) -> Result<Vec<Warning>, OpenError> {
    let mut swept = Vec::new();
    let entries = fs::read_dir(sled_dir).map_err(OpenError::io("read", sled_dir))?;
    for entry in entries {
        let entry = entry.map_err(OpenError::io("read", sled_dir))?;
        let file = entry.file_name().to_string_lossy().into_owned();
        if file.starts_with("snap.") && file.ends_with(".generating") {
            let path = entry.path();
            fs::remove_file(&path).map_err(OpenError::io("delete", path))?;
            swept.push(Warning::InterruptedOpening { file });
        }
    }
    refuse_blobs(sled_dir)?;
    let existing = match open_data(sled_dir)? {
        Some(data) => {
            data.sync_all()
                .map_err(OpenError::io("sync", data_path(sled_dir)))?;
            let length = data.metadata().map(|data| data.len());
            Some(length.map_err(OpenError::io("examine", data_path(sled_dir)))?)
        }
        None => None,
    };
    directory::sync(sled_dir)?;
    require_space(sled_dir, existing)?;
    Ok(swept)
}

fn refuse_blobs(sled_dir: &Path) -> Result<(), OpenError> {
    let path = sled_dir.join("blobs");
    match fs::read_dir(&path) {
        Ok(mut blobs) => match blobs.next() {
            Some(_) => Err(OpenError::Blobs { path }),
            None => Ok(()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::io("read", path)(error)),
    }
}

fn require_space(sled_dir: &Path, existing: Option<u64>) -> Result<(), OpenError> {
    let free = space::free_bytes(sled_dir).map_err(OpenError::io("examine", sled_dir))?;
    let needed = space::needed_to_open(existing);
    if free < needed {
        return Err(OpenError::NoSpace {
            path: sled_dir.to_owned(),
            free,
            needed,
        });
    }
    Ok(())
}

/// sled's file.
pub(crate) fn data_path(sled_dir: &Path) -> PathBuf {
    sled_dir.join("db")
}

fn open_data(sled_dir: &Path) -> Result<Option<File>, OpenError> {
    let path = data_path(sled_dir);
    match File::open(&path) {
        Ok(data) => Ok(Some(data)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::io("open", path)(error)),
    }
}

/// After sled has made its files, they and the names that lead to them are
/// synced once: sled itself never syncs `conf`.
fn sync_all(dir: &Path, sled_dir: &Path) -> Result<(), OpenError> {
    for name in ["conf", "db"] {
        let path = sled_dir.join(name);
        File::open(&path)
            .and_then(|file| file.sync_all())
            .map_err(OpenError::io("sync", path))?;
    }
    directory::sync(sled_dir)?;
    directory::sync(dir)?;
    match dir.parent() {
        Some(parent) if parent != Path::new("") => directory::sync(parent),
        _ => Ok(()),
    }
}

/// What one pass over an open store has found.
pub(crate) struct Loaded {
    pub(crate) db: sled::Db,
    pub(crate) scan: Scan,
    pub(crate) meta: Option<Meta>,
    pub(crate) epoch: Option<u64>,
}

/// Opens sled and reads everything once, on a thread of its own: a damaged
/// file can make sled panic or hang, and neither may take the daemon along.
pub(crate) fn load(
    sled_dir: &Path,
    cache_bytes: u64,
    deadline: Duration,
) -> Result<Loaded, OpenError> {
    let (answer, answered) = mpsc::sync_channel(1);
    let path = sled_dir.to_owned();
    let attempt = move || {
        let loaded = guarded(|| {
            let db = open_sled(&path, cache_bytes, deadline)?;
            read_everything(db)
        });
        // Nobody waits any more after the deadline: then all of it is dropped.
        let _ = answer.send(loaded);
    };
    thread::Builder::new()
        .name("podwalk-open".to_owned())
        .spawn(attempt)
        .map_err(OpenError::io("start a thread to open", sled_dir))?;
    match answered.recv_timeout(deadline) {
        Ok(loaded) => loaded.map_err(|failure| refused(sled_dir, failure)),
        Err(_) => Err(OpenError::Hung {
            path: sled_dir.to_owned(),
            deadline,
        }),
    }
}

/// `sled::open` with the settings that the barrier rules were measured with,
/// again while sled's own lock is held by a handle that is being dropped.
pub(crate) fn open_sled(
    sled_dir: &Path,
    cache_bytes: u64,
    deadline: Duration,
) -> Result<sled::Db, sled::Error> {
    let begun = Instant::now();
    loop {
        let opened = sled::Config::new()
            .path(sled_dir)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None)
            .segment_size(SEGMENT_BYTES)
            .open();
        match opened {
            Err(sled::Error::Io(error))
                if is_lock_held(&error) && begun.elapsed() < deadline / 2 =>
            {
                thread::sleep(LOCK_RETRY);
            }
            result => return result,
        }
    }
}

/// sled wraps the lock's error into a text.
fn is_lock_held(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock
        || error.to_string().contains("could not acquire lock")
}

fn read_everything(db: sled::Db) -> Result<Loaded, sled::Error> {
    let scan = scan::scan(db.iter())?;
    let meta = db.get(key::META)?.and_then(|bytes| Meta::parse(&bytes));
    let epoch = db.get(key::EPOCH)?;
    let epoch = epoch.and_then(|bytes| Some(u64::from_le_bytes(bytes.as_ref().try_into().ok()?)));
    Ok(Loaded {
        db,
        scan,
        meta,
        epoch,
    })
}

/// What an operator should know of a store that has opened. `existed` is
/// false if its file has just been made.
pub(crate) fn examine(loaded: &Loaded, existed: bool, mark: &Mark) -> Vec<Warning> {
    let found = loaded.scan.census;
    let census = match loaded.meta {
        Some(meta) if meta.census != found => Some(Warning::CensusMismatch {
            written: meta.census,
            found,
        }),
        None if existed || found != Census::default() => Some(Warning::CensusMissing { found }),
        _ => None,
    };
    let batches = loaded.meta.map_or(0, |meta| meta.batches);
    let rolled_back = (batches < mark.batches).then_some(Warning::RolledBack {
        written: mark.batches,
        found: batches,
    });
    let count = loaded.scan.unknown_keys;
    let unknown = (count > 0).then_some(Warning::UnknownKeys { count });
    [census, rolled_back, unknown]
        .into_iter()
        .flatten()
        .collect()
}

/// Counts the opening. The caller syncs it, so that no epoch is used twice.
fn record_opening(db: &sled::Db, meta: Meta, epoch: u64) -> Result<(), SledFailure> {
    let nudger = Nudger::new(db).map_err(sled::Error::Io)?;
    let _work = nudger.at_work();
    guarded(|| {
        let mut batch = sled::Batch::default();
        batch.insert(&key::EPOCH, &epoch.to_le_bytes());
        batch.insert(&key::META, &meta.bytes());
        db.apply_batch(batch)?;
        db.flush().map(drop)
    })
}

/// Sums a scan up.
pub(crate) fn report(scan: &Scan, warnings: Vec<Warning>) -> OpenReport {
    let pods = &scan.replay.pods;
    OpenReport {
        pods: pods.len(),
        records: pods.iter().map(|(_, entries)| entries.len()).sum(),
        obituaries: scan.graves.len(),
        quarantined: scan.replay.quarantined.len(),
        warnings,
    }
}

fn refused(sled_dir: &Path, failure: SledFailure) -> OpenError {
    let path = sled_dir.to_owned();
    match failure {
        SledFailure::Error(error) if space::is_full(&error) => OpenError::NoSpace {
            free: space::free_bytes(sled_dir).unwrap_or(0),
            needed: space::needed_to_open(None),
            path,
        },
        // What the kernel has said, and not what sled has made of it.
        SledFailure::Error(sled::Error::Io(source)) if source.raw_os_error().is_some() => {
            OpenError::io("open", path)(source)
        }
        failure => OpenError::Damaged {
            path,
            detail: failure.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
