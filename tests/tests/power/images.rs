//! Crash images from a record: 500 of them, and more where the environment asks for more.

use std::fs;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use podwalk_tests::counts;
use podwalk_tests::dice::{SEED, seed_or};
use podwalk_tests::node::{self, Layout};

use crate::recording::{Beginning, Findings, Recording, holds_nothing_half};
use crate::workload::Part;

/// Names the number of images of the three tests together.
const IMAGES: &str = "PODWALK_POWER_IMAGES";
/// A guard against a hang, no measure of speed.
const DEADLINE: Duration = Duration::from_secs(4 * 3600);

/// So many percent of all images.
fn images(percent: u64) -> Result<u64> {
    let all = std::env::var(IMAGES).ok().map(|text| text.parse());
    Ok((all.transpose()?.unwrap_or(540) * percent).div_ceil(100))
}

fn seed() -> Result<u64> {
    let seed = seed_or(24)?;
    println!("{SEED}={seed}");
    Ok(seed)
}

/// So many turns on a new journal, which is opened anew about so often.
fn part(seed: u64, turns: u64, reopen_each: u64) -> Part {
    Part {
        journal: node::disk().join("recorded/journal"),
        said: node::disk().join("said"),
        seed,
        turns,
        reopen_each,
        is_bad: false,
    }
}

fn judge(findings: &Findings) -> Result<()> {
    let Findings { images, wrong } = findings;
    counts::add("crash-images", *images)?;
    counts::add("lost", wrong.len() as u64)?;
    println!("{images} crash images, {} of them wrong", wrong.len());
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Long enough that sled uses its segments again: what it writes over must not be needed any more.
#[test]
fn scenario_32_every_crash_image_of_a_busy_journal_holds_what_was_acknowledged() -> Result<()> {
    const TEST: &str =
        "images::scenario_32_every_crash_image_of_a_busy_journal_holds_what_was_acknowledged";
    node::run_within(Layout::V1, DEADLINE, || {
        if let Some(part) = Part::of_this_process()? {
            return part.play();
        }
        let seed = seed()?;
        let recording = Recording::make(TEST, part(seed, 700, 70), None)?;
        println!("{} events", recording.events());
        judge(&recording.examine(images(30)?, seed, 20)?)
    })
}

/// Power is cut while the journal is made and opened, over and over.
#[test]
fn scenario_32_every_crash_image_of_an_opening_opens() -> Result<()> {
    const TEST: &str = "images::scenario_32_every_crash_image_of_an_opening_opens";
    node::run_within(Layout::V1, DEADLINE, || {
        if let Some(part) = Part::of_this_process()? {
            return part.play();
        }
        let seed = seed()?;
        let recording = Recording::make(TEST, part(seed, 60, 8), None)?;
        println!("{} events", recording.events());
        judge(&recording.examine(images(60)?, seed, 20)?)
    })
}

/// Power is cut again while the journal recovers from a power cut.
#[test]
fn scenario_32_every_crash_image_of_a_recovery_opens() -> Result<()> {
    const TEST: &str = "images::scenario_32_every_crash_image_of_a_recovery_opens";
    node::run_within(Layout::V1, DEADLINE, || {
        if let Some(part) = Part::of_this_process()? {
            return part.play();
        }
        let seed = seed()?;
        let first = Recording::make(TEST, part(seed, 60, 30), None)?;
        let images = images(10)?;
        let recoveries = images.div_ceil(12);
        let mut findings = Findings::default();
        for (number, tree) in (1..).zip(first.keep(recoveries, seed, node::disk())?) {
            let looked_at = tree.with_extension("copy");
            crate::recording::copy(&tree, &looked_at)?;
            let held = holds_nothing_half(&looked_at.join("journal"), None)?;
            fs::remove_dir_all(&looked_at)?;
            let beginning = Beginning {
                tree: &tree,
                epoch: (held.epoch > 1).then(|| held.epoch - 1),
                state: held.state,
            };
            let second = Recording::make(TEST, part(seed + number, 4, 1000), Some(beginning))?;
            fs::remove_dir_all(&tree)?;
            let found = second.examine(images.div_ceil(recoveries), seed + number, 5)?;
            findings.images += found.images;
            findings.wrong.extend(found.wrong);
        }
        judge(&findings)
    })
}

/// The rig is worth something only if it sees losses where there are some.
#[test]
fn without_its_barriers_the_journal_loses_and_the_rig_sees_it() -> Result<()> {
    const TEST: &str = "images::without_its_barriers_the_journal_loses_and_the_rig_sees_it";
    node::run_within(Layout::V1, DEADLINE, || {
        if let Some(part) = Part::of_this_process()? {
            return part.play();
        }
        let seed = seed()?;
        let recording = Recording::make(TEST, part(seed, 60, 1000), None)?;
        let sound = recording.examine(9, seed, 0)?;
        ensure!(sound.wrong.is_empty(), "{}", sound.wrong.join("\n"));
        let lying = recording.on_a_lying_disk();
        // Where the power is cut right after the beginning, there is little to lose: so again.
        let mut images = 0;
        for again in 0..20 {
            let found = lying.examine(9, seed + again, 0)?;
            images += found.images;
            if !found.wrong.is_empty() {
                println!("{}", found.wrong.join("\n"));
                return Ok(());
            }
        }
        bail!("{images} images on a disk that lies, and nothing is missed")
    })
}
