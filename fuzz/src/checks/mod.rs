//! What must hold for every input. src/fuzz_corpus.rs includes this folder too.

mod body;
mod chunks;
mod connection;
mod head;
mod oracle;
mod response;
mod scenario;
mod segments;

pub use self::{body::body, chunks::chunks, connection::connection, head::head, segments::segments};
