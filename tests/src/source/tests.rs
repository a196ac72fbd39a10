use super::*;

#[test]
fn comments_are_blank() {
    let source = "a // unsafe\n/* b /* c */ d */ e\n";
    assert_eq!(code_of(source), "a          \n                  e\n");
}

#[test]
fn literals_are_blank() {
    for literal in [
        r#""unsafe \" unsafe""#,
        r##"r#"unsafe " unsafe"#"##,
        "b\"unsafe\"",
        "br\"unsafe\"",
        "c\"unsafe\"",
        "'x'",
        "'\\''",
        "'\\u{1F600}'",
        "'ß'",
    ] {
        let source = format!("f({literal});");
        let blank = " ".repeat(literal.len());
        assert_eq!(code_of(&source), format!("f({blank});"), "{literal}");
    }
}

#[test]
fn lifetimes_and_raw_words_are_code() {
    for code in [
        "fn f<'a>(x: &'a str)",
        "r#type",
        "for_r",
        "&'static str",
        "expr",
    ] {
        assert_eq!(code_of(code), code);
    }
}

#[test]
fn a_literal_of_several_lines_keeps_the_lines() {
    assert_eq!(code_of("a\"b\nc\"d").lines().count(), 2);
}

#[test]
fn a_word_is_whole() {
    assert!(has_word("unsafe { }", "unsafe"));
    assert!(has_word("(unsafe)", "unsafe"));
    assert!(!has_word("#![forbid(unsafe_code)]", "unsafe"));
    assert!(!has_word("not_unsafe", "unsafe"));
}

#[test]
fn lines_of_code_are_neither_blank_nor_comment() {
    let source = "//! a\n\nfn f() {\n    // b\n    let c = \"\n  d\n\";\n}\n/* e\n f */\n";
    // The block comment's lines count: the house has none.
    assert_eq!(code_lines("fn f() {}\n// a\n\n    g();"), 2);
    assert_eq!(code_lines(source), 7);
}

#[test]
fn functions_are_measured_from_fn_to_brace() {
    let code =
        "impl A {\n    fn f(\n        x: [u8; 2],\n    ) {\n        if a {\n        }\n    }\n}\n";
    let [f] = functions_of(code).try_into().unwrap();
    assert_eq!((f.name.as_str(), f.line, f.length), ("f", 2, 6));
}

#[test]
fn a_declaration_has_no_length() {
    assert_eq!(functions_of("trait A { fn f(&self); }\nfn g() {}").len(), 1);
    assert_eq!(
        functions_of("type A = fn (u8) -> u8;\nlet x: fn() = y;"),
        []
    );
}
