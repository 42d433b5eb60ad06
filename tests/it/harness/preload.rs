//! Libraries that replace functions of the C library in the programs of a site, for `LD_PRELOAD`.

use std::path::PathBuf;
use std::process::Command;

use super::directory::run_directory;

/// Compiles a library from C in the run's directory; `name` is its own.
pub(super) fn compile(name: &str, source: &str) -> PathBuf {
    let path = |extension: &str| run_directory().join(name).with_extension(extension);
    let (source_path, library) = (path("c"), path("so"));
    std::fs::write(&source_path, source).expect("the run's directory is writable");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source_path]).arg("-ldl").output();
    let compiled = compiled.expect("cc runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    library
}
