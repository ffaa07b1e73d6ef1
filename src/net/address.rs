use std::{
    fmt,
    net::{SocketAddr, SocketAddrV6},
    path::{Path, PathBuf},
    str::FromStr,
};

use nix::net::if_::if_nametoindex;

use crate::sanitize;

/// The address of a listener: `127.0.0.1:8000`, `[::1]:8000` or `unix:/run/pixeld/http.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IPv4 or IPv6 address with its port.
    Tcp(SocketAddr),
    /// The absolute path of a Unix stream socket.
    Unix(PathBuf),
}

/// A text that is not an [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} is not an address: {reason}")]
pub struct InvalidAddress {
    /// The text in quotes.
    text: String,
    reason: &'static str,
}

impl Address {
    /// Returns the path of a Unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) => None,
        }
    }

    /// Whether the kernel rejects listeners on both: the addresses are equal, or one is the wildcard of the other one.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (Self::Tcp(one), Self::Tcp(two)) = (self, other) else { return self == other };
        one.port() == two.port()
            && one.port() != 0
            && one.is_ipv4() == two.is_ipv4()
            && (one.ip() == two.ip() || one.ip().is_unspecified() || two.ip().is_unspecified())
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        /// The size of `sun_path` without its terminating NUL (unix(7)).
        const MAX_PATH_LEN: usize = 107;

        let invalid = |reason| InvalidAddress { text: sanitize::quoted(text), reason };
        let Some(path) = text.strip_prefix("unix:") else {
            if let Some((address, interface)) = scoped(text) {
                let Ok(index) = if_nametoindex(interface) else {
                    return Err(invalid("there is no interface of that name"));
                };
                return Ok(Self::Tcp(SocketAddr::V6(SocketAddrV6::new(
                    *address.ip(),
                    address.port(),
                    0,
                    index,
                ))));
            }
            return text.parse().map(Self::Tcp).map_err(|_| {
                invalid(r#"write "127.0.0.1:8000", "[::1]:8000" or "unix:/path"; names are not looked up"#)
            });
        };
        if !path.starts_with('/') {
            Err(invalid("the path of a Unix socket starts with /"))
        } else if path.len() > MAX_PATH_LEN {
            Err(invalid("the path of a Unix socket has at most 107 bytes"))
        } else if path.ends_with('/') {
            Err(invalid("this names a folder: name a file in it"))
        } else if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
            Err(invalid(r#"write the path without "//", "." and ".."; one socket has one path"#))
        } else if path.contains('\0') {
            Err(invalid("a path has no NUL byte"))
        } else {
            Ok(Self::Unix(path.into()))
        }
    }
}

/// Splits `[fe80::1%eth0]:8000` into the address with its port, and the name of the interface.
fn scoped(text: &str) -> Option<(SocketAddrV6, &str)> {
    let (address, rest) = text.split_once('%')?;
    let (interface, port) = rest.split_once(']')?;
    // The standard library parses the index of an interface, but not its name.
    let is_name = !interface.is_empty() && !interface.bytes().all(|byte| byte.is_ascii_digit());
    format!("{address}]{port}").parse().ok().filter(|_| is_name).map(|address| (address, interface))
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
    fn address_is_printed_as_it_was_written() {
        for text in ["127.0.0.1:8000", "[::1]:8000", "unix:/run/pixeld/http.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn invalid_address_error_has_the_reason() {
        let long = format!("unix:/{}", "a".repeat(107));
        for (text, reason) in [
            ("localhost:8000", "names are not looked up"),
            ("127.0.0.1", "write"),
            ("127.0.0.1:70000", "write"),
            ("unix:relative.sock", "starts with /"),
            ("unix:", "starts with /"),
            (&long, "at most 107"),
            ("unix:/", "a folder"),
            ("unix:/tmp/", "a folder"),
            ("unix:/run/pixeld/../pixeld/control.sock", "one path"),
            ("unix:/run/./s", "one path"),
            ("unix:/run//s", "one path"),
            ("unix:/run/..", "one path"),
            ("[fe80::1%nothere0]:8000", "no interface"),
            ("[fe80::1%]:8000", "write"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn ipv6_scope_is_a_name_or_an_index() {
        let [name, index] = ["lo", "1"].map(|scope| format!("[fe80::1%{scope}]:8000").parse::<Address>());
        assert_eq!(name.unwrap(), index.unwrap());
    }

    #[test]
    fn wildcard_conflicts_with_its_address_family() {
        let overlap = |[one, two]: [&str; 2]| {
            one.parse::<Address>().unwrap().overlaps(&two.parse::<Address>().unwrap())
        };
        for both in [["0.0.0.0:1", "127.0.0.1:1"], ["[::1]:1", "[::]:1"], ["unix:/s", "unix:/s"]] {
            assert!(overlap(both), "{both:?}");
        }
        for both in [
            ["0.0.0.0:1", "127.0.0.1:2"],
            ["0.0.0.0:0", "127.0.0.1:0"],
            ["0.0.0.0:1", "[::]:1"],
            ["127.0.0.1:1", "127.0.0.2:1"],
            ["unix:/s", "unix:/t"],
        ] {
            assert!(!overlap(both), "{both:?}");
        }
    }
}
