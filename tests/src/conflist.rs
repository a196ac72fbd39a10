//! Networks for tests, written as CNI conflists for the plugins that Debian ships.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// A bridge network with addresses from host-local.
#[derive(Debug, Clone)]
pub struct Bridge {
    name: String,
    bridge: String,
    subnets: Vec<String>,
    masquerade: bool,
    plugin: String,
    chained: Vec<Value>,
}

impl Bridge {
    /// A network `name` on a bridge of that name (at most 15 letters), with addresses from `subnet`
    /// and a default route by its first address.
    #[must_use]
    pub fn new(name: &str, subnet: &str) -> Self {
        Self {
            name: name.to_owned(),
            bridge: name.to_owned(),
            subnets: vec![subnet.to_owned()],
            masquerade: false,
            plugin: "bridge".to_owned(),
            chained: Vec::new(),
        }
    }

    /// One more range: each attachment gets an address of every range. With a range of IPv6 it is a
    /// dual-stack network.
    #[must_use]
    pub fn and(mut self, subnet: &str) -> Self {
        self.subnets.push(subnet.to_owned());
        self
    }

    /// Masquerades what leaves the network, which costs the plugin a chain of firewall rules.
    #[must_use]
    pub fn masqueraded(mut self) -> Self {
        self.masquerade = true;
        self
    }

    /// By another plugin, which does what `bridge` does.
    #[must_use]
    pub fn made_by(mut self, plugin: &str) -> Self {
        plugin.clone_into(&mut self.plugin);
        self
    }

    /// Publishes host ports, by the plugin `portmap`.
    #[must_use]
    pub fn with_ports(self) -> Self {
        self.then(json!({"type": "portmap", "capabilities": {"portMappings": true}}))
    }

    /// Chains one more plugin after the bridge.
    #[must_use]
    pub fn then(mut self, plugin: Value) -> Self {
        self.chained.push(plugin);
        self
    }

    /// The conflist.
    #[must_use]
    pub fn json(&self) -> Value {
        let is_v6 = |subnet: &String| subnet.contains(':');
        let mut routes = Vec::new();
        if !self.subnets.iter().all(is_v6) {
            routes.push(json!({"dst": "0.0.0.0/0"}));
        }
        if self.subnets.iter().any(is_v6) {
            routes.push(json!({"dst": "::/0"}));
        }
        let range = |subnet: &String| json!([{"subnet": subnet}]);
        let mut plugins = vec![json!({
            "type": self.plugin,
            "bridge": self.bridge,
            "isGateway": true,
            "ipMasq": self.masquerade,
            "ipam": {
                "type": "host-local",
                "ranges": self.subnets.iter().map(range).collect::<Vec<_>>(),
                "routes": routes,
            },
        })];
        plugins.extend(self.chained.iter().cloned());
        json!({"cniVersion": "1.0.0", "name": self.name, "plugins": plugins})
    }

    /// Writes it to `ORDER-NAME.conflist` in `directory`, which is made if it is missing, and gives
    /// the path. The network whose file comes first by name is the default one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, directory: &Path, order: u32) -> Result<PathBuf> {
        let path = directory.join(format!("{order:02}-{}.conflist", self.name));
        fs::create_dir_all(directory)
            .and_then(|()| fs::write(&path, format!("{:#}\n", self.json())))
            .with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_its_default_route() {
        let routes = |bridge: Bridge| bridge.json()["plugins"][0]["ipam"]["routes"].clone();
        let v4 = Bridge::new("a", "10.1.0.0/24");
        assert_eq!(routes(v4.clone()), json!([{"dst": "0.0.0.0/0"}]));
        assert_eq!(
            routes(v4.and("fd00:1::/64")),
            json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}])
        );
        assert_eq!(
            routes(Bridge::new("a", "fd00:1::/64")),
            json!([{"dst": "::/0"}])
        );
    }

    #[test]
    fn plugins_are_chained_in_the_order_given() {
        let list = Bridge::new("a", "10.1.0.0/24")
            .with_ports()
            .then(json!({"type": "bandwidth"}))
            .json();
        let types: Vec<_> = list["plugins"]
            .as_array()
            .unwrap()
            .iter()
            .map(|plugin| plugin["type"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(types, ["bridge", "portmap", "bandwidth"]);
    }

    #[test]
    fn the_file_is_named_by_order_and_network() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("net.d");
        let path = Bridge::new("podnet", "10.1.0.0/24")
            .write(&directory, 5)
            .unwrap();
        assert_eq!(path, directory.join("05-podnet.conflist"));
        let read: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(read["name"], "podnet");
    }
}
