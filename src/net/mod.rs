mod address;
mod listener;
mod stream;

pub use address::{Address, InvalidAddress};
pub use listener::{AdoptError, BindError, Listener};
pub use stream::{Socket, Stream};
