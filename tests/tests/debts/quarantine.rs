//! Pods that do not decode: listed, shown byte for byte, dropped by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use futures_executor::block_on;
use podwalk_engine::id::PodId;
use podwalk_engine::ports::{Durability, Journal};
use podwalk_engine::record::{Goal, Observation, Record};
use podwalk_store::{OpenOptions, SledJournal};
use podwalk_tests::daemon::{Client, Config, Daemon};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::{self, End, Scene, Told};
use podwalk_tests::{outside, wait};
use serde_json::Value;

use crate::{PATIENCE, has_keys, podnet, refused, rows, says, shown};

fn journal_dir(config: &Config) -> PathBuf {
    config.state_dir.join("journal")
}

/// The journal of a daemon that is down, without the code that would notice what is done to it.
fn raw(config: &Config) -> Result<sled::Db> {
    let db = sled::Config::new()
        .path(journal_dir(config).join("sled"))
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(None)
        .segment_size(8 << 20)
        .open();
    db.context("the journal, raw")
}

/// Flips a bit in a pod's fourth record, and gives all that the journal has of it then, as digits.
fn flip(config: &Config, id: &str) -> Result<BTreeMap<u64, String>> {
    let db = raw(config)?;
    let pod: PodId = id.parse()?;
    let prefix = [&b"p"[..], &pod.0].concat();
    let key = [&prefix[..], &3u64.to_be_bytes(), &0u16.to_be_bytes()].concat();
    let mut value = db.get(&key)?.context("no such record")?.to_vec();
    *value.last_mut().context("an empty record")? ^= 1;
    db.insert(&key, value)?;
    db.flush()?;
    let mut records = BTreeMap::new();
    for pair in db.scan_prefix(&prefix) {
        let (key, value) = pair?;
        let number = key.get(17..25).context("a key")?.try_into()?;
        let digits: &mut String = records.entry(u64::from_be_bytes(number)).or_default();
        digits.extend(value.iter().map(|byte| format!("{byte:02x}")));
    }
    Ok(records)
}

/// The digits of each record, as they are told.
fn digits(detail: &Value) -> Result<BTreeMap<u64, String>> {
    let records = detail["records"].as_array().context("no records")?;
    let pair = |record: &Value| {
        let number = record["sequence"].as_u64().context("sequence")?;
        Ok((number, record["hex"].as_str().context("hex")?.to_owned()))
    };
    records.iter().map(pair).collect()
}

/// Three pods, the second of which does not read when the daemon is back.
struct Damaged {
    scene: Scene,
    config: Config,
    ids: Vec<String>,
    told: Told,
    bytes: BTreeMap<u64, String>,
}

impl Damaged {
    fn make() -> Result<Self> {
        let config = Config::default();
        let scene = Scene::open_with(&config, &[podnet()])?;
        let client = scene.client();
        let ids: Vec<String> = ["one", "two", "three"]
            .iter()
            .map(|name| client.run(&["--name", name]))
            .collect::<Result<_>>()?;
        let told = Told::by(&client.inspect("two")?)?;
        let between = scene.end(End::Terminate)?;
        let bytes = flip(&config, &ids[1])?;
        let scene = between.begin(&config)?;
        Ok(Self {
            scene,
            config,
            ids,
            told,
            bytes,
        })
    }

    /// What the pod owns is as it was.
    fn is_untouched(&self) -> Result<()> {
        let process = format!("/proc/{}", self.told.pid);
        ensure!(Path::new(&process).exists(), "its sandbox is gone");
        let pinned = outside::namespace_on(&self.told.key)?;
        ensure!(pinned.is_some(), "its namespace is gone");
        Ok(())
    }
}

fn others_are_as_they_were(client: &Client, ids: &[String]) -> Result<()> {
    for id in [&ids[0], &ids[2]] {
        scene::agrees_with_outside(&client.inspect(id)?)?;
    }
    Ok(())
}

