mod config;

use self::config::Directive;
use super::{
    finding::USE_SUDO,
    host::{Host, Printed, Probe, Unavailable},
};

/// The configuration of nginx as it is on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nginx {
    /// Why it rejects its configuration, if it does.
    pub fault: Option<String>,
    /// The targets of its requests to pixeld.
    pub groups: Vec<Group>,
    /// Since 1.29.7, upstream connections are kept alive by default.
    pub keeps_by_default: bool,
    /// The user of its worker processes.
    pub user: String,
}

/// An `upstream` block, or an address in a `proxy_pass`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// The block's name, or the address.
    pub name: String,
    /// Whether it is a block.
    pub is_block: bool,
    /// `unix:/path`, `address:port`, `name`, each once; without those marked `down`.
    pub servers: Vec<String>,
    /// Servers that are also listed as `max_fails=0 backup`.
    pub backups: Vec<String>,
    /// The `keepalive` directive.
    pub keepalive: Option<u64>,
    /// The locations that pass requests to it.
    pub locations: Vec<Location>,
}

/// A `location` that passes requests to a group, with inherited settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// Its parameters: `= /pixel`.
    pub name: String,
    /// `proxy_http_version`
    pub version: Option<String>,
    /// The field `Connection` of `proxy_set_header`.
    pub connection: Option<String>,
}

impl Nginx {
    /// Returns its servers, each once.
    pub fn servers(&self) -> Vec<String> {
        let mut servers: Vec<_> = self.groups.iter().flat_map(|group| group.servers.clone()).collect();
        servers.sort();
        servers.dedup();
        servers
    }
}

/// Runs `nginx -T` and `nginx -V`.
pub async fn probe(host: &Host) -> Probe<Nginx> {
    let dump = host.run("nginx", &["-T", "-q"]).await?;
    let build = host.run("nginx", &["-V"]).await?;
    understand(&dump, &build.stderr)
}

fn understand(dump: &Printed, build: &str) -> Probe<Nginx> {
    let keeps_by_default = parse_version(build).is_some_and(|version| version >= [1, 29, 7]);
    if !dump.succeeded() {
        let Some(fault) = dump.stderr.lines().find(|line| line.contains("[emerg]")) else {
            return Err(dump.failure("nginx"));
        };
        let fault = fault.split_once(": ").map_or(fault, |(_, fault)| fault);
        if fault.contains("Permission denied") {
            return Err(Unavailable(format!("only root can read the configuration of nginx: {USE_SUDO}")));
        }
        return Ok(Nginx { fault: Some(fault.into()), keeps_by_default, ..Nginx::default() });
    }
    let directives = config::parse(&dump.stdout);
    let groups = groups(&directives);
    if groups.is_empty() {
        return Err(Unavailable("nginx on this host passes nothing to pixeld".into()));
    }
    let configured = directives.iter().find(|one| one.name == "user").map(Directive::parameter);
    let user = configured.unwrap_or_else(|| built_in_user(build)).into();
    Ok(Nginx { fault: None, groups, keeps_by_default, user })
}

/// `configure arguments: --prefix=/etc/nginx --user=nginx`
fn built_in_user(build: &str) -> &str {
    build.split_whitespace().find_map(|word| word.strip_prefix("--user=")).unwrap_or("nobody")
}

/// `nginx version: nginx/1.26.3 (Ubuntu)`
fn parse_version(text: &str) -> Option<[u32; 3]> {
    let (_, version) = text.split_once("nginx/")?;
    let end = version.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(version.len());
    let numbers: Option<Vec<_>> = version[..end].split('.').map(|number| number.parse().ok()).collect();
    numbers?.try_into().ok()
}

/// Returns the groups that lead to pixeld.
fn groups(directives: &[Directive]) -> Vec<Group> {
    let http: Vec<_> =
        directives.iter().filter(|one| one.name == "http").flat_map(|one| &one.block).collect();
    let blocks = http.iter().filter(|one| one.name == "upstream");
    let mut groups: Vec<Group> = blocks.map(|block| group(block)).collect();
    for server in http.iter().filter(|one| one.name == "server") {
        let outer = inherit(&Location::default(), http.iter().copied());
        find_passes(server, &outer, &mut groups);
    }
    groups.retain(is_of_pixeld);
    groups
}

