//! A process that appends, and what its journal must hold after each of its calls.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use futures_executor::block_on;
use podwalk_engine::id::PodId;
use podwalk_engine::ports::{BoxFuture, Durability, Journal, JournalError, Replay};
use podwalk_store::{OpenOptions, SledJournal, format};
use podwalk_tests::dice::Dice;

use crate::life::{Call, Life};

/// Where the child finds its part: the directory, the seed and the number of turns.
const PART: &str = "PODWALK_POWER_PART";
/// How a line begins by which the child says why it stopped.
pub(crate) const REFUSED: &str = "refused: ";
/// Pods that live at one time.
const PODS: usize = 12;

/// What the child does, drawn from a seed: both sides draw the same.
pub(crate) struct Workload {
    turns: Vec<Turn>,
}

/// What happens between two waits.
enum Turn {
    /// The journal is closed and opened.
    Reopen,
    /// Calls that are all in the queue before the first is waited for.
    Burst(Vec<Call>),
}

impl Workload {
    /// So many turns; after about `reopen_each` of them the journal is opened anew.
    ///
    /// # Errors
    /// If a life is none.
    pub(crate) fn drawn(seed: u64, turns: u64, reopen_each: u64) -> Result<Self> {
        let mut dice = Dice::new(seed, 1);
        let mut lives: Vec<Life> = Vec::new();
        let (mut born, mut moment) = (0, 0);
        let mut drawn = Vec::new();
        for _ in 0..turns {
            let reopens = dice.below(reopen_each) == 0;
            let width = if dice.percent(20) {
                2 + dice.below(6)
            } else {
                1
            };
            let mut burst = Vec::new();
            for _ in 0..width {
                while lives.len() < PODS {
                    born += 1;
                    lives.push(Life::drawn(born, &mut dice));
                }
                moment += 1_000_000;
                let at = dice.index(lives.len());
                match lives[at].go_on(moment)? {
                    Some(call) => burst.push(call),
                    None => drop(lives.remove(at)),
                }
            }
            // None where all that were chosen had come to their end: the last thing that is said is
            // always an answer.
            if !burst.is_empty() {
                drawn.extend(reopens.then_some(Turn::Reopen));
                drawn.push(Turn::Burst(burst));
            }
        }
        Ok(Self { turns: drawn })
    }

    /// All calls, in order.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.turns.iter().flat_map(|turn| match turn {
            Turn::Reopen => &[][..],
            Turn::Burst(calls) => calls,
        })
    }

    /// What each call was promised to survive, in order.
    pub(crate) fn promises(&self) -> Vec<Durability> {
        self.calls().map(Call::durability).collect()
    }

    /// The states of a journal that held this before the first call: that, and after each.
    ///
    /// # Errors
    /// If a record does not encode.
    pub(crate) fn states(&self, mut state: State) -> Result<Vec<State>> {
        let mut states = vec![state.clone()];
        for call in self.calls() {
            state.take(call)?;
            states.push(state.clone());
        }
        Ok(states)
    }

    /// Does it all in `directory`, and says each step to `said`, a line a write.
    ///
    /// # Errors
    /// What the journal says.
    pub(crate) fn play(
        &self,
        directory: &Path,
        mut said: impl FnMut(Mark) -> Result<()>,
    ) -> Result<()> {
        said(Mark::Opening)?;
        let mut journal = open(directory)?;
        said(Mark::Opened(journal.epoch()))?;
        let mut number = 0;
        for turn in &self.turns {
            let Turn::Burst(calls) = turn else {
                drop(journal);
                said(Mark::Opening)?;
                journal = open(directory)?;
                said(Mark::Opened(journal.epoch()))?;
                continue;
            };
            said(Mark::Begun(number + calls.len()))?;
            let answers: Vec<_> = calls.iter().map(|call| ask(&journal, call)).collect();
            for answer in answers {
                block_on(answer)?;
                number += 1;
                said(Mark::Answered(number))?;
            }
        }
        drop(journal);
        Ok(())
    }
}

/// Makes one call after the other, and each that is refused for want of space a few times: until the
/// end, or until something is refused for good, which is the answer.
///
/// # Errors
/// If nobody listens.
pub(crate) fn play_on_a_bad_disk(
    workload: &Workload,
    directory: &Path,
    mut said: impl FnMut(Mark) -> Result<()>,
) -> Result<Option<anyhow::Error>> {
    const TIMES: usize = 4;
    said(Mark::Opening)?;
    let journal = match open(directory) {
        Ok(journal) => journal,
        Err(refused) => return Ok(Some(refused)),
    };
    said(Mark::Opened(journal.epoch()))?;
    for (number, call) in (1..).zip(workload.calls()) {
        said(Mark::Begun(number))?;
        let mut answer = block_on(ask(&journal, call));
        for _ in 0..TIMES {
            if let Err(JournalError::Full { .. }) = answer {
                answer = block_on(ask(&journal, call));
            }
        }
        match answer {
            Ok(()) => said(Mark::Answered(number))?,
            Err(refused) => return Ok(Some(refused.into())),
        }
    }
    Ok(None)
}

/// Opens a journal as a daemon would, without a reserve.
///
/// # Errors
/// Why it does not open.
pub(crate) fn open(directory: &Path) -> Result<SledJournal> {
    let options = OpenOptions {
        reserve_bytes: 0,
        cache_bytes: 4 << 20,
        ..OpenOptions::new(directory)
    };
    SledJournal::open(options).context("it does not open")
}

