//! The daemon as it is released, with real plugins, killed at random moments while eight clients
//! start, stop and remove pods.
//!
//! 1. In each round eight clients ask for one thing after another (`client`), each remembering what
//!    it was granted. After a number of events, and a turn on the spot, the daemon is ended: by
//!    SIGKILL, by SIGTERM, by one after the other; or with the whole machine, which is booted again.
//! 2. The next one is started; sometimes it is ended too, while it opens or recovers, and sometimes
//!    it is told not to resume what was interrupted. Sometimes the clients go on before it is done.
//! 3. When every pod is at rest, each client's beliefs are compared with the list (`reconcile`), each
//!    running pod is looked at from outside, and everything on the node must have its pod (`seen`).
//! 4. Now and then, and in the end, all pods are removed, and the oracle must find nothing.
//!
//! All chance comes from one seed, which is printed and can be given as `PODWALK_SEED`; what
//! the kernel and the clients' threads do with it is not repeated. `PODWALK_CHAOS_ROUNDS` and
//! `PODWALK_REBOOT_ROUNDS` say how many rounds there are, `PODWALK_RELEASE_BINARY` where the release
//! binary is.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podwalk_testkit::scripted_plugin::{Answer, Delegate, Script};
use podwalk_tests::ask::{Events, Heard, call, says};
use podwalk_tests::conflist::Bridge;
use podwalk_tests::daemon::{Config, Daemon, released};
use podwalk_tests::dice::{Dice, seed_or_new};
use podwalk_tests::machine::Machine;
use podwalk_tests::node::{self, Layout};
use podwalk_tests::oracle::{Oracle, Places};
use podwalk_tests::plugins::Plugins;
use podwalk_tests::{counts, wait};
use serde_json::{Value, json};

mod client;
mod reconcile;
mod seen;

use client::{Belief, Client, OWES, Place};
use reconcile::{is_at_rest, reconcile};

const PATIENCE: Duration = Duration::from_secs(60);
const CLIENTS: u64 = 8;
/// Where the marks are that the plugin `mark` makes.
const MARKS: &str = "/run/node-disk/marks";

/// Makes a mark by a child that is slow, as IPAM plugins are, and takes it away again. Of sixteen
/// pods, by a digit of their ids, two have an ADD that fails when its mark is made, and two have a
/// DEL that succeeds only every second time.
const MARK: &str = r#"config=$(cat)
marks=/run/node-disk/marks
mark=$marks/$CNI_CONTAINERID
tried=$marks.tried.$CNI_CONTAINERID
fail() {
	echo '{"cniVersion":"1.0.0","code":100,"msg":"a mark fails on purpose"}'
	exit 1
}
case $CNI_COMMAND in
ADD)
	sh -c "sleep 0.02; : > $mark"
	case $CNI_CONTAINERID in *[01]????????) fail ;; esac
	# It is the last of the keys.
	result=${config#*\"prevResult\":}
	printf %s "${result%\}}"
	;;
DEL)
	sleep 0.01
	case $CNI_CONTAINERID in *[12]????????)
		if [ ! -e "$tried" ]; then
			: > "$tried"
			fail
		fi
		;;
	esac
	sh -c "rm -f $mark $tried"
	;;
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}' ;;
esac"#;

/// The machine, its daemon, and all who use it.
struct Chaos {
    machine: Machine,
    /// Whether rounds end with a reboot.
    reboots: bool,
    config: Config,
    oracle: Oracle,
    /// What the scripted plugin writes down of its calls.
    record: PathBuf,
    daemon: Option<Daemon>,
    clients: Vec<Client>,
    dice: Dice,
    seed: u64,
    /// What running pods looked like from outside when they were first looked at.
    looks: BTreeMap<String, (u64, String)>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    rounds: u64,
    mid_walk: u64,
    second_kills: u64,
    terminated: u64,
    looked_at: u64,
    sweeps: u64,
    /// All pods are removed at this moment.
    swept: bool,
}

