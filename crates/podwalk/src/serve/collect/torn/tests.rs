use super::*;

fn conflist(plugins: Value) -> Conflist {
    let list = serde_json::json!({"cniVersion": "1.0.0", "name": "net", "plugins": plugins});
    Conflist::parse(list.to_string().as_bytes(), Path::new("10-net.conflist")).unwrap()
}

#[test]
fn addresses_are_where_the_ipam_says() {
    let ipam = |ipam: Value| serde_json::json!([{"type": "bridge", "ipam": ipam}]);
    let of = |plugins| {
        directories(&conflist(plugins))
            .into_iter()
            .collect::<Vec<_>>()
    };
    let usual = of(ipam(serde_json::json!({"type": "host-local"})));
    assert_eq!(usual, [Path::new("/var/lib/cni/networks/net")]);
    let said = of(ipam(
        serde_json::json!({"type": "host-local", "dataDir": "/run/addresses"}),
    ));
    assert_eq!(said, [Path::new("/run/addresses/net")]);
    assert!(of(ipam(serde_json::json!({"type": "dhcp", "dataDir": "/run"}))).is_empty());
    assert!(of(serde_json::json!([{"type": "loopback"}])).is_empty());
}

#[tokio::test]
async fn only_empty_files_of_addresses_are_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for empty in [
        "lock",
        "10.1.0.2",
        "fd00::2",
        "last_reserved_ip.0",
        "10.1.0",
        ".keep",
    ] {
        fs::write(path.join(empty), "").unwrap();
    }
    fs::write(path.join("10.1.0.3"), "pod-1\r\neth0").unwrap();
    fs::create_dir(path.join("10.1.0.4")).unwrap();
    give_back_in(path).await.unwrap();
    for gone in ["10.1.0.2", "fd00::2"] {
        assert!(!path.join(gone).exists(), "{gone}");
    }
    for kept in [
        "lock",
        "last_reserved_ip.0",
        "10.1.0",
        ".keep",
        "10.1.0.3",
        "10.1.0.4",
    ] {
        assert!(path.join(kept).exists(), "{kept}");
    }
}

#[tokio::test]
async fn where_host_local_never_worked_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    give_back_in(&directory.path().join("net")).await.unwrap();
    give_back_in(directory.path()).await.unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_local_at_work_is_waited_for_and_never_disturbed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let held = File::create(path.join(LOCK)).unwrap();
    held.lock().unwrap();
    fs::write(path.join("10.1.0.2"), "").unwrap();
    let error = give_back_in(path).await.unwrap_err();
    assert!(error.to_string().contains("lock is held"), "{error}");
    assert!(path.join("10.1.0.2").exists());
    let (given_back, ()) = tokio::join!(give_back_in(path), async {
        tokio::time::sleep(PAUSE * 3).await;
        fs::write(path.join("10.1.0.2"), "pod-1").unwrap();
        held.unlock().unwrap();
    });
    given_back.unwrap();
    assert!(path.join("10.1.0.2").exists(), "it had become a pod's");
}
