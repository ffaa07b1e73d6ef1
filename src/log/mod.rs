//! What the daemon tells its operator. Telling never waits: an [`Event`] goes into a bounded
//! queue, one thread writes it out, and what does not fit is counted.

mod event;
mod fields;
mod kind;
mod news;
mod queue;
mod sink;

pub use event::{Event, Level, counted};
pub use fields::Fields;
pub use kind::EventKind;
pub use news::Told;
pub use queue::Log;
pub use sink::{Sink, Target};
