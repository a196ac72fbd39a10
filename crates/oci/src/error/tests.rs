use super::*;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

fn source() -> io::Error {
    io::Error::from(io::ErrorKind::PermissionDenied)
}

#[test]
fn a_missing_runtime_says_where_it_was_looked_for_and_what_to_do() {
    let error = |searched: Vec<PathBuf>| OciError::RuntimeMissing {
        handler: "default".to_owned(),
        binary: "crun".into(),
        searched,
    };
    let text = error(vec!["/usr/bin".into(), "/bin".into()]).to_string();
    assert!(
        text.contains("crun was not found in /usr/bin, /bin; install it"),
        "{text}"
    );
    let text = error(Vec::new()).to_string();
    assert!(text.contains("crun was not found; install it"), "{text}");
}

#[test]
fn only_what_came_before_the_process_has_begun_nothing() {
    let path = || PathBuf::from("/x");
    let id = || "pod-1".to_owned();
    let before = [
        OciError::NotExecutable {
            path: path(),
            source: source(),
        },
        OciError::WrongFormat {
            path: path(),
            source: source(),
        },
        OciError::Exec {
            path: path(),
            source: source(),
        },
        OciError::NotEnlisted {
            verb: Verb::Run,
            id: id(),
            source: source(),
        },
        OciError::NotANamespace { path: path() },
        OciError::Namespace {
            path: path(),
            source: source(),
        },
    ];
    let after = [
        OciError::Deadline {
            binary: path(),
            verb: Verb::Run,
            id: id(),
            after: Duration::from_secs(1),
        },
        OciError::EndedAtOnce { id: id() },
        OciError::NeverRan { id: id(), pid: 7 },
        OciError::StillAlive {
            id: id(),
            pid: 7,
            after: Duration::from_secs(1),
        },
        OciError::Failed {
            binary: path(),
            verb: Verb::Start,
            id: id(),
            exit: ExitStatus::from_raw(256),
            message: "no".to_owned(),
        },
    ];
    assert!(before.iter().all(OciError::nothing_begun));
    assert!(!after.iter().any(OciError::nothing_begun));
}

#[test]
fn verbs_are_shown_as_they_are_typed() {
    let verbs = [
        Verb::Run,
        Verb::Start,
        Verb::State,
        Verb::Kill,
        Verb::Delete,
        Verb::Version,
    ];
    let shown: Vec<String> = verbs.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["run", "start", "state", "kill", "delete", "--version"]
    );
}
