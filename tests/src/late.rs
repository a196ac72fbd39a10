//! A network for tests that is attached when the sandbox runs.
//!
//! Its first plugin notes each call, and whether the sandbox was there; it waits or fails as a test
//! says. Behind it a bridge is attached for real.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use podwalk_testkit::lines;
use serde_json::{Value, json};

use crate::daemon::Config;
use crate::node;
use crate::plugins::Plugins;

/// What makes the network late.
pub const CONFIGURATION: &str = "[cni.networks.plane]\nattach = 'after-start'\n";

/// The network's name.
pub const NETWORK: &str = "plane";

/// The annotation by which a pod asks for networks.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// What a pod asks for it by, as `--annotation` takes it.
pub const ANNOTATION: &str = "k8s.v1.cni.cncf.io/networks=plane";

/// The interface that it is in a pod.
pub const INTERFACE: &str = "net1";

/// The network `plane`, and what its plugin has seen.
#[derive(Debug)]
pub struct Plane {
    directory: PathBuf,
}

impl Plane {
    /// Writes the network behind the default one, with its plugin.
    ///
    /// # Errors
    /// What the file system says.
    pub fn before(config: &mut Config) -> Result<Self> {
        let directory = node::disk().join("plane");
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let script = WITNESS.replace("DIRECTORY", &directory.display().to_string());
        Plugins::before(config)?.shell("witness", &script)?;
        fs::create_dir_all(&config.cni_conf_dir)?;
        let path = config.cni_conf_dir.join("50-plane.conflist");
        fs::write(&path, conflist().to_string()).with_context(|| path.display().to_string())?;
        Ok(Self { directory })
    }

    /// The calls so far: verb, interface, `beside`, and how many processes were in the pod's
    /// namespace.
    ///
    /// # Errors
    /// What the file system says.
    pub fn seen(&self) -> Result<Vec<String>> {
        Ok(lines::whole(&self.directory.join("seen"))?)
    }

    /// From now on each call waits, for half a minute at most, until [`Self::let_go`].
    ///
    /// # Errors
    /// What the file system says.
    pub fn hold(&self) -> Result<()> {
        Ok(fs::write(self.directory.join("hold"), "")?)
    }

    /// Ends the wait.
    ///
    /// # Errors
    /// What the file system says.
    pub fn let_go(&self) -> Result<()> {
        Ok(fs::remove_file(self.directory.join("hold"))?)
    }

    /// From now on this verb fails with `no plane`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn fail(&self, verb: &str) -> Result<()> {
        Ok(fs::write(self.directory.join(format!("no-{verb}")), "")?)
    }

    /// From now on it succeeds again.
    ///
    /// # Errors
    /// What the file system says.
    pub fn mend(&self, verb: &str) -> Result<()> {
        Ok(fs::remove_file(self.directory.join(format!("no-{verb}")))?)
    }
}

fn conflist() -> Value {
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24"}]]});
    json!({
        "cniVersion": "1.0.0",
        "name": "plane",
        "plugins": [
            {"type": "witness"},
            {"type": "bridge", "bridge": "plane0", "ipam": ipam},
        ],
    })
}

const WITNESS: &str = r#"PATH=/usr/sbin:/usr/bin:/sbin:/bin
if [ "$CNI_COMMAND" = VERSION ]; then
	echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}'
	exit
fi
cat >/dev/null
beside=0
if [ -n "$CNI_NETNS" ]; then
	within=$(stat -Lc %i "$CNI_NETNS")
	for process in /proc/[0-9]*; do
		if [ "$(readlink "$process/ns/net")" = "net:[$within]" ]; then
			beside=$((beside + 1))
		fi
	done
fi
echo "$CNI_COMMAND $CNI_IFNAME beside $beside" >>DIRECTORY/seen
waited=0
while [ -e DIRECTORY/hold ] && [ $waited -lt 600 ]; do
	waited=$((waited + 1))
	sleep 0.05
done
if [ -e "DIRECTORY/no-$CNI_COMMAND" ]; then
	echo '{"cniVersion":"1.0.0","code":120,"msg":"no plane"}'
	exit 1
fi
if [ "$CNI_COMMAND" = ADD ]; then
	echo '{"cniVersion":"1.0.0"}'
fi"#;