/// Makes a call; it is in the queue when this returns.
pub(crate) fn ask<'a>(
    journal: &'a SledJournal,
    call: &Call,
) -> BoxFuture<'a, Result<(), JournalError>> {
    match call.clone() {
        Call::Append(batch, durability) => journal.append(batch, durability),
        Call::Compact(snapshot) => journal.compact(snapshot),
        Call::Bury(obituary) => journal.bury(*obituary),
    }
}

/// What the child says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is about to open the journal.
    Opening,
    /// It is open, with this epoch.
    Opened(u64),
    /// So many calls in all are asked for from here on.
    Begun(usize),
    /// So many are answered.
    Answered(usize),
}

impl Mark {
    fn line(self) -> String {
        match self {
            Self::Opening => "opening 0\n".to_owned(),
            Self::Opened(epoch) => format!("opened {epoch}\n"),
            Self::Begun(calls) => format!("begun {calls}\n"),
            Self::Answered(calls) => format!("answered {calls}\n"),
        }
    }

    /// Reads a line that a child has written.
    ///
    /// # Errors
    /// If no child wrote it.
    pub(crate) fn read(line: &str) -> Result<Self> {
        let (word, number) = line.trim_end().split_once(' ').context("no mark")?;
        match word {
            "opening" => Ok(Self::Opening),
            "opened" => Ok(Self::Opened(number.parse()?)),
            "begun" => Ok(Self::Begun(number.parse()?)),
            "answered" => Ok(Self::Answered(number.parse()?)),
            _ => anyhow::bail!("{line:?} is no mark"),
        }
    }
}

/// The child's part.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The directory of the journal.
    pub(crate) journal: PathBuf,
    /// The file to which it says what it does.
    pub(crate) said: PathBuf,
    /// What the workload is drawn from.
    pub(crate) seed: u64,
    /// How long it is.
    pub(crate) turns: u64,
    /// After how many turns, about, the journal is opened anew.
    pub(crate) reopen_each: u64,
    /// Whether its disk may refuse.
    pub(crate) is_bad: bool,
}

impl Part {
    /// The part that this process is to play, if it is a child.
    ///
    /// # Errors
    /// If what the environment says is no part.
    pub(crate) fn of_this_process() -> Result<Option<Self>> {
        let Ok(text) = std::env::var(PART) else {
            return Ok(None);
        };
        let mut lines = text.lines();
        let mut line = || lines.next().context("a part has six lines");
        Ok(Some(Self {
            journal: line()?.into(),
            said: line()?.into(),
            seed: line()?.parse()?,
            turns: line()?.parse()?,
            reopen_each: line()?.parse()?,
            is_bad: line()?.parse()?,
        }))
    }

    /// The words of a command that runs `test` of this executable as the child.
    ///
    /// # Errors
    /// If this executable cannot be found.
    pub(crate) fn command(&self, wrapper: &[OsString], test: &str) -> Result<Command> {
        let own = std::env::current_exe()?.into_os_string();
        let words = [wrapper, &[own]].concat();
        let mut command = Command::new(&words[0]);
        let part = format!(
            "{}\n{}\n{}\n{}\n{}\n{}",
            self.journal.display(),
            self.said.display(),
            self.seed,
            self.turns,
            self.reopen_each,
            self.is_bad
        );
        command
            .args(&words[1..])
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(PART, part)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Ok(command)
    }

    /// Plays it.
    ///
    /// # Errors
    /// What the journal says, on a disk that may not refuse.
    pub(crate) fn play(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(&self.said)?;
        let said = |mark: Mark| Ok(file.write_all(mark.line().as_bytes())?);
        let workload = self.workload()?;
        if !self.is_bad {
            return workload.play(&self.journal, said);
        }
        if let Some(refused) = play_on_a_bad_disk(&workload, &self.journal, said)? {
            eprintln!("{REFUSED}{refused:#}");
        }
        Ok(())
    }

    /// What is played.
    ///
    /// # Errors
    /// If it cannot be drawn.
    pub(crate) fn workload(&self) -> Result<Workload> {
        Workload::drawn(self.seed, self.turns, self.reopen_each)
    }
}

/// What a journal holds, each record as a hash of its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pods: BTreeMap<PodId, Vec<u64>>,
    buried: BTreeMap<PodId, u64>,
}

impl State {
    /// What a journal answers.
    ///
    /// # Errors
    /// If it has a pod in quarantine.
    pub(crate) fn of(replay: Replay) -> Result<Self> {
        anyhow::ensure!(
            replay.quarantined.is_empty(),
            "in quarantine: {:?}",
            replay.quarantined
        );
        let mut state = Self::default();
        for (pod, entries) in replay.pods {
            let entries = entries
                .into_iter()
                .map(|entry| Ok(hash(&format::encode(entry)?)));
            state.pods.insert(pod, entries.collect::<Result<_>>()?);
        }
        for obituary in replay.obituaries {
            let pod = obituary.pod.id;
            let bytes = format::encode_obituary(obituary)?;
            state.buried.insert(pod, hash(&bytes));
        }
        Ok(state)
    }

    /// What it holds after one more call.
    ///
    /// # Errors
    /// If a record does not encode.
    pub(crate) fn take(&mut self, call: &Call) -> Result<()> {
        match call.clone() {
            Call::Append(batch, _) => {
                for entry in batch {
                    let records = self.pods.entry(entry.pod).or_default();
                    records.push(hash(&format::encode(entry)?));
                }
            }
            Call::Compact(snapshot) => {
                let pod = snapshot.pod;
                self.pods
                    .insert(pod, vec![hash(&format::encode(snapshot)?)]);
            }
            Call::Bury(obituary) => {
                let pod = obituary.pod.id;
                self.pods.remove(&pod);
                let bytes = format::encode_obituary(*obituary)?;
                self.buried.insert(pod, hash(&bytes));
            }
        }
        Ok(())
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
