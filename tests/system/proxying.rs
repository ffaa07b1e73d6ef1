//! Changes that operators make to nginx while it serves.

use crate::harness::{
    C5_OUTSIDE, Load, PIXEL, Site,
    deployment::{self, json},
    wait_until,
};

/// nginx closes the connections of clients that it keeps, so a client has to send again on a new one what got no
/// response. Nothing else is lost.
#[test]
fn reloads_of_nginx_in_a_row_lose_no_request() {
    let site = deployment::start();
    let load = Load { connections: 16, rate: 4_000, comes_again: true, ..Load::on(C5_OUTSIDE) };
    let load = site.client.load(load);
    load.wait_for_answers(100);
    site.c5.run("for i in $(seq 30); do nginx -s reload || exit; done");
    for _ in 0..10 {
        site.c5.run("systemctl reload nginx");
        load.wait_for_answers(20);
    }
    load.wait_for_answers(500);
    load.stop().assert_all_ok();
    // Each reload starts worker processes, and the earlier ones end.
    site.c5.wait_for("! ps -C nginx -o args= | grep 'shutting down'");
    assert_eq!(site.c5.run("systemctl --failed --plain --no-legend").stdout, "");
}

/// Bodies go to the hosts piece by piece then. nginx still sends a request to the other host if it has all of it.
#[test]
fn site_without_request_buffering_fails_over() {
    let site = deployment::start();
    deployment::change_site(
        &site.c5,
        &[("proxy_http_version 1.1;", "proxy_http_version 1.1; proxy_request_buffering off;")],
    );
    for chunked in [false, true] {
        assert_answered_in_pieces(&site, chunked);
    }
    let load = site.client.load(Load { rate: 2_000, ..Load::on(C5_OUTSIDE) });
    for host in [&site.c5, &site.t2] {
        load.wait_for_answers(100);
        host.run("systemctl restart pixeld && pixeldctl drain");
        load.wait_for_answers(100);
        host.run("pixeldctl resume && systemctl kill --signal=KILL --kill-whom=main pixeld");
        load.wait_for_answers(100);
    }
    load.stop().assert_all_ok();
}

/// Requests whose bodies come in two pieces, one after the other on one connection.
#[track_caller]
fn assert_answered_in_pieces(site: &Site, chunked: bool) {
    let framing = if chunked {
        "transfer-encoding: chunked".into()
    } else {
        format!("content-length: {}", PIXEL.len())
    };
    let head =
        format!("POST /pixel HTTP/1.1\r\nhost: c5\r\ncontent-type: application/json\r\n{framing}\r\n\r\n");
    let (first, second) = PIXEL.split_at(10);
    let pieces = if chunked {
        [
            format!("{head}{:x}\r\n{first}\r\n", first.len()),
            format!("{:x}\r\n{second}\r\n0\r\n\r\n", second.len()),
        ]
    } else {
        [format!("{head}{first}"), second.into()]
    };
    let begun = || {
        [&site.c5, &site.t2].iter().any(|host| {
            let connections = json(host, "pixeldctl stats --json")["connections"].clone();
            connections["open"] != connections["idle"]
        })
    };
    let mut connection = site.client.connect(C5_OUTSIDE).unwrap();
    for _ in 0..3 {
        connection.send_raw(pieces[0].as_bytes()).unwrap();
        wait_until("a host has the first piece", begun);
        connection.send_raw(pieces[1].as_bytes()).unwrap();
        let answer = connection.receive().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}
