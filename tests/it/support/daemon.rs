use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::Receiver,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    Client, LogLine, PATIENCE, Varlink, eventually,
    manager::{ManagerBehavior, Store, listen},
    program::{PIXELD, ctl, stderr, stdout},
};

/// How a daemon is to be started: in a folder of its own, which goes away with it.
pub struct Setup {
    home: Home,
    settings: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    before: String,
    sockets: Vec<(OwnedFd, String)>,
    behavior: ManagerBehavior,
}

impl Setup {
    /// A daemon with these settings, which do not include `[listen]`: it listens on a free TCP port
    /// and on a Unix socket.
    pub fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home { tcp: ([127, 0, 0, 1], 0).into(), unix: folder.path().join("http.sock"), folder };
        fs::create_dir(home.path("pixeld")).unwrap();
        Self {
            home,
            settings: settings.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            before: String::new(),
            sockets: Vec::new(),
            behavior: ManagerBehavior::default(),
        }
    }

    /// Listens on this TCP address instead of a free one.
    pub fn tcp(mut self, address: SocketAddr) -> Self {
        self.home.tcp = address;
        self
    }

    /// Listens on this Unix socket instead of one in its folder.
    pub fn unix(mut self, path: &Path) -> Self {
        self.home.unix = path.into();
        self
    }

    /// On the command line.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// A line of shell that the daemon's process runs before it becomes the daemon.
    pub fn before(mut self, line: &str) -> Self {
        writeln!(self.before, "{line}").unwrap();
        self
    }

    /// Passes a socket as systemd does. Up to three: they travel as stdin, stdout and stderr of a
    /// shell, which is the only way without `unsafe` and without showing them to other children.
    pub fn socket(mut self, name: &str, socket: impl Into<OwnedFd>) -> Self {
        assert!(self.sockets.len() < 3, "a shell takes three sockets at most");
        self.sockets.push((socket.into(), name.into()));
        self
    }

    /// Keeps the connections that the daemon leaves for the next one, as systemd does; otherwise it
    /// finds that nobody does.
    pub fn keeping_connections(mut self) -> Self {
        self.behavior.keeps_connections = true;
        self
    }

    /// The service manager takes so long to say that it has dealt with everything.
    pub fn slowly_answered(mut self, slowness: Duration) -> Self {
        self.behavior.slowness = slowness;
        self
    }

    pub fn folder(&self) -> &Path {
        self.home.folder.path()
    }

    /// Where the daemon's stderr goes.
    pub fn stderr_file(&self) -> PathBuf {
        let path = self.home.path("stderr");
        OpenOptions::new().create(true).append(true).open(&path).unwrap();
        path
    }

    /// Starts it and waits until it says that it is ready.
    pub fn start(self) -> Daemon {
        let mut daemon = self.spawn();
        daemon.ready = eventually("READY=1", || {
            if let Some(status) = daemon.child.try_wait().unwrap() {
                panic!("the daemon ended with {status}: {}", daemon.log());
            }
            daemon.notices.try_iter().find(|notice| has_line(notice, "READY=1"))
        });
        daemon
    }

    /// Starts it and waits until it exits. Returns the exit code, and everything that it wrote.
    pub fn start_and_fail(self) -> (i32, String) {
        let mut daemon = self.spawn();
        let code = daemon.wait().code().expect("it ends by itself");
        (code, daemon.log())
    }

    fn spawn(self) -> Daemon {
        self.home.configure(&self.settings);
        let stderr_file = self.stderr_file();
        let notify = self.home.path("notify.sock");
        let stored = Store::default();
        // What the service manager keeps it has passed.
        for (socket, name) in self.sockets.iter().rev().filter(|(_, name)| KEPT.contains(&name.as_str())) {
            stored.add(name, socket.try_clone().unwrap());
        }
        let notices = listen(&notify, self.behavior, stored.clone());
        let mut script = self.before;
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().envs(self.environment).env("NOTIFY_SOCKET", &notify);
        shell.stdin(Stdio::null()).stdout(Stdio::null());
        shell.stderr(OpenOptions::new().append(true).open(&stderr_file).unwrap());
        if !self.sockets.is_empty() {
            script += "exec 3<&0 4<&1 5<&2 </dev/null >/dev/null 2>>\"$STDERR\"; export LISTEN_PID=$$\n";
            let (sockets, names): (Vec<_>, Vec<_>) = self.sockets.into_iter().unzip();
            shell.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
            shell.env("STDERR", &stderr_file);
            let mut sockets = sockets.into_iter().map(Stdio::from);
            let mut next = || sockets.next().unwrap_or_else(Stdio::null);
            shell.stdin(next()).stdout(next()).stderr(next());
        }
        script += "exec \"$0\" \"$@\"";
        shell.args(["-c", &script, PIXELD, "--config"]).arg(self.home.path("pixeld.toml"));
        let child = shell.args(self.arguments).spawn().unwrap();
        Daemon { child, notices, stored, ready: String::new(), home: self.home }
    }
}

/// What a daemon has stored, and not a unit has opened.
const KEPT: [&str; 2] = ["counters", "connections"];

