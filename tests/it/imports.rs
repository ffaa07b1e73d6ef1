//! Imports go one way: no files import each other in a circle, and a module of the daemon uses those above it in
//! `src/lib.rs`, never those below.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A path in the code, such as `["crate", "log", "Event"]`.
type Name = Vec<String>;

/// A module, which is a file.
#[derive(Default)]
struct Module {
    file: PathBuf,
    /// What the code outside of its tests names.
    names: Vec<Name>,
    /// What its users find here, under which name; and where it really is.
    exports: Vec<(String, Name)>,
    /// The order of its submodules, and those that only tests have.
    children: Vec<String>,
    only_tests: Vec<String>,
}

/// The modules of a package by their path below the crate.
type Modules = BTreeMap<Name, Module>;

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The paths that a tree of imports stands for, each with the name that it gets.
fn flatten(tree: &str, prefix: &[String], found: &mut Vec<(String, Name)>) {
    let tree = tree.trim();
    let Some((head, list)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
        let mut name = prefix.to_vec();
        name.extend(path.split("::").filter(|part| *part != "self" || prefix.is_empty()).map(str::to_owned));
        found.push((alias.map_or_else(|| name.last().unwrap().clone(), str::to_owned), name));
        return;
    };
    let mut prefix = prefix.to_vec();
    prefix.extend(head.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
    let list = list.trim_end().strip_suffix('}').expect("the end of the list");
    let (mut depth, mut begin) = (0, 0);
    for (at, c) in list.char_indices().chain([(list.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !list[begin..at].trim().is_empty() {
                    flatten(&list[begin..at], &prefix, found);
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
}

/// The paths of the words in code, of at least two parts: `a::b`.
fn paths(code: &str) -> Vec<Name> {
    let mut found = Vec::new();
    let words = code.split(|c: char| !is_word(c) && c != ':');
    for path in words.filter(|word| word.contains("::") && !word.starts_with(':')) {
        found.push(path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect());
    }
    found
}

fn parse(file: &Path) -> Module {
    let text = fs::read_to_string(file).unwrap();
    let mut module = Module { file: file.into(), ..Module::default() };
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            let item = lines.by_ref().find(|line| !line.starts_with('#')).unwrap();
            match item.strip_prefix("mod ").and_then(|name| name.strip_suffix(';')) {
                Some(name) => module.only_tests.push(name.into()),
                // The tests of a file are at its end.
                None if item.starts_with("mod ") => break,
                None => {}
            }
        } else if !line.trim_start().starts_with("//") {
            code += line.split(" // ").next().unwrap();
            code.push('\n');
        }
    }
    let mut imported = Vec::new();
    let mut rest = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let is_import =
            |line: &str| line.starts_with("use ") || line.starts_with("pub") && line.contains(" use ");
        if !is_import(line.trim_start()) {
            rest += line;
            rest.push('\n');
            continue;
        }
        let mut import = line.trim().to_owned();
        while !import.ends_with(';') {
            import += lines.next().expect("the end of an import").trim();
        }
        let mut found = Vec::new();
        flatten(import.trim_end_matches(';').split_once("use ").unwrap().1, &[], &mut found);
        if import.starts_with("pub") {
            module.exports.extend(found);
        } else {
            imported.extend(found);
        }
    }
    for line in rest.lines() {
        let name =
            line.trim_start_matches("pub ").strip_prefix("mod ").and_then(|name| name.strip_suffix(';'));
        module.children.extend(name.map(str::to_owned));
    }
    for path in paths(&rest) {
        // What is behind the name of an import.
        match imported.iter().find(|(alias, _)| *alias == path[0]) {
            Some((_, name)) => module.names.push([name, &path[1..]].concat()),
            None => module.names.push(path),
        }
    }
    module.names.extend(imported.into_iter().map(|(_, name)| name));
    module
}

fn read(folder: &Path, path: &[String], modules: &mut Modules) {
    let file = ["mod.rs", "lib.rs"].map(|name| folder.join(name)).into_iter().find(|file| file.exists());
    if let Some(file) = file {
        read_file(&file, folder, path, modules);
    }
}

fn read_file(file: &Path, folder: &Path, path: &[String], modules: &mut Modules) {
    let module = parse(file);
    for child in &module.children {
        let path = [path, std::slice::from_ref(child)].concat();
        let file = folder.join(child).with_extension("rs");
        if file.exists() {
            read_file(&file, &folder.join(child), &path, modules);
        } else {
            read(&folder.join(child), &path, modules);
        }
    }
    modules.insert(path.to_vec(), module);
}

/// The module that has what `name` means in the module `here`; `None` for what is none of this package.
fn resolve(modules: &Modules, here: &[String], name: &[String], depth: usize) -> Option<Name> {
    let (mut at, mut rest) = match name.first()?.as_str() {
        "crate" => (Vec::new(), &name[1..]),
        "self" => (here.to_vec(), &name[1..]),
        "super" => (here[..here.len().checked_sub(1)?].to_vec(), &name[1..]),
        child if modules[here].children.iter().any(|known| known == child) => (here.to_vec(), name),
        _ => return None,
    };
    while rest.first().is_some_and(|part| part == "super") {
        at.pop();
        rest = &rest[1..];
    }
    while let Some(part) = rest.first() {
        let child = [&at[..], std::slice::from_ref(part)].concat();
        if modules.contains_key(&child) {
            (at, rest) = (child, &rest[1..]);
            continue;
        }
        let export = modules.get(&at)?.exports.iter().find(|(alias, _)| alias == part);
        let Some((_, target)) = export.filter(|_| depth > 0) else { break };
        return resolve(modules, &at, target, depth - 1);
    }
    Some(at)
}

/// For each module, those that it uses.
fn uses(modules: &Modules) -> BTreeMap<&Name, BTreeSet<Name>> {
    let used = |path: &Name, module: &Module| {
        let names = module.names.iter().filter_map(|name| resolve(modules, path, name, 8));
        names.filter(|used| used != path).collect()
    };
    modules.iter().map(|(path, module)| (path, used(path, module))).collect()
}

/// The packages of this workspace.
fn packages() -> Vec<(String, Modules)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let folders = crates.chain([root.to_path_buf()]);
    let package = |folder: PathBuf| {
        let mut modules = Modules::new();
        read(&folder.join("src"), &[], &mut modules);
        assert!(modules.len() > 10, "{}", folder.display());
        (folder.strip_prefix(root).unwrap().display().to_string(), modules)
    };
    folders.map(package).collect()
}

/// What can be reached from a module, which is in it only if it is in a circle.
fn reachable<'m>(uses: &'m BTreeMap<&Name, BTreeSet<Name>>, from: &'m Name) -> BTreeSet<&'m Name> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(uses[module].iter().filter(|used| seen.insert(*used)));
    }
    seen
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut circles = BTreeSet::new();
    for (_, modules) in &packages() {
        let uses = uses(modules);
        let reached: BTreeMap<_, _> =
            modules.keys().map(|module| (module, reachable(&uses, module))).collect();
        for (module, others) in &reached {
            let mutual = others.iter().filter(|other| reached[**other].contains(*module));
            let files: BTreeSet<_> = mutual.map(|other| modules[*other].file.clone()).collect();
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let name = |file: &PathBuf| file.strip_prefix(root).unwrap().display().to_string();
            circles.extend((!files.is_empty()).then(|| files.iter().map(name).collect::<Vec<_>>()));
        }
    }
    assert!(circles.is_empty(), "these files import each other: {circles:#?}");
}

#[test]
fn modules_use_only_those_above_them() {
    for (_, modules) in packages().iter().filter(|(package, _)| package.is_empty()) {
        let order = &modules[&Vec::new()].children;
        let place = |path: &Name| order.iter().position(|child| Some(child) == path.first());
        let mut below = BTreeSet::new();
        for (path, used) in uses(modules) {
            let used = used.iter().filter(|used| place(used) > place(path));
            below.extend(used.map(|used| format!("{} uses {}", path.join("::"), used.join("::"))));
        }
        assert!(below.is_empty(), "below them in src/lib.rs: {below:#?}");
    }
}
