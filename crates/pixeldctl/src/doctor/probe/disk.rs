use crate::doctor::host_facts::{Host, Probe, Unavailable};

/// The journal and the logs of nginx's site, which may have a disk of their own.
const FOLDERS: [&str; 2] = ["/var/log", "/var/log/nginx/pixeld"];
const LOGS: [&str; 2] = ["/var/log/nginx/pixeld/access.log", "/var/log/nginx/pixeld/error.log"];
/// The timer that rotates them.
pub const ROTATION: &str = "pixeld-logrotate.timer";

/// The file system of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogDisk {
    /// Free bytes on the file system that has fewer.
    pub free: u64,
    /// Whether [`ROTATION`] is active.
    pub has_rotation: bool,
}

pub async fn probe(host: &Host) -> Probe<LogDisk> {
    let folders = FOLDERS.into_iter().filter(|folder| host.size(folder).is_some());
    let arguments: Vec<_> = ["--block-size=1", "--output=avail"].into_iter().chain(folders).collect();
    let free = parse(&host.ask("df", &arguments).await?)?;
    let has_rotation = host.run("systemctl", &["--quiet", "is-active", ROTATION]).await?.succeeded();
    Ok(LogDisk { free, has_rotation })
}

fn parse(printed: &str) -> Probe<u64> {
    let free = printed.lines().skip(1).filter_map(|line| line.trim().parse().ok()).min();
    free.ok_or_else(|| Unavailable(format!("df prints {printed:?}")))
}

/// The sizes of the site's logs that exist.
pub fn log_sizes(host: &Host) -> Vec<(&'static str, u64)> {
    LOGS.into_iter().filter_map(|log| Some((log, host.size(log)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_bytes_are_read() {
        assert_eq!(parse("      Avail\n58902810624\n 58902810625\n"), Ok(58_902_810_624));
        assert!(parse("Avail\n").is_err());
    }

    #[test]
    fn only_logs_that_exist_have_a_size() {
        let (_folder, host) = Host::with_files(&[("var/log/nginx/pixeld/error.log", "12345")]);
        assert_eq!(log_sizes(&host), [(LOGS[1], 5)]);
    }
}
