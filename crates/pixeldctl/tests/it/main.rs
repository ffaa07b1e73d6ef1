//! Tests of pixeldctl that need no daemon. That there are integration tests has `cargo test` build the program, too,
//! which those of the daemon run.

#[path = "../../../../tests/it/manual/command_lines.rs"]
mod command_lines;
mod manual;
#[path = "../../../../tests/it/manual/page.rs"]
#[allow(dead_code)] // the daemon's tests use the rest
mod page;
