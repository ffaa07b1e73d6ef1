mod address;
mod bind;
mod files;
mod listener;
mod stream;

pub use address::{Address, InvalidAddress};
pub use bind::BindError;
pub use files::Files;
pub use listener::{AdoptError, Listener};
pub use stream::{Socket, Stream};
