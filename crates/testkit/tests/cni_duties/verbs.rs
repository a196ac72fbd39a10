//! The verbs: who is called when, with what.

use super::*;
use podwalk_cni::{AttachmentId, SpecVersion, Stale, Verb};

#[tokio::test]
async fn duty_12_plugins_run_in_the_namespace_of_the_caller() {
    let bench = Bench::new(vec![Script::new()]);
    bench.add().await.unwrap();
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(
        bench.plugins[0].records().unwrap()[0].netns,
        ours.to_str().unwrap()
    );
}

#[tokio::test]
async fn duty_20_add_never_runs_twice_without_del() {
    let bench = Bench::new(vec![Script::new()]);
    bench.add().await.unwrap();
    let again = bench.add().await.unwrap_err();
    assert!(matches!(again.kind(), Failure::AlreadyAttached { .. }));
    assert!(again.nothing_ran());
    bench.del(None).await.unwrap();
    bench.add().await.unwrap();
    assert_eq!(bench.commands(0), ["ADD", "DEL", "ADD"]);
    let other = Attachment::new("c1", "net1").in_netns(NETNS);
    bench.runtime.add(&bench.conflist, &other).await.unwrap();
}

#[tokio::test]
async fn duty_21_add_is_told_command_container_namespace_and_interface() {
    let bench = Bench::new(vec![Script::new()]);
    let mut attachment = attachment();
    attachment.traceparent = Some("00-aa-bb-01".to_owned());
    bench
        .runtime
        .add(&bench.conflist, &attachment)
        .await
        .unwrap();
    let record = bench.plugins[0].records().unwrap().remove(0);
    let mut environment = record.environment;
    environment.remove("PATH");
    let expected = json!({
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": NETNS, "CNI_IFNAME": "eth0",
        "CNI_ARGS": "K8S_POD_NAME=web", "CNI_PATH": bench.directory.path(),
        "TRACEPARENT": "00-aa-bb-01",
    });
    assert_eq!(json!(environment), expected);
    assert!(record.arguments.is_empty());
    assert_eq!(
        record.stdin,
        json!({"type": "p0", "own": 0, "name": "podnet", "cniVersion": "1.1.0"})
    );
}

#[tokio::test]
async fn duty_22_del_gives_the_final_result_to_every_plugin() {
    let first = Script::new().on("ADD", answers(result("1.1.0", "10.0.0.2/8")));
    let last = Script::new().on("ADD", answers(result("1.1.0", "10.0.0.3/8")));
    let bench = Bench::new(vec![first, last]);
    let added = bench.add().await.unwrap();
    bench.del(Some(&added.bytes)).await.unwrap();
    for plugin in &bench.plugins {
        let del = plugin.records().unwrap().pop().unwrap();
        assert_eq!(del.stdin["prevResult"], result("1.1.0", "10.0.0.3/8"));
    }
}

#[tokio::test]
async fn duty_22_del_gives_no_result_below_0_4_0() {
    let bench = Bench::at("0.3.1", vec![Script::new()]);
    let added = bench.add().await.unwrap();
    bench.del(Some(&added.bytes)).await.unwrap();
    assert_eq!(
        bench.plugins[0].records().unwrap()[1]
            .stdin
            .get("prevResult"),
        None
    );
}

#[tokio::test]
async fn duty_23_scenario_06_del_goes_on_without_a_result() {
    for lost in [
        None,
        Some(&b""[..]),
        Some(b"{\"ips\": ["),
        Some(b"\0\0\0\0"),
    ] {
        let bench = Bench::new(vec![Script::new()]);
        bench.add().await.unwrap();
        bench.del(lost).await.unwrap();
        let del = bench.plugins[0].records().unwrap().remove(1);
        assert_eq!(
            (del.command.as_str(), del.stdin.get("prevResult")),
            ("DEL", None)
        );
    }
}

#[tokio::test]
async fn duty_24_scenario_51_del_names_no_namespace_that_is_gone() {
    let bench = Bench::new(vec![Script::new()]);
    let plain = bench.path("no-namespace");
    std::fs::write(&plain, "").unwrap();
    let gone = [None, Some(plain), Some(bench.path("missing"))];
    for netns in gone {
        let mut attachment = attachment();
        attachment.netns = netns;
        bench
            .runtime
            .del(&bench.conflist, &attachment, None)
            .await
            .unwrap();
    }
    bench.del(None).await.unwrap();
    let named: Vec<String> = bench.plugins[0]
        .records()
        .unwrap()
        .into_iter()
        .map(|record| record.environment["CNI_NETNS"].clone())
        .collect();
    assert_eq!(named, ["", "", "", NETNS]);
}

