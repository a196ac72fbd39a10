//! The mount table of this process, as `/proc/self/mountinfo` shows it (`proc_pid_mountinfo(5)`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Where the table is read.
const TABLE: &str = "/proc/self/mountinfo";

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The mount's id, unique while it exists.
    pub(crate) id: u64,
    /// The id of the mount it lies on.
    pub(crate) parent: u64,
    /// Where it lies, from the process's root.
    pub(crate) point: PathBuf,
    /// Whether it cannot be written through.
    pub(crate) read_only: bool,
    /// Whether it is in a peer group, so that what is mounted beneath it shows elsewhere too.
    pub(crate) shared: bool,
    /// The file system's type.
    pub(crate) kind: String,
    /// The super block's options, separated by commas.
    pub(crate) super_options: String,
}

/// Reads the table. It is read anew each time: mounts come and go without us.
pub(crate) fn read() -> Result<Vec<Mount>, Error> {
    let table = std::fs::read(TABLE).map_err(Error::system("read", Path::new(TABLE)))?;
    parse(&table)
}

/// Parses a whole table.
pub(crate) fn parse(table: &[u8]) -> Result<Vec<Mount>, Error> {
    table
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            parse_line(line).ok_or_else(|| Error::MountTable {
                line: String::from_utf8_lossy(line).into_owned(),
            })
        })
        .collect()
}

/// How many mounts lie on exactly `point`, those included that another mount hides.
pub(crate) fn count_on(table: &[Mount], point: &Path) -> u32 {
    let on = table.iter().filter(|mount| mount.point == point).count();
    u32::try_from(on).unwrap_or(u32::MAX)
}

/// How many mounts are stacked where the mount `top` lies: `top` itself and those beneath it.
///
/// Only a mount whose parent lies on the same point is stacked. A directory in a peer group shows
/// a second line with the same point for one and the same mount (a twin on the hidden peer); that
/// is not a stack.
pub(crate) fn stack_depth(table: &[Mount], top: u64) -> u32 {
    let find = |id| table.iter().find(|mount| mount.id == id);
    let mut depth = 0;
    let mut next = find(top);
    while let Some(mount) = next {
        depth += 1;
        next =
            find(mount.parent).filter(|below| below.point == mount.point && below.id != mount.id);
    }
    depth
}

/// Parses one line: `36 35 98:0 / /mnt ro,noatime shared:1 - ext3 /dev/root rw`.
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let _device = fields.next()?;
    let _root = fields.next()?;
    let point = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
    let read_only = fields
        .next()?
        .split(|byte| *byte == b',')
        .any(|option| option == b"ro");
    let shared = fields
        .by_ref()
        .take_while(|field| *field != b"-")
        .fold(false, |shared, tag| shared | tag.starts_with(b"shared:"));
    let kind = text(fields.next()?);
    let _source = fields.next()?;
    let super_options = text(fields.next()?);
    Some(Mount {
        id,
        parent,
        point,
        read_only,
        shared,
        kind,
        super_options,
    })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// Undoes the kernel's escapes: space, tab, newline and backslash stand as `\040` and so on.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let escape = if *first == b'\\' { octal(tail) } else { None };
        plain.push(escape.unwrap_or(*first));
        rest = if escape.is_some() { &tail[3..] } else { tail };
    }
    plain
}

/// The byte that three octal digits at the start of `tail` mean.
fn octal(tail: &[u8]) -> Option<u8> {
    let digits = tail.get(..3)?;
    let value = digits.iter().try_fold(0_u32, |value, digit| match digit {
        b'0'..=b'7' => Some(value * 8 + u32::from(digit - b'0')),
        _ => None,
    })?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests;
