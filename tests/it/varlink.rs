//! The control sockets for clients of any make, which speak Varlink as they please.

mod abuse;
mod calls;
mod hostile;

use serde_json::json;

use crate::support::{Daemon, Varlink};

#[test]
fn varlink_introspection_works() {
    let daemon = Daemon::start("");
    for path in [daemon.control_socket(), daemon.admin_socket()] {
        let mut varlink = Varlink::connect(&path);
        let info = &varlink.call("org.varlink.service.GetInfo", &json!({}))["parameters"];
        assert_eq!([&info["product"], &info["version"]], ["pixeld", env!("CARGO_PKG_VERSION")]);
        let interfaces = info["interfaces"].as_array().unwrap();
        for (interface, method) in [("io.pixeld.Control", "GetStats"), ("org.varlink.service", "GetInfo")] {
            assert!(interfaces.contains(&interface.into()), "{info}");
            let asked = json!({ "interface": interface });
            let reply = varlink.call("org.varlink.service.GetInterfaceDescription", &asked);
            let description = reply["parameters"]["description"].as_str().unwrap();
            assert!(description.contains(&format!("interface {interface}\n")), "{description}");
            assert!(description.contains(&format!("method {method}(")), "{description}");
        }
    }
}

#[test]
fn wrong_varlink_call_gets_its_error() {
    const DESCRIPTION: &str = "org.varlink.service.GetInterfaceDescription";

    let daemon = Daemon::start("workers = 2");
    let mut varlink = daemon.varlink();
    let unknown = json!({ "interface": "com.example" });
    for (method, parameters, error, names) in [
        (
            "io.pixeld.Control.Nope",
            json!({}),
            "MethodNotFound",
            json!({ "method": "io.pixeld.Control.Nope" }),
        ),
        (
            "org.varlink.service.No",
            json!({}),
            "MethodNotFound",
            json!({ "method": "org.varlink.service.No" }),
        ),
        ("com.example.Nope", json!({}), "InterfaceNotFound", unknown.clone()),
        (DESCRIPTION, unknown.clone(), "InterfaceNotFound", unknown.clone()),
        (DESCRIPTION, json!({}), "InvalidParameter", json!({ "parameter": "interface" })),
        ("io.pixeld.Control.GetStats", json!({ "x": 1 }), "InvalidParameter", json!({ "parameter": "x" })),
        ("io.pixeld.Control.SetWorkers", json!({ "y": 1 }), "InvalidParameter", json!({ "parameter": "y" })),
    ] {
        let error = format!("org.varlink.service.{error}");
        assert_eq!(varlink.call(method, &parameters), json!({ "error": error, "parameters": names }));
    }
    // None of that has harmed the connection.
    assert_eq!(varlink.call("io.pixeld.Control.GetStats", &json!({}))["parameters"]["stats"]["workers"], 2);
}

#[test]
fn invalid_value_error_names_the_field() {
    let daemon = Daemon::start("workers = 2");
    let mut varlink = daemon.varlink();
    for count in [json!(0), json!(1025), json!(-1), json!(1.5), json!("3"), json!([3])] {
        let reply = varlink.call("io.pixeld.Control.SetWorkers", &json!({ "count": count }));
        assert_eq!(reply["error"], "io.pixeld.Control.InvalidValue");
        assert_eq!(reply["parameters"]["field"], "count");
        let reason = reply["parameters"]["reason"].as_str().unwrap();
        assert!(reason.contains(&count.to_string()) && reason.contains("1 to 1024"), "{reason}");
    }
    let mut reader = Varlink::connect(&daemon.control_socket());
    let reply = reader.call("io.pixeld.Control.SetWorkers", &json!({ "count": 3 }));
    assert_eq!(reply["error"], "io.pixeld.Control.NotPermitted");
    assert_eq!(reply["parameters"]["socket"], daemon.admin_socket().to_str().unwrap());
    assert_eq!(daemon.stats()["workers"], 2);
}

#[test]
fn optional_parameters_may_be_null_or_missing() {
    let daemon = Daemon::start("workers = 2");
    let mut varlink = daemon.varlink();
    varlink.send("{\"method\":\"io.pixeld.Control.SetWorkers\"}\0").unwrap();
    assert_eq!(varlink.reply().unwrap()["parameters"]["to"], 2);
    let reply = varlink.call("io.pixeld.Control.SetWorkers", &json!({ "count": null }));
    assert_eq!(reply["parameters"]["to"], 2);
}

#[test]
fn pipelined_varlink_calls_are_answered_in_order() {
    let daemon = Daemon::start("workers = 2");
    let mut varlink = daemon.varlink();
    let call = |count, oneway| {
        let parameters = json!({ "count": count });
        json!({ "method": "io.pixeld.Control.SetWorkers", "parameters": parameters, "oneway": oneway })
    };
    varlink.send(format!("{}\0{}\0{}\0", call(3, false), call(5, true), call(4, false))).unwrap();
    for (from, to) in [(2, 3), (5, 4)] {
        let set = &varlink.reply().unwrap()["parameters"];
        assert_eq!((&set["from"], &set["to"]), (&json!(from), &json!(to)));
    }
}

#[test]
fn garbage_closes_only_its_connection() {
    let daemon = Daemon::start("workers = 2");
    let mut other = daemon.varlink();
    for garbage in
        [&b"garbage\0"[..], b"\0", b"[]\0", b"{\"method\":7}\0", b"\xff\xfe\0", b"GET / HTTP/1.1\r\n\r\n\0"]
    {
        let mut varlink = daemon.varlink();
        varlink.send(garbage).unwrap();
        assert_eq!(varlink.reply(), None, "{garbage:?}");
        assert_eq!(other.call("io.pixeld.Control.GetStats", &json!({}))["parameters"]["stats"]["workers"], 2);
    }
}

#[test]
fn endless_message_is_cut() {
    let daemon = Daemon::start("workers = 2");
    let mut varlink = daemon.varlink();
    let blanks = " ".repeat(1 << 16);
    let sent = (0..64).take_while(|_| varlink.send(&blanks).is_ok()).count() << 16;
    assert!(sent < 4 << 20, "4 MiB were taken");
    assert_eq!(varlink.reply(), None);
    assert_eq!(daemon.stats()["workers"], 2);
}
