//! Who may connect to the socket that nginx uses.

use super::PIXEL;
use crate::harness::{C5_OUTSIDE, deployment};

/// Before Linux 6.16, this is all that keeps local users from passing descriptors to a worker.
#[test]
fn local_users_outside_the_proxy_group_cannot_connect() {
    let site = deployment::start();
    let c5 = &site.c5;
    let curl = "curl --silent --output /dev/null --unix-socket /run/pixeld/http.sock http://c5/pixel";
    // pixeld's own groups are for looking and for changing.
    c5.run("useradd stranger && useradd -G pixeld,pixeld-admin colleague");
    for user in ["nobody", "stranger", "colleague"] {
        let output = c5.try_run_as(user, curl);
        assert_eq!(output.status, 7, "{user} is connected: {output}");
    }
    c5.run_as("www-data", curl);
    assert_eq!(site.client.post(C5_OUTSIDE, PIXEL).status, 200);
}

/// As README has it for a proxy that drops the groups of its user.
#[test]
fn socket_group_of_a_drop_in_lets_another_proxy_in() {
    let site = deployment::start();
    let c5 = &site.c5;
    c5.run("useradd --system --user-group haproxy");
    c5.write("/etc/systemd/system/pixeld.socket.d/group.conf", "[Socket]\nSocketGroup=haproxy\n");
    c5.run("systemctl daemon-reload && systemctl restart pixeld.socket");
    let post = "printf 'POST /pixel HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n' \
                | socat - UNIX-CONNECT:/run/pixeld/http.sock";
    let alone = format!("setpriv --reuid haproxy --regid haproxy --clear-groups sh -c \"{post}\"");
    assert!(c5.run(&alone).stdout.starts_with("HTTP/1.1 422 "), "it is answered");
    assert!(!c5.try_run_as("www-data", post).success());
}
