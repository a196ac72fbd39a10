//! The ledger and the quarantine, for people.

use std::fmt::Write;

use super::{age, clock, say, table};
use crate::api::{
    DebtLine, DropAnswer, ForgiveAnswer, QuarantineDetail, QuarantineSummary, RawLine,
};

/// How many bytes stand in a line of a dump.
const DUMPED: usize = 16;

pub(in crate::cli) fn debts(debts: &[DebtLine]) -> anyhow::Result<()> {
    let mut table = table(&[
        "POD",
        "NAME",
        "STEP",
        "NETWORK",
        "TRIES",
        "SINCE",
        "NEXT",
        "OUTLIVED",
        "LAST ERROR",
    ]);
    for debt in debts {
        table.add_row([
            short(&debt.pod),
            debt.name.clone(),
            debt.step.clone(),
            debt.attachment.clone().unwrap_or_default(),
            debt.attempts.to_string(),
            age(debt.since),
            until(debt.next_try),
            debt.outlived.clone().unwrap_or_else(|| "no".to_owned()),
            one_line(&debt.last_error),
        ]);
    }
    say(table)
}

pub(in crate::cli) fn forgiven(answer: &ForgiveAnswer) -> anyhow::Result<()> {
    let pod = &answer.id;
    for forgiven in &answer.forgiven {
        say(format_args!("{pod}: {forgiven} is forgiven"))?;
    }
    for owed in &answer.owed {
        say(format_args!("{pod}: still owed: {owed}"))?;
    }
    Ok(())
}

pub(in crate::cli) fn quarantine(pods: &[QuarantineSummary]) -> anyhow::Result<()> {
    let mut table = table(&["POD", "NAME", "RECORDS", "BYTES", "LAST", "WHY"]);
    for pod in pods {
        let last = match pod.last_record {
            0 => String::new(),
            at => age(at),
        };
        table.add_row([
            short(&pod.id),
            pod.name.clone(),
            pod.records.to_string(),
            pod.bytes.to_string(),
            last,
            one_line(&pod.reason),
        ]);
    }
    say(table)
}

/// A pod's records, each under a line that says what can be read of it.
pub(in crate::cli) fn raw(pod: &QuarantineDetail) -> anyhow::Result<()> {
    let name = match pod.name.as_str() {
        "" => "its name cannot be read",
        name => name,
    };
    say(format_args!("{} ({name}): {}", pod.id, pod.reason))?;
    for line in &pod.records {
        say("")?;
        say(headline(line))?;
        for dumped in dump(&bytes_of(&line.hex)) {
            say(dumped)?;
        }
    }
    Ok(())
}

fn headline(line: &RawLine) -> String {
    let mut text = match line.sequence {
        Some(sequence) => format!("record {sequence}"),
        None => "obituary".to_owned(),
    };
    // Writing to a string does not fail.
    let _ = write!(text, ", {} bytes", line.bytes);
    if let Some(envelope) = &line.envelope {
        let _ = write!(
            text,
            ", says: record {} of {}, version {}, {}",
            envelope.sequence,
            envelope.pod,
            envelope.version,
            clock(envelope.at)
        );
    }
    if let Some(error) = &line.error {
        let _ = write!(text, "; does not decode: {error}");
    }
    text
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.filter_map(byte).collect()
}

/// Offset, bytes, and the letters among them.
fn dump(bytes: &[u8]) -> Vec<String> {
    let lines = (0..).step_by(DUMPED).zip(bytes.chunks(DUMPED));
    let line = |(offset, chunk): (usize, &[u8])| {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let letter = |byte: &u8| match byte {
            0x20..0x7f => char::from(*byte),
            _ => '.',
        };
        let letters: String = chunk.iter().map(letter).collect();
        let width = DUMPED * 3 - 1;
        format!("  {offset:08x}  {:width$}  |{letters}|", hex.join(" "))
    };
    lines.map(line).collect()
}

pub(in crate::cli) fn dropped(answer: &DropAnswer) -> anyhow::Result<()> {
    say(format_args!("{}: dropped", answer.id))?;
    say(format_args!("its bytes are kept in {}", answer.kept_in))?;
    say("what may be left of it on this host, and how to look:")?;
    for left in &answer.may_be_left {
        say(format_args!("  {}: {}", left.what, left.look))?;
    }
    say("the daemon leaves that alone, but for the namespace's file after a reboot")
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// A plugin may have said more than a line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How long until a moment.
fn until(at_ns: u64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let left = u128::from(at_ns).saturating_sub(now.as_nanos());
    match left.div_ceil(1_000_000_000) {
        0 => "now".to_owned(),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_shows_every_byte_and_the_letters() {
        let bytes: Vec<u8> = (0x3e..0x50).collect();
        let lines = dump(&bytes);
        assert_eq!(
            lines,
            [
                "  00000000  3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d  |>?@ABCDEFGHIJKLM|",
                "  00000010  4e 4f                                            |NO|",
            ]
        );
        assert_eq!(dump(&[0, 0xff])[0].split('|').nth(1), Some(".."));
        assert_eq!(bytes_of("3e3f4"), [0x3e, 0x3f, 4]);
    }

    #[test]
    fn what_plugins_say_is_one_line() {
        assert_eq!(one_line("a\n  b\r\n"), "a b");
    }

    #[test]
    fn what_is_due_is_due_now() {
        assert_eq!(until(0), "now");
        assert!(until(u64::MAX).ends_with('s'));
    }
}
