//! Configuration in three steps: the files ([`Sources`]), their assignments (for each key, a later file overrides
//! an earlier one), and the resulting valid [`Settings`].

mod keys;
mod load;
mod settings;
mod value;

pub use keys::{ConfigKey, KEYS, TakesEffect, changes};
pub use load::{ConfigErrors, Loaded, Origin, Sources};
pub use settings::{Limits, Listen, LogSettings, PixelSettings, Settings, Timeouts, Workers};
