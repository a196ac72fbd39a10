use super::*;

#[test]
fn states_are_told_in_two_vocabularies() {
    for (words, state) in [
        ("SANDBOX_READY", State::Running),
        ("running", State::Running),
        ("SANDBOX_NOTREADY", State::Stopped),
        ("created", State::Created),
        ("", State::Stopped),
    ] {
        assert_eq!(of_words(words), state, "{words}");
    }
    assert_eq!(of_status(Status::PAUSED), State::Running);
    assert_eq!(of_status(Status::UNKNOWN), State::Stopped);
}
