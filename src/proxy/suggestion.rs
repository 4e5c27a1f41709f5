//! Suggestions in refusals: the connection or the pattern that is most similar to the agent's path.
//!
//! An agent can send any number of wrong paths, and there can be 10,000 connections or patterns. So
//! a search considers a bounded number of candidates, and spends a bounded number of steps on
//! comparing them. It may miss the best candidate, but it never makes a refusal expensive.

use crate::domain::ConnectionId;
use crate::route::{CanonicalPath, Method, Pattern, Segment};

/// The most candidates of one search.
const MAX_CANDIDATES: usize = 4096;
/// The most steps of one search: about 0.1 ms.
const MAX_STEPS: usize = 50_000;
/// The steps of a comparison, in addition to the product of the lengths.
const COMPARISON_STEPS: usize = 64;
/// The longest path that is compared with patterns, in bytes.
const MAX_PATH_BYTES: usize = 256;
/// The similarity from which a text counts as a misspelling, from 0 to 1.
const MIN_SIMILARITY: f64 = 0.8;
/// The similarity of a path to a pattern that has one segment more or less at its beginning.
const SHIFTED: f64 = 0.9;

/// Returns the id that is most similar to the text, among the ids that begin with the same letter.
pub(super) fn nearest_id<'c>(
    text: &str,
    ids: impl Iterator<Item = &'c ConnectionId>,
) -> Option<&'c ConnectionId> {
    if text.len() > ConnectionId::MAX_LEN {
        return None;
    }
    // Ids have lower-case letters only.
    let text = text.to_ascii_lowercase();
    let first = text.as_bytes().first()?;
    let mut search = Search::new();
    let similar = ids.take(MAX_CANDIDATES).filter_map(|id| {
        let is_candidate = id.as_str().as_bytes().first() == Some(first);
        let similarity = is_candidate.then(|| search.compare(&text, id.as_str()))??;
        Some((similarity, id))
    });
    best(similar)
}

/// Returns the pattern that is most similar to a path, among those that allow the method.
pub(super) fn nearest_pattern<'p>(
    method: Option<Method>,
    path: &CanonicalPath<'_>,
    patterns: &'p [Pattern],
) -> Option<&'p Pattern> {
    let path = std::str::from_utf8(path.as_bytes()).ok()?;
    if path.len() > MAX_PATH_BYTES {
        return None;
    }
    let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let mut search = Search::new();
    let candidates = patterns.iter().take(MAX_CANDIDATES);
    let similar = candidates.filter_map(|pattern| {
        let is_allowed = method.is_some_and(|method| pattern.methods().contains(method));
        let similarity =
            is_allowed.then(|| search.compare_path(&segments, pattern.segments()))??;
        Some((similarity, pattern))
    });
    best(similar)
}

/// Returns the first of the candidates with the greatest similarity.
fn best<T>(similar: impl Iterator<Item = (f64, T)>) -> Option<T> {
    let better = |best: (f64, T), next: (f64, T)| if next.0 > best.0 { next } else { best };
    similar.reduce(better).map(|(_, candidate)| candidate)
}

/// The remaining steps of a search.
struct Search {
    steps: usize,
}

impl Search {
    fn new() -> Self {
        Self { steps: MAX_STEPS }
    }

    /// Returns the similarity of two texts. `None` if they are not similar, or if no steps remain.
    fn compare(&mut self, text: &str, candidate: &str) -> Option<f64> {
        if text == candidate {
            return Some(1.0);
        }
        let steps = text.len().saturating_mul(candidate.len()) + COMPARISON_STEPS;
        self.steps = self.steps.checked_sub(steps)?;
        let similarity = strsim::jaro_winkler(text, candidate);
        (similarity >= MIN_SIMILARITY).then_some(similarity)
    }

    /// Returns the similarity of a path to a pattern. Agents forget or repeat a first segment, such
    /// as a version, so the path is also compared without its first segment, and then the pattern
    /// without its own first segment.
    fn compare_path(&mut self, path: &[&str], pattern: &[Segment]) -> Option<f64> {
        let whole = self.compare_segments(path, pattern);
        whole.or_else(|| {
            let (_, shorter) = path.split_first()?;
            let by_path = self.compare_segments(shorter, pattern);
            let by_pattern = || self.compare_segments(path, pattern.split_first()?.1);
            Some(SHIFTED * by_path.or_else(by_pattern)?)
        })
    }

