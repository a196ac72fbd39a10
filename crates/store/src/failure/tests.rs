//! A panic has words, most of the time.

use super::*;

#[test]
fn a_panic_becomes_a_failure_with_its_words() {
    let said = |failure: SledFailure| failure.to_string();
    let text = guarded::<()>(|| panic!("page {}", 7)).unwrap_err();
    assert_eq!(said(text), "the storage engine panicked: page 7");
    let literal = guarded::<()>(|| panic!("lost")).unwrap_err();
    assert_eq!(said(literal), "the storage engine panicked: lost");
    let other = guarded::<()>(|| std::panic::panic_any(7)).unwrap_err();
    assert_eq!(
        said(other),
        "the storage engine panicked: without a message"
    );
}
