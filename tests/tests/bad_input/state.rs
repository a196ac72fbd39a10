//! A state directory that is full, read-only, or damaged.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::scripted_plugin::{Answer as PluginAnswer, Script};
use podwalk_tests::daemon::{Config, Daemon};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::plugins::Plugins;
use podwalk_tests::scene::{self, Scene};
use podwalk_tests::{outside, wait};
use serde_json::json;

use crate::configuration::fails_to_start;
use crate::{podnet, refused, says, still_serves};

const PATIENCE: Duration = Duration::from_secs(60);

/// How large the parts are in which the journal's file grows, bytes.
const SEGMENT: u64 = 8 << 20;

/// A state directory on a disk of its own, of so many MiB.
fn on_a_disk_of(mebibytes: u32) -> Result<Config> {
    let mut config = Config::default();
    let disk = node::disk().join("small");
    fs::create_dir(&disk)?;
    run(
        &[
            "mount",
            "-t",
            "tmpfs",
            "-o",
            &format!("size={mebibytes}m"),
            "small",
        ],
        &disk,
    )?;
    config.state_dir = disk.join("podwalk");
    Ok(config)
}

fn run(words: &[&str], path: &Path) -> Result<()> {
    outside::output(Command::new(words[0]).args(&words[1..]).arg(path)).map(drop)
}

fn disk_of(config: &Config) -> Result<&Path> {
    config.state_dir.parent().context("the disk")
}

/// Takes space away until only `spared` bytes are left, or nothing.
fn fill(config: &Config, spared: u64) -> Result<PathBuf> {
    let path = disk_of(config)?.join("filling");
    let file = OpenOptions::new().create(true).append(true).open(&path)?;
    let mut at = file.metadata()?.len();
    for block in [vec![0; 1 << 20], vec![0; 4096]] {
        while free(config)? > spared + block.len() as u64 || (spared == 0 && free(config)? > 0) {
            if file.write_all_at(&block, at).is_err() {
                break;
            }
            at += block.len() as u64;
        }
    }
    Ok(path)
}

fn free(config: &Config) -> Result<u64> {
    let found = rustix::fs::statvfs(disk_of(config)?)?;
    Ok(found.f_bavail * found.f_frsize)
}

#[test]
fn a_full_disk_at_the_start_says_how_much_is_needed() -> Result<()> {
    node::run(Layout::V2, || {
        let config = on_a_disk_of(200)?;
        let filling = fill(&config, 8 << 20)?;
        let log = fails_to_start(&config)?;
        says(
            &log,
            &["small/podwalk", "bytes free", "needs", "free some space"],
        )?;
        fs::remove_file(filling)?;
        let scene = Scene::open_with(&config, &[podnet()])?;
        still_serves(&scene.client())?;
        scene.close()
    })
}

#[test]
fn scenario_27_a_disk_that_fills_up_under_a_running_daemon() -> Result<()> {
    node::run(Layout::V2, || {
        let config = on_a_disk_of(200)?;
        let scene = Scene::open_with(&config, &[podnet()])?;
        let client = scene.client();
        let pods: Vec<String> = ["one", "two"]
            .iter()
            .map(|name| client.run(&["--name", name]))
            .collect::<Result<_>>()?;
        scene::agrees_with_outside(&client.inspect(&pods[0])?)?;

        // Below the reserve nothing new begins; what runs can be taken down.
        let filling = fill(&config, 32 << 20)?;
        let answer = client.call(["run", "--name", "new"])?;
        let words = [
            "disk is full",
            "small/podwalk/journal",
            "reserve",
            "free space there",
        ];
        refused(&answer, 1, &words)?;
        ensure!(client.list(true)?.len() == 2);
        client.call(["rm", "-f", &pods[1]])?.done()?;

        // With nothing left an undo may still fit into the pages that the journal has; if it does
        // not, that is an error, and it is done again.
        fill(&config, 0)?;
        let answer = client.call(["stop", &pods[0]])?;
        if answer.code != 0 {
            refused(&answer, 1, &["disk is full", "free space there"])?;
        }

        // With space it goes on by itself, in the same process.
        fs::remove_file(filling)?;
        let id = client.run(&["--name", "new"])?;
        for id in [&pods[0], &id] {
            client.stop(id)?;
            client.remove(id)?;
        }
        still_serves(&client)?;
        scene.close()
    })
}