/// A running pixeld. It is killed and reaped when the test ends.
pub struct Daemon {
    child: Child,
    notices: Receiver<String>,
    stored: Store,
    home: Home,
    /// The notification that said that it is ready.
    pub ready: String,
}

impl Daemon {
    pub fn start(settings: &str) -> Self {
        Setup::new(settings).start()
    }

    /// Writes its configuration file anew.
    pub fn configure(&self, settings: &str) {
        self.home.configure(settings);
    }

    pub fn config_file(&self) -> PathBuf {
        self.home.path("pixeld.toml")
    }

    pub fn folder(&self) -> &Path {
        self.home.folder.path()
    }

    pub fn http_socket(&self) -> PathBuf {
        self.home.unix.clone()
    }

    pub fn control_socket(&self) -> PathBuf {
        self.home.path("pixeld/control.sock")
    }

    pub fn admin_socket(&self) -> PathBuf {
        self.home.path("pixeld/admin.sock")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The TCP address that it really listens on.
    pub fn address(&self) -> SocketAddr {
        let stats = self.stats();
        let listeners = stats["listeners"].as_array().unwrap();
        listeners.iter().find_map(|listener| listener.as_str().unwrap().parse().ok()).expect("a TCP listener")
    }

    /// A connection over TCP.
    pub fn client(&self) -> Client {
        Client::tcp(self.address())
    }

    /// A connection over the Unix socket.
    pub fn unix_client(&self) -> Client {
        Client::unix(&self.http_socket())
    }

    /// A Varlink connection to the admin socket.
    pub fn varlink(&self) -> Varlink {
        Varlink::connect(&self.admin_socket())
    }

    /// Runs pixeldctl with the admin socket.
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        ctl(&self.admin_socket(), arguments)
    }

    /// What pixeldctl prints as JSON; it has to succeed.
    pub fn ctl_json(&self, arguments: &[&str]) -> Value {
        let output = self.ctl(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        serde_json::from_str(&stdout(&output)).unwrap()
    }

    pub fn stats(&self) -> Value {
        self.ctl_json(&["stats"])
    }

    /// The descriptor that is stored under this name for the next process.
    pub fn stored(&self, name: &str) -> OwnedFd {
        eventually(&format!("{name} is stored"), || self.all_stored(name).into_iter().next())
    }

    /// All that are stored under this name, in the order in which systemd passes them.
    pub fn all_stored(&self, name: &str) -> Vec<OwnedFd> {
        self.stored.get(name)
    }

    /// Everything that it has written to stderr.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path("stderr")).unwrap()
    }

    /// The events of this name that it has logged.
    pub fn logged(&self, event: &str) -> Vec<LogLine> {
        self.log().lines().filter_map(LogLine::parse).filter(|line| line.event == event).collect()
    }

    /// Waits until it has logged an event of this name with these fields.
    #[track_caller]
    pub fn wait_for_event(&self, event: &str, fields: &[(&str, &str)]) -> LogLine {
        eventually(&format!("event {event} with {fields:?}"), || {
            self.logged(event).into_iter().find(|line| line.has(fields))
        })
    }

    /// Waits until it has logged an event of this name about something, such as a key or an address.
    #[track_caller]
    pub fn wait_for_event_with(&self, event: &str, text: &str) -> LogLine {
        eventually(&format!("event {event} with {text:?}"), || {
            self.logged(event).into_iter().find(|line| line.text.contains(text))
        })
    }

    /// Every notification that it has sent.
    pub fn notices(&self) -> Vec<String> {
        self.stored.notices()
    }

    /// Waits for a notification that has `line` as one of its lines, and forgets those before it.
    pub fn wait_for_notice(&self, line: &str) -> String {
        self.wait_for_notice_where(line, |notice| has_line(notice, line))
    }

    pub fn wait_for_notice_where(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let notice = self
                .notices
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("systemd was not notified: {what}"));
            if wanted(&notice) {
                return notice;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
    }

    /// Stops all its threads (SIGSTOP), and waits until they are stopped.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the end of the daemon", || self.child.try_wait().unwrap())
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already, and a second panic would hide the first.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        }
        // The one that receives notices ends with an empty one.
        let _ = UnixDatagram::unbound().map(|socket| socket.send_to(&[], self.home.path("notify.sock")));
    }
}

struct Home {
    folder: TempDir,
    tcp: SocketAddr,
    unix: PathBuf,
}

impl Home {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, settings: &str) {
        let (tcp, unix, folder) = (self.tcp, self.unix.display(), self.folder.path().display());
        let listen = format!(
            "[listen]\nhttp = [\"{tcp}\", \"unix:{unix}\"]\n\
             control = \"unix:{folder}/pixeld/control.sock\"\nadmin = \"unix:{folder}/pixeld/admin.sock\"\n"
        );
        // Replaced in one step, as editors do: nobody reads half a file.
        let new = self.path("pixeld.toml.new");
        fs::write(&new, format!("{settings}\n{listen}")).unwrap();
        fs::rename(new, self.path("pixeld.toml")).unwrap();
    }
}

fn has_line(notice: &str, line: &str) -> bool {
    notice.lines().any(|one| one == line)
}
