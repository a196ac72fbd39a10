//! A run of a workload under a recorder, and the crash images that are made from the record.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use futures_executor::block_on;
use podwalk_engine::ports::{Durability, Journal};
use podwalk_store::{SledJournal, Warning};
use podwalk_tests::dice::Dice;
use podwalk_tests::node;

use crate::life::Life;
use crate::luck::{Kind, Luck};
use crate::platter::Platter;
use crate::trace::{self, Event};
use crate::workload::{self, Mark, Part, State};

/// A write that is large, bytes.
const MUCH: usize = 1 << 20;

/// Everything that a process did, and what its journal had to hold after each call.
pub(crate) struct Recording {
    /// The disk before.
    before: Platter,
    /// The last epoch before; none if there was no journal.
    epoch: Option<u64>,
    events: Vec<Event>,
    /// What each call was promised to survive.
    promises: Vec<Durability>,
    states: Vec<State>,
}

/// A journal to begin with.
pub(crate) struct Beginning<'a> {
    /// The directory that holds it.
    pub(crate) tree: &'a Path,
    /// Its epoch; none before the first opening.
    pub(crate) epoch: Option<u64>,
    /// What it holds.
    pub(crate) state: State,
}

/// What the process had said when the power was cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    /// Calls that were begun.
    pub(crate) begun: usize,
    /// The last call that is on the platter, by the journal's word.
    pub(crate) durable: usize,
    /// The last epoch; none before the first opening has ended.
    pub(crate) epoch: Option<u64>,
}

impl Heard {
    /// Nothing, of a journal with this epoch.
    fn nothing(epoch: Option<u64>) -> Self {
        Self {
            begun: 0,
            durable: 0,
            epoch,
        }
    }

    /// What was surely promised when power was cut, by what was said before, and what may have been
    /// done, by what was said until after.
    pub(crate) fn of(before: &[Mark], until: &[Mark], promises: &[Durability]) -> Self {
        let hear = |marks: &[Mark]| {
            let mut heard = Self::nothing(None);
            marks.iter().for_each(|mark| heard.hear(*mark, promises));
            heard
        };
        Self {
            begun: hear(until).begun,
            ..hear(before)
        }
    }

    fn hear(&mut self, mark: Mark, promises: &[Durability]) {
        match mark {
            Mark::Opening => {}
            Mark::Opened(epoch) => self.epoch = Some(epoch),
            Mark::Begun(begun) => self.begun = begun,
            Mark::Answered(call) if promises[call - 1] == Durability::Power => self.durable = call,
            Mark::Answered(_) => {}
        }
    }
}

/// Where the power is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cut {
    /// After so many events.
    at: usize,
    /// Which image of the run.
    number: u64,
}

/// What the images were like.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// How many were made.
    pub(crate) images: u64,
    /// What is wrong with which.
    pub(crate) wrong: Vec<String>,
}

/// What an image held.
pub(crate) struct Held {
    /// The epoch of its opening.
    pub(crate) epoch: u64,
    /// Its records.
    pub(crate) state: State,
}

impl Recording {
    /// Runs the child `test` of this executable below the recorder.
    ///
    /// # Errors
    /// If the recorder is missing, or the child does not come to its end.
    pub(crate) fn make(test: &str, part: Part, beginning: Option<Beginning<'_>>) -> Result<Self> {
        let root = part.journal.parent().context("a directory")?.to_owned();
        fs::create_dir(&root)?;
        let (epoch, state) = match beginning {
            None => (None, State::default()),
            Some(beginning) => {
                let journal = beginning.tree.join("journal");
                fs::create_dir_all(&journal)?;
                copy(&journal, &part.journal)?;
                (beginning.epoch, beginning.state)
            }
        };
        let before = Platter::holding(&root)?;
        let record = node::disk().join("record");
        let mut command = part.command(&trace::recorder(&record), test)?;
        let ran = command.stderr(Stdio::piped()).output().context("strace")?;
        let workload = part.workload()?;
        let said = fs::read_to_string(&part.said)?;
        let last = Mark::read(said.lines().last().context("it says nothing")?)?;
        ensure!(
            last == Mark::Answered(workload.calls().count()),
            "the child ended after {last:?}, {}: {}",
            ran.status,
            String::from_utf8_lossy(&ran.stderr)
        );
        let events = trace::read(&record, &root, &part.said)?;
        for file in [&record, &part.said] {
            fs::remove_file(file)?;
        }
        fs::remove_dir_all(&root)?;
        Ok(Self {
            before,
            epoch,
            events,
            promises: workload.promises(),
            states: workload.states(state)?,
        })
    }

    /// How many things happened.
    pub(crate) fn events(&self) -> usize {
        self.events.len()
    }

    /// The same run on a disk that lies about fdatasync.
    pub(crate) fn on_a_lying_disk(self) -> Self {
        Self {
            before: self.before.lying(),
            ..self
        }
    }

    /// Makes so many images, one after the other, and looks at each, until one is wrong too many.
    ///
    /// # Errors
    /// If the record contradicts itself.
    pub(crate) fn examine(&self, images: u64, seed: u64, bearable: usize) -> Result<Findings> {
        let mut findings = Findings::default();
        self.each_image(images, seed, |image, kind, cut, heard| {
            findings.images += 1;
            if let Err(error) = self.look(image, heard) {
                findings.wrong.push(format!(
                    "{cut:?} of {}, {kind:?}, {heard:?}: {error:#}",
                    self.events.len()
                ));
            }
            Ok(findings.wrong.len() <= bearable)
        })?;
        Ok(findings)
    }

