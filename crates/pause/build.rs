//! Compiles the sandbox's process, `process/pause.rs`, into `OUT_DIR/pause`.
//!
//! It is not a cargo binary, because a `no_std` binary needs `panic = "abort"` in the profile
//! of the whole workspace. The compiler that cargo uses is called directly instead, with the
//! same target and linker, and with flags that make the result static and free of any library.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "process/pause.rs";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-changed=build.rs");
    let target = env::var("TARGET")?;
    let output = Path::new(&env::var("OUT_DIR")?).join("pause");

    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc
        .args([SOURCE, "--crate-name=pause", "--crate-type=bin", "--edition=2024"])
        .args(["-Dwarnings", "-Cpanic=abort", "-Copt-level=s", "-Cdebuginfo=0", "-Cstrip=symbols"])
        .args(["-Crelocation-model=static"])
        .arg("-Clink-args=-nostartfiles -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,norelro")
        .args(["--target", &target])
        .arg("-o")
        .arg(&output);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let status = rustc.status()?;
    if !status.success() {
        return Err(format!("{rustc:?} failed: {status}").into());
    }
    Ok(())
}
