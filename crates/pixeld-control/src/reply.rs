use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use zlink::varlink_service;

use super::types::ControlError;

/// Any reply of a method, or an error of either interface.
#[derive(Debug)]
pub enum MethodReply {
    Parameters(Value),
    Service(varlink_service::Reply<'static>),
    Error(ControlError),
    ServiceError(varlink_service::Error<'static>),
}

impl MethodReply {
    pub fn reply(parameters: &impl Serialize) -> Self {
        Self::Parameters(to_value(parameters))
    }

    pub fn interface_not_found(interface: &str) -> Self {
        let interface = shorten(interface).into_owned().into();
        Self::ServiceError(varlink_service::Error::InterfaceNotFound { interface })
    }

    pub fn method_not_found(method: &str) -> Self {
        Self::ServiceError(varlink_service::Error::MethodNotFound {
            method: shorten(method).into_owned().into(),
        })
    }

    pub fn invalid_parameter(parameter: &str) -> Self {
        let parameter = shorten(parameter).into_owned().into();
        Self::ServiceError(varlink_service::Error::InvalidParameter { parameter })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_name_is_cut_at_a_character_boundary() {
        let name = "é".repeat(MAX_ECHO);
        let short = shorten(&name);
        assert!(short.len() <= MAX_ECHO && short.len() > MAX_ECHO - 8, "{}", short.len());
        assert!(short.ends_with("é…"));
        assert_eq!(shorten("é"), "é");
    }
}
