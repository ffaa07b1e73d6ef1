use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

/// Where a listener listens: `127.0.0.1:8000`, `[::1]:8000` or `unix:/run/pixeld/http.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IPv4 or IPv6 address with its port.
    Tcp(SocketAddr),
    /// The absolute path of a Unix stream socket.
    Unix(PathBuf),
}

/// A text that is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address: {reason}")]
pub struct InvalidAddress {
    text: String,
    reason: &'static str,
}

impl Address {
    /// The path of a Unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) => None,
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        /// What `sockaddr_un` holds, less its terminating NUL (unix(7)).
        const LONGEST_PATH: usize = 107;

        let invalid = |reason| InvalidAddress { text: text.into(), reason };
        let Some(path) = text.strip_prefix("unix:") else {
            return text.parse().map(Self::Tcp).map_err(|_| {
                invalid(r#"write "127.0.0.1:8000", "[::1]:8000" or "unix:/path"; names are not looked up"#)
            });
        };
        if !path.starts_with('/') {
            Err(invalid("the path of a Unix socket starts with /"))
        } else if path.len() > LONGEST_PATH {
            Err(invalid("the path of a Unix socket has at most 107 bytes"))
        } else if path.contains('\0') {
            Err(invalid("a path has no NUL byte"))
        } else {
            Ok(Self::Unix(path.into()))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_printed_as_it_was_written() {
        for text in ["127.0.0.1:8000", "[::1]:8000", "unix:/run/pixeld/http.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        let long = format!("unix:/{}", "a".repeat(107));
        for (text, reason) in [
            ("localhost:8000", "names are not looked up"),
            ("127.0.0.1", "write"),
            ("127.0.0.1:70000", "write"),
            ("unix:relative.sock", "starts with /"),
            ("unix:", "starts with /"),
            (&long, "at most 107"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
