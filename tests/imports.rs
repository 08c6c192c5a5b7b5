//! Modules import in one direction: no two files import each other in a circle, and no module imports one above it.
//! Files stay short. Running and testing share what they compile.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

/// From the bottom to the top: each imports only those before it.
const LAYERS: [&str; 17] = [
    "printed",
    "fs",
    "table",
    "hooks",
    "model",
    "diagram",
    "analysis",
    "predicate",
    "engine",
    "experiment",
    "keys",
    "paint",
    "views",
    "explorer",
    "term",
    "cli",
    "main",
];

/// The names of a module, from the crate's root: `["model", "neox", "block"]`.
type Module = Vec<String>;

struct Source {
    /// Every path that a `use` names, and whether it exports what it names.
    uses: Vec<(Module, bool)>,
    lines: usize,
}

fn sources() -> BTreeMap<Module, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut directories) = (BTreeMap::new(), vec![root.clone()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let inner = path.strip_prefix(&root).unwrap().with_extension("");
            let mut module: Module = inner.iter().map(|part| part.to_str().unwrap().to_string()).collect();
            module.pop_if(|last| last == "mod" || last == "lib");
            let text = fs::read_to_string(&path).unwrap();
            found.insert(module, Source { uses: uses(&text), lines: text.lines().count() });
        }
    }
    found
}

/// The `use` declarations of a file, those of its tests left out.
fn uses(text: &str) -> Vec<(Module, bool)> {
    let product = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines: String = product.lines().map(|line| line.split("//").next().unwrap().to_string() + "\n").collect();
    let mut all = vec![];
    for declaration in lines.split(';') {
        let Some((before, tree)) = declaration.rsplit_once("use ") else { continue };
        let start = before.rsplit('\n').next().unwrap();
        if start.is_empty() || start == "pub " || start == "pub(crate) " || start == "pub(super) " {
            expand(&[], tree, &mut |path| all.push((path, !start.is_empty())));
        }
    }
    all
}

/// Each path of a tree such as `super::{a, b::{c, d as e}}`.
fn expand(prefix: &[String], tree: &str, each: &mut dyn FnMut(Module)) {
    let (head, group) = match tree.split_once('{') {
        Some((head, rest)) => (head, rest.trim_end().strip_suffix('}')),
        None => (tree.split(" as ").next().unwrap(), None),
    };
    let names = head.split("::").map(|name| name.trim().to_string()).filter(|name| !name.is_empty());
    let path: Module = prefix.iter().cloned().chain(names).collect();
    let Some(group) = group else { return each(path) };
    let (mut depth, mut from) = (0, 0);
    for (at, sign) in group.char_indices().chain([(group.len(), ',')]) {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[from..at].trim().is_empty() {
                    expand(&path, &group[from..at], each);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// A path of a `use` in `module`, from the crate's root; None for another crate's.
fn absolute(module: &Module, path: &[String], all: &BTreeMap<Module, Source>) -> Option<Module> {
    let supers = path.iter().take_while(|name| *name == "super").count();
    let (base, rest) = match path[0].as_str() {
        "crate" => (vec![], &path[1..]),
        "self" => (module.clone(), &path[1..]),
        "super" => (module[..module.len() - supers].to_vec(), &path[supers..]),
        child => {
            let inner = [module.as_slice(), &[child.to_string()]].concat();
            (all.contains_key(&inner).then(|| module.clone())?, path)
        }
    };
    Some([base, rest.to_vec()].concat())
}

/// The file that declares what a path names, through the files that only export it.
fn declared_in(path: &Module, all: &BTreeMap<Module, Source>) -> Option<Module> {
    let known = (0..=path.len()).rev().find(|n| all.contains_key(&path[..*n]))?;
    let (module, rest) = (path[..known].to_vec(), &path[known..]);
    let Some(name) = rest.first() else { return Some(module) };
    for (exported, _) in all[&module].uses.iter().filter(|(exported, public)| *public && exported.last() == Some(name))
    {
        if let Some(target) = absolute(&module, exported, all).filter(|target| target != path) {
            return declared_in(&[target, rest[1..].to_vec()].concat(), all);
        }
    }
    Some(module)
}

/// By file, the files that it imports from.
fn imports(all: &BTreeMap<Module, Source>) -> BTreeMap<&Module, BTreeSet<Module>> {
    let of = |(module, source): (&Module, &Source)| -> BTreeSet<Module> {
        let targets = source.uses.iter().filter_map(|(path, exports)| {
            let target = declared_in(&absolute(module, path, all)?, all)?;
            let exports_child = *exports && target.len() > module.len() && target.starts_with(module);
            (target != *module && !target.is_empty() && !exports_child).then_some(target)
        });
        targets.collect()
    };
    all.iter().map(|entry| (entry.0, of(entry))).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let all = sources();
    let mut left = imports(&all);
    assert!(left.values().map(BTreeSet::len).sum::<usize>() > all.len(), "too few imports were found");
    // remove files that import none of the rest, until there are none
    loop {
        let done: Vec<Module> =
            left.iter().filter(|(_, from)| from.is_empty()).map(|(module, _)| (*module).clone()).collect();
        if done.is_empty() {
            break;
        }
        left.retain(|module, _| !done.contains(module));
        left.values_mut().for_each(|from| from.retain(|module| !done.contains(module)));
    }
    // and files that none of the rest imports
    loop {
        let imported: BTreeSet<Module> = left.values().flatten().cloned().collect();
        let before = left.len();
        left.retain(|module, _| imported.contains(*module));
        if left.len() == before {
            break;
        }
    }
    let circle: Vec<String> = left.keys().map(|module| module.join("/")).collect();
    assert!(circle.is_empty(), "these files import each other in a circle: {circle:#?}");
}

#[test]
fn modules_import_only_those_below_them() {
    let all = sources();
    let layer = |module: &Module| LAYERS.iter().position(|layer| Some(*layer) == module.first().map(String::as_str));
    for (module, from) in imports(&all) {
        let Some(own) = layer(module) else { continue };
        for target in from {
            let upward = layer(&target).is_some_and(|other| other > own);
            assert!(!upward, "{} imports {}, which is above it", module.join("/"), target.join("/"));
        }
    }
}

#[test]
fn no_file_is_longer_than_400_lines() {
    for (module, source) in sources() {
        assert!(source.lines <= 400, "{} has {} lines; split it by meaning", module.join("/"), source.lines);
    }
}

/// The crates that a build needs, with their features: `half v2.7.1 default,std`.
fn crates(edges: &str) -> BTreeSet<String> {
    let args = ["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p} {f}", "--edges", edges];
    let output = Command::new(env!("CARGO")).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.trim_end_matches(" (*)").trim_end().to_string()).collect()
}

#[test]
fn tests_compile_no_dependency_again() {
    let (run, test) = (crates("normal,build"), crates("normal,build,dev"));
    let again: Vec<&String> = run.difference(&test).collect();
    assert!(again.is_empty(), "tests turn on features of these crates that Cargo.toml should name: {again:#?}");
}
