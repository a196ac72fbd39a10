//! What went wrong in a step, as it is recorded and shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The request cannot be granted as it is: change it.
    Invalid,
    /// Something else holds what is asked for.
    Conflict,
    /// It may work later without a change.
    Retry,
    /// An effect did not end within its deadline.
    Timeout,
    /// The host lacks something: a plugin, a runtime, a configuration.
    Environment,
    /// An effect ran and said no.
    Failed,
}

/// The end of a step that did not succeed.
///
/// Pod and step are in the record around it. `message` says what happened and
/// names the path, `remedy` what an operator can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// What a caller can do.
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
    /// What to do about it; may be empty.
    pub remedy: String,
}

impl StepError {
    /// An error without a remedy of its own.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            remedy: String::new(),
        }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)?;
        if self.remedy.is_empty() {
            return Ok(());
        }
        write!(out, " ({})", self.remedy)
    }
}

impl std::error::Error for StepError {}
