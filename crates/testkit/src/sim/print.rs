//! Schedules as Rust expressions.
//!
//! What `Debug` prints of a variant is a pattern and an expression too, but for
//! the name of its type.

use std::fmt;

use podwalk_engine::decide::Policy;

use crate::sim::schedule::{Call, Client, Death, Request, Schedule};
use crate::sim::{Fault, Setup};

/// Displays a schedule as an expression, indented as in the body of a function.
pub(crate) struct Rust<'a>(pub(crate) &'a Schedule);

impl fmt::Display for Rust<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schedule = self.0;
        let defaults = Schedule::default();
        writeln!(out, "Schedule {{")?;
        if schedule.setup != defaults.setup {
            writeln!(out, "        setup: {},", setup(&schedule.setup))?;
        }
        list(out, "faults", schedule.faults.iter().map(fault))?;
        list(out, "clients", schedule.clients.iter().map(client))?;
        list(out, "requests", schedule.requests.iter().map(request))?;
        list(out, "deaths", schedule.deaths.iter().map(death))?;
        if schedule.persistent {
            writeln!(out, "        persistent: true,")?;
        }
        writeln!(out, "        ..Schedule::default()")?;
        write!(out, "    }}")
    }
}

fn list(
    out: &mut fmt::Formatter<'_>,
    name: &str,
    items: impl ExactSizeIterator<Item = String>,
) -> fmt::Result {
    if items.len() == 0 {
        return Ok(());
    }
    writeln!(out, "        {name}: vec![")?;
    for item in items {
        writeln!(out, "            {item},")?;
    }
    writeln!(out, "        ],")
}

fn setup(setup: &Setup) -> String {
    let defaults = Setup::default();
    let mut fields = Vec::new();
    if setup.attachments != defaults.attachments {
        fields.push(format!("attachments: {}", setup.attachments));
    }
    if setup.late != defaults.late {
        fields.push(format!("late: {}", setup.late));
    }
    if setup.consumes_network {
        fields.push("consumes_network: true".to_owned());
    }
    if setup.restless {
        fields.push("restless: true".to_owned());
    }
    if setup.policy != defaults.policy {
        fields.push(format!("policy: {}", policy(&setup.policy)));
    }
    if setup.recovery_at_once != defaults.recovery_at_once {
        fields.push(format!("recovery_at_once: {}", setup.recovery_at_once));
    }
    if setup.seed != defaults.seed {
        fields.push(format!("seed: {}", setup.seed));
    }
    fields.push("..Setup::default()".to_owned());
    format!("Setup {{ {} }}", fields.join(", "))
}

fn policy(policy: &Policy) -> String {
    format!(
        "Policy {{ resume: {}, attempts: {}, debt_grace: Duration::from_nanos({}) }}",
        policy.resume,
        policy.attempts,
        policy.debt_grace.as_nanos()
    )
}

fn fault(fault: &Fault) -> String {
    let made = match fault.times {
        Some(1) => "once",
        _ => "for_ever",
    };
    let attachment = fault
        .attachment
        .map_or(String::new(), |number| format!(".of_attachment({number})"));
    let pod = fault
        .pod
        .map_or(String::new(), |pod| format!(".of(PodId({:?}))", pod.0));
    let times = match fault.times {
        Some(times) if times != 1 => format!(".at_most({times})"),
        _ => String::new(),
    };
    format!(
        "Fault::{made}(Step::{:?}, Site::{:?}, Mishap::{:?}){pod}{attachment}{times}",
        fault.step, fault.site, fault.mishap
    )
}

fn client(client: &Client) -> String {
    let calls: Vec<String> = client.calls.iter().map(|one| call(*one)).collect();
    format!(
        "Client {{ mode: Mode::{:?}, calls: vec![{}] }}",
        client.mode,
        calls.join(", ")
    )
}

fn call(call: Call) -> String {
    format!("Call::{call:?}")
}

fn request(request: &Request) -> String {
    format!(
        "Request {{ life: {}, point: {}, client: {}, call: {} }}",
        request.life,
        request.point,
        request.client,
        call(request.call)
    )
}

fn death(death: &Death) -> String {
    let Death { point, crash } = death;
    format!("Death {{ point: {point}, crash: Crash::{crash:?} }}")
}
