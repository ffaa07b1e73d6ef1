use std::net::SocketAddr;

use super::{
    common::{CheckResult, listeners, or_ok},
    server_state::{ServerState, ask_all},
};
use crate::doctor::{
    facts::Facts,
    finding::{Finding, USE_SUDO},
    host::{Probe, Unavailable},
    nginx::{Group, Location, Nginx},
};

const RELOAD: &str = "sudo nginx -t && sudo systemctl reload nginx";

/// Whether each server of nginx is a pixeld that serves.
pub async fn upstreams(facts: &Facts) -> CheckResult {
    let nginx = facts.nginx.as_ref()?;
    if let Some(fault) = &nginx.fault {
        let finding = Finding::problem("nginx rejects its configuration: its next start fails");
        return Ok(vec![
            finding
                .evidence(fault)
                .fix("sudo nginx -t")
                .fix("# correct the line that it names, then:")
                .fix(RELOAD),
        ]);
    }
    let mut servers = nginx.servers();
    // A connection would start a stopped service.
    servers.retain(|server| !facts.units.as_ref().is_ok_and(|units| units.would_start(server)));
    let states = ask_all(servers).await;
    let sockets = facts.host.read("/proc/net/unix");
    compare(&Seen { facts, own: listeners(facts), states, sockets }, nginx)
}

/// The servers of nginx, and the facts about them.
struct Seen<'f> {
    facts: &'f Facts,
    /// The addresses of pixeld on this host.
    own: Vec<String>,
    /// The responses of the servers that were queried.
    states: Vec<(String, ServerState)>,
    /// `/proc/net/unix`
    sockets: Probe<String>,
}

fn compare(seen: &Seen, nginx: &Nginx) -> CheckResult {
    let mut findings = Vec::new();
    for group in &nginx.groups {
        for server in &group.servers {
            let finding = match server.strip_prefix("unix:") {
                Some(path) => unix_server(seen, group, path)?,
                None => tcp_server(seen, group, server),
            };
            findings.extend(finding);
        }
    }
    Ok(or_ok(findings, || {
        let servers: Vec<_> = nginx.groups.iter().flat_map(|group| group.servers.clone()).collect();
        Finding::ok("each server of nginx is a pixeld that serves").evidence(servers.join(", "))
    }))
}

fn unix_server(seen: &Seen, group: &Group, path: &str) -> Probe<Option<Finding>> {
    let own: Vec<_> = seen.own.iter().filter_map(|listener| listener.strip_prefix("unix:")).collect();
    let server = format!("unix:{path}");
    let what = if !seen.sockets.as_ref()?.lines().any(|line| listening_path(line) == Some(path)) {
        "no service listens"
    } else if !own.is_empty() && !own.contains(&path) {
        "another service listens"
    } else {
        return Ok(seen.state_of(&server).and_then(|state| match state {
            ServerState::Forbidden => Some(Finding::skipped(format!(
                "no permission to connect to {path}: {USE_SUDO}, or `sudo usermod -aG pixeld-proxy $USER`"
            ))),
            state => wrong_state(seen, group, &server, state),
        }));
    };
    let finding = Finding::problem(format!("nginx sends pixels to {path}, where {what}"))
        .evidence(format!("nginx -T: upstream {}: server {server}", group.name));
    let pixeld = own.first().unwrap_or(&"/run/pixeld/http.sock");
    Ok(Some(if *pixeld == path {
        finding.fix("sudo systemctl start pixeld.service")
    } else {
        finding
            .fix(format!("sudo grep -rnF {server} /etc/nginx"))
            .fix(format!("# write there: unix:{pixeld}"))
            .fix(RELOAD)
    }))
}

/// Returns the path of a socket that listens, from its line in `/proc/net/unix`.
fn listening_path(line: &str) -> Option<&str> {
    /// `__SO_ACCEPTCON`
    const LISTENS: &str = "00010000";
    let words: Vec<_> = line.split_whitespace().collect();
    words.get(7).filter(|_| words[3] == LISTENS).copied()
}

