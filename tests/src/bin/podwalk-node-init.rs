//! The first process of a test node. See [`podwalk_tests::node::init`].
#![forbid(unsafe_code)]

use podwalk_tests::node::init;

fn main() {
    let code = match init::main(std::env::args_os().skip(1)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("podwalk-node-init: {error:#}");
            init::FAILED
        }
    };
    std::process::exit(code)
}
