/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 200: the pixel was accepted.
    Ok,
    /// 422: the body is no pixel.
    Invalid,
    /// 422, or as configured: `value` is not in 0..=255.
    OutOfRange,
    /// 400: the request, or its body, breaks the rules or breaks off. 505: the major version of HTTP is not 1.
    Malformed,
    /// 404: another path.
    NotFound,
    /// 405: another method.
    MethodNotAllowed,
    /// 408: head or body did not arrive in time.
    TimedOut,
    /// 413: the body is over the limit.
    TooLarge,
    /// 415: the body has a content encoding.
    UnsupportedMediaType,
    /// 431: the head is over the limit. 414: its request line alone is.
    HeadTooLarge,
    /// 501: the end of the body is marked in a way that is not understood.
    NotImplemented,
    /// 503: the daemon is drained.
    Unavailable,
    /// 500, or no answer at all: a fault of the daemon's own.
    Failed,
}

impl Outcome {
    /// All of them, in the order of their discriminants.
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

    /// In words.
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
