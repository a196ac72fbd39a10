//! Journals that are not as a daemon would have written them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use futures_executor::block_on;
use podwalk_engine::id::PodId;
use podwalk_engine::ports::{Durability, Journal};
use podwalk_engine::record::{Intent, Record};
use podwalk_store::{OpenOptions, SledJournal};
use podwalk_tests::daemon::{Config, Daemon};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::scene::{self, Told};

use crate::{begin, comes_to_be, fails, lives, podnet, sandbox_of, says};

fn journal_dir(config: &Config) -> PathBuf {
    config.state_dir.join("journal")
}

/// The journal of a daemon that is down, without the code that would notice what is done to it.
fn raw(config: &Config) -> Result<sled::Db> {
    let path = journal_dir(config).join("sled");
    let db = sled::Config::new()
        .path(path)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(None)
        .segment_size(8 << 20)
        .open();
    db.context("the journal, raw")
}

/// Flips a bit of one record of a pod. Done twice, it is as before.
fn flip(config: &Config, id: &str) -> Result<()> {
    let db = raw(config)?;
    let pod: PodId = id.parse()?;
    let mut key = [&b"p"[..], &pod.0].concat();
    // The fourth record, its first chunk.
    key.extend_from_slice(&3u64.to_be_bytes());
    key.extend_from_slice(&0u16.to_be_bytes());
    let mut value = db.get(&key)?.context("no such record")?.to_vec();
    *value.last_mut().context("an empty record")? ^= 1;
    db.insert(&key, value)?;
    db.flush()?;
    Ok(())
}

/// A record that does not read: that pod alone is set aside, with its bytes and all that it owns, until
/// somebody decides.
#[test]
fn scenario_40_a_pod_that_does_not_read_is_set_aside_and_nothing_of_it_is_touched() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::default();
        podnet().write(&config.cni_conf_dir, 10)?;
        let oracle = Oracle::new(Places::of(&config)?)?;
        let daemon = Daemon::start(&config)?;
        let ids: Vec<String> = ["one", "two", "three"]
            .iter()
            .map(|name| daemon.client().run(&["--name", name]))
            .collect::<Result<_>>()?;
        let before = daemon.client().inspect("two")?;
        ensure!(daemon.terminate()?.success());
        flip(&config, &ids[1])?;

        for _ in 0..2 {
            let daemon = Daemon::start(&config)?;
            let client = daemon.client();
            let rows = client.list(true)?;
            let listed: BTreeSet<_> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
            ensure!(listed == ["one", "three"].into(), "{listed:?}");
            for id in [&ids[0], &ids[2]] {
                scene::agrees_with_outside(&client.inspect(id)?)?;
            }
            says(&daemon.log(), &["quarantine", &ids[1]])?;
            let plan = client.json(&["plan"])?;
            ensure!(plan["quarantined"][0]["id"] == ids[1].as_str(), "{plan}");
            // What it owns is as it was.
            ensure!(lives(sandbox_of(&before)?), "its sandbox is gone");
            let key = Told::by(&before)?.key;
            ensure!(
                podwalk_tests::outside::namespace_on(&key)?.is_some(),
                "unmounted"
            );
            ensure!(daemon.terminate()?.success());
        }

        // The bytes were kept: put right, they are the pod again.
        flip(&config, &ids[1])?;
        let daemon = Daemon::start(&config)?;
        let client = daemon.client();
        let told = scene::agrees_with_outside(&client.inspect("two")?)?;
        ensure!(told == Told::by(&before)?);
        for id in &ids {
            client.call(["rm", "-f", id])?.done()?;
        }
        ensure!(daemon.terminate()?.success());
        oracle.assert_clean()
    })
}

/// Two pods with one name: the daemon starts, keeps both, and tells them apart by their ids.
#[test]
fn scenario_11_two_pods_with_one_name_do_not_keep_the_daemon_from_starting() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::default();
        podnet().write(&config.cni_conf_dir, 10)?;
        let oracle = Oracle::new(Places::of(&config)?)?;
        let daemon = Daemon::start(&config)?;
        let id = daemon.client().run(&["--name", "web"])?;
        let other = daemon.client().run(&["--name", "other"])?;
        ensure!(daemon.terminate()?.success());
        let twin = add_a_twin(&config, &id)?;

        let daemon = Daemon::start(&config)?;
        let client = daemon.client();
        for id in [&id, &other] {
            scene::agrees_with_outside(&client.inspect(id)?)?;
        }
        comes_to_be(&client, "web", |row| row["id"] == twin || row["id"] == id)?;
        let said = fails(begin(&client, &["inspect", "web"])?)?;
        says(&said, &["'web' means more than one pod", &id, &twin])?;
        for id in [&twin, &id, &other] {
            client.call(["rm", "-f", id])?.done()?;
        }
        ensure!(client.list(true)?.is_empty());
        ensure!(daemon.terminate()?.success());
        oracle.assert_clean()
    })
}

/// Writes another pod's first records with the same name, and gives its id.
fn add_a_twin(config: &Config, id: &str) -> Result<String> {
    let journal = SledJournal::open(OpenOptions::new(journal_dir(config)))?;
    let pod: PodId = id.parse()?;
    let mut twin = pod;
    twin.0[0] ^= 0xff;
    let mut entries = block_on(journal.read(pod))?;
    entries.truncate(2);
    for entry in &mut entries {
        entry.pod = twin;
        if let Record::Intent(Intent::Create(intent)) = &mut entry.record {
            let key = intent.sandbox_key.as_mut().context("no key")?;
            *key = key.replace(id, &twin.to_string());
        }
    }
    ensure!(entries.len() == 2, "{entries:?}");
    block_on(journal.append(entries, Durability::Power))?;
    Ok(twin.to_string())
}
