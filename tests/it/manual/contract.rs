//! Exit statuses, signals, variables and notifications: what a service manager and a shell see of the programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
};

use nix::sys::signal::Signal;
use pixeld::daemon;
use pixeld_control::{
    environment::{self, Variable},
    exit::Exit,
};

use super::{
    command_lines::assert_exits_are_explained,
    page::{PAGES, PIXELD, PIXELDCTL, items, marked, section},
};
use crate::support::{Daemon, ECHO, PIXEL, PIXELDCTL as PROGRAM, Setup, Tmux, post};

#[test]
fn every_exit_status_of_pixeld_is_explained() {
    assert_exits_are_explained(PIXELD, daemon::EXITS);
}

#[test]
fn exit_status_names_are_those_of_sysexits() {
    // Each C compiler that links a build here comes with it.
    let header = fs::read_to_string("/usr/include/sysexits.h").expect("the header of libc6-dev");
    let known: BTreeMap<_, _> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define EX_"))
        .filter_map(|rest| rest.split_whitespace().next().zip(rest.split_whitespace().nth(1)))
        .collect();
    for exit in Exit::ALL.into_iter().filter(|exit| ![Exit::Ok, Exit::Unwell].contains(exit)) {
        let name = format!("{exit:?}").to_uppercase();
        assert_eq!(known.get(name.as_str()), Some(&(exit as u8).to_string().as_str()), "{name}");
    }
}

/// The signals for which a process has a handler, beside those of Rust's runtime and of a terminal's size.
fn handled(pid: u32) -> BTreeSet<&'static str> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a line of the kernel");
    let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
    let others = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGWINCH];
    let handled = Signal::iterator().filter(|signal| mask >> (*signal as u32 - 1) & 1 == 1);
    handled.filter(|signal| !others.contains(signal)).map(Signal::as_str).collect()
}

#[test]
fn every_signal_is_explained_and_no_other() {
    let daemon = Daemon::start("");
    let explained = section(PIXELD, "SIGNALS").lines().filter_map(|line| line.strip_prefix(".It Dv "));
    let explained: BTreeSet<_> = explained.flat_map(|head| head.split(" , Dv ")).collect();
    assert_eq!(explained, handled(daemon.pid()));

    let tmux = Tmux::start(80, 24, &[("PIXELDCTL_SOCKET", daemon.control_socket().to_str().unwrap())]);
    tmux.run(&format!("{PROGRAM} top"));
    tmux.wait_for("serving");
    let named: BTreeSet<_> =
        marked(PIXELDCTL, "Dv").into_iter().filter(|word| word.starts_with("SIG")).collect();
    let mut handled = handled(tmux.pid().try_into().unwrap());
    // It only makes the write fail that is too long, which the exit statuses explain.
    assert!(handled.remove("SIGXFSZ"));
    assert_eq!(named, handled);
    tmux.press(&["q"]);
}

#[test]
fn every_variable_is_explained_and_no_other() {
    for (page, variables) in [(PIXELD, environment::PIXELD), (PIXELDCTL, environment::PIXELDCTL)] {
        let read: BTreeSet<_> = variables.iter().copied().map(Variable::name).collect();
        let explained = items(section(page, "ENVIRONMENT"), "Ev").into_keys();
        let explained: BTreeSet<_> = explained.flat_map(|head| head.split(" , Ev ")).collect();
        assert_eq!(explained, read);
        let named: BTreeSet<_> = marked(page, "Ev").into_iter().filter(|word| *word != "Ev").collect();
        assert_eq!(named, read);
    }
    assert!(PAGES[2..].iter().all(|(_, page)| marked(page, "Ev").is_empty()), "the others name none");
}

/// A daemon that does all that a service manager is notified of.
#[test]
fn every_notification_is_explained_and_no_other() {
    let stale = File::open("/dev/null").unwrap();
    let setup = Setup::new("").keeping_connections().environment("WATCHDOG_USEC", "400000");
    let mut daemon = setup.socket("counters", stale).start();
    daemon.wait_for_notice("WATCHDOG=1");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_notice("RELOADING=1");
    daemon.wait_for_notice("READY=1");
    let mut client = daemon.unix_client();
    assert_eq!(client.ask(post(PIXEL)).body, ECHO);
    assert!(daemon.stop().success());

    let environment = items(section(PIXELD, "ENVIRONMENT"), "Ev");
    let explained = environment["NOTIFY_SOCKET"].lines().filter_map(|line| line.strip_prefix(".Ql "));
    let name = |text: &str| text.split('=').next().unwrap().to_owned();
    let notices = daemon.notices();
    let sent = notices.iter().flat_map(|notice| notice.lines()).map(name);
    assert_eq!(explained.map(name).collect::<BTreeSet<_>>(), sent.collect());
}
