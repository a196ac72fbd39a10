//! Whether a file is a program that this machine can execute.
//!
//! The kernel would say so too (ENOEXEC), but the C library then hands the file to a shell, which
//! takes whatever it holds for commands. So it is looked at before.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How much of a file tells what it is: an ELF header up to its machine, elf(5).
const HEADER: usize = 20;

/// Reads the beginning of `path`, and says what is wrong with it.
///
/// # Errors
/// In the form of the error that running it would have ended in.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    let mut header = Vec::with_capacity(HEADER);
    File::open(path)?
        .take(HEADER as u64)
        .read_to_end(&mut header)?;
    match fault(&header) {
        Some(found) => Err(io::Error::new(io::ErrorKind::InvalidData, found)),
        None => Ok(()),
    }
}

fn fault(header: &[u8]) -> Option<String> {
    if header.starts_with(b"#!") {
        return None;
    }
    if !header.starts_with(b"\x7fELF") {
        return Some("neither an ELF program nor a script with #!".to_owned());
    }
    let machine = match (header.get(5), header.get(18), header.get(19)) {
        (Some(1), Some(&low), Some(&high)) => u16::from_le_bytes([low, high]),
        (Some(2), Some(&high), Some(&low)) => u16::from_be_bytes([high, low]),
        _ => return Some("a cut-off ELF program".to_owned()),
    };
    let foreign = native_machines().is_some_and(|native| !native.contains(&machine));
    foreign.then(|| format!("an ELF program for machine {machine}"))
}

/// The ELF machine numbers that this architecture runs, its 32-bit sibling included; none where
/// this is not known and the kernel has to say.
fn native_machines() -> Option<[u16; 2]> {
    match std::env::consts::ARCH {
        "x86_64" => Some([62, 3]),
        "aarch64" => Some([183, 40]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_scripts_are_fit() {
        check(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(fault(b"#!/bin/sh\n"), None);
    }

    #[test]
    fn everything_else_says_what_it_is() {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(HEADER, 0);
        for (header, word) in [
            (&b""[..], "neither"),
            (b"rm -rf /\n", "neither"),
            (b"\x7fELF", "cut-off"),
            (&elf, "machine 0"),
        ] {
            let found = fault(header).unwrap_or_default();
            assert!(found.contains(word), "{header:?}: {found}");
        }
    }

    #[test]
    fn a_missing_file_is_its_own_error() {
        let error = check(Path::new("/nonexistent")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