/// What is done and cannot be recorded leads nowhere: the next step is not begun.
#[test]
fn scenario_27_a_step_that_cannot_be_recorded_is_not_begun() -> Result<()> {
    node::run(Layout::V2, || {
        let mut config = on_a_disk_of(200)?;
        let plugins = Plugins::before(&mut config)?;
        let full = node::disk().join("the-disk-is-full");
        // So large a result that no room is left for it by chance.
        let searches: Vec<String> = (0..200)
            .map(|n| format!("{n}.{}", "s".repeat(1000)))
            .collect();
        let add = PluginAnswer {
            wait_for: Some(full.clone()),
            result: Some(json!({"cniVersion": "1.0.0", "dns": {"search": searches}})),
            ..PluginAnswer::default()
        };
        let plugin = plugins.scripted("waits", &Script::new().on("ADD", add))?;
        let network = podnet().then(json!({"type": "waits"}));
        let scene = Scene::open_with(&config, &[network])?;
        let client = scene.client();
        // The journal's first segment has all of its room already.
        fs::write(&full, "")?;
        let db = config.state_dir.join("journal/sled/db");
        while fs::metadata(&db)?.len() <= SEGMENT {
            let early = client.run(&["--name", "early"])?;
            client.call(["rm", "-f", &early])?.done()?;
        }
        fs::remove_file(&full)?;
        let calls = plugin.commands()?.len();
        let started = client
            .command(["run", "--name", "web"])?
            .stderr(Stdio::piped())
            .spawn()?;
        let added = || Ok((plugin.commands()?.len() > calls).then_some(()));
        wait::until(PATIENCE, added)?.context("no ADD")?;
        let filling = fill(&config, 0)?;
        fs::write(&full, "")?;
        let ended = started.wait_with_output()?;
        ensure!(ended.status.code() == Some(1), "{}", ended.status);
        let said = String::from_utf8_lossy(&ended.stderr);
        says(&said, &["disk is full", "free space there"])?;
        let row = client.list(true)?.remove(0);
        ensure!(row["state"] == "NetworkReady", "{row}");
        let left = scene.oracle().leftovers()?;
        ensure!(
            !left.iter().any(|line| line.contains("process")),
            "begun: {left:?}"
        );

        // With space the walk goes on by itself: the ADD is undone and done again.
        fs::remove_file(filling)?;
        let ready = wait::until(PATIENCE, || {
            let row = client.list(true)?.remove(0);
            Ok((row["ready"] == true).then_some(()))
        })?;
        ready.with_context(|| scene.daemon().log())?;
        ensure!(
            plugin.commands()?[calls..] == ["ADD", "DEL", "ADD"],
            "{:?}",
            plugin.commands()?
        );
        client.call(["rm", "-f", "web"])?.done()?;
        scene.close()
    })
}

#[test]
fn a_read_only_state_directory_is_named() -> Result<()> {
    node::run(Layout::V2, || {
        let config = on_a_disk_of(200)?;
        let disk = disk_of(&config)?;
        let before = Daemon::start(&config)?;
        ensure!(before.terminate()?.success());
        let bind = node::disk().join("read-only");
        fs::create_dir(&bind)?;
        let shown = disk.to_str().context("a path")?;
        run(&["mount", "--bind", shown], &bind)?;
        run(&["mount", "-o", "remount,ro,bind"], &bind)?;
        let mut read_only = config.clone();
        read_only.state_dir = bind.join("podwalk");
        let mut command = read_only.command()?;
        let ran = command.output()?;
        ensure!(ran.status.code() == Some(1), "{}", ran.status);
        let said = String::from_utf8_lossy(&ran.stderr);
        says(
            &said,
            &["read-only/podwalk", "Read-only file system", "writable"],
        )?;
        ensure!(!config.socket().exists(), "a socket is there");
        // The same directory, writable, serves.
        let scene = Scene::open_with(&config, &[podnet()])?;
        still_serves(&scene.client())?;
        scene.close()
    })
}

