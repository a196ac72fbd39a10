use super::*;

#[test]
fn errors_win_over_warnings() {
    let log = br#"{"level":"warning","msg":"unable to get oom kill count"}
{"level":"error","msg":"runc create failed: no pids.max"}
"#;
    assert_eq!(messages(log), "runc create failed: no pids.max");
}

#[test]
fn warnings_are_better_than_nothing() {
    assert_eq!(messages(br#"{"level":"warning","msg":"hm"}"#), "hm");
    assert_eq!(messages(b"\n\n"), "");
}

#[test]
fn plain_text_is_taken_as_it_is() {
    assert_eq!(
        messages(b"unknown option\ntry --help\n"),
        "unknown option; try --help"
    );
    let mixed = b"plain\n{\"msg\":\"json\",\"level\":\"error\"}\n{\"no\":1}\n";
    assert_eq!(messages(mixed), "plain; json; {\"no\":1}");
}

#[test]
fn only_the_last_lines_are_kept() {
    let log: String = (0..100).map(|line| format!("line {line}\n")).collect();
    assert_eq!(
        messages(log.as_bytes()),
        "line 95; line 96; line 97; line 98; line 99"
    );
}

#[test]
fn what_is_too_long_or_no_text_is_cut_and_cleaned() {
    let shown = messages("é".repeat(10_000).as_bytes());
    assert_eq!(shown.chars().count(), SHOWN + 1);
    assert!(shown.ends_with('…'));
    assert_eq!(messages(b"a\x1b[31mred\xff"), "a[31mred\u{fffd}");
}
