use super::case::{
    BAD, Case, Expect, HOST, JSON, LENGTH, NOT_ALLOWED, NOT_FOUND, OK, OK_OR_BAD, PIXEL, case, lines,
    starting,
};

pub fn cases() -> Vec<Case> {
    [methods(), paths(), queries(), codings()].into_iter().flatten().collect()
}

fn methods() -> Vec<Case> {
    let names =
        ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW", "QUERY", "PROPFIND", "!#$%&'*+-.^_`|~0a"];
    let bare = |method: &str, path: &str| lines(&[&format!("{method} {path} HTTP/1.1"), HOST], "");
    let mut cases: Vec<_> = names
        .iter()
        .flat_map(|name| {
            let start = format!("{name} /pixel HTTP/1.1");
            // nginx takes letters only for a method.
            let nginx = if name.starts_with('!') { BAD } else { NOT_ALLOWED };
            [
                case(
                    format!("{name} is not allowed"),
                    "CONTRACT: 405; RFC 9110 §15.5.6",
                    bare(name, "/pixel"),
                    NOT_ALLOWED,
                )
                .nginx(nginx),
                case(
                    format!("{name} with a body is not allowed"),
                    "CONTRACT: 405",
                    starting(&start),
                    NOT_ALLOWED,
                )
                .nginx(nginx),
            ]
        })
        .collect();
    for name in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let not_there =
            case(format!("{name} elsewhere is not there"), "CONTRACT: 404", bare(name, "/"), NOT_FOUND);
        cases.push(not_there.nginx_too());
    }
    cases.extend([
        case("TRACE is not allowed", "CONTRACT: 405; RFC 9110 §9.3.8", bare("TRACE", "/pixel"), NOT_ALLOWED)
            .nginx_too(),
        case(
            "post is another method than POST",
            "RFC 9110 §9.1: case-sensitive",
            starting("post /pixel HTTP/1.1"),
            NOT_ALLOWED,
        ),
        case("HEAD is not allowed, without a body", "RFC 9110 §9.3.2", bare("HEAD", "/pixel"), NOT_ALLOWED)
            .head()
            .nginx_too(),
        case(
            "HEAD elsewhere is not there, without a body",
            "RFC 9110 §9.3.2",
            bare("HEAD", "/nope"),
            NOT_FOUND,
        )
        .head()
        .nginx_too(),
        case(
            "HEAD with a body is not allowed",
            "RFC 9110 §9.3.2",
            starting("HEAD /pixel HTTP/1.1"),
            NOT_ALLOWED,
        )
        .head()
        .nginx_too(),
        case(
            "HEAD without Host is refused, without a body",
            "RFC 9112 §3.2, RFC 9110 §9.3.2",
            lines(&["HEAD /pixel HTTP/1.1"], ""),
            BAD,
        )
        .head()
        .closed(),
        case(
            "a method of 1000 letters",
            "RFC 9112 §3: 405, or 501",
            bare(&"M".repeat(1000), "/pixel"),
            &[&[405], &[400], &[431], &[501]],
        ),
    ]);
    cases
}

fn paths() -> Vec<Case> {
    let post = |path: &str| starting(&format!("POST {path} HTTP/1.1"));
    let why = "CONTRACT: any other path";
    // nginx looks at the normalized path, so that some of these are /pixel to it.
    let mut cases: Vec<_> = [
        "/",
        "/pixel/",
        "/pixel%2f",
        "/PIXEL",
        "/Pixel",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/health",
        "/metrics",
        "/status",
        "/pixe",
        "/pixels",
        "/pixel;a=b",
        "/pixel,",
        "/pixel.json",
        "/pixel%20",
        "/pixel%3fa=b",
        "/index.html",
        "/.well-known/security.txt",
        "/v1/pixel",
        "/pixel/1",
        "/favicon.ico",
        "/pixel%23",
    ]
    .iter()
    .map(|path| case(format!("{path} is not there"), why, post(path), NOT_FOUND).nginx_too())
    .collect();
    cases.extend(
        [
            "/%70ixel",
            "//pixel",
            "/./pixel",
            "/a/../pixel",
            "/pixel/..",
            "/pixel/.",
            "/%2e/pixel",
            "///pixel",
            "/pixel//",
        ]
        .iter()
        .map(|path| case(format!("{path} is not /pixel"), why, post(path), NOT_FOUND)),
    );
    let broken: Expect = &[&[400], &[404]];
    for path in ["/pixel%", "/pixel%zz", "/pixel%00", "/../pixel", "/..%2fpixel", "/pixel\\", "/{pixel}"] {
        cases.push(case(format!("{path} is no /pixel"), "RFC 3986 §3.3", post(path), broken));
    }
    cases
}