impl Chaos {
    fn begin(layout: Layout, reboots: bool, seed: u64) -> Result<Self> {
        let mut config = Config {
            program: Some(released()?),
            file: Some(configuration(reboots, true)),
            ..Config::default()
        };
        let plugins = Plugins::before(&mut config)?;
        let slow = Answer {
            delay_ms: 5,
            delegate: Some(Delegate {
                delay_ms: 10,
                ..Delegate::default()
            }),
            succeed: true,
            ..Answer::default()
        };
        let script = Script::new().on("ADD", slow.clone()).on("DEL", slow);
        plugins.scripted("dawdler", &script)?;
        plugins.shell("mark", MARK)?;
        std::fs::create_dir(MARKS)?;
        let network = Bridge::new("chaos0", "10.66.0.0/16")
            .and("fd66::/64")
            .with_ports()
            .then(json!({"type": "dawdler"}))
            .then(json!({"type": "mark"}));
        network.write(&config.cni_conf_dir, 10)?;
        let machine = Machine::boot(layout)?;
        let mut places = Places::of(&config)?;
        places.spared.extend(config.program.clone());
        let oracle = machine.enter(|| Oracle::new(places))?;
        let daemon = Some(machine.start(&config)?);
        Ok(Self {
            machine,
            reboots,
            config,
            oracle,
            record: plugins.path("dawdler.record.jsonl"),
            daemon,
            clients: (0..CLIENTS)
                .map(|number| Client::new(number, reboots))
                .collect(),
            dice: Dice::new(seed, 0),
            seed,
            looks: BTreeMap::new(),
            counts: Counts::default(),
        })
    }

    fn socket(&self) -> PathBuf {
        self.machine.path(&self.config.socket())
    }

    fn round(&mut self) -> Result<()> {
        self.counts.rounds += 1;
        self.counts.swept = false;
        self.work()?;
        self.restart()?;
        // What a reboot has changed, the clients hear from the list.
        if !self.reboots && self.dice.percent(20) {
            // The next round's clients meet a daemon that still recovers.
            return Ok(());
        }
        self.settle()?;
        if self.dice.percent(10) {
            self.clear()?;
            if self.reboots {
                self.forget()?;
            }
        }
        Ok(())
    }

    /// Gives the daemon a new state directory. Who was removed within two minutes before a reboot has
    /// his DEL done again, and so is removed within two minutes before the next one: with a reboot
    /// every second all that ever were come back each time.
    fn forget(&mut self) -> Result<()> {
        self.terminate()?;
        std::fs::remove_dir_all(&self.config.state_dir)?;
        self.daemon = Some(self.machine.start(&self.config)?);
        Ok(())
    }

    /// Lets the clients ask until the daemon is ended under them.
    fn work(&mut self) -> Result<()> {
        let mut events = Events::listen(&self.socket())?;
        let before: u64 = self.clients.iter().map(|client| client.lost).sum();
        let (socket, seed, round) = (self.socket(), self.seed, self.counts.rounds);
        let daemon = self.daemon.take().context("a daemon")?;
        let (dice, clients) = (&mut self.dice, &mut self.clients);
        let machine = &mut self.machine;
        let end = if self.reboots {
            End::Reboot
        } else {
            End::by(dice)
        };
        let ended = std::thread::scope(|scope| {
            let mut lives = Vec::new();
            for (number, client) in (1..).zip(clients.iter_mut()) {
                let mut dice = Dice::new(seed, round * CLIENTS + number);
                let socket = &socket;
                lives.push(scope.spawn(move || client.live(socket, &mut dice)));
            }
            let many = if dice.percent(25) { 200 } else { 60 };
            let passed = events.pass(1 + dice.below(many));
            dice.spin(1000);
            let ended = end.of(machine, daemon, dice);
            let lives = lives.into_iter().map(|life| {
                let life = life.join();
                life.unwrap_or_else(|_| Err(anyhow!("a client panicked")))
            });
            lives.collect::<Result<()>>().and(ended).and(passed)
        });
        let after: u64 = clients.iter().map(|client| client.lost).sum();
        self.counts.mid_walk += u64::from(after > before);
        self.counts.terminated += u64::from(end == End::Terminate);
        ended
    }

