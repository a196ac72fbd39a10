//! The journal on a real disk, whose plug is pulled while it is written.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::lines;
use podwalk_tests::dice::{Dice, SEED, seed_or};
use podwalk_tests::disk::{self, Disk, Kind};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::{counts, wait};

use crate::recording::{Heard, holds_nothing_half};
use crate::workload::{Mark, Part, State};

/// Names the number of copies.
const COPIES: &str = "PODWALK_DISK_COPIES";
/// A guard against a hang, no measure of speed.
const DEADLINE: Duration = Duration::from_secs(4 * 3600);
const PATIENCE: Duration = Duration::from_secs(60);

/// What the writer has said by now; none of a line that is not whole.
fn marks(said: &Path) -> Result<Vec<Mark>> {
    let lines = lines::whole(said)?;
    lines.iter().map(|line| Mark::read(line)).collect()
}

/// Waits until the writer has said so many things.
fn has_said(said: &Path, count: usize) -> Result<()> {
    let there = wait::until(PATIENCE, || Ok((marks(said)?.len() >= count).then_some(())))?;
    there.with_context(|| format!("the writer has not said {count} things"))
}

#[test]
fn scenario_32_every_copy_of_a_disk_under_load_holds_what_was_acknowledged() -> Result<()> {
    const TEST: &str =
        "pulled::scenario_32_every_copy_of_a_disk_under_load_holds_what_was_acknowledged";
    node::run_where(Layout::V1, DEADLINE, disk::lacking, || {
        under_load(TEST, Kind::Journalled)
    })
}

#[test]
fn scenario_32_every_copy_of_an_xfs_under_load_holds_what_was_acknowledged() -> Result<()> {
    const TEST: &str =
        "pulled::scenario_32_every_copy_of_an_xfs_under_load_holds_what_was_acknowledged";
    node::run_where(Layout::V1, DEADLINE, disk::lacking, || {
        under_load(TEST, Kind::Xfs)
    })
}

/// Pulls the plug at many moments of one run.
fn under_load(test: &str, kind: Kind) -> Result<()> {
    if let Some(part) = Part::of_this_process()? {
        return part.play();
    }
    let seed = seed_or(32)?;
    println!("{SEED}={seed}");
    let copies = std::env::var(COPIES).ok().map(|text| text.parse());
    let copies = copies.transpose()?.unwrap_or(10_u64).div_ceil(2);
    let mut disk = Disk::insert(kind, 320, Path::new("/mnt"))?;
    let part = Part {
        journal: "/mnt/state/journal".into(),
        said: node::disk().join("said"),
        seed,
        // Between two copies there are fewer turns, each of which says three things and more.
        turns: 250 * copies,
        reopen_each: 80,
        is_bad: false,
    };
    let mut writer = part.command(&[], test)?.spawn()?;
    let taken = take(&mut disk, &part.said, copies, &mut Dice::new(seed, 3));
    // Whatever came of it: it is ended, and seen gone.
    writer.kill()?;
    writer.wait()?;
    let taken = taken?;
    look(&disk, &part, &taken).with_context(|| format!("a {kind:?} disk"))?;
    println!("{} copies of a {kind:?} disk", taken.len());
    counts::add("disk-copies", taken.len() as u64)?;
    disk.put_away()
}

/// What the plug leaves, pulled at one moment.
struct Copy {
    drive: PathBuf,
    /// What had been said before it was taken, and by the time that it was.
    before: Vec<Mark>,
    until: Vec<Mark>,
}

fn take(disk: &mut Disk, said: &Path, copies: u64, dice: &mut Dice) -> Result<Vec<Copy>> {
    let mut taken = Vec::new();
    let mut spoken = 0;
    for _ in 0..copies {
        spoken += 1 + dice.index(500);
        has_said(said, spoken)?;
        // A turn on the spot: a moment between two things that it says.
        for turn in 0..dice.below(200_000) {
            std::hint::black_box(turn);
        }
        let before = marks(said)?;
        let drive = disk.copy()?;
        let until = marks(said)?;
        spoken = spoken.max(until.len());
        taken.push(Copy {
            drive,
            before,
            until,
        });
    }
    Ok(taken)
}

fn look(disk: &Disk, part: &Part, taken: &[Copy]) -> Result<()> {
    let workload = part.workload()?;
    let promises = workload.promises();
    let states = workload.states(State::default())?;
    for (number, copy) in taken.iter().enumerate() {
        let heard = Heard::of(&copy.before, &copy.until, &promises);
        let journal = part.journal.strip_prefix("/mnt")?;
        let seen = disk.look_into(&copy.drive, |at| {
            let held = holds_nothing_half(&at.join(journal), heard.epoch)?;
            let possible = heard.durable..=heard.begun;
            let mut found = possible.clone();
            ensure!(
                found.any(|calls| states[calls] == held.state),
                "it holds what {:?} calls had left, not {possible:?}",
                states.iter().rposition(|state| *state == held.state)
            );
            Ok(())
        });
        seen.with_context(|| format!("copy {number}, {heard:?}"))?;
    }
    Ok(())
}
