use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_missing_daemon_and_a_missing_pod_have_codes_of_their_own() {
    let no_daemon = ClientError::NoDaemon {
        path: "/run/x.sock".into(),
        source: std::io::ErrorKind::NotFound.into(),
    };
    assert_eq!(Exit::from(no_daemon).code, NO_DAEMON);
    let refused = |kind: &str| {
        ClientError::Refused(crate::api::ErrorAnswer {
            kind: kind.to_owned(),
            message: String::new(),
        })
    };
    assert_eq!(Exit::from(refused("not-found")).code, NO_SUCH_POD);
    assert_eq!(Exit::from(refused("failed")).code, FAILED);
}