    /// Starts the next daemon, which may be killed at once, and again.
    fn restart(&mut self) -> Result<()> {
        let resume = !self.dice.percent(20);
        self.config.file = Some(configuration(self.reboots, resume));
        while self.dice.percent(25) {
            self.counts.second_kills += 1;
            let (mut daemon, ready) = self.machine.spawn(&self.config)?;
            if self.dice.percent(50) {
                daemon.await_ready(&ready)?;
            }
            self.dice.spin(3000);
            if self.reboots && self.dice.percent(50) {
                self.machine.reboot(Some(daemon))?;
            } else {
                daemon.kill9()?;
            }
        }
        self.daemon = Some(self.machine.start(&self.config)?);
        Ok(())
    }

    /// Waits until nothing is on its way, and compares what is with what was promised.
    fn settle(&mut self) -> Result<()> {
        // Otherwise what a plugin has failed to let go is tried again in its own time.
        let impatient = self.dice.percent(80);
        let rows = wait::until(PATIENCE, || {
            let owing = self.owing()?;
            if impatient {
                owing.iter().try_for_each(|id| self.pay(id))?;
            }
            let rows = self.rows()?;
            let mut at_rest = owing.is_empty() && rows.iter().all(is_at_rest);
            for row in rows.iter().filter(|_| self.reboots) {
                at_rest = at_rest && self.is_released(row)?;
            }
            Ok(at_rest.then_some(rows))
        })?;
        let rows = match rows {
            Some(rows) => rows,
            None => return Err(anyhow!("not at rest: {:#?}", self.rows()?)),
        };
        let known = |row: &Value| {
            let name = row["name"].as_str();
            let mut places = self.clients.iter().flat_map(|client| &client.places);
            places.any(|place| Some(place.name.as_str()) == name)
        };
        ensure!(rows.iter().all(known), "pods of nobody: {rows:#?}");
        for client in &mut self.clients {
            for place in &mut client.places {
                let agreed = reconcile(place, &rows, self.reboots);
                agreed.with_context(|| format!("{place:?} in {rows:#?}"))?;
            }
        }
        self.machine
            .enter(|| seen::everything_has_its_pod(&self.config, &rows, self.reboots))?;
        self.look()?;
        // A script that reads all of its calls gets slow by them.
        match std::fs::remove_file(&self.record) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether nothing is to be undone of a pod any more. After a reboot its state is the lowest at
    /// once, for its interfaces are gone, while its addresses are still there.
    fn is_released(&self, row: &Value) -> Result<bool> {
        let path = format!("/v1/pods/{}", row["id"].as_str().context("id")?);
        let steps = match call(&self.socket(), "GET", &path, "")? {
            Heard::Granted(pod) => pod["steps"].clone(),
            // It has gone between the two questions.
            Heard::Refused(_) => return Ok(false),
            other => return Err(anyhow!("{path}: {other:?}")),
        };
        let mut steps = steps.as_array().into_iter().flatten();
        // In some modes there is no such step.
        let step = steps.find(|step| step["step"] == "ConfigureCni");
        Ok(step.is_none_or(|step| step["status"] == "Never"))
    }

    /// Who is in the ledger, those included that are in no list any more.
    fn owing(&self) -> Result<BTreeSet<String>> {
        let Heard::Granted(Value::Array(debts)) = call(&self.socket(), "GET", "/v1/debts", "")?
        else {
            return Err(anyhow!("the ledger cannot be read"));
        };
        let ids = debts.iter().map(|debt| debt["pod"].as_str());
        let ids = ids.map(|id| id.context("a debt of nobody").map(ToOwned::to_owned));
        ids.collect()
    }

    /// Has it tried at once. It may fail once more, or have been paid meanwhile.
    fn pay(&self, id: &str) -> Result<()> {
        match call(
            &self.socket(),
            "POST",
            &format!("/v1/pods/{id}/debts/pay"),
            "",
        )? {
            Heard::Granted(_) | Heard::Refused(_) => Ok(()),
            other => Err(anyhow!("paying {id}: {other:?}")),
        }
    }

    fn rows(&self) -> Result<Vec<Value>> {
        match call(&self.socket(), "GET", "/v1/pods?all=true", "")? {
            Heard::Granted(Value::Array(rows)) => Ok(rows),
            other => Err(anyhow!("the list is {other:?}")),
        }
    }

    /// Looks at every running pod from outside: it is right, and the same as before.
    fn look(&mut self) -> Result<()> {
        let mut with_ports = BTreeSet::new();
        let mut looks = BTreeMap::new();
        for client in &self.clients {
            for (at, place) in client.places.iter().enumerate() {
                let Belief::Up(id) = &place.belief else {
                    continue;
                };
                if place.has_ports() {
                    with_ports.insert(id.clone());
                }
                if !client.is_orphan(at) {
                    looks.insert(id.clone(), self.look_at(id, place)?);
                }
            }
        }
        self.machine
            .enter(|| seen::ports_have_their_pod(&with_ports))?;
        for (id, look) in &looks {
            let before = self.looks.get(id).unwrap_or(look);
            ensure!(before == look, "{id} was {before:?} and is {look:?}");
        }
        self.counts.looked_at += looks.len() as u64;
        self.looks = looks;
        Ok(())
    }

    fn look_at(&self, id: &str, place: &Place) -> Result<(u64, String)> {
        let path = format!("/v1/pods/{id}");
        let Heard::Granted(pod) = call(&self.socket(), "GET", &path, "")? else {
            return Err(anyhow!("{id} cannot be inspected"));
        };
        let owner = place.network().strip_prefix("pod:");
        let owner = owner.map(|owner| self.config.netns_dir.join(owner));
        let seen = self
            .machine
            .enter(|| seen::is_as_told(&pod, owner.as_deref()));
        seen.with_context(|| format!("{place:?}"))
    }

    /// Removes all pods and expects that nothing is left.
    fn clear(&mut self) -> Result<()> {
        self.counts.sweeps += 1;
        for row in self.rows()? {
            let id = row["id"].as_str().context("id")?;
            let path = format!("/v1/pods/{id}?force=true");
            let removed = wait::until(PATIENCE, || {
                match call(&self.socket(), "DELETE", &path, "")? {
                    Heard::Granted(_) => Ok(Some(())),
                    Heard::Refused(why) if says(&why, OWES) => Ok(None),
                    other => Err(anyhow!("rm {id}: {other:?}")),
                }
            })?;
            removed.with_context(|| format!("{id} still owes"))?;
        }
        let rows = self.rows()?;
        ensure!(rows.is_empty(), "{rows:#?}");
        for place in self
            .clients
            .iter_mut()
            .flat_map(|client| &mut client.places)
        {
            place.belief = Belief::Nothing;
            place.former = None;
        }
        self.counts.swept = true;
        self.assert_clean()
    }

    fn end(&mut self) -> Result<()> {
        self.counts.swept = false;
        self.settle()?;
        self.clear()?;
        self.terminate()?;
        self.assert_clean()
    }

    fn terminate(&mut self) -> Result<()> {
        let daemon = self.daemon.take().context("a daemon")?;
        let status = daemon.terminate()?;
        ensure!(status.success(), "SIGTERM ended the daemon with {status}");
        Ok(())
    }

    fn assert_clean(&self) -> Result<()> {
        self.machine.enter(|| self.oracle.assert_clean())
    }

    fn report(&self, leaks: &str) {
        let walks: u64 = self.clients.iter().map(|client| client.granted).sum();
        let lost: u64 = self.clients.iter().map(|client| client.lost).sum();
        let counts = &self.counts;
        println!(
            "chaos, seed {}: {} rounds, {walks} walks, {} ends mid-walk ({lost} requests), \
             {} ends during recovery, {} reboots, {} SIGTERM, {} looks from outside, {} sweeps, {leaks} leaks",
            self.seed,
            counts.rounds,
            counts.mid_walk,
            counts.second_kills,
            self.machine.boots() - 1,
            counts.terminated,
            counts.looked_at,
            counts.sweeps,
        );
    }
}

/// How a daemon is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    Terminate,
    /// While it ends in good order, it is killed.
    Both,
    /// With the machine.
    Reboot,
}

