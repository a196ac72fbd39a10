//! A test that is also its own child process: it runs itself once more, with
//! its part in the environment.

#![allow(dead_code, reason = "not every test file needs all of it")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use podwalk_engine::ports::JournalError;
use podwalk_store::{OpenError, OpenOptions, SledJournal};

#[path = "../../src/samples.rs"]
pub(crate) mod samples;

/// Where the child finds its journal.
const DIRECTORY: &str = "PODWALK_STORE_TEST_DIRECTORY";

/// The directory, in the child; none in the test itself.
pub(crate) fn child_directory() -> Option<PathBuf> {
    env::var_os(DIRECTORY).map(PathBuf::from)
}

/// The command that runs `test` of this file as a child on `directory`.
pub(crate) fn child_command(test: &str, directory: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("the test's own path"));
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .stdin(Stdio::null());
    command
}

/// A child that is killed and reaped when the test ends, however it ends.
pub(crate) struct Reaped(pub(crate) Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // It may be gone already, and then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the child with its stdout in a pipe.
pub(crate) fn spawn(test: &str, directory: &Path) -> Reaped {
    let mut command = child_command(test, directory);
    Reaped(command.stdout(Stdio::piped()).spawn().expect("a child"))
}

/// Options with little memory and no reserve.
pub(crate) fn options(directory: &Path) -> OpenOptions {
    OpenOptions {
        reserve_bytes: 0,
        cache_bytes: 4 << 20,
        ..OpenOptions::new(directory)
    }
}

/// Opens what must open, without a warning about losses.
pub(crate) fn open(directory: &Path) -> SledJournal {
    SledJournal::open(options(directory)).expect("the journal opens")
}

/// A number generator of which every run can be repeated (xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    /// From the seed in `PODWALK_SEED`, or else from the clock; it is printed.
    pub(crate) fn thrown(test: &str) -> Self {
        let given = env::var("PODWALK_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let clock = std::time::UNIX_EPOCH
            .elapsed()
            .map_or(1, |now| now.as_nanos() as u64);
        let seed = given.unwrap_or(clock).max(1);
        println!("{test}: PODWALK_SEED={seed}");
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// How an opening or a call ended, in a word.
pub(crate) fn word(result: &Result<(), JournalError>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(JournalError::Full { .. }) => "full",
        Err(JournalError::Poisoned { .. }) => "poisoned",
        Err(_) => "other",
    }
}

/// Whether an opening was refused for damage, by whatever name.
pub(crate) fn is_damage(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::Damaged { .. } | OpenError::Hung { .. } | OpenError::NoSpace { .. }
    )
}
