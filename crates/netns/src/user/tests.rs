use super::*;
use crate::foreign::Foreign;
use crate::mappings::Unmappable;

fn mappings(length: u32) -> Mappings {
    let all = vec![IdMapping {
        inside: 0,
        outside: 0,
        length,
    }];
    Mappings {
        uids: all.clone(),
        gids: all,
    }
}

fn pair() -> (Holder, OwnedFd) {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    (Holder(ours), theirs)
}

#[test]
fn refused_mappings_come_before_the_path_and_name_it() {
    let error = pin_owned(Path::new("/nowhere/pod"), &mappings(0)).unwrap_err();
    assert!(matches!(
        &error,
        Error::Unmappable {
            source: Unmappable::Empty { .. },
            ..
        }
    ));
    assert!(error.to_string().contains("for /nowhere/pod: "), "{error}");
}

#[test]
fn what_is_no_placeholder_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let full = directory.path().join("full");
    std::fs::write(&full, "precious").unwrap();
    match pin_owned(&full, &mappings(1)) {
        Err(Error::Foreign { found, .. }) => assert_eq!(found, Foreign::NotEmpty { bytes: 8 }),
        other => panic!("{other:?}"),
    }
    let missing = directory.path().join("missing");
    assert!(matches!(
        pin_owned(&missing, &mappings(1)),
        Err(Error::Missing { .. })
    ));
}

#[test]
fn a_plain_file_has_no_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plain");
    std::fs::write(&path, "").unwrap();
    assert!(matches!(owned(&path), Err(Error::NotPinned { .. })));
    assert!(matches!(
        user_namespace(&path),
        Err(Error::NotPinned { .. })
    ));
}

#[test]
fn our_own_namespaces_owner_is_found() {
    let own = File::open("/proc/self/ns/net").unwrap();
    let owner = owner(own.as_fd(), Path::new("/proc/self/ns/net")).unwrap();
    // As root of the host it is ours; in a sandbox with another user namespace it is not shown.
    assert!(matches!(owner, Owner::Ours | Owner::Elsewhere));
}

#[test]
fn a_holder_that_ended_is_told_and_not_waited_for() {
    let path = Path::new("/run/netns/pod");
    let (holder, theirs) = pair();
    send(&theirs, &7_i32.to_ne_bytes(), SendFlags::NOSIGNAL).unwrap();
    shutdown(&theirs, Shutdown::Both).unwrap();
    assert_eq!(holder.answer(path).unwrap(), 7);
    let unanswered = holder.answer(path);
    assert!(matches!(unanswered, Err(Error::HolderEnded { .. })));
    let unheard = holder.go_on(path);
    assert!(matches!(unheard, Err(Error::HolderEnded { .. })));
}

#[test]
fn a_holder_is_let_go_even_if_the_socket_has_copies() {
    let (holder, theirs) = pair();
    let copy = holder.0.try_clone().unwrap();
    drop(holder);
    let mut message = [0; 4];
    let (length, _) = recv(&theirs, &mut message, RecvFlags::empty()).unwrap();
    assert_eq!(length, 0);
    drop(copy);
}
