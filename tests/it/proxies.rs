//! The same bytes to pixeld directly, and through proxies: where two of them disagree about the end of a request,
//! pixeld takes no request out of another one.
//!
//! `make test-all` installs the proxies and runs all of this; `cargo test` sends the bytes to pixeld alone. The second
//! nginx is that of the Debian 13 hosts of the system tests, if their root folder is there. To write the table of
//! docs/proxies.md again:
//!
//!     PIXELD_PROXIES_TABLE=docs/proxies.md cargo test --test it -- --ignored proxies::

mod relay;
mod streams;
mod strict;
mod table;

use std::{
    collections::VecDeque,
    env, fs,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use self::{
    relay::Relay,
    streams::{SMUGGLED, Stream},
    strict::{Response, pixel},
};
use crate::support::{Daemon, PATIENCE, Proxy};

/// A server that has nothing to say for so long waits for more.
const QUIET: Duration = Duration::from_millis(500);
/// How many streams are sent at a time.
const SENDERS: usize = 8;

/// What came back for a stream.
#[derive(Clone)]
pub struct Outcome {
    statuses: Vec<u16>,
    accepted: Vec<u32>,
    /// Before the client had ended its side.
    closed: bool,
}

/// Sends a stream; ends the client's side when the server waits for more, and takes all that comes.
fn exchange(address: SocketAddr, bytes: &[u8], quiet: Duration) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(quiet)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    // A server that has closed meanwhile may have answered before.
    let _ = stream.write_all(bytes);
    let (mut received, mut buffer, mut is_finished) = (Vec::new(), [0; 16 << 10], false);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (received, !is_finished),
            Ok(length) => received.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if is_finished || stream.shutdown(Shutdown::Write).is_err() {
                    return (received, false);
                }
                is_finished = true;
                stream.set_read_timeout(Some(4 * quiet)).unwrap();
            }
            Err(_) => return (received, !is_finished),
        }
    }
}

fn send(address: SocketAddr, stream: &Stream) -> Outcome {
    let (received, closed) = exchange(address, &stream.bytes, QUIET);
    let is_head = stream.bytes.starts_with(b"HEAD ");
    let (responses, _) = strict::responses(&received, |nth| is_head && nth == 0);
    let statuses = responses.iter().map(|response| response.status).collect();
    Outcome { statuses, accepted: responses.iter().filter_map(|response| response.x).collect(), closed }
}

/// Sends all streams, several at a time, and a request on a connection of its own behind each.
fn send_all(address: SocketAddr, streams: &[Stream]) -> Vec<Outcome> {
    let queue: Mutex<VecDeque<_>> = Mutex::new(streams.iter().enumerate().collect());
    let outcomes = Mutex::new(vec![None; streams.len()]);
    let sender = || {
        while let Some((nth, stream)) = { queue.lock().unwrap().pop_front() } {
            let outcome = send(address, stream);
            outcomes.lock().unwrap()[nth] = Some(outcome);
            let own = format!(
                "POST /pixel HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Content-Length: 38\r\n\r\n{}",
                pixel(77)
            );
            let (received, _) = exchange(address, own.as_bytes(), PATIENCE);
            let (responses, _) = strict::responses(&received, |_| false);
            let xs: Vec<_> = responses.iter().map(|response| response.x).collect();
            assert_eq!(xs, [Some(77)], "another client's response, after: {}", stream.name);
        }
    };
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(sender);
        }
    });
    outcomes.into_inner().unwrap().into_iter().map(Option::unwrap).collect()
}

/// Whether these may be accepted: some of the stream's own, in their order, and never the smuggled one.
fn is_safe(stream: &Stream, accepted: &[u32]) -> bool {
    let mut allowed = stream.may_accept.iter();
    accepted.iter().all(|x| allowed.any(|one| one == x))
}

/// Sends all streams to pixeld alone.
fn direct(streams: &[Stream]) -> Vec<Outcome> {
    let daemon = Daemon::start("");
    let outcomes = send_all(daemon.address(), streams);
    let unsafe_ones =
        streams.iter().zip(&outcomes).filter(|(stream, outcome)| !is_safe(stream, &outcome.accepted));
    let shown: String = unsafe_ones
        .map(|(stream, outcome)| {
            format!("\n{}: {:?}, accepted {:?}", stream.name, outcome.statuses, outcome.accepted)
        })
        .collect();
    assert!(shown.is_empty(), "{shown}");
    outcomes
}

/// Every response on a connection to pixeld belongs to a request that its proxy has sent there, in order.
fn check_connection(up: &[u8], down: &[u8]) -> Result<(), &'static str> {
    let (requests, has_rest) = strict::requests(up);
    let is_head = |nth: usize| requests.get(nth).is_some_and(|request| request.is_head);
    let (responses, rest) = strict::responses(down, is_head);
    if !rest.is_empty() {
        return Err("bytes that are no response");
    }
    for (nth, response) in responses.iter().enumerate() {
        let is_last = nth + 1 == responses.len();
        match (requests.get(nth), response) {
            (_, Response { closes: true, .. }) if !is_last => return Err("a response behind the last one"),
            (Some(request), Response { x: Some(x), .. }) if request.body != pixel(*x).as_bytes() => {
                return Err("a response to another request");
            }
            (Some(_), _) => {}
            // What is no whole request, by the strict reading, may only be refused.
            (None, Response { status: 400.., .. }) if has_rest && is_last => {}
            (None, _) => return Err("a response to no request"),
        }
    }
    Ok(())
}

