//! A bridge plugin that fails now and then.
//!
//! Whether the n-th ADD or DEL of a pod's name fails, the seed alone decides. An ADD that fails has
//! done its work before, so that only a DEL takes it back; and of such an ADD the DEL fails more often
//! than others, so that failed starts owe.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use podwalk_tests::daemon::Config;
use podwalk_tests::node;
use podwalk_tests::plugins::Plugins;

/// Its name.
pub(crate) const NAME: &str = "unsteady";

/// What it says when it fails.
pub(crate) const WORDS: &str = "the unsteady bridge has failed";

/// How many of a hundred calls fail: ADDs, DELs of a pod whose ADD has failed, other DELs.
const ADD: u64 = 15;
const DEL_AFTER_ADD: u64 = 60;
const DEL: u64 = 4;

/// The plugin where it is installed.
#[derive(Debug, Clone)]
pub(crate) struct Unsteady {
    /// One file for each pod whose last call has failed.
    failed: PathBuf,
}

impl Unsteady {
    /// Puts it in front of Debian's plugins.
    pub(crate) fn before(config: &mut Config, seed: u64) -> Result<Self> {
        let [failed, calls] = ["failed", "calls"].map(|name| node::disk().join(name));
        for directory in [&failed, &calls] {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        let plugins = config.cni_bin_dirs.iter();
        let mut bridges = plugins.map(|directory| directory.join("bridge"));
        let bridge = bridges.find(|path| path.exists());
        let bridge = bridge.context("there is no plugin bridge")?;
        let script = format!(
            r#"
failed={failed}/$CNI_CONTAINERID
name=${{CNI_ARGS##*K8S_POD_NAME=}}
name=${{name%%;*}}
# Whether this call is one of so many of a hundred.
strikes() {{
    call=1
    until mkdir {calls}/$CNI_COMMAND-$name-$call 2>/dev/null; do call=$((call + 1)); done
    sum=$(echo {seed} $CNI_COMMAND $name $call | cksum)
    [ $((${{sum%% *}} % 100)) -lt $1 ]
}}
fail() {{
    echo '{{"cniVersion": "1.0.0", "code": 120, "msg": "{WORDS}"}}'
    exit 1
}}
case $CNI_COMMAND in
ADD)
    if strikes {ADD}; then
        touch $failed
        {bridge} >/dev/null
        fail
    fi
    rm -f $failed
    ;;
DEL)
    chance={DEL}
    if [ -e $failed ]; then chance={DEL_AFTER_ADD}; fi
    if strikes $chance; then
        touch $failed
        fail
    fi
    ;;
esac
exec {bridge}"#,
            failed = failed.display(),
            calls = calls.display(),
            bridge = bridge.display(),
        );
        Plugins::before(config)?.shell(NAME, &script)?;
        Ok(Self { failed })
    }

    /// Whether the last ADD of this pod has failed, or a DEL since. Then it may be listed as not ready
    /// although it never was.
    pub(crate) fn has_failed(&self, id: &str) -> bool {
        self.failed.join(id).exists()
    }
}
