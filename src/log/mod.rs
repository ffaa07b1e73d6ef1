//! The log. Sending an [`Event`] never blocks: a bounded queue takes it, and one thread writes it. Events that do
//! not fit into the queue are dropped and counted.

mod caller;
mod event;
mod journal_fields;
mod message_catalog;
mod recent_events;
mod sink;
mod write_queue;

pub use crate::control::Level;
pub use caller::{Caller, Client};
pub use event::{Event, counted};
pub use journal_fields::Fields;
pub use message_catalog::EventKind;
pub use recent_events::RecordedEvent;
pub use sink::{Sink, Target};
pub use write_queue::Log;