fn group(upstream: &Directive) -> Group {
    let of = |name: &'static str| upstream.block.iter().filter(move |one| one.name == name);
    let has = |server: &Directive, word: &str| server.parameters.iter().any(|parameter| parameter == word);
    let up: Vec<_> = of("server").filter(|server| !has(server, "down")).collect();
    let is_backup = |server: &&&Directive| has(server, "backup") && has(server, "max_fails=0");
    let mut servers: Vec<String> = Vec::new();
    for server in &up {
        if !servers.iter().any(|known| known == server.parameter()) {
            servers.push(server.parameter().into());
        }
    }
    Group {
        name: upstream.parameter().into(),
        is_block: true,
        servers,
        backups: up.iter().filter(is_backup).map(|server| server.parameter().into()).collect(),
        keepalive: of("keepalive").find_map(|one| one.parameter().parse().ok()),
        locations: Vec::new(),
    }
}

fn is_of_pixeld(group: &Group) -> bool {
    group.name == "pixeld"
        || group.servers.iter().any(|server| server.starts_with("unix:/run/pixeld/"))
        || group.locations.iter().any(|location| location.name.contains("/pixel"))
}

/// Returns the settings in effect in a block. A block with any `proxy_set_header` inherits none of them.
fn inherit<'a>(outer: &Location, block: impl Iterator<Item = &'a Directive> + Clone) -> Location {
    let version = block.clone().find(|one| one.name == "proxy_http_version");
    let mut fields = block.filter(|one| one.name == "proxy_set_header").peekable();
    let connection = if fields.peek().is_some() {
        let is_connection = |one: &&Directive| one.parameter().eq_ignore_ascii_case("connection");
        fields.find(is_connection).map(|one| one.parameters.get(1).cloned().unwrap_or_default())
    } else {
        outer.connection.clone()
    };
    Location {
        name: outer.name.clone(),
        version: version.map(|one| one.parameter().into()).or_else(|| outer.version.clone()),
        connection,
    }
}

fn find_passes(block: &Directive, outer: &Location, groups: &mut Vec<Group>) {
    let mut here = inherit(outer, block.block.iter());
    if block.name == "location" {
        here.name = block.parameters.join(" ");
    }
    for inner in &block.block {
        if inner.name == "proxy_pass" {
            note_pass(inner.parameter(), &here, groups);
        }
        find_passes(inner, &here, groups);
    }
}

