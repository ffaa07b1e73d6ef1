use std::net::SocketAddr;

use super::host::{Host, Probe, Unavailable};

pub const SERVICE: &str = "pixeld.service";
/// The sockets without which it does not start.
pub const NEEDED: [&str; 2] = ["pixeld.socket", "pixeld-control.socket"];
/// The socket for changes; optional.
pub const ADMIN: &str = "pixeld-admin.socket";
/// The timer that writes metrics for Prometheus, and its service.
pub const METRICS: [&str; 2] = ["pixeld-metrics.timer", "pixeld-metrics.service"];
/// The socket for nginx on another host; optional.
pub const TCP: &str = "pixeld-tcp.socket";

/// pixeld's units, as systemd has loaded them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Units {
    units: Vec<Unit>,
    /// When systemd last loaded all units, in microseconds of its monotonic clock.
    loaded: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    properties: Vec<(String, String)>,
}

impl Units {
    /// The unit with this name.
    pub fn get(&self, name: &str) -> Option<&Unit> {
        self.units.iter().find(|unit| unit.value("Id") == name)
    }

    /// Whether systemd has reloaded all units since it opened this socket. It may then lack the counters of an
    /// address filter that is in effect, and have settings that are not.
    pub fn reloaded_since_opening(&self, unit: &Unit) -> bool {
        unit.value("InactiveExitTimestampMonotonic").parse().is_ok_and(|opened: u64| opened < self.loaded)
    }

    #[cfg(test)]
    pub fn set_loaded(&mut self, loaded: u64) {
        self.loaded = loaded;
    }

    /// Whether a connection to this server of nginx would start the stopped service.
    pub fn would_start(&self, server: &str) -> bool {
        let is_own = |listening: &str| match server.strip_prefix("unix:") {
            Some(path) => listening == path,
            None => server.parse().is_ok_and(|address: SocketAddr| {
                address.ip().is_loopback() && listening.ends_with(&format!(":{}", address.port()))
            }),
        };
        let mut open = self.http_sockets().filter(|unit| unit.is_active());
        self.get(SERVICE).is_some_and(Unit::is_stopped) && open.any(|unit| unit.listens_on().any(is_own))
    }

    /// The sockets for requests.
    pub fn http_sockets(&self) -> impl Iterator<Item = &Unit> {
        [NEEDED[0], TCP].into_iter().filter_map(|name| self.get(name))
    }
}

impl Unit {
    /// Returns a property's value; empty if systemd does not report it.
    pub fn value(&self, name: &str) -> &str {
        self.values(name).next().unwrap_or_default()
    }

    /// Returns each value of a repeated property.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let these = self.properties.iter().filter(move |(property, _)| property == name);
        these.map(|(_, value)| value.as_str())
    }

    pub fn name(&self) -> &str {
        self.value("Id")
    }

    pub fn exists(&self) -> bool {
        self.value("LoadState") != "not-found"
    }

    pub fn is_active(&self) -> bool {
        self.value("ActiveState") == "active"
    }

    /// Whether it neither runs nor starts.
    pub fn is_stopped(&self) -> bool {
        ["inactive", "failed"].contains(&self.value("ActiveState"))
    }

    /// Whether it starts at the next boot.
    pub fn is_enabled(&self) -> bool {
        // Another unit starts units that are static, generated or aliases.
        !matches!(self.value("UnitFileState"), "disabled" | "masked" | "masked-runtime" | "enabled-runtime")
    }

    /// Returns the addresses of a socket unit: `/run/x.sock`, `[::]:8000`.
    pub fn listens_on(&self) -> impl Iterator<Item = &str> {
        self.values("Listen").map(|value| value.split_once(" (").map_or(value, |(address, _)| address))
    }

    /// Returns a property with its unit, as evidence.
    pub fn shown(&self, name: &str) -> String {
        format!("{}: {name}={}", self.name(), self.value(name))
    }
}

pub async fn probe(host: &Host) -> Probe<Units> {
    let properties = "Id,LoadState,ActiveState,Result,UnitFileState,NeedDaemonReload,DropInPaths,\
                      ConditionResult,ConditionTimestampMonotonic,\
                      Listen,Triggers,Backlog,IPAddressAllow,IPAddressDeny,IPAccounting,IPIngressBytes,\
                      InactiveExitTimestampMonotonic";
    let mut arguments = vec!["show", "--no-pager", "-p", properties, SERVICE, TCP, ADMIN];
    arguments.extend(NEEDED);
    arguments.extend(METRICS);
    let mut units = parse(&host.ask("systemctl", &arguments).await?);
    let loaded = ["show", "--no-pager", "-P", "UnitsLoadTimestampMonotonic"];
    units.loaded = host.ask("systemctl", &loaded).await?.trim().parse().unwrap_or(0);
    if units.units.iter().any(Unit::exists) {
        Ok(units)
    } else {
        Err(Unavailable("pixeld's units are not installed on this host".into()))
    }
}

/// Returns the main process of the service, if it runs.
pub async fn main_pid(host: &Host) -> Option<u32> {
    let shown = host.ask("systemctl", &["show", "--no-pager", "-P", "MainPID", SERVICE]).await.ok()?;
    shown.trim().parse().ok().filter(|pid| *pid != 0)
}

/// Parses blocks of `Name=value`, one for each unit.
pub fn parse(shown: &str) -> Units {
    let unit = |block: &str| Unit {
        properties: block
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
    };
    let units = shown.split("\n\n").map(unit).filter(|unit| !unit.name().is_empty()).collect();
    Units { units, loaded: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemctl_show_output_is_parsed() {
        let units = parse(
            "Id=pixeld.service\nLoadState=loaded\nActiveState=active\n\n\
             Listen=[::]:8000 (Stream)\nListen=/run/x.sock (Stream)\nId=pixeld-tcp.socket\n\
             LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n\n\
             Id=pixeld.socket\nLoadState=not-found\n",
        );
        let tcp = units.get(TCP).unwrap();
        assert!(tcp.exists() && !tcp.is_active() && !tcp.is_enabled());
        assert_eq!(tcp.listens_on().collect::<Vec<_>>(), ["[::]:8000", "/run/x.sock"]);
        assert!(!units.get("pixeld.socket").unwrap().exists());
        assert_eq!(tcp.shown("UnitFileState"), "pixeld-tcp.socket: UnitFileState=disabled");
    }
}
