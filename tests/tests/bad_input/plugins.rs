//! CNI plugins that do not do their part. Each stands in a chain behind the real bridge plugin, so
//! that an interface and an address leak if the start is not undone.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use podwalk_testkit::scripted_plugin::{Answer, Script};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::Config;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::plugins::Plugins;
use podwalk_tests::scene::Scene;
use serde_json::{Value, json};

use crate::{podnet, refused, still_serves};

/// A daemon with a default network that works and, for each faulty plugin, a second network of its
/// name with the bridge in front.
struct Workshop {
    config: Config,
    plugins: Plugins,
    networks: Vec<Bridge>,
}

impl Workshop {
    fn open() -> Result<Self> {
        Self::with(Config::default())
    }

    fn with(mut config: Config) -> Result<Self> {
        let plugins = Plugins::before(&mut config)?;
        Ok(Self {
            config,
            plugins,
            networks: vec![podnet()],
        })
    }

    /// A network `name`, the last plugin of which is `plugin`.
    fn network(&mut self, plugin: &str) {
        let number = self.networks.len();
        let name = format!("bad{number}");
        let bridge = Bridge::new(&name, &format!("10.77.{number}.0/24"));
        self.networks.push(bridge.then(json!({"type": plugin})));
    }

    fn scripted(&mut self, plugin: &str, add: Answer) -> Result<()> {
        self.plugins
            .scripted(plugin, &Script::new().on("ADD", add))?;
        self.network(plugin);
        Ok(())
    }

    fn scene(&self) -> Result<Scene> {
        Scene::open_with(&self.config, &self.networks)
    }
}

/// Starts a pod in each faulty network: it must fail in the words, and leave nothing.
fn each_fails(scene: &Scene, cases: &[(&str, &[&str])]) -> Result<()> {
    let client = scene.client();
    for (number, (plugin, words)) in (1..).zip(cases) {
        let networks = format!("k8s.v1.cni.cncf.io/networks=bad{number}");
        let answer = client.call(["run", "--name", "web", "--annotation", &networks])?;
        let network = format!("network bad{number}");
        let common = ["ConfigureCni failed: ADD", &network, plugin];
        refused(&answer, 1, &[&common, *words].concat()).with_context(|| (*plugin).to_owned())?;
        let left = client.list(true)?;
        ensure!(left.is_empty(), "{plugin}: refused, and there: {left:?}");
        scene
            .oracle()
            .assert_clean()
            .with_context(|| (*plugin).to_owned())?;
    }
    Ok(())
}

fn printing(text: &str) -> Answer {
    Answer {
        stdout: Some(text.to_owned()),
        ..Answer::default()
    }
}

#[test]
fn plugins_that_fail_or_crash() -> Result<()> {
    node::run(Layout::V2, || {
        let mut workshop = Workshop::open()?;
        let error =
            json!({"cniVersion": "1.0.0", "code": 110, "msg": "no uplink", "details": "eth9"});
        let says = |error: Value| Answer {
            error: Some(error),
            ..Answer::default()
        };
        workshop.scripted("says-no", says(error))?;
        let later = json!({"cniVersion": "1.0.0", "code": 11, "msg": "busy"});
        workshop.scripted("says-later", says(later))?;
        let mute = Answer {
            exit: Some(3),
            stderr: Some("first\nlast words\n".to_owned()),
            ..Answer::default()
        };
        workshop.scripted("exits", mute)?;
        let abort = Answer {
            abort: true,
            ..Answer::default()
        };
        workshop.scripted("crashes", abort)?;
        let scene = workshop.scene()?;
        each_fails(
            &scene,
            &[
                (
                    "says-no",
                    &["code 110", "no uplink", "(eth9)", "/plugins/says-no"],
                ),
                ("says-later", &["code 11", "try again later", "busy"]),
                ("exits", &["exit status 3", "last words", "/plugins/exits"]),
                ("crashes", &["signal 6", "/plugins/crashes"]),
            ],
        )?;
        still_serves(&scene.client())?;
        scene.close()
    })
}

