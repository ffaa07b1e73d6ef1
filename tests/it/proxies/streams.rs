//! What is sent: streams whose requests end at a place that servers may disagree about.

use super::strict::pixel;

/// The pixels of a stream that may be answered with 200, by their x, in this order at most. `SMUGGLED` is the x of a
/// request that stands inside the body of another one, or behind a request whose end is in doubt.
pub struct Stream {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub may_accept: &'static [u32],
}

pub const SMUGGLED: u32 = 66;
const BOTH: &[u32] = &[11, 22];
const FIRST: &[u32] = &[11];
const NONE: &[u32] = &[];

/// Fields and a body behind the request line.
fn with(line: &str, fields: &str, body: &str) -> String {
    format!("{line}\r\nHost: h\r\nContent-Type: application/json\r\n{fields}\r\n\r\n{body}")
}

fn request(fields: &str, body: &str) -> String {
    with("POST /pixel HTTP/1.1", fields, body)
}

/// A request with nothing odd.
fn plain(x: u32) -> String {
    request("Content-Length: 38", &pixel(x))
}

fn smuggled() -> String {
    plain(SMUGGLED)
}

fn chunks(x: u32) -> String {
    format!("26\r\n{}\r\n0\r\n\r\n", pixel(x))
}

/// A request framed by these fields, and one behind it.
fn followed(fields: &str, body: &str) -> String {
    request(fields, body) + &plain(22)
}

pub fn all() -> Vec<Stream> {
    let groups = [lengths(), codings(), both(), chunk_sizes(), chunk_data(), lines(), requests()];
    groups.into_iter().flatten().collect()
}

fn stream(name: &'static str, bytes: impl Into<Vec<u8>>, may_accept: &'static [u32]) -> Stream {
    Stream { name, bytes: bytes.into(), may_accept }
}

fn lengths() -> Vec<Stream> {
    let length = |value: &str| followed(&format!("Content-Length: {value}"), &pixel(11));
    // What is behind a length that is not valid is no request.
    let invalid = |value: &str| request(&format!("Content-Length: {value}"), &pixel(11)) + &smuggled();
    vec![
        stream("two lengths in a row", length("38"), BOTH),
        stream("length `038`", length("038"), BOTH),
        stream("length with blanks around it", length(" \t38 \t"), BOTH),
        stream("length `+38`", invalid("+38"), NONE),
        stream("length `-38`", invalid("-38"), NONE),
        stream("length `0x26`", invalid("0x26"), NONE),
        stream("length `38.0`", invalid("38.0"), NONE),
        stream("length `3 8`", invalid("3 8"), NONE),
        stream("length `38,`", invalid("38,"), FIRST),
        stream("length `38;a=b`", invalid("38;a=b"), NONE),
        stream("empty length", invalid(""), NONE),
        stream("length 2^64 + 38", invalid("18446744073709551654"), NONE),
        stream("length of 40 digits", invalid(&"9".repeat(40)), NONE),
        stream("length with a NUL", invalid("38\0"), NONE),
        stream("length on a folded line", invalid("\r\n 38"), FIRST),
        stream("length `38, 38`", length("38, 38"), BOTH),
        stream("length twice, the same", length("38\r\nContent-Length: 38"), BOTH),
        stream("length twice, 38 and 0", invalid("38\r\nContent-Length: 0"), NONE),
        stream("length twice, 0 and 38", invalid("0\r\nContent-Length: 38"), NONE),
        stream("length `38, 0`", invalid("38, 0"), NONE),
        stream(
            "length with a blank before its colon",
            request("Content-Length : 38", &pixel(11)) + &smuggled(),
            NONE,
        ),
        stream("length with an underscore", request("Content_Length: 38", &pixel(11)) + &smuggled(), NONE),
        stream(
            "length beside one with an underscore",
            followed("Content-Length: 38\r\nContent_Length: 5", &pixel(11)),
            BOTH,
        ),
        stream("length 0 before a body", request("Content-Length: 0", "") + &plain(22), &[22]),
        stream("no length before a body", request("X: y", &pixel(11)) + &smuggled(), NONE),
        stream(
            "a request as the body",
            request(&format!("Content-Length: {}", smuggled().len()), &smuggled()) + &plain(22),
            &[22],
        ),
        stream("length longer than the body", request("Content-Length: 100", &pixel(11)), NONE),
        stream(
            "length over the limit, a request in it",
            request("Content-Length: 20000", &(smuggled() + &" ".repeat(19_700))),
            NONE,
        ),
    ]
}