    /// Returns the mean similarity of the literal segments. `None` if a segment differs, or if no
    /// literal is among them.
    fn compare_segments(&mut self, path: &[&str], pattern: &[Segment]) -> Option<f64> {
        let mut path = path.iter();
        let (mut sum, mut literals) = (0.0, 0_u16);
        for segment in pattern {
            match segment {
                Segment::Literal(literal) => {
                    let literal = std::str::from_utf8(literal).ok()?;
                    sum += self.compare(path.next()?, literal)?;
                    literals += 1;
                }
                Segment::Wildcard(_) => {
                    path.next().filter(|segment| !segment.is_empty())?;
                }
                Segment::End => {
                    path.next().filter(|segment| segment.is_empty())?;
                }
                Segment::Remainder(_) => path = [].iter(),
            }
        }
        let is_whole = path.next().is_none() && literals > 0;
        is_whole.then(|| sum / f64::from(literals))
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_CANDIDATES, Search, nearest_id, nearest_pattern};
    use crate::domain::ConnectionId;
    use crate::route::{CanonicalPath, Method, Pattern};

    fn ids<'t>(ids: impl IntoIterator<Item = &'t str>) -> Vec<ConnectionId> {
        let ids = ids.into_iter();
        ids.map(|id| ConnectionId::parse(id).unwrap()).collect()
    }

    #[test]
    fn the_nearest_id() {
        let ids = ids(["crm", "github", "github-prod", "jira"]);
        for (text, expected) in [
            ("gihtub", Some("github")),
            ("GitHub", Some("github")),
            ("github-prd", Some("github-prod")),
            ("jirra", Some("jira")),
            ("cmr", None),
            ("v1", None),
            ("", None),
            ("g\u{e9}thub", Some("github")),
            ("\u{e9}github", None),
        ] {
            let nearest = nearest_id(text, ids.iter()).map(ConnectionId::as_str);
            assert_eq!(nearest, expected, "{text}");
        }
        assert_eq!(nearest_id(&"g".repeat(64), ids.iter()), None);
    }

    #[test]
    fn the_nearest_pattern() {
        let patterns: Vec<Pattern> = [
            "GET /v1/users/{id}",
            "POST /v1/users",
            "GET /v1/files/",
            "GET /v1/items/{$}",
            "/{any}/raw",
        ]
        .into_iter()
        .map(|text| Pattern::parse(text).unwrap())
        .collect();
        for (method, path, expected) in [
            ("GET", "/v1/user/42", Some("GET /v1/users/{id}")),
            ("HEAD", "/V1/Users/42", None),
            ("GET", "/users/42", Some("GET /v1/users/{id}")),
            ("GET", "/api/v1/users/42", Some("GET /v1/users/{id}")),
            ("POST", "/v1/user", Some("POST /v1/users")),
            ("DELETE", "/v1/user/42", None),
            ("GET", "/v1/file/a/b", Some("GET /v1/files/")),
            ("GET", "/v1/itmes/", Some("GET /v1/items/{$}")),
            ("GET", "/a/raww", Some("/{any}/raw")),
            ("GET", "/v1/users/42/posts", None),
            ("GET", "/", None),
        ] {
            let path = CanonicalPath::parse(path.as_bytes()).unwrap();
            let method = Method::parse(method.as_bytes());
            let nearest = nearest_pattern(method, &path, &patterns).map(Pattern::as_str);
            assert_eq!(nearest, expected, "{path:?}");
        }
    }

    #[test]
    fn the_work_of_a_search_is_bounded() {
        let many: Vec<String> = (0..10_000).map(|n| format!("connection-{n:05}")).collect();
        let many = ids(many.iter().map(String::as_str));
        let nearest = nearest_id("conection-00007", many.iter());
        assert_eq!(nearest.map(ConnectionId::as_str), Some("connection-00007"));
        // Later candidates are not considered.
        assert_eq!(nearest_id("zebra", many.iter()), None);
        let zebra = ids(["zebra"]);
        let last = many.iter().take(MAX_CANDIDATES).chain(&zebra);
        assert_eq!(nearest_id("zebrra", last), None);
        let mut search = Search::new();
        let long = "a".repeat(60);
        while search.compare(&long, "ab").is_some() || search.steps > 1000 {}
        assert_eq!(search.compare("a", "a"), Some(1.0));
    }
}
