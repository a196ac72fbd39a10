//! What is asked of every reader of bytes that Podwalk did not write itself a moment ago.
//!
//! Each function here takes any bytes. It fails, by a panic, if the reader panics or if what was read
//! is not the same after it was written and read again. libFuzzer calls them in search of such bytes:
//!
//! 1. `make fuzz` builds one program for each function (`fuzz_targets/`) with the feature `libfuzzer`
//!    and runs it for a while, beginning with the seeds (`seeds/TARGET/`).
//! 2. What it finds lies in `fuzz/artifacts/TARGET/`. It becomes a seed together with the repair.
//! 3. `cargo test` gives every seed to its function, without libFuzzer and on stable Rust, so that
//!    what was found once is never lost again.
//!
//! The readers: [`record`] and [`mod@fold`] of the journal, [`conflist`] and [`plugin_result`] of CNI,
//! [`config`] of the daemon, [`pod_config`] of its clients. What they answer is bounded by what they
//! were given; that they allocate no more on the way is libFuzzer's to see, by the limits of `make
//! fuzz`.
#![forbid(unsafe_code)]
#![allow(
    clippy::panic,
    reason = "a panic is how a target says that a reader has failed"
)]

use std::path::Path;

use podwalk::config::Config;
use podwalk_cni::{Conflist, ParsedResult, SpecVersion, rewrite_result};
use podwalk_cri::config::PodSandboxConfig;
use podwalk_engine::clock::Stamp;
use podwalk_engine::id::{BootId, PodId};
use podwalk_engine::record::{CreateIntent, Entry, Intent, Record};
use podwalk_store::format;

pub mod fold;

pub use fold::fold;

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets. A directory of seeds bears each one's name.
pub const TARGETS: [Target; 6] = [
    ("record", record),
    ("fold", fold),
    ("conflist", conflist),
    ("plugin_result", plugin_result),
    ("config", config),
    ("pod_config", pod_config),
];

/// A record of the journal as it may stand on a damaged disk.
pub fn record(bytes: &[u8]) {
    if let Ok(entry) = format::decode(bytes) {
        let written = format::encode(entry.clone());
        // What the limit lets in may come out a little larger only by being of another version.
        let again = written.map(|written| format::decode(&written));
        assert_eq!(again, Ok(Ok(entry)));
    }
    // An obituary differs in its magic alone.
    let _ = format::decode_obituary(bytes);
    let _ = format::envelope(bytes);
}

/// A network configuration list, as an operator wrote it.
pub fn conflist(bytes: &[u8]) {
    if let Ok(list) = Conflist::parse(bytes, Path::new("fuzz.conflist")) {
        // What is pinned in the journal is what DEL will run with.
        let pinned = list.bytes().to_vec();
        let again = Conflist::parse(&pinned, Path::new("journal"));
        assert!(again.is_ok_and(|again| again.bytes() == pinned));
    }
}

/// What a plugin printed, read as every version that the configuration can name.
pub fn plugin_result(bytes: &[u8]) {
    let mut last = None;
    for version in SpecVersion::ALL {
        let Ok(result) = ParsedResult::parse(bytes, version) else {
            continue;
        };
        let view = result.for_sandbox(Path::new("/run/netns/pod"), "eth0");
        // An address that is shown is one of the result's.
        assert!(view.addresses.len() <= result.ips.len());
        // One that names its version reads the same whatever the configuration says.
        if last.as_ref() != Some(&result) {
            hand_on(bytes, version, &result);
        }
        last = Some(result);
    }
}

/// What was read is handed on as `prevResult`, to plugins of any version.
fn hand_on(bytes: &[u8], version: SpecVersion, result: &ParsedResult) {
    for to in SpecVersion::ALL {
        let written = rewrite_result(bytes, version, to);
        let written = written.unwrap_or_else(|error| panic!("it was read a moment ago: {error}"));
        // A float may come out longer, and each address may get a key of its own.
        assert!(written.len() <= 8 * bytes.len() + 256);
        let again = ParsedResult::parse(&written, to);
        let again = again.unwrap_or_else(|error| panic!("{to} is not read again: {error}"));
        // Before 0.3 there was room for one address of each family.
        match to < SpecVersion::V0_3_0 {
            true => assert!(again.ips.len() <= 2),
            false => assert_eq!(again.ips, result.ips),
        }
        assert_eq!(
            rewrite_result(&written, to, to).ok(),
            Some(written),
            "{to} is not as it was written"
        );
    }
}

/// The daemon's configuration file.
pub fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(config) = Config::parse(text)
    {
        assert!(config.state_dir.is_absolute());
        // Every duration is added to a moment some day.
        let now = std::time::Instant::now();
        assert!(now.checked_add(config.plugin_deadline()).is_some());
    }
}

/// A pod as a client describes it.
pub fn pod_config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(config) = PodSandboxConfig::parse(text)
    {
        let ports = config.port_mappings.len();
        let Ok(spec) = config.into_spec(None, String::new()) else {
            return;
        };
        assert!(spec.ports.len() <= ports);
        if spec.validate().is_ok() {
            // What is admitted must fit in the journal, and come out of it as it went in.
            let intent = CreateIntent {
                spec: spec.into(),
                sandbox_key: None,
            };
            record_comes_back(Record::Intent(Intent::Create(Box::new(intent))));
        }
    }
}

fn record_comes_back(record: Record) {
    let stamp = Stamp {
        boot: BootId([0; 16]),
        wall_ns: 0,
        boottime_ns: 0,
    };
    let entry = Entry {
        pod: PodId([7; 16]),
        sequence: 1,
        stamp,
        record,
    };
    let again = format::encode(entry.clone()).map(|bytes| format::decode(&bytes));
    assert_eq!(again, Ok(Ok(entry)));
}
