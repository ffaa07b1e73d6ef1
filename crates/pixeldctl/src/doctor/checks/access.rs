use super::common::{CheckResult, drop_in, listeners, or_ok, reopen};
use crate::doctor::{
    facts::Facts,
    finding::Finding,
    host::{Probe, Unavailable},
    units,
};

/// The group that the unit gives the socket to.
const GROUP: &str = "pixeld-proxy";
/// The drop-in that an upgrade adds if a connected proxy is not in the group.
const KEPT_OPEN: &str = "/etc/systemd/system/pixeld.socket.d/keep-mode-0666.conf";

/// Whether nginx may connect to pixeld's Unix socket, and other local users may not.
pub async fn access(facts: &Facts) -> CheckResult {
    let nginx = facts.nginx.as_ref()?;
    let mut paths = nginx.servers();
    paths.retain(|server| server.starts_with("unix:"));
    let groups = match paths.as_slice() {
        [] => String::new(),
        _ => facts.host.ask("id", &["-nG", "--", &nginx.user]).await?,
    };
    let own = listeners(facts);
    paths.retain(|server| own.contains(server));
    let (mut findings, mut existing) = (Vec::new(), Vec::new());
    for path in paths.iter().filter_map(|server| server.strip_prefix("unix:")) {
        // The check "upstreams" reports a missing one.
        if let Ok(shown) = facts.host.ask("stat", &["-c", "%a %U %G", "--", path]).await {
            findings.extend(check_socket(path, &shown, &nginx.user, &groups)?);
            existing.push(path);
        }
    }
    Ok(or_ok(findings, || {
        Finding::ok("nginx may connect to pixeld, and other users may not").evidence(existing.join(", "))
    }))
}

/// Evaluates what stat and id show: `660 root pixeld-proxy`, `www-data pixeld-proxy`.
fn check_socket(path: &str, shown: &str, user: &str, groups: &str) -> Probe<Option<Finding>> {
    let unexpected = || Unavailable(format!("stat prints {:?} of {path}", shown.trim()));
    let words: Vec<_> = shown.split_whitespace().collect();
    let [mode, owner, group] = words[..] else { return Err(unexpected()) };
    let mode = u32::from_str_radix(mode, 8).map_err(|_| unexpected())?;
    let groups: Vec<_> = groups.split_whitespace().collect();
    let evidence =
        format!("{path}: mode {mode:o}, user {owner}, group {group}; groups of {user}: {}", groups.join(" "));
    // connect(2) asks for the permission to write; of the three classes, the first that fits decides.
    let may_connect = match () {
        () if user == "root" => true,
        () if user == owner => mode & 0o200 != 0,
        () if groups.contains(&group) => mode & 0o020 != 0,
        () => mode & 0o002 != 0,
    };
    if !may_connect {
        let finding =
            Finding::problem(format!("nginx's user {user} may not connect to {path}")).evidence(evidence);
        return Ok(Some(match group {
            GROUP => finding
                .fix(format!("sudo usermod -aG {GROUP} {user}"))
                .fix("# its processes get the group when they start:")
                .fix("sudo systemctl reload nginx"),
            _ => finding
                .fix("# where systemd opens the socket:")
                .fix_all(drop_in(units::NEEDED[0], "Socket", &format!("SocketGroup={GROUP}")))
                .fix(format!("sudo usermod -aG {GROUP} {user}"))
                .fix(reopen(units::NEEDED[0]))
                .fix("sudo systemctl reload nginx"),
        }));
    }
    Ok((mode & 0o002 != 0).then(|| {
        Finding::warning(format!("every local user may connect to {path}, and stall pixeld"))
            .evidence(evidence)
            .fix(format!("# once each proxy that uses it is in the group {GROUP}:"))
            .fix(format!("sudo rm -f {KEPT_OPEN}"))
            .fix("sudo systemctl daemon-reload")
            .fix(format!("sudo chgrp {GROUP} {path}"))
            .fix(format!("sudo chmod 0660 {path}"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{checks::fixtures::only, finding::FindingState};

    #[test]
    fn nginx_and_no_other_user_may_connect() {
        let check = |shown, user, groups| check_socket("/s", shown, user, groups).map(Vec::from_iter);
        for (shown, user, groups) in [
            ("660 root pixeld-proxy\n", "www-data", "www-data pixeld-proxy\n"),
            ("660 www-data root\n", "www-data", "www-data\n"),
            ("660 root root\n", "root", "root\n"),
        ] {
            assert_eq!(check(shown, user, groups), Ok(Vec::new()), "{shown}");
        }
        let outside = only(check("660 root pixeld-proxy\n", "www-data", "www-data\n"), FindingState::Problem);
        assert_eq!(outside.fix[0], "sudo usermod -aG pixeld-proxy www-data");
        let ungrouped = only(check("660 root root\n", "www-data", "www-data\n"), FindingState::Problem);
        assert!(ungrouped.fix.iter().any(|line| line.contains("SocketGroup=pixeld-proxy")), "{ungrouped:?}");
        let open =
            only(check("666 root pixeld-proxy\n", "www-data", "pixeld-proxy\n"), FindingState::Warning);
        assert!(open.fix.contains(&"sudo chmod 0660 /s".into()), "{open:?}");
        assert!(check("? root", "www-data", "").is_err());
    }
}
