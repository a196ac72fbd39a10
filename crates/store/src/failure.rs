//! What goes wrong inside sled, panics included.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A failure inside sled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SledFailure {
    /// It said so.
    #[error("{0}")]
    Error(#[from] sled::Error),
    /// It panicked: what it holds in memory is not to be trusted any more.
    #[error("the storage engine panicked: {0}")]
    Panic(String),
}

/// Runs something of sled's, and turns a panic into a failure.
pub(crate) fn guarded<T>(act: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, SledFailure> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(result) => result.map_err(SledFailure::Error),
        Err(panic) => Err(SledFailure::Panic(words_of(panic.as_ref()))),
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests;
