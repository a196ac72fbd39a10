//! Conflists that are missing, broken, or in each other's way.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podwalk_tests::daemon::{Client, Config};
use podwalk_tests::node::{self, Layout};
use podwalk_tests::scene::Scene;
use podwalk_tests::wait;

use crate::{podnet, refused, still_serves};

/// Waits until a start is refused in these words: the daemon has seen what was changed.
fn comes_to_be_refused(client: &Client, words: &[&str]) -> Result<()> {
    let mut last = String::new();
    let seen = wait::until(Duration::from_secs(60), || {
        let answer = client.call(["run", "--name", "web"])?;
        last = answer.stderr.clone();
        Ok(refused(&answer, 1, words).is_ok().then_some(()))
    })?;
    seen.with_context(|| format!("not in the words {words:?}: {last}"))?;
    let left = client.list(true)?;
    ensure!(left.is_empty(), "refused, and there: {left:?}");
    Ok(())
}

/// Waits until the daemon has seen that there is a network that works.
fn comes_to_serve(client: &Client) -> Result<()> {
    let seen = wait::until(Duration::from_secs(60), || {
        let answer = client.call(["run", "--name", "web"])?;
        Ok((answer.code == 0).then_some(()))
    })?;
    seen.context("the new network is not seen")?;
    client.call(["rm", "-f", "web"])?.done()?;
    still_serves(client)
}

#[test]
fn none_at_all_until_there_is_one() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[])?;
        let client = scene.client();
        let directory = &scene.daemon().config().cni_conf_dir;
        let shown = directory.to_str().context("a path")?;
        let refusal = client.call(["run", "--name", "web"])?;
        let words = [
            "Create failed",
            "no network configuration",
            "put a conflist into",
            shown,
        ];
        refused(&refusal, 1, &words)?;
        // What needs no network starts all the same.
        let id = client.run(&["--name", "alone", "--network", "none"])?;
        client.call(["rm", "-f", &id])?.done()?;
        scene.oracle().assert_clean()?;
        podnet().write(directory, 10)?;
        comes_to_serve(&client)?;
        // And gone again, the directory with it.
        fs::remove_dir_all(directory)?;
        comes_to_be_refused(&client, &["no network configuration", shown])?;
        scene.close()
    })
}

#[test]
fn broken_ones_are_named_with_what_is_wrong() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::default();
        fs::create_dir_all(&config.cni_conf_dir)?;
        let file = config.cni_conf_dir.join("10-broken.conflist");
        fs::write(&file, "")?;
        let scene = Scene::open_with(&config, &[])?;
        let client = scene.client();
        let cases = [
            (
                "{\"name\": ",
                &["10-broken.conflist", "not JSON", "line 1"][..],
            ),
            ("[]", &["10-broken.conflist", "not a JSON object"]),
            (
                "{\"cniVersion\": \"1.0.0\", \"plugins\": [{\"type\": \"bridge\"}]}",
                &["no name"],
            ),
            (
                "{\"cniVersion\": \"1.0.0\", \"name\": \"../x\", \"plugins\": [{\"type\": \"bridge\"}]}",
                &["\"../x\"", "not allowed"],
            ),
            (
                "{\"cniVersion\": \"1.0.0\", \"name\": \"x\", \"plugins\": []}",
                &["no plugin", "add \"plugins\""],
            ),
            (
                "{\"cniVersion\": \"1.0.0\", \"name\": \"x\", \"plugins\": 7}",
                &["must be a list"],
            ),
            (
                "{\"cniVersion\": \"1.0.0\", \"name\": \"x\", \"plugins\": [{}]}",
                &["plugins[0]", "no \"type\""],
            ),
            (
                "{\"cniVersion\": \"1.0.0\", \"name\": \"x\", \"plugins\": [{\"type\": \"../sh\"}]}",
                &["plugins[0]", "\"../sh\""],
            ),
            (
                "{\"cniVersion\": \"7.0.0\", \"name\": \"x\", \"plugins\": [{\"type\": \"bridge\"}]}",
                &["7.0.0", "use one of"],
            ),
        ];
        for (text, words) in cases {
            fs::write(&file, text)?;
            comes_to_be_refused(&client, words).with_context(|| text.to_owned())?;
        }
        scene.oracle().assert_clean()?;
        // A broken one hides none that works.
        podnet().write(&config.cni_conf_dir, 20)?;
        comes_to_serve(&client)?;
        scene.close()
    })
}

#[test]
fn a_network_that_is_asked_for_by_name_must_be_there() -> Result<()> {
    node::run(Layout::V2, || {
        let scene = Scene::open(&[podnet()])?;
        let client = scene.client();
        for (networks, words) in [
            (
                "storage",
                &["no network 'storage'", "net.d", "known are: podnet"][..],
            ),
            ("podnet@eth0", &["eth0"]),
            ("podnet@a/b", &["a/b"]),
            ("[{\"name\": 7}]", &["k8s.v1.cni.cncf.io/networks"]),
            ("[{", &["k8s.v1.cni.cncf.io/networks"]),
        ] {
            let annotation = format!("k8s.v1.cni.cncf.io/networks={networks}");
            let answer = client.call(["run", "--name", "web", "--annotation", &annotation])?;
            refused(&answer, 1, words).with_context(|| networks.to_owned())?;
        }
        for (annotation, words) in [
            (
                "kubernetes.io/egress-bandwidth=fast",
                &["egress-bandwidth", "fast"],
            ),
            (
                "kubernetes.io/ingress-bandwidth=-1",
                &["ingress-bandwidth", "-1"],
            ),
        ] {
            let answer = client.call(["run", "--name", "web", "--annotation", annotation])?;
            refused(&answer, 1, words)?;
        }
        ensure!(client.list(true)?.is_empty());
        still_serves(&client)?;
        scene.close()
    })
}
