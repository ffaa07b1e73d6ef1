use std::fmt::Write;

use super::{
    Channel, Fields, OutOfRange, Pixel, echo,
    integer::{self, NotAnInteger},
    json::{self, Fault, Value},
};

/// Why a body was refused, as a client gets to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 422: `{"detail":[…]}` with an entry for each fault.
    Invalid(String),
    /// 422 (or as configured): the right shape, but `value` is not in 0..=255.
    OutOfRange,
    /// 400: the body cannot be read at all.
    Unreadable,
}

impl From<OutOfRange> for Refusal {
    fn from(_: OutOfRange) -> Self {
        Self::OutOfRange
    }
}

/// Reads any body that was sent as JSON, slowly and completely.
///
/// # Errors
/// The reason for its refusal, one entry for each field at fault in the order x, y, channel, value.
pub fn explain(body: &[u8]) -> Result<Pixel<'static>, Refusal> {
    if body.is_empty() {
        return Err(missing_body());
    }
    let document = json::read(body).map_err(refuse_document)?;
    let Value::Object(members) = &document else {
        return Err(not_an_object(&document));
    };
    let mut check = Check { document: &document, members, faults: Faults::default() };
    let x = check.integer("x");
    let y = check.integer("y");
    let channel = check.channel("channel");
    let value = check.integer("value");
    match (x, y, channel, value) {
        (Some(x), Some(y), Some(channel), Some(value)) => {
            Ok(Fields { x: x.into(), y: y.into(), channel, value: value.into() }.into_pixel()?)
        }
        _ => Err(check.faults.into_refusal()),
    }
}

/// Refuses a body that was not sent as JSON; the client gets it back as a text.
pub fn explain_text(body: &[u8]) -> Refusal {
    if body.is_empty() {
        return missing_body();
    }
    not_an_object(&Value::Text(String::from_utf8_lossy(body).into_owned()))
}

fn missing_body() -> Refusal {
    let mut faults = Faults::default();
    faults.add("missing", None, "Field required", &Value::Null, None);
    faults.into_refusal()
}

fn not_an_object(input: &Value) -> Refusal {
    let mut faults = Faults::default();
    let message = "Input should be a valid dictionary or object to extract fields from";
    faults.add("model_attributes_type", None, message, input, None);
    faults.into_refusal()
}

fn refuse_document(fault: Fault) -> Refusal {
    match fault {
        Fault::Unreadable => Refusal::Unreadable,
        Fault::Syntax { message, at } => {
            let mut detail = format!(
                r#"{{"detail":[{{"type":"json_invalid","loc":["body",{at}],"msg":"JSON decode error","input":{{}},"ctx":{{"error":"#
            );
            echo::write_text(message, &mut detail);
            detail.push_str("}}]}");
            Refusal::Invalid(detail)
        }
    }
}

