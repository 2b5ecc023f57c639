//! Lets the linker leave the symbols of Node-API open: Node provides them when it loads the library. Tells the library
//! the version of its compiler.

use std::env;
use std::process::Command;

fn main() {
    napi_build::setup();
    let compiler = env::var_os("RUSTC").expect("cargo names the compiler");
    let output = Command::new(compiler).arg("--version").output().expect("the compiler tells its version");
    println!("cargo::rustc-env=REAM_COMPILER={}", String::from_utf8_lossy(&output.stdout).trim());
}
