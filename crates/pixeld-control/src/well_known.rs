//! The standard interfaces: org.varlink.service of every Varlink service, and io.systemd.service of systemd's.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use zlink::varlink_service;

use super::{
    INTERFACE, VERSION,
    interface::DESCRIPTION,
    reply::{CallFault, interface_not_found, invalid_parameter, method_not_found},
    types::Level,
};

pub const SERVICE: &str = "org.varlink.service";
pub const SYSTEMD: &str = "io.systemd.service";

/// The product name in the reply to GetInfo.
const PRODUCT: &str = "pixeld";
const SYSTEMD_DESCRIPTION: &str = include_str!("io.systemd.service.varlink");

/// The reply to GetInfo: the program behind a socket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServiceInfo {
    /// The name of the program.
    pub product: String,
    /// Its version.
    pub version: String,
}

impl ServiceInfo {
    /// Whether the program is pixeld.
    pub fn is_pixeld(&self) -> bool {
        self.product == PRODUCT
    }
}

/// Returns the reply to a method of `org.varlink.service`.
pub fn answer_service(method: &str, parameters: &Map<String, Value>) -> Result<Value, CallFault> {
    match method {
        "GetInfo" => Ok(json!({
            "vendor": "pixeld",
            "product": PRODUCT,
            "version": VERSION,
            "url": "man:pixeld-control(7)",
            "interfaces": [SERVICE, SYSTEMD, INTERFACE],
        })),
        "GetInterfaceDescription" => {
            let interface = parameters.get("interface").and_then(Value::as_str);
            let description = match interface.ok_or_else(|| invalid_parameter("interface"))? {
                INTERFACE => DESCRIPTION.to_owned(),
                SYSTEMD => SYSTEMD_DESCRIPTION.to_owned(),
                SERVICE => varlink_service::DESCRIPTION.to_string(),
                unknown => return Err(interface_not_found(unknown)),
            };
            Ok(json!({ "description": description }))
        }
        _ => Err(method_not_found(&format!("{SERVICE}.{method}"))),
    }
}

/// Converts a level of syslog(3); `None` means as configured.
pub fn level(value: Option<&Value>) -> Result<Option<Level>, CallFault> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(0..=3) => Ok(Some(Level::Error)),
            Some(4) => Ok(Some(Level::Warn)),
            Some(5..=6) => Ok(Some(Level::Info)),
            Some(7) => Ok(Some(Level::Debug)),
            _ => Err(invalid_parameter("level")),
        },
    }
}

/// The reply to GetEnvironment.
pub fn environment() -> Value {
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    let variables: Vec<_> =
        std::env::vars_os().map(|(name, value)| format!("{}={}", text(name), text(value))).collect();
    json!({ "environment": variables })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn description_parses() {
        let interface: zlink::idl::Interface<'_> = SYSTEMD_DESCRIPTION.try_into().unwrap();
        assert_eq!(interface.methods().count(), 4);
    }
}
