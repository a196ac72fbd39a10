//! Plugins that misbehave.

use super::*;
use std::os::unix::fs::PermissionsExt;

/// Whether a process still does anything; a zombie does not.
fn runs(pid_file: &Path) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn with(change: impl FnOnce(&mut Answer)) -> Answer {
    let mut answer = Answer::default();
    change(&mut answer);
    answer
}

#[tokio::test]
async fn duty_13_the_configuration_goes_in_the_result_comes_out_and_stderr_is_apart() {
    let mut answer = attaches();
    answer.stderr = Some("{} is no result\n".to_owned());
    let bench = Bench::new(vec![Script::new().on("ADD", answer)]);
    bench.add().await.unwrap();
    let told = &bench.plugins[0].records().unwrap()[0].stdin;
    assert_eq!(
        (&told["name"], &told["type"]),
        (&"podnet".into(), &"p0".into())
    );
}

#[tokio::test]
async fn duty_18_the_plugins_own_error_is_told_with_its_last_words() {
    let mut answer = fails(100);
    answer.stderr = Some("first\nlast words\n".to_owned());
    let bench = Bench::new(vec![Script::new().on("ADD", answer)]);
    let error = bench.add().await.unwrap_err();
    let text = error.to_string();
    let binary = bench.path("p0");
    for part in [
        "ADD",
        "podnet",
        "p0",
        "code 100",
        "as told",
        "(d)",
        "last words",
        binary.to_str().unwrap(),
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!error.outcome_unknown());
}

#[tokio::test]
async fn duty_18_a_failure_without_an_error_object_is_made_from_stderr() {
    let answer = with(|a| (a.exit, a.stderr) = (Some(4), Some("no lock".to_owned())));
    let bench = Bench::new(vec![Script::new().on("ADD", answer)]);
    let error = bench.add().await.unwrap_err();
    assert_eq!((error.code(), error.stderr()), (None, "no lock"));
    assert!(error.to_string().contains("exit status 4") && error.to_string().contains("no lock"));
}

#[tokio::test]
async fn scenario_14_a_hanging_plugin_and_its_grandchild_are_killed_at_the_deadline() {
    let bench = Bench::new(vec![Script::new()]);
    let pid_file = bench.path("grandchild.pid");
    let answer = with(|a| {
        a.hang = true;
        a.grandchild = Some(Delegate {
            pid_file: Some(pid_file.clone()),
            ..Delegate::default()
        });
    });
    bench.plugins[0]
        .set_script(&Script::new().on("ADD", answer))
        .unwrap();
    let impatient = runtime(bench.directory.path(), Duration::from_secs(3));
    let error = impatient
        .add(&bench.conflist, &attachment())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error.kind(),
            Failure::Deadline {
                survivors: false,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.outcome_unknown());
    if pid_file.exists() {
        until(|| !runs(&pid_file)).await;
    }
    // Not in a hurry: this one must succeed.
    bench.del(None).await.unwrap();
}

#[tokio::test]
async fn scenario_14_a_grandchild_that_keeps_stdout_open_does_not_hold_the_answer() {
    let bench = Bench::new(vec![Script::new()]);
    let pid_file = bench.path("grandchild.pid");
    let mut answer = answers(result("1.1.0", "10.0.0.2/8"));
    answer.grandchild = Some(Delegate {
        pid_file: Some(pid_file.clone()),
        ..Delegate::default()
    });
    answer.wait_for = Some(pid_file.clone());
    bench.plugins[0]
        .set_script(&Script::new().on("ADD", answer))
        .unwrap();
    let added = bench.add().await.unwrap();
    assert_eq!(added.parsed.ips.len(), 1);
    until(|| !runs(&pid_file)).await;
}

