//! pixeldctl(1): looks inside a running pixeld, and steers it.

use std::process::ExitCode;

use pixeld::ctl;

fn main() -> ExitCode {
    let exit = ctl::main();
    debug_assert!(ctl::EXITS.contains(&exit), "the manual does not list {exit:?}");
    exit.into()
}
