//! What one client asks for, and what it may believe.
//!
//! A client has two names, and at most one pod that is to run for each. It never asks about another
//! client's. Whatever the daemon has granted is a promise; whatever was asked for and not answered
//! may have happened or not, and the client asks again, as every client of such an API must.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use podwalk_tests::ask::{Heard, call, says, whisper};
use podwalk_tests::dice::Dice;
use serde_json::{Value, json};

/// What keeps a start from coming true without anybody's fault.
const EXCUSES: [&str; 8] = [
    // What the plugin does on purpose, and what that leads to.
    "a mark fails on purpose",
    "is held by pod",
    // Two of Debian's portmap that meet no chains yet both make them, and one is told so.
    "CHAIN_USER_ADD failed (File exists)",
    // A crash, and a daemon that does not resume, or a removal at the same time.
    "was stopped while it started",
    "as often as is allowed",
    // The owner of its network was ended meanwhile.
    "that pod is not started",
    "there is no namespace to start it in",
    "no pod '",
];

/// What a refused stop or removal says when a plugin has failed: it is tried again.
pub(super) const OWES: &str = "still owes";

/// What a client believes of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Belief {
    /// No pod of it runs.
    Nothing,
    /// A start was asked for and not answered.
    Perhaps,
    /// It runs.
    Up(String),
    /// Its stop was asked for and not answered.
    Stopping(String),
    /// Its removal was asked for and not answered.
    Removing(String),
    /// It is stopped.
    Stopped(String),
}

/// A stopped pod whose name was given to a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Former {
    /// Its id.
    pub(super) id: String,
    /// Its removal was asked for and not answered.
    pub(super) removing: bool,
}

/// A name, and what is believed of it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The name.
    pub(super) name: String,
    /// What is believed.
    pub(super) belief: Belief,
    /// What was asked for last.
    pub(super) request: Value,
    /// A stopped pod whose name was given to a new one.
    pub(super) former: Option<Former>,
    /// The pods that its removals were granted for.
    pub(super) gone: Vec<String>,
    port: u64,
}

impl Place {
    fn new(client: u64, number: u64) -> Self {
        Self {
            name: format!("c{client}-{number}"),
            belief: Belief::Nothing,
            request: Value::Null,
            former: None,
            gone: Vec::new(),
            port: 20000 + 10 * client + number,
        }
    }

    /// The mode that was asked for last.
    pub(super) fn network(&self) -> &str {
        self.request["network"].as_str().unwrap_or("cni")
    }

    /// Whether host ports were asked for.
    pub(super) fn has_ports(&self) -> bool {
        self.request["config"]["port_mappings"] != json!([])
    }

    fn removed(&mut self, id: String) {
        self.gone.push(id);
        self.belief = Belief::Nothing;
    }
}

/// A client.
pub(super) struct Client {
    /// Its names.
    pub(super) places: [Place; 2],
    /// How many starts, stops and removals were granted.
    pub(super) granted: u64,
    /// How many requests the daemon died over.
    pub(super) lost: u64,
    /// After a reboot pods that were removed are walked down once more, and until that is done their
    /// names mean them if there is no other: who removes a name that is not taken yet may hear of
    /// such a one.
    ghosts: bool,
}

impl Client {
    /// The n-th client, of a machine that may be rebooted or may not.
    pub(super) fn new(number: u64, reboots: bool) -> Self {
        Self {
            ghosts: reboots,
            places: [Place::new(number, 0), Place::new(number, 1)],
            granted: 0,
            lost: 0,
        }
    }

    /// Asks for one thing after another until the daemon ends.
    ///
    /// # Errors
    /// An answer that the daemon should not have given.
    pub(super) fn live(&mut self, socket: &Path, dice: &mut Dice) -> Result<()> {
        loop {
            let heard = self.turn(socket, dice)?;
            self.lost += u64::from(matches!(heard, Heard::Lost));
            if heard.is_the_end() {
                return Ok(());
            }
        }
    }

    fn turn(&mut self, socket: &Path, dice: &mut Dice) -> Result<Heard> {
        let at = usize::from(dice.percent(50));
        if self.places[at].former.is_some() && dice.percent(50) {
            return self.remove_former(socket, at);
        }
        match self.places[at].belief.clone() {
            Belief::Nothing => {
                self.places[at].request = self.wish(at, dice);
                match dice.below(100) {
                    0..8 => self.abandon(socket, at),
                    20..35 => self.crowd(socket, at),
                    8..20 if self.places[at].former.is_none() => self.rush(socket, at),
                    _ => self.start(socket, at),
                }
            }
            Belief::Perhaps => self.start(socket, at),
            Belief::Up(id) => match dice.below(100) {
                0..20 if !self.is_orphan(at) => self.start(socket, at),
                20..60 => self.stop(socket, at, id),
                _ => self.remove(socket, at, id),
            },
            Belief::Stopping(id) => self.stop(socket, at, id),
            Belief::Removing(id) => self.remove(socket, at, id),
            Belief::Stopped(id) if self.places[at].former.is_none() && dice.percent(40) => {
                let removing = false;
                self.places[at].former = Some(Former { id, removing });
                self.places[at].request = self.wish(at, dice);
                self.places[at].belief = Belief::Nothing;
                self.start(socket, at)
            }
            Belief::Stopped(id) => self.remove(socket, at, id),
        }
    }