#[test]
fn scenario_40_a_pod_in_quarantine_is_shown_byte_for_byte() -> Result<()> {
    node::run(Layout::V2, || {
        let damaged = Damaged::make()?;
        let (client, id) = (damaged.scene.client(), damaged.ids[1].as_str());
        let listed = rows(&client, &["quarantine"])?;
        ensure!(listed.len() == 1, "{listed:?}");
        let keys = ["id", "name", "records", "bytes", "lastRecord", "reason"];
        has_keys(&listed[0], &keys)?;
        ensure!(
            listed[0]["id"] == id && listed[0]["name"] == "two",
            "{listed:?}"
        );
        ensure!(listed[0]["records"] == damaged.bytes.len(), "{listed:?}");
        let size: usize = damaged.bytes.values().map(|digits| digits.len() / 2).sum();
        ensure!(listed[0]["bytes"] == size, "{listed:?}");
        ensure!(listed[0]["lastRecord"].as_u64() > Some(0), "{listed:?}");
        says(&listed[0]["reason"].to_string(), &["record 3", "checksum"])?;
        let table = client.call(["quarantine"])?.done()?.stdout;
        says(&table, &["RECORDS", "two", "record 3"])?;

        // By its id, the beginning of that, or the name that can be read.
        for text in [id, &id[..12], "two"] {
            let detail = client.json(&["quarantine", "show", text])?;
            has_keys(&detail, &["id", "name", "reason", "records"])?;
            ensure!(digits(&detail)? == damaged.bytes, "{detail:#}");
            let record = &detail["records"][3];
            has_keys(record, &["sequence", "bytes", "envelope", "error", "hex"])?;
            ensure!(record["envelope"]["pod"] == id && record["envelope"]["sequence"] == 3);
            says(&record["error"].to_string(), &["checksum"])?;
            let whole = &detail["records"][0];
            has_keys(whole, &["sequence", "bytes", "envelope", "record", "hex"])?;
            ensure!(whole["record"]["Goal"]["goal"] == "Run", "{whole}");
        }
        let printed = client.call(["quarantine", "show", id])?.done()?.stdout;
        says(
            &printed,
            &[
                "record 3,",
                "does not decode",
                "  00000000  50 57 4c 4b",
                "|PWLK",
            ],
        )?;

        // It is no pod, and that is told.
        let words = ["no pod", "is in quarantine", "podwalk quarantine show"];
        refused(&client.call(["inspect", id])?, 3, &words)?;
        refused(&client.call(["debts", "pay", id])?, 3, &words)?;
        refused(
            &client.call(["quarantine", "show", "one"])?,
            3,
            &["no pod 'one' in quarantine"],
        )?;
        damaged.is_untouched()?;

        // Of a daemon that is down the same is read.
        let before = client.json(&["quarantine", "show", id])?;
        let interval = damaged.scene.end(End::Kill)?;
        let directory = shown(&damaged.config.state_dir)?;
        ensure!(rows(&client, &["quarantine", "--state-dir", directory])? == listed);
        let detail = client.json(&["quarantine", "show", id, "--state-dir", directory])?;
        ensure!(detail == before, "{detail:#}");
        let other = client.call(["quarantine", "show", "one", "--state-dir", directory])?;
        refused(&other, 3, &["no pod 'one'"])?;
        let dropped = client.call(["quarantine", "drop", id, "--reason", "x"])?;
        refused(&dropped, 4, &["no daemon answers"])?;

        // Nothing of all that has touched it: put right, it is the pod again.
        flip(&damaged.config, id)?;
        let scene = interval.begin(&damaged.config)?;
        let client = scene.client();
        ensure!(rows(&client, &["quarantine"])?.is_empty());
        let told = scene::agrees_with_outside(&client.inspect("two")?)?;
        ensure!(told == damaged.told);
        for id in &damaged.ids {
            client.call(["rm", "-f", id])?.done()?;
        }
        scene.close()
    })
}

