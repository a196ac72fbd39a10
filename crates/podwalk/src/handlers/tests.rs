use podwalk_oci::Unlisted;

use super::*;

fn handlers(text: &str) -> anyhow::Result<Handlers> {
    Handlers::new(&Config::parse(text).unwrap(), Arc::new(Unlisted))
}

#[test]
fn the_usual_ones_need_no_configuration() {
    let handlers = handlers("").unwrap();
    assert_eq!(handlers.find("").unwrap().handler().name, "crun");
    assert_eq!(handlers.find("runc").unwrap().handler().name, "runc");
}

#[test]
fn an_unknown_one_is_refused_by_name_with_those_there_are() {
    let error = handlers("").unwrap().find("kta").unwrap_err().to_string();
    assert!(
        error.contains("'kta'") && error.contains("crun, kata, runc, runsc, shim-runc, youki"),
        "{error}"
    );
}

/// One that nobody has configured is not in the way of a long path.
#[test]
fn a_shim_whose_events_no_socket_can_take_is_refused() {
    let deep = format!("run_dir = '/run/{}'\n", "d".repeat(100));
    handlers(&deep).unwrap();
    for shim in [
        "[runtime.handlers.kata]\nstart_seconds = 90\n",
        "[runtime.handlers.mine]\nkind = 'shim'\nbinary = '/shim'\n",
    ] {
        let error = handlers(&format!("{deep}{shim}"))
            .err()
            .unwrap()
            .to_string();
        let name = shim.split(['.', ']']).nth(2).unwrap();
        assert!(
            error.contains(&format!("runtime.handlers.{name}")) && error.contains("107"),
            "{error}"
        );
    }
}

#[test]
fn a_handler_is_added_or_changed_by_configuration() {
    let handlers = handlers(
        "[runtime]\ndefault = 'mine'\n[runtime.handlers.mine]\nbinary = '/opt/mine'\n\
         [runtime.handlers.crun]\nstart_seconds = 7\n",
    )
    .unwrap();
    assert_eq!(
        handlers.find("").unwrap().handler().binary,
        Path::new("/opt/mine")
    );
    let crun = handlers.find("crun").unwrap().handler();
    assert_eq!(crun.deadlines.create, Duration::from_secs(7));
    assert_eq!(crun.binary, Path::new("crun"));
}

#[test]
fn a_sandbox_stays_with_the_handler_that_started_it() {
    use podwalk_engine::clock::Stamp;
    use podwalk_engine::id::{BootId, InstanceId, PodId};
    use podwalk_engine::record::{
        Cause, CreateIntent, CreateOutput, Entry, Goal, Output, Record, StartIntent,
    };
    let start = StartIntent {
        handler: "crun".to_owned(),
        consumes_network: false,
        network: None,
    };
    let records = [
        Record::Goal {
            goal: Goal::Run,
            cause: Cause::Request,
        },
        Record::Intent(Intent::Create(Box::new(CreateIntent {
            spec: Default::default(),
            sandbox_key: None,
        }))),
        Record::Done(Output::Create(CreateOutput {})),
        Record::Intent(Intent::Start(start)),
    ];
    let entries: Vec<Entry> = (0..)
        .zip(records)
        .map(|(sequence, record)| Entry {
            pod: PodId::new([1; 12], InstanceId([2; 4])),
            sequence,
            stamp: Stamp {
                boot: BootId([9; 16]),
                wall_ns: 1,
                boottime_ns: 1,
            },
            record,
        })
        .collect();
    let handlers = handlers("[runtime]\ndefault = 'runc'").unwrap();
    let of = |records: usize| {
        let pod = podwalk_engine::pod::fold(&entries[..records]).unwrap();
        handlers.of(&pod).unwrap().handler().name.clone()
    };
    assert_eq!(of(3), "runc", "what would start it now");
    assert_eq!(of(4), "crun", "what has started it");
}

#[test]
fn a_default_that_is_none_and_a_handler_without_binary_are_refused() {
    let error = handlers("[runtime]\ndefault = 'x'").err().unwrap();
    assert!(error.to_string().contains("'x'"), "{error}");
    let error = handlers("[runtime.handlers.mine]\n").err().unwrap();
    assert!(
        error.to_string().contains("runtime.handlers.mine"),
        "{error}"
    );
}

#[test]
fn gvisor_is_known_and_what_is_like_it_is_told() {
    let handlers = handlers(
        "[runtime.handlers.runsc]\nbinary = '/opt/runsc'\narguments = ['--platform=kvm']\n\
         [runtime.handlers.mine]\nbinary = '/opt/mine'\nvm = true\n\
         [runtime.handlers.odd]\nbinary = '/opt/odd'\nvm = true\nconsumes_network = false\n",
    )
    .unwrap();
    let of = |name: &str| {
        let handler = handlers.find(name).unwrap().handler();
        (handler.vm, handler.consumes_network)
    };
    assert_eq!(of("runsc"), (true, true));
    assert_eq!(
        of("mine"),
        (true, true),
        "a virtual machine's start uses its network up"
    );
    assert_eq!(of("odd"), (true, false));
    assert_eq!(of("crun"), (false, false));
    assert!(!handlers.has_user_namespaces("mine"));
}

