//! The messages of HTTP/1.1 (RFC 9110, RFC 9112) as bytes. This module parses and validates the header sections of
//! requests, and writes those of responses. It never reads from a socket, and never waits.

mod buf_list;
mod catch_panic;
mod limits;
pub mod request_head;
mod response;
mod response_head;

pub use buf_list::BufList;
pub use catch_panic::catch_panic;
pub use limits::Policy;
pub use response::Response;
pub use response_head::{HeadWriter, ReplyTo};
