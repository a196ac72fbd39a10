//! A sandbox that could not be looked at when the daemon came back.

use anyhow::{Context, Result, ensure};
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::plugins::write_program;
use podwalk_tests::scene::{End, Scene, Told};
use podwalk_tests::{outside, wait};

use crate::{PATIENCE, podnet, says, shown};

/// The namespace is gone and the runtime does not answer, so that nothing can be told. The sandbox dies
/// meanwhile: that is noticed as soon as the runtime answers again, by nobody's request.
#[test]
fn a_sandbox_of_which_nothing_could_be_told_is_looked_at_again() -> Result<()> {
    node::run(Layout::V2, || {
        let runtime = node::disk().join("mute");
        let works = "exec /usr/bin/crun \"$@\"";
        write_program(&runtime, works)?;
        let config = Config::with_file(format!(
            "[runtime.handlers.mute]\nbinary = '{}'\n",
            shown(&runtime)?
        ));
        let scene = Scene::open_with(&config, &[podnet()])?;
        let id = scene
            .client()
            .run(&["--name", "web", "--runtime", "mute"])?;
        let told = Told::by(&scene.client().inspect(&id)?)?;
        let between = scene.end(End::Kill)?;
        outside::output(std::process::Command::new("umount").arg(&told.key))?;
        write_program(&runtime, "echo no answer >&2; exit 1")?;
        let scene = between.begin(&config)?;
        let looked = wait::until(PATIENCE, || {
            let log = scene.daemon().log();
            Ok(log
                .contains("the sandbox cannot be looked at")
                .then_some(log))
        })?;
        says(&looked.context("it is not looked at")?, &[&id])?;
        let client = scene.client();
        ensure!(
            client.inspect(&id)?["ready"] == true,
            "it is reported as recorded"
        );

        let pid = told.pid.to_string();
        outside::output(std::process::Command::new("kill").args(["-9", &pid]))?;
        write_program(&runtime, works)?;
        let noticed = wait::until(PATIENCE, || {
            let detail = client.inspect(&id)?;
            Ok((detail["sandbox"]["exited"] == true).then_some(detail))
        })?;
        let detail = noticed.context("its end is not noticed")?;
        ensure!(
            detail["ready"] == false && detail["goal"] == "Run",
            "{detail:#}"
        );
        client.call(["rm", "-f", &id])?.done()?;
        scene.close()
    })
}
