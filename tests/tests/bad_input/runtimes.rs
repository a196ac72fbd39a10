//! Runtimes that are missing, fail, hang or lie.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::plugins::write_program;
use podwalk_tests::scene::Scene;

use crate::{podnet, refused, still_serves};

/// Those that are given up at their deadline, which is short; the others have time to do what they do.
const HANGING: [&str; 2] = ["run-hangs", "runs-late"];

/// A daemon that knows one handler for each of these binaries in the node's disk.
fn configured(handlers: &[&str]) -> Config {
    let mut text = String::new();
    for name in handlers {
        let binary = node::disk().join(name);
        let binary = binary.display();
        text.push_str(&format!("[runtime.handlers.{name}]\nbinary = '{binary}'\n"));
        if HANGING.contains(name) {
            text.push_str("start_seconds = 3\n");
        }
    }
    Config::with_file(text)
}

/// Starts a pod with each handler: it must fail in the words, and leave nothing.
fn each_fails(cases: &[(&str, &[&str])]) -> Result<()> {
    let handlers: Vec<&str> = cases.iter().map(|(handler, _)| *handler).collect();
    let scene = Scene::open_with(&configured(&handlers), &[podnet()])?;
    let client = scene.client();
    for (handler, words) in cases {
        let answer = client.call(["run", "--name", "web", "--runtime", handler])?;
        refused(&answer, 1, &[&["Start failed"], *words].concat())
            .with_context(|| (*handler).to_owned())?;
        let left = client.list(true)?;
        ensure!(left.is_empty(), "{handler}: refused, and there: {left:?}");
        let clean = scene.oracle().assert_clean();
        clean.with_context(|| (*handler).to_owned())?;
    }
    still_serves(&client)?;
    scene.close()
}

fn script(name: &str, text: &str) -> Result<()> {
    write_program(&node::disk().join(name), text)
}

/// A program that does what crun does, but for one verb.
fn crun_but(name: &str, verb: &str, instead: &str) -> Result<()> {
    let text =
        format!("case \" $* \" in *' {verb} '*) {instead};; esac\nexec /usr/bin/crun \"$@\"");
    script(name, &text)
}

#[test]
fn scenario_33_runtimes_that_cannot_be_executed() -> Result<()> {
    node::run(Layout::V2, || {
        let disk = node::disk();
        fs::write(disk.join("no-x-bit"), "#!/bin/sh\n")?;
        fs::write(disk.join("no-program"), [0x7f, 0, 0, 0])?;
        fs::set_permissions(disk.join("no-program"), fs::Permissions::from_mode(0o755))?;
        fs::create_dir(disk.join("directory"))?;
        each_fails(&[
            (
                "missing",
                &[
                    "handler \"missing\"",
                    "/missing was not found",
                    "install it",
                ],
            ),
            ("no-x-bit", &["/no-x-bit", "not executable", "chmod +x"]),
            (
                "no-program",
                &["/no-program", "no program for this machine"],
            ),
            ("directory", &["/directory", "not a file"]),
        ])
    })
}

#[test]
fn runtimes_that_fail() -> Result<()> {
    node::run(Layout::V2, || {
        let log = "while [ $# -gt 0 ]; do [ \"$1\" = --log ] && log=$2; shift; done";
        let says = r#"echo '{"msg":"no cgroup for you","level":"error"}' >"$log"; exit 1"#;
        script("run-fails", &format!("{log}\n{says}"))?;
        script("says-nothing", "exit 7")?;
        script("crashes", "kill -SEGV $$")?;
        crun_but("fails-late", "run", "/usr/bin/crun \"$@\" && exit 9")?;
        script("lies", "exit 0")?;
        each_fails(&[
            (
                "run-fails",
                &["/run-fails run", "exit status: 1", "no cgroup for you"],
            ),
            (
                "says-nothing",
                &["/says-nothing run", "exit status: 7", "said nothing"],
            ),
            ("crashes", &["/crashes run", "signal"]),
            ("fails-late", &["/fails-late run", "exit status: 9"]),
            ("lies", &["pid"]),
        ])
    })
}

#[test]
fn runtimes_that_hang_or_print_nonsense() -> Result<()> {
    node::run(Layout::V2, || {
        script("run-hangs", "sleep 1000")?;
        let only_creates = "for word; do shift; case $word in run) word=create;; \
            --detach) continue;; esac; set -- \"$@\" \"$word\"; done";
        crun_but("only-creates", "run", only_creates)?;
        // crun's own worker leaves the process group, too.
        let late = "setsid -f sh -c 'sleep 4; exec crun \"$@\"' sh \"$@\"; sleep 1000";
        crun_but("runs-late", "run", late)?;
        let pid =
            "while [ $# -gt 0 ]; do [ \"$1\" = --pid-file ] && echo nonsense >$2; shift; done";
        script("no-pid", pid)?;
        each_fails(&[
            ("run-hangs", &["/run-hangs run", "longer than 3s", "killed"]),
            ("runs-late", &["/runs-late run", "longer than 3s", "killed"]),
            ("only-creates", &["does not get to run", "/stack"]),
            ("no-pid", &["/no-pid run", "nonsense"]),
        ])
    })
}

/// The default handler's binary may be missing as long as nobody asks for it.
#[test]
fn a_missing_default_stops_no_daemon() -> Result<()> {
    node::run(Layout::V2, || {
        let config = Config::with_file("[runtime]\ndefault = 'youki'\n");
        ensure!(!Path::new("/usr/bin/youki").exists(), "youki is installed");
        let scene = Scene::open_with(&config, &[podnet()])?;
        let client = scene.client();
        let answer = client.call(["run", "--name", "web"])?;
        refused(
            &answer,
            1,
            &["Start failed", "youki", "was not found", "install it"],
        )?;
        let id = client.run(&["--name", "web", "--runtime", "crun"])?;
        client.call(["rm", "-f", &id])?.done()?;
        scene.close()
    })
}
