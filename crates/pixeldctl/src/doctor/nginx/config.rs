use std::collections::BTreeMap;

/// A directive of nginx's configuration, with its block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directive {
    pub name: String,
    /// Its parameters, without quotes.
    pub parameters: Vec<String>,
    pub block: Vec<Directive>,
}

impl Directive {
    /// Returns the first parameter, or an empty text.
    pub fn parameter(&self) -> &str {
        self.parameters.first().map(String::as_str).unwrap_or_default()
    }
}

/// Parses the output of `nginx -T`: all files, each after a comment with its path. Returns the directives of the
/// first file, with includes expanded.
pub fn parse(dump: &str) -> Vec<Directive> {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    let mut first = None;
    let mut current = None;
    for line in dump.lines() {
        let path = line.strip_prefix("# configuration file ").and_then(|line| line.strip_suffix(':'));
        if let Some(path) = path {
            first = first.or(Some(path));
            current = Some(path);
        } else if let Some(path) = current {
            let file = files.entry(path).or_default();
            *file += line;
            file.push('\n');
        }
    }
    first.map(|path| read(path, path, &files, 0)).unwrap_or_default()
}

fn read(path: &str, main: &str, files: &BTreeMap<&str, String>, depth: usize) -> Vec<Directive> {
    /// nginx itself rejects include cycles.
    const MAX_DEPTH: usize = 16;
    let Some(text) = files.get(path).filter(|_| depth < MAX_DEPTH) else { return Vec::new() };
    let words = split(text);
    let directives = block(&mut words.into_iter());
    let folder = main.rsplit_once('/').map_or("", |(folder, _)| folder);
    let include = |pattern: &str| {
        let pattern =
            if pattern.starts_with('/') { pattern.to_owned() } else { format!("{folder}/{pattern}") };
        let included = files.keys().filter(|path| matches(&pattern, path));
        included.flat_map(|path| read(path, main, files, depth + 1)).collect()
    };
    expand(directives, &include)
}

fn expand(directives: Vec<Directive>, include: &impl Fn(&str) -> Vec<Directive>) -> Vec<Directive> {
    let one = |mut directive: Directive| {
        if directive.name == "include" {
            return include(directive.parameter());
        }
        directive.block = expand(directive.block, include);
        vec![directive]
    };
    directives.into_iter().flat_map(one).collect()
}

/// Whether a path matches a pattern; `*` does not match `/`.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(path) = path.strip_prefix(before) else { return false };
    let longest = path.find('/').unwrap_or(path.len());
    (0..=longest).filter(|i| path.is_char_boundary(*i)).any(|i| matches(rest, &path[i..]))
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Text(String),
    Open,
    Close,
    End,
}

fn split(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '{' => words.push(Word::Open),
            '}' => words.push(Word::Close),
            ';' => words.push(Word::End),
            '#' => while characters.next_if(|c| *c != '\n').is_some() {},
            '"' | '\'' => {
                let mut word = String::new();
                while let Some(c) = characters.next().filter(|c| *c != character) {
                    word.push(if c == '\\' { characters.next().unwrap_or(c) } else { c });
                }
                words.push(Word::Text(word));
            }
            c if c.is_whitespace() => {}
            c => {
                let mut word = String::from(c);
                // `${name}` is part of a word.
                while let Some(c) = characters
                    .next_if(|c| !c.is_whitespace() && *c != ';' && (*c != '{' || word.ends_with('$')))
                {
                    word.push(c);
                }
                words.push(Word::Text(word));
            }
        }
    }
    words
}

fn block(words: &mut impl Iterator<Item = Word>) -> Vec<Directive> {
    let mut directives = Vec::new();
    let mut directive = Vec::new();
    while let Some(word) = words.next() {
        let inner = match word {
            Word::Text(text) => {
                directive.push(text);
                continue;
            }
            Word::Close => break,
            Word::End => Vec::new(),
            Word::Open => block(words),
        };
        let mut parts = std::mem::take(&mut directive).into_iter();
        if let Some(name) = parts.next() {
            directives.push(Directive { name, parameters: parts.collect(), block: inner });
        }
    }
    directives
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_file_is_inserted_in_place() {
        let dump = "# configuration file /etc/nginx/nginx.conf:\n\
                    http { # a comment with { and ;\n include /etc/nginx/conf.d/*.conf;\n}\n\n\
                    # configuration file /etc/nginx/conf.d/a.conf:\n\
                    upstream pixeld {\n include servers.conf;\n keepalive 64;\n}\n\
                    # configuration file /etc/nginx/servers.conf:\n\
                    server unix:/run/a.sock max_fails=1;\n";
        let directives = parse(dump);
        let upstream = &directives[0].block[0];
        assert_eq!((upstream.name.as_str(), upstream.parameter()), ("upstream", "pixeld"));
        assert_eq!(upstream.block[0].parameters, ["unix:/run/a.sock", "max_fails=1"]);
        assert_eq!(upstream.block[1].parameter(), "64");
    }

    #[test]
    fn quotes_and_variables_are_words() {
        let dump = "# configuration file /n:\nset $a \"b;{\\\"}\"; log '' ${x}y;\n";
        let directives = parse(dump);
        assert_eq!(directives[0].parameters, ["$a", "b;{\"}"]);
        assert_eq!(directives[1].parameters, ["", "${x}y"]);
    }

    #[test]
    fn stars_match_within_a_folder() {
        assert!(matches("/a/*.conf", "/a/b.conf") && matches("/a/*/c*", "/a/b/cd"));
        assert!(!matches("/a/*.conf", "/a/b/c.conf") && !matches("/a/*.conf", "/a/b.con"));
    }

    #[test]
    fn include_cycle_ends() {
        assert_eq!(parse("# configuration file /n:\ninclude /n;\na b;\n").len(), 16);
    }
}
