//! A shim that does what a script tells it; see `podwalk_testkit::scripted_shim`.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    podwalk_testkit::scripted_shim::main()
}
