use pixeld::pixel::{self, BodyRejection, Pixel};

use super::oracle::{self, Fault, Json, Verdict};

/// pixeld judges a body as the oracle does, and its short way as its long one.
pub fn body(body: &[u8]) {
    let validated = pixel::validate(body);
    if let Some(decoded) = pixel::fast_decode(body) {
        assert_eq!(decoded, validated, "fast_decode and validate differ");
    }
    assert_eq!(verdict(validated), oracle::judge(body), "pixeld (left) and the oracle (right) differ");
    assert_eq!(verdict(Err(pixel::reject_text(body))), oracle::judge_text(body), "sent as a text");
}

fn verdict(answer: Result<Pixel<'_>, BodyRejection>) -> Verdict {
    match answer {
        Ok(pixel) => {
            let mut json = Vec::new();
            pixel::write_accepted(&pixel, &mut json);
            Verdict::Accepted(String::from_utf8(json).expect("the answer is UTF-8"))
        }
        Err(BodyRejection::OutOfRange) => Verdict::OutOfRange,
        Err(BodyRejection::Unreadable) => Verdict::Unreadable,
        Err(BodyRejection::Invalid(detail)) => Verdict::Invalid(entries(&detail.to_string())),
    }
}

fn entries(detail: &str) -> Vec<Fault> {
    let document = oracle::strict_json(detail).unwrap_or_else(|| panic!("the detail is no JSON: {detail}"));
    let Some(Json::Array(entries)) = document.member("detail") else { panic!("no list: {detail}") };
    entries.iter().map(|entry| fault(entry).unwrap_or_else(|| panic!("not an entry: {entry:?}"))).collect()
}

fn fault(entry: &Json) -> Option<Fault> {
    let Json::Text(kind) = entry.member("type")? else { return None };
    let Json::Array(loc) = entry.member("loc")? else { return None };
    let Json::Text(_) = entry.member("msg")? else { return None };
    Some(Fault { kind: kind.clone(), loc: loc.clone(), input: entry.member("input")?.clone() })
}
