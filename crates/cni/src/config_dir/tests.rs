use super::*;
use std::future::Future;
use std::time::Duration;

fn list(name: &str) -> String {
    format!(r#"{{"cniVersion": "1.0.0", "name": "{name}", "plugins": [{{"type": "a"}}]}}"#)
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.networks.iter().map(Conflist::name).collect()
}

/// A failure guard, not a measure.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("nothing was told")
}

/// Waits until the directory is told to be as wanted; what is told before may be a moment in
/// the middle of a change.
async fn told(watch: &mut ConfigWatch, wanted: impl Fn(&Loaded) -> bool) {
    soon(async { while !wanted(&watch.next().await.unwrap()) {} }).await;
}

#[test]
fn conflists_come_first_and_the_first_network_is_the_default() {
    let directory = tempfile::tempdir().unwrap();
    for (file, content) in [
        ("20.conflist", list("twenty")),
        ("10.conflist", list("ten")),
        ("05.conf", r#"{"name": "five", "type": "a"}"#.to_owned()),
        ("06.json", list("six")),
        ("00.txt", list("never")),
    ] {
        std::fs::write(directory.path().join(file), content).unwrap();
    }
    std::fs::create_dir(directory.path().join("00.conflist")).unwrap();
    let loaded = ConfigDir::new(directory.path()).load();
    assert_eq!(names(&loaded), ["ten", "twenty", "five", "six"]);
    assert_eq!(loaded.default_network().unwrap().name(), "ten");
    assert_eq!(
        loaded.network("six").unwrap().path(),
        directory.path().join("06.json")
    );
    assert!(loaded.network("never").is_none());
    assert!(loaded.broken.is_empty());
}

#[test]
fn broken_files_are_reported_and_the_others_are_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("00.conflist"), "{").unwrap();
    std::fs::write(path("10.conflist"), list("one")).unwrap();
    std::fs::write(path("20.conflist"), list("one")).unwrap();
    std::os::unix::fs::symlink("/nowhere", path("30.conf")).unwrap();
    let loaded = ConfigDir::new(directory.path()).load();
    assert_eq!(names(&loaded), ["one"]);
    assert_eq!(loaded.networks[0].path(), path("10.conflist"));
    let broken: Vec<&Path> = loaded
        .broken
        .iter()
        .map(|(path, _)| path.as_path())
        .collect();
    assert_eq!(
        broken,
        [path("00.conflist"), path("20.conflist"), path("30.conf")]
    );
    match &loaded.broken[1].1 {
        ConfigError::DuplicateNetwork { name, first, .. } => {
            assert_eq!((name.as_str(), first), ("one", &path("10.conflist")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_directory_has_no_networks_and_a_file_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let missing = ConfigDir::new(directory.path().join("net.d")).load();
    assert!(missing.networks.is_empty() && missing.broken.is_empty());
    std::fs::write(directory.path().join("net.d"), "").unwrap();
    let file = ConfigDir::new(directory.path().join("net.d")).load();
    assert!(file.networks.is_empty());
    assert_eq!(file.broken.len(), 1);
}

#[tokio::test]
async fn changes_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("10.conflist"), list("one")).unwrap();
    let mut watch = ConfigDir::new(directory.path()).watch().unwrap();
    assert_eq!(names(&soon(watch.next()).await.unwrap()), ["one"]);
    std::fs::write(path("20.conflist"), list("two")).unwrap();
    told(&mut watch, |loaded| names(loaded) == ["one", "two"]).await;
    std::fs::write(path("new"), list("uno")).unwrap();
    std::fs::rename(path("new"), path("10.conflist")).unwrap();
    told(&mut watch, |loaded| names(loaded) == ["uno", "two"]).await;
    std::fs::remove_file(path("10.conflist")).unwrap();
    told(&mut watch, |loaded| names(loaded) == ["two"]).await;
    std::fs::write(path("20.conflist"), "{").unwrap();
    told(&mut watch, |loaded| {
        names(loaded).is_empty() && loaded.broken.len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_dropped_swallows_no_change() {
    let directory = tempfile::tempdir().unwrap();
    let mut watch = ConfigDir::new(directory.path()).watch().unwrap();
    assert!(soon(watch.next()).await.unwrap().networks.is_empty());
    std::fs::write(directory.path().join("10.conflist"), list("one")).unwrap();
    let mut last = Vec::new();
    for _ in 0..100 {
        tokio::select! {
            biased;
            loaded = watch.next() => last = names(&loaded.unwrap()).into_iter().map(str::to_owned).collect(),
            () = tokio::task::yield_now() => {}
        }
    }
    if last != ["one"] {
        told(&mut watch, |loaded| names(loaded) == ["one"]).await;
    }
}

#[tokio::test]
async fn plugin_objects_of_a_network_are_watched_too() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("10.conflist"), list("one")).unwrap();
    let mut watch = ConfigDir::new(directory.path()).watch().unwrap();
    soon(watch.next()).await.unwrap();
    std::fs::create_dir(directory.path().join("one")).unwrap();
    std::fs::write(directory.path().join("one/b.conf"), r#"{"type": "b"}"#).unwrap();
    told(&mut watch, |loaded| {
        loaded
            .networks
            .first()
            .is_some_and(|network| network.plugins().len() == 2)
    })
    .await;
}

#[tokio::test]
async fn a_directory_that_appears_vanishes_and_is_replaced_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let net_d = directory.path().join("etc/cni/net.d");
    let mut watch = ConfigDir::new(&net_d).watch().unwrap();
    assert!(soon(watch.next()).await.unwrap().networks.is_empty());
    std::fs::create_dir_all(&net_d).unwrap();
    std::fs::write(net_d.join("10.conflist"), list("one")).unwrap();
    told(&mut watch, |loaded| names(loaded) == ["one"]).await;
    std::fs::remove_dir_all(directory.path().join("etc")).unwrap();
    told(&mut watch, |loaded| names(loaded).is_empty()).await;
    let fresh = directory.path().join("fresh");
    std::fs::create_dir_all(&fresh).unwrap();
    std::fs::write(fresh.join("10.conflist"), list("two")).unwrap();
    std::fs::create_dir_all(net_d.parent().unwrap()).unwrap();
    std::fs::rename(&fresh, &net_d).unwrap();
    told(&mut watch, |loaded| names(loaded) == ["two"]).await;
    std::fs::rename(&net_d, directory.path().join("away")).unwrap();
    std::fs::create_dir(&net_d).unwrap();
    std::fs::write(net_d.join("10.conflist"), list("three")).unwrap();
    told(&mut watch, |loaded| names(loaded) == ["three"]).await;
}

/// The watcher drops its watch of what is moved, and it is the same directory when it is back.
#[tokio::test]
async fn a_directory_that_was_away_for_a_moment_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let (net_d, away) = (
        directory.path().join("net.d"),
        directory.path().join("away"),
    );
    let write = |file: &str, name: &str| std::fs::write(net_d.join(file), list(name)).unwrap();
    std::fs::create_dir(&net_d).unwrap();
    write("10.conflist", "one");
    let mut watch = ConfigDir::new(&net_d).watch().unwrap();
    told(&mut watch, |loaded| names(loaded) == ["one"]).await;
    std::fs::rename(&net_d, &away).unwrap();
    std::fs::rename(&away, &net_d).unwrap();
    // More often than the move itself is told of.
    for count in 2..20 {
        write(&format!("{count}0.conflist"), &format!("n{count}"));
        told(&mut watch, |loaded| loaded.networks.len() == count).await;
    }
}
