//! What a run of all tests adds up to.
//!
//! Tests run in many processes. Each adds a line `name number` to the file that the environment
//! variable `PODWALK_COUNTS` names, and the Makefile prints the sums when all of them have ended.

use std::fs::File;
use std::io::Write;

use anyhow::{Context, Result};

/// Names the file; without it nothing is counted.
pub const FILE: &str = "PODWALK_COUNTS";

/// Adds to a count.
///
/// # Errors
/// If the file cannot be written.
pub fn add(name: &str, number: u64) -> Result<()> {
    let Some(path) = std::env::var_os(FILE) else {
        return Ok(());
    };
    let file = File::options().create(true).append(true).open(&path);
    let mut file = file.with_context(|| path.display().to_string())?;
    // One write of a short line is never torn by another process's.
    file.write_all(format!("{name} {number}\n").as_bytes())
        .context(FILE)
}
