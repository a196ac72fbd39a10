//! A client that behaves like kubelet, over a daemon that is killed again and again.
//!
//! Fifty pods come and go, some of them die, some of their networks fail, up and down, and the daemon
//! gets SIGKILL in the middle of it. At the end every pod that is wanted is up, every one that is not is gone, and nothing is left. Meanwhile
//! kubelet must never be told what makes it kill or multiply a healthy pod: `pods` says what is held
//! against the daemon.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::cri::{Cri, inspected};
use podwalk_tests::daemon::Config;
use podwalk_tests::dice::{Dice, seed_or_new};
use podwalk_tests::node::{Layout, run_within};
use podwalk_tests::scene::{self, End, Scene};
use podwalk_tests::{counts, wait};

mod events;
mod kubelet;
mod node;
mod plugin;
mod pods;
mod shared;

use kubelet::Kubelet;
use plugin::Unsteady;

/// How many pods the node has.
const PODS: usize = 50;

/// How often the daemon is killed, unless a variable says otherwise.
const ROUNDS: &str = "PODWALK_KUBELET_ROUNDS";
const USUAL_ROUNDS: u64 = 12;

/// A guard against a hang, no measure of speed.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn scenario_59_kubelet_gets_every_pod_once_over_a_daemon_that_is_killed() -> Result<()> {
    let rounds = match std::env::var(ROUNDS) {
        Ok(text) => text.parse().with_context(|| format!("{ROUNDS}={text}"))?,
        Err(_) => USUAL_ROUNDS,
    };
    let within = Duration::from_secs(600 + 60 * rounds);
    run_within(Layout::V1, within, || {
        let seed = seed_or_new()?;
        println!("kubelet: seed {seed}");
        churn(seed, rounds).with_context(|| format!("seed {seed}"))
    })
}

fn churn(seed: u64, rounds: u64) -> Result<()> {
    let mut dice = Dice::new(seed, 0);
    let network = Bridge::new("net0", "10.78.0.0/16")
        .and("fd78::/64")
        .made_by(plugin::NAME)
        .with_ports();
    let mut config = Config::default();
    let plugin = Unsteady::before(&mut config, seed)?;
    let mut scene = Scene::open_with(&config, &[network])?;
    let cri = Cri::at(scene.client().address())?;
    let mut kubelet = Kubelet::begin(&cri, PODS, seed, plugin);
    kubelet.await_relists(1)?;
    for _ in 0..rounds {
        for _ in 0..dice.below(12) {
            kubelet.disturb(&mut dice)?;
        }
        kubelet.await_relists(1 + dice.below(8))?;
        dice.spin(20_000);
        kubelet.note_kill();
        scene = scene.restart(End::Kill)?;
        kubelet.note_restart();
        kubelet.check()?;
    }
    let settled = wait::until(PATIENCE, || {
        kubelet.check()?;
        Ok(kubelet.is_settled().then_some(()))
    })?;
    ensure!(
        settled.is_some(),
        "not as wanted: {:#?}",
        kubelet.unsettled()
    );
    agree(&cri, &kubelet)?;
    kubelet.want_nothing();
    let gone = wait::until(PATIENCE, || {
        kubelet.check()?;
        Ok(kubelet.is_settled().then_some(()))
    })?;
    ensure!(gone.is_some(), "not gone: {:#?}", kubelet.unsettled());
    let heard = wait::until(PATIENCE, || {
        kubelet.check()?;
        Ok(kubelet.unheard().is_empty().then_some(()))
    })?;
    ensure!(heard.is_some(), "not heard of: {:#?}", kubelet.unheard());
    let summary = kubelet.summary();
    kubelet.end()?;
    // A failed start is in no list when its debt is paid, and what lies under it is undone then.
    let down = wait::until(PATIENCE, || {
        Ok(scene.client().list(true)?.is_empty().then_some(()))
    })?;
    down.with_context(|| format!("still there: {:?}", scene.client().list(true)))?;
    let debts = scene.client().json(&["debts"])?;
    ensure!(debts.as_array().is_some_and(Vec::is_empty), "{debts:#}");
    println!("kubelet, seed {seed}: {rounds} kills, {summary}");
    counts::add("kubelet-kills", rounds)?;
    scene.close()
}

/// What kubelet believes is true of the node: every pod it wants answers, on an address of its own.
fn agree(cri: &Cri, kubelet: &Kubelet<'_>) -> Result<()> {
    let mut addresses = BTreeSet::new();
    for id in kubelet.running() {
        let told = scene::agrees_with_outside(&inspected(&cri.verbose_status(&id)?)?)?;
        for address in told.addresses {
            ensure!(addresses.insert(address), "{address:?} is two pods'");
        }
    }
    ensure!(addresses.len() == 2 * kubelet.wanted(), "{addresses:?}");
    Ok(())
}
