//! The manual says what the programs really do, no less and no more.

mod support;

#[path = "manual/events.rs"]
mod events;
#[path = "manual/examples.rs"]
mod examples;
#[path = "manual/interface.rs"]
mod interface;
#[path = "manual/page.rs"]
mod page;
