//! The journal on a disk that refuses: at one system call after another.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_tests::counts;
use podwalk_tests::dice::{SEED, seed_or};
use podwalk_tests::node::{self, Layout};

use crate::recording::{self, Heard, Held, holds_nothing_half};
use crate::workload::{Mark, Part, REFUSED};

/// A guard against a hang, no measure of speed.
const DEADLINE: Duration = Duration::from_secs(600);

/// Which calls fail, and how. They are those of one thread each: sled's file is written by several.
const FAILURES: [(&str, &str); 8] = [
    ("pwrite64", "ENOSPC"),
    ("pwrite64", "EDQUOT"),
    ("pwrite64", "EIO"),
    ("fdatasync", "EIO"),
    ("fdatasync", "ENOSPC"),
    ("fsync", "EIO"),
    ("rename", "ENOSPC"),
    ("ftruncate", "EIO"),
];
/// Which of them: the first, the second, …; or all from there on.
const TIMES: [&str; 6] = ["1", "2", "3", "5", "1+", "2+"];
/// What an operator may be told to do.
const REMEDIES: [&str; 5] = [
    "free space there",
    "free some space",
    "check the disk, then restart",
    "check that the directory is writable and its disk is sound",
    "restore the directory from a copy",
];

/// A journal to begin with.
struct Ground {
    directory: PathBuf,
    held: Held,
    seed: u64,
}

impl Ground {
    fn lay(seed: u64) -> Result<Self> {
        let directory = node::disk().join("ground");
        fs::create_dir(&directory)?;
        let part = part(&directory, seed, 30);
        part.workload()?.play(&part.journal, |_| Ok(()))?;
        // A copy is asked: who asks leaves something behind.
        let copy = node::disk().join("asked");
        recording::copy(&directory, &copy)?;
        let held = holds_nothing_half(&copy.join("journal"), None)?;
        fs::remove_dir_all(&copy)?;
        Ok(Self {
            directory,
            held,
            seed,
        })
    }

    /// Runs the child on a disk that refuses so: how often it did, and what the child said last.
    fn refuse(&self, test: &str, call: &str, error: &str, when: &str) -> Result<(usize, String)> {
        let directory = node::disk().join("refused");
        recording::copy(&self.directory, &directory)?;
        let part = part(&directory, self.seed + 1, 10);
        let log = node::disk().join("tampered");
        let tamper = tamper(&log, call, error, when);
        let mut command = part.command(&tamper, test)?;
        let ran = command.stderr(Stdio::piped()).output().context("strace")?;
        let text = String::from_utf8_lossy(&ran.stderr).into_owned();
        let refused = text.lines().find_map(|line| line.strip_prefix(REFUSED));
        let refused = refused.unwrap_or_default().to_owned();

        let said = fs::read_to_string(&part.said)?;
        let marks: Vec<Mark> = said.lines().map(Mark::read).collect::<Result<_>>()?;
        let workload = part.workload()?;
        let calls = workload.calls().count();
        let came_to_its_end = marks.last() == Some(&Mark::Answered(calls));
        ensure!(
            came_to_its_end || !refused.is_empty(),
            "the child died after {:?}: {text}",
            marks.last()
        );
        let mut heard = Heard::of(&marks, &marks, &workload.promises());
        heard.epoch = heard.epoch.or(Some(self.held.epoch - 1));
        let held = holds_nothing_half(&part.journal, heard.epoch)
            .with_context(|| format!("after {refused:?}"))?;
        let states = workload.states(self.held.state.clone())?;
        let mut possible = heard.durable..=heard.begun;
        ensure!(
            possible.any(|calls| states[calls] == held.state),
            "after {refused:?} it holds what {:?} calls had left: {heard:?}",
            states.iter().rposition(|state| *state == held.state)
        );
        let injected = fs::read_to_string(&log)?.matches("(INJECTED)").count();
        fs::remove_dir_all(&directory)?;
        Ok((injected, refused))
    }
}

fn part(directory: &Path, seed: u64, turns: u64) -> Part {
    Part {
        journal: directory.join("journal"),
        said: directory.join("said"),
        seed,
        turns,
        reopen_each: u64::MAX,
        is_bad: true,
    }
}

/// The words of a recorder that lets calls fail, those that are about the store's own files.
fn tamper(log: &Path, call: &str, error: &str, when: &str) -> Vec<OsString> {
    let inject = format!("inject={call}:error={error}:when={when}");
    let words = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "signal=none",
        "-e",
        &inject,
        "-e",
    ];
    let mut words: Vec<OsString> = words.map(OsString::from).into();
    words.extend([format!("trace={call}").into(), "-o".into(), log.into()]);
    words
}

/// Whatever call fails: who asked hears it with a remedy, what was acknowledged is there, and without
/// the failure it goes on.
#[test]
fn scenario_27_a_disk_that_refuses_any_call_loses_nothing() -> Result<()> {
    const TEST: &str = "refused::scenario_27_a_disk_that_refuses_any_call_loses_nothing";
    node::run_within(Layout::V1, DEADLINE, || {
        if let Some(part) = Part::of_this_process()? {
            return part.play();
        }
        let seed = seed_or(27)?;
        println!("{SEED}={seed}");
        let ground = Ground::lay(seed)?;
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (call, error) in FAILURES {
            for when in TIMES {
                let shown = || format!("{call} gives {error} at {when}");
                let (injected, refused) =
                    ground.refuse(TEST, call, error, when).with_context(shown)?;
                println!("{}: {injected} times, {refused:?}", shown());
                let has_remedy = REMEDIES.iter().any(|remedy| refused.contains(remedy));
                ensure!(refused.is_empty() || has_remedy, "{}: {refused}", shown());
                *seen.entry(call).or_default() += usize::from(injected > 0);
                counts::add("disk-errors", injected as u64)?;
            }
        }
        for (call, often) in [
            ("pwrite64", 12),
            ("fdatasync", 4),
            ("fsync", 4),
            ("rename", 1),
        ] {
            ensure!(seen[call] >= often, "{call} has hardly failed: {seen:?}");
        }
        Ok(())
    })
}