/// Transfer-Encoding alone.
fn codings() -> Vec<Stream> {
    let coding = |line: &str| request(line, &chunks(11)) + &smuggled();
    vec![
        stream("chunked", followed("Transfer-Encoding: chunked", &chunks(11)), BOTH),
        stream("chunked in capitals", followed("TRANSFER-ENCODING: CHUNKED", &chunks(11)), BOTH),
        stream(
            "chunked with blanks around it",
            followed("Transfer-Encoding: \t chunked \t", &chunks(11)),
            BOTH,
        ),
        stream("chunked with an empty element", followed("Transfer-Encoding: , chunked", &chunks(11)), BOTH),
        stream("`gzip, chunked`", coding("Transfer-Encoding: gzip, chunked"), NONE),
        stream("`chunked, gzip`", coding("Transfer-Encoding: chunked, gzip"), NONE),
        stream("`chunked, chunked`", coding("Transfer-Encoding: chunked, chunked"), NONE),
        stream(
            "chunked on two lines",
            coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            NONE,
        ),
        stream("`identity`", coding("Transfer-Encoding: identity"), NONE),
        stream("`xchunked`", coding("Transfer-Encoding: xchunked"), NONE),
        stream("`chunked;a=b`", coding("Transfer-Encoding: chunked;a=b"), NONE),
        stream("`\"chunked\"`", coding("Transfer-Encoding: \"chunked\""), NONE),
        stream("chunked behind a vertical tab", coding("Transfer-Encoding: \x0bchunked"), NONE),
        stream("chunked before a NUL", coding("Transfer-Encoding: chunked\0"), NONE),
        stream("chunked on a folded line", followed("Transfer-Encoding:\r\n chunked", &chunks(11)), BOTH),
        stream("coding with a blank before its colon", coding("Transfer-Encoding : chunked"), NONE),
        stream("coding behind a bare CR", coding("X: y\rTransfer-Encoding: chunked"), NONE),
        stream("coding in a folded line", coding("X: y\r\n Transfer-Encoding: chunked"), NONE),
        stream(
            "chunked in HTTP/1.0",
            with("POST /pixel HTTP/1.0", "Connection: keep-alive\r\nTransfer-Encoding: chunked", &chunks(11))
                + &smuggled(),
            FIRST,
        ),
    ]
}

