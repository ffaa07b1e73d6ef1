use crate::doctor::host_facts::{Host, Probe, Unavailable};

use super::nginx::Nginx;

/// A Unix socket that nginx passes requests to, with its permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketAccess {
    pub path: String,
    pub mode: u32,
    pub owner: String,
    pub group: String,
    /// The groups of the user of nginx.
    pub groups: Vec<String>,
}

/// Reads the permissions of each existing Unix socket that nginx passes requests to.
pub async fn probe(host: &Host, nginx: &Nginx) -> Probe<Vec<SocketAccess>> {
    let paths = nginx.unix_servers();
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let groups = host.ask("id", &["-nG", "--", &nginx.user]).await?;
    let mut found = Vec::new();
    for path in paths {
        // The check "upstreams" reports a missing one.
        let Ok(shown) = host.ask("stat", &["-c", "%a %U %G", "--", path]).await else { continue };
        let access = parse(path, &shown, &groups);
        found.push(access.ok_or_else(|| Unavailable(format!("stat prints {:?} of {path}", shown.trim())))?);
    }
    Ok(found)
}

/// `660 root pixeld-proxy`
fn parse(path: &str, shown: &str, groups: &str) -> Option<SocketAccess> {
    let mut words = shown.split_whitespace();
    Some(SocketAccess {
        path: path.into(),
        mode: u32::from_str_radix(words.next()?, 8).ok()?,
        owner: words.next()?.into(),
        group: words.next()?.into(),
        groups: groups.split_whitespace().map(Into::into).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_output_is_parsed() {
        let access = parse("/s", "660 root pixeld-proxy\n", "www-data pixeld-proxy\n").unwrap();
        assert_eq!((access.mode, access.owner.as_str()), (0o660, "root"));
        assert_eq!((access.group.as_str(), access.groups.len()), ("pixeld-proxy", 2));
        assert_eq!(parse("/s", "? root", ""), None);
    }
}
