//! A runtime, as it is configured, and where its program is.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};

use crate::error::OciError;
use crate::format;

/// Where runtimes are installed, besides PATH: a daemon's PATH may be short.
const USUAL_PLACES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// A runtime with the command line of the OCI: crun, runc, youki, runsc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// Its name, by which pods ask for it.
    pub name: String,
    /// The program: a path, or a name to look up in PATH and in the usual places.
    pub binary: PathBuf,
    /// The directory of its state (`--root`), which is ours alone.
    pub root: PathBuf,
    /// Arguments before the verb, besides `--root` and the log's.
    pub global_args: Vec<OsString>,
    /// How long each call may take.
    pub deadlines: Deadlines,
    /// Whether a start takes something away from the network namespace, so that a second start
    /// in it would find less.
    pub consumes_network: bool,
    /// Whether the sandbox is a virtual machine, or another kernel of its own: the pid is then its
    /// monitor's, which is ended through the runtime first.
    pub vm: bool,
}

impl Handler {
    /// A runtime that keeps its state in `root`, with the usual deadlines.
    pub fn new(name: &str, binary: impl Into<PathBuf>, root: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            binary: binary.into(),
            root: root.into(),
            global_args: Vec::new(),
            deadlines: Deadlines::default(),
            consumes_network: false,
            vm: false,
        }
    }

    /// The path of its program, which can be executed as far as its mode tells.
    ///
    /// # Errors
    /// [`OciError::RuntimeMissing`], [`OciError::NotExecutable`], [`OciError::WrongFormat`].
    pub fn locate(&self) -> Result<PathBuf, OciError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let places = env::split_paths(&path).chain(USUAL_PLACES.map(PathBuf::from));
        self.locate_in(places.collect())
    }

    fn locate_in(&self, mut places: Vec<PathBuf>) -> Result<PathBuf, OciError> {
        if self.binary.components().count() > 1 {
            return match executable(&self.binary) {
                Some(found) => found,
                None => Err(self.missing(Vec::new())),
            };
        }
        let mut seen = Vec::new();
        places.retain(|place| {
            place.is_absolute() && !seen.contains(place) && {
                seen.push(place.clone());
                true
            }
        });
        // As a shell does: a file that cannot be executed hides none that can.
        let mut unfit = None;
        for place in &places {
            match executable(&place.join(&self.binary)) {
                Some(Ok(found)) => return Ok(found),
                Some(Err(error)) => unfit = unfit.or(Some(error)),
                None => {}
            }
        }
        Err(unfit.unwrap_or_else(|| self.missing(places)))
    }

    fn missing(&self, searched: Vec<PathBuf>) -> OciError {
        OciError::RuntimeMissing {
            handler: self.name.clone(),
            binary: self.binary.clone(),
            searched,
        }
    }
}

/// `None` if there is nothing at `path`.
fn executable(path: &Path) -> Option<Result<PathBuf, OciError>> {
    let metadata = fs::metadata(path).ok()?;
    let refused = |source| {
        Some(Err(OciError::NotExecutable {
            path: path.to_owned(),
            source,
        }))
    };
    if !metadata.is_file() {
        return refused(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a file",
        ));
    }
    if let Err(errno) = access(path, Access::EXEC_OK) {
        return refused(errno.into());
    }
    Some(match format::check(path) {
        Ok(()) => Ok(path.to_owned()),
        Err(source) => Err(OciError::WrongFormat {
            path: path.to_owned(),
            source,
        }),
    })
}

/// How long each call of a runtime may take; all that a start does stays below kubelet's two
/// minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// `run --detach`, or a shim's `start` and Create; the longest: a virtual machine boots in it.
    pub create: Duration,
    /// Until the sandbox executes its program; a shim's Start.
    pub start: Duration,
    /// `state` and `--version`.
    pub query: Duration,
    /// SIGKILL, until the sandbox's processes are gone.
    pub kill: Duration,
    /// `delete`.
    pub delete: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            create: Duration::from_secs(30),
            start: Duration::from_secs(10),
            query: Duration::from_secs(10),
            kill: Duration::from_secs(10),
            delete: Duration::from_secs(20),
        }
    }
}

#[cfg(test)]
mod tests;