#[tokio::test]
async fn duty_25_del_may_be_repeated_until_it_succeeds() {
    let script = Script::new()
        .on("DEL", fails(100))
        .on("DEL", fails(100))
        .on("DEL", Answer::default());
    let bench = Bench::new(vec![script]);
    bench.add().await.unwrap();
    for _ in 0..2 {
        assert_eq!(bench.del(None).await.unwrap_err().code(), Some(100));
    }
    bench.del(None).await.unwrap();
    bench.del(None).await.unwrap();
    assert_eq!(bench.commands(0), ["ADD", "DEL", "DEL", "DEL", "DEL"]);
}

#[tokio::test]
async fn duty_26_an_unknown_container_leaves_nothing_to_clean() {
    let bench = Bench::new(vec![Script::new(), Script::new().on("DEL", fails(3))]);
    bench.del(None).await.unwrap();
    assert_eq!(bench.commands(0), ["DEL"]);
}

#[tokio::test]
async fn duty_27_check_comes_after_add_and_before_del() {
    let bench = Bench::new(vec![Script::new()]);
    let check = || {
        bench
            .runtime
            .check(&bench.conflist, attachment_static(), b"{}")
    };
    let refused = |outcome: Result<Ran, CniError>| {
        matches!(outcome.unwrap_err().kind(), Failure::NotAttached { .. })
    };
    assert!(refused(check().await));
    bench.add().await.unwrap();
    assert_eq!(check().await.unwrap(), Ran::Yes);
    bench.del(None).await.unwrap();
    assert!(refused(check().await));
    bench.runtime.adopt(attachment().id());
    assert_eq!(check().await.unwrap(), Ran::Yes);
    assert_eq!(bench.commands(0), ["ADD", "CHECK", "DEL", "CHECK"]);
}

/// The same attachment for the whole test program.
fn attachment_static() -> &'static Attachment {
    static ATTACHMENT: std::sync::OnceLock<Attachment> = std::sync::OnceLock::new();
    ATTACHMENT.get_or_init(attachment)
}

#[tokio::test]
async fn duty_28_check_does_not_run_where_it_is_switched_off() {
    let mut bench = Bench::new(vec![Script::new()]);
    bench.conflist = switched(&bench.conflist, "disableCheck");
    bench.add().await.unwrap();
    let ran = bench
        .runtime
        .check(&bench.conflist, &attachment(), b"{}")
        .await;
    assert_eq!(ran.unwrap(), Ran::Disabled);
    assert_eq!(bench.commands(0), ["ADD"]);
}

fn switched(conflist: &Conflist, key: &str) -> Conflist {
    let mut list: Value = serde_json::from_slice(conflist.bytes()).unwrap();
    list[key] = json!(true);
    Conflist::parse(list.to_string().as_bytes(), conflist.path()).unwrap()
}

#[tokio::test]
async fn duty_29_check_gets_the_result_of_add() {
    let script = Script::new().on("ADD", answers(result("1.1.0", "10.0.0.2/8")));
    let bench = Bench::new(vec![script]);
    let added = bench.add().await.unwrap();
    bench
        .runtime
        .check(&bench.conflist, &attachment(), &added.bytes)
        .await
        .unwrap();
    let check = bench.plugins[0].records().unwrap().remove(1);
    assert_eq!(check.stdin["prevResult"], result("1.1.0", "10.0.0.2/8"));
    let unreadable = bench
        .runtime
        .check(&bench.conflist, &attachment(), b"{")
        .await;
    assert!(matches!(
        unreadable.unwrap_err().kind(),
        Failure::RecordedResult(_)
    ));
}

#[tokio::test]
async fn duty_30_check_gets_the_parameters_of_add() {
    let bench = Bench::new(vec![Script::new()]);
    let added = bench.add().await.unwrap();
    bench
        .runtime
        .check(&bench.conflist, &attachment(), &added.bytes)
        .await
        .unwrap();
    let mut records = bench.plugins[0].records().unwrap();
    for record in &mut records {
        record.environment.remove("CNI_COMMAND").unwrap();
        record.stdin.as_object_mut().unwrap().remove("prevResult");
    }
    assert_eq!(records[0].environment, records[1].environment);
    assert_eq!(records[0].stdin, records[1].stdin);
}