#[test]
fn each_has_deadlines_and_a_seccomp_profile_of_its_own() {
    let handlers = handlers(
        "[runtime.handlers.runc]\nkill_seconds = 3\ndelete_seconds = 4\nseccomp = 'unconfined'\n",
    )
    .unwrap();
    let deadlines = handlers.find("runc").unwrap().handler().deadlines;
    assert_eq!(deadlines.kill, Duration::from_secs(3));
    assert_eq!(deadlines.delete, Duration::from_secs(4));
    assert_eq!(deadlines.create, podwalk_oci::Deadlines::default().create);
    assert!(!handlers.has_default_seccomp("runc"));
    assert!(handlers.has_default_seccomp(""), "crun's");
}

/// A shim's settings, none for a runtime with a command line.
fn shim<'a>(handlers: &'a Handlers, name: &str) -> Option<&'a ShimSettings> {
    match handlers.find(name).unwrap() {
        Runtime::Shim(shim) => Some(shim.settings()),
        _ => None,
    }
}

#[test]
fn shims_are_known_and_each_reports_to_a_socket_of_its_own() {
    let handlers = handlers("run_dir = '/run/pw'").unwrap();
    let runc = shim(&handlers, "shim-runc").unwrap();
    let kata = shim(&handlers, "kata").unwrap();
    assert_eq!(runc.bundles, Path::new("/run/pw/bundles"));
    assert_eq!(runc.events, Path::new("/run/pw/shim-runc.events"));
    assert_eq!(kata.events, Path::new("/run/pw/kata.events"));
    assert_eq!(
        (&runc.options, &kata.options),
        (&super::runc(None), &ShimOptions::None)
    );
    assert_eq!(shim(&handlers, "runc"), None);
    let kata = handlers.find("kata").unwrap().handler();
    assert_eq!((kata.vm, kata.consumes_network), (true, true));
    assert_eq!(kata.deadlines.create, BOOT);
}

#[test]
fn a_shim_is_configured_by_its_keys() {
    let handlers = handlers(
        "[runtime.handlers.kata]\nconfig_path = '/etc/kata.toml'\napi = 'auto'\n\
         [runtime.handlers.shim-runc]\noci_runtime = 'crun'\n\
         [runtime.handlers.mine]\nkind = 'shim'\nbinary = '/opt/shim'\n\
         [runtime.handlers.again]\nkind = 'shim'\nbinary = '/opt/containerd-shim-runc-v2'\n\
         oci_runtime = 'youki'\n\
         [runtime.handlers.plain]\nkind = 'shim'\nbinary = 'containerd-shim-runc-v2'\n\
         [runtime.handlers.crun]\nkind = 'oci'\n",
    )
    .unwrap();
    let kata = shim(&handlers, "kata").unwrap();
    assert_eq!(
        kata.options,
        ShimOptions::ConfigPath("/etc/kata.toml".into())
    );
    assert_eq!(kata.api, ShimApi::Auto);
    let runc = shim(&handlers, "shim-runc").unwrap();
    assert_eq!(runc.options, super::runc(Some("crun".into())));
    assert_eq!(shim(&handlers, "mine").unwrap().options, ShimOptions::None);
    let again = shim(&handlers, "again").unwrap();
    assert_eq!(
        again.options,
        super::runc(Some("youki".into())),
        "by its program"
    );
    let plain = shim(&handlers, "plain").unwrap();
    assert_eq!(plain.options, super::runc(None), "its state is looked for");
    assert_eq!(shim(&handlers, "crun"), None);
}

#[test]
fn a_shims_keys_are_refused_where_there_is_none() {
    for (text, key) in [
        (
            "[runtime.handlers.mine]\nbinary = '/opt/shim'\nconfig_path = '/x'",
            "mine.config_path",
        ),
        (
            "[runtime.handlers.crun]\noci_runtime = 'runc'",
            "crun.oci_runtime",
        ),
        (
            "[runtime.handlers.kata]\nkind = 'oci'\napi = 'auto'",
            "kata.api",
        ),
        (
            "[runtime.handlers.shim-runc]\nconfig_path = '/x'",
            "shim-runc.config_path",
        ),
        (
            "[runtime.handlers.kata]\noci_runtime = 'runc'",
            "kata.oci_runtime",
        ),
        (
            "[runtime.handlers.mine]\nkind = 'shim'\nbinary = '/opt/shim'\noci_runtime = 'runc'",
            "mine.oci_runtime",
        ),
    ] {
        let error = handlers(text).err().expect(text).to_string();
        assert!(
            error.contains(&format!("runtime.handlers.{key}")),
            "{error}"
        );
    }
}

#[test]
fn annotations_pass_by_handler_and_none_does_by_itself() {
    let handlers =
        handlers("[runtime.handlers.kata]\nannotations = ['io.katacontainers.*', 'one']").unwrap();
    assert_eq!(
        handlers.passed_annotations("kata"),
        ["io.katacontainers.*", "one"]
    );
    for other in ["", "crun", "nobody"] {
        assert_eq!(handlers.passed_annotations(other), [""; 0], "{other:?}");
    }
}
