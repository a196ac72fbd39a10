//! The runtime handlers that are tested for real, one line each.

use anyhow::Result;
use podwalk_testkit::scripted_shim::{Installed, Script, install};

use crate::daemon::Config;
use crate::node;
use crate::plugins::write_program;

/// A runtime handler, and what is true of its sandboxes.
#[derive(Debug, Clone, Copy)]
pub struct Handler {
    /// The name by which pods ask for it.
    pub name: &'static str,
    /// Whether a sandbox takes the addresses off its namespace's interfaces.
    pub own_stack: bool,
    /// Makes what it needs in this node; its part of the configuration.
    configuration: fn() -> Result<String>,
}

/// crun, which needs no configuration.
pub const CRUN: Handler = Handler::usual("crun");

/// runc, which needs no configuration.
pub const RUNC: Handler = Handler::usual("runc");

/// gVisor's, by its OCI command line.
pub const RUNSC: Handler = Handler {
    name: "runsc",
    own_stack: true,
    configuration: wrapped_runsc,
};

/// runc behind containerd's shim, which needs no configuration either.
pub const SHIM_RUNC: Handler = Handler::usual("shim-runc");

/// A shim that plays Kata's part: task v3, an answer in JSON, the pid of a monitor.
pub const SCRIPTED_SHIM: Handler = Handler {
    name: "scripted",
    own_stack: false,
    configuration: scripted_shim,
};

/// A shim whose sandbox service makes nothing, as that of containerd's for runc, which is found out
/// at each start.
pub const PAUSING_SHIM: Handler = Handler {
    name: "pausing",
    own_stack: false,
    configuration: pausing_shim,
};

/// A shim that makes its sandboxes by the sandbox service.
pub const SANDBOX_SHIM: Handler = Handler {
    name: "sandboxes",
    own_stack: false,
    configuration: sandbox_shim,
};

/// All of them, one for each kind.
pub const ALL: [Handler; 5] = [CRUN, RUNC, RUNSC, SHIM_RUNC, SCRIPTED_SHIM];

impl Handler {
    const fn usual(name: &'static str) -> Self {
        Self {
            name,
            own_stack: false,
            configuration: || Ok(String::new()),
        }
    }

    /// A daemon's configuration with this handler in it.
    ///
    /// # Errors
    /// If what it needs cannot be made.
    pub fn configured(&self) -> Result<Config> {
        Ok(Config::with_file((self.configuration)()?))
    }
}

/// A daemon's configuration with all of them in it.
///
/// # Errors
/// If what one needs cannot be made.
pub fn all_configured() -> Result<Config> {
    let each = ALL.iter().map(|handler| (handler.configuration)());
    Ok(Config::with_file(each.collect::<Result<String>>()?))
}

/// Whether the sandboxes of the handler of this name have a network stack of their own.
#[must_use]
pub fn has_own_stack(name: &str) -> bool {
    let mut all = ALL.iter();
    all.any(|handler| handler.name == name && handler.own_stack)
}

/// Debian 12's runsc takes every namespace for the root's where /proc/sys/net/core/rmem_default is
/// visible in it, which recent kernels show everywhere, and refuses to start. It is started where
/// that is hidden.
fn wrapped_runsc() -> Result<String> {
    let program = node::disk().join("runsc");
    write_program(
        &program,
        r#"exec unshare --mount --propagation slave sh -c 'mount -t tmpfs -o ro none /proc/sys/net && exec runsc "$@"' runsc "$@""#,
    )?;
    Ok(format!(
        "[runtime.handlers.runsc]\nbinary = '{}'\narguments = ['--platform=ptrace']\n",
        program.display()
    ))
}

fn scripted_shim() -> Result<String> {
    let script = Script {
        json: Some(3),
        task_v3: true,
        ..Script::new()
    };
    machine(SCRIPTED_SHIM.name, &script, "")
}

fn pausing_shim() -> Result<String> {
    let script = Script {
        pause_service: true,
        ..Script::new()
    };
    machine(PAUSING_SHIM.name, &script, "api = 'auto'\n")
}

fn sandbox_shim() -> Result<String> {
    let script = Script {
        sandbox_api: true,
        ..Script::new()
    };
    machine(SANDBOX_SHIM.name, &script, "api = 'sandbox'\n")
}

/// A scripted shim whose sandboxes are machines; its part of the configuration, with further keys.
fn machine(name: &str, script: &Script, keys: &str) -> Result<String> {
    let (_, configuration) = scripted(name, script)?;
    Ok(configuration + "vm = true\n" + keys)
}

/// Puts a scripted shim into this node, under a name; and the configuration of a handler of that
/// name, to which keys can be added.
///
/// # Errors
/// If it cannot be put there.
pub fn scripted(name: &str, script: &Script) -> Result<(Installed, String)> {
    let program = node::binary("podwalk-scripted-shim", "podwalk-testkit")?;
    let directory = node::disk().join("shims");
    std::fs::create_dir_all(&directory)?;
    let shim = install(&program, &directory, name, script)?;
    let configuration = format!(
        "[runtime.handlers.{name}]\nkind = 'shim'\nbinary = '{}'\n",
        shim.path().display()
    );
    Ok((shim, configuration))
}
