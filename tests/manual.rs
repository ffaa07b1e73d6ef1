//! The manual says what the programs really do, no less and no more.

mod support;

#[path = "manual/command_line.rs"]
mod command_line;
#[path = "manual/command_lines.rs"]
mod command_lines;
#[path = "manual/contract.rs"]
mod contract;
#[path = "manual/events.rs"]
mod events;
#[path = "manual/examples.rs"]
mod examples;
#[path = "manual/interface.rs"]
mod interface;
#[path = "manual/keys.rs"]
mod keys;
#[path = "manual/links.rs"]
mod links;
#[path = "manual/page.rs"]
mod page;
#[path = "manual/paths.rs"]
mod paths;
#[path = "manual/statistics.rs"]
mod statistics;