fn tcp_server(seen: &Seen, group: &Group, server: &str) -> Option<Finding> {
    let wrong = seen.state_of(server).and_then(|state| wrong_state(seen, group, server, state));
    if wrong.is_some() {
        return wrong;
    }
    let address: SocketAddr = server.parse().ok()?;
    let is_ours = |listener: &String| {
        listener.parse().is_ok_and(|listening: SocketAddr| listening.port() == address.port())
    };
    if !address.ip().is_loopback() || seen.own.is_empty() || seen.own.iter().any(is_ours) {
        return None;
    }
    Some(other_service(seen, group, server, &format!("pixeld listens on {}", seen.own.join(", "))))
}

impl Seen<'_> {
    /// The response of a server, if it was queried.
    fn state_of(&self, server: &str) -> Option<&ServerState> {
        self.states.iter().find(|(name, _)| name == server).map(|(_, state)| state)
    }
}

fn wrong_state(seen: &Seen, group: &Group, server: &str, state: &ServerState) -> Option<Finding> {
    let is_own = seen.own.iter().any(|listener| listener == server);
    match state {
        ServerState::Serving | ServerState::Forbidden => None,
        // The check "daemon" reports it.
        ServerState::Drained if is_own => None,
        ServerState::Drained => Some(
            Finding::warning(format!("nginx sends pixels to {server}, which is drained"))
                .evidence(evidence(group, server, "GET /pixel: 503"))
                .fix("# on that host, to let it serve again:")
                .fix("sudo pixeldctl resume"),
        ),
        ServerState::Other(line) => Some(other_service(seen, group, server, &format!("GET /pixel: {line}"))),
        ServerState::Silent(_) if is_own && seen.facts.daemon.is_err() => None,
        ServerState::Silent(reason) => {
            let summary = format!("nginx sends pixels to {server}, which does not respond");
            let evidence = evidence(group, server, &format!("GET /pixel: {reason}"));
            let finding = if is_own {
                Finding::problem(summary).fix("pixeldctl status")
            } else {
                Finding::warning(summary)
                    .fix("# on that host:")
                    .fix("sudo systemctl enable pixeld-tcp.socket")
            };
            Some(finding.evidence(evidence).fix("sudo systemctl restart pixeld.service"))
        }
    }
}

fn other_service(seen: &Seen, group: &Group, server: &str, said: &str) -> Finding {
    Finding::problem(format!("nginx sends pixels to {server}, where another service listens"))
        .evidence(evidence(group, server, said))
        .fix(format!("sudo grep -rnF {server} /etc/nginx"))
        .fix(format!("# write there: {}", seen.own.last().map_or("", String::as_str)))
        .fix(RELOAD)
}

fn evidence(group: &Group, server: &str, said: &str) -> String {
    format!("nginx -T: upstream {}: server {server}; {said}", group.name)
}

/// Whether nginx retries a host after all have failed.
pub fn failover(facts: &Facts) -> CheckResult {
    let nginx = facts.nginx.as_ref()?;
    if nginx.fault.is_some() {
        return Err(Unavailable("nginx rejects its configuration".into()));
    }
    let findings = nginx.groups.iter().filter_map(lacks_backups).collect();
    Ok(or_ok(findings, || Finding::ok("nginx retries each host if all have failed")))
}

fn lacks_backups(group: &Group) -> Option<Finding> {
    let lacks = |server: &&String| group.is_block && !group.backups.contains(server);
    let lacking: Vec<_> = group.servers.iter().filter(lacks).cloned().collect();
    if lacking.is_empty() {
        return None;
    }
    let lines = lacking.iter().map(|server| format!("# server {server} max_fails=0 backup;"));
    let finding = Finding::warning("timeouts of one client can make nginx give up every host");
    Some(
        finding
            .evidence(format!("nginx -T: upstream {}: no backup of {}", group.name, lacking.join(", ")))
            .fix(format!("# in upstream {}, beside its other servers:", group.name))
            .fix_all(lines)
            .fix(RELOAD),
    )
}

/// Whether nginx keeps its connections to pixeld.
pub fn keepalive(facts: &Facts) -> CheckResult {
    let nginx = facts.nginx.as_ref()?;
    if nginx.fault.is_some() {
        return Err(Unavailable("nginx rejects its configuration".into()));
    }
    let findings = nginx.groups.iter().filter_map(|group| closes(nginx, group)).collect();
    Ok(or_ok(findings, || Finding::ok("nginx keeps its connections to pixeld")))
}

