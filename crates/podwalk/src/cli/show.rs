//! Printing, for people and for programs.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::api::{EventLine, JournalLine, PlanAnswer, PodSummary};
use crate::doctor::Finding;

mod debts;

pub(super) use debts::{debts, dropped, forgiven, quarantine, raw};

/// Prints a line. That nobody reads it, as with `| head`, is no error: who read
/// has read enough.
pub(super) fn say(line: impl Display) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("standard output cannot be written")
        }
        _ => Ok(()),
    }
}

pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    say(serde_json::to_string_pretty(value).context("the answer cannot be printed")?)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header);
    table
}

pub(super) fn pods(pods: &[PodSummary]) -> anyhow::Result<()> {
    let mut table = table(&[
        "POD", "NAME", "STATE", "READY", "GOAL", "NETWORK", "IP", "AGE", "OWED",
    ]);
    for pod in pods {
        table.add_row([
            pod.id.chars().take(12).collect::<String>(),
            pod.name.clone(),
            pod.state.clone(),
            if pod.ready { "yes" } else { "no" }.to_owned(),
            pod.goal.clone(),
            pod.network_mode.clone(),
            pod.ip.clone(),
            age(pod.created_at),
            pod.owed.to_string(),
        ]);
    }
    say(table)
}

pub(super) fn findings(findings: &[Finding]) -> anyhow::Result<()> {
    for finding in findings {
        let mark = if finding.ok { "ok   " } else { "WRONG" };
        say(format_args!("{mark} {}: {}", finding.about, finding.says))?;
        if !finding.remedy.is_empty() {
            say(format_args!("      {}", finding.remedy))?;
        }
    }
    Ok(())
}

pub(super) fn plan(plan: &PlanAnswer) -> anyhow::Result<()> {
    if plan.pods.is_empty() && plan.quarantined.is_empty() {
        say("nothing to recover")?;
    }
    for pod in &plan.pods {
        let short: String = pod.id.chars().take(12).collect();
        say(format_args!(
            "{short} {} ({}, goal {}): {}",
            pod.name, pod.state, pod.goal, pod.verdict
        ))?;
        for step in &pod.steps {
            say(format_args!("    {step}"))?;
        }
    }
    for pod in &plan.quarantined {
        say(format_args!("{} is in quarantine: {}", pod.id, pod.reason))?;
    }
    Ok(())
}

pub(super) fn journal(lines: &[JournalLine]) -> anyhow::Result<()> {
    for line in lines {
        say(format_args!(
            "{:>5}  {}  {}",
            line.sequence,
            clock(line.at),
            brief(&line.record)
        ))?;
    }
    Ok(())
}

/// A record in one line: its words, without what is long.
fn brief(record: &serde_json::Value) -> String {
    let text = record.to_string();
    let mut short: String = text.chars().take(160).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// An event in one line.
pub(super) fn event(event: &EventLine) -> String {
    let pod = event.pod.as_ref();
    let id: String = pod.map_or(String::new(), |pod| pod.id.chars().take(12).collect());
    let name = pod.map_or("", |pod| pod.name.as_str());
    format!(
        "{}  {}  {id} {name} {} {}\n",
        event.cursor,
        clock(event.at),
        event.event,
        event.detail
    )
}

/// The time of day in UTC, with milliseconds.
fn clock(nanoseconds: u64) -> String {
    let milliseconds = nanoseconds / 1_000_000;
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    let of_day = seconds % 86_400;
    format!(
        "{:02}:{:02}:{:02}.{rest:03}",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

fn age(created_ns: u64) -> String {
    let created = UNIX_EPOCH + Duration::from_nanos(created_ns);
    let seconds = SystemTime::now()
        .duration_since(created)
        .unwrap_or_default()
        .as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
