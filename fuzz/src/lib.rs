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
//! The readers: [`record`] and [`payload`] of the journal, [`conflist`] and [`plugin_result`] of CNI,
//! [`config`] of the daemon, [`pod_config`] of its clients.
#![forbid(unsafe_code)]

use std::path::Path;

use podwalk::config::Config;
use podwalk::sandbox_config::PodSandboxConfig;
use podwalk_cni::{Conflist, ParsedResult, SpecVersion};
use podwalk_store::format::{self, DecodeError, ENVELOPE_BYTES, FORMAT_VERSION, SNAPSHOT_LIMIT};

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets. A directory of seeds bears each one's name.
pub const TARGETS: [Target; 6] = [
    ("record", record),
    ("payload", payload),
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

/// A record's payload behind an envelope that is in order: the checksum keeps a fuzzer from ever
/// getting so far by itself.
pub fn payload(bytes: &[u8]) {
    if bytes.len() > SNAPSHOT_LIMIT - ENVELOPE_BYTES {
        return;
    }
    let sealed = seal(bytes);
    match format::decode(&sealed) {
        Ok(_) => record(&sealed),
        Err(error) => assert!(
            matches!(error, DecodeError::Payload { .. }),
            "an envelope in order is refused: {error}"
        ),
    }
}

/// The envelope of `FORMAT.md` around a payload, as an independent writer would make it.
#[must_use]
pub fn seal(payload: &[u8]) -> Vec<u8> {
    let mut head = Vec::with_capacity(ENVELOPE_BYTES + payload.len());
    head.extend_from_slice(b"PWLK");
    head.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    // Pod, sequence, boot and clocks may be anything.
    head.resize(ENVELOPE_BYTES - 8, 7);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    head.extend_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&head), payload);
    head.extend_from_slice(&checksum.to_le_bytes());
    head.extend_from_slice(payload);
    head
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

/// What a plugin printed.
pub fn plugin_result(bytes: &[u8]) {
    for version in SpecVersion::ALL {
        if let Ok(result) = ParsedResult::parse(bytes, version) {
            let view = result.for_sandbox(Path::new("/run/netns/pod"), "eth0");
            // An address that is shown is one of the result's.
            assert!(view.addresses.len() <= result.ips.len());
        }
    }
}

/// The daemon's configuration file.
pub fn config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(config) = Config::parse(text)
    {
        assert!(config.state_dir.is_absolute());
    }
}

/// A pod as a client describes it.
pub fn pod_config(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(config) = PodSandboxConfig::parse(text)
    {
        let ports = config.port_mappings.len();
        if let Ok(spec) = config.into_spec(None, String::new()) {
            assert!(spec.ports.len() <= ports);
        }
    }
}