fn closes(nginx: &Nginx, group: &Group) -> Option<Finding> {
    let mut lacking = Vec::new();
    let mut fix = Vec::new();
    if !group.is_block {
        if nginx.keeps_by_default {
            return None;
        }
        lacking.push(format!("proxy_pass to {} without an upstream block", group.name));
        fix.push(format!("# upstream pixeld {{ server {}; keepalive 256; }}", group.name));
        fix.push("# and in the location: proxy_pass http://pixeld;".to_owned());
    } else if group.keepalive == Some(0) || (group.keepalive.is_none() && !nginx.keeps_by_default) {
        lacking.push(format!("upstream {} has no keepalive", group.name));
        fix.push(format!("# in upstream {}, after its servers: keepalive 256;", group.name));
    }
    for location in &group.locations {
        let lines = missing(location, nginx.keeps_by_default);
        if !lines.is_empty() {
            lacking.push(format!("location {} lacks {}", location.name, lines.join(" and ")));
            fix.push(format!("# in location {}: {VERSION}; {CONNECTION};", location.name));
        }
    }
    if lacking.is_empty() {
        return None;
    }
    let finding = Finding::warning("nginx opens a connection to pixeld for each request");
    Some(finding.evidence(format!("nginx -T: {}", lacking.join("; "))).fix_all(fix).fix(RELOAD))
}

const VERSION: &str = "proxy_http_version 1.1";
const CONNECTION: &str = "proxy_set_header Connection \"\"";

