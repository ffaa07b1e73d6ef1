//! The user data of deploy/aws, run by the real cloud-init: from a bare Debian to an answered pixel.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{
    harness::{
        C5_OUTSIDE, Client, ECHO, Host, HostBuilder, Network, PIXEL, Release, Request, Web, deployment,
        wait_for_some,
    },
    package::deb,
};

/// Where packages are fetched from, and where hosts say that they are ready.
const DEPOT: &str = "10.77.0.40:80";
/// Points a host's apt to the depot for Debian's lists, too.
const MIRROR: &str = "/etc/apt/apt.conf.d/98-mirror";

/// The networks that the template makes, with a server in place of the internet's.
struct Cloud {
    private: Network,
    internet: Network,
    web: Web,
    /// The SHA-256 of the packages, by the name of the placeholder.
    sums: HashMap<&'static str, String>,
}

impl Cloud {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("create a folder for packages");
        let (private, internet) = (Network::new(), Network::new());
        let (mut files, mut sums) = (HashMap::new(), HashMap::new());
        for (name, path, package) in [
            ("PackageSha256", "/pixeld.deb", deb("pixeld")),
            ("SitePackageSha256", "/pixeld-nginx.deb", deb("pixeld-nginx")),
            ("AgentSha256", "/agent.deb", agent_stand_in(folder.path())),
        ] {
            let sum = run(Command::new("sha256sum").arg(&package));
            sums.insert(name, sum.split(' ').next().expect("sha256sum prints a sum").to_owned());
            files.insert(path.to_owned(), fs::read(&package).expect("read a package"));
        }
        // Of a mirror, what apt asks for when it has all of it.
        let lists = Release::TrixieImage.root().join("var/lib/apt/lists");
        let release = fs::read(lists.join("deb.debian.org_debian_dists_trixie_InRelease"));
        files.insert(
            "http://deb.debian.org/debian/dists/trixie/InRelease".to_owned(),
            release.expect("read the image's list of lists"),
        );
        let address: SocketAddr = DEPOT.parse().unwrap();
        let depot = Client::in_network(&private, &format!("{}/24", address.ip()));
        let web = Web::serve(&depot, address, files);
        Self { private, internet, web, sums }
    }

    /// user-data.yaml with the values that CloudFormation inserts.
    fn user_data(&self, role: &str) -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/aws/user-data.yaml");
        let mut text = fs::read_to_string(file).expect("read the user data");
        let known = [
            ("Role", role.to_owned()),
            ("FrontAddress", "10.77.0.10".into()),
            ("SecondAddress", "10.77.0.20".into()),
            ("PackageUrl", format!("http://{DEPOT}/pixeld.deb")),
            ("SitePackageUrl", format!("http://{DEPOT}/pixeld-nginx.deb")),
            ("AgentUrl", format!("http://{DEPOT}/agent.deb")),
            ("Region", "nowhere-1".into()),
            ("SignalUrl", format!("http://{DEPOT}/signal?signature=a%2Fb&role={role}")),
        ];
        let sums = self.sums.iter().map(|(name, sum)| (*name, sum.clone()));
        for (name, value) in known.into_iter().chain(sums) {
            let placeholder = format!("${{{name}}}");
            assert!(text.contains(&placeholder), "{placeholder}");
            text = text.replace(&placeholder, &value);
        }
        let (for_this_host, _) = text.split_once("the same for all hosts.\n").expect("what each host has");
        assert!(!for_this_host.contains("${"), "{text}");
        text
    }

    /// A host with only cloud-init, which reads the data of EC2's metadata service from a folder.
    fn host(&self, name: &str, address: &str, user_data: String) -> HostBuilder {
        let seed = "/var/lib/cloud/seed/nocloud";
        Host::builder(name)
            .release(Release::TrixieImage)
            .attach(&self.private, "lan0", address)
            .with_file(
                &format!("{seed}/meta-data"),
                format!("instance-id: i-{name}\nlocal-hostname: {name}\n"),
            )
            .with_file(&format!("{seed}/user-data"), user_data)
            // The test has plugged and configured the interfaces.
            .with_file(
                "/etc/cloud/cloud.cfg.d/99-test.cfg",
                "network: {config: disabled}\ndatasource_list: [NoCloud]\n",
            )
            // The mirror has no packages, so apt uses its cache and does not retry.
            .with_file(
                "/etc/apt/apt.conf.d/99-test",
                "Acquire::Retries::Delay \"false\";\nAcquire::Languages \"none\";\n",
            )
            .with_file(MIRROR, format!("Acquire::http::Proxy \"http://{DEPOT}\";\n"))
            // The metadata service is not there; the test of deploy/check that calls the script has one.
            .with_file(
                "/etc/systemd/system/pixeld-aws.service.d/test.conf",
                "[Service]\nSuccessExitStatus=7\n",
            )
            // This disk is temporary, so dpkg need not sync it.
            .with_file("/etc/dpkg/dpkg.cfg.d/99-test", "force-unsafe-io\n")
            .with_file("/etc/resolv.conf", "")
            .within(Duration::from_secs(300))
    }

    fn t2(&self, user_data: String) -> Host {
        self.host("t2", "10.77.0.20/24", user_data).boot()
    }
}

