//! An illegal step does not compile.

#[test]
fn a_step_that_cannot_be_taken_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/the_whole_way.rs");
    cases.compile_fail("tests/ui/illegal_*.rs");
}
