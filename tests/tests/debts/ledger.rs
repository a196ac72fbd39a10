//! The ledger: listed, paid, forgiven.

use std::fs;

use anyhow::{Context, Result, ensure};
use podwalk_tests::daemon::{Client, Config};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::plugins::write_program;
use podwalk_tests::scene::{self, End, Scene, Told};
use podwalk_tests::{outside, raw, wait};
use serde_json::Value;

use crate::{PATIENCE, has_keys, mend, podnet, refused, rows, says, shown, stuck};

/// The one debt there is.
fn debt(client: &Client) -> Result<Value> {
    let mut debts = rows(client, &["debts"])?;
    ensure!(debts.len() == 1, "{debts:?}");
    Ok(debts.remove(0))
}

/// DEL fails for ever: shown with all that is known of it, outlived, and paid by hand when the plugin
/// is mended, not before.
#[test]
fn scenario_05_a_debt_is_shown_and_paid_by_hand_when_its_plugin_is_mended() -> Result<()> {
    node::run(Layout::V2, || {
        // Longer than anything takes here: nothing is outlived yet when it is looked at.
        let mut config = Config::with_file("[debts]\ngrace_seconds = 3600\n");
        let (plugin, network) = stuck(&mut config)?;
        let scene = Scene::open_with(&config, &[network])?;
        let client = scene.client();
        ensure!(rows(&client, &["debts"])?.is_empty());
        let id = client.run(&["--name", "web", "--port", "8080:80"])?;
        let words = [&id, "controller unreachable", "see: podwalk debts"];
        refused(&client.call(["stop", "web"])?, 1, &words)?;

        is_shown(&client, &id)?;

        // While the plugin is broken a payment fails in its words, and counts.
        let before = debt(&client)?["attempts"].as_u64();
        let words = ["network stuck", "controller unreachable", "code 120"];
        refused(&client.call(["debts", "pay", "web"])?, 1, &words)?;
        ensure!(debt(&client)?["attempts"].as_u64() > before);

        // After the grace Stop and Remove succeed; the ledger alone knows of it, with the outcome.
        config.file = Some("[debts]\ngrace_seconds = 3\n".to_owned());
        let scene = scene.end(End::Terminate)?.begin(&config)?;
        let client = scene.client();
        for (command, outlived) in [("stop", "Stop"), ("rm", "Remove")] {
            let answered = wait::until(PATIENCE, || {
                Ok((client.call([command, &id])?.code == 0).then_some(()))
            })?;
            answered.with_context(|| format!("{command} reports the debt for ever"))?;
            ensure!(
                debt(&client)?["outlived"] == outlived,
                "{:?}",
                debt(&client)
            );
        }
        ensure!(client.list(true)?.is_empty(), "{:?}", client.list(true)?);
        refused(
            &client.call(["debts", "pay", &id])?,
            1,
            &["controller unreachable"],
        )?;
        // By its name too, as long as it has it.
        refused(
            &client.call(["debts", "pay", "web"])?,
            1,
            &["controller unreachable"],
        )?;

        mend(&plugin)?;
        let paid = client.call(["debts", "pay", &id])?.done()?.stdout;
        ensure!(paid.trim() == id, "{paid}");
        ensure!(rows(&client, &["debts"])?.is_empty());
        ensure!(client.call(["inspect", &id])?.code == 3, "it is not gone");
        refused(&client.call(["debts", "pay", &id])?, 3, &["no pod", &id])?;
        scene.close()
    })
}

/// Every key of a debt, and its row for people.
fn is_shown(client: &Client, id: &str) -> Result<()> {
    let shown = debt(client)?;
    let keys = [
        "pod",
        "name",
        "namespace",
        "step",
        "attachment",
        "interface",
        "attempts",
        "since",
        "lastTry",
        "nextTry",
        "forgivable",
        "lastError",
    ];
    has_keys(&shown, &keys)?;
    ensure!(shown["pod"] == id && shown["name"] == "web", "{shown}");
    ensure!(
        shown["step"] == "ConfigureCni" && shown["attachment"] == "stuck",
        "{shown}"
    );
    ensure!(
        shown["interface"] == "eth0" && shown["forgivable"] == true,
        "{shown}"
    );
    ensure!(
        shown["since"].as_u64() <= shown["lastTry"].as_u64(),
        "{shown}"
    );
    ensure!(
        shown["lastTry"].as_u64() < shown["nextTry"].as_u64(),
        "{shown}"
    );
    let table = client.call(["debts"])?.done()?.stdout;
    says(
        &table,
        &[
            "TRIES",
            "OUTLIVED",
            "web",
            "stuck",
            "controller unreachable",
        ],
    )?;
    Ok(())
}