#[tokio::test]
async fn scenario_49_a_delegate_that_dawdles_dies_with_its_plugin_and_does_nothing_later() {
    let bench = Bench::new(vec![Script::new()]);
    let [pid_file, gate, late] = ["delegate.pid", "gate", "late"].map(|name| bench.path(name));
    let answer = with(|a| {
        a.delegate = Some(Delegate {
            pid_file: Some(pid_file.clone()),
            wait_for: Some(gate.clone()),
            touch: Some(late.clone()),
            ..Delegate::default()
        });
    });
    bench.plugins[0]
        .set_script(&Script::new().on("ADD", answer))
        .unwrap();
    tokio::select! {
        _ = bench.add() => panic!("the ADD ended"),
        () = until(|| pid_file.exists()) => {}
    }
    until(|| !runs(&pid_file)).await;
    std::fs::write(&gate, "").unwrap();
    // The DEL runs to its end, so a delegate that lived would have had its chance.
    bench.del(None).await.unwrap();
    assert!(!late.exists());
    assert_eq!(bench.commands(0), ["ADD", "DEL"]);
}

#[tokio::test]
async fn scenario_15_an_add_that_is_dropped_is_owed_a_del() {
    let hanging = with(|a| a.hang = true);
    let bench = Bench::new(vec![Script::new().on("ADD", hanging).on("ADD", attaches())]);
    tokio::select! {
        _ = bench.add() => panic!("the ADD ended"),
        () = until(|| bench.commands(0) == ["ADD"]) => {}
    }
    let early = bench.add().await.unwrap_err();
    assert!(matches!(early.kind(), Failure::AlreadyAttached { .. }));
    bench.del(None).await.unwrap();
    bench.add().await.unwrap();
}

#[tokio::test]
async fn scenario_23_scenario_35_what_is_no_result_is_told_with_its_first_lines() {
    for said in [
        "",
        "hello\nworld",
        "[]",
        "{\"ips\": 7}",
        "{\"cniVersion\": \"9.0.0\"}",
    ] {
        let answer = with(|a| a.stdout = Some(said.to_owned()));
        let bench = Bench::new(vec![Script::new().on("ADD", answer)]);
        let error = bench.add().await.unwrap_err();
        match error.kind() {
            Failure::Garbage { head, .. } => assert_eq!(head, said),
            other => panic!("{said:?}: {other:?}"),
        }
        assert!(error.outcome_unknown() && !error.nothing_ran());
        assert_eq!(error.plugin(), Some("p0"));
        bench.del(None).await.unwrap();
        assert_eq!(bench.commands(0), ["ADD", "DEL"]);
    }
}

#[tokio::test]
async fn scenario_23_megabytes_of_output_are_cut_off() {
    let flood = with(|a| a.flood = 10 * 1024 * 1024);
    let script = Script::new()
        .on("ADD", flood.clone())
        .on("DEL", flood)
        .on("DEL", Answer::default());
    let bench = Bench::new(vec![script]);
    for error in [
        bench.add().await.unwrap_err(),
        bench.del(None).await.unwrap_err(),
    ] {
        assert!(
            matches!(error.kind(), Failure::TooMuchOutput { .. }),
            "{error}"
        );
        assert!(error.to_string().len() < 1000);
    }
    bench.del(None).await.unwrap();
}

#[tokio::test]
async fn scenario_23_a_flood_on_stderr_costs_nothing_and_keeps_the_end() {
    let mut answer = fails(100);
    answer.stderr = Some(format!("{}the end", "x".repeat(3 * 1024 * 1024)));
    let bench = Bench::new(vec![Script::new().on("ADD", answer)]);
    let error = bench.add().await.unwrap_err();
    assert!(error.stderr().len() <= 16 * 1024 && error.stderr().ends_with("the end"));
}

#[tokio::test]
async fn a_crash_is_told_with_its_signal() {
    let bench = Bench::new(vec![Script::new().on("ADD", with(|a| a.abort = true))]);
    let error = bench.add().await.unwrap_err();
    assert!(
        matches!(error.kind(), Failure::Killed { signal: 6 }),
        "{error}"
    );
    assert!(error.outcome_unknown());
}

