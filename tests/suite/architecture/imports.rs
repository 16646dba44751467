//! The imports between the modules of a crate, which must not form a circle.
//!
//! A module is a file. It imports another one when its code, without comments, literals and tests, contains a path into
//! that module: in a `use`, or written out. A parent that declares a child (`mod child;`) or re-exports from it (`pub
//! use`) does not import it, so a child may use what its parent defines. Items that a module re-exports count as items
//! of the module that defines them. The crate root is left out: it puts the modules together, and they use what it
//! defines. Paths that macros build are not seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::source;

/// A module's path from the crate root: `["store", "conversation"]`. Empty for the root itself.
type Module = Vec<String>;

/// The modules of a crate.
struct Crate {
    /// The code of each module, without its tests.
    code: BTreeMap<Module, String>,
    /// The names that each module re-exports, each with the path that it was declared with.
    reexports: BTreeMap<Module, BTreeMap<String, Module>>,
}

/// Returns a circle of imports in the crate with the root file `root`, as the names of its modules; the first one is
/// repeated at the end. `None` when there is no circle.
pub(super) fn circle(root: &Path) -> Option<Vec<String>> {
    let mut krate = Crate {
        code: BTreeMap::new(),
        reexports: BTreeMap::new(),
    };
    krate.read(Module::new(), root);
    let modules = krate.code.keys().filter(|module| !module.is_empty());
    let graph: BTreeMap<&Module, BTreeSet<Module>> =
        modules.map(|module| (module, krate.imports(module))).collect();
    let mut finished = BTreeSet::new();
    let circle = graph
        .keys()
        .find_map(|module| search(&graph, module, &mut Vec::new(), &mut finished))?;
    Some(circle.iter().map(|module| module.join("::")).collect())
}

/// Searches depth-first from `module` for an import of a module that is on `path`.
fn search(
    graph: &BTreeMap<&Module, BTreeSet<Module>>,
    module: &Module,
    path: &mut Vec<Module>,
    finished: &mut BTreeSet<Module>,
) -> Option<Vec<Module>> {
    if let Some(start) = path.iter().position(|before| before == module) {
        let circle = path[start..].iter().chain([module]);
        return Some(circle.cloned().collect());
    }
    if finished.contains(module) {
        return None;
    }
    path.push(module.clone());
    for imported in &graph[module] {
        if let Some(circle) = search(graph, imported, path, finished) {
            return Some(circle);
        }
    }
    path.pop();
    finished.insert(module.clone());
    None
}

impl Crate {
    /// Reads the module in `file`, and the modules that it declares.
    fn read(&mut self, module: Module, file: &Path) {
        let code = without_tests(&source::code(file));
        let folder = match file.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod" | "lib" | "main") => file.parent().unwrap().to_owned(),
            _ => file.with_extension(""),
        };
        for child in declared(&code) {
            let candidates = [
                folder.join(format!("{child}.rs")),
                folder.join(child).join("mod.rs"),
            ];
            let file: PathBuf = candidates
                .into_iter()
                .find(|candidate| candidate.exists())
                .unwrap_or_else(|| panic!("{}: no file of module {child}", file.display()));
            self.read(with(&module, child), &file);
        }
        let reexports = uses(&code)
            .into_iter()
            .filter(|declaration| declaration.public)
            .map(|declaration| (declaration.name, declaration.path));
        self.reexports.insert(module.clone(), reexports.collect());
        self.code.insert(module, code);
    }

    /// Returns the modules that `module` imports, without the crate root.
    fn imports(&self, module: &Module) -> BTreeSet<Module> {
        let code = &self.code[module];
        let mut imported = BTreeSet::new();
        for declaration in uses(code) {
            let target = self.resolve(module, &declaration.path);
            // A parent that re-exports from its children does not import them.
            if !(declaration.public && target.as_ref().is_some_and(|target| target.starts_with(module))) {
                imported.extend(target);
            }
        }
        for path in written_out(code) {
            imported.extend(self.resolve(module, &path));
        }
        imported.retain(|target| target != module && !target.is_empty());
        imported
    }

    /// Returns the module that `path`, as written in `module`, leads into. `None` for a path into another crate.
    fn resolve(&self, module: &Module, path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let (mut current, mut rest) = match first.as_str() {
            "crate" => (Module::new(), rest),
            "self" => (module.clone(), rest),
            "super" => (module[..module.len().checked_sub(1)?].to_vec(), rest),
            // A child of this module, by its bare name.
            child if self.code.contains_key(&with(module, child)) => (with(module, child), rest),
            _ => return None,
        };
        while let Some((next, after)) = rest.split_first() {
            let child = with(&current, next);
            if next == "super" {
                current.pop()?;
            } else if self.code.contains_key(&child) {
                current = child;
            } else if let Some(target) = self.reexports[&current].get(next) {
                return self.resolve(&current, target).or(Some(current));
            } else {
                break;
            }
            rest = after;
        }
        Some(current)
    }
}

