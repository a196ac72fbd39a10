//! What `podwalk serve` takes on its command line.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::config::Config;

/// What `serve` takes; each overrides the configuration file.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// The configuration file [default: /etc/podwalk/config.toml, if it is there].
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// The journal's directory.
    #[arg(long)]
    pub state_dir: Option<PathBuf>,
    /// The directory of bundles and runtime state.
    #[arg(long)]
    pub run_dir: Option<PathBuf>,
    /// The socket to listen on.
    #[arg(long)]
    pub listen: Option<PathBuf>,
    /// The directory where namespaces are pinned.
    #[arg(long)]
    pub netns_dir: Option<PathBuf>,
    /// The directory of conflists.
    #[arg(long)]
    pub cni_conf_dir: Option<PathBuf>,
    /// A directory of plugins; may be given again.
    #[arg(long)]
    pub cni_bin_dir: Vec<PathBuf>,
    /// Start although this is not PID 1's mount namespace: pods do not outlive
    /// this one then.
    #[arg(long)]
    pub private_mounts: bool,
}

impl ServeArgs {
    /// The configuration file, with these over it.
    ///
    /// # Errors
    /// As for [`Config::load`].
    pub fn configuration(&self) -> anyhow::Result<Config> {
        let mut config = Config::load(self.config.as_deref())?;
        let paths = [
            (&self.state_dir, &mut config.state_dir),
            (&self.run_dir, &mut config.run_dir),
            (&self.listen, &mut config.listen),
            (&self.netns_dir, &mut config.netns_dir),
            (&self.cni_conf_dir, &mut config.cni.conf_dir),
        ];
        for (given, key) in paths {
            if let Some(given) = given {
                *key =
                    std::path::absolute(given).context("the working directory cannot be read")?;
            }
        }
        if !self.cni_bin_dir.is_empty() {
            let directories = self.cni_bin_dir.iter().map(std::path::absolute);
            let directories = directories.collect::<Result<_, _>>();
            config.cni.bin_dirs = directories.context("the working directory cannot be read")?;
        }
        config.private_mounts |= self.private_mounts;
        config.check()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_wins_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        std::fs::write(&file, "run_dir = '/run/a'\nnetns_dir = '/run/b'\n").unwrap();
        let arguments = ServeArgs {
            config: Some(file),
            run_dir: Some("/run/c".into()),
            private_mounts: true,
            ..ServeArgs::default()
        };
        let config = arguments.configuration().unwrap();
        let relative = ServeArgs {
            cni_bin_dir: vec!["plugins".into()],
            ..arguments.clone()
        };
        let relative = relative.configuration().unwrap();
        assert!(relative.cni.bin_dirs[0].is_absolute() && relative.cni.bin_dirs.len() == 1);
        assert_eq!(config.run_dir, PathBuf::from("/run/c"));
        assert_eq!(config.netns_dir, PathBuf::from("/run/b"));
        assert!(config.private_mounts);
        assert_eq!(config.cni, Config::default().cni);
    }
}