impl End {
    fn by(dice: &mut Dice) -> Self {
        match dice.below(100) {
            0..15 => Self::Terminate,
            15..25 => Self::Both,
            _ => Self::Kill,
        }
    }

    fn of(self, machine: &mut Machine, daemon: Daemon, dice: &mut Dice) -> Result<()> {
        if self == Self::Reboot {
            return machine.reboot(Some(daemon));
        }
        if self == Self::Terminate {
            let status = daemon.terminate()?;
            ensure!(status.success(), "SIGTERM ended the daemon with {status}");
            return Ok(());
        }
        if self == Self::Both {
            let pid = i32::try_from(daemon.pid())?;
            kill(Pid::from_raw(pid), Signal::SIGTERM)?;
            dice.spin(3000);
        }
        daemon.kill9()
    }
}

/// The daemon's configuration. What the machine's death tears in a network that is its own, it gives
/// back. Where only the daemon is killed nothing may be torn, and nothing is given back.
fn configuration(reboots: bool, resume: bool) -> String {
    let exclusive = if reboots { "['chaos0']" } else { "[]" };
    format!("[cni]\nexclusive_networks = {exclusive}\n[recovery]\nresume = {resume}\n")
}

/// How many rounds, by a variable of the environment.
fn rounds(variable: &str, otherwise: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text}")),
        Err(_) => Ok(otherwise),
    }
}

