/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 200: the pixel was accepted.
    Ok,
    /// 422: the body is not a pixel.
    Invalid,
    /// 422, or `pixel.range-error-status`: `value` is not in 0 to 255.
    OutOfRange,
    /// 400: not valid HTTP, or a body that cannot be decoded. 505: the major version of HTTP is not 1.
    Malformed,
    /// 404: another path.
    NotFound,
    /// 405: another method.
    MethodNotAllowed,
    /// 408: the header section or the body did not arrive in time.
    TimedOut,
    /// 413: the body is larger than the limit.
    TooLarge,
    /// 415: the body has a content encoding.
    UnsupportedMediaType,
    /// 431: the header section is larger than the limit. 414: the request line alone is.
    HeadTooLarge,
    /// 501: the transfer encoding is not chunked.
    NotImplemented,
    /// 503: the daemon was drained.
    Unavailable,
    /// 500, or no response: internal error of the daemon.
    Failed,
}

impl Outcome {
    /// All outcomes, in the order of their discriminants.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Invalid,
        Self::OutOfRange,
        Self::Malformed,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::TimedOut,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::HeadTooLarge,
        Self::NotImplemented,
        Self::Unavailable,
        Self::Failed,
    ];

    /// Returns its name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Invalid => "invalid",
            Self::OutOfRange => "out of range",
            Self::Malformed => "malformed",
            Self::NotFound => "not found",
            Self::MethodNotAllowed => "method not allowed",
            Self::TimedOut => "timed out",
            Self::TooLarge => "too large",
            Self::UnsupportedMediaType => "unsupported media type",
            Self::HeadTooLarge => "head too large",
            Self::NotImplemented => "not implemented",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}
