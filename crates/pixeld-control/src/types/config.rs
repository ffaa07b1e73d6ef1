use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

use super::Attribution;

/// A key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct Setting {
    /// Name of the key, such as "limits.body".
    pub key: String,
    /// The value that the configuration sets, as TOML.
    pub value: String,
    /// File and line, such as "/etc/pixeld/pixeld.toml:3"; "systemd" for sockets that systemd opened; null
    /// for a default.
    pub origin: Option<String>,
    /// Whether a change of the key needs a restart.
    pub needs_restart: bool,
    /// The runtime override, as TOML: the value in effect instead until the override is removed or the daemon
    /// exits; null if there is none.
    #[serde(rename = "override", alias = "setTo")]
    #[zlink(rename = "override")]
    pub override_value: Option<String>,
    /// The caller that set the override; null if there is none.
    #[serde(alias = "setBy")]
    pub overridden_by: Option<Attribution>,
}

/// A key whose value in the files differs from the one in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct SettingChange {
    /// Name of the key.
    pub key: String,
    /// The previous value, as TOML. If workers is still "auto" but the number of CPUs has changed, the
    /// previous number of workers.
    pub from: String,
    /// The value that the files set, as TOML.
    pub to: String,
    /// Whether only a restart applies the change.
    pub needs_restart: bool,
    /// Whether a runtime override stays in effect instead.
    #[serde(alias = "setByHand")]
    pub overridden: bool,
}
