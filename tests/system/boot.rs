//! The harness's own tests; they need no pixeld.

use std::process::Command;
use std::time::Instant;
use std::{env, fs, thread};

use crate::harness::{C5_OUTSIDE, Host, Load, Release, Request, Site, T2, wait_until};

#[test]
fn site_network_joins_hosts_and_hides_t2() {
    let start = Instant::now();
    let site = Site::boot_with(|builder| builder);
    eprintln!("booted the pair in {:.3?}", start.elapsed());

    assert_eq!(site.c5.run("hostname").stdout, "c5\n");
    for host in [&site.c5, &site.t2] {
        host.write("/var/www/html/index.html", "hello\n");
        host.run("systemctl start nginx");
    }
    assert_eq!(site.c5.run("curl --silent --show-error --fail http://t2/").stdout, "hello\n");
    assert_eq!(site.t2.run("curl --silent --show-error --fail http://c5/").stdout, "hello\n");

    let get = Request::new("GET", "/", "");
    let response = site.client.send(C5_OUTSIDE, &get).expect("c5 answers the internet");
    assert_eq!((response.status, response.body.as_str()), (200, "hello\n"));
    assert_eq!(site.insider.send(T2, &get).expect("t2 answers the private network").status, 200);
    let socat = "socat UNIX-LISTEN:/run/http.sock,fork TCP:127.0.0.1:80";
    site.c5.run(&format!("systemd-run --quiet {socat}"));
    site.c5.wait_for("test -S /run/http.sock");
    let over_unix = site.client.send(site.c5.unix("/run/http.sock"), &get);
    assert_eq!(over_unix.expect("c5 answers on a Unix socket").body, "hello\n");
    assert!(site.client.send(T2, &get).is_err(), "the internet does not reach t2");
}

#[test]
fn load_generator_counts_responses_and_errors() {
    let site = Site::boot_with(|builder| builder);
    site.c5.run("systemctl start nginx");
    let request = Request::new("GET", "/", "");
    let load = || site.client.load(Load { request: request.clone(), ..Load::on(C5_OUTSIDE) });

    let quiet = load();
    quiet.wait_for_answers(100);
    let report = quiet.stop();
    report.assert_all_ok();
    assert_eq!(report.connects, 8, "connections are kept: {report}");

    let broken = load();
    broken.wait_for_answers(50);
    site.c5.run("systemctl restart nginx");
    broken.wait_for_answers(50);
    site.c5.run("systemctl stop nginx");
    wait_until("the load meets errors", || broken.report().errors > 10);
    let report = broken.stop();
    eprintln!("{report}");
    assert_eq!(report.sent, report.answered() + report.errors);
}

#[test]
fn services_are_confined_on_both_releases() {
    thread::scope(|scope| {
        for release in [Release::Trixie, Release::Bookworm] {
            scope.spawn(move || {
                let host = Host::builder("alone").release(release).boot();
                for property in
                    ["PrivateNetwork=yes", "PrivateUsers=yes", "IPAddressDeny=any", "ProtectProc=invisible"]
                {
                    host.run(&format!("systemd-run --wait --quiet -p DynamicUser=yes -p {property} true"));
                }
                let denied =
                    "systemd-run --wait --quiet -p IPAddressDeny=any curl --max-time 1 http://127.0.0.1/";
                host.run(
                    "systemctl start nginx && curl --silent --fail --output /dev/null http://127.0.0.1/",
                );
                assert!(!host.try_run(denied).success(), "BPF filters packets");
                assert_eq!(host.run_as("www-data", "id -un; id -gn").stdout, "www-data\nwww-data\n");
                host.run("systemctl enable nginx");
                host.reboot();
                host.run("systemctl is-active nginx");
            });
        }
    });
}

#[test]
fn dropped_host_leaves_nothing() {
    let host = Host::builder("gone").boot();
    let (leader, network) = (host.leader(), host.network_inode());
    let cgroup = fs::read_to_string(format!("/proc/{leader}/cgroup")).expect("read a control group");
    let id =
        cgroup.split('/').find(|part| part.starts_with("pixeld-")).expect("a group of its own").to_owned();
    let is_here = |id: &str| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read the mounts");
        let find = Command::new("find").args(["/sys/fs/cgroup", "-name", id]).output().expect("start find");
        mounts.contains(id) || !find.stdout.is_empty()
    };
    assert!(is_here(&id));

    let start = Instant::now();
    drop(host);
    eprintln!("halted in {:.3?}", start.elapsed());
    assert!(!is_here(&id));
    let link = format!("net:[{network}]");
    let users = fs::read_dir("/proc").expect("list processes").flatten().filter(|process| {
        fs::read_link(process.path().join("ns/net")).is_ok_and(|inside| inside.to_string_lossy() == link)
    });
    assert_eq!(users.count(), 0, "no process is in the host's network");
    let cache =
        env::var("XDG_CACHE_HOME").unwrap_or_else(|_| env::var("HOME").expect("HOME is set") + "/.cache");
    assert!(!fs::exists(format!("{cache}/pixeld/hosts/{id}")).expect("look for the folder"));
}