/// Sends all streams through a proxy, and looks at what reached pixeld.
fn through(streams: &[Stream], start: impl FnOnce(SocketAddr) -> Proxy) -> Vec<Outcome> {
    let daemon = Daemon::start("");
    let relay = Relay::start(daemon.address());
    let proxy = start(relay.address());
    let outcomes = send_all(proxy.address(), streams);
    // A response that its client did not wait for may still be on its way.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let faults = relay
            .carried()
            .into_iter()
            .find_map(|(up, down)| Some((check_connection(&up, &down).err()?, up, down)));
        let Some((fault, up, down)) = faults else { break };
        let shown = [up, down].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(Instant::now() < deadline, "{fault}: {shown:#?}");
        thread::sleep(Duration::from_millis(20));
    }
    outcomes
}

/// The shipped site in one process.
fn nginx(program: &str, arguments: &[&str], pixeld: SocketAddr) -> Proxy {
    let arguments = [arguments, &["-c"]].concat();
    Proxy::start(program, &arguments, |address, folder| {
        let folder = folder.display();
        let site = include_str!("../../nginx/pixeld.conf")
            .replace("listen 80 default_server;", &format!("listen {address};"))
            .replace("include pixeld-upstreams.conf;", &format!("server {pixeld} max_fails=0;"))
            .replace("/var/log/nginx/pixeld", &folder.to_string());
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {folder}/{name};"))
            .concat();
        format!(
            "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n\
             events {{}}\nhttp {{ {temporary}\n{site}\n}}"
        )
    })
}

fn haproxy(pixeld: SocketAddr) -> Proxy {
    Proxy::start("haproxy", &["-db", "-f"], |address, _| {
        format!(
            "defaults\n mode http\n timeout connect 1s\n timeout client 10s\n timeout server 5s\n http-reuse always\n\
             frontend site\n bind {address}\n default_backend pixeld\nbackend pixeld\n server one {pixeld}\n"
        )
    })
}

fn caddy(pixeld: SocketAddr) -> Proxy {
    Proxy::start("caddy", &["run", "--adapter", "caddyfile", "--config"], |address, _| {
        format!(
            "{{\n admin off\n auto_https off\n}}\nhttp://:{} {{\n bind 127.0.0.1\n reverse_proxy {pixeld}\n}}\n",
            address.port()
        )
    })
}

/// nginx of Debian 13 with its own C library, from the root folder that the system tests keep.
fn newer_nginx() -> Option<Vec<String>> {
    let cache = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    let roots = fs::read_dir(cache.join("pixeld/roots")).ok()?;
    let mut roots: Vec<_> = roots.filter_map(|root| Some(root.ok()?.path())).collect();
    roots.sort();
    let is_it = |root: &PathBuf| {
        root.file_name().is_some_and(|name| name.to_string_lossy().starts_with("trixie"))
            && root.join("usr/sbin/nginx").exists()
    };
    let root = roots.into_iter().find(is_it)?;
    let path = |path: &str| Path::new(&root).join(path).display().to_string();
    let libraries = path("usr/lib/x86_64-linux-gnu");
    Some(vec![path("lib64/ld-linux-x86-64.so.2"), "--library-path".into(), libraries, path("usr/sbin/nginx")])
}

/// The first word of what a program says that has digits and dots.
fn version(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).replace('/', " ");
    let is_version =
        |word: &&str| word.contains('.') && word.trim_start_matches('v').starts_with(char::is_numeric);
    let word = text.split_whitespace().find(is_version).expect("a version");
    word.trim_start_matches('v').split(['-', '+']).next().unwrap().to_owned()
}

#[test]
fn response_to_no_request_is_found() {
    let sent = |x| format!("POST /pixel HTTP/1.1\r\nHost: h\r\nContent-Length: 38\r\n\r\n{}", pixel(x));
    let accepted = |x| {
        let body = format!(r#"{{"status":"ok","received":{}}}"#, pixel(x));
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let check = |up: &str, down: &str| check_connection(up.as_bytes(), down.as_bytes());
    assert_eq!(check(&sent(11), &accepted(11)), Ok(()));
    assert!(check(&sent(11), &(accepted(11) + &accepted(SMUGGLED))).is_err());
    assert!(check(&(sent(11) + &sent(22)), &(accepted(11) + &accepted(SMUGGLED))).is_err());
    assert!(check(&(sent(11) + "GET /"), &(accepted(11) + &accepted(SMUGGLED))).is_err());
}

#[test]
fn pixeld_alone_answers_no_smuggled_request() {
    let streams = streams::all();
    assert!(streams.len() > 100, "{}", streams.len());
    let outcomes = direct(&streams);
    let hidden = |outcome: &Outcome| outcome.accepted.contains(&SMUGGLED);
    assert!(outcomes.iter().filter(|outcome| hidden(outcome)).count() <= 2);
}

#[test]
#[ignore = "needs nginx, HAProxy and Caddy: make test-all"]
fn proxies_and_pixeld_agree_on_each_request() {
    let streams = streams::all();
    let mut columns = vec![("pixeld".to_owned(), direct(&streams))];
    let named = |name: &str, command: &[&str]| format!("{name} {}", version(command));
    columns.push((named("nginx", &["nginx", "-v"]), through(&streams, |pixeld| nginx("nginx", &[], pixeld))));
    if let Some(command) = newer_nginx() {
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        let name = named("nginx", &[&command[..], &["-v"]].concat());
        columns.push((name, through(&streams, |pixeld| nginx(command[0], &command[1..], pixeld))));
    }
    columns.push((named("HAProxy", &["haproxy", "-v"]), through(&streams, haproxy)));
    columns.push((named("Caddy", &["caddy", "version"]), through(&streams, caddy)));
    let page = table::page(&streams, &columns);
    match env::var_os("PIXELD_PROXIES_TABLE") {
        Some(path) => fs::write(path, page).unwrap(),
        None => println!("{page}"),
    }
}