fn note_pass(url: &str, location: &Location, groups: &mut Vec<Group>) {
    let Some(target) = url.strip_prefix("http://").filter(|target| !target.contains('$')) else { return };
    let end = match target.strip_prefix("unix:") {
        Some(path) => path.find(':').map(|end| end + "unix:".len()),
        None => target.find('/'),
    };
    let name = &target[..end.unwrap_or(target.len())];
    let known = groups.iter().position(|group| group.name == name);
    let i = known.unwrap_or_else(|| {
        let (name, servers) = (name.to_owned(), vec![name.to_owned()]);
        groups.push(Group { name, servers, ..Group::default() });
        groups.len() - 1
    });
    groups[i].locations.push(location.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(succeeded: bool, stdout: &str, stderr: &str) -> Printed {
        Printed { exit: Some(i32::from(!succeeded)), stdout: stdout.into(), stderr: stderr.into() }
    }

    fn parse_http(http: &str) -> Probe<Nginx> {
        let dump = format!("# configuration file /etc/nginx/nginx.conf:\nhttp {{\n{http}\n}}\n");
        understand(&printed(true, &dump, ""), "nginx version: nginx/1.26.3 (Ubuntu)\n")
    }

    #[test]
    fn shipped_site_is_parsed() {
        let [site, upstreams] = [
            include_str!("../../../../../nginx/pixeld.conf"),
            include_str!("../../../../../nginx/pixeld-upstreams.conf"),
        ];
        let dump = format!(
            "# configuration file /etc/nginx/nginx.conf:\nhttp {{ include conf.d/*.conf; }}\n\
             # configuration file /etc/nginx/conf.d/pixeld.conf:\n{site}\n\
             # configuration file /etc/nginx/pixeld-upstreams.conf:\n{upstreams}\n"
        );
        let nginx = understand(&printed(true, &dump, ""), "nginx version: nginx/1.26.3").unwrap();
        assert_eq!(nginx.groups.len(), 1, "{nginx:#?}");
        let group = &nginx.groups[0];
        assert_eq!((group.name.as_str(), group.keepalive), ("pixeld", Some(256)));
        assert_eq!(group.servers, ["unix:/run/pixeld/http.sock"]);
        assert_eq!(group.backups, group.servers);
        let locations = ["= /pixel", "= /pixeld-checked"].map(|name| Location {
            name: name.into(),
            version: Some("1.1".into()),
            connection: Some(String::new()),
        });
        assert_eq!(group.locations, locations);
        assert!(!nginx.keeps_by_default);
    }

    #[test]
    fn settings_are_inherited_as_in_nginx() {
        let nginx = parse_http(
            "proxy_http_version 1.1; proxy_set_header Connection '';\n\
             upstream a { server 10.0.0.1:8000; server 10.0.0.2 down; }\n\
             server { location /pixel { proxy_pass http://a; }\n\
             location /pixels { proxy_set_header Host b; proxy_pass http://a/; } }",
        );
        let group = &nginx.unwrap().groups[0];
        assert_eq!(group.servers, ["10.0.0.1:8000"]);
        let connections: Vec<_> = group.locations.iter().map(|one| one.connection.as_deref()).collect();
        assert_eq!(connections, [Some(""), None]);
        assert!(group.locations.iter().all(|one| one.version.as_deref() == Some("1.1")));
    }

    #[test]
    fn only_groups_of_pixeld_are_found() {
        let nginx = parse_http(
            "upstream a { server 10.0.0.1; } server { location / { proxy_pass http://a; } \
             location /p { proxy_pass http://unix:/run/pixeld/http.sock:/x; } }",
        );
        let groups = nginx.unwrap().groups;
        assert_eq!((groups.len(), groups[0].is_block), (1, false), "{groups:#?}");
        assert_eq!(groups[0].servers, ["unix:/run/pixeld/http.sock"]);
        let other =
            parse_http("upstream a { server 10.0.0.1; } server { location / { proxy_pass http://a; } }");
        assert!(other.unwrap_err().0.contains("passes nothing to pixeld"));
    }

    #[test]
    fn rejected_config_is_an_error_and_forbidden_is_not() {
        let refused = printed(false, "", "nginx: [emerg] unknown directive \"kepalive\" in /etc/nginx/a:1\n");
        let nginx = understand(&refused, "").unwrap();
        assert!(nginx.fault.unwrap().starts_with("[emerg] unknown directive"));
        let forbidden = "2026/11/23 [emerg] 9#9: open() \"/run/nginx.pid\" failed (13: Permission denied)\n";
        assert!(understand(&printed(false, "", forbidden), "").unwrap_err().0.contains("sudo"));
        let broken = printed(false, "", "nginx: error while loading shared libraries\n");
        assert!(understand(&broken, "").unwrap_err().0.contains("shared libraries"));
    }

    #[test]
    fn user_and_keepalive_are_configured_or_built_in() {
        for (main, build, user, keeps_by_default) in [
            ("user www-data;\n", "configure arguments: --user=nginx", "www-data", false),
            ("user a b;\n", "", "a", false),
            ("", "nginx version: nginx/1.29.6\nconfigure arguments: --user=nginx\n", "nginx", false),
            ("", "nginx version: nginx/1.29.7\nconfigure arguments: --prefix=/x\n", "nobody", true),
            ("", "nginx version: nginx/1.30.0 (Ubuntu)\n", "nobody", true),
            ("", "nginx version: openresty/1.27.1.2\n", "nobody", false),
        ] {
            let dump =
                format!("# configuration file /n:\n{main}http {{ upstream pixeld {{ server a; }} }}\n");
            let nginx = understand(&printed(true, &dump, ""), build).unwrap();
            assert_eq!((nginx.user.as_str(), nginx.keeps_by_default), (user, keeps_by_default), "{build}");
        }
    }
}