/// Flips one bit at a time in the journal of a daemon with pods. However much it hits, the daemon
/// either says what is wrong and how to go on, or serves what it can read; it never panics, and never
/// silently forgets.
#[test]
fn a_journal_with_flipped_bits() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::default();
        podnet().write(&config.cni_conf_dir, 10)?;
        let daemon = Daemon::start(&config)?;
        let names = ["one", "two", "three"];
        for name in names {
            // Not a CNI network: what a damaged journal undoes must not be what another test sees.
            daemon
                .client()
                .run(&["--name", name, "--network", "none"])?;
        }
        ensure!(daemon.terminate()?.success());
        let journal = config.state_dir.join("journal");
        let whole = node::disk().join("whole");
        copy(&journal, &whole)?;
        let mut bits: Vec<(PathBuf, u64)> = Vec::new();
        for offset in used_offsets(&whole.join("sled/db"))? {
            bits.push(("sled/db".into(), offset));
        }
        // And the middle of every smaller file.
        for file in small_files(&whole)? {
            let middle = fs::metadata(whole.join(&file))?.len() / 2;
            bits.push((file, middle));
        }
        for (file, offset) in bits {
            restore(&whole, &journal)?;
            flip(&journal.join(&file), offset)?;
            opens_or_explains(&config, &names)
                .with_context(|| format!("bit at {offset} of {}", file.display()))?;
        }
        // Not a bit but all of it: nothing can be read, and the pods are not forgotten for that.
        restore(&whole, &journal)?;
        fs::write(journal.join("sled/conf"), "segment_size: none\n")?;
        let log = fails_to_start(&config)?;
        says(
            &log,
            &["journal/sled", "damaged", "restore", "move it away"],
        )?;
        restore(&whole, &journal)?;
        let daemon = Daemon::start(&config)?;
        ensure!(daemon.client().list(true)?.len() == names.len());
        Ok(())
    })
}

/// Offsets all over the part of a file that is not zero.
fn used_offsets(path: &Path) -> Result<Vec<u64>> {
    let bytes = fs::read(path)?;
    let used: Vec<u64> = (0..)
        .zip(&bytes)
        .filter(|(_, byte)| **byte != 0)
        .map(|(at, _)| at)
        .collect();
    ensure!(used.len() > 1000, "{} bytes are in use", used.len());
    Ok(used.iter().step_by(used.len() / 12).copied().collect())
}

/// The journal's files besides the large one, as far as they are not empty, relative to it.
fn small_files(journal: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for directory in ["", "sled"] {
        for entry in fs::read_dir(journal.join(directory))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() && metadata.len() > 0 && entry.file_name() != "db" {
                found.push(Path::new(directory).join(entry.file_name()));
            }
        }
    }
    ensure!(found.len() >= 3, "{found:?}");
    Ok(found)
}

fn flip(path: &Path, offset: u64) -> Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&[byte[0] ^ 0x10], offset)?;
    Ok(())
}

fn opens_or_explains(config: &Config, names: &[&str]) -> Result<()> {
    let _ = fs::remove_file(config.log());
    let (mut daemon, ready) = Daemon::spawn(config)?;
    if daemon.await_ready(&ready).is_err() {
        let end = daemon
            .await_end(Duration::from_secs(60))?
            .context("neither ready nor gone")?;
        ensure!(end.code() == Some(1), "{end}");
        return says(
            &daemon.log(),
            &["journal", "damaged", "restore", "move it away"],
        );
    }
    let listed = daemon.client().list(true)?;
    let log = daemon.log();
    let explained = log.contains("quarantine") || log.contains("look for orphans");
    ensure!(
        explained || listed.len() == names.len(),
        "{listed:?}: {log}"
    );
    // What it can read, it serves.
    let id = daemon
        .client()
        .run(&["--name", "new", "--network", "none"])?;
    daemon.client().call(["rm", "-f", &id])?.done()?;
    daemon.kill9()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("cp");
    outside::output(command.arg("-a").arg(from).arg(to)).map(drop)
}

fn restore(whole: &Path, journal: &Path) -> Result<()> {
    fs::remove_dir_all(journal)?;
    copy(whole, journal)
}
