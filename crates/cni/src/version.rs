//! The versions of the CNI specification that are spoken here.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// A released version of the CNI specification, in order of age.
///
/// Configuration without a version means 0.1.0 (*Version considerations*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecVersion {
    /// 0.1.0: results have `ip4` and `ip6`.
    V0_1_0,
    /// 0.2.0: VERSION was added.
    V0_2_0,
    /// 0.3.0: lists of plugins, results with `interfaces` and `ips`.
    V0_3_0,
    /// 0.3.1: corrections to results.
    V0_3_1,
    /// 0.4.0: CHECK, and `prevResult` for DEL.
    V0_4_0,
    /// 1.0.0: `ips[].version` went away.
    V1_0_0,
    /// 1.1.0: STATUS, GC, `cniVersions`, `mtu` in results.
    V1_1_0,
}

impl SpecVersion {
    /// Every version, oldest first.
    pub const ALL: [SpecVersion; 7] = [
        SpecVersion::V0_1_0,
        SpecVersion::V0_2_0,
        SpecVersion::V0_3_0,
        SpecVersion::V0_3_1,
        SpecVersion::V0_4_0,
        SpecVersion::V1_0_0,
        SpecVersion::V1_1_0,
    ];

    /// The newest version spoken here.
    pub const NEWEST: SpecVersion = SpecVersion::V1_1_0;

    /// The version as it stands in `cniVersion`.
    pub const fn as_str(self) -> &'static str {
        match self {
            SpecVersion::V0_1_0 => "0.1.0",
            SpecVersion::V0_2_0 => "0.2.0",
            SpecVersion::V0_3_0 => "0.3.0",
            SpecVersion::V0_3_1 => "0.3.1",
            SpecVersion::V0_4_0 => "0.4.0",
            SpecVersion::V1_0_0 => "1.0.0",
            SpecVersion::V1_1_0 => "1.1.0",
        }
    }

    /// CHECK exists, and DEL is given `prevResult`: from 0.4.0.
    pub fn has_check(self) -> bool {
        self >= SpecVersion::V0_4_0
    }

    /// STATUS and GC exist: from 1.1.0.
    pub fn has_status_and_gc(self) -> bool {
        self >= SpecVersion::V1_1_0
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A version that is not one of [`SpecVersion::ALL`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("CNI version {0:?} is not known here; 0.1.0 to 1.1.0 are")]
pub struct UnknownVersion(pub String);

impl FromStr for SpecVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        SpecVersion::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}

/// Chooses the version that a list is run with: the highest known one of `cniVersion` and
/// `cniVersions`. The error is what was offered.
pub(crate) fn choose(
    single: Option<&Value>,
    several: Option<&Value>,
) -> Result<SpecVersion, Vec<String>> {
    let mut offered = Vec::new();
    let mut malformed = false;
    let mut offer = |value: &Value| match value {
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => offered.push(text.clone()),
        Value::Null => {}
        other => {
            malformed = true;
            offered.push(other.to_string());
        }
    };
    single.into_iter().for_each(&mut offer);
    match several {
        Some(Value::Array(list)) => list.iter().for_each(&mut offer),
        Some(other) => offer(other),
        None => {}
    }
    if offered.is_empty() {
        return Ok(SpecVersion::V0_1_0);
    }
    if malformed {
        return Err(offered);
    }
    let best = offered.iter().filter_map(|text| text.parse().ok()).max();
    best.ok_or(offered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chosen(single: Value, several: Value) -> Result<SpecVersion, Vec<String>> {
        choose(Some(&single), Some(&several))
    }

    #[test]
    fn duty_09_the_highest_known_version_of_both_keys_is_chosen() {
        assert_eq!(
            chosen(json!("0.4.0"), json!(["1.0.0", "0.3.1"])),
            Ok(SpecVersion::V1_0_0)
        );
        assert_eq!(
            chosen(json!("1.1.0"), json!(["1.0.0", "99.0.0"])),
            Ok(SpecVersion::V1_1_0)
        );
        assert_eq!(
            chosen(json!("7.0.0"), json!(["0.4.0"])),
            Ok(SpecVersion::V0_4_0)
        );
    }

    #[test]
    fn versions_that_are_not_known_are_named() {
        assert_eq!(
            chosen(json!("7.0.0"), json!(["8.0.0"])),
            Err(vec!["7.0.0".to_owned(), "8.0.0".to_owned()])
        );
        assert_eq!(chosen(json!(1), json!([])), Err(vec!["1".to_owned()]));
        assert_eq!(
            chosen(json!("1.0.0"), json!("1.1.0")),
            Ok(SpecVersion::V1_1_0)
        );
        assert_eq!(choose(None, Some(&json!([{}]))), Err(vec!["{}".to_owned()]));
    }

    #[test]
    fn duty_11_a_missing_version_means_0_1_0() {
        assert_eq!(choose(None, None), Ok(SpecVersion::V0_1_0));
        assert_eq!(chosen(json!(""), json!([])), Ok(SpecVersion::V0_1_0));
        assert_eq!(chosen(Value::Null, Value::Null), Ok(SpecVersion::V0_1_0));
    }

    #[test]
    fn every_version_reads_back_as_itself_and_is_in_order() {
        for version in SpecVersion::ALL {
            assert_eq!(version.as_str().parse(), Ok(version));
        }
        assert!(SpecVersion::ALL.is_sorted());
        assert_eq!(
            "1.2.0".parse::<SpecVersion>(),
            Err(UnknownVersion("1.2.0".to_owned()))
        );
    }

    #[test]
    fn verbs_come_with_their_version() {
        assert!(!SpecVersion::V0_3_1.has_check());
        assert!(SpecVersion::V0_4_0.has_check());
        assert!(!SpecVersion::V1_0_0.has_status_and_gc());
        assert!(SpecVersion::V1_1_0.has_status_and_gc());
    }
}
