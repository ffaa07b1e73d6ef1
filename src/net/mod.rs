mod address;
mod bind;
mod fd_budget;
mod listener;
mod stream;

pub use address::{Address, InvalidAddress};
pub use bind::BindError;
pub use fd_budget::FdBudget;
pub use listener::Listener;
pub use stream::{Socket, Stream};
