mod address;
mod files;
mod listener;
mod stream;

pub use address::{Address, InvalidAddress};
pub use files::Files;
pub use listener::{AdoptError, BindError, Listener};
pub use stream::{Socket, Stream};