/// Content-Length beside Transfer-Encoding. One reading ends the body before the smuggled request, one behind it.
fn both() -> Vec<Stream> {
    let early = format!("0\r\n\r\n{}", smuggled());
    let length = format!("Content-Length: {}", early.len());
    let ends_early = |coding: &str| request(&format!("{length}\r\n{coding}"), &early);
    let hidden = format!("{:x}\r\n{}\r\n0\r\n\r\n", smuggled().len(), smuggled());
    vec![
        stream("length, then chunked", ends_early("Transfer-Encoding: chunked"), NONE),
        stream(
            "chunked, then length",
            request(&format!("Transfer-Encoding: chunked\r\n{length}"), &early),
            NONE,
        ),
        stream(
            "length that ends in the chunks",
            request("Content-Length: 4\r\nTransfer-Encoding: chunked", &hidden),
            NONE,
        ),
        stream(
            "length 0 beside chunked",
            request("Content-Length: 0\r\nTransfer-Encoding: chunked", &hidden),
            NONE,
        ),
        stream("length beside `xchunked`", ends_early("Transfer-Encoding: xchunked"), NONE),
        stream("length beside `identity`", ends_early("Transfer-Encoding: identity"), NONE),
        stream("length beside an empty coding", ends_early("Transfer-Encoding:"), NONE),
        stream("length beside `chunked, identity`", ends_early("Transfer-Encoding: chunked, identity"), NONE),
        stream("length beside `\"chunked\"`", ends_early("Transfer-Encoding: \"chunked\""), NONE),
        stream(
            "length beside a coding with a blank before its colon",
            ends_early("Transfer-Encoding : chunked"),
            NONE,
        ),
        stream(
            "length beside a coding with a tab before its colon",
            ends_early("Transfer-Encoding\t: chunked"),
            NONE,
        ),
        stream(
            "length beside a coding behind a blank",
            ends_early("X: y\r\n Transfer-Encoding: chunked"),
            NONE,
        ),
        stream("length beside a coding on a folded line", ends_early("Transfer-Encoding:\r\n chunked"), NONE),
        stream(
            "length beside a coding behind a bare CR",
            ends_early("X: y\rTransfer-Encoding: chunked"),
            NONE,
        ),
        stream(
            "length beside a coding behind a bare LF",
            ends_early("X: y\nTransfer-Encoding: chunked"),
            NONE,
        ),
        stream("length beside a coding with an underscore", ends_early("Transfer_Encoding: chunked"), NONE),
        stream("length beside a coding with a NUL", ends_early("Transfer-Encoding\0: chunked"), NONE),
        stream(
            "length beside a coding behind a vertical tab",
            ends_early("Transfer-Encoding:\x0bchunked"),
            NONE,
        ),
        stream(
            "length beside chunked before a form feed",
            ends_early("Transfer-Encoding: chunked\x0c"),
            NONE,
        ),
        stream(
            "length beside chunked, both for this hop only",
            ends_early("Connection: Content-Length\r\nTransfer-Encoding: chunked"),
            NONE,
        ),
    ]
}

/// The line of a chunk's size.
fn chunk_sizes() -> Vec<Stream> {
    let chunked = |body: &str, next: &str| request("Transfer-Encoding: chunked", body) + next;
    let valid = |line: &str| chunked(&format!("{line}\r\n{}\r\n0\r\n\r\n", pixel(11)), &plain(22));
    let invalid = |line: &str| chunked(&format!("{line}\r\n{}\r\n0\r\n\r\n", pixel(11)), &smuggled());
    // A parser that takes the LF for the end of the line has a chunk of 2 bytes, and then the smuggled request.
    let hidden = |end: &str| {
        chunked(
            &format!("2;{end}xx\r\n{:x}\r\n0\r\n\r\n{}\r\n0\r\n\r\n", smuggled().len() + 5, smuggled()),
            "",
        )
    };
    vec![
        stream("size `026`", valid("026"), BOTH),
        stream("size with an extension", valid("26;a=b"), BOTH),
        stream("size with a quoted extension", valid("26;a=\"b;c\""), BOTH),
        stream("size with a blank before its extension", valid("26 ;a=b"), BOTH),
        stream("size with a blank behind it", valid("26 "), BOTH),
        stream("size of 80 digits", valid(&format!("{}26", "0".repeat(78))), BOTH),
        stream("size `+26`", invalid("+26"), NONE),
        stream("size `-26`", invalid("-26"), NONE),
        stream("size `0x26`", invalid("0x26"), NONE),
        stream("size `2_6`", invalid("2_6"), NONE),
        stream("size `2 6`", invalid("2 6"), NONE),
        stream("size behind a blank", invalid(" 26"), NONE),
        stream("size with a NUL", invalid("26\0"), NONE),
        stream("empty size", invalid(""), NONE),
        stream("size 2^64 + 38", invalid("10000000000000026"), NONE),
        stream("size 2^64 - 1", invalid("ffffffffffffffff"), NONE),
        stream(
            "bare LF behind a size",
            chunked(&format!("26\n{}\r\n0\r\n\r\n", pixel(11)), &smuggled()),
            NONE,
        ),
        stream("bare LF in an extension", hidden("\n"), NONE),
        stream("bare CR in an extension", hidden("\r"), NONE),
        stream(
            "long extension",
            chunked(&format!("26;{}\r\n{}\r\n0\r\n\r\n", "a".repeat(40_000), pixel(11)), &smuggled()),
            NONE,
        ),
    ]
}

