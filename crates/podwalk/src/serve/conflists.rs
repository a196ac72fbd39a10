//! Directories of conflists: the handlers' own, and what the operator changes in any of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use podwalk_cni::ConfigDir;

use crate::config::Config;
use crate::networks::Networks;

/// The conflists of handlers that have some of their own. Handlers may share a directory.
pub(super) fn of_handlers(config: &Config, usual: &Networks) -> BTreeMap<String, Arc<Networks>> {
    let mut by_directory = BTreeMap::new();
    let handlers = config.runtime.handlers.iter();
    let own = handlers.filter_map(|(name, handler)| Some((name, handler.cni_conf_dir.as_ref()?)));
    let others = own.filter(|(_, directory)| **directory != config.cni.conf_dir);
    others
        .map(|(name, directory)| {
            let networks = by_directory.entry(directory).or_insert_with(|| {
                let loaded = ConfigDir::new(directory).load();
                Arc::new(usual.beside(loaded, directory.clone()))
            });
            (name.clone(), networks.clone())
        })
        .collect()
}

/// Takes in what the operator changes. Pods that are up keep what was pinned.
pub(super) async fn watch(networks: Arc<Networks>) {
    let watch = ConfigDir::new(networks.directory()).watch();
    let mut watch = match watch {
        Ok(watch) => watch,
        Err(error) => {
            tracing::error!(%error, "changes to networks are not seen until a restart");
            return;
        }
    };
    loop {
        match watch.next().await {
            Ok(loaded) => networks.replace(loaded),
            Err(error) => {
                tracing::error!(%error, "changes to networks are not seen until a restart");
                return;
            }
        }
    }
}
