//! A process that appends is killed at a random moment: what it was told is
//! there, in order and without a gap.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what it expects by panicking"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use futures_executor::block_on;
use podwalk_engine::ports::{Durability, Journal};
use podwalk_store::Warning;
use support::Dice;
use support::samples::{note, obituary, pod_id, sized, snapshot};
use tempfile::TempDir;

mod support;

const ROUNDS: u64 = 20;
const PODS: u64 = 5;

/// The child: appends to a few pods in turn and says each answer.
fn write_until_killed(directory: &Path) -> ! {
    let journal = support::open(directory);
    let replay = block_on(journal.replay()).expect("it reads");
    let mut next = [0_u64; PODS as usize];
    for (pod, entries) in &replay.pods {
        let number = (0..PODS)
            .find(|number| pod_id(*number) == *pod)
            .expect("a pod of ours");
        next[number as usize] = entries.last().map_or(0, |last| last.sequence + 1);
    }
    let mut out = std::io::stdout();
    for turn in 0_u64.. {
        let pod = turn % PODS;
        let sequence = next[pod as usize];
        let durability = match turn % 3 {
            0 => Durability::Power,
            _ => Durability::Process,
        };
        // Now and then a chunked record, a snapshot, a batch of two.
        let batch = match turn % 11 {
            4 => vec![sized(pod, sequence, 30_000)],
            7 => vec![note(pod, sequence), note(pod, sequence + 1)],
            _ => vec![note(pod, sequence)],
        };
        let last = sequence + batch.len() as u64 - 1;
        match turn % 31 {
            30 => block_on(journal.compact(snapshot(pod, sequence))).expect("compacted"),
            _ => block_on(journal.append(batch, durability)).expect("appended"),
        }
        let last = if turn % 31 == 30 { sequence } else { last };
        next[pod as usize] = last + 1;
        writeln!(out, "ack {pod} {last}").expect("the pipe takes it");
    }
    unreachable!("the turns do not end");
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    const TEST: &str = "what_was_acknowledged_survives_sigkill";
    if let Some(directory) = support::child_directory() {
        write_until_killed(&directory);
    }
    let mut dice = Dice::thrown(TEST);
    let dir = TempDir::new().expect("a directory");
    let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut child = support::spawn(TEST, dir.path());
        let stdout = child.0.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let limit = 1 + dice.below(120);
        let mut read = 0;
        let mut note_line = |line: String| {
            let mut words = line
                .split(' ')
                .skip_while(|word| !word.ends_with("ack"))
                .skip(1);
            let number = |word: Option<&str>| word.and_then(|word| word.parse().ok());
            if let (Some(pod), Some(last)) = (number(words.next()), number(words.next())) {
                acknowledged.insert(pod, last);
                read += 1;
            }
            read
        };
        while let Some(Ok(line)) = lines.next() {
            if note_line(line) == limit {
                break;
            }
        }
        child.0.kill().expect("SIGKILL");
        // What it still said before it died counts too.
        lines.map_while(Result::ok).for_each(|line| {
            note_line(line);
        });
        drop(child);
        check(dir.path(), &acknowledged, round);
    }
    assert_eq!(acknowledged.len() as u64, PODS, "every pod was written to");
}

fn check(directory: &Path, acknowledged: &BTreeMap<u64, u64>, round: u64) {
    let journal = support::open(directory);
    assert_eq!(journal.report().warnings, [], "round {round}");
    let replay = block_on(journal.replay()).expect("it reads");
    assert_eq!(replay.quarantined, [], "round {round}");
    let there: BTreeMap<_, _> = replay.pods.into_iter().collect();
    for (pod, last) in acknowledged {
        let entries = there
            .get(&pod_id(*pod))
            .unwrap_or_else(|| panic!("pod {pod} is there"));
        let found = entries.last().expect("no pod is empty").sequence;
        assert!(
            found >= *last,
            "round {round}: pod {pod} ends at {found}, not {last}"
        );
    }
}

/// The child: opens, appends one record, buries one pod, closes, again and
/// again.
fn open_until_killed(directory: &Path) -> ! {
    loop {
        let journal = support::open(directory);
        let epoch = journal.epoch();
        block_on(journal.append(vec![note(epoch, 0)], Durability::Power)).expect("appended");
        block_on(journal.bury(obituary(epoch - 1, 1))).expect("buried");
        drop(journal);
        println!("epoch {epoch}");
    }
}

/// Scenario 31: an interrupted opening leaves a journal that opens.
#[test]
fn scenario_31_sigkill_while_it_opens_never_keeps_it_from_opening() {
    const TEST: &str = "scenario_31_sigkill_while_it_opens_never_keeps_it_from_opening";
    if let Some(directory) = support::child_directory() {
        open_until_killed(&directory);
    }
    let mut dice = Dice::thrown(TEST);
    let dir = TempDir::new().expect("a directory");
    let mut epoch = 0;
    for round in 0..50 {
        let mut child = support::spawn(TEST, dir.path());
        let stdout = child.0.stdout.take().expect("a pipe");
        let mut openings = BufReader::new(stdout).lines();
        // Some openings in peace, then a random part of the next one: busy
        // work instead of a clock, so that a slow machine is no other test.
        let peaceful = dice.below(3);
        let seen = openings
            .by_ref()
            .map_while(Result::ok)
            .filter(|line| line.contains("epoch "))
            .take(peaceful as usize)
            .count();
        assert_eq!(seen as u64, peaceful, "round {round}: it opens in peace");
        let mut spun = dice.below(1_000_000);
        while spun > 0 {
            spun = std::hint::black_box(spun) - 1;
        }
        child.0.kill().expect("SIGKILL");
        drop(child);
        let journal = support::open(dir.path());
        let warnings = &journal.report().warnings;
        let losses = warnings
            .iter()
            .filter(|warning| !matches!(warning, Warning::InterruptedOpening { .. }));
        assert_eq!(losses.count(), 0, "round {round}: {:?}", journal.report());
        assert!(
            journal.epoch() > epoch,
            "round {round}: no epoch is used twice"
        );
        epoch = journal.epoch();
    }
}
