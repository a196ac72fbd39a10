//! Finding a plugin's binary, and telling why it would not run before it is tried.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::Failure;

/// Finds the binary of `plugin`: the first directory of the search path that has a file of that
/// name wins, even if a later one would run.
///
/// The header is looked at here because the C library, told to execute something that is no
/// program, may hand it to a shell instead of saying so.
pub(crate) fn locate(
    plugin: &str,
    search: &[PathBuf],
) -> Result<PathBuf, (Option<PathBuf>, Failure)> {
    let hit = search
        .iter()
        .map(|directory| directory.join(plugin))
        .find(|path| path.is_file());
    let Some(path) = hit else {
        let searched = search.to_vec();
        return Err((None, Failure::PluginMissing { searched }));
    };
    match inspect(&path) {
        Ok(()) => Ok(path),
        Err(failure) => Err((Some(path), failure)),
    }
}

fn inspect(path: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(path).map_err(Failure::NotStarted)?;
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(Failure::NotExecutable);
    }
    let header = match read_header(path) {
        Ok(header) => header,
        // Executable but not readable: only trying can tell.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        Err(error) => return Err(Failure::NotStarted(error)),
    };
    match foreign(&header) {
        None => Ok(()),
        Some(found) => Err(Failure::WrongFormat { found }),
    }
}

fn read_header(path: &Path) -> io::Result<Vec<u8>> {
    let mut header = Vec::new();
    std::fs::File::open(path)?
        .take(20)
        .read_to_end(&mut header)?;
    Ok(header)
}

/// Says what a header is, when it is not that of a program for this machine.
fn foreign(header: &[u8]) -> Option<String> {
    if header.starts_with(b"#!") {
        return None;
    }
    if header.is_empty() {
        return Some("an empty file".to_owned());
    }
    if !header.starts_with(b"\x7fELF") {
        return Some("neither an ELF program nor a script with #!".to_owned());
    }
    let machine = match (header.get(5), header.get(18), header.get(19)) {
        (Some(1), Some(&low), Some(&high)) => u16::from_le_bytes([low, high]),
        (Some(2), Some(&high), Some(&low)) => u16::from_be_bytes([high, low]),
        _ => return Some("a cut-off ELF program".to_owned()),
    };
    match native_machines() {
        Some(native) if !native.contains(&machine) => {
            Some(format!("an ELF program for machine {machine}"))
        }
        _ => None,
    }
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

    fn place(directory: &Path, name: &str, content: &[u8], mode: u32) {
        let path = directory.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn duty_17_the_first_directory_that_has_the_binary_wins() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let search = [one.path().to_owned(), two.path().to_owned()];
        place(two.path(), "p", b"#!/bin/sh\n", 0o755);
        assert_eq!(locate("p", &search).unwrap(), two.path().join("p"));
        place(one.path(), "p", b"#!/bin/sh\n", 0o755);
        assert_eq!(locate("p", &search).unwrap(), one.path().join("p"));
        place(one.path(), "p", b"#!/bin/sh\n", 0o644);
        let (path, failure) = locate("p", &search).unwrap_err();
        assert_eq!(path, Some(one.path().join("p")));
        assert!(matches!(failure, Failure::NotExecutable), "{failure:?}");
    }

    #[test]
    fn duty_47_a_missing_binary_is_an_error_that_names_where_it_was_looked_for() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("folder")).unwrap();
        let search = [directory.path().to_owned()];
        for name in ["nothing", "folder"] {
            let (path, failure) = locate(name, &search).unwrap_err();
            assert_eq!(path, None);
            assert!(failure.to_string().contains("install it there"));
            match failure {
                Failure::PluginMissing { searched } => assert_eq!(searched, search),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_program_for_this_machine_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let search = [directory.path().to_owned()];
        let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
        elf.extend(9999u16.to_le_bytes());
        let table: [(&str, &[u8], &str); 4] = [
            ("empty", b"", "an empty file"),
            ("text", b"hello", "neither an ELF"),
            ("cut", b"\x7fELF\x02", "cut-off"),
            ("alien", &elf, "machine 9999"),
        ];
        for (name, content, expected) in table {
            place(directory.path(), name, content, 0o755);
            match locate(name, &search) {
                Err((Some(_), Failure::WrongFormat { found })) => {
                    assert!(found.contains(expected), "{found}");
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_running_program_is_native() {
        assert_eq!(
            foreign(&read_header(Path::new("/proc/self/exe")).unwrap()),
            None
        );
    }
}
