//! Rust source as tokens and paths with their lines, without comments, literals and test code.
//!
//! The parser recognises comments, literals, `use` trees, inline modules and `#[cfg(test)]` items,
//! and nothing else. Code that a macro generates is not visible to it.

/// A word or sign, and its line (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A path. `use` groups are expanded, and `super` and `self` are resolved to `crate::…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// The name that a `use` gives to the path in its module. `None` outside `use`, and for `*`.
    pub(crate) imported_as: Option<String>,
}

/// A parsed file.
pub(crate) struct Source {
    /// The path from the root of the repository, such as `src/proxy.rs`.
    pub(crate) file: String,
    /// The number of lines, with test code and blank lines.
    pub(crate) lines: usize,
    /// `true` if the file begins with a `//!` comment.
    pub(crate) has_module_docs: bool,
    pub(crate) tokens: Vec<Token>,
    pub(crate) paths: Vec<Path>,
    /// Modules that are declared under `#[cfg(test)]` and live in files of their own, as `crate`
    /// paths.
    pub(crate) test_modules: Vec<Vec<String>>,
}

impl Source {
    /// Parses `text`. `file` determines its module.
    pub(crate) fn parse(file: &str, text: &str) -> Self {
        let module = module_of(file);
        let (tokens, tests) = without_tests(&tokens(&blank(text)));
        let test_modules = tests
            .into_iter()
            .map(|name| [module.clone(), vec![name]].concat())
            .collect();
        Self {
            file: file.to_owned(),
            lines: text.lines().count(),
            has_module_docs: text.starts_with("//!"),
            paths: Paths::new(&tokens, module).collect_all(),
            tokens,
            test_modules,
        }
    }

    /// Returns the first module below the crate: `proxy` for `src/proxy/headers.rs` and for
    /// `src/proxy.rs`.
    pub(crate) fn top_module(&self) -> String {
        let rest = self.file.strip_prefix("src/").unwrap_or(&self.file);
        let name = rest.split('/').next().unwrap_or(rest);
        name.strip_suffix(".rs").unwrap_or(name).to_owned()
    }

    /// Returns the module path below the crate.
    pub(crate) fn module(&self) -> Vec<String> {
        module_of(&self.file)
    }
}

fn module_of(file: &str) -> Vec<String> {
    let rest = file.strip_prefix("src/").unwrap_or(file);
    let rest = rest.strip_suffix(".rs").unwrap_or(rest);
    rest.split('/')
        .filter(|part| !matches!(*part, "lib" | "main"))
        .map(str::to_owned)
        .collect()
}

/// Replaces comments and the content of literals with blanks. Line numbers do not change.
pub(crate) fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(c);
            at += 1;
        } else {
            for hidden in chars.iter().take(end).skip(at) {
                out.push(if *hidden == '\n' { '\n' } else { ' ' });
            }
            at = end;
        }
    }
    out
}

/// Returns the end of the comment or literal that starts at `at`, or `at` if none starts there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let look = |i: usize| chars.get(at + i).copied().unwrap_or('\0');
    let before = at.checked_sub(1).and_then(|i| chars.get(i)).copied();
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match look(0) {
        '/' if look(1) == '/' => at + run(chars, at, |c| c != '\n'),
        '/' if look(1) == '*' => block_comment_end(chars, at),
        '"' => quoted_end(chars, at + 1, '"'),
        '\'' if look(1) == '\\' || look(2) == '\'' => quoted_end(chars, at + 1, '\''),
        'r' if !in_word || before == Some('b') => {
            let hashes = run(chars, at + 1, |c| c == '#');
            if look(1 + hashes) == '"' {
                raw_end(chars, at + 2 + hashes, hashes)
            } else {
                at
            }
        }
        _ => at,
    }
}

fn run(chars: &[char], from: usize, keep: impl Fn(char) -> bool) -> usize {
    chars.iter().skip(from).take_while(|c| keep(**c)).count()
}

