//! The messages of HTTP/1.1 (RFC 9110, RFC 9112) as bytes: the header section of a request is parsed and judged
//! here, and that of a response is written. Nothing in this module reads from a socket or waits.

mod buf_list;
mod catch_panic;
mod policy;
pub mod request_head;
mod response;

pub use buf_list::BufList;
pub use catch_panic::catch_panic;
pub use policy::Policy;
pub use response::{HeadWriter, ReplyTo, Response};