/// Written off by name: recorded, also across a SIGKILL; what lies under it is undone, and what it
/// held is free.
#[test]
fn scenario_05_a_debt_is_forgiven_by_name_and_what_it_held_is_free() -> Result<()> {
    node::run(Layout::V2, || {
        let mut config = Config::default();
        let (plugin, network) = stuck(&mut config)?;
        let scene = Scene::open_with(&config, &[network])?;
        let client = scene.client();
        let id = client.run(&["--name", "web", "--port", "8080:80"])?;
        let told = Told::by(&client.inspect(&id)?)?;
        refused(&client.call(["stop", "web"])?, 1, &["see: podwalk debts"])?;
        ensure!(
            outside::namespace_on(&told.key)?.is_some(),
            "it lies under the debt"
        );
        holds_name_and_port(&client, &id)?;

        // It must be said why.
        refused(&client.call(["debts", "forgive", "web"])?, 2, &["--reason"])?;
        let empty = client.call(["debts", "forgive", "web", "--reason", " "])?;
        refused(&empty, 2, &["it is empty"])?;
        let socket = config.socket();
        let path = format!("/v1/pods/{id}/debts/forgive");
        let (status, body) = raw::request(&socket, "POST", &path, r#"{"reason": "two\nlines"}"#)?;
        ensure!(status == 400, "{body}");
        says(&body, &["invalid", "one line"])?;
        ensure!(
            debt(&client)?["pod"] == id.as_str(),
            "none of that has forgiven it"
        );

        let reason = "the controller is gone for good";
        let forgiven = client.json(&["debts", "forgive", "web", "--reason", reason])?;
        has_keys(&forgiven, &["id", "forgiven", "owed"])?;
        ensure!(
            forgiven["forgiven"][0] == "ConfigureCni of network stuck",
            "{forgiven}"
        );
        ensure!(
            forgiven["owed"].as_array().is_some_and(Vec::is_empty),
            "{forgiven}"
        );

        let scene = scene.restart(End::Kill)?;
        let client = scene.client();
        ensure!(rows(&client, &["debts"])?.is_empty(), "it is owed again");
        scene::is_stopped(&told)?;
        let journal = client.call(["journal", &id])?.done()?.stdout;
        says(&journal, &["Forgiven", reason])?;
        let again = client.call(["debts", "forgive", &id, "--reason", "more"])?;
        refused(&again, 1, &[&id, "owes nothing"])?;

        // Nobody asks the plugin for the dead one any more, and all that it left was written off.
        mend(&plugin)?;
        let before = plugin.commands()?;
        client.remove(&id)?;
        ensure!(plugin.commands()? == before, "{:?}", plugin.commands()?);
        let is_network = |line: &String| {
            line.starts_with("address ") || line.contains(" chain ") || line.contains(" rule to ")
        };
        // The kernel takes a namespace's interfaces down on its own time.
        let left = wait::until(PATIENCE, || {
            let left = scene.oracle().leftovers()?;
            Ok(left.iter().all(is_network).then_some(left))
        })?;
        let left = left.with_context(|| format!("{:?}", scene.oracle().leftovers()))?;
        ensure!(!left.is_empty(), "it was let go");
        let web = client.run(&["--name", "web", "--port", "8080:80"])?;
        ensure!(web != id);
        scene::agrees_with_outside(&client.inspect("web")?)?;
        client.call(["rm", "-f", "web"])?.done()?;
        let same = wait::until(PATIENCE, || {
            Ok((scene.oracle().leftovers()? == left).then_some(()))
        })?;
        same.with_context(|| format!("{:?}", scene.oracle().leftovers()))?;
        Ok(())
    })
}

/// A debt's name and port are refused to others, and the way to the ledger is told.
fn holds_name_and_port(client: &Client, id: &str) -> Result<()> {
    let debt = [
        "owes the undo of ConfigureCni of network stuck",
        "see: podwalk debts",
    ];
    let named = client.call(["run", "--name", "web"])?;
    refused(&named, 1, &[&["the name web", id], &debt[..]].concat())?;
    let ported = client.call(["run", "--name", "other", "--port", "8080:80"])?;
    refused(
        &ported,
        1,
        &[&["host port", "8080", id], &debt[..]].concat(),
    )
}

/// Of several attachments that fail all are forgiven, and the events tell each.
#[test]
fn all_that_a_pod_owes_is_forgiven_with_one_word() -> Result<()> {
    node::run(Layout::V2, || {
        let mut config = Config::default();
        let (_plugin, network) = stuck(&mut config)?;
        let second = podwalk_tests::conflist::Bridge::new("second", "10.97.0.0/24")
            .then(serde_json::json!({"type": "scripted"}));
        let scene = Scene::open_with(&config, &[network, podnet(), second])?;
        let client = scene.client();
        let networks = "k8s.v1.cni.cncf.io/networks=podnet,second";
        let id = client.run(&["--name", "web", "--annotation", networks])?;
        let words = ["network stuck", "network second", "see: podwalk debts"];
        refused(&client.call(["rm", "-f", &id])?, 1, &words)?;
        let debts = rows(&client, &["debts"])?;
        let of: Vec<_> = debts.iter().map(|debt| &debt["attachment"]).collect();
        ensure!(of == ["second", "stuck"], "{debts:?}");

        let told = client
            .call(["debts", "forgive", &id, "--reason", "moved"])?
            .done()?
            .stdout;
        let words = [
            "of network second is forgiven",
            "of network stuck is forgiven",
        ];
        says(&told, &words)?;
        // Its removal was on its way: what lay under the debts is gone, and so is the pod.
        ensure!(client.list(true)?.is_empty() && rows(&client, &["debts"])?.is_empty());
        ensure!(client.call(["inspect", &id])?.code == 3);
        let left = scene.oracle().leftovers()?;
        let of_podnet = |line: &&String| line.contains("network podnet");
        ensure!(left.iter().find(of_podnet).is_none(), "{left:?}");
        Ok(())
    })
}

/// A sandbox that may be alive is never written off; it is paid when the runtime is mended.
#[test]
fn a_debt_of_a_sandbox_is_never_forgiven() -> Result<()> {
    node::run(Layout::V2, || {
        let runtime = node::disk().join("refusing");
        let refuses = "case \" $* \" in *' delete '*) echo not now >&2; exit 1;; esac";
        write_program(&runtime, &format!("{refuses}\nexec /usr/bin/crun \"$@\""))?;
        let config = Config::with_file(format!(
            "[runtime.handlers.refusing]\nbinary = '{}'\n",
            shown(&runtime)?
        ));
        let scene = Scene::open_with(&config, &[podnet()])?;
        let client = scene.client();
        let id = client.run(&["--name", "web", "--runtime", "refusing"])?;
        refused(&client.call(["stop", &id])?, 1, &["undoing Start"])?;
        let owed = debt(&client)?;
        ensure!(
            owed["step"] == "Start" && owed["forgivable"] == false,
            "{owed}"
        );
        let answer = client.call(["debts", "forgive", &id, "--reason", "it is in the way"])?;
        let words = [
            &id,
            "Start cannot be forgiven",
            "may be alive",
            "pay the debt",
        ];
        refused(&answer, 1, &words)?;
        ensure!(debt(&client)?["step"] == "Start", "it is forgiven");
        refused(
            &client.call(["debts", "pay", &id])?,
            1,
            &["/refusing delete", "not now"],
        )?;
        write_program(&runtime, "exec /usr/bin/crun \"$@\"")?;
        let paid = client.json(&["debts", "pay", &id])?;
        ensure!(paid == serde_json::json!({"id": id}), "{paid}");
        client.remove(&id)?;
        scene.close()
    })
}

/// Exit codes, and what is read of a daemon that is down.
#[test]
fn the_ledger_without_a_pod_or_a_daemon() -> Result<()> {
    node::run(Layout::V2, || {
        let mut config = Config::default();
        let (plugin, network) = stuck(&mut config)?;
        let scene = Scene::open_with(&config, &[network])?;
        let client = scene.client();
        for arguments in [
            &["debts", "pay", "nobody"][..],
            &["debts", "forgive", "nobody", "--reason", "x"],
        ] {
            refused(&client.call(arguments)?, 3, &["no pod 'nobody'"])?;
        }
        refused(&client.call(["debts", "burn", "web"])?, 2, &["burn"])?;
        let id = client.run(&["--name", "web"])?;
        client
            .call(["debts", "pay", "web"])?
            .done()
            .context("who owes nothing has paid")?;
        scene::agrees_with_outside(&client.inspect(&id)?)?;
        refused(
            &client.call(["rm", "-f", &id])?,
            1,
            &["controller unreachable"],
        )?;
        let before = debt(&client)?;

        let between = scene.end(End::Kill)?;
        for arguments in [
            &["debts", "pay", "web"][..],
            &["debts", "forgive", "web", "--reason", "x"],
        ] {
            refused(&client.call(arguments)?, 4, &["no daemon answers"])?;
        }
        let directory = shown(&config.state_dir)?;
        let listed = rows(&client, &["debts", "--state-dir", directory])?;
        for key in ["pod", "attachment", "since", "lastError"] {
            ensure!(listed[0][key] == before[key], "{key}: {listed:?} {before}");
        }
        let nowhere = node::disk().join("nowhere");
        let answer = client.call(["debts", "--state-dir", shown(&nowhere)?])?;
        refused(&answer, 1, &["no daemon answers", "nowhere"])?;

        mend(&plugin)?;
        let scene = between.begin(&config)?;
        // It may be paid by the daemon itself before.
        let paid = scene.client().call(["debts", "pay", &id])?;
        ensure!([0, 3].contains(&paid.code), "{paid:?}");
        ensure!(!fs::exists(config.netns_dir.join(&id))?);
        scene.close()
    })
}
