//! A directory of files, an environment, and the commands that read both.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use egressd::cli::{Exit, Process, Streams, run};
use egressd::config::{
    Environment, LoadOptions, Loaded, LoadedPaths, Problem, SecretValues, SettingsOverrides, load,
    load_paths,
};
use egressd::domain::Auth;
use egressd::domain::auth::ConsentParameters;

/// A temporary directory with files in it.
pub(super) struct World {
    directory: tempfile::TempDir,
    variables: Vec<(String, String)>,
    pub(super) overrides: SettingsOverrides,
}

/// The result of running the program.
pub(super) struct Ran {
    pub(super) exit: Exit,
    pub(super) out: String,
    pub(super) err: String,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
            overrides: SettingsOverrides::default(),
        }
    }

    pub(super) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub(super) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    fn environment(&self) -> Environment {
        Environment::new(self.variables.clone())
    }

    /// Loads the definitions in the directory, without settings.
    pub(super) fn definitions(&self) -> Result<LoadedPaths, Vec<Problem>> {
        load_paths(
            &[self.root().to_owned()],
            &self.environment(),
            SecretValues::Read,
        )
    }

    /// Loads `egressd.yaml` and the definitions that it lists.
    pub(super) fn load(&self) -> Result<Loaded, Vec<Problem>> {
        load(&LoadOptions {
            config: Some(self.path("egressd.yaml")),
            overrides: self.overrides.clone(),
            environment: self.environment(),
        })
    }

    /// Returns the errors of the definitions, without the warnings.
    pub(super) fn errors(&self) -> Vec<Problem> {
        let found = self.definitions().err().unwrap_or_default();
        found.into_iter().filter(Problem::is_error).collect()
    }

    /// Returns the warnings of the definitions, even if they do not load.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        let found = match self.definitions() {
            Ok(loaded) => loaded.warnings,
            Err(found) => found,
        };
        found.into_iter().filter(|p| !p.is_error()).collect()
    }

    /// Runs the program with these arguments.
    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut plain = anstream::StripStream::new(&mut out);
        let mut streams = Streams {
            out: &mut plain,
            err: &mut err,
            process: Process::default(),
        };
        let arguments = ["egressd"].iter().chain(arguments).map(OsString::from);
        let exit = run(arguments, self.environment(), &mut streams);
        Ran {
            exit,
            out: String::from_utf8(out).unwrap(),
            err: String::from_utf8(err).unwrap(),
        }
    }

    /// Runs `check` on the directory.
    pub(super) fn check(&self, more: &[&str]) -> Ran {
        let root = self.root().to_str().unwrap().to_owned();
        let arguments: Vec<&str> = ["check"].iter().chain(more).copied().collect();
        self.run(&[arguments.as_slice(), &[root.as_str()]].concat())
    }
}

/// Returns a connection that loads without a warning. `fields` adds or replaces lines of its
/// `http`; the value `-` removes one.
pub(super) fn connection(fields: &[(&str, &str)]) -> String {
    let mut lines = vec![
        ("base_url", "https://api.example.com"),
        ("allowed_routes", "[GET /a]"),
        ("no_auth", "{}"),
    ];
    for (name, value) in fields {
        lines.retain(|(known, _)| known != name);
        if *value != "-" {
            lines.push((name, value));
        }
    }
    let mut text = "connection_details:\n  http:\n".to_owned();
    for (name, value) in lines {
        text.push_str(&format!("    {name}: {value}\n"));
    }
    text
}

/// Returns a connection with these lines before it, at the top level.
pub(super) fn with_top(top: &str) -> String {
    format!("{top}\n{}", connection(&[]))
}

/// Replaces `snake_case` names by their proto-JSON spelling. Written apart from the loader's
/// function, so that a mistake in one of them is noticed.
pub(super) fn camel_case(text: &str) -> String {
    let mut camel = String::with_capacity(text.len());
    let mut upper = false;
    for c in text.chars() {
        if c == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            camel.push(c.to_ascii_uppercase());
        } else {
            camel.push(c);
        }
    }
    camel
}

/// Asserts that there is exactly one error, with this code, at this field.
#[track_caller]
pub(super) fn refuses(content: &str, code: &str, field: &str) {
    let world = World::new().file("a.yaml", content);
    let found = world.errors();
    let [problem] = found.as_slice() else {
        panic!("one problem wanted for {content:?}: {found:#?}")
    };
    assert_eq!(
        (problem.code, problem.field.as_str()),
        (code, field),
        "{content}"
    );
    assert!(!problem.remedy.is_empty(), "{content}");
}

#[track_caller]
pub(super) fn refuses_http(name: &str, value: &str, code: &str) {
    refuses(
        &connection(&[(name, value)]),
        code,
        &format!("connection_details.http.{name}"),
    );
}

#[track_caller]
pub(super) fn refuses_auth(name: &str, value: &str, code: &str, field: &str) {
    let field = format!("connection_details.http.{field}");
    refuses(
        &connection(&[("no_auth", "-"), (name, value)]),
        code,
        &field,
    );
}

#[track_caller]
pub(super) fn loads(content: &str) {
    let found = World::new().file("a.yaml", content).errors();
    assert!(found.is_empty(), "{content}: {found:?}");
}

#[track_caller]
pub(super) fn refuses_at(name: &str, value: &str, code: &str, field: &str) {
    refuses(
        &connection(&[(name, value)]),
        code,
        &format!("connection_details.http.{field}"),
    );
}

/// Returns the only error of a load.
#[track_caller]
pub(super) fn only_error(world: &World) -> Problem {
    let mut found = world.load().err().unwrap_or_default();
    found.retain(Problem::is_error);
    let [problem] = found.as_slice() else {
        panic!("one problem wanted: {found:#?}")
    };
    assert!(!problem.remedy.is_empty());
    problem.clone()
}

/// Returns the parameters of a connection that needs a consent.
pub(super) fn consent_parameters(loaded: &Loaded, index: usize) -> &ConsentParameters {
    let Auth::OauthUserConsent(consent) = &loaded.connections[index].auth else {
        panic!("another auth kind")
    };
    consent.parameters()
}
