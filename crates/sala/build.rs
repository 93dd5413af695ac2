//! Rebuilds the binary when the meeting page was built anew. `make` builds the page; this script never does.

use std::path::Path;

const DIST: &str = "../../web/dist";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SALA_WEB_BUILD");
    // A path that is not there would make cargo run this script, and build the crate, every time.
    if Path::new(DIST).exists() {
        println!("cargo::rerun-if-changed={DIST}");
    }
}