    /// A spec by chance.
    fn wish(&self, at: usize, dice: &mut Dice) -> Value {
        let place = &self.places[at];
        let owner = match (&self.places[1 - at].belief, self.places[1 - at].network()) {
            (Belief::Up(id), "cni" | "none") => Some(format!("pod:{id}")),
            _ => None,
        };
        let (network, port) = match (dice.below(100), owner) {
            (0..15, Some(owner)) => (owner, None),
            (0..25, _) => ("none".to_owned(), None),
            (25..35, _) => ("host".to_owned(), None),
            (35..60, _) => ("cni".to_owned(), Some(place.port)),
            (60..65, _) => ("cni".to_owned(), Some(19999)),
            _ => ("cni".to_owned(), None),
        };
        let mapping = |port| json!({"host_port": port, "container_port": 80, "protocol": "TCP"});
        let ports: Vec<Value> = port.into_iter().map(mapping).collect();
        json!({
            "config": {"metadata": {"name": place.name}, "port_mappings": ports},
            "network": network,
        })
    }

    /// Whether it is a guest in a network whose owner was asked to end.
    pub(super) fn is_orphan(&self, at: usize) -> bool {
        let owner = self.places[at].network().strip_prefix("pod:");
        owner.is_some_and(|owner| self.places[1 - at].belief != Belief::Up(owner.to_owned()))
    }

    fn start(&mut self, socket: &Path, at: usize) -> Result<Heard> {
        let place = &mut self.places[at];
        let before = place.belief.clone();
        if before == Belief::Nothing {
            place.belief = Belief::Perhaps;
        }
        let body = place.request.to_string();
        let heard = call(socket, "POST", "/v1/pods", &body)?;
        self.started(at, &before, &heard)?;
        Ok(heard)
    }

    /// Takes in the answer to a start.
    fn started(&mut self, at: usize, before: &Belief, heard: &Heard) -> Result<()> {
        let place = &mut self.places[at];
        match heard {
            Heard::Granted(answer) => {
                let up = Belief::Up(id_of(answer)?);
                let same = !matches!(before, Belief::Up(_)) || *before == up;
                ensure!(same, "{} was {before:?} and is {up:?}", place.name);
                place.belief = up;
                self.granted += 1;
            }
            Heard::Refused(_) if heard.is_the_end() => {}
            Heard::Refused(why) => {
                let excused = EXCUSES.iter().any(|excuse| says(why, excuse));
                let excused = excused && !matches!(before, Belief::Up(_));
                ensure!(excused, "start of {} ({before:?}): {why}", place.request);
                if *before == Belief::Nothing && says(why, "host port") {
                    place.belief = Belief::Nothing;
                }
            }
            Heard::Lost | Heard::Down => {}
        }
        Ok(())
    }

    /// Asks for a start and goes away.
    fn abandon(&mut self, socket: &Path, at: usize) -> Result<Heard> {
        let place = &mut self.places[at];
        place.belief = Belief::Perhaps;
        Ok(
            match whisper(socket, "/v1/pods", &place.request.to_string()) {
                true => Heard::Granted(Value::Null),
                false => Heard::Down,
            },
        )
    }

    /// Asks for the same start three times at once.
    fn crowd(&mut self, socket: &Path, at: usize) -> Result<Heard> {
        let place = &mut self.places[at];
        place.belief = Belief::Perhaps;
        let body = place.request.to_string();
        let heard = std::thread::scope(|scope| {
            let ask = || call(socket, "POST", "/v1/pods", &body);
            let asked = [scope.spawn(ask), scope.spawn(ask), scope.spawn(ask)];
            asked.map(|one| one.join().unwrap_or_else(|_| bail!("a thread panicked")))
        });
        let mut heard = heard.into_iter().collect::<Result<Vec<Heard>>>()?;
        // One that came after a failure has made a pod of its own; all that are granted are one.
        heard.sort_by_key(|one| matches!(one, Heard::Granted(_)));
        for one in &heard {
            let before = self.places[at].belief.clone();
            self.started(at, &before, one)?;
        }
        let end = heard.iter().position(Heard::is_the_end).unwrap_or(0);
        Ok(heard.swap_remove(end))
    }

