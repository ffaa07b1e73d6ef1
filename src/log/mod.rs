//! The log. Sending an [`Event`] never waits: it goes into a bounded queue, one thread writes it out, and what
//! does not fit is counted.

mod event;
mod event_bus;
mod fields;
mod kind;
mod queue;
mod sink;

pub use event::{Event, Level, counted};
pub use event_bus::RecordedEvent;
pub use fields::Fields;
pub use kind::EventKind;
pub use queue::Log;
pub use sink::{Sink, Target};