#[test]
fn bare_hosts_become_the_deployment() {
    let cloud = Cloud::new();
    let begun = Instant::now();
    let t2 = cloud.t2(cloud.user_data("second"));
    let second = begun.elapsed();
    assert_eq!(cloud.web.put(), [success("second")], "{}", log(&t2));
    let front = Instant::now();
    let c5 = cloud.host("c5", "10.77.0.10/24", cloud.user_data("front"));
    let c5 = c5.attach(&cloud.internet, "wan0", "203.0.113.10/24").boot();
    let front = front.elapsed();
    assert_eq!(cloud.web.put()[1..], [success("front")], "{}", log(&c5));

    let client = Client::in_network(&cloud.internet, "203.0.113.50/24");
    let mut connection = client.connect(C5_OUTSIDE).unwrap();
    assert_eq!(connection.send(&Request::pixel(PIXEL)).unwrap().status, 200);
    // For deploy/README.md; shown with --nocapture.
    let answered = begun.elapsed();
    println!("bare to ready: second {second:.1?}, front {front:.1?}; both to the first 200: {answered:.1?}");
    for _ in 0..19 {
        let response = connection.send(&Request::pixel(PIXEL)).unwrap();
        assert_eq!((response.status, response.body.as_str()), (200, ECHO));
    }
    let counted = [&c5, &t2].map(|host| deployment::stats(host).ok);
    // And the one that each host has posted itself; the front's may have gone to either.
    assert_eq!(counted.iter().sum::<u64>(), 22, "{counted:?}");
    assert!(counted.iter().all(|ok| *ok > 1), "{counted:?}");

    let post = format!("curl --silent --max-time 2 --data '{PIXEL}' -H content-type:application/json");
    c5.run("ip address add 10.77.0.11/24 dev lan0");
    let from = |address| c5.try_run(&format!("{post} --interface {address} http://10.77.0.20:8000/pixel"));
    assert_eq!(from("10.77.0.10").stdout, ECHO, "the front is let in");
    assert!(!from("10.77.0.11").success(), "no other private address is");
    c5.run("ip address del 10.77.0.11/24 dev lan0");

    for host in [&c5, &t2] {
        let valid = host.run("cloud-init schema --system").stdout;
        assert!(valid.contains("Valid schema"), "{valid}");
        host.run("dpkg --status amazon-ssm-agent");
        host.run("systemd-analyze verify pixeld-aws.timer pixeld-aws.service");
        host.run("systemctl is-active pixeld-aws.timer && systemctl start pixeld-aws.service");
        let connected = host.run("journalctl -u pixeld-aws.service -o cat").stdout;
        assert!(connected.contains("Failed to connect to 169.254.169.254"), "{connected}");
        host.reboot();
        host.run("pixeldctl doctor");
    }
    assert_eq!(client.post(C5_OUTSIDE, PIXEL).body, ECHO);
    assert_eq!(cloud.web.put().len(), 2, "what is done once is not done at each boot");
}

#[test]
fn package_with_a_wrong_checksum_is_rejected() {
    let cloud = Cloud::new();
    let wrong = "0".repeat(64);
    let mut user_data = without_runcmd(&cloud.user_data("second"));
    let expected = [("agent", "AgentSha256"), ("package", "PackageSha256")];
    for (_, sum) in expected {
        user_data = user_data.replace(&cloud.sums[sum], &wrong);
    }
    let host = cloud.t2(user_data);
    for (tries, (variable, sum)) in expected.into_iter().enumerate() {
        let output = host.try_run("pixeld-deploy");
        assert!(!output.success(), "{output}");
        let failed = format!("pixeld-deploy: failed to fetch http://{DEPOT}/");
        assert!(output.stderr.contains(&failed), "{output}");
        let put = cloud.web.put();
        let report: serde_json::Value =
            serde_json::from_str(&put[tries]).expect("the report to the stack is JSON");
        assert_eq!((put.len(), &report["Status"]), (tries + 1, &"FAILURE".into()), "{put:?}");
        assert!(report["Reason"].as_str().unwrap().ends_with(&wrong), "{report}");
        let package = if variable == "agent" { "amazon-ssm-agent" } else { "pixeld" };
        assert!(!host.try_run(&format!("dpkg --status {package}")).success(), "nothing of it is installed");
        host.run("test -z \"$(ls -d /var/tmp/pixeld-deploy.* 2>/dev/null)\"");
        let right = &cloud.sums[sum];
        host.run(&format!(
            "sed -i \"s/^{variable}_sum=.*/{variable}_sum='{right}'/\" /etc/pixeld-deploy.conf"
        ));
    }

    // The same script with the right sums fixes it.
    host.run("pixeld-deploy");
    assert_eq!(cloud.web.put()[expected.len()..], [success("second")]);
    assert_eq!(host.client().post("127.0.0.1:8000".parse::<SocketAddr>().unwrap(), PIXEL).body, ECHO);
}