#[test]
fn scenario_40_a_pod_in_quarantine_is_dropped_by_name_and_does_not_come_back() -> Result<()> {
    node::run(Layout::V2, || {
        let damaged = Damaged::make()?;
        let (client, id) = (damaged.scene.client(), damaged.ids[1].clone());
        let id = id.as_str();
        says(&fix(&client)?, &["orphans: none"])?;
        refused(&client.call(["quarantine", "drop", id])?, 2, &["--reason"])?;
        let empty = client.call(["quarantine", "drop", id, "--reason", ""])?;
        refused(&empty, 2, &["it is empty"])?;
        let other = client.call(["quarantine", "drop", "one", "--reason", "x"])?;
        refused(&other, 3, &["no pod 'one' in quarantine"])?;

        // Without a place for its bytes it stays.
        let place = damaged.config.state_dir.join("quarantine");
        fs::write(&place, "somebody's")?;
        let answer = client.call(["quarantine", "drop", id, "--reason", "x"])?;
        refused(
            &answer,
            1,
            &["cannot be kept", shown(&place)?, "nothing is dropped"],
        )?;
        ensure!(digits(&client.json(&["quarantine", "show", id])?)? == damaged.bytes);
        fs::remove_file(&place)?;

        let answer = client.json(&["quarantine", "drop", id, "--reason", "a bad disk"])?;
        has_keys(&answer, &["id", "keptIn", "mayBeLeft"])?;
        let kept = answer["keptIn"].as_str().context("keptIn")?;
        ensure!(Path::new(kept).starts_with(&place), "{kept}");
        let file: Value = serde_json::from_slice(&fs::read(kept)?)?;
        ensure!(digits(&file)? == damaged.bytes && file["dropReason"] == "a bad disk");
        let left = answer["mayBeLeft"].to_string();
        says(
            &left,
            &[
                shown(&damaged.told.key)?,
                "findmnt",
                "cgroup",
                "/var/lib/cni",
            ],
        )?;
        says(
            &damaged.scene.daemon().log(),
            &["is dropped", "a bad disk", id],
        )?;
        ensure!(rows(&client, &["quarantine"])?.is_empty());
        refused(&client.call(["quarantine", "show", id])?, 3, &["no pod"])?;
        others_are_as_they_were(&client, &damaged.ids)?;
        says(&fix(&client)?, &[id, "it is kept"])?;
        damaged.is_untouched()?;

        // It is not back, and nobody touches what it has left.
        let scene = damaged.scene.restart(End::Kill)?;
        let client = scene.client();
        ensure!(rows(&client, &["quarantine"])?.is_empty(), "it is back");
        ensure!(client.list(true)?.len() == 2, "{:?}", client.list(true)?);
        others_are_as_they_were(&client, &damaged.ids)?;
        let pinned = outside::namespace_on(&damaged.told.key)?;
        ensure!(pinned.is_some(), "its namespace was taken away");
        let again = client.run(&["--name", "two"])?;
        ensure!(again != id);
        for pod in [&damaged.ids[0], &damaged.ids[2], &again] {
            client.call(["rm", "-f", pod])?.done()?;
        }
        ensure!(rows(&client, &["debts"])?.is_empty());
        // What is left is found as the answer said, and an operator clears it.
        clear(&client, &damaged.told, answer["mayBeLeft"].as_array())?;
        let is_others = |line: &String| !line.contains(id) && !line.starts_with("address ");
        let cleared = wait::until(PATIENCE, || {
            let left = scene.oracle().leftovers()?;
            Ok((!left.iter().any(is_others)).then_some(()))
        })?;
        cleared.with_context(|| format!("{:?}", scene.oracle().leftovers()))?;
        ensure!(scene.end(End::Terminate).is_ok());
        Ok(())
    })
}

/// Has the daemon remove its orphans; what it says.
fn fix(client: &Client) -> Result<String> {
    let answer = client.call(["doctor", "--fix", "--cni-bin-dir", "/usr/lib/cni"])?;
    Ok(answer.stdout)
}

/// Every command that was told shows something; then the sandbox is killed, and its namespace is an
/// orphan that can go.
fn clear(client: &Client, told: &Told, left: Option<&Vec<Value>>) -> Result<()> {
    for left in left.context("mayBeLeft")? {
        let look = left["look"].as_str().context("look")?;
        let shown = outside::output(std::process::Command::new("sh").args(["-c", look]));
        let shown = shown.with_context(|| look.to_owned())?;
        ensure!(!shown.trim().is_empty(), "{look} shows nothing");
    }
    let pid = told.pid.to_string();
    outside::output(std::process::Command::new("kill").args(["-9", &pid]))?;
    let removed = wait::until(PATIENCE, || {
        Ok(fix(client)?.contains("removed").then_some(()))
    })?;
    removed.context("it is kept for ever")?;
    ensure!(!Path::new(&told.key).exists(), "the file");
    Ok(())
}

/// Records that are whole, each of them, and make no pod.
#[test]
fn a_pod_that_does_not_fold_is_in_quarantine_like_one_that_does_not_decode() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::default();
        let daemon = Daemon::start(&config)?;
        let id = daemon
            .client()
            .run(&["--name", "web", "--network", "none"])?;
        ensure!(daemon.terminate()?.success());
        let journal = SledJournal::open(OpenOptions::new(journal_dir(&config)))?;
        let pod: PodId = id.parse()?;
        let mut entry = block_on(journal.read(pod))?.pop().context("no records")?;
        entry.sequence += 1;
        // Nobody has asked for its removal.
        let goal = Goal::Remove;
        entry.record = Record::Observed(Observation::Outlived { goal });
        block_on(journal.append(vec![entry], Durability::Power))?;
        drop(journal);

        let daemon = Daemon::start(&config)?;
        let client = daemon.client();
        let listed = rows(&client, &["quarantine"])?;
        ensure!(
            listed[0]["id"] == id.as_str() && listed[0]["name"] == "web",
            "{listed:?}"
        );
        says(&listed[0]["reason"].to_string(), &["cannot follow"])?;
        let detail = client.json(&["quarantine", "show", &id])?;
        let records = detail["records"].as_array().context("records")?;
        ensure!(
            records.iter().all(|record| record["error"].is_null()),
            "{detail:#}"
        );
        let told = client
            .call(["quarantine", "drop", &id, "--reason", "x"])?
            .done()?
            .stdout;
        says(&told, &["dropped", "kept in", "findmnt"])?;
        let daemon = daemon.crash_and_restart()?;
        let client = daemon.client();
        ensure!(rows(&client, &["quarantine"])?.is_empty() && client.list(true)?.is_empty());
        Ok(())
    })
}
