use std::borrow::Cow;

use super::{
    Channel, Digits, Pixel,
    error_detail::{Detail, DetailBuilder},
    integer::{self, IntegerError},
    json_document::{Document, Field, Value},
    json_parser::{self, JsonError},
    json_writer,
};

/// Why a body is rejected, and the response to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyRejection {
    /// 422 `{"detail":[…]}` with an entry for each error.
    Invalid(Detail),
    /// 422 or `pixel.range-error-status`: only the range of `value` is wrong.
    OutOfRange,
    /// 400: the body cannot be parsed.
    Unreadable,
}

/// Validates any body that was sent as JSON.
///
/// # Errors
/// [`BodyRejection::Invalid`] has one entry for each invalid field, in the order x, y, channel, value.
pub fn validate(body: &[u8]) -> Result<Pixel<'static>, BodyRejection> {
    if body.is_empty() {
        return Err(reject_empty());
    }
    let text = json_parser::decode_utf8(body).map_err(reject_json)?;
    let document = json_parser::parse(&text).map_err(reject_json)?;
    validate_document(document).map(Pixel::into_owned)
}

/// Validates a document, field by field.
///
/// # Errors
/// As [`validate`].
pub fn validate_document(document: Document<'_>) -> Result<Pixel<'_>, BodyRejection> {
    let Document { echo, fields } = document;
    let Some([x, y, channel, value]) = fields else { return Err(reject_non_object(echo)) };
    let mut validator = FieldValidator { document_len: echo.len(), detail: DetailBuilder::new(echo) };
    let x = validator.integer("x", x);
    let y = validator.integer("y", y);
    let channel = validator.channel("channel", channel);
    let value = validator.integer("value", value);
    match (x, y, channel, value) {
        (Some(x), Some(y), Some(channel), Some(value)) => Pixel::new(x, y, channel, value.as_bytes()),
        _ => Err(BodyRejection::Invalid(validator.detail.finish())),
    }
}

/// Rejects a body that was not sent as JSON. The response repeats it as a string.
pub fn reject_text(body: &[u8]) -> BodyRejection {
    if body.is_empty() {
        return reject_empty();
    }
    let mut echo = Vec::with_capacity(body.len());
    json_writer::write_text(&String::from_utf8_lossy(body), &mut echo);
    reject_non_object(echo.into())
}

fn reject_empty() -> BodyRejection {
    let entry = r#"{"detail":[{"type":"missing","loc":["body"],"msg":"Field required","input":null}]}"#;
    BodyRejection::Invalid(Detail::from_text(entry.into()))
}

fn reject_non_object(echo: Cow<'_, [u8]>) -> BodyRejection {
    let message = "Input should be a valid dictionary or object to extract fields from";
    let input = 0..echo.len();
    let mut detail = DetailBuilder::new(echo);
    detail.push("model_attributes_type", None, message, input, None);
    BodyRejection::Invalid(detail.finish())
}

fn reject_json(error: JsonError) -> BodyRejection {
    match error {
        JsonError::Unreadable => BodyRejection::Unreadable,
        JsonError::Syntax { message, at } => {
            let mut detail = format!(
                r#"{{"detail":[{{"type":"json_invalid","loc":["body",{at}],"msg":"JSON decode error","input":{{}},"ctx":{{"error":"#
            )
            .into_bytes();
            json_writer::write_text(message, &mut detail);
            detail.extend_from_slice(b"}}]}");
            BodyRejection::Invalid(Detail::from_text(detail))
        }
    }
}

/// Validates the fields of an object one by one.
struct FieldValidator<'d> {
    document_len: usize,
    detail: DetailBuilder<'d>,
}

