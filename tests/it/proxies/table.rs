//! docs/proxies.md.

use super::{Outcome, streams::Stream};

/// The page with a row for each stream, and a column for pixeld and each proxy.
pub fn page(streams: &[Stream], columns: &[(String, Vec<Outcome>)]) -> String {
    let mut rows = String::new();
    let mut disputed = 0;
    for (nth, stream) in streams.iter().enumerate() {
        let outcomes: Vec<_> = columns.iter().map(|(_, outcomes)| &outcomes[nth]).collect();
        let is_disputed = outcomes.iter().any(|outcome| outcome.accepted != outcomes[0].accepted);
        disputed += usize::from(is_disputed);
        let cells: Vec<_> = outcomes.iter().map(|outcome| cell(outcome)).collect();
        let mark = if is_disputed { "≠" } else { "" };
        rows += &format!("| {} | {} | {mark} |\n", stream.name, cells.join(" | "));
    }
    let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
    format!(
        "# Where a request ends: pixeld and its proxies\n\n\
         {count} streams of bytes, sent to pixeld directly and through proxies: nginx with the shipped site, HAProxy and\n\
         Caddy with short configurations. If a proxy and pixeld disagree about where a request ends, a client can hide a\n\
         request in another one. `tests/it/proxies.rs` checks that this does not happen: on each connection from a proxy,\n\
         every response of pixeld belongs to the request that the proxy sent, by a strict reading of RFC 9112, and\n\
         directly, pixeld accepts no request whose beginning is in doubt. The test writes this page.\n\n\
         A cell has the statuses that the client got. `×`: the server closed the connection; `–`: no response. `≠`: not\n\
         all accept the same requests, which is so in {disputed} streams.\n\n\
         | stream | {header} | |\n| --- |{rule} --- |\n{rows}",
        count = streams.len(),
        header = names.join(" | "),
        rule = " --- |".repeat(names.len()),
    )
}

fn cell(outcome: &Outcome) -> String {
    let mut words: Vec<_> = outcome.statuses.iter().map(u16::to_string).collect();
    if words.len() > 4 {
        words = vec![format!("{} × {}", words.len(), words[0])];
    }
    if words.is_empty() {
        words.push("–".into());
    }
    if outcome.closed {
        words.push("×".into());
    }
    words.join(" ")
}
