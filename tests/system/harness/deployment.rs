//! The deployment that the README describes, put on the two hosts.

use super::{Host, Release, Site};

/// Boots both hosts and starts everything: nginx and pixeld on c5, pixeld for c5's nginx on t2.
pub fn start() -> Site {
    start_on(Release::Trixie)
}

/// As [`start`], on another release.
pub fn start_on(release: Release) -> Site {
    let site = Site::boot_release(release);
    site.t2.run("systemctl enable --now --quiet pixeld-tcp.socket pixeld");
    site.c5.run("systemctl enable --now --quiet pixeld");
    install_nginx(&site.c5, "max_fails=1 fail_timeout=1s");
    site
}

/// Puts the shipped site in place, with t2 as its second host.
fn install_nginx(c5: &Host, parameters: &str) {
    c5.run("rm -f /etc/nginx/sites-enabled/default");
    c5.run("cp /usr/share/pixeld/nginx/pixeld.conf /etc/nginx/conf.d/");
    c5.run("/usr/libexec/pixeld/site-logs");
    let upstreams = c5.read("/usr/share/pixeld/nginx/pixeld-upstreams.conf");
    let edited = upstreams.replace("#server 10.0.0.20:8000", "server 10.77.0.20:8000");
    assert!(edited.contains(&format!("\nserver 10.77.0.20:8000 {parameters};")), "{upstreams}");
    c5.write("/etc/nginx/pixeld-upstreams.conf", edited);
    c5.run("/usr/libexec/pixeld/proxy-group --nginx");
    c5.run("systemctl enable --now --quiet nginx");
}

/// Sets `proxy_next_upstream`: nginx sends a request to another host only in these cases. Call it before there is
/// load, because nginx restarts.
pub fn retry_only(c5: &Host, cases: &str) {
    let changed = format!("s/proxy_next_upstream [^;]*;/proxy_next_upstream {cases};/");
    c5.run(&format!("sed -i '{changed}' /etc/nginx/conf.d/pixeld.conf"));
    let site = c5.read("/etc/nginx/conf.d/pixeld.conf");
    assert!(site.contains(&format!("proxy_next_upstream {cases};")), "{site}");
    restart_nginx(c5);
}

/// Changes the shipped site, as an operator would. Call it before there is load, because nginx restarts.
pub fn change_site(c5: &Host, changes: &[(&str, &str)]) {
    let mut site = c5.read("/etc/nginx/conf.d/pixeld.conf");
    for (from, to) in changes {
        assert!(site.contains(from), "{from:?} is not in the site:\n{site}");
        site = site.replace(from, to);
    }
    c5.write("/etc/nginx/conf.d/pixeld.conf", site);
    restart_nginx(c5);
}

/// Puts the shipped site back in place.
pub fn retry_as_shipped(c5: &Host) {
    c5.run("cp /usr/share/pixeld/nginx/pixeld.conf /etc/nginx/conf.d/");
    restart_nginx(c5);
}

/// Switches on a ready file of the site, as its comment says. Call it before there is load, because nginx restarts.
pub fn switch_on(c5: &Host, file: &str) {
    let folder = if file.starts_with("pixel/") { "pixel/" } else { "" };
    c5.run(&format!("mkdir -p /etc/nginx/pixeld.d/{folder}"));
    c5.run(&format!("ln -s /usr/share/pixeld/nginx/pixeld.d/{file} /etc/nginx/pixeld.d/{folder}"));
    restart_nginx(c5);
}

/// After a reload, nginx's previous workers would continue for a while and close their connections.
fn restart_nginx(c5: &Host) {
    // systemd rejects the sixth start within 10 s.
    c5.run("nginx -t && { systemctl --quiet reset-failed nginx || :; } && systemctl restart nginx");
}

/// Fields of `pixeldctl stats`.
pub struct Stats {
    pub ok: u64,
    pub total: u64,
    pub pid: u64,
}

/// Queries the daemon of a host.
pub fn stats(host: &Host) -> Stats {
    let reply: serde_json::Value = json(host, "pixeldctl stats --json");
    let number = |pointer: &str| reply.pointer(pointer).and_then(serde_json::Value::as_u64).expect(pointer);
    Stats { ok: number("/requests/ok"), total: number("/requests/total"), pid: number("/process/pid") }
}

/// Runs a command and parses the JSON that it prints.
pub fn json(host: &Host, command: &str) -> serde_json::Value {
    let printed = host.run(command).stdout;
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{command}: {error}\n{printed}"))
}
