//! The messages of HTTP/1.1 (RFC 9110, RFC 9112) as bytes: parses and validates the heads of requests, and composes
//! responses in memory. It does no I/O, and never waits.
//!
//! A head is the first line of a message (request line or status line) and its header section. The manual calls the
//! whole head a header section.

mod buf_list;
mod policy;
pub mod request_head;
mod response;
mod response_head;

pub use buf_list::BufList;
pub use policy::Policy;
pub use response::Response;
pub use response_head::HeadWriter;