#[tokio::test]
async fn duty_31_check_does_not_exist_below_0_4_0() {
    let bench = Bench::at("0.3.1", vec![Script::new()]);
    let added = bench.add().await.unwrap();
    let error = bench
        .runtime
        .check(&bench.conflist, &attachment(), &added.bytes)
        .await
        .unwrap_err();
    assert!(matches!(
        error.kind(),
        Failure::NotInVersion {
            verb: Verb::Check,
            ..
        }
    ));
    assert_eq!(bench.commands(0), ["ADD"]);
}

#[tokio::test]
async fn duty_32_status_runs_from_1_1_0() {
    let old = Bench::at("1.0.0", vec![Script::new()]);
    let ran = old.runtime.status(&old.conflist).await.unwrap();
    assert_eq!(ran, Ran::OlderThan(SpecVersion::V1_1_0));
    assert!(old.commands(0).is_empty());
    let new = Bench::new(vec![Script::new(), Script::new()]);
    assert_eq!(new.runtime.status(&new.conflist).await.unwrap(), Ran::Yes);
    for plugin in &new.plugins {
        let record = plugin.records().unwrap().remove(0);
        assert_eq!(record.command, "STATUS");
        assert_eq!(record.environment["CNI_CONTAINERID"], "");
        assert_eq!(record.stdin.get("prevResult"), None);
    }
}

#[tokio::test]
async fn duty_33_status_tells_that_the_network_is_not_ready() {
    for code in [50, 51] {
        let bench = Bench::new(vec![Script::new().on("STATUS", fails(code))]);
        let error = bench.runtime.status(&bench.conflist).await.unwrap_err();
        assert!(error.network_not_ready(), "{error}");
    }
}

#[tokio::test]
async fn duty_34_scenario_14_status_ends_at_the_first_error_and_blocks_nobody() {
    let bench = Bench::new(vec![Script::new().on("STATUS", fails(50)), Script::new()]);
    bench.runtime.status(&bench.conflist).await.unwrap_err();
    assert!(bench.commands(1).is_empty());
    let hanging = Answer {
        hang: true,
        ..Answer::default()
    };
    let script = Script::new()
        .on("STATUS", hanging.clone())
        .on("STATUS", Answer::default())
        .on("ADD", hanging);
    let bench = Bench::new(vec![script]);
    let status = bench.runtime.status(&bench.conflist);
    let others = async {
        until(|| bench.commands(0) == ["STATUS"]).await;
        // DEL passes a STATUS that hangs.
        bench.del(None).await.unwrap();
        let add = bench.add();
        let second = async {
            until(|| bench.commands(0).contains(&"ADD".to_owned())).await;
            // STATUS passes an ADD that hangs.
            bench.runtime.status(&bench.conflist).await.unwrap()
        };
        tokio::select! {
            _ = add => panic!("the ADD ended"),
            ran = second => assert_eq!(ran, Ran::Yes),
        }
    };
    tokio::select! {
        _ = status => panic!("the STATUS ended"),
        () = others => {}
    }
}