/// What is behind the data of a chunk, and the trailers.
fn chunk_data() -> Vec<Stream> {
    let chunked = |body: String, next: &str| request("Transfer-Encoding: chunked", &body) + next;
    let ends = |end: &str, next: &str| chunked(format!("26\r\n{}\r\n{end}", pixel(11)), next);
    let data = |end: &str| chunked(format!("26\r\n{}{end}0\r\n\r\n", pixel(11)), &smuggled());
    vec![
        stream("nothing behind the data", data(""), NONE),
        stream("two other bytes behind the data", data("xx"), NONE),
        stream("bare LF behind the data", data("\n"), NONE),
        stream("bare CR behind the data", data("\r"), NONE),
        stream("two line ends behind the data", data("\r\n\r\n"), NONE),
        stream("last size `000`", ends("000\r\n\r\n", &plain(22)), BOTH),
        stream("last size with an extension", ends("0;a\r\n\r\n", &plain(22)), BOTH),
        stream("trailer", ends("0\r\nX: y\r\n\r\n", &plain(22)), BOTH),
        stream("length in a trailer", ends("0\r\nContent-Length: 300\r\n\r\n", &plain(22)), BOTH),
        stream("coding in a trailer", ends("0\r\nTransfer-Encoding: gzip\r\n\r\n", &plain(22)), BOTH),
        stream("request line in a trailer", ends("0\r\nGET /pixel HTTP/1.1\r\n\r\n", &plain(22)), BOTH),
        stream("trailer that ends with a bare LF", ends("0\r\nX: y\n\r\n", &plain(22)), BOTH),
        stream("bare LF behind the last size", ends("0\n\r\n", &smuggled()), NONE),
        stream("bare LF at the end", ends("0\r\n\n", &smuggled()), FIRST),
        stream("no line end at the end", ends("0\r\n", &smuggled()), FIRST),
        stream("no last chunk", chunked(format!("26\r\n{}\r\n", pixel(11)), ""), NONE),
    ]
}

/// Line ends, blanks and bytes of a header section.
fn lines() -> Vec<Stream> {
    let field = |line: &str| followed(&format!("{line}\r\nContent-Length: 38"), &pixel(11));
    // The body is the smuggled request, unless the blank line before it is none.
    let split =
        |end: &str| format!("POST /pixel HTTP/1.1\r\nHost: h\r\nContent-Length: 0{end}{}", smuggled());
    vec![
        stream("folded line", field("X: a\r\n b"), BOTH),
        stream("folded Host", field("Host: h\r\n i"), NONE),
        stream(
            "folded line before the first field",
            plain(11).replacen("Host:", " X: y\r\nHost:", 1) + &plain(22),
            BOTH,
        ),
        stream("blank before a colon", field("X : a"), BOTH),
        stream("field without a name", field(": a"), BOTH),
        stream("field without a colon", field("X"), BOTH),
        stream("NUL in a value", field("X: a\0b"), NONE),
        stream("NUL in a name", field("X\0: a"), BOTH),
        stream("bare CR in a value", field("X: a\rb"), BOTH),
        stream("bare LF between two fields", field("X: a\nY: b"), BOTH),
        stream("bare LF behind each line", (plain(11) + &plain(22)).replace("\r\n", "\n"), BOTH),
        stream("bare LFs before the body", split("\n\n"), &[SMUGGLED]),
        stream("bare CRs before the body", split("\r\r"), NONE),
        stream("CRLF LF before the body", split("\r\n\n"), &[SMUGGLED]),
        stream("line ends before a request", format!("\r\n\r\n{}\r\n{}", plain(11), plain(22)), BOTH),
        stream("bare LF before a request", format!("\n{}\n{}", plain(11), plain(22)), BOTH),
        stream("bare CR before a request", format!("\r{}", smuggled()), NONE),
        stream("field of 20,000 bytes", field(&format!("X: {}", "a".repeat(20_000))), NONE),
        stream("no Host", plain(SMUGGLED).replacen("Host: h\r\n", "", 1), NONE),
        stream("Host twice", field("Host: i"), NONE),
    ]
}