#[test]
fn scenario_23_plugins_that_print_too_much_or_nonsense() -> Result<()> {
    node::run(Layout::V2, || {
        let mut workshop = Workshop::open()?;
        workshop.scripted("garbage", printing("Segmentation fault\nsecond line"))?;
        workshop.scripted("empty", printing(" "))?;
        workshop.scripted("array", printing("[]"))?;
        let old = r#"{"cniVersion": "9.0.0", "ips": []}"#;
        workshop.scripted("other-version", printing(old))?;
        let broken = r#"{"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.300/24"}]}"#;
        workshop.scripted("bad-address", printing(broken))?;
        let flood = Answer {
            flood: 10 << 20,
            ..Answer::default()
        };
        workshop.scripted("floods", flood)?;
        let scene = workshop.scene()?;
        each_fails(
            &scene,
            &[
                (
                    "garbage",
                    &["cannot be read", "Segmentation fault", "replace the plugin"],
                ),
                ("empty", &["cannot be read", "replace the plugin"]),
                ("array", &["cannot be read", "[]"]),
                ("other-version", &["9.0.0"]),
                ("bad-address", &["10.0.0.300/24"]),
                ("floods", &["more than", "bytes", "killed"]),
            ],
        )?;
        still_serves(&scene.client())?;
        scene.close()
    })
}

#[test]
fn a_plugin_that_hangs_is_killed_at_the_deadline() -> Result<()> {
    node::run(Layout::V2, || {
        // Long for a plugin that works on a busy machine.
        let config = Config::with_file("[cni]\nplugin_seconds = 5\n");
        let mut workshop = Workshop::with(config)?;
        let hang = Answer {
            hang: true,
            ..Answer::default()
        };
        workshop.scripted("hangs", hang)?;
        let scene = workshop.scene()?;
        let words = ["no end within 5s", "killed", "/plugins/hangs"];
        each_fails(&scene, &[("hangs", &words)])?;
        still_serves(&scene.client())?;
        scene.close()
    })
}

/// A binary that cannot be executed for ADD cannot be for DEL: the start fails, DEL stays owed, and is
/// paid when the binary is put right.
#[test]
fn scenario_33_plugins_that_cannot_be_executed() -> Result<()> {
    node::run(Layout::V2, || {
        let mut workshop = Workshop::open()?;
        let plugins = workshop.plugins.clone();
        for plugin in ["missing", "no-x-bit", "no-program", "other-machine"] {
            workshop.network(plugin);
        }
        plugins.shell("no-x-bit", "exit 0")?;
        let no_x = fs::Permissions::from_mode(0o644);
        fs::set_permissions(plugins.path("no-x-bit"), no_x)?;
        let executable = fs::Permissions::from_mode(0o755);
        fs::write(plugins.path("no-program"), [0x7f, 0, 0, 0])?;
        fs::set_permissions(plugins.path("no-program"), executable.clone())?;
        fs::write(plugins.path("other-machine"), elf_for_another_machine()?)?;
        fs::set_permissions(plugins.path("other-machine"), executable)?;
        let scene = workshop.scene()?;
        let cases: [(&str, &[&str]); 4] = [
            (
                "missing",
                &["in none of", "/plugins", "/usr/lib/cni", "install it"],
            ),
            (
                "no-x-bit",
                &["/plugins/no-x-bit", "not executable", "chmod +x"],
            ),
            (
                "no-program",
                &["/plugins/no-program", "cannot run here", "architecture"],
            ),
            (
                "other-machine",
                &["/plugins/other-machine", "cannot run here", "machine 183"],
            ),
        ];
        let client = scene.client();
        for (number, (plugin, words)) in (1..).zip(cases) {
            let networks = format!("k8s.v1.cni.cncf.io/networks=bad{number}");
            let answer = client.call(["run", "--name", plugin, "--annotation", &networks])?;
            let common = ["ConfigureCni failed: ADD", plugin, "undoing ConfigureCni"];
            refused(&answer, 1, &[&common, words].concat()).context(plugin)?;
            let detail = client.inspect(plugin)?;
            let owed = detail["owed"][0].clone();
            ensure!(owed["step"] == "ConfigureCni", "{detail:#}");
            ensure!(owed["attachment"] == format!("bad{number}"), "{owed}");
            still_serves(&client).context(plugin)?;
        }
        for (plugin, _) in cases {
            let path = plugins.path(plugin);
            if path.exists() {
                fs::remove_file(path)?;
            }
            plugins.scripted(plugin, &Script::new())?;
            client.call(["rm", "-f", plugin])?.done()?;
        }
        still_serves(&client)?;
        scene.close()
    })
}

/// A real program whose header says that it is for 64-bit ARM (`e_machine`, elf(5)).
fn elf_for_another_machine() -> Result<Vec<u8>> {
    let mut program = fs::read("/usr/lib/cni/loopback")?;
    let field = program.get_mut(18..20).context("an ELF header")?;
    field.copy_from_slice(&183u16.to_le_bytes());
    Ok(program)
}
