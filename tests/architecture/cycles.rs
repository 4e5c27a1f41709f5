//! Import cycles between modules of one parent: `a` uses `b`, and `b` uses `a`, directly or through
//! others.
//!
//! A path such as `super::Name` counts as a use of the module that defines `Name`, also where the
//! parent only imports or re-exports it. What a parent defines itself belongs to no child, so
//! children may use it.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// A module as its path below the crate.
type Module = Vec<String>;

/// One use of a sibling: the file and the line of the first path that names it.
type Uses = BTreeMap<String, BTreeMap<String, String>>;

/// Returns every import cycle among `sources`, as `file:line: a -> b -> a` with the first use of
/// each step.
pub(crate) fn import_cycles(sources: &[Source]) -> Vec<String> {
    let crate_modules = CrateModules::from_sources(sources);
    let mut uses_by_parent: BTreeMap<Module, Uses> = BTreeMap::new();
    for source in sources {
        let user = source.module();
        for path in &source.paths {
            let Some(used) = crate_modules.defining_module(&user, &path.segments) else {
                continue;
            };
            let shared = user.iter().zip(&used).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (user.get(shared), used.get(shared)) {
                let parent = user.iter().take(shared).cloned().collect();
                let uses = uses_by_parent.entry(parent).or_default();
                let of_user = uses.entry(from.clone()).or_default();
                let place = || format!("{}:{}", source.file, path.line);
                of_user.entry(to.clone()).or_insert_with(place);
            }
        }
    }
    let cycles = uses_by_parent.iter();
    cycles
        .flat_map(|(parent, uses)| cycles_among(parent, uses))
        .collect()
}

/// The modules of the crate, and the names that each imports.
struct CrateModules {
    modules: BTreeSet<Module>,
    imports: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl CrateModules {
    fn from_sources(sources: &[Source]) -> Self {
        let modules: BTreeSet<Module> = sources.iter().map(Source::module).collect();
        let mut imports: BTreeMap<Module, BTreeMap<String, Vec<String>>> = BTreeMap::new();
        for source in sources {
            let of_module = imports.entry(source.module()).or_default();
            for path in &source.paths {
                if let Some(name) = &path.imported_as {
                    of_module.insert(name.clone(), path.segments.clone());
                }
            }
        }
        Self { modules, imports }
    }

    /// Returns the module that defines what `segments` names, if it is in this crate.
    fn defining_module(&self, user: &Module, segments: &[String]) -> Option<Module> {
        let mut path = self.absolute(user, segments)?;
        // Each round follows one import. A chain of re-exports is shorter than the tree is deep.
        for _ in 0..8 {
            let length = (0..=path.len()).rev().find(|length| {
                self.modules
                    .contains(path.get(..*length).unwrap_or_default())
            })?;
            let (module, rest) = path.split_at(length);
            let name = rest.first().filter(|_| module != user.as_slice());
            let imported = name.and_then(|name| self.imports.get(module)?.get(name));
            let Some(imported) = imported else {
                return Some(module.to_vec());
            };
            let Some(mut next) = self.absolute(&module.to_vec(), imported) else {
                return Some(module.to_vec());
            };
            next.extend(rest.iter().skip(1).cloned());
            path = next;
        }
        None
    }

    /// Returns `segments` below the crate; `None` if they name another crate.
    fn absolute(&self, user: &Module, segments: &[String]) -> Option<Vec<String>> {
        let first = segments.first()?;
        if first == "crate" {
            return Some(segments.iter().skip(1).cloned().collect());
        }
        let child = [user.as_slice(), std::slice::from_ref(first)].concat();
        let is_child = self.modules.contains(&child);
        is_child.then(|| [user.as_slice(), segments].concat())
    }
}

/// Returns each cycle once, from its first module in alphabetical order.
fn cycles_among(parent: &Module, uses: &Uses) -> Vec<String> {
    let mut found = Vec::new();
    for start in uses.keys() {
        let Some(cycle) = shortest_cycle(uses, start) else {
            continue;
        };
        if cycle.iter().min() == Some(start) {
            let steps = cycle.iter().zip(cycle.iter().skip(1).chain([start]));
            let places: Vec<String> = steps
                .map(|(from, to)| format!("{from} -> {to} ({})", uses[from][to]))
                .collect();
            let parent = parent.join("::");
            found.push(format!("import cycle in `{parent}`: {}", places.join(", ")));
        }
    }
    found
}

/// Returns the modules on the shortest way from `start` back to itself, `start` first.
fn shortest_cycle(uses: &Uses, start: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![start.to_owned()]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last()?;
            for next in uses.get(last).into_iter().flat_map(BTreeMap::keys) {
                if next == start {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push([way.as_slice(), std::slice::from_ref(next)].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::import_cycles;
    use crate::source::Source;

    fn cycles_of(files: &[(&str, &str)]) -> Vec<String> {
        let sources = files.iter().map(|(file, text)| Source::parse(file, text));
        import_cycles(&sources.collect::<Vec<_>>())
    }

    #[test]
    fn two_modules_that_import_each_other_are_a_cycle() {
        let found = cycles_of(&[
            ("src/a.rs", "mod x; mod y;"),
            ("src/a/x.rs", "use super::y::Y;"),
            ("src/a/y.rs", "fn f() -> crate::a::x::X {}"),
        ]);
        assert_eq!(
            found,
            ["import cycle in `a`: x -> y (src/a/x.rs:1), y -> x (src/a/y.rs:1)"]
        );
    }

    #[test]
    fn a_cycle_through_a_third_module_and_a_re_export_is_found() {
        let found = cycles_of(&[
            (
                "src/a.rs",
                "mod x; mod y; mod z; pub use y::Y; use z::Z as Last;",
            ),
            ("src/a/x.rs", "use super::Y;"),
            ("src/a/y/deep.rs", "use crate::a::{Last};"),
            ("src/a/y.rs", "mod deep;"),
            ("src/a/z.rs", "use super::x;"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found.concat().contains("y -> z (src/a/y/deep.rs:1)"),
            "{found:?}"
        );
    }

    #[test]
    fn top_level_modules_are_held_to_the_same_rule() {
        let found = cycles_of(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "use crate::b::B;"),
            ("src/b/x.rs", "use crate::a::A;"),
            ("src/b.rs", "mod x; pub struct B;"),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn what_a_parent_defines_may_be_used_by_its_children() {
        let found = cycles_of(&[
            ("src/a.rs", "mod x; mod y; use x::X; pub struct A(X);"),
            ("src/a/x.rs", "use super::A; use super::y::Y;"),
            ("src/a/y.rs", "use super::A; use std::fmt;"),
        ]);
        assert_eq!(found, [""; 0]);
    }
}
