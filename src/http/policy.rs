use std::time::Duration;

use hyper::StatusCode;

/// The settings that apply to clients. A reload of the configuration replaces all of them.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Maximum size of a request body, in bytes.
    pub body_limit: usize,
    /// Maximum size of the head of a request, in bytes.
    pub head_limit: usize,
    /// Maximum number of requests on one connection.
    pub requests_limit: usize,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// From the start of a response until the client has received it.
    pub write_timeout: Duration,
    /// From the start of a connection, or the end of a response, to the first byte of the next request.
    pub keep_alive_timeout: Duration,
    /// The status of the response to a pixel whose value is outside 0..=255.
    pub range_error_status: StatusCode,
}

impl Policy {
    /// Returns the shortest of all timeouts.
    pub fn shortest_timeout(&self) -> Duration {
        self.head_timeout.min(self.body_timeout).min(self.write_timeout).min(self.keep_alive_timeout)
    }
}
