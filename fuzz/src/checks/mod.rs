//! What must hold for every input. tests/corpus.rs includes this folder too.

mod body;
mod connection;
mod oracle;
mod response;

pub use self::{body::body, connection::connection};
