use std::net::SocketAddr;

use super::common::{CheckResult, listeners, or_ok};
use crate::doctor::{
    finding::{Finding, USE_SUDO},
    host_facts::{Probe, Unavailable},
    probe::{
        Facts,
        nginx::{Group, Location, Nginx},
        upstream::ServerState,
    },
};

const RELOAD: &str = "sudo nginx -t && sudo systemctl reload nginx";

/// Whether each server of nginx is a pixeld that serves.
pub fn upstreams(facts: &Facts) -> CheckResult {
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
    let mut findings = Vec::new();
    for group in &nginx.groups {
        for server in &group.servers {
            let finding = match server.strip_prefix("unix:") {
                Some(path) => unix_server(facts, group, path)?,
                None => tcp_server(facts, group, server),
            };
            findings.extend(finding);
        }
    }
    Ok(or_ok(findings, || {
        let servers: Vec<_> = nginx.groups.iter().flat_map(|group| group.servers.clone()).collect();
        Finding::ok("each server of nginx is a pixeld that serves").evidence(servers.join(", "))
    }))
}

fn unix_server(facts: &Facts, group: &Group, path: &str) -> Probe<Option<Finding>> {
    let listeners = listeners(facts);
    let own: Vec<_> = listeners.iter().filter_map(|listener| listener.strip_prefix("unix:")).collect();
    let all = facts.unix_listeners.as_ref()?;
    let server = format!("unix:{path}");
    let what = if !all.iter().any(|listening| listening == path) {
        "no service listens"
    } else if !own.is_empty() && !own.contains(&path) {
        "another service listens"
    } else {
        return Ok(state_of(facts, &server).and_then(|state| match state {
            ServerState::Forbidden => Some(Finding::skipped(format!(
                "no permission to connect to {path}: {USE_SUDO}, or `sudo usermod -aG pixeld-proxy $USER`"
            ))),
            state => wrong_state(facts, group, &server, state),
        }));
    };
    let finding = Finding::problem(format!("nginx sends pixels to {path}, where {what}"))
        .evidence(format!("nginx -T: upstream {}: server {server}", group.name))
        .fix(format!("sudo grep -rnF {server} /etc/nginx"))
        .fix(format!("# write there: unix:{}", own.first().unwrap_or(&"/run/pixeld/http.sock")))
        .fix(RELOAD);
    Ok(Some(finding))
}

fn tcp_server(facts: &Facts, group: &Group, server: &str) -> Option<Finding> {
    let wrong = state_of(facts, server).and_then(|state| wrong_state(facts, group, server, state));
    if wrong.is_some() {
        return wrong;
    }
    let address: SocketAddr = server.parse().ok()?;
    let own = listeners(facts);
    let is_ours = |listener: &String| {
        listener.parse().is_ok_and(|listening: SocketAddr| listening.port() == address.port())
    };
    if !address.ip().is_loopback() || own.is_empty() || own.iter().any(is_ours) {
        return None;
    }
    let said = format!("pixeld listens on {}", own.join(", "));
    Some(other_service(&own, group, server, &said))
}

/// The response of a server, if it was queried.
fn state_of<'f>(facts: &'f Facts, server: &str) -> Option<&'f ServerState> {
    facts.servers.iter().find(|(name, _)| name == server).map(|(_, state)| state)
}

fn wrong_state(facts: &Facts, group: &Group, server: &str, state: &ServerState) -> Option<Finding> {
    let own = listeners(facts);
    let is_own = own.iter().any(|listener| listener == server);
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
        ServerState::Other(line) => Some(other_service(&own, group, server, &format!("GET /pixel: {line}"))),
        ServerState::Silent(_) if is_own && facts.daemon.is_err() => None,
        ServerState::Silent(reason) if is_own => Some(
            Finding::problem(format!("nginx sends pixels to {server}, which does not respond"))
                .evidence(evidence(group, server, &format!("GET /pixel: {reason}")))
                .fix("pixeldctl status")
                .fix("sudo systemctl restart pixeld.service"),
        ),
        ServerState::Silent(reason) => Some(
            Finding::warning(format!("nginx sends pixels to {server}, which does not respond"))
                .evidence(evidence(group, server, &format!("GET /pixel: {reason}")))
                .fix("# on that host:")
                .fix("sudo systemctl enable pixeld-tcp.socket")
                .fix("sudo systemctl restart pixeld.service"),
        ),
    }
}

