//! ssh from one host to another, with keys of the test's own.

use super::Host;

/// Lets `user` of `from` log in on `to` as each of `accounts`, and knows `to` by its key. Both have to
/// know each other's address by name.
pub fn allow(from: &Host, user: &str, to: &Host, to_name: &str, accounts: &[&str]) {
    let home = |host: &Host, user: &str| host.run(&format!("getent passwd {user} | cut -d: -f6")).stdout;
    let folder = format!("{}/.ssh", home(from, user).trim());
    from.run(&format!(
        "install -d -m 700 -o {user} {folder} && \
         {{ test -e {folder}/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f {folder}/id_ed25519; }} && \
         chown {user} {folder}/id_ed25519*"
    ));
    let public = from.read(&format!("{folder}/id_ed25519.pub"));
    for account in accounts {
        let folder = format!("{}/.ssh", home(to, account).trim());
        to.run(&format!("install -d -m 700 -o {account} {folder}"));
        let keys = format!("{folder}/authorized_keys");
        to.run(&format!("echo '{}' >> {keys} && chown {account} {keys} && chmod 600 {keys}", public.trim()));
    }
    to.run("systemctl start ssh");
    let host_key = to.read("/etc/ssh/ssh_host_ed25519_key.pub");
    from.run(&format!(
        "echo '{to_name} {}' >> {folder}/known_hosts && chown {user} {folder}/known_hosts",
        host_key.trim()
    ));
}