#[tokio::test]
async fn duty_35_version_reads_what_a_plugin_supports() {
    let old = answers(json!({"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}));
    let bench = Bench::new(vec![Script::new().on("VERSION", old), Script::new()]);
    let versions = bench.runtime.version("p0").await.unwrap();
    assert_eq!(versions.supported, ["0.4.0", "1.0.0"]);
    assert!(versions.speaks(SpecVersion::V1_0_0) && !versions.speaks(SpecVersion::V1_1_0));
    assert!(
        bench
            .runtime
            .version("p1")
            .await
            .unwrap()
            .speaks(SpecVersion::V1_1_0)
    );
    let record = bench.plugins[0].records().unwrap().remove(0);
    assert_eq!(record.stdin, json!({"cniVersion": "1.1.0"}));
}

fn ids(containers: &[&str]) -> Vec<AttachmentId> {
    let id = |container: &&str| Attachment::new(*container, "eth0").id();
    containers.iter().map(id).collect()
}

#[tokio::test]
async fn duty_36_gc_runs_from_1_1_0_and_where_it_is_not_switched_off() {
    let old = Bench::at("1.0.0", vec![Script::new()]);
    let ran = old.runtime.gc(&old.conflist, &[], Vec::new).await.unwrap();
    assert_eq!(ran, Ran::OlderThan(SpecVersion::V1_1_0));
    let mut new = Bench::new(vec![Script::new()]);
    assert_eq!(
        new.runtime.gc(&new.conflist, &[], Vec::new).await.unwrap(),
        Ran::Yes
    );
    new.conflist = switched(&new.conflist, "disableGC");
    assert_eq!(
        new.runtime.gc(&new.conflist, &[], Vec::new).await.unwrap(),
        Ran::Disabled
    );
    assert_eq!((old.commands(0).len(), new.commands(0).len()), (0, 1));
}

#[tokio::test]
async fn duty_37_gc_is_told_what_is_valid_under_both_keys() {
    let bench = Bench::new(vec![Script::new()]);
    bench
        .runtime
        .gc(&bench.conflist, &[], || ids(&["c1", "c2"]))
        .await
        .unwrap();
    let stdin = bench.plugins[0].records().unwrap().remove(0).stdin;
    let valid = json!([
        {"containerID": "c1", "ifname": "eth0"}, {"containerID": "c2", "ifname": "eth0"},
    ]);
    assert_eq!(stdin["cni.dev/valid-attachments"], valid);
    assert_eq!(stdin["cni.dev/attachments"], valid);
}

#[tokio::test]
async fn duty_38_what_is_known_to_be_stale_gets_a_del_before_gc() {
    let bench = Bench::new(vec![Script::new()]);
    let (stale_one, stale_two) = (Attachment::new("s1", "eth0"), Attachment::new("s2", "eth0"));
    let stale: Vec<Stale<'_>> = [&stale_one, &stale_two]
        .into_iter()
        .map(|attachment| Stale {
            conflist: &bench.conflist,
            attachment,
            result: None,
        })
        .collect();
    bench
        .runtime
        .gc(&bench.conflist, &stale, || ids(&["c1"]))
        .await
        .unwrap();
    let records = bench.plugins[0].records().unwrap();
    let calls: Vec<_> = records
        .iter()
        .map(|r| {
            (
                r.command.as_str(),
                r.environment["CNI_CONTAINERID"].as_str(),
            )
        })
        .collect();
    assert_eq!(calls, [("DEL", "s1"), ("DEL", "s2"), ("GC", "")]);
}

#[tokio::test]
async fn duty_39_gc_has_no_parameters_of_an_attachment() {
    let bench = Bench::new(vec![Script::new()]);
    bench
        .runtime
        .gc(&bench.conflist, &[], Vec::new)
        .await
        .unwrap();
    let record = bench.plugins[0].records().unwrap().remove(0);
    for name in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
        assert_eq!(record.environment[name], "", "{name}");
    }
    assert_eq!(record.stdin.get("runtimeConfig"), None);
    assert_eq!(record.stdin.get("prevResult"), None);
}

#[tokio::test]
async fn duty_41_a_container_has_one_operation_at_a_time_over_all_attachments() {
    let bench = Bench::new(vec![Script::new()]);
    let gate = bench.path("gate");
    let held = Answer {
        wait_for: Some(gate.clone()),
        ..attaches()
    };
    bench.plugins[0]
        .set_script(&Script::new().on("ADD", held))
        .unwrap();
    let second = Attachment::new("c1", "net1").in_netns(NETNS);
    let neighbour = Attachment::new("c2", "eth0");
    let watcher = async {
        until(|| bench.commands(0) == ["ADD"]).await;
        // Another container passes; what it does proves that the first one had time.
        bench
            .runtime
            .del(&bench.conflist, &neighbour, None)
            .await
            .unwrap();
        assert_eq!(bench.commands(0), ["ADD", "DEL"]);
        std::fs::write(&gate, "").unwrap();
    };
    let (first, other, ()) = tokio::join!(
        bench.add(),
        bench.runtime.del(&bench.conflist, &second, None),
        watcher
    );
    first.unwrap();
    other.unwrap();
    assert_eq!(bench.commands(0), ["ADD", "DEL", "DEL"]);
}

#[tokio::test]
async fn duty_42_gc_waits_for_add_and_asks_what_is_valid_afterwards() {
    let bench = Bench::new(vec![Script::new()]);
    let gate = bench.path("gate");
    let held = Answer {
        wait_for: Some(gate.clone()),
        ..attaches()
    };
    bench.plugins[0]
        .set_script(&Script::new().on("ADD", held))
        .unwrap();
    let asked = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::SeqCst;
    let collected = async {
        until(|| bench.commands(0) == ["ADD"]).await;
        let gc = bench.runtime.gc(&bench.conflist, &[], || {
            asked.store(true, order);
            ids(&["c1"])
        });
        let release = async {
            // A version request proves that the runtime was free to run the GC, and did not.
            bench.runtime.version("p0").await.unwrap();
            assert!(!asked.load(order));
            std::fs::write(&gate, "").unwrap();
        };
        tokio::join!(gc, release).0.unwrap();
    };
    let (added, ()) = tokio::join!(bench.add(), collected);
    added.unwrap();
    assert_eq!(bench.commands(0), ["ADD", "VERSION", "GC"]);
}

#[tokio::test]
async fn duty_43_a_failed_add_gets_a_del_before_anything_else() {
    let script = Script::new().on("ADD", fails(100)).on("ADD", attaches());
    let bench = Bench::new(vec![script]);
    let error = bench.add().await.unwrap_err();
    assert!(!error.nothing_ran());
    let early = bench.add().await.unwrap_err();
    assert!(matches!(early.kind(), Failure::AlreadyAttached { .. }));
    bench.del(None).await.unwrap();
    bench.add().await.unwrap();
    assert_eq!(bench.commands(0), ["ADD", "DEL", "ADD"]);
}

#[tokio::test]
async fn duty_44_scenario_04_del_uses_what_add_used_whatever_became_of_the_file() {
    let bench = Bench::new(vec![Script::new()]);
    let file = bench.path("10.conflist");
    let list = json!({"cniVersion": "1.1.0", "name": "podnet",
        "plugins": [{"type": "p0", "subnet": "10.0.0.0/8"}]});
    std::fs::write(&file, list.to_string()).unwrap();
    let loaded = Conflist::load(&file).unwrap();
    let pinned = loaded.bytes().to_vec();
    let added = bench.runtime.add(&loaded, &attachment()).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    let kept = Conflist::parse(&pinned, &file).unwrap();
    bench
        .runtime
        .del(&kept, &attachment(), Some(&added.bytes))
        .await
        .unwrap();
    let records = bench.plugins[0].records().unwrap();
    assert_eq!(records[1].stdin["subnet"], "10.0.0.0/8");
}

#[tokio::test]
async fn duty_45_attachments_of_a_container_see_one_configuration() {
    let bench = Bench::new(vec![Script::new()]);
    bench.add().await.unwrap();
    let second = Attachment::new("c1", "net1").in_netns(NETNS);
    bench.runtime.add(&bench.conflist, &second).await.unwrap();
    let records = bench.plugins[0].records().unwrap();
    assert_eq!(records[0].stdin, records[1].stdin);
    assert_ne!(
        records[0].environment["CNI_IFNAME"],
        records[1].environment["CNI_IFNAME"]
    );
}

#[tokio::test]
async fn duty_46_the_namespace_is_left_to_its_owner() {
    let bench = Bench::new(vec![Script::new()]);
    let file = bench.path("sandbox-key");
    std::fs::write(&file, "as it was").unwrap();
    let attachment = Attachment::new("c1", "eth0").in_netns(&file);
    bench
        .runtime
        .del(&bench.conflist, &attachment, None)
        .await
        .unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "as it was");
}

#[tokio::test]
async fn duty_48_add_goes_forward_chains_results_and_stops_at_the_first_error() {
    let first = Script::new().on("ADD", answers(result("1.1.0", "10.0.0.2/8")));
    let third = Script::new().on("ADD", fails(100));
    let bench = Bench::new(vec![first, Script::new(), third, Script::new()]);
    let error = bench.add().await.unwrap_err();
    assert_eq!((error.plugin(), error.code()), (Some("p2"), Some(100)));
    let seen = |plugin: usize| bench.plugins[plugin].records().unwrap().remove(0).stdin;
    assert_eq!(seen(0).get("prevResult"), None);
    for plugin in [1, 2] {
        assert_eq!(seen(plugin)["prevResult"], result("1.1.0", "10.0.0.2/8"));
    }
    assert!(bench.commands(3).is_empty());
}

#[tokio::test]
async fn duty_49_the_result_is_plain_data_that_outlives_the_process() {
    let script = Script::new().on("ADD", answers(result("1.0.0", "10.0.0.2/8")));
    let bench = Bench::new(vec![script]);
    let added = bench.add().await.unwrap();
    let journal = serde_json::to_vec(&json!({
        "conflist": bench.conflist.bytes(), "attachment": attachment(), "result": added.bytes,
    }))
    .unwrap();
    let read: Value = serde_json::from_slice(&journal).unwrap();
    let bytes = |key: &str| -> Vec<u8> { serde_json::from_value(read[key].clone()).unwrap() };
    let kept: Attachment = serde_json::from_value(read["attachment"].clone()).unwrap();
    let conflist = Conflist::parse(&bytes("conflist"), Path::new("journal")).unwrap();
    let later = runtime(bench.directory.path(), LONG);
    later
        .del(&conflist, &kept, Some(&bytes("result")))
        .await
        .unwrap();
    let records = bench.plugins[0].records().unwrap();
    assert_eq!(
        records[1].stdin["prevResult"],
        result("1.1.0", "10.0.0.2/8")
    );
    assert_eq!(
        records[1].environment["CNI_ARGS"],
        records[0].environment["CNI_ARGS"]
    );
}

#[tokio::test]
async fn duty_50_del_goes_in_reverse_and_stops_at_the_first_error() {
    let bench = Bench::new(vec![
        Script::new(),
        Script::new().on("DEL", fails(100)),
        Script::new(),
    ]);
    let error = bench.del(None).await.unwrap_err();
    assert_eq!(error.plugin(), Some("p1"));
    let called = [0, 1, 2].map(|plugin| bench.commands(plugin).len());
    assert_eq!(called, [0, 1, 1]);
    bench.plugins[1].set_script(&Script::new()).unwrap();
    bench.del(None).await.unwrap();
    assert_eq!(bench.commands(0), ["DEL"]);
}

#[tokio::test]
async fn duty_51_check_goes_forward_with_the_final_result() {
    let last = Script::new()
        .on("ADD", answers(result("1.1.0", "10.0.0.3/8")))
        .on("CHECK", Answer::default());
    let middle = Script::new()
        .on("CHECK", Answer::default())
        .on("CHECK", fails(100));
    let bench = Bench::new(vec![Script::new(), middle, last]);
    let added = bench.add().await.unwrap();
    let check = || {
        bench
            .runtime
            .check(&bench.conflist, attachment_static(), &added.bytes)
    };
    check().await.unwrap();
    for plugin in &bench.plugins {
        let record = plugin.records().unwrap().remove(1);
        assert_eq!(record.stdin["prevResult"], result("1.1.0", "10.0.0.3/8"));
    }
    assert_eq!(check().await.unwrap_err().plugin(), Some("p1"));
    assert_eq!(bench.commands(2), ["ADD", "CHECK"]);
}

#[tokio::test]
async fn duty_52_gc_goes_on_over_errors_and_reports_all() {
    let failing = || Script::new().on("GC", fails(100));
    let bench = Bench::new(vec![failing(), Script::new(), failing()]);
    let error = bench
        .runtime
        .gc(&bench.conflist, &[], Vec::new)
        .await
        .unwrap_err();
    let plugins: Vec<_> = error.errors.iter().map(CniError::plugin).collect();
    assert_eq!(plugins, [Some("p0"), Some("p2")]);
    assert!(error.to_string().contains("plugin p0") && error.to_string().contains("plugin p2"));
    assert_eq!(bench.commands(1), ["GC"]);
}

#[tokio::test]
async fn duty_57_a_result_of_another_version_is_converted_on_the_way() {
    let first = Script::new().on("ADD", answers(result("1.0.0", "10.0.0.2/8")));
    let bench = Bench::at("0.4.0", vec![first, Script::new()]);
    let added = bench.add().await.unwrap();
    let mut expected = result("0.4.0", "10.0.0.2/8");
    expected["ips"][0]["version"] = json!("4");
    assert_eq!(
        bench.plugins[1].records().unwrap()[0].stdin["prevResult"],
        expected
    );
    assert_eq!(
        serde_json::from_slice::<Value>(&added.bytes).unwrap(),
        expected
    );
    let view = added.parsed.for_sandbox(Path::new(NETNS), "eth0");
    assert_eq!(view.ipv4().unwrap().address.to_string(), "10.0.0.2/8");
}
