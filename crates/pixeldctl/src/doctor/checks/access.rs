use super::common::{CheckResult, drop_in, listeners, or_ok, reopen};
use crate::doctor::{
    finding::Finding,
    probe::{Facts, access::SocketAccess, units},
};

/// The group that the unit gives the socket to.
const GROUP: &str = "pixeld-proxy";
/// The drop-in that an upgrade adds if a connected proxy is not in the group.
const KEPT_OPEN: &str = "/etc/systemd/system/pixeld.socket.d/keep-mode-0666.conf";

/// Whether nginx may connect to pixeld's Unix socket, and other local users may not.
pub fn access(facts: &Facts) -> CheckResult {
    let nginx = facts.nginx.as_ref()?;
    let own = listeners(facts);
    let is_own = |socket: &&SocketAccess| own.contains(&format!("unix:{}", socket.path));
    let sockets: Vec<_> = facts.access.as_ref()?.iter().filter(is_own).collect();
    let findings = sockets.iter().filter_map(|socket| check_socket(socket, &nginx.user)).collect();
    Ok(or_ok(findings, || {
        let paths: Vec<_> = sockets.iter().map(|socket| socket.path.as_str()).collect();
        Finding::ok("nginx may connect to pixeld, and other users may not").evidence(paths.join(", "))
    }))
}

fn check_socket(socket: &SocketAccess, user: &str) -> Option<Finding> {
    let SocketAccess { path, mode, owner, group, groups } = socket;
    let evidence =
        format!("{path}: mode {mode:o}, user {owner}, group {group}; groups of {user}: {}", groups.join(" "));
    // connect(2) asks for the permission to write; of the three classes, the first that fits decides.
    let may_connect = match () {
        () if user == "root" => true,
        () if user == owner => mode & 0o200 != 0,
        () if groups.contains(group) => mode & 0o020 != 0,
        () => mode & 0o002 != 0,
    };
    if !may_connect {
        let finding =
            Finding::problem(format!("nginx's user {user} may not connect to {path}")).evidence(evidence);
        return Some(match group.as_str() {
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
        });
    }
    (mode & 0o002 != 0).then(|| {
        Finding::warning(format!("every local user may connect to {path}, and stall pixeld"))
            .evidence(evidence)
            .fix(format!("# once each proxy that uses it is in the group {GROUP}:"))
            .fix(format!("sudo rm -f {KEPT_OPEN}"))
            .fix("sudo systemctl daemon-reload")
            .fix(format!("sudo chgrp {GROUP} {path}"))
            .fix(format!("sudo chmod 0660 {path}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::checks::fixtures::{FindingState, healthy, only};

    fn socket(facts: &mut Facts) -> &mut SocketAccess {
        &mut facts.access.as_mut().unwrap()[0]
    }

    #[test]
    fn proxy_outside_the_group_is_a_problem() {
        let mut facts = healthy();
        only(access(&facts), FindingState::Ok);
        socket(&mut facts).groups = vec!["www-data".into()];
        let finding = only(access(&facts), FindingState::Problem);
        assert_eq!(finding.fix[0], "sudo usermod -aG pixeld-proxy www-data");
        socket(&mut facts).group = "root".into();
        let finding = only(access(&facts), FindingState::Problem);
        assert!(finding.fix.iter().any(|line| line.contains("SocketGroup=pixeld-proxy")), "{finding:?}");
        socket(&mut facts).owner = "www-data".into();
        only(access(&facts), FindingState::Ok);
        socket(&mut facts).owner = "root".into();
        facts.nginx.as_mut().unwrap().user = "root".into();
        only(access(&facts), FindingState::Ok);
    }

    #[test]
    fn world_connectable_socket_is_a_warning() {
        let mut facts = healthy();
        socket(&mut facts).mode = 0o666;
        let finding = only(access(&facts), FindingState::Warning);
        assert!(finding.fix.contains(&"sudo chmod 0660 /run/pixeld/http.sock".into()), "{finding:?}");
    }
}
