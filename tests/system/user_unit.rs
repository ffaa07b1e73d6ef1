//! pixeld below a user's own service manager, as pixeld(8) has it.

use crate::harness::{Host, Output, PIXEL, Release, Request};

const MANUAL: &str = include_str!("../../man/pixeld.8");

/// The lines of the manual from the first of these words to the end of its example.
fn example(start: &str) -> &'static str {
    let (_, text) = MANUAL.split_once(start).expect("the manual has the example");
    text.split_once(".Ed\n").expect("the example ends").0
}

#[test]
fn user_unit_serves_and_pixeldctl_finds_it() {
    for release in [Release::Trixie, Release::Bookworm] {
        let host = Host::builder("c5").release(release).with_pixeld().boot();
        // As pam_systemd has it where that is installed.
        let environment = "[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n";
        host.write("/etc/systemd/system/user@.service.d/x.conf", environment);
        let home = "/home/web";
        let unit = example("~/.config/systemd/user/pixeld.service :\n.Bd -literal -offset indent\n");
        host.write(&format!("{home}/.config/systemd/user/pixeld.service"), unit);
        let (settings, _) = example("$ cat pixeld.toml\n").split_once("$ pixeld").unwrap();
        host.write(&format!("{home}/pixeld.toml"), settings);
        host.run(&format!(
            "systemctl daemon-reload && useradd --uid 1000 --home-dir {home} web && chown -R web: {home} && \
             systemctl start user@1000"
        ));
        let web = |command: &str| -> Output {
            let variable = "export XDG_RUNTIME_DIR=/run/user/1000";
            host.run_as("web", &format!("{variable}; {command}"))
        };
        web("systemctl --user enable --now pixeld && systemctl --user is-active pixeld && pixeldctl drain");
        web(
            "systemctl --user restart pixeld && pixeldctl status | grep 'State: drained' && pixeldctl resume",
        );
        let answer =
            host.client().send(std::net::SocketAddr::from(([127, 0, 0, 1], 8000)), &Request::pixel(PIXEL));
        assert_eq!(answer.unwrap().status, 200);
        let doctor = web("pixeldctl doctor");
        assert!(doctor.stdout.contains("skipped  sockets"), "{doctor}");
        // It is not that of the system, which root is after.
        assert_eq!(host.try_run("pixeldctl status").status, 69);
    }
}