    /// Asks for a start, and for its end at the same time.
    fn rush(&mut self, socket: &Path, at: usize) -> Result<Heard> {
        let place = &mut self.places[at];
        place.belief = Belief::Perhaps;
        let (body, name) = (place.request.to_string(), place.name.clone());
        let (started, removed) = std::thread::scope(|scope| {
            let start = scope.spawn(|| call(socket, "POST", "/v1/pods", &body));
            let path = format!("/v1/pods/{name}?force=true");
            let mut removed = call(socket, "DELETE", &path, "");
            // Until it has begun there is nothing to be ended.
            while matches!(&removed, Ok(Heard::Refused(_))) && !start.is_finished() {
                removed = call(socket, "DELETE", &path, "");
            }
            (start.join(), removed)
        });
        let Ok(started) = started else {
            bail!("the thread that starts {name} panicked");
        };
        let (started, removed) = (started?, removed?);
        self.started(at, &Belief::Perhaps, &started)?;
        self.end_of_rush(at, &started, &removed)?;
        Ok(if started.is_the_end() {
            started
        } else {
            removed
        })
    }

    fn end_of_rush(&mut self, at: usize, started: &Heard, removed: &Heard) -> Result<()> {
        let place = &mut self.places[at];
        let owes = matches!(removed, Heard::Refused(why) if says(why, OWES));
        match (removed, place.belief.clone()) {
            (Heard::Granted(answer), belief) => {
                let id = id_of(answer)?;
                let same = matches!(&belief, Belief::Up(up) if *up == id);
                let other = matches!(&belief, Belief::Up(up) if *up != id);
                ensure!(self.ghosts || !other, "{id} was removed for {belief:?}");
                if same || !self.ghosts {
                    place.removed(id);
                }
                self.granted += 1;
            }
            (_, Belief::Up(id)) if removed.is_the_end() || owes => {
                place.belief = Belief::Removing(id);
            }
            _ => {
                // Nobody has ended it, so nothing excuses it.
                let stopped = matches!(started, Heard::Refused(why) if says(why, "was stopped"));
                ensure!(
                    !stopped || removed.is_the_end() || owes,
                    "{started:?}, {removed:?}"
                );
            }
        }
        Ok(())
    }

    fn stop(&mut self, socket: &Path, at: usize, id: String) -> Result<Heard> {
        let path = format!("/v1/pods/{id}/stop");
        self.places[at].belief = Belief::Stopping(id.clone());
        let heard = call(socket, "POST", &path, "")?;
        match &heard {
            Heard::Granted(_) => {
                self.places[at].belief = Belief::Stopped(id);
                self.granted += 1;
            }
            Heard::Refused(why) => {
                ensure!(heard.is_the_end() || says(why, OWES), "stop {id}: {why}");
            }
            Heard::Lost | Heard::Down => {}
        }
        Ok(heard)
    }

    fn remove(&mut self, socket: &Path, at: usize, id: String) -> Result<Heard> {
        let again = matches!(self.places[at].belief, Belief::Removing(_));
        self.places[at].belief = Belief::Removing(id.clone());
        let heard = removal(socket, &id)?;
        match &heard {
            Heard::Granted(_) => {
                self.places[at].removed(id);
                self.granted += 1;
            }
            Heard::Refused(why) if again && why["kind"] == "not-found" => {
                self.places[at].removed(id);
            }
            Heard::Refused(why) => {
                ensure!(heard.is_the_end() || says(why, OWES), "rm {id}: {why}");
            }
            Heard::Lost | Heard::Down => {}
        }
        Ok(heard)
    }

    fn remove_former(&mut self, socket: &Path, at: usize) -> Result<Heard> {
        let Some(former) = &mut self.places[at].former else {
            bail!("there is no former pod");
        };
        let (id, again) = (former.id.clone(), former.removing);
        former.removing = true;
        let heard = removal(socket, &id)?;
        let done = match &heard {
            Heard::Granted(_) => true,
            // The earlier try has done it without an answer.
            Heard::Refused(why) if again && why["kind"] == "not-found" => true,
            Heard::Refused(why) => {
                ensure!(heard.is_the_end() || says(why, OWES), "rm {id}: {why}");
                false
            }
            Heard::Lost | Heard::Down => false,
        };
        if done {
            self.places[at].former = None;
            self.places[at].gone.push(id);
            self.granted += 1;
        }
        Ok(heard)
    }
}

fn removal(socket: &Path, id: &str) -> Result<Heard> {
    call(socket, "DELETE", &format!("/v1/pods/{id}?force=true"), "")
}

fn id_of(answer: &Value) -> Result<String> {
    match answer["id"].as_str() {
        Some(id) => Ok(id.to_owned()),
        None => bail!("no id in {answer}"),
    }
}
