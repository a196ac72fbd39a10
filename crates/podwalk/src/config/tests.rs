use super::*;

#[test]
fn nothing_is_a_configuration() {
    assert_eq!(Config::parse("").unwrap(), Config::default());
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let error = Config::parse("listen = '/run/x.sock'\nlisten_on = '/run/y.sock'\n").unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("line 2") && text.contains("listen_on"),
        "{text}"
    );
    let error = Config::parse("[cni]\nplugin_secs = 3\n").unwrap_err();
    assert!(format!("{error:#}").contains("plugin_secs"), "{error:#}");
}

#[test]
fn when_a_network_is_attached_is_said_by_network_and_by_handler() {
    let text = "[cni.networks.blue]\nattach = 'after-start'\n\
                [runtime.handlers.crun.networks.blue]\nattach = 'before-start'\n";
    let config = Config::parse(text).unwrap();
    assert_eq!(config.cni.networks["blue"].attach, Some(Attach::AfterStart));
    let handler = &config.runtime.handlers["crun"];
    assert_eq!(handler.networks["blue"].attach, Some(Attach::BeforeStart));

    let text = Config::parse("[cni.networks.blue]\nattach = 'late'\n").unwrap_err();
    let text = text.to_string();
    assert!(
        text.contains("line 2") && text.contains("after-start"),
        "{text}"
    );
}

#[test]
fn a_duplicate_key_is_refused() {
    let error = Config::parse("shutdown_seconds = 1\nshutdown_seconds = 2\n").unwrap_err();
    assert!(format!("{error:#}").contains("duplicate key"), "{error:#}");
}

#[test]
fn what_cannot_work_is_refused_by_its_key() {
    for (text, key) in [
        ("state_dir = 'var/lib'", "state_dir"),
        ("[cni]\nconf_dir = 'net.d'", "cni.conf_dir"),
        ("[cni]\nbin_dirs = ['plugins']", "cni.bin_dirs"),
        ("[cni]\nbin_dirs = ['/a:b']", "cni.bin_dirs"),
        ("[cgroup]\nparent = '/'", "cgroup.parent"),
        ("[cni]\nstep_seconds = 0", "cni.step_seconds"),
        (
            "[cni]\nplugin_seconds = 9223372036854775807",
            "cni.plugin_seconds",
        ),
        ("shutdown_seconds = 31536001", "shutdown_seconds"),
        ("[debts]\ngrace_seconds = 31536001", "debts.grace_seconds"),
        (
            "[runtime.handlers.crun]\nstart_seconds = 31536001",
            "runtime.handlers.crun.start_seconds",
        ),
        (
            "[runtime.handlers.a]\nkill_seconds = 0",
            "runtime.handlers.a.kill_seconds",
        ),
        (
            "[runtime.handlers.a]\ndelete_seconds = 31536001",
            "runtime.handlers.a.delete_seconds",
        ),
        (
            "[runtime.handlers.a]\ncni_conf_dir = 'net.d'",
            "runtime.handlers.a.cni_conf_dir",
        ),
        (
            "[runtime.handlers.a]\ncgroup_parent = '/'",
            "runtime.handlers.a.cgroup_parent",
        ),
        (
            "[runtime.handlers.a]\nannotations = ['b', '*']",
            "runtime.handlers.a.annotations",
        ),
        (
            "[runtime.handlers.a]\nannotations = ['']",
            "runtime.handlers.a.annotations",
        ),
        (
            "[runtime.handlers.a]\nannotations = ['io.*.b']",
            "runtime.handlers.a.annotations",
        ),
        ("[runtime.handlers.a]\nseccomp = 'strict'", "seccomp"),
        ("[runtime.handlers.a]\nkind = 'vm'", "kind"),
        ("[runtime.handlers.a]\napi = 'sandboxes'", "api"),
        (
            "[runtime.handlers.a]\nconfig_path = '/x'\noci_runtime = 'crun'",
            "runtime.handlers.a.oci_runtime",
        ),
        ("[runtime.handlers.a]\ncgroup = 'none'", "cgroup"),
        ("[recovery]\nattempts = 0", "recovery.attempts"),
        ("[log]\nformat = 'xml'", "format"),
    ] {
        let error = Config::parse(text).unwrap_err();
        assert!(format!("{error:#}").contains(key), "{text}: {error:#}");
    }
}

#[test]
fn a_named_file_must_be_there() {
    let error = Config::load(Some(Path::new("/nonexistent/config.toml"))).unwrap_err();
    assert!(format!("{error:#}").contains("/nonexistent/config.toml"));
}

#[test]
fn a_path_that_no_socket_can_have_is_refused() {
    let path = |length: usize| format!("listen = '/{}'", "s".repeat(length - 1));
    Config::parse(&path(107)).unwrap();
    let error = Config::parse(&path(108)).unwrap_err().to_string();
    assert!(error.contains("listen") && error.contains("107"), "{error}");
}

#[test]
fn a_handlers_name_is_a_file_name() {
    let named = |name: &str| Config::parse(&format!("[runtime.handlers.'{name}']\nbinary = '/x'"));
    for name in ["crun", "kata-qemu", "my_runtime.v2", &"h".repeat(63)] {
        named(name).unwrap();
    }
    for name in ["", ".", "..", "../x", "a/b", "a b", "ä", &"h".repeat(64)] {
        let error = named(name).unwrap_err().to_string();
        assert!(
            error.contains("name is of letters"),
            "{name:?} gives {error}"
        );
    }
}