fn run(layout: Layout, reboots: bool, rounds: u64) -> Result<()> {
    let mut chaos = Chaos::begin(layout, reboots, seed_or_new()?)?;
    println!("chaos: seed {}", chaos.seed);
    let done = (0..rounds)
        .try_for_each(|_| chaos.round())
        .and_then(|()| chaos.end());
    // Where a round fails there are pods, and what is theirs is no leak.
    let leaks = match (&done, chaos.counts.swept) {
        (Ok(()), _) => Some(0),
        (Err(_), true) => Some(chaos.machine.enter(|| chaos.oracle.leftovers())?.len()),
        (Err(_), false) => None,
    };
    let shown = leaks.map_or("uncounted".to_owned(), |leaks| leaks.to_string());
    chaos.report(&shown);
    let name = if reboots {
        "reboot-rounds"
    } else {
        "chaos-rounds"
    };
    counts::add(name, chaos.counts.rounds)?;
    counts::add("leaks", leaks.unwrap_or_default() as u64)?;
    let torn = chaos.machine.enter(|| seen::torn(&chaos.config))?;
    counts::add("torn-addresses", torn)?;
    // A round that fails without a leak has found a promise that was not kept.
    counts::add("lost", u64::from(done.is_err() && leaks.is_none()))?;
    done.with_context(|| format!("round {} of seed {}", chaos.counts.rounds, chaos.seed))
}

/// A guard against a hang: a round takes about a second.
fn deadline(rounds: u64) -> Duration {
    Duration::from_secs(300 + 60 * rounds)
}

const ROUNDS: &str = "PODWALK_CHAOS_ROUNDS";

#[test]
fn whenever_the_daemon_is_killed_what_was_granted_holds_and_nothing_is_left() -> Result<()> {
    let rounds = rounds(ROUNDS, 50)?;
    let rounds = rounds - rounds / 5;
    node::run_within(Layout::V1, deadline(rounds), || {
        run(Layout::V1, false, rounds)
    })
}

#[test]
fn whenever_the_daemon_is_killed_nothing_is_left_on_v2() -> Result<()> {
    let rounds = rounds(ROUNDS, 50)? / 5;
    node::run_within(Layout::V2, deadline(rounds), || {
        run(Layout::V2, false, rounds)
    })
}

#[test]
fn whenever_the_machine_is_rebooted_what_was_granted_is_known_and_nothing_is_left() -> Result<()> {
    let rounds = rounds("PODWALK_REBOOT_ROUNDS", 10)?;
    node::run_within(Layout::V1, deadline(rounds), || {
        run(Layout::V1, true, rounds)
    })
}