fn block_comment_end(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0usize);
    while at < chars.len() {
        match (chars.get(at), chars.get(at + 1)) {
            (Some('/'), Some('*')) => (depth, at) = (depth + 1, at + 2),
            (Some('*'), Some('/')) => {
                (depth, at) = (depth.saturating_sub(1), at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], from: usize, quote: char) -> usize {
    let mut at = from;
    while let Some(&c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_end(chars: &[char], from: usize, hashes: usize) -> usize {
    let mut at = from;
    while at < chars.len() {
        if chars.get(at) == Some(&'"') && run(chars, at + 1, |c| c == '#') >= hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    chars.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Splits text into words, `::`, and single other signs.
pub(crate) fn tokens(blanked: &str) -> Vec<Token> {
    let mut out = Vec::new();
    for (index, text) in blanked.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            out.push(Token {
                text: token.to_owned(),
                line: index + 1,
            });
            rest = after.trim_start();
        }
    }
    out
}

const TEST_MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

/// Returns the tokens outside of `#[cfg(test)]` items, and the names of the modules that such items
/// declare without a body.
fn without_tests(all: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut kept, mut modules, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(token) = all.get(at) {
        if starts_with(all.get(at..).unwrap_or_default(), &TEST_MARK) {
            let end = item_end(all, at + TEST_MARK.len());
            let item = all.get(at + TEST_MARK.len()..end).unwrap_or_default();
            if let Some([.., keyword, name, last]) = Some(item)
                && keyword.text == "mod"
                && last.text == ";"
            {
                modules.push(name.text.clone());
            }
            at = end;
        } else {
            kept.push(token.clone());
            at += 1;
        }
    }
    (kept, modules)
}

/// Returns `true` if `tokens` begin with exactly these words.
pub(crate) fn starts_with(tokens: &[Token], words: &[&str]) -> bool {
    tokens.len() >= words.len()
        && tokens
            .iter()
            .zip(words)
            .all(|(token, word)| token.text == *word)
}

/// Returns the position after the item that starts at `from`: after its `;`, or after the brace
/// that closes its body.
fn item_end(all: &[Token], from: usize) -> usize {
    let (mut braces, mut others) = (0usize, 0usize);
    for (at, token) in all.iter().enumerate().skip(from) {
        match token.text.as_str() {
            "{" => braces += 1,
            "}" => {
                braces = braces.saturating_sub(1);
                if braces == 0 && others == 0 {
                    return at + 1;
                }
            }
            "(" | "[" => others += 1,
            ")" | "]" => others = others.saturating_sub(1),
            ";" if braces == 0 && others == 0 => return at + 1,
            _ => {}
        }
    }
    all.len()
}

/// Collects the paths of one file.
struct Paths<'a> {
    tokens: &'a [Token],
    /// The module of the next token, with inline modules.
    module: Vec<String>,
    /// The brace depths at which inline modules were opened.
    inline: Vec<usize>,
    depth: usize,
    found: Vec<Path>,
}

impl<'a> Paths<'a> {
    fn new(tokens: &'a [Token], module: Vec<String>) -> Self {
        Self {
            tokens,
            module,
            inline: Vec::new(),
            depth: 0,
            found: Vec::new(),
        }
    }

    fn text(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text.as_str())
    }

    fn collect_all(mut self) -> Vec<Path> {
        let mut at = 0;
        while at < self.tokens.len() {
            at = self.step(at);
        }
        self.found
    }

    fn step(&mut self, at: usize) -> usize {
        match self.text(at) {
            "{" => self.depth += 1,
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                if self.inline.last() == Some(&self.depth) {
                    self.inline.pop();
                    self.module.pop();
                }
            }
            "mod" if self.text(at + 2) == "{" => {
                self.inline.push(self.depth);
                self.module.push(self.text(at + 1).to_owned());
            }
            "use" if self.text(at + 1) != "<" => {
                return self.tree(at + 1, &[]);
            }
            word if word.starts_with(is_word) => return self.inline_path(at),
            _ => {}
        }
        at + 1
    }

    /// Collects a `use` tree that starts at `at`, and returns its end.
    fn tree(&mut self, mut at: usize, prefix: &[String]) -> usize {
        let mut segments = prefix.to_vec();
        loop {
            let line = self.tokens.get(at).map_or(0, |token| token.line);
            match self.text(at) {
                "::" => at += 1,
                "{" => {
                    at += 1;
                    while !matches!(self.text(at), "}" | "") {
                        at = self.tree(at, &segments);
                        at += usize::from(self.text(at) == ",");
                    }
                    return at + 1;
                }
                "*" => {
                    let all = [segments, vec!["*".to_owned()]].concat();
                    self.keep(all, line, None);
                    return at + 1;
                }
                word if word.starts_with(is_word) && word != "as" => {
                    if word != "self" || segments.is_empty() {
                        segments.push(word.to_owned());
                    }
                    at += 1;
                    if self.text(at) != "::" {
                        let is_renamed = self.text(at) == "as";
                        let renamed = is_renamed.then(|| self.text(at + 1).to_owned());
                        let name = renamed.or_else(|| segments.last().cloned());
                        self.keep(segments.clone(), line, name);
                    }
                }
                "as" => at += 2,
                _ => return at,
            }
        }
    }

    /// Collects a path outside of `use`: `a::b::c`, or a single word.
    fn inline_path(&mut self, from: usize) -> usize {
        let line = self.tokens.get(from).map_or(0, |token| token.line);
        let mut segments = vec![self.text(from).to_owned()];
        let mut at = from + 1;
        while self.text(at) == "::" && self.text(at + 1).starts_with(is_word) {
            segments.push(self.text(at + 1).to_owned());
            at += 2;
        }
        if segments.len() > 1 {
            self.keep(segments, line, None);
        }
        at
    }

    fn keep(&mut self, segments: Vec<String>, line: usize, imported_as: Option<String>) {
        let segments = self.resolve(segments);
        self.found.push(Path {
            segments,
            line,
            imported_as,
        });
    }

    fn resolve(&self, segments: Vec<String>) -> Vec<String> {
        let ups = segments.iter().take_while(|s| *s == "super").count();
        let selfs = usize::from(segments.first().is_some_and(|s| s == "self"));
        if ups == 0 && selfs == 0 {
            return segments;
        }
        let stay = self.module.len().saturating_sub(ups);
        let base = self.module.iter().take(stay).cloned();
        std::iter::once("crate".to_owned())
            .chain(base)
            .chain(segments.into_iter().skip(ups + selfs))
            .collect()
    }
}
