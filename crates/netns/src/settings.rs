//! Setting sysctls inside a namespace.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::enter::enter;
use crate::error::Error;
use crate::point;
use crate::sysctl;

/// Sets network sysctls in the namespace on `path`, in the order of their names. May be repeated.
///
/// `/proc/sys/net` shows the values of whichever namespace the thread that opens it is in. All names
/// and values are checked before the first is written; that they are permitted at all is for
/// [`check_sysctl`](crate::check_sysctl) to say. The first that the kernel refuses ends the call;
/// those before it stay set, and go with the namespace.
///
/// # Errors
/// [`Error::SysctlRefused`] before anything is written, [`Error::Sysctl`] when the kernel refuses
/// one; as [`enter`].
pub fn set_sysctls(path: &Path, sysctls: &BTreeMap<String, String>) -> Result<(), Error> {
    let mut writes = Vec::with_capacity(sysctls.len());
    for (name, value) in sysctls {
        let file = sysctl::network_file(name, value).map_err(|source| Error::SysctlRefused {
            path: path.to_path_buf(),
            source,
        })?;
        writes.push((name, value, file));
    }
    if writes.is_empty() {
        return Ok(());
    }
    enter(path, || {
        for (name, value, file) in writes {
            let written = OpenOptions::new().write(true).open(file);
            written
                .and_then(|mut file| file.write_all(value.as_bytes()))
                .map_err(|source| Error::Sysctl {
                    name: name.clone(),
                    value: value.clone(),
                    path: path.to_path_buf(),
                    source,
                })?;
            point::reached("netns.sysctl_set");
        }
        Ok(())
    })?
}
