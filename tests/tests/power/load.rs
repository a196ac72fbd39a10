//! Clients of a daemon whose machine loses power.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use podwalk_testkit::scripted_plugin::Script;
use podwalk_tests::daemon::{Client, Daemon};
use podwalk_tests::dice::{Dice, SEED, seed_or};
use podwalk_tests::disk::{self, Kind};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::wait;

use crate::reboot::{DEADLINE, PATIENCE, Site, all_come_down, come_to_be_free};

const CLIENTS: u64 = 3;
const ROUNDS: u64 = 4;

/// What was asked of a pod and what was granted: true for a pod, false for none.
#[derive(Debug, Clone, Copy, Default)]
struct Belief {
    asked: bool,
    granted: Option<bool>,
}

/// By the pods' names.
type Beliefs = BTreeMap<String, Belief>;

/// Clients that ask until the plug is pulled.
struct Load<'a> {
    client: &'a Client,
    round: u64,
    beliefs: Mutex<Beliefs>,
    pulled: AtomicBool,
}

impl Load<'_> {
    fn believe(&self, name: &str, change: impl FnOnce(&mut Belief)) {
        let mut beliefs = self.beliefs.lock().unwrap_or_else(PoisonError::into_inner);
        change(beliefs.entry(name.to_owned()).or_default());
    }

    fn now(&self) -> Beliefs {
        let beliefs = self.beliefs.lock();
        beliefs.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn granted(&self) -> usize {
        let beliefs = self.now();
        let granted = beliefs.values().filter(|belief| belief.granted.is_some());
        granted.count()
    }

    /// One client: it keeps a few pods, and removes one for each that it starts.
    fn ask(&self, number: u64, mut dice: Dice) -> Result<()> {
        let mut pods: Vec<String> = Vec::new();
        for turn in 0_u64.. {
            let is_new = pods.len() < 2 || (pods.len() < 4 && dice.percent(50));
            let name = match is_new {
                true => format!("pod-{}-{number}-{turn}", self.round),
                false => pods.remove(dice.index(pods.len())),
            };
            self.believe(&name, |belief| belief.asked = is_new);
            let answer = match is_new {
                true => self.client.call(["run", "--name", &name])?,
                false => self.client.call(["rm", "-f", &name])?,
            };
            if answer.code != 0 && self.pulled.load(Ordering::SeqCst) {
                break;
            }
            answer.done().with_context(|| name.clone())?;
            self.believe(&name, |belief| belief.granted = Some(is_new));
            pods.extend(is_new.then_some(name));
        }
        Ok(())
    }

    /// Lets them ask for a while, and pulls the plug: what they had been granted before, and what they
    /// had asked until after.
    fn pull(&self, site: &mut Site, daemon: Daemon, dice: &mut Dice) -> Result<[Beliefs; 2]> {
        let seeds: Vec<u64> = (0..CLIENTS).map(|_| dice.any()).collect();
        let wanted = 4 + dice.index(12);
        std::thread::scope(|scope| {
            let mut clients = Vec::new();
            for (number, seed) in (0..).zip(seeds) {
                clients.push(scope.spawn(move || self.ask(number, Dice::new(seed, number))));
            }
            let enough = wait::until(PATIENCE, || {
                let failed = clients.iter().any(|client| client.is_finished());
                Ok((failed || self.granted() >= wanted).then_some(()))
            })?;
            for turn in 0..dice.below(3_000_000) {
                std::hint::black_box(turn);
            }
            let before = self.now();
            self.pulled.store(true, Ordering::SeqCst);
            let ended = site.pull(daemon);
            let after = self.now();
            for client in clients {
                let answer = client.join();
                answer.unwrap_or_else(|_| Err(anyhow!("a client panicked")))?;
            }
            ended?;
            enough.with_context(|| format!("no {wanted} answers"))?;
            Ok([before, after])
        })
    }
}

/// Clients run and remove pods; power fails at random moments. Each pod is there that was granted, and
/// none that was removed; nothing is owed in the end, and no address is kept.
#[test]
fn scenario_32_every_pod_is_as_it_was_acknowledged_after_a_pulled_plug() -> Result<()> {
    node::run_where(Layout::V2, DEADLINE, disk::lacking, || {
        let seed = seed_or(56)?;
        println!("{SEED}={seed}");
        let mut dice = Dice::new(seed, 4);
        let mut site = Site::make(Kind::Journalled, &Script::new())?;
        let (mut daemon, mut client) = site.start()?;
        let mut known = Beliefs::new();
        for round in 0..ROUNDS {
            let load = Load {
                client: &client,
                round,
                beliefs: Mutex::default(),
                pulled: AtomicBool::new(false),
            };
            let [before, after] = load.pull(&mut site, daemon, &mut dice)?;
            (daemon, client) = site.start()?;
            let there = all_come_down(&client)?;
            compare(&before, &after, &there)?;
            compare(&known, &known, &there).context("of an earlier round")?;
            known.extend(after.into_keys().map(|name| {
                let asked = there.contains(&name);
                let granted = Some(asked);
                (name, Belief { asked, granted })
            }));
            come_to_be_free()?;
            for word in ["quarantine", "look for orphans"] {
                ensure!(!daemon.log().contains(word), "{}", daemon.log());
            }
            daemon.has_not_panicked()?;
            println!("round {round}: {} pods are there", there.len());
        }
        site.close(daemon, &client)
    })
}

/// What was granted before and not asked otherwise until after is so.
fn compare(before: &Beliefs, after: &Beliefs, there: &[String]) -> Result<()> {
    for (name, belief) in after {
        let granted = before.get(name).and_then(|before| before.granted);
        ensure!(
            granted != Some(belief.asked) || there.contains(name) == belief.asked,
            "{name}: granted {granted:?}, asked {}, there: {there:?}",
            belief.asked
        );
    }
    Ok(())
}