fn other_service(own: &[String], group: &Group, server: &str, said: &str) -> Finding {
    Finding::problem(format!("nginx sends pixels to {server}, where another service listens"))
        .evidence(evidence(group, server, said))
        .fix(format!("sudo grep -rnF {server} /etc/nginx"))
        .fix(format!("# write there: {}", own.last().map_or("", String::as_str)))
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
    use crate::doctor::checks::fixtures::{FindingState, healthy, only};

    fn group(facts: &mut Facts) -> &mut Group {
        &mut facts.nginx.as_mut().unwrap().groups[0]
    }

    #[test]
    fn path_without_listener_is_a_problem() {
        let mut facts = healthy();
        only(upstreams(&facts), FindingState::Ok);
        group(&mut facts).servers[0] = "unix:/run/pixel.sock".into();
        let finding = only(upstreams(&facts), FindingState::Problem);
        assert!(finding.summary.contains("/run/pixel.sock, where no service listens"), "{finding:?}");
        assert!(finding.fix[1].contains("unix:/run/pixeld/http.sock"), "{finding:?}");
    }

    #[test]
    fn socket_of_another_service_is_a_problem() {
        let mut facts = healthy();
        group(&mut facts).servers = vec!["unix:/run/other.sock".into()];
        assert!(only(upstreams(&facts), FindingState::Problem).summary.contains("another service"));
        group(&mut facts).servers = vec!["127.0.0.1:9000".into()];
        assert!(only(upstreams(&facts), FindingState::Problem).summary.contains("another service"));
        group(&mut facts).servers = vec!["127.0.0.1:8000".into()];
        only(upstreams(&facts), FindingState::Ok);
    }

    #[test]
    fn server_that_does_not_serve_is_reported() {
        let mut facts = healthy();
        facts.servers[1].1 = ServerState::Silent("Connection refused".into());
        assert!(only(upstreams(&facts), FindingState::Warning).evidence.contains("Connection refused"));
        facts.servers[1].1 = ServerState::Drained;
        assert_eq!(only(upstreams(&facts), FindingState::Warning).fix[1], "sudo pixeldctl resume");
        facts.servers[1].1 = ServerState::Other("HTTP/1.1 200 OK".into());
        assert!(only(upstreams(&facts), FindingState::Problem).summary.contains("another service"));
        facts.servers[1].1 = ServerState::Serving;
        facts.servers[0].1 = ServerState::Silent("no response within 2s".into());
        assert!(only(upstreams(&facts), FindingState::Problem).summary.contains("does not respond"));
        facts.servers[0].1 = ServerState::Forbidden;
        assert!(only(upstreams(&facts), FindingState::Skipped).summary.contains("pixeld-proxy"));
    }

    #[test]
    fn rejected_nginx_configuration_is_a_problem() {
        let mut facts = healthy();
        facts.nginx = Ok(Nginx { fault: Some("[emerg] x".into()), ..Nginx::default() });
        assert_eq!(only(upstreams(&facts), FindingState::Problem).evidence, "[emerg] x");
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
        let mut facts = healthy();
        only(keepalive(&facts), FindingState::Ok);
        group(&mut facts).keepalive = None;
        assert!(only(keepalive(&facts), FindingState::Warning).evidence.contains("has no keepalive"));
        group(&mut facts).keepalive = Some(64);
        group(&mut facts).locations[0].version = None;
        assert!(
            only(keepalive(&facts), FindingState::Warning).evidence.contains("lacks proxy_http_version 1.1")
        );
        group(&mut facts).locations[0].version = Some("1.1".into());
        group(&mut facts).locations[0].connection = Some("close".into());
        let finding = only(keepalive(&facts), FindingState::Warning);
        assert!(finding.evidence.contains("lacks proxy_set_header Connection \"\""), "{finding:?}");
    }

    #[test]
    fn new_nginx_keeps_connections_by_itself() {
        let mut facts = healthy();
        facts.nginx.as_mut().unwrap().keeps_by_default = true;
        let group = group(&mut facts);
        (group.keepalive, group.locations[0].version, group.locations[0].connection) = (None, None, None);
        only(keepalive(&facts), FindingState::Ok);
        facts.nginx.as_mut().unwrap().groups[0].keepalive = Some(0);
        only(keepalive(&facts), FindingState::Warning);
    }

    #[test]
    fn location_without_upstream_keeps_no_connection() {
        let mut facts = healthy();
        group(&mut facts).is_block = false;
        assert!(
            only(keepalive(&facts), FindingState::Warning).evidence.contains("without an upstream block")
        );
    }
}
