//! The sections FILES have everything that packages, units and the daemon put into the file system.

use std::{collections::BTreeSet, fs, path::Path};

use super::page::{PAGES, PIXELD, PIXELD_CONTROL, PIXELDCTL, root, section};

/// Programs, the manual itself, and files that the policies of distributions require.
const UNDOCUMENTED: [&str; 6] = [
    "/usr/bin/",
    "/usr/share/man/",
    "/usr/share/lintian/",
    "/usr/share/licenses/",
    "/usr/share/doc/pixeld-nginx/",
    "/usr/share/doc/pixeld/changelog.gz",
];

/// The files of the checkout that a pattern with one `*` in its name stands for.
fn matching(pattern: &str) -> Vec<String> {
    // Both kinds of packages copy some of them first.
    let pattern = Path::new(pattern);
    let name = pattern.file_name().unwrap().to_str().unwrap().to_owned();
    let Some((begin, end)) = name.split_once('*') else { return vec![name] };
    let folder = match pattern.parent().unwrap() {
        made if made.starts_with("target/release/package/nginx") => {
            root().join(made.strip_prefix("target/release/package").unwrap())
        }
        made if made.starts_with("target/release/package/plain") => root().join("systemd"),
        made if made.starts_with("target") => return vec![name],
        folder => root().join(folder),
    };
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(begin) && name.ends_with(end)).collect()
}

/// Where the packages of both kinds put their files.
fn packaged() -> BTreeSet<String> {
    let manifest: toml::Table = toml::from_str(include_str!("../../../Cargo.toml")).unwrap();
    let metadata = &manifest["package"]["metadata"];
    let mut paths = BTreeSet::new();
    for kind in ["deb", "generate-rpm"] {
        for package in [&metadata[kind], &metadata[kind]["variants"]["nginx"]] {
            for asset in package["assets"].as_array().unwrap() {
                let field = |name: &str, at: usize| asset.get(name).or_else(|| asset.get(at)).unwrap();
                let (source, to) = (field("source", 0).as_str().unwrap(), field("dest", 1).as_str().unwrap());
                let to = format!("/{}", to.trim_start_matches('/'));
                if to.ends_with('/') {
                    paths.extend(matching(source).into_iter().map(|name| to.clone() + &name));
                } else {
                    paths.insert(to);
                }
            }
        }
    }
    paths.retain(|path| !UNDOCUMENTED.iter().any(|prefix| path.starts_with(prefix)));
    paths
}

/// Sockets that the units open, and files that the service and its site write.
fn made() -> BTreeSet<String> {
    let units = fs::read_dir(root().join("systemd")).unwrap();
    let mut paths = BTreeSet::new();
    for unit in units.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()) {
        let values = unit.lines().filter_map(|line| {
            line.strip_prefix("ListenStream=").or_else(|| line.strip_prefix("Environment=PIXELD_METRICS="))
        });
        paths.extend(values.filter(|value| value.starts_with('/')).map(String::from));
    }
    let site = include_str!("../../../nginx/pixeld.conf");
    let tls = include_str!("../../../nginx/pixeld.d/tls.conf");
    for named in ["access_log ", "error_log ", "ssl_certificate ", "ssl_certificate_key "] {
        let lines = site.lines().chain(tls.lines());
        let files = lines.filter_map(|line| line.trim().strip_prefix(named)?.split([' ', ';']).next());
        paths.extend(files.map(String::from));
    }
    let included = site.lines().filter_map(|line| line.trim().strip_prefix("include pixeld.d/"));
    paths.extend(included.map(|pattern| format!("/etc/nginx/pixeld.d/{}", pattern.trim_end_matches(';'))));
    let enabling = include_str!("../../../packaging/debian-nginx/postinst");
    for variable in ["link=", "was_enabled=", "upstreams=", "old="] {
        paths.extend(enabling.lines().filter_map(|line| line.strip_prefix(variable)).map(String::from));
    }
    let access = include_str!("../../../packaging/proxy-group");
    paths.extend(access.lines().filter_map(|line| line.strip_prefix("drop_in=")).map(String::from));
    paths
}

/// FILES sections of the manual: paths, folders with a `/` at their end, and patterns with one `*`.
fn listed() -> BTreeSet<&'static str> {
    let sections = [PIXELD, PIXELDCTL, PIXELD_CONTROL].map(|page| section(page, "FILES"));
    let heads =
        sections.iter().flat_map(|section| section.lines()).filter_map(|line| line.strip_prefix(".It Pa "));
    heads.flat_map(|head| head.split(" , ")).collect()
}

fn has(listed: &str, path: &str) -> bool {
    match listed.split_once('*') {
        Some((begin, end)) => path.starts_with(begin) && path.ends_with(end),
        None => path == listed || listed.ends_with('/') && path.starts_with(listed),
    }
}

#[test]
fn files_of_packages_and_units_are_listed() {
    let listed = listed();
    let all: Vec<_> = packaged().into_iter().chain(made()).collect();
    assert!(all.len() > 25, "{all:?}");
    let missing: Vec<_> = all.iter().filter(|path| !listed.iter().any(|listed| has(listed, path))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn listed_files_are_made() {
    let mut all: BTreeSet<_> = packaged().into_iter().chain(made()).collect();
    for folder in ["/etc", "/run", "/usr/lib"] {
        all.insert(format!("{folder}/pixeld/pixeld.toml"));
        all.insert(format!("{folder}/pixeld/pixeld.toml.d/*.toml"));
    }
    // By `make install` alone, below its PREFIX.
    let makefile = include_str!("../../../Makefile");
    assert!(makefile.contains("$(PREFIX)/share/pixeld/$$folder\" $$folder/*.conf"));
    all.insert("/usr/local/share/pixeld/nginx/pixeld.conf".into());
    let unknown: Vec<_> =
        listed().into_iter().filter(|listed| !all.iter().any(|path| has(listed, path))).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn named_files_are_listed() {
    let listed = listed();
    assert!(PAGES.iter().any(|(_, page)| page.contains("\n.Pa /")));
    for (name, page) in PAGES {
        let named = page.lines().filter_map(|line| line.strip_prefix(".Pa /")?.split(' ').next());
        // Folders of other software, and the path of requests.
        let others =
            ["pixel", "dev/null", "proc", "etc", "run", "usr/lib", "run/pixeld", "etc/pixeld/pixeld.toml.d"];
        let unknown = named.filter(|path| !others.contains(path)).map(|path| format!("/{path}"));
        let unknown: Vec<_> = unknown.filter(|path| !listed.iter().any(|listed| has(listed, path))).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
}
