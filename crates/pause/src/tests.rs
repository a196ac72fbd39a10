//! What the file is, read from its ELF headers.

use super::PAUSE;

const PROGRAM_HEADER_LOAD: u32 = 1;
const PROGRAM_HEADER_DYNAMIC: u32 = 2;
const PROGRAM_HEADER_INTERPRETER: u32 = 3;
const TYPE_EXECUTABLE: u16 = 2;

fn u16_at(offset: usize) -> u16 {
    u16::from_le_bytes(PAUSE[offset..offset + 2].try_into().unwrap())
}

fn u32_at(offset: usize) -> u32 {
    u32::from_le_bytes(PAUSE[offset..offset + 4].try_into().unwrap())
}

fn u64_at(offset: usize) -> usize {
    u64::from_le_bytes(PAUSE[offset..offset + 8].try_into().unwrap()) as usize
}

fn program_header_types() -> Vec<u32> {
    let (start, size, count) = (u64_at(32), usize::from(u16_at(54)), usize::from(u16_at(56)));
    (0..count)
        .map(|index| u32_at(start + index * size))
        .collect()
}

#[test]
fn is_an_elf_executable_of_this_machine() {
    assert_eq!(&PAUSE[..6], b"\x7fELF\x02\x01", "64 bit, little endian");
    assert_eq!(
        u16_at(16),
        TYPE_EXECUTABLE,
        "not position independent: nothing relocates it"
    );
    let machine = if cfg!(target_arch = "x86_64") {
        62
    } else {
        183
    };
    assert_eq!(u16_at(18), machine);
}

#[test]
fn is_static() {
    let types = program_header_types();
    assert!(types.contains(&PROGRAM_HEADER_LOAD));
    assert!(!types.contains(&PROGRAM_HEADER_INTERPRETER), "{types:?}");
    assert!(!types.contains(&PROGRAM_HEADER_DYNAMIC), "{types:?}");
}

#[test]
fn is_smaller_than_8_kib() {
    assert!(PAUSE.len() < 8 * 1024, "{} bytes", PAUSE.len());
}

#[test]
fn has_no_writable_executable_segment() {
    let (start, size, count) = (u64_at(32), usize::from(u16_at(54)), usize::from(u16_at(56)));
    const WRITE_AND_EXECUTE: u32 = 1 | 2;
    for index in 0..count {
        let flags = u32_at(start + index * size + 4);
        assert_ne!(
            flags & WRITE_AND_EXECUTE,
            WRITE_AND_EXECUTE,
            "segment {index}"
        );
    }
}
