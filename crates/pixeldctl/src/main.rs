//! pixeldctl(1): inspects and controls a running pixeld.

use std::process::ExitCode;

fn main() -> ExitCode {
    let exit = pixeldctl::main();
    debug_assert!(pixeldctl::EXITS.contains(&exit), "the manual does not list {exit:?}");
    exit.into()
}
