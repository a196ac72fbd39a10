//! A CNI plugin that does what a script tells it; see `podwalk_testkit::scripted_plugin`.

fn main() -> std::process::ExitCode {
    podwalk_testkit::scripted_plugin::main()
}
