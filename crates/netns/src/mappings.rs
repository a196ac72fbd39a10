//! Which ids of the host stand for those of a user namespace.

use std::fmt::{self, Write};
use std::path::Path;

use crate::error::Error;

/// How many lines a map may have (`user_namespaces(7)`, since Linux 4.15).
const MOST_LINES: usize = 340;

/// A map is written at once and must be smaller than a page, the smallest of which is this.
const PAGE: usize = 4096;

/// The users and groups of a user namespace (`user_namespaces(7)`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mappings {
    /// The users.
    pub uids: Vec<IdMapping>,
    /// The groups.
    pub gids: Vec<IdMapping>,
}

/// A run of ids: `inside` and those after it are `outside` and those after it on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    /// The first id inside the namespace.
    pub inside: u32,
    /// The first id in the user namespace of this process, which is the host's as a rule.
    pub outside: u32,
    /// How many ids there are.
    pub length: u32,
}

/// Whose ids a map is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// Of users: `uid_map`.
    Users,
    /// Of groups: `gid_map`.
    Groups,
}

/// A map was refused; nothing was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unmappable {
    /// The map has no line. A namespace without one is all nobody's.
    #[error("no {ids} are mapped; map at least id 0")]
    Nothing {
        /// Whose ids.
        ids: Ids,
    },
    /// A line has length 0.
    #[error("the {ids} '{mapping}' are none; give a length of at least 1")]
    Empty {
        /// Whose ids.
        ids: Ids,
        /// The line.
        mapping: IdMapping,
    },
    /// A line runs past the greatest id, 4294967294.
    #[error("the {ids} '{mapping}' run past the greatest id; shorten the length")]
    Beyond {
        /// Whose ids.
        ids: Ids,
        /// The line.
        mapping: IdMapping,
    },
    /// Two lines share ids, inside or outside.
    #[error("the {ids} '{first}' and '{second}' share ids; keep them apart inside and outside")]
    Overlap {
        /// Whose ids.
        ids: Ids,
        /// The earlier line.
        first: IdMapping,
        /// The later line.
        second: IdMapping,
    },
    /// The kernel takes at most 340 lines in less than a page.
    #[error(
        "the {ids} have {lines} lines of mappings; the kernel takes 340 in less than 4096 bytes, join some"
    )]
    TooLong {
        /// Whose ids.
        ids: Ids,
        /// How many lines there are.
        lines: usize,
    },
    /// This process does not have the ids outside itself, so it cannot lend them.
    #[error(
        "the {ids} '{mapping}' are not mapped outside in one run; choose ids that this process's own user namespace has"
    )]
    NotOurs {
        /// Whose ids.
        ids: Ids,
        /// The line.
        mapping: IdMapping,
    },
}

impl Mappings {
    /// Says whether the kernel could take these mappings, as far as they alone can tell.
    ///
    /// # Errors
    /// The first reason against, users before groups.
    pub fn check(&self) -> Result<(), Unmappable> {
        check(Ids::Users, &self.uids)?;
        check(Ids::Groups, &self.gids)
    }

    /// [`check`](Self::check), and that this process has what is to be mapped.
    pub(crate) fn check_here(&self) -> Result<Result<(), Unmappable>, Error> {
        if let Err(unmappable) = self.check() {
            return Ok(Err(unmappable));
        }
        for (ids, mappings) in [(Ids::Users, &self.uids), (Ids::Groups, &self.gids)] {
            let path = format!("/proc/self/{}", ids.map());
            let ours =
                std::fs::read_to_string(&path).map_err(Error::system("read", Path::new(&path)))?;
            if let Err(unmappable) = lendable(ids, mappings, &ours) {
                return Ok(Err(unmappable));
            }
        }
        Ok(Ok(()))
    }
}

impl Ids {
    /// The name of the map's file in `/proc/PID`.
    pub(crate) fn map(self) -> &'static str {
        match self {
            Self::Users => "uid_map",
            Self::Groups => "gid_map",
        }
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Users => "users",
            Self::Groups => "groups",
        })
    }
}

/// A line of a map's file: `inside outside length`.
impl fmt::Display for IdMapping {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.inside, self.outside, self.length)
    }
}

/// The text of a map's file.
pub(crate) fn text(mappings: &[IdMapping]) -> String {
    mappings.iter().fold(String::new(), |mut text, mapping| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mapping}");
        text
    })
}

fn check(ids: Ids, mappings: &[IdMapping]) -> Result<(), Unmappable> {
    if mappings.is_empty() {
        return Err(Unmappable::Nothing { ids });
    }
    // First, since each line is compared with every other below.
    if mappings.len() > MOST_LINES || text(mappings).len() >= PAGE {
        return Err(Unmappable::TooLong {
            ids,
            lines: mappings.len(),
        });
    }
    for (at, &mapping) in mappings.iter().enumerate() {
        if mapping.length == 0 {
            return Err(Unmappable::Empty { ids, mapping });
        }
        let ends = |first: u32| first.checked_add(mapping.length).is_some();
        if !ends(mapping.inside) || !ends(mapping.outside) {
            return Err(Unmappable::Beyond { ids, mapping });
        }
        let mut earlier = mappings.iter().take(at);
        if let Some(&first) = earlier.find(|first| overlap(first, &mapping)) {
            return Err(Unmappable::Overlap {
                ids,
                first,
                second: mapping,
            });
        }
    }
    Ok(())
}

fn overlap(one: &IdMapping, other: &IdMapping) -> bool {
    let meet = |one_first: u32, other_first: u32| {
        u64::from(one_first) < u64::from(other_first) + u64::from(other.length)
            && u64::from(other_first) < u64::from(one_first) + u64::from(one.length)
    };
    meet(one.inside, other.inside) || meet(one.outside, other.outside)
}

/// Whether each line lies within one line of `ours`, the map of this process: so the kernel wants it.
fn lendable(ids: Ids, mappings: &[IdMapping], ours: &str) -> Result<(), Unmappable> {
    let ours: Vec<(u64, u64)> = ours.lines().filter_map(run_inside).collect();
    for &mapping in mappings {
        let first = u64::from(mapping.outside);
        let end = first + u64::from(mapping.length);
        if !ours.iter().any(|run| run.0 <= first && end <= run.1) {
            return Err(Unmappable::NotOurs { ids, mapping });
        }
    }
    Ok(())
}

/// The ids inside, as first and end, of a line of a map's file.
fn run_inside(line: &str) -> Option<(u64, u64)> {
    let mut numbers = line.split_whitespace().map(str::parse::<u64>);
    let (first, _, length) = (
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
        numbers.next()?.ok()?,
    );
    Some((first, first.checked_add(length)?))
}

#[cfg(test)]
mod tests;
