//! pixeld(8): serves POST /pixel.

use std::process::ExitCode;

fn main() -> ExitCode {
    pixeld::daemon::main().into()
}