#[test]
fn deploy_waits_for_apt_and_reports_no_mirror() {
    let cloud = Cloud::new();
    // The default of the template: the newest agent.
    let user_data = cloud.user_data("second").replace(&cloud.sums["AgentSha256"], "any");
    let host = cloud.t2(without_runcmd(&user_data));
    host.run("! command -v curl");
    host.run(&format!("mv {MIRROR} /root/mirror"));
    host.run("sed -i 's/^patience=300$/patience=1/' /usr/local/sbin/pixeld-deploy");
    let output = host.try_run("pixeld-deploy");
    assert!(!output.success(), "{output}");
    assert!(output.stderr.contains("Failed to fetch http://deb.debian.org"), "{output}");
    let put = cloud.web.put();
    let report: serde_json::Value = serde_json::from_str(&put[0]).expect("the report to the stack is JSON");
    let reason = "failed to fetch the lists of packages within 1 s";
    assert_eq!((&report["Status"], &report["Reason"]), (&"FAILURE".into(), &reason.into()), "{put:?}");

    host.run(&format!("mv /root/mirror {MIRROR}"));
    host.run("sed -i 's/^patience=1$/patience=300/' /usr/local/sbin/pixeld-deploy");
    // apt-daily.service holds this lock for minutes at a first boot.
    let lock = "/var/lib/apt/lists/lock";
    let hold = format!(
        "import fcntl, time; file = open('{lock}', 'w'); fcntl.lockf(file, fcntl.LOCK_EX); \
         open('/run/held', 'w'); time.sleep(600)"
    );
    host.run(&format!("systemd-run --quiet --unit=daily python3 -c \"{hold}\""));
    host.wait_for("test -e /run/held");
    host.run("systemd-run --quiet --unit=deploy /usr/local/sbin/pixeld-deploy");
    host.wait_for(&format!("journalctl -u deploy | grep 'Could not get lock {lock}'"));
    assert_eq!(cloud.web.put().len(), 1, "it has not given up");
    host.run("systemctl stop daily");
    let put = wait_for_some("the stack gets a report", Duration::from_secs(120), || {
        cloud.web.put().get(1).cloned()
    });
    assert_eq!(put, success("second"), "{}", host.run("journalctl -u deploy").stdout);
}

#[test]
fn added_host_gets_the_agent_by_the_guide() {
    let guide = include_str!("../../deploy/README.md");
    let (_, script) = guide.split_once("cat > agent.sh <<'END'\n").expect("the guide has the script");
    let (script, _) = script.split_once("    END\n").expect("the script ends");
    let script: String = script.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let url = "https://s3.REGION.amazonaws.com/amazon-ssm-REGION/latest/debian_amd64/amazon-ssm-agent.deb";
    let template = include_str!("../../deploy/aws/user-data.yaml");
    assert!(template.contains(&url.replace("REGION", "$region").replace("amd64", "$arch")), "the same place");
    assert!(script.contains(url), "{script}");

    let cloud = Cloud::new();
    let host = cloud.t2(script.replace(url, &format!("http://{DEPOT}/agent.deb")));
    let installed = host.try_run("dpkg --status amazon-ssm-agent");
    assert!(installed.stdout.contains("\nStatus: install ok installed\n"), "{installed}\n{}", log(&host));
}

/// User data that runs nothing at boot, because a failed boot would fail the test.
fn without_runcmd(user_data: &str) -> String {
    user_data.replace("runcmd:\n  - [/usr/local/sbin/pixeld-deploy]\n", "")
}

fn success(role: &str) -> String {
    format!(
        r#"{{"Status":"SUCCESS","UniqueId":"{role}","Reason":"doctor passes and a pixel gets its response","Data":""}}"#
    )
}

fn log(host: &Host) -> String {
    host.read("/var/log/cloud-init-output.log")
}

/// A package of the name that the agent of Systems Manager has.
fn agent_stand_in(folder: &Path) -> PathBuf {
    let (control, file) = (folder.join("agent/DEBIAN"), folder.join("agent.deb"));
    fs::create_dir_all(&control).expect("create a package's folder");
    let fields = "Package: amazon-ssm-agent\nVersion: 0\nArchitecture: all\n\
                  Maintainer: nobody <nobody@localhost>\nDescription: stand-in of a test\n";
    fs::write(control.join("control"), fields).expect("write a package's control file");
    run(Command::new("dpkg-deb")
        .args(["--build", "--root-owner-group"])
        .arg(folder.join("agent"))
        .arg(&file));
    file
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("start a program");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
