use super::*;

#[test]
fn takes_what_container_engines_use() {
    for id in ["a", "0", "9f8e7d", "pod.one_two-3", &"x".repeat(128)] {
        assert_eq!(SandboxId::new(id).unwrap().as_str(), id);
        assert_eq!(id.parse::<SandboxId>().unwrap().to_string(), id);
    }
}

#[test]
fn refuses_what_would_leave_its_directory_or_become_an_option() {
    for id in [
        "..", "../x", "a/b", "/", ".", ".hidden", "-v", "--force", "_x",
    ] {
        assert!(
            matches!(SandboxId::new(id), Err(ConfigError::Id { .. })),
            "{id}"
        );
    }
}

#[test]
fn refuses_what_no_file_or_argument_can_be() {
    for id in ["", "a\0b", "a b", "a\nb", "ä", &"x".repeat(129)] {
        let error = SandboxId::new(id).unwrap_err();
        assert!(error.to_string().contains("sandbox id"), "{error}");
    }
}
