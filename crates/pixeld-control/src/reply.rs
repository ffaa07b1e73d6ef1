use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use zlink::varlink_service;

use super::types::ControlError;

/// The error of a call, of either interface.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum CallFault {
    Control(ControlError),
    Service(varlink_service::Error<'static>),
}

impl From<ControlError> for CallFault {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

impl From<varlink_service::Error<'static>> for CallFault {
    fn from(error: varlink_service::Error<'static>) -> Self {
        Self::Service(error)
    }
}

pub fn interface_not_found(interface: &str) -> CallFault {
    varlink_service::Error::InterfaceNotFound { interface: shorten(interface).into_owned().into() }.into()
}

pub fn method_not_found(method: &str) -> CallFault {
    varlink_service::Error::MethodNotFound { method: shorten(method).into_owned().into() }.into()
}

pub fn invalid_parameter(parameter: &str) -> CallFault {
    varlink_service::Error::InvalidParameter { parameter: shorten(parameter).into_owned().into() }.into()
}

/// Bytes of what a client sent that are repeated to it or to the log.
const MAX_ECHO: usize = 1 << 10;

/// At most [`MAX_ECHO`] bytes of it, with an ellipsis if it is longer.
pub fn shorten(text: &str) -> Cow<'_, str> {
    const ELLIPSIS: char = '…';

    if text.len() <= MAX_ECHO {
        return text.into();
    }
    let fits = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=MAX_ECHO - ELLIPSIS.len_utf8()).rev().find(fits).unwrap_or(0);
    format!("{}{ELLIPSIS}", &text[..end]).into()
}

/// Converts to JSON, which cannot fail for these types: they have no maps with non-string keys.
pub fn to_value(reply: &impl Serialize) -> Value {
    serde_json::to_value(reply).unwrap_or(Value::Null)
}
