use std::time::Duration;

use hyper::StatusCode;

/// What the clients of a worker may take; replaced as a whole when the configuration changes.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Bytes of a request's body.
    pub body_limit: usize,
    /// Bytes of a request's head.
    pub head_limit: usize,
    /// Requests on one connection.
    pub requests_limit: usize,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Duration,
    /// From the end of the head to the end of the body.
    pub body_timeout: Duration,
    /// For a client to take its answer.
    pub write_timeout: Duration,
    /// Between two requests.
    pub keep_alive_timeout: Duration,
    /// The status of an answer to a value that is out of range.
    pub range_error_status: StatusCode,
}

impl Policy {
    /// No phase can time out sooner than this after it began.
    pub fn shortest_timeout(&self) -> Duration {
        self.head_timeout.min(self.body_timeout).min(self.write_timeout).min(self.keep_alive_timeout)
    }
}