/// Request lines, versions, methods and what belongs to one hop.
fn requests() -> Vec<Stream> {
    let line = |line: &str| with(line, "Content-Length: 38", &pixel(11)) + &plain(22);
    let field = |line: &str| followed(&format!("{line}\r\nContent-Length: 38"), &pixel(11));
    let hidden =
        |start: &str| with(start, &format!("Content-Length: {}", smuggled().len()), &smuggled()) + &plain(22);
    vec![
        stream("absolute-form", line("POST http://h/pixel HTTP/1.1"), BOTH),
        stream("absolute-form of another host", line("POST http://other/pixel HTTP/1.1"), BOTH),
        stream("HTTP/1.0", line("POST /pixel HTTP/1.0"), FIRST),
        stream(
            "HTTP/1.0 with keep-alive",
            with("POST /pixel HTTP/1.0", "Connection: keep-alive\r\nContent-Length: 38", &pixel(11))
                + &plain(22),
            BOTH,
        ),
        stream("HTTP/1.2", line("POST /pixel HTTP/1.2"), BOTH),
        stream("HTTP/2.0", line("POST /pixel HTTP/2.0"), NONE),
        stream("HTTP/0.9", "POST /pixel\r\n", NONE),
        stream("HTTP/1.1 in lower case", line("POST /pixel http/1.1"), NONE),
        stream("two blanks in the request line", line("POST  /pixel HTTP/1.1"), BOTH),
        stream("blank behind the version", line("POST /pixel HTTP/1.1 "), BOTH),
        stream("tab in the request line", line("POST\t/pixel HTTP/1.1"), NONE),
        stream("method in lower case", line("post /pixel HTTP/1.1"), &[22]),
        stream("GET with a request as its body", hidden("GET /pixel HTTP/1.1"), &[22]),
        stream("HEAD with a request as its body", hidden("HEAD /pixel HTTP/1.1"), &[22]),
        stream("another path with a request as its body", hidden("POST /other HTTP/1.1"), &[22]),
        stream("CONNECT with a request as its body", hidden("CONNECT h:80 HTTP/1.1"), &[22]),
        stream("Connection: close", field("Connection: close"), FIRST),
        stream("length for this hop only", field("Connection: Content-Length"), BOTH),
        stream(
            "chunked for this hop only",
            followed("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", &chunks(11)),
            BOTH,
        ),
        stream("Expect: 100-continue", field("Expect: 100-continue"), BOTH),
        stream(
            "Upgrade: h2c",
            field("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"),
            BOTH,
        ),
        stream("preface of HTTP/2", format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}", smuggled()), NONE),
        stream(
            "Content-Encoding with a request as the body",
            request(&format!("Content-Encoding: gzip\r\nContent-Length: {}", smuggled().len()), &smuggled())
                + &plain(22),
            &[22],
        ),
        stream(
            "chunks of a rejected request",
            with(
                "PUT /pixel HTTP/1.1",
                "Transfer-Encoding: chunked",
                &format!("{:x}\r\n{}\r\n0\r\n\r\n", smuggled().len(), smuggled()),
            ) + &plain(22),
            &[22],
        ),
        stream("ten requests in a row", plain(11).repeat(10), &[11; 10]),
    ]
}
