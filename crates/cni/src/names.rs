//! What a container id, an interface name and a network name may look like.

use std::collections::HashSet;

/// The interface that the default network is attached to.
pub const DEFAULT_INTERFACE: &str = "eth0";

/// The kernel's limit for interface names, in bytes (IFNAMSIZ less its NUL).
const LONGEST_INTERFACE: usize = 15;

/// Whether `text` matches `^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`, the pattern of network names and of
/// CNI_CONTAINERID.
pub fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Whether `text` may be a CNI_IFNAME: 1 to 15 bytes, not `.` or `..`, without `/`, `:`, white
/// space and control characters (the kernel takes the latter, no tool shows them).
pub fn is_interface_name(text: &str) -> bool {
    let refused = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    (1..=LONGEST_INTERFACE).contains(&text.len())
        && text != "."
        && text != ".."
        && !text.contains(refused)
}

/// Why interface names could not be given out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceError {
    /// A name that was asked for is none.
    #[error(
        "interface name {0:?} is not usable: give 1 to 15 characters without '/', ':' and white space"
    )]
    Invalid(String),
    /// Two attachments of one pod want the same name.
    #[error("interface name {0:?} is asked for twice: give every network of the pod its own")]
    Duplicate(String),
}

/// Gives every attachment of a pod its interface name, in order: the first (the default network)
/// gets [`DEFAULT_INTERFACE`], the n-th extra one `netN`, unless `asked` names another. A name
/// that someone asked for is never given to a neighbour; then the next free number is taken.
///
/// # Errors
/// [`InterfaceError`] when a name that was asked for is unusable or taken.
pub fn interface_names<'a>(
    asked: impl IntoIterator<Item = Option<&'a str>>,
) -> Result<Vec<String>, InterfaceError> {
    let asked: Vec<Option<&str>> = asked.into_iter().collect();
    let mut taken = HashSet::new();
    for name in asked.iter().flatten() {
        if !is_interface_name(name) || *name == "lo" {
            return Err(InterfaceError::Invalid((*name).to_owned()));
        }
        if !taken.insert((*name).to_owned()) {
            return Err(InterfaceError::Duplicate((*name).to_owned()));
        }
    }
    let mut names = Vec::with_capacity(asked.len());
    for (position, name) in asked.into_iter().enumerate() {
        match name {
            Some(name) => names.push(name.to_owned()),
            None => names.push(free_name(position, &mut taken)?),
        }
    }
    Ok(names)
}

fn free_name(position: usize, taken: &mut HashSet<String>) -> Result<String, InterfaceError> {
    if position == 0 {
        // The default network's name is not negotiable: an extra network that asks for it loses.
        let name = DEFAULT_INTERFACE.to_owned();
        return match taken.insert(name.clone()) {
            true => Ok(name),
            false => Err(InterfaceError::Duplicate(name)),
        };
    }
    let mut number = position;
    loop {
        let name = format!("net{number}");
        if taken.insert(name.clone()) {
            return Ok(name);
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn duty_14_container_ids_follow_the_pattern() {
        for good in ["a", "0", "a.b_c-d", "A9..", "3f2a"] {
            assert!(is_identifier(good), "{good}");
        }
        for bad in [
            "", ".a", "-a", "_a", "a/b", "../a", "a b", "a;b", "ä", "a\0", "a\n",
        ] {
            assert!(!is_identifier(bad), "{bad:?}");
        }
    }

    #[test]
    fn duty_15_interface_names_follow_the_kernels_rules() {
        for good in ["e", "eth0", "123456789012345", "a.b", "ä"] {
            assert!(is_interface_name(good), "{good}");
        }
        let bad = [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "a\tb",
            "1234567890123456",
            "a\0",
            "a\u{7f}",
        ];
        for bad in bad {
            assert!(!is_interface_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn names_are_given_by_position() {
        assert_eq!(
            interface_names([None, None, Some("storage"), None]),
            Ok(["eth0", "net1", "storage", "net3"]
                .map(str::to_owned)
                .to_vec())
        );
        assert_eq!(
            interface_names([None, None, Some("net1")]),
            Ok(["eth0", "net2", "net1"].map(str::to_owned).to_vec())
        );
        assert_eq!(interface_names([]), Ok(vec![]));
    }

    #[test]
    fn a_name_is_refused_when_taken_or_unusable() {
        let duplicate = |name: &str| Err(InterfaceError::Duplicate(name.to_owned()));
        assert_eq!(interface_names([None, Some("eth0")]), duplicate("eth0"));
        assert_eq!(interface_names([Some("a"), Some("a")]), duplicate("a"));
        let invalid = |name: &str| Err(InterfaceError::Invalid(name.to_owned()));
        assert_eq!(interface_names([Some("a/b")]), invalid("a/b"));
        assert_eq!(interface_names([Some("lo")]), invalid("lo"));
    }

    proptest! {
        #[test]
        fn given_names_are_distinct_and_usable(
            asked in proptest::collection::vec(proptest::option::of("[a-z]{3}|net[1-4]"), 0..8)
        ) {
            if let Ok(names) = interface_names(asked.iter().map(Option::as_deref)) {
                let distinct: HashSet<_> = names.iter().collect();
                prop_assert_eq!(distinct.len(), asked.len());
                prop_assert!(names.iter().all(|name| is_interface_name(name)));
            }
        }
    }
}
