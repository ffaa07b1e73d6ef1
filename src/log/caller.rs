use std::fmt;

/// The origin of a change at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A process that sent this signal; the kernel does not say which.
    Signal(&'static str),
    /// A client of the admin socket.
    Client(Client),
}

/// A client of the admin socket. PID and UID are from the kernel; the client itself claims the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    pub pid: u32,
    /// Its user, or [`Self::OVERFLOW_UID`].
    pub uid: u32,
    /// The name that it claims for its user.
    pub claimed_user: Option<String>,
    /// The command line that it claims.
    pub claimed_command: Option<String>,
}

impl Client {
    /// The UID of all users outside the user namespace of the daemon (user_namespaces(7)).
    const OVERFLOW_UID: u32 = 65534;

    /// Returns its UID, if it is visible to the daemon.
    pub fn visible_uid(&self) -> Option<u32> {
        (self.uid != Self::OVERFLOW_UID).then_some(self.uid)
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(name) => f.write_str(name),
            Self::Client(client) => client.fmt(f),
        }
    }
}

/// Formats as `uid 1000 (pid 4711, claims to be anna)`. A root client's claim to be root is omitted.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid;
        let user = self.claimed_user.as_deref().filter(|user| self.uid != 0 || *user != "root");
        let is_plain = |user: &str| user.chars().all(|c| c.is_alphanumeric() || "._@+-$".contains(c));
        // Quotes keep other characters of a claim from looking like the kernel's part.
        let claim = user.map(|user| {
            if is_plain(user) {
                format!("claims to be {user}")
            } else {
                format!("claims to be \"{}\"", user.replace('"', "\\\""))
            }
        });
        match (self.visible_uid(), claim) {
            (None, None) => write!(f, "pid {pid}"),
            (None, Some(claim)) => write!(f, "pid {pid} ({claim})"),
            (Some(uid), claim) => {
                if uid == 0 { f.write_str("root") } else { write!(f, "uid {uid}") }?;
                write!(
                    f,
                    " (pid {pid}{}{})",
                    if claim.is_some() { ", " } else { "" },
                    claim.unwrap_or_default()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claim_follows_the_credentials() {
        let client = |uid, user: Option<&str>| Client {
            pid: 4711,
            uid,
            claimed_user: user.map(Into::into),
            ..Client::default()
        };
        for (uid, user, text) in [
            (0, None, "root (pid 4711)"),
            (0, Some("root"), "root (pid 4711)"),
            (0, Some("anna"), "root (pid 4711, claims to be anna)"),
            (1000, None, "uid 1000 (pid 4711)"),
            (1000, Some("root"), "uid 1000 (pid 4711, claims to be root)"),
            (65534, None, "pid 4711"),
            (65534, Some("anna"), "pid 4711 (claims to be anna)"),
            (1000, Some("x), root (pid 1"), r#"uid 1000 (pid 4711, claims to be "x), root (pid 1")"#),
        ] {
            assert_eq!(Caller::Client(client(uid, user)).to_string(), text);
        }
    }
}
