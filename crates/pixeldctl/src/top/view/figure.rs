//! Values that may be unknown.

use crate::render;

const UNKNOWN: &str = "-";

pub fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| UNKNOWN.into(), |rate| render::rate(rate).trim_end_matches("/s").into())
}

pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| UNKNOWN.into(), render::percent)
}
