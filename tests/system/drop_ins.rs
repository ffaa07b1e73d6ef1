//! Settings of systemd.exec(5) that administrators add to the shipped unit, each of which has its effect.

use crate::harness::{Host, PIXEL, Release, Request, deployment::json};

/// For both releases.
const SETTINGS: &str = "\
[Service]
User=web
Group=web
Nice=5
CPUAffinity=0
CPUQuota=80%
MemoryMax=300M
LimitNOFILE=4096
Environment=WEB=yes
ProtectHome=tmpfs
BindReadOnlyPaths=/srv/site
BindPaths=/srv/site:/var/site
StateDirectory=pixeld
RuntimeDirectory=pixeld-web
LoadCredential=key:/srv/site/file
LogExtraFields=SITE=web
";

#[test]
fn drop_ins_of_administrators_have_effect() {
    for release in [Release::Trixie, Release::Bookworm] {
        let host = Host::builder("c5").release(release).with_pixeld().boot();
        host.run("useradd --no-create-home web");
        host.write("/srv/site/file", "a site\n");
        host.write("/etc/systemd/system/pixeld.service.d/x.conf", SETTINGS);
        host.run("systemctl daemon-reload && systemctl start pixeld && systemctl reload pixeld");
        let answer = host.client().send(host.unix("/run/pixeld/http.sock"), &Request::pixel(PIXEL));
        assert_eq!(answer.expect("a response").status, 200, "{release:?}");

        let pid = host.run("systemctl show -P MainPID pixeld").stdout.trim().to_owned();
        let has = |file: &str, part: &str| {
            let text = host.run(&format!("tr '\\0' '\\n' < /proc/{pid}/{file}")).stdout;
            assert!(text.contains(part), "{release:?}: {file}: no {part:?} in {text}");
        };
        let web = host.run("id -u web").stdout;
        has("status", &format!("Uid:\t{}\t", web.trim()));
        has("status", "Cpus_allowed_list:\t0\n");
        has("limits", "Max open files            4096");
        has("environ", "WEB=yes");
        has("mountinfo", " /home ");
        for folder in ["srv/site", "var/site"] {
            has(&format!("root/{folder}/file"), "a site");
        }
        has("root/run/credentials/pixeld.service/key", "a site");
        host.run(&format!(
            "test -d /proc/{pid}/root/var/lib/pixeld && test -d /proc/{pid}/root/run/pixeld-web"
        ));
        assert_eq!(host.run(&format!("cut -d ' ' -f 19 /proc/{pid}/stat")).stdout, "5\n");
        let shown = host.run("systemctl show -p CPUQuotaPerSecUSec -p MemoryMax pixeld").stdout;
        assert!(shown.contains("=800ms") && shown.contains("=314572800"), "{shown}");
        assert_eq!(json(&host, "pixeldctl workers --json")["workers"].as_array().unwrap().len(), 1);
        host.wait_for("journalctl -u pixeld -o export | grep -q ^SITE=web");
        assert_eq!(host.run("systemctl show -P NRestarts pixeld").stdout, "0\n");
    }
}

/// As pixeld(8) has it.
const NAMESPACE: &str = "\
[Service]
LogNamespace=web
BindReadOnlyPaths=
BindReadOnlyPaths=/run/systemd/notify /run/pixeld
";

#[test]
fn log_namespace_of_the_manual_works() {
    let page = include_str!("../../man/pixeld.8");
    assert!(page.contains(NAMESPACE), "the manual has another one");
    for release in [Release::Trixie, Release::Bookworm] {
        let host = Host::builder("c5").release(release).with_pixeld().boot();
        host.write("/etc/systemd/system/pixeld.service.d/x.conf", NAMESPACE);
        host.run("systemctl daemon-reload && systemctl start pixeld");
        // Over the socket of that namespace, not by standard error.
        host.wait_for("journalctl --namespace=web _TRANSPORT=journal EVENT=ready -o cat | grep -q .");
        assert_eq!(host.run("journalctl -q -t pixeld -o cat").stdout, "");
    }
}
