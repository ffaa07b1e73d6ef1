use std::{
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::PATIENCE;

pub const PIXELD: &str = env!("CARGO_BIN_EXE_pixeld");
/// The program of another package, which Cargo does not name here. It puts it beside pixeld.
pub const PIXELDCTL: &str = concat!(env!("CARGO_BIN_EXE_pixeld"), "ctl");

/// Runs a program that ends by itself and says less than a pipe holds, so nobody has to read
/// meanwhile.
pub fn run(command: &mut Command) -> Output {
    let mut child = command.stdin(Stdio::null()).spawn().expect("the program can be started");
    let deadline = Instant::now() + 2 * PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("{command:?} does not end: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

/// As [`run`], with stdout and stderr captured.
pub fn captured(command: &mut Command) -> Output {
    run(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// pixeldctl, told which socket to use.
pub fn ctl(socket: &Path, arguments: &[&str]) -> Output {
    captured(Command::new(PIXELDCTL).args(arguments).env_clear().env("PIXELDCTL_SOCKET", socket))
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The exit code of a program that was not killed.
pub fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}
