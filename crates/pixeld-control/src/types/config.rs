use serde::{Deserialize, Serialize};
use zlink::introspect::CustomType;

use super::Attribution;

/// A key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct Setting {
    /// Its dotted name, such as "limits.body".
    pub key: String,
    /// The value that the configuration gives it, as TOML.
    pub value: String,
    /// The file that it comes from, with its line ("/etc/pixeld/pixeld.toml:3"), or "systemd" for sockets
    /// that it has opened; null means the default.
    pub origin: Option<String>,
    /// Whether a change of it in the files needs a restart.
    pub needs_restart: bool,
    /// The runtime override, as TOML: the value that is in effect instead, until it is removed or the
    /// daemon ends.
    #[serde(rename = "override", alias = "setTo")]
    #[zlink(rename = "override")]
    pub override_value: Option<String>,
    /// Who set the override, and when.
    #[serde(alias = "setBy")]
    pub overridden_by: Option<Attribution>,
}

/// A key whose value in the files differs from the one in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "camelCase")]
#[zlink(rename_all = "camelCase")]
pub struct SettingChange {
    /// Its dotted name.
    pub key: String,
    /// The value in effect before, as TOML; the number of workers, if workers is the same and "auto" counts
    /// another number of CPUs than before.
    pub from: String,
    /// The value that the files give it, as TOML.
    pub to: String,
    /// Whether only a restart applies it.
    pub needs_restart: bool,
    /// Whether a runtime override stays in effect instead.
    #[serde(alias = "setByHand")]
    pub overridden: bool,
}
