//! The log. Sending an [`Event`] never waits: it goes into a bounded queue, one thread writes it out, and what
//! does not fit is counted.

mod caller;
mod event;
mod event_bus;
mod event_kind;
mod fields;
mod sink;
mod write_queue;

pub use crate::control::Level;
pub use caller::{Caller, Client};
pub use event::{Event, counted};
pub use event_bus::RecordedEvent;
pub use event_kind::EventKind;
pub use fields::Fields;
pub use sink::{Sink, Target};
pub use write_queue::Log;