fn missing(location: &Location, keeps_by_default: bool) -> Vec<&'static str> {
    let version = match location.version.as_deref() {
        None => keeps_by_default,
        Some(version) => version != "1.0",
    };
    let connection = match location.connection.as_deref() {
        None => keeps_by_default,
        Some(value) => value.is_empty() || value.eq_ignore_ascii_case("keep-alive"),
    };
    let lines = [(version, VERSION), (connection, CONNECTION)];
    lines.iter().filter(|(is_there, _)| !is_there).map(|(_, line)| *line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        checks::fixtures::{healthy, only},
        finding::FindingState,
    };

    const SOCKETS: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n\
        0000: 00000002 00000000 00010000 0001 01 12 /run/pixeld/http.sock\n\
        0000: 00000002 00000000 00010000 0001 01 12 /run/other.sock\n\
        0000: 00000003 00000000 00000000 0001 03 13 /run/pixeld/gone.sock\n\
        0000: 00000003 00000000 00010000 0001 01 14\n";

    fn group(facts: &mut Facts) -> &mut Group {
        &mut facts.nginx.as_mut().unwrap().groups[0]
    }

    /// Checks a host whose nginx has this server, with this response if it is queried.
    fn check(server: &str, state: Option<ServerState>, expected: FindingState) -> Finding {
        let mut facts = healthy();
        group(&mut facts).servers = vec![server.into()];
        let states = state.map(|state| (server.into(), state)).into_iter().collect();
        let seen = Seen { facts: &facts, own: listeners(&facts), states, sockets: Ok(SOCKETS.into()) };
        only(compare(&seen, facts.nginx.as_ref().unwrap()), expected)
    }

    #[test]
    fn address_without_pixeld_is_a_problem() {
        for path in ["/run/pixel.sock", "/run/pixeld/gone.sock"] {
            let finding = check(&format!("unix:{path}"), None, FindingState::Problem);
            assert!(finding.summary.contains(&format!("{path}, where no service listens")), "{finding:?}");
            assert!(finding.fix[1].contains("unix:/run/pixeld/http.sock"), "{finding:?}");
        }
        for server in ["unix:/run/other.sock", "127.0.0.1:9000"] {
            let finding = check(server, None, FindingState::Problem);
            assert!(finding.summary.contains("another service"), "{finding:?}");
        }
        for server in ["unix:/run/pixeld/http.sock", "127.0.0.1:8000", "10.77.0.20:8000"] {
            check(server, None, FindingState::Ok);
        }
    }

    #[test]
    fn stopped_pixeld_has_a_start_as_its_fix() {
        let mut facts = healthy();
        group(&mut facts).servers = vec!["unix:/run/pixeld/http.sock".into()];
        let seen = Seen { facts: &facts, own: Vec::new(), states: Vec::new(), sockets: Ok(String::new()) };
        let finding = only(compare(&seen, facts.nginx.as_ref().unwrap()), FindingState::Problem);
        assert_eq!(finding.fix, ["sudo systemctl start pixeld.service"]);
    }

    #[test]
    fn server_that_does_not_serve_is_reported() {
        use ServerState::{Drained, Forbidden, Other, Serving, Silent};

        const OWN: &str = "unix:/run/pixeld/http.sock";
        const REMOTE: &str = "10.77.0.20:8000";
        let refused = || Silent("Connection refused".into());
        for (server, state, expected, part) in [
            (OWN, Serving, FindingState::Ok, "serves"),
            (REMOTE, Serving, FindingState::Ok, "serves"),
            (REMOTE, refused(), FindingState::Warning, "does not respond"),
            (REMOTE, Drained, FindingState::Warning, "is drained"),
            (OWN, Drained, FindingState::Ok, "serves"),
            (REMOTE, Other("HTTP/1.1 200 OK".into()), FindingState::Problem, "another service"),
            (OWN, refused(), FindingState::Problem, "does not respond"),
            (OWN, Forbidden, FindingState::Skipped, "pixeld-proxy"),
        ] {
            let finding = check(server, Some(state), expected);
            assert!(finding.summary.contains(part), "{finding:?}");
        }
        let finding = check(REMOTE, Some(refused()), FindingState::Warning);
        assert!(finding.evidence.contains("Connection refused"), "{finding:?}");
        assert_eq!(check(REMOTE, Some(Drained), FindingState::Warning).fix[1], "sudo pixeldctl resume");
    }

    #[tokio::test]
    async fn rejected_nginx_configuration_is_a_problem() {
        let mut facts = healthy();
        facts.nginx = Ok(Nginx { fault: Some("[emerg] x".into()), ..Nginx::default() });
        assert_eq!(only(upstreams(&facts).await, FindingState::Problem).evidence, "[emerg] x");
        assert!(keepalive(&facts).is_err());
    }

    #[test]
    fn servers_without_a_backup_are_named() {
        let mut facts = healthy();
        only(failover(&facts), FindingState::Ok);
        group(&mut facts).backups.pop();
        let finding = only(failover(&facts), FindingState::Warning);
        assert!(finding.evidence.ends_with("no backup of 10.77.0.20:8000"), "{finding:?}");
        assert_eq!(finding.fix[1], "# server 10.77.0.20:8000 max_fails=0 backup;");
        group(&mut facts).is_block = false;
        only(failover(&facts), FindingState::Ok);
    }

    #[test]
    fn each_missing_keepalive_line_is_reported() {
        let unset = |nginx: &mut Nginx| {
            let group = &mut nginx.groups[0];
            (group.keepalive, group.locations[0].version, group.locations[0].connection) = (None, None, None);
        };
        let check = |change: &dyn Fn(&mut Nginx), expected: Option<&str>| {
            let mut facts = healthy();
            change(facts.nginx.as_mut().unwrap());
            let state = if expected.is_some() { FindingState::Warning } else { FindingState::Ok };
            let finding = only(keepalive(&facts), state);
            assert!(finding.evidence.contains(expected.unwrap_or_default()), "{finding:?}");
        };
        let connection = "lacks proxy_set_header Connection \"\"";
        check(&|_| {}, None);
        check(&|nginx| nginx.groups[0].keepalive = None, Some("has no keepalive"));
        check(&|nginx| nginx.groups[0].locations[0].version = None, Some("lacks proxy_http_version 1.1"));
        check(&|nginx| nginx.groups[0].locations[0].connection = Some("close".into()), Some(connection));
        check(&|nginx| nginx.groups[0].is_block = false, Some("without an upstream block"));
        check(&unset, Some("has no keepalive"));
        let later = |nginx: &mut Nginx| {
            unset(nginx);
            nginx.keeps_by_default = true;
        };
        check(&later, None);
        let without = |nginx: &mut Nginx| {
            later(nginx);
            nginx.groups[0].keepalive = Some(0);
        };
        check(&without, Some("has no keepalive"));
    }
}
