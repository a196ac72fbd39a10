//! Sandboxes that do not end, and runtimes that do not end them.

use std::fs;

use anyhow::{Context, Result, ensure};
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::plugins::write_program;
use podwalk_tests::scene::{self, Scene, Told};
use podwalk_tests::{outside, wait};

use crate::{PATIENCE, begin, comes_to_be, fails, lives, podnet, sandbox_of, says};

/// A sandbox that cannot be killed is never reported stopped, however long it takes.
#[test]
fn scenario_52_a_sandbox_that_does_not_die_is_not_stopped() -> Result<()> {
    node::run(Layout::V1, || {
        // Were it a network debt, it would be outlived at once.
        let config = Config::with_file("[debts]\ngrace_seconds = 0\n");
        let scene = Scene::open_with(&config, &[podnet()])?;
        let client = scene.client();
        let id = client.run(&["--name", "web"])?;
        let detail = client.inspect(&id)?;
        let (pid, told) = (sandbox_of(&detail)?, Told::by(&detail)?);
        // Version 1 keeps a frozen process from dying of SIGKILL.
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let freezer = groups.lines().find(|line| line.contains(":freezer:"));
        let group = freezer.and_then(|line| line.rsplit(':').next());
        let state = format!(
            "/sys/fs/cgroup/freezer{}/freezer.state",
            group.context("freezer")?
        );
        fs::write(&state, "FROZEN")?;
        let frozen = wait::until(PATIENCE, || {
            Ok((fs::read_to_string(&state)?.trim() == "FROZEN").then_some(()))
        })?;
        frozen.context("it does not freeze")?;

        let said = fails(begin(&client, &["stop", &id])?)?;
        says(
            &said,
            &[
                &id,
                "undoing Start",
                &format!("process {pid}"),
                "still alive",
                "/stack",
            ],
        )?;
        let said = fails(begin(&client, &["rm", "-f", &id])?)?;
        says(&said, &["undoing Start", "still alive"])?;
        ensure!(lives(pid));
        let row = comes_to_be(&client, "web", |row| row["owed"] == 1)?;
        ensure!(row["ready"] == false && row["goal"] == "Remove", "{row}");
        ensure!(
            outside::namespace_on(&told.key)?.is_some(),
            "its network is gone"
        );
        // No successor with the same name meanwhile.
        let said = fails(begin(&client, &["run", "--name", "web"])?)?;
        says(&said, &["the name web", &id, "owes the undo of Start"])?;

        fs::write(&state, "THAWED")?;
        let gone = wait::until(PATIENCE, || {
            Ok((client.call(["rm", "-f", &id])?.code == 0).then_some(()))
        })?;
        gone.context("it is thawed and does not go")?;
        ensure!(!lives(pid));
        scene.close()
    })
}

/// The runtime hangs in `delete`: that is an error with the runtime's path, and is done again.
#[test]
fn scenario_52_a_runtime_whose_delete_hangs_is_told() -> Result<()> {
    node::run(Layout::V2, || {
        let runtime = node::disk().join("hanging");
        let hangs = "case \" $* \" in *' delete '*) exec sleep 1000;; esac";
        write_program(&runtime, &format!("{hangs}\nexec /usr/bin/crun \"$@\""))?;
        let config = Config::with_file(format!(
            "[runtime.handlers.hanging]\nbinary = '{}'\ndelete_seconds = 3\n",
            runtime.display()
        ));
        let scene = Scene::open_with(&config, &[podnet()])?;
        let client = scene.client();
        let id = client.run(&["--name", "web", "--runtime", "hanging"])?;
        let told = scene::agrees_with_outside(&client.inspect(&id)?)?;
        let said = fails(begin(&client, &["stop", &id])?)?;
        says(
            &said,
            &[&id, "undoing Start", "/hanging delete", "longer than 3s"],
        )?;
        ensure!(client.inspect(&id)?["owed"][0]["step"] == "Start");
        ensure!(
            outside::namespace_on(&told.key)?.is_some(),
            "it went on down"
        );
        write_program(&runtime, "exec /usr/bin/crun \"$@\"")?;
        let stopped = wait::until(PATIENCE, || {
            Ok((client.call(["stop", &id])?.code == 0).then_some(()))
        })?;
        stopped.context("it does not end by a runtime that works")?;
        scene::is_stopped(&told)?;
        client.remove(&id)?;
        scene.close()
    })
}

/// The sandbox was started, and then the start fails: it is undone, so that nobody runs without an id.
#[test]
fn scenario_41_a_failure_after_the_sandbox_has_started_is_undone() -> Result<()> {
    node::run(Layout::V2, || {
        let runtime = node::disk().join("late");
        let failing = r#"/usr/bin/crun "$@"; echo '{"msg":"hook failed"}' >> "$6"; exit 1"#;
        let late = format!("case \" $* \" in *' run '*) {failing};; esac");
        write_program(&runtime, &format!("{late}\nexec /usr/bin/crun \"$@\""))?;
        let binary = runtime.display();
        let toml = format!("[runtime.handlers.late]\nbinary = '{binary}'\n");
        let scene = Scene::open_with(&Config::with_file(toml), &[podnet()])?;
        let client = scene.client();
        let said = fails(begin(
            &client,
            &["run", "--name", "web", "--runtime", "late"],
        )?)?;
        says(&said, &["Start failed", "/late run", "hook failed"])?;
        ensure!(client.list(true)?.is_empty(), "{:?}", client.list(true)?);
        scene.close()
    })
}
