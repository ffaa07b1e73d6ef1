//! pixeldctl(1): inspects and controls a running pixeld.

use std::process::ExitCode;

use pixeld::ctl;

fn main() -> ExitCode {
    let exit = ctl::main();
    debug_assert!(ctl::EXITS.contains(&exit), "the manual does not list {exit:?}");
    exit.into()
}
