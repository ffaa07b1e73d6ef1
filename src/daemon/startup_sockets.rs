use crate::{
    config::Listen,
    exit::Exit,
    log::{Event, Log},
    net::{BindError, Listener},
    systemd::{Inherited, other_recipient},
};

use super::args::SocketMode;

/// The sockets that the daemon serves.
#[derive(Debug)]
pub struct Sockets {
    pub http: Vec<Listener>,
    pub control: Listener,
    /// Missing if systemd opens the sockets and `pixeld-admin.socket` is not enabled.
    pub admin: Option<Listener>,
}

/// Takes the inherited sockets, and opens those that are missing where the configuration says,
/// unless only inherited ones are wanted. What goes wrong is told to the log.
///
/// # Errors
/// The code to exit with: 78 for a socket that had to be passed, 71 for one that cannot be opened.
pub fn acquire(
    mut inherited: Inherited,
    mode: SocketMode,
    listen: &Listen,
    log: &Log,
) -> Result<Sockets, Exit> {
    for rejected in inherited.rejected.drain(..) {
        log.send(Event::SocketRejected { name: rejected.name, reason: rejected.reason });
    }
    if mode == SocketMode::Inherited {
        let missing: Vec<_> = [
            ("http", "pixeld.socket or pixeld-tcp.socket", inherited.http.is_empty()),
            ("control", "pixeld-control.socket", inherited.control.is_none()),
        ]
        .into_iter()
        .filter_map(|(name, unit, missing)| missing.then_some(format!("{name} ({unit})")))
        .collect();
        if !missing.is_empty() {
            let mut reason =
                format!("Sockets not passed by systemd: {}; start these units", missing.join(", "));
            if let Some(pid) = other_recipient() {
                reason += &format!(
                    "; LISTEN_PID={pid} is another process (this one: {}), so remove the wrapper or \
                     PrivatePIDs=",
                    std::process::id()
                );
            }
            log.send(Event::SocketFailed { reason });
            return Err(Exit::Config);
        }
    }
    open_missing(inherited, mode, listen).map_err(|error| {
        log.send(Event::SocketFailed { reason: error.to_string() });
        Exit::OsErr
    })
}

fn open_missing(inherited: Inherited, mode: SocketMode, listen: &Listen) -> Result<Sockets, BindError> {
    let Inherited { http, control, admin, .. } = inherited;
    let http = if http.is_empty() {
        listen.http.iter().map(Listener::bind).collect::<Result<_, _>>()?
    } else {
        http
    };
    let control = control.map_or_else(|| Listener::bind(&listen.control), Ok)?;
    let admin = match admin {
        None if mode != SocketMode::Inherited => Some(Listener::bind(&listen.admin)?),
        admin => admin,
    };
    Ok(Sockets { http, control, admin })
}
