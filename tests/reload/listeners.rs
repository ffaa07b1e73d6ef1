//! Addresses of a daemon that has opened its sockets itself change as it runs; those of one that has
//! been passed its sockets do not.

use std::{net::TcpListener, os::unix::net::UnixStream, path::Path};

use serde_json::json;

use super::{is_served, setting, write_config};
use crate::support::{Client, Daemon, Setup, code, ctl, eventually, stderr, stdout};

/// A configuration that listens there, with the control sockets where they are.
fn listening(daemon: &Daemon, http: &str) -> String {
    format!(
        "[listen]\ncontrol = \"unix:{}\"\nadmin = \"unix:{}\"\nhttp = [{http}]\n",
        daemon.control_socket().display(),
        daemon.admin_socket().display()
    )
}

fn unix(path: &Path) -> String {
    format!("\"unix:{}\"", path.display())
}

#[test]
fn reload_swaps_addresses_without_cuts() {
    let daemon = Daemon::start("");
    let (old_tcp, old_unix) = (daemon.address(), daemon.http_socket());
    let mut connected = [is_served(daemon.client()), is_served(daemon.unix_client())];
    let new_unix = daemon.folder().join("new.sock");
    write_config(&daemon, &listening(&daemon, &format!("\"127.0.0.1:0\", {}", unix(&new_unix))));
    let reloaded = daemon.ctl_json(&["reload"]);
    assert_eq!(reloaded["changes"][0]["needsRestart"], false, "{reloaded}");

    is_served(Client::unix(&new_unix));
    assert_eq!(daemon.address(), old_tcp, "what is asked for as before stays as it is");
    is_served(daemon.client());
    assert!(UnixStream::connect(&old_unix).is_err() && !old_unix.exists());
    connected = connected.map(is_served);

    write_config(&daemon, &listening(&daemon, &unix(&new_unix)));
    assert!(daemon.ctl(&["reload"]).status.success());
    eventually("nobody listens there any more", || std::net::TcpStream::connect(old_tcp).err());
    assert_eq!(daemon.stats()["listeners"], json!([format!("unix:{}", new_unix.display())]));
    let _ = connected.map(is_served);
    daemon.wait_for_event_with("reloaded", "listen.http: ");
}

#[test]
fn address_in_use_fails_the_reload() {
    let daemon = Daemon::start("workers = 1");
    let before = daemon.stats()["listeners"].clone();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, free) = (other.local_addr().unwrap(), daemon.folder().join("free.sock"));
    let http = format!("{}, \"{taken}\"", unix(&free));
    write_config(&daemon, &format!("workers = 2\n{}", listening(&daemon, &http)));
    let refused = daemon.ctl(&["reload"]);
    assert_eq!(code(&refused), 78);
    let fault = format!("pixeld.toml:5: listen.http: cannot listen on {taken}: Address already in use");
    assert!(stderr(&refused).contains(&fault), "{refused:?}");
    daemon.wait_for_event_with("reloadFailed", &fault);

    let stats = daemon.stats();
    assert_eq!((&stats["listeners"], &stats["workers"]), (&before, &1.into()));
    assert!(!free.exists(), "what was opened in vain is closed");
    is_served(daemon.client());
    is_served(daemon.unix_client());
}

#[test]
fn wildcard_of_own_port_needs_a_restart() {
    let daemon = Daemon::start("");
    let port = daemon.address().port();
    write_config(&daemon, &listening(&daemon, &format!("\"0.0.0.0:{port}\"")));
    let refused = daemon.ctl(&["reload"]);
    let told = format!("(by 127.0.0.1:{port} of before: only a restart changes from one to the other)");
    assert!(stderr(&refused).contains(&told), "{refused:?}");
    assert!(!stderr(&refused).contains("another process"), "{refused:?}");
    is_served(daemon.client());
}

#[test]
fn dry_run_fails_as_the_reload_and_opens_nothing() {
    let daemon = Daemon::start("");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = daemon.address().port();
    let free = daemon.folder().join("free.sock");
    for http in [
        format!("\"{}\"", other.local_addr().unwrap()),
        format!("{}, {}", unix(&free), unix(&daemon.folder().join("no/folder.sock"))),
        format!("\"0.0.0.0:{port}\""),
        format!("{}, {}", unix(&free), unix(&daemon.config_file())),
    ] {
        write_config(&daemon, &listening(&daemon, &http));
        let [tried, refused] = [&["reload", "--dry-run"][..], &["reload"]].map(|what| daemon.ctl(what));
        assert_eq!((code(&tried), stderr(&tried)), (78, stderr(&refused)), "{http}");
        assert!(stderr(&tried).contains("listen.http: cannot listen on "), "{tried:?}");
    }
    let moved = listening(&daemon, "\"127.0.0.1:0\"")
        .replace(daemon.admin_socket().to_str().unwrap(), free.to_str().unwrap());
    write_config(&daemon, &moved);
    let tried = daemon.ctl(&["reload", "--dry-run"]);
    assert!(tried.status.success() && !free.exists(), "{tried:?}");
    is_served(daemon.client());
    is_served(daemon.unix_client());
}

#[test]
fn moved_control_sockets_answer_the_reload() {
    let daemon = Daemon::start("");
    let (control, admin) = (daemon.folder().join("c.sock"), daemon.folder().join("a.sock"));
    let config = listening(&daemon, &unix(&daemon.http_socket()));
    let moved = config
        .replace(daemon.control_socket().to_str().unwrap(), control.to_str().unwrap())
        .replace(daemon.admin_socket().to_str().unwrap(), admin.to_str().unwrap());
    write_config(&daemon, &moved);
    let mut old = daemon.varlink();
    let reply = old.call("io.pixeld.Control.Reload", &json!({}));
    assert_eq!(reply["parameters"]["changes"].as_array().unwrap().len(), 3, "{reply}");
    let reply = old.call("io.pixeld.Control.SetWorkers", &json!({ "count": 1 }));
    assert_eq!(reply["parameters"]["to"], 1, "who was there before goes on: {reply}");

    assert!(ctl(&admin, &["workers", "2"]).status.success());
    assert!(stdout(&ctl(&control, &["workers"])).lines().count() > 1);
    let refused = ctl(&control, &["workers", "1"]);
    assert!(stderr(&refused).contains(admin.to_str().unwrap()), "{refused:?}");
    assert!(!daemon.control_socket().exists() && !daemon.admin_socket().exists());
}

#[test]
fn inherited_sockets_need_a_restart() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let daemon = Setup::new("").socket("http", tcp).start();
    let address = daemon.address();
    assert_eq!(setting(&daemon, "listen.http")["needsRestart"], true);
    assert_eq!(setting(&daemon, "listen.admin")["needsRestart"], false);
    write_config(&daemon, &listening(&daemon, "\"127.0.0.1:0\""));
    let reloaded = daemon.ctl_json(&["reload"]);
    assert_eq!(reloaded["changes"][0]["needsRestart"], true, "{reloaded}");
    daemon.wait_for_event_with("reloaded", "listen.http");
    assert_eq!(daemon.address(), address);
    is_served(daemon.client());
}
