//! One host from another one, over a real ssh.

use crate::harness::{
    C5_OUTSIDE, Host, Load, Request, Site, deployment,
    deployment::{json, stats},
    ssh, wait_until,
};

/// Both hosts serve, and root of c5 may log in on t2 as root.
fn start() -> Site {
    let site = deployment::start();
    ssh::allow(&site.c5, "root", &site.t2, "t2", &["root"]);
    site
}

fn post_some(host: &Host, requests: u64) {
    let client = host.client();
    let mut connection = client.connect(host.unix("/run/pixeld/http.sock")).unwrap();
    for _ in 0..requests {
        let pixel = Request::pixel(r#"{"x":1,"y":2,"channel":"R","value":3}"#);
        assert_eq!(connection.send(&pixel).unwrap().status, 200);
    }
}

#[test]
fn remote_host_is_shown_alone_and_with_local_one() {
    let site = start();
    let Site { c5, t2, .. } = &site;
    post_some(c5, 2);
    post_some(t2, 3);
    let text = c5.run("pixeldctl stats -H t2").stdout;
    assert!(text.starts_with("t2\n") && text.contains("requests: 3 (3 ok)"), "{text}");
    let both = json(c5, "pixeldctl stats -H .host -H root@t2 --json");
    assert_eq!(both["hosts"][0]["host"], ".host");
    assert_eq!(both["hosts"][0]["reply"]["requests"]["ok"], 2);
    assert_eq!(both["hosts"][1]["host"], "t2");
    assert_eq!(both["hosts"][1]["reply"]["listeners"].as_array().unwrap().len(), 2);
    assert_eq!(both["sum"]["requests"]["ok"], 5);

    // c5 is a host like any other for its own ssh.
    ssh::allow(c5, "root", c5, "c5", &["root"]);
    let both = json(c5, "pixeldctl stats -H c5 -H t2 --json");
    assert_eq!(both["sum"]["requests"]["ok"], 5);
    let watched = c5.try_run("timeout 5 pixeldctl stats --watch 0.2 -H c5 -H t2").stdout;
    assert!(["c5 ", "t2 "].iter().all(|host| watched.matches(host).count() > 5), "{watched}");
    // Nothing is left there of those who looked.
    t2.wait_for("! pgrep -x pixeldctl");

    t2.run("systemctl stop pixeld.socket pixeld-tcp.socket pixeld-control.socket pixeld-admin.socket pixeld");
    let output = c5.try_run("pixeldctl stats -H c5 -H t2");
    assert_eq!(output.status, 69, "{output}");
    assert!(output.stdout.starts_with("c5\n"), "{output}");
    assert!(
        output.stderr.starts_with("pixeldctl: t2: pixeld is not running: no process listens"),
        "{output}"
    );
    t2.run("systemctl stop ssh");
    let output = c5.try_run("pixeldctl stats -H t2");
    assert_eq!(output.status, 69, "{output}");
    assert!(output.stderr.contains("Connection refused\nhint: try `ssh t2 true`\n"), "{output}");
}

#[test]
fn remote_user_decides_the_access() {
    let site = start();
    let Site { c5, t2, .. } = &site;
    c5.run("useradd -m alice");
    for (user, groups) in [("nobodys", "users"), ("reader", "pixeld"), ("changer", "pixeld-admin")] {
        t2.run(&format!("useradd -m -s /bin/bash -G {groups} {user}"));
    }
    t2.write("/etc/ssh/sshd_config.d/banner.conf", "Banner /etc/issue.net\n");
    ssh::allow(c5, "alice", t2, "t2", &["nobodys", "reader", "changer"]);
    t2.run("systemctl restart ssh");

    for (user, reads, changes) in [("nobodys", 77, 77), ("reader", 0, 77), ("changer", 0, 0)] {
        let output = ctl_as_alice(c5, &format!("stats -H {user}@t2"));
        assert_eq!(output.status, reads, "{user}: {output}");
        let output = ctl_as_alice(c5, &format!("workers 2 -H {user}@t2"));
        assert_eq!(output.status, changes, "{user}: {output}");
        if changes == 77 {
            let expected = "pixeldctl: t2: no permission to connect to /run/pixeld/admin.sock\n\
                        hint: log in there as root or as a member of the group pixeld-admin\n";
            assert_eq!(output.stderr, expected);
        }
    }
    assert_eq!(t2.entries("EVENT=workersSet").len(), 1);
    assert_eq!(json(t2, "pixeldctl workers --json")["override"], 2);
}

fn ctl_as_alice(c5: &Host, arguments: &str) -> crate::harness::Output {
    // ssh looks for its files in the home folder of the user whom it runs as.
    c5.try_run_as("alice", &format!("HOME=/home/alice pixeldctl {arguments}"))
}

#[test]
fn drain_and_resume_of_a_host_lose_no_request() {
    let site = start();
    let Site { c5, t2, .. } = &site;
    let load = site.client.load(Load { connections: 8, rate: 400, ..Load::on(C5_OUTSIDE) });
    load.wait_for_answers(200);
    assert!(stats(t2).ok > 0, "both hosts answer");

    c5.run("pixeldctl drain -H t2");
    let drained = stats(t2);
    load.wait_for_answers(800);
    let later = stats(t2);
    // Those that had begun when it was drained.
    assert!(later.ok <= drained.ok + 8, "t2 still answers: {} then {}", drained.ok, later.ok);
    let unavailable = json(t2, "pixeldctl stats --json")["requests"]["unavailable"].as_u64().unwrap();
    assert!(unavailable > 0, "nginx asks now and then");

    c5.run("pixeldctl resume -H t2");
    wait_until("t2 is used again", || stats(t2).ok > later.ok + 50);
    load.stop().assert_all_ok();
}

#[test]
fn drained_host_stays_drained_over_a_restart() {
    let site = start();
    let Site { c5, t2, .. } = &site;
    let load = site.client.load(Load { connections: 4, rate: 200, ..Load::on(C5_OUTSIDE) });
    load.wait_for_answers(100);
    c5.run("pixeldctl drain -H t2");
    t2.run("systemctl restart pixeld");
    let restarted = stats(t2);
    load.wait_for_answers(300);
    assert_eq!(stats(t2).ok, restarted.ok, "not one request is answered after the restart");
    load.stop().assert_all_ok();

    let status_text = t2.run("systemctl show -P StatusText pixeld").stdout;
    assert!(status_text.starts_with("Drained (answers 503): "), "{status_text}");
    let status = t2.run("systemctl status --no-pager pixeld").stdout;
    assert!(status.contains("Drained (answers 503)"), "{status}");
    for (command, expected) in
        [("pixeldctl status", "drained by root (pid "), ("pixeldctl stats", "drained by root (pid ")]
    {
        let printed = t2.run(command).stdout;
        assert!(printed.to_lowercase().contains(&expected.to_lowercase()), "{command}: {printed}");
    }
    let events = json(t2, "pixeldctl events --json")["events"].clone();
    assert!(events.as_array().unwrap().iter().any(|event| event["name"] == "drainedAtStart"), "{events:#}");
    let drained = t2.wait_for_entry("EVENT=drainedAtStart");
    assert!(drained["BY"].as_str().unwrap().starts_with("root (pid "), "{drained:#}");
    let kept = json(t2, "pixeldctl stats --json");
    assert_eq!((&kept["state"], &kept["process"]["starts"]), (&"drained".into(), &2.into()));

    // A stop is the end of it: systemd keeps nothing for a service that is stopped.
    t2.run("systemctl stop pixeld.socket pixeld-tcp.socket pixeld-control.socket pixeld-admin.socket pixeld");
    t2.run("systemctl start pixeld");
    let begun = json(t2, "pixeldctl stats --json");
    assert_eq!((&begun["state"], &begun["process"]["starts"]), (&"serving".into(), &1.into()));
    assert_eq!(begun["requests"]["total"], 0);
}