impl<'d> FieldValidator<'d> {
    fn present(&mut self, name: &str, field: Option<Field<'d>>) -> Option<Field<'d>> {
        if field.is_none() {
            self.detail.push("missing", Some(name), "Field required", 0..self.document_len, None);
        }
        field
    }

    fn integer(&mut self, name: &str, field: Option<Field<'d>>) -> Option<Digits<'d>> {
        let Field { value, place } = self.present(name, field)?;
        let result = match value {
            Value::Integer(digits) => return Some(Digits::borrowed(digits.as_bytes())),
            Value::Bool(flag) => return Some(Digits::borrowed(if flag { b"1" } else { b"0" })),
            Value::Float(number) => integer::from_float(number),
            Value::Text(text) => integer::from_text(&text),
            Value::Null | Value::Array | Value::Object => Err(IntegerError::Type),
        };
        match result {
            Ok(digits) => Some(Digits::owned(digits)),
            Err(reason) => {
                let (kind, message) = kind_and_message(reason);
                self.detail.push(kind, Some(name), message, place, None);
                None
            }
        }
    }

    fn channel(&mut self, name: &str, field: Option<Field<'d>>) -> Option<Channel> {
        let Field { value, place } = self.present(name, field)?;
        let channel = match value {
            Value::Text(name) if name.len() == 1 => name.bytes().next().and_then(Channel::from_letter),
            _ => None,
        };
        if channel.is_none() {
            let message = "Input should be 'R', 'G' or 'B'";
            let expected = r#"{"expected":"'R', 'G' or 'B'"}"#;
            self.detail.push("literal_error", Some(name), message, place, Some(expected));
        }
        channel
    }
}

/// Returns pydantic's type and message.
fn kind_and_message(reason: IntegerError) -> (&'static str, &'static str) {
    match reason {
        IntegerError::Type => ("int_type", "Input should be a valid integer"),
        IntegerError::Parsing => {
            ("int_parsing", "Input should be a valid integer, unable to parse string as an integer")
        }
        IntegerError::ParsingSize => {
            ("int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size")
        }
        IntegerError::FromFloat => {
            ("int_from_float", "Input should be a valid integer, got a number with a fractional part")
        }
        IntegerError::NotFinite => ("finite_number", "Input should be a finite number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(body: &str) -> serde_json::Value {
        match validate(body.as_bytes()) {
            Err(BodyRejection::Invalid(detail)) => serde_json::from_str(&detail.to_string()).expect(body),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn lax_bodies_are_accepted() {
        let pixel = validate(br#"{"x":"1_0","y":true,"z":{},"channel":"\u0047","value":" 7.0 "}"#).unwrap();
        assert_eq!(
            pixel,
            Pixel { x: Digits::borrowed(b"10"), y: Digits::borrowed(b"1"), channel: Channel::G, value: 7 }
        );
    }

    #[test]
    fn errors_are_in_field_order() {
        let body = r#"{"channel":"r","value":10.5,"x":"a"}"#;
        let sent: serde_json::Value = serde_json::from_str(body).unwrap();
        let details = rejection(body);
        assert_eq!(
            details,
            serde_json::json!({"detail": [
                {"type": "int_parsing", "loc": ["body", "x"], "input": "a",
                 "msg": "Input should be a valid integer, unable to parse string as an integer"},
                {"type": "missing", "loc": ["body", "y"], "msg": "Field required", "input": sent},
                {"type": "literal_error", "loc": ["body", "channel"], "input": "r",
                 "msg": "Input should be 'R', 'G' or 'B'", "ctx": {"expected": "'R', 'G' or 'B'"}},
                {"type": "int_from_float", "loc": ["body", "value"], "input": 10.5,
                 "msg": "Input should be a valid integer, got a number with a fractional part"},
            ]})
        );
    }

    #[test]
    fn non_object_is_rejected_whole() {
        for body in ["[]", "\"s\"", "null", "7"] {
            let details = rejection(body);
            assert_eq!(details["detail"][0]["type"], "model_attributes_type", "{body}");
            assert_eq!(details["detail"][0]["loc"], serde_json::json!(["body"]), "{body}");
        }
        assert_eq!(rejection("")["detail"][0]["type"], "missing");
        assert_eq!(
            rejection("{]")["detail"][0],
            serde_json::json!({"type": "json_invalid", "loc": ["body", 1], "msg": "JSON decode error", "input": {},
                "ctx": {"error": "Expecting property name enclosed in double quotes"}})
        );
    }

    #[test]
    fn range_is_checked_last() {
        assert_eq!(validate(br#"{"x":1,"y":2,"channel":"R","value":"256"}"#), Err(BodyRejection::OutOfRange));
        rejection(r#"{"x":null,"y":2,"channel":"R","value":256}"#);
    }
}
