//! pixeldctl(1): looks inside a running pixeld, and steers it.

use std::process::ExitCode;

fn main() -> ExitCode {
    pixeld::ctl::main().into()
}
