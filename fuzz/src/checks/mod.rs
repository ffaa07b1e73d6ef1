//! What must hold for every input. tests/corpus.rs includes this folder too.

mod body;
mod connection;
mod express;
mod oracle;
mod response;
mod scene;

pub use self::{body::body, connection::connection, express::express};