    /// Keeps so many images, each in a directory of its own in `kept`.
    ///
    /// # Errors
    /// If the record contradicts itself.
    pub(crate) fn keep(&self, images: u64, seed: u64, kept: &Path) -> Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        self.each_image(images, seed, |image, _, cut, _| {
            let path = kept.join(format!("image-{}", cut.number));
            fs::rename(image, &path)?;
            fs::create_dir(image)?;
            all.push(path);
            Ok(true)
        })?;
        Ok(all)
    }

    fn each_image(
        &self,
        images: u64,
        seed: u64,
        mut take: impl FnMut(&Path, Kind, Cut, Heard) -> Result<bool>,
    ) -> Result<()> {
        let mut platter = self.before.clone();
        let mut heard = Heard::nothing(self.epoch);
        let mut done = 0;
        let image = node::disk().join("image");
        for cut in self.cuts(images, &mut Dice::new(seed, 2)) {
            for event in &self.events[done..cut.at] {
                platter.take(event)?;
                if let Event::Said(line) = event {
                    heard.hear(Mark::read(line)?, &self.promises);
                }
            }
            done = cut.at;
            let kind = Kind::ALL[cut.number as usize % Kind::ALL.len()];
            let mut luck = Luck::new(kind, Dice::new(seed, 1000 + cut.number));
            platter.cut(&image, &mut luck)?;
            let goes_on = take(&image, kind, cut, heard)?;
            fs::remove_dir_all(&image)?;
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// So many moments, in order: some anywhere, some right before a sync has ended, some while the
    /// journal opens, some while much is not on the platter.
    fn cuts(&self, count: u64, dice: &mut Dice) -> Vec<Cut> {
        let anywhere: Vec<usize> = (0..=self.events.len()).collect();
        let (mut syncs, mut opening, mut much) = (Vec::new(), Vec::new(), Vec::new());
        let (mut opens, mut unsynced) = (true, None::<&PathBuf>);
        for (at, event) in self.events.iter().enumerate() {
            match event {
                Event::Said(line) if line.starts_with("opening") => opens = true,
                Event::Said(line) if line.starts_with("opened") => opens = false,
                Event::Sync(sync) => {
                    syncs.push(at);
                    unsynced = unsynced.filter(|path| **path != sync.path);
                }
                Event::Write(path, _, bytes) if bytes.len() >= MUCH => unsynced = Some(path),
                _ => {}
            }
            if opens {
                opening.push(at + 1);
            }
            if unsynced.is_some() {
                much.push(at + 1);
            }
        }
        let kinds = [anywhere, syncs, opening, much];
        let kinds: Vec<_> = kinds.iter().filter(|moments| !moments.is_empty()).collect();
        let mut cuts: Vec<Cut> = (0..count)
            .map(|number| {
                let moments = kinds[dice.index(kinds.len())];
                let at = moments[dice.index(moments.len())];
                Cut { at, number }
            })
            .collect();
        cuts.sort();
        cuts
    }

    /// Expects of an image what must be true of every one.
    fn look(&self, image: &Path, heard: Heard) -> Result<()> {
        let held = holds_nothing_half(&image.join("journal"), heard.epoch)?;
        let possible = heard.durable..=heard.begun;
        let mut found = possible.clone();
        if !found.any(|calls| self.states[calls] == held.state) {
            let as_after = self.states.iter().rposition(|one| *one == held.state);
            anyhow::bail!("it holds what {as_after:?} calls had left, not {possible:?}");
        }
        Ok(())
    }
}

/// Opens what a power cut has left, expects that it has lost nothing by its own account, writes to it,
/// and opens it again: what it held at first. `epoch` is the last one before, where there was one.
///
/// # Errors
/// What is otherwise.
pub(crate) fn holds_nothing_half(journal: &Path, epoch: Option<u64>) -> Result<Held> {
    fs::create_dir_all(journal)?;
    let opened = workload::open(journal)?;
    has_lost_nothing(&opened, epoch)?;
    let held = Held {
        epoch: opened.epoch(),
        state: State::of(block_on(opened.replay())?)?,
    };
    let call = Life::drawn(u64::MAX, &mut Dice::new(1, 1)).go_on(1)?;
    let call = call.context("a birth")?;
    block_on(workload::ask(&opened, &call)).context("it is not writable")?;
    drop(opened);
    let again = workload::open(journal).context("the second time")?;
    ensure!(again.report().warnings.is_empty(), "{:?}", again.report());
    ensure!(again.epoch() > held.epoch, "an epoch is used twice");
    let mut expected = held.state.clone();
    expected.take(&call)?;
    let found = State::of(block_on(again.replay())?)?;
    ensure!(
        found == expected,
        "what was written after the cut is not there"
    );
    Ok(held)
}

fn has_lost_nothing(journal: &SledJournal, epoch: Option<u64>) -> Result<()> {
    for warning in &journal.report().warnings {
        let harmless = match warning {
            Warning::InterruptedOpening { .. } => true,
            // The very first opening was cut: there was nothing yet.
            Warning::CensusMissing { .. } => epoch.is_none(),
            _ => false,
        };
        ensure!(harmless, "{warning}");
    }
    let now = journal.epoch();
    ensure!(epoch.is_none_or(|last| now > last), "epoch {now} again");
    Ok(())
}

/// Copies a directory.
///
/// # Errors
/// What the file system says.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut command = std::process::Command::new("cp");
    podwalk_tests::outside::output(command.args(["-a", "--sparse=always"]).arg(from).arg(to))?;
    Ok(())
}
