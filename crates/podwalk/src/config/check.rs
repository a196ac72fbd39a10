//! What a configuration may not say, although it reads well: each is refused by its key.

use std::path::Path;

use super::Config;

/// The longest time that can be configured, seconds.
const LONGEST_SECONDS: u64 = 365 * 24 * 60 * 60;

impl Config {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// With the key, and what would be right.
    pub fn check(&self) -> anyhow::Result<()> {
        let bin_dirs = self.cni.bin_dirs.iter().map(|path| ("cni.bin_dirs", path));
        let directories = [
            ("state_dir", &self.state_dir),
            ("run_dir", &self.run_dir),
            ("listen", &self.listen),
            ("netns_dir", &self.netns_dir),
            ("cni.conf_dir", &self.cni.conf_dir),
        ];
        for (key, path) in directories.into_iter().chain(bin_dirs) {
            anyhow::ensure!(
                path.is_absolute(),
                "{key} = '{}' is not an absolute path",
                path.display()
            );
        }
        for path in &self.cni.bin_dirs {
            anyhow::ensure!(
                !path.as_os_str().as_encoded_bytes().contains(&b':'),
                "cni.bin_dirs: '{}' has a ':' in it, which parts directories in CNI_PATH",
                path.display()
            );
        }
        anyhow::ensure!(
            !self.run_dir.as_os_str().as_encoded_bytes().contains(&b':'),
            "run_dir = '{}' has a ':' in it: no runtime takes a bundle there",
            self.run_dir.display()
        );
        check_socket("listen", &self.listen)?;
        anyhow::ensure!(
            !self.cgroup.parent.trim_matches('/').is_empty(),
            "cgroup.parent = '{}' names no cgroup below the root",
            self.cgroup.parent
        );
        let counts = [
            ("cni.plugin_seconds", self.cni.plugin_seconds),
            ("cni.step_seconds", self.cni.step_seconds),
            ("recovery.attempts", u64::from(self.recovery.attempts)),
            ("recovery.at_once", self.recovery.at_once as u64),
        ];
        for (key, value) in counts {
            anyhow::ensure!(value > 0, "{key} = 0: it must be at least 1");
        }
        self.check_handlers()?;
        self.check_durations()
    }

    fn check_handlers(&self) -> anyhow::Result<()> {
        for (name, handler) in &self.runtime.handlers {
            let key = |key: &str| format!("runtime.handlers.{name}.{key}");
            anyhow::ensure!(
                is_file_name(name),
                "runtime.handlers.'{name}': a handler's name is of letters, digits, '-', '_' and \
                 '.', begins with none of the last, and is at most 63 bytes long"
            );
            if let Some(directory) = &handler.cni_conf_dir {
                anyhow::ensure!(
                    directory.is_absolute(),
                    "{} = '{}' is not an absolute path",
                    key("cni_conf_dir"),
                    directory.display()
                );
            }
            anyhow::ensure!(
                handler.config_path.is_none() || handler.oci_runtime.is_none(),
                "{} and {} are both set: the one is Kata's, the other containerd-shim-runc-v2's",
                key("config_path"),
                key("oci_runtime")
            );
            if let Some(parent) = &handler.cgroup_parent {
                anyhow::ensure!(
                    !parent.trim_matches('/').is_empty(),
                    "{} = '{parent}' names no cgroup below the root",
                    key("cgroup_parent")
                );
            }
            for pattern in &handler.annotations {
                check_annotations(&key("annotations"), pattern)?;
            }
            for (name, value) in handler.seconds() {
                anyhow::ensure!(value > 0, "{} = 0: it must be at least 1", key(name));
            }
        }
        Ok(())
    }

    /// A moment that lies too far ahead cannot be told, and waiting for it would panic.
    fn check_durations(&self) -> anyhow::Result<()> {
        let plain = [
            ("shutdown_seconds".to_owned(), self.shutdown_seconds),
            ("cni.plugin_seconds".to_owned(), self.cni.plugin_seconds),
            ("cni.step_seconds".to_owned(), self.cni.step_seconds),
            ("debts.grace_seconds".to_owned(), self.debts.grace_seconds),
        ];
        let of_handlers = self.runtime.handlers.iter().flat_map(|(name, handler)| {
            let key = move |key| format!("runtime.handlers.{name}.{key}");
            let seconds = handler.seconds();
            seconds.map(move |(name, seconds)| (key(name), seconds))
        });
        for (key, seconds) in plain.into_iter().chain(of_handlers) {
            anyhow::ensure!(
                seconds <= LONGEST_SECONDS,
                "{key} = {seconds}: it must be at most {LONGEST_SECONDS}, a year"
            );
        }
        Ok(())
    }
}

/// Names of annotations. All of them are never meant: to a runtime some are commands.
fn check_annotations(key: &str, pattern: &str) -> anyhow::Result<()> {
    let name = pattern.strip_suffix('*').unwrap_or(pattern);
    let plain = |letter: char| letter.is_ascii_graphic() && letter != '*';
    anyhow::ensure!(
        !name.is_empty() && name.chars().all(plain),
        "{key}: '{}' is no annotation's name, nor the beginning of one with a '*' behind it",
        pattern.escape_debug()
    );
    Ok(())
}

/// The kernel takes no longer path for a socket (`sun_path` of unix(7), with its end).
pub(crate) fn check_socket(key: &str, path: &Path) -> anyhow::Result<()> {
    const LONGEST: usize = 107;
    let length = path.as_os_str().len();
    anyhow::ensure!(
        length <= LONGEST,
        "{key}: the socket '{}' would have a path of {length} bytes, and {LONGEST} is the most",
        path.display()
    );
    Ok(())
}

/// Handlers' names are those of directories, and stand in the CRI as RuntimeClasses name them.
fn is_file_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    (1..=63).contains(&name.len()) && !name.starts_with('.') && name.chars().all(plain)
}
