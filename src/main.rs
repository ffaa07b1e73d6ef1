//! pixeld(8): serves POST /pixel.

use std::process::ExitCode;

use pixeld::daemon;

fn main() -> ExitCode {
    let exit = daemon::main();
    debug_assert!(daemon::EXITS.contains(&exit), "the manual does not list {exit:?}");
    exit.into()
}
