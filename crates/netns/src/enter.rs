//! Work inside a namespace, on a thread that ends with it.
//!
//! A thread that has changed its namespace and goes on poisons whatever runs on it next. So the
//! change is made on a thread of its own, which is joined before the call returns, and never undone:
//! there is no 'back' that could fail.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tracing::dispatcher;

use crate::error::Error;
use crate::sight;

/// Runs `work` inside the network namespace on the file `path` and returns what it returns.
///
/// The calling thread is blocked meanwhile and never changes its namespace. `work` runs on a thread
/// of its own, which ends with it; it must leave no thread behind, because a thread is born into the
/// namespace of the one that starts it.
///
/// # Errors
/// [`Error::Missing`], [`Error::NotPinned`] or [`Error::Foreign`] if there is no network namespace
/// on the file, [`Error::Thread`] if no thread can be started, [`Error::System`] if the kernel
/// refuses the entry.
///
/// # Panics
/// If `work` panics, with its payload.
pub fn enter<T, F>(path: &Path, work: F) -> Result<T, Error>
where
    T: Send,
    F: FnOnce() -> T + Send,
{
    let namespace = sight::open_namespace(path)?;
    inside(namespace.as_fd(), path, work)
}

/// As [`enter`], for a namespace that is open already; `path` is what errors name.
///
/// # Errors
/// [`Error::Thread`] if no thread can be started, [`Error::System`] if `namespace` is no network
/// namespace or the kernel refuses the entry.
///
/// # Panics
/// If `work` panics, with its payload.
pub fn inside<T, F>(namespace: BorrowedFd<'_>, path: &Path, work: F) -> Result<T, Error>
where
    T: Send,
    F: FnOnce() -> T + Send,
{
    apart(|| {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
            .map_err(Error::system("enter the namespace on", path))?;
        Ok(work())
    })?
}

/// Runs `work` on a thread of its own that ends with it; the caller's subscriber hears its events.
pub(crate) fn apart<T, F>(work: F) -> Result<T, Error>
where
    T: Send,
    F: FnOnce() -> T + Send,
{
    let dispatch = dispatcher::get_default(Clone::clone);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, || dispatcher::with_default(&dispatch, work))
            .map_err(|source| Error::Thread { source })?;
        match thread.join() {
            Ok(answer) => Ok(answer),
            // A panic in the work is the caller's panic, as if there were no thread.
            Err(payload) => std::panic::resume_unwind(payload),
        }
    })
}

#[cfg(test)]
mod tests;
