//! The manual says what the programs really do, no less and no more.

mod command_line;
mod command_lines;
mod contract;
mod events;
mod examples;
mod interface;
mod keys;
mod links;
mod page;
mod paths;
mod statistics;
