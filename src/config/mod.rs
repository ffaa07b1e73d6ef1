//! Configuration in three steps: the files that exist ([`Sources`]), the assignments that they
//! make (later files win, each key by itself), and the [`Settings`] that result, which are valid.

mod keys;
mod load;
mod settings;
mod value;

pub use keys::{ConfigKey, KEYS, TakesEffect, changes};
pub use load::{ConfigError, ConfigErrors, Loaded, Origin, Sources};
pub use settings::{Limits, Listen, LogSettings, PixelSettings, Settings, Timeouts, Workers};
