//! What is wrong with a configuration.

/// A field that no pod here can have as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem} ({remedy})")]
pub struct ConfigError {
    /// The field's path, in CRI's names.
    pub field: String,
    /// What is wrong with it. What stands in it of the client's is short and one line.
    pub problem: String,
    /// What would be right.
    pub remedy: &'static str,
}

/// A text that is no configuration: where, and why.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It begins like JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It was read as YAML.
    #[error(transparent)]
    Yaml(#[from] serde_norway::Error),
}

impl ConfigError {
    pub(crate) fn new(
        field: impl Into<String>,
        problem: impl Into<String>,
        remedy: &'static str,
    ) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
            remedy,
        }
    }
}

/// A number in the type that a spec has for it; `range` tells what fits.
pub(super) fn fitting<T: TryFrom<i64>>(
    field: impl Into<String>,
    value: i64,
    range: &'static str,
) -> Result<T, ConfigError> {
    let fitted = T::try_from(value);
    fitted.map_err(|_| ConfigError::new(field, format!("{value} is out of range"), range))
}

/// What of a client's text stands in an error: bounded, without control characters.
pub(super) fn shortened(text: &str) -> String {
    text.chars()
        .take(60)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