fn queries() -> Vec<Case> {
    let post = |path: &str| starting(&format!("POST {path} HTTP/1.1"));
    let mut cases: Vec<_> =
        ["/pixel?", "/pixel?a", "/pixel?a=b&c=d", "/pixel?/a?b", "/pixel?%41", "/pixel?a:@!$'()*+,;="]
            .iter()
            .map(|path| {
                case(format!("{path} is served"), "RFC 3986 §3.4; CONTRACT", post(path), OK).nginx_too()
            })
            .collect();
    cases.push(case("a query with a broken escape", "RFC 3986 §2.1", post("/pixel?%zz"), OK_OR_BAD));
    cases
        .push(case("a query does not make a path", "CONTRACT: 404", post("/?/pixel"), NOT_FOUND).nginx_too());
    cases
}

fn codings() -> Vec<Case> {
    let coded =
        |fields: &[&str]| lines(&[&["POST /pixel HTTP/1.1", HOST, JSON, LENGTH], fields].concat(), PIXEL);
    let refused = |name: &str, fields: &[&str]| {
        case(name, "CONTRACT: 415; RFC 9110 §8.4", coded(fields), &[&[415]]).nginx_too()
    };
    vec![
        refused("a gzipped body is refused", &["content-encoding: gzip"]),
        refused("x-gzip is refused", &["content-encoding: x-gzip"]),
        refused("deflate is refused", &["content-encoding: deflate"]),
        refused("br is refused", &["content-encoding: br"]),
        refused("zstd is refused", &["Content-Encoding: zstd"]),
        refused("an unknown coding is refused", &["content-encoding: rot13"]),
        refused("a coding in upper case is refused", &["content-encoding: GZIP"]),
        refused("identity and gzip are refused", &["content-encoding: identity, gzip"]),
        refused("gzip and identity are refused", &["content-encoding: gzip, identity"]),
        refused(
            "identity and gzip on two lines are refused",
            &["content-encoding: identity", "content-encoding: gzip"],
        ),
        refused("chunked is no content coding", &["content-encoding: chunked"]),
        case(
            "identity is served",
            "CONTRACT: other than identity",
            coded(&["content-encoding: identity"]),
            OK,
        )
        .nginx_too(),
        case(
            "Identity is served",
            "RFC 9110 §8.4.1: case-insensitive",
            coded(&["content-encoding: Identity"]),
            OK,
        )
        .nginx_too(),
        case("an empty coding is served", "RFC 9110 §5.6.1", coded(&["content-encoding:"]), OK),
        case(
            "identity twice is served",
            "CONTRACT: nothing but identity",
            coded(&["content-encoding: identity, identity"]),
            OK,
        )
        .kept()
        .nginx_too(),
        case(
            "identity on two lines is served",
            "CONTRACT: nothing but identity",
            coded(&["content-encoding: identity", "content-encoding: IDENTITY"]),
            OK,
        )
        .kept(),
        case(
            "identity with an empty entry is served",
            "RFC 9110 §5.6.1",
            coded(&["content-encoding: identity,"]),
            OK,
        ),
        case(
            "Accept-Encoding changes nothing",
            "CONTRACT: exact content-length",
            coded(&["accept-encoding: gzip"]),
            OK,
        )
        .nginx_too(),
        case("Accept changes nothing", "CONTRACT", coded(&["accept: text/html"]), OK).nginx_too(),
        case(
            "a coded body elsewhere is not there",
            "CONTRACT: any other path",
            lines(&["POST /nope HTTP/1.1", HOST, LENGTH, "content-encoding: gzip"], PIXEL),
            NOT_FOUND,
        )
        .nginx_too(),
        case(
            "a coded body with another method is not allowed",
            "CONTRACT: 405",
            lines(&["PUT /pixel HTTP/1.1", HOST, LENGTH, "content-encoding: gzip"], PIXEL),
            NOT_ALLOWED,
        ),
    ]
}
