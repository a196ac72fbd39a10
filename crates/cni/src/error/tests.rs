use super::*;

fn failed(code: u64) -> CniError {
    let failure = Failure::Failed {
        code: Some(code),
        msg: "no room".to_owned(),
        details: "10.0.0.0/30".to_owned(),
        exit: 1,
    };
    CniError::new(Verb::Add, "podnet", failure)
        .of_plugin("bridge", Some(Path::new("/opt/cni/bin/bridge")))
}

fn of(kind: Failure) -> CniError {
    CniError::new(Verb::Add, "podnet", kind).of_plugin("bridge", None)
}

#[test]
fn a_message_names_verb_network_plugin_binary_code_and_last_words() {
    let error = failed(11).with_stderr("one\ntwo\nthree\nfour".to_owned());
    assert_eq!(
        error.to_string(),
        "ADD in network podnet, plugin bridge (/opt/cni/bin/bridge): failed with code 11 (try \
         again later): no room (10.0.0.0/30); see why the plugin is not ready; stderr: two | \
         three | four"
    );
    assert_eq!((error.code(), error.plugin()), (Some(11), Some("bridge")));
    assert_eq!(error.stderr(), "one\ntwo\nthree\nfour");
}

#[test]
fn scenario_30_a_bridge_that_is_full_is_told_in_words() {
    let failure = Failure::Failed {
        code: Some(999),
        msg: "failed to connect \"veth1\" to bridge cni0: exchange full".to_owned(),
        details: String::new(),
        exit: 1,
    };
    assert_eq!(
        of(failure).to_string(),
        "ADD in network podnet, plugin bridge: failed with code 999 (the plugin's own): failed to \
         connect \"veth1\" to bridge cni0: exchange full; the bridge has no free port: the kernel \
         gives one 1023, so attach further pods to another network"
    );
}

#[test]
fn scenario_36_the_first_cause_stays_first() {
    let error = failed(100).and_then_met(failed(101));
    let text = error.to_string();
    let first = text.find("code 100").unwrap();
    assert!(first < text.find("then, cleaning up: ADD").unwrap());
    assert_eq!(error.code(), Some(100));
    assert_eq!(error.then().unwrap().code(), Some(101));
}

#[test]
fn duty_33_codes_50_and_51_say_that_the_network_is_not_ready() {
    for (code, not_ready) in [
        (50, true),
        (51, true),
        (11, false),
        (49, false),
        (100, false),
    ] {
        assert_eq!(failed(code).network_not_ready(), not_ready, "{code}");
    }
    assert!(failed(11).retry_later());
    assert!(!failed(50).retry_later());
}

#[test]
fn not_done_and_perhaps_done_are_told_apart() {
    let after = Duration::from_secs(1);
    let unknown = [
        Failure::Deadline {
            after,
            survivors: false,
        },
        Failure::Killed { signal: 9 },
        Failure::TooMuchOutput { limit: 1 },
        Failure::Process(io::Error::other("pipe")),
    ];
    for kind in unknown {
        assert!(of(kind).outcome_unknown());
    }
    let known = [
        Failure::NotExecutable,
        Failure::NoNetns,
        Failure::NotStarted(io::Error::other("fork")),
        Failure::PluginMissing { searched: vec![] },
        Failure::Enlist(io::Error::other("cgroup")),
    ];
    for kind in known {
        assert!(!of(kind).outcome_unknown());
    }
    assert!(!failed(100).outcome_unknown());
    assert!(!failed(100).nothing_ran());
    assert!(CniError::new(Verb::Add, "n", Failure::NoNetns).nothing_ran());
}

#[test]
fn a_message_stays_short_whatever_stderr_holds() {
    let error = failed(100).with_stderr("é".repeat(100_000));
    assert!(error.to_string().chars().count() < 700);
}

#[test]
fn a_deadline_tells_whether_the_processes_are_gone() {
    let after = Duration::from_millis(1500);
    let text = |survivors| of(Failure::Deadline { after, survivors }).to_string();
    assert!(text(false).contains("1.5s: the plugin's process group was killed;"));
    assert!(text(true).contains("but is not gone yet"));
}