/// The entries of `detail`.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, kind: &str, field: Option<&str>, message: &str, input: &Value, context: Option<&str>) {
        let mut entry = format!(r#"{{"type":"{kind}","loc":["body""#);
        if let Some(field) = field {
            let _ = write!(entry, r#","{field}""#);
        }
        let _ = write!(entry, r#"],"msg":"{message}","input":"#);
        echo::write(input, &mut entry);
        if let Some(context) = context {
            let _ = write!(entry, r#","ctx":{context}"#);
        }
        entry.push('}');
        self.0.push(entry);
    }

    fn into_refusal(self) -> Refusal {
        Refusal::Invalid(format!(r#"{{"detail":[{}]}}"#, self.0.join(",")))
    }
}

/// An object whose fields are looked at one by one.
struct Check<'d> {
    document: &'d Value,
    members: &'d [(String, Value)],
    faults: Faults,
}

impl<'d> Check<'d> {
    fn member(&mut self, field: &str) -> Option<&'d Value> {
        let member = self.members.iter().find(|(name, _)| name == field);
        if member.is_none() {
            self.faults.add("missing", Some(field), "Field required", self.document, None);
        }
        member.map(|(_, value)| value)
    }

    fn integer(&mut self, field: &str) -> Option<String> {
        let value = self.member(field)?;
        let result = match value {
            Value::Integer(digits) => return Some(digits.clone()),
            Value::Bool(flag) => return Some(u8::from(*flag).to_string()),
            Value::Float(number) => integer::from_float(*number),
            Value::Text(text) => integer::from_text(text),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(NotAnInteger::OtherType),
        };
        match result {
            Ok(digits) => Some(digits),
            Err(reason) => {
                let (kind, message) = describe(reason);
                self.faults.add(kind, Some(field), message, value, None);
                None
            }
        }
    }

    fn channel(&mut self, field: &str) -> Option<Channel> {
        let value = self.member(field)?;
        let channel = match value {
            Value::Text(name) => Channel::from_name(name.as_bytes()),
            _ => None,
        };
        if channel.is_none() {
            let message = "Input should be 'R', 'G' or 'B'";
            let expected = r#"{"expected":"'R', 'G' or 'B'"}"#;
            self.faults.add("literal_error", Some(field), message, value, Some(expected));
        }
        channel
    }
}

/// pydantic's type and message.
fn describe(reason: NotAnInteger) -> (&'static str, &'static str) {
    match reason {
        NotAnInteger::OtherType => ("int_type", "Input should be a valid integer"),
        NotAnInteger::Parsing => {
            ("int_parsing", "Input should be a valid integer, unable to parse string as an integer")
        }
        NotAnInteger::ParsingSize => {
            ("int_parsing_size", "Unable to parse input string as an integer, exceeded maximum size")
        }
        NotAnInteger::FromFloat => {
            ("int_from_float", "Input should be a valid integer, got a number with a fractional part")
        }
        NotAnInteger::NotFinite => ("finite_number", "Input should be a finite number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> serde_json::Value {
        match explain(body.as_bytes()) {
            Err(Refusal::Invalid(detail)) => serde_json::from_str(&detail).expect(&detail),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn lax_bodies_are_accepted() {
        let pixel = explain(br#"{"x":"1_0","y":true,"z":{},"channel":"\u0047","value":" 7.0 "}"#).unwrap();
        assert_eq!(pixel, Pixel { x: "10".into(), y: "1".into(), channel: Channel::G, value: 7 });
    }

    #[test]
    fn each_fault_is_an_entry_in_the_order_of_the_fields() {
        let body = r#"{"channel":"r","value":10.5,"x":"a"}"#;
        let sent: serde_json::Value = serde_json::from_str(body).unwrap();
        let details = refusal(body);
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
    fn what_is_no_object_is_refused_whole() {
        for body in ["[]", "\"s\"", "null", "7"] {
            let details = refusal(body);
            assert_eq!(details["detail"][0]["type"], "model_attributes_type", "{body}");
            assert_eq!(details["detail"][0]["loc"], serde_json::json!(["body"]), "{body}");
        }
        assert_eq!(refusal("")["detail"][0]["type"], "missing");
        assert_eq!(
            refusal("{]")["detail"][0],
            serde_json::json!({"type": "json_invalid", "loc": ["body", 1], "msg": "JSON decode error", "input": {},
                "ctx": {"error": "Expecting property name enclosed in double quotes"}})
        );
    }

    #[test]
    fn the_range_is_looked_at_last() {
        assert_eq!(explain(br#"{"x":1,"y":2,"channel":"R","value":"256"}"#), Err(Refusal::OutOfRange));
        refusal(r#"{"x":null,"y":2,"channel":"R","value":256}"#);
    }

    #[test]
    fn the_short_way_and_the_long_way_agree() {
        for body in [
            r#"{"x":10,"y":-20,"channel":"R","value":255}"#,
            r#"{"value":0,"x":123456789012345678901234567890,"y":0,"channel":"B"}"#,
            r#"{"x":1,"y":2,"channel":"G","value":256}"#,
        ] {
            let short = super::super::decode(body.as_bytes()).unwrap().map_err(Refusal::from);
            assert_eq!(short, explain(body.as_bytes()), "{body}");
        }
    }
}