fn with(module: &Module, child: &str) -> Module {
    module.iter().cloned().chain([child.to_owned()]).collect()
}

/// Returns `code` without the items that are marked `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let (mut kept, mut rest) = (String::new(), code);
    while let Some((before, after)) = rest.split_once(MARK) {
        kept.push_str(before);
        let mut depth = 0_usize;
        let end = after.char_indices().find_map(|(position, character)| {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (depth == 0 && [';', '}'].contains(&character)).then_some(position + 1)
        });
        rest = &after[end.unwrap_or(after.len())..];
    }
    kept + rest
}

/// Returns the names of the modules that `code` declares to be in files of their own.
fn declared(code: &str) -> Vec<&str> {
    let statements = code
        .split([';', '{', '}'])
        .zip(code.match_indices([';', '{', '}']));
    let modules = statements.filter(|(_, (_, end))| *end == ";");
    modules
        .filter_map(|(statement, _)| {
            let mut words = statement.split_whitespace().rev();
            let name = words.next()?;
            (words.next()? == "mod").then_some(name)
        })
        .collect()
}

/// A name that a `use` declaration brings into scope.
struct Use {
    public: bool,
    /// The name in this module: the last segment, or the one after `as`.
    name: String,
    /// The path, as it is written.
    path: Module,
}

/// Returns every name that the `use` declarations of `code` bring into scope.
fn uses(code: &str) -> Vec<Use> {
    let mut uses = Vec::new();
    for (start, tree) in use_trees(code) {
        let before = code[..start].rsplit([';', '}', '{']).next().unwrap_or_default();
        let public = before.split_whitespace().any(|word| word.starts_with("pub"));
        expand(&tree, &[], &mut |path, name| {
            uses.push(Use { public, name, path });
        });
    }
    uses
}

/// Returns the position of each `use` in `code`, and its tree with no white space except around `as`.
fn use_trees(code: &str) -> Vec<(usize, String)> {
    let starts = code.match_indices("use ").map(|(start, _)| start);
    let words = starts.filter(|start| !code[..*start].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    words
        .filter_map(|start| {
            let (tree, _) = code[start + 4..].split_once(';')?;
            let tree = tree.split_whitespace().collect::<Vec<_>>().join(" ");
            Some((
                start,
                tree.replace(", ", ",").replace("{ ", "{").replace(" }", "}"),
            ))
        })
        .collect()
}

/// Calls `add` with the path and the name of each leaf of a use tree.
fn expand(tree: &str, prefix: &[String], add: &mut dyn FnMut(Module, String)) {
    let (head, group) = match tree.split_once('{') {
        Some((head, group)) => (head, group.strip_suffix('}')),
        None => (tree, None),
    };
    let (head, alias) = head.split_once(" as ").unwrap_or((head, ""));
    let segments = head
        .split("::")
        .map(str::trim)
        .filter(|segment| !segment.is_empty());
    let path: Module = prefix
        .iter()
        .cloned()
        .chain(segments.map(str::to_owned))
        .collect();
    let Some(group) = group else {
        let last = path.last().cloned().unwrap_or_default();
        let name = if alias.is_empty() { last } else { alias.to_owned() };
        return add(path, name);
    };
    let (mut depth, mut start) = (0_usize, 0);
    for (position, character) in group.char_indices().chain([(group.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = &group[start..position];
                if !part.trim().is_empty() {
                    expand(part, &path, add);
                }
                start = position + 1;
            }
            _ => {}
        }
    }
}

/// Returns the paths of at least two segments that `code` writes out beside its `use` declarations.
fn written_out(code: &str) -> Vec<Module> {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let outside: String = code
        .split_inclusive(';')
        .filter(|statement| !statement.trim_start().starts_with("use ") && !statement.contains(" use "))
        .collect();
    outside
        .split(|c: char| !word(c))
        .filter(|path| path.contains("::") && !path.starts_with(':'))
        .map(|path| {
            path.split("::")
                .filter(|segment| !segment.is_empty())
                .map(str::to_owned)
                .collect()
        })
        .collect()
}

#[test]
fn a_circle_is_found_through_groups_reexports_and_written_out_paths() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, code: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, code).unwrap();
    };
    write("lib.rs", "mod a; mod b; mod c;");
    write("a.rs", "use crate::{b::{self, One}, c::Three as Four};");
    // A re-export is followed to the module that defines the item; the parent itself imports no child.
    write("b/mod.rs", "mod inner; pub use self::inner::One; pub struct Two;");
    write(
        "b/inner.rs",
        "use super::Two; #[cfg(test)] mod tests { use crate::a; }",
    );
    write("c.rs", "pub struct Three;");
    let root = folder.path().join("lib.rs");
    assert_eq!(circle(&root), None);
    write(
        "b/inner.rs",
        "pub struct One; fn call() { crate::c::call() } // crate::a::call()",
    );
    write("c.rs", "use super::a;");
    assert_eq!(circle(&root).unwrap(), ["a", "b::inner", "c", "a"]);
}