#[tokio::test]
async fn scenario_33_binaries_that_cannot_run_are_told_apart_and_named() {
    let bench = Bench::new(vec![Script::new()]);
    let binary = bench.path("p0");
    let place = |content: &[u8], mode: u32| {
        let _ = std::fs::remove_file(&binary);
        std::fs::write(&binary, content).unwrap();
        std::fs::set_permissions(&binary, PermissionsExt::from_mode(mode)).unwrap();
    };
    let refused = || async {
        let error = bench.del(None).await.unwrap_err();
        assert_eq!(error.plugin(), Some("p0"));
        error
    };
    std::fs::remove_file(&binary).unwrap();
    let missing = refused().await;
    assert!(matches!(missing.kind(), Failure::PluginMissing { .. }));
    assert!(
        missing
            .to_string()
            .contains(bench.directory.path().to_str().unwrap())
    );
    place(b"#!/bin/sh\n", 0o644);
    assert!(matches!(refused().await.kind(), Failure::NotExecutable));
    place(b"echo not a program\n", 0o755);
    assert!(matches!(
        refused().await.kind(),
        Failure::WrongFormat { .. }
    ));
    place(b"#!/no/such/interpreter\n", 0o755);
    let interpreter = refused().await;
    assert!(matches!(interpreter.kind(), Failure::WrongFormat { .. }));
    assert!(interpreter.to_string().contains(binary.to_str().unwrap()));
}

#[tokio::test]
async fn duty_47_scenario_03_a_missing_binary_fails_add_and_del_until_it_is_back() {
    let bench = Bench::new(vec![Script::new(), Script::new()]);
    let hidden = bench.path("hidden");
    std::fs::rename(bench.path("p1"), &hidden).unwrap();
    let missing = |error: &CniError| matches!(error.kind(), Failure::PluginMissing { .. });
    assert!(missing(&bench.add().await.unwrap_err()));
    assert!(missing(&bench.del(None).await.unwrap_err()));
    assert_eq!(bench.commands(0), ["ADD"]);
    std::fs::rename(&hidden, bench.path("p1")).unwrap();
    bench.del(None).await.unwrap();
    assert_eq!(
        (bench.commands(0), bench.commands(1)),
        (
            vec!["ADD".to_owned(), "DEL".to_owned()],
            vec!["DEL".to_owned()]
        )
    );
}

#[tokio::test]
async fn duty_58_try_again_later_is_undone_and_tried_again() {
    let second = Script::new().on("ADD", fails(11)).on("ADD", attaches());
    let bench = Bench::new(vec![Script::new(), second]);
    bench.add().await.unwrap();
    for plugin in [0, 1] {
        assert_eq!(bench.commands(plugin), ["ADD", "DEL", "ADD"]);
    }
}

#[tokio::test]
async fn duty_58_patience_ends_and_the_error_is_the_plugins() {
    let bench = Bench::new(vec![
        Script::new()
            .on("ADD", fails(11))
            .on("DEL", Answer::default()),
    ]);
    let error = bench.add().await.unwrap_err();
    assert!(error.retry_later());
    assert_eq!(bench.commands(0), ["ADD", "DEL", "ADD", "DEL", "ADD"]);
    let failing = Bench::new(vec![Script::new().on("DEL", fails(11))]);
    assert!(failing.del(None).await.unwrap_err().retry_later());
    assert_eq!(failing.commands(0).len(), 3);
}

#[tokio::test]
async fn scenario_36_a_failing_cleanup_does_not_hide_the_first_cause() {
    let script = Script::new().on("ADD", fails(11)).on("DEL", fails(101));
    let bench = Bench::new(vec![script]);
    let error = bench.add().await.unwrap_err();
    assert_eq!(error.code(), Some(11));
    assert_eq!(error.then().unwrap().code(), Some(101));
    assert_eq!(bench.commands(0), ["ADD", "DEL"]);
}

#[tokio::test]
async fn scenario_19_one_network_that_fails_to_let_go_does_not_hold_the_others() {
    let benches = [
        Bench::new(vec![Script::new()]),
        Bench::new(vec![Script::new().on("DEL", fails(100))]),
        Bench::new(vec![Script::new()]),
    ];
    let mut owed = Vec::new();
    for (number, bench) in benches.iter().enumerate().rev() {
        if bench.del(None).await.is_err() {
            owed.push(number);
        }
    }
    assert_eq!(owed, [1]);
    assert!(benches.iter().all(|bench| bench.commands(0) == ["DEL"]));
}
