//! Reads `allowed_routes` into a route table and the descriptions of its routes, and warns about
//! overlaps and about patterns that cannot match.

use super::described_routes::DescriptionReader;
use super::document::Value;
use super::field::Field;
use super::foreign_wildcards;
use super::redaction::{self, Grammar};
use crate::domain::{ConnectionId, RouteDescription, RouteDescriptions};
use crate::route::{Overlap, OverlapKind, Pattern, RouteTable, WALK_LIMIT};

/// The maximum number of overlaps that are reported for one connection, so that they do not hide
/// other problems.
const MAX_SHOWN_OVERLAPS: usize = 20;

/// The routes of a connection.
pub(super) struct ReadRoutes {
    pub(super) table: RouteTable,
    pub(super) descriptions: RouteDescriptions,
}

/// The parts of one entry. Each is `None` if it has a problem.
struct ReadRoute<'a> {
    /// The pattern, and the field that contains it.
    pattern: Option<(Field<'a>, Pattern)>,
    description: Option<RouteDescription>,
}

/// Reads the routes of a connection and compiles them.
pub(super) fn compile_routes(
    field: &Field<'_>,
    allow_encoded_slash: bool,
    connection: Option<&ConnectionId>,
) -> Option<ReadRoutes> {
    let items = field.clone().with_grammar(Grammar::Pattern).read_list()?;
    if items.is_empty() {
        return field.reject(
            "empty",
            "contains no pattern, so every request would be refused",
            "write at least one, such as `GET /api/status`",
        );
    }
    let mut reader = DescriptionReader::new(connection);
    let read: Vec<ReadRoute<'_>> = items
        .iter()
        .map(|item| read_route(item, allow_encoded_slash, &mut reader))
        .collect();
    let (patterns, descriptions): (Vec<_>, Vec<_>) = read
        .into_iter()
        .map(|route| (route.pattern, route.description))
        .unzip();
    // Only valid patterns are compared, so that one invalid pattern does not hide overlaps of the
    // others.
    let (places, good): (Vec<_>, Vec<_>) = patterns.into_iter().flatten().unzip();
    let (table, overlaps) = RouteTable::compile(good);
    for overlap in overlaps.iter().take(MAX_SHOWN_OVERLAPS) {
        warn_of_overlap(overlap, &places, table.patterns());
    }
    let left_out = table.left_out();
    let more = overlaps.len().saturating_sub(MAX_SHOWN_OVERLAPS) + left_out.counted;
    if more > 0 || left_out.search_given_up {
        let at_least = if left_out.search_given_up {
            "at least "
        } else {
            ""
        };
        let message = format!("{at_least}{more} more pairs of patterns overlap");
        let remedy = "list only the patterns that are needed";
        field.warn("overlapping_routes", message, remedy);
    }
    if let Some(widest) = table.over_walk_limit() {
        let message = format!(
            "the patterns are too similar: one path might be compared with {widest} of their segments; the limit is {WALK_LIMIT}"
        );
        let remedy = "use fewer wildcards next to literals at the same depth";
        return field.reject("routes_too_wide", message, remedy);
    }
    let descriptions: Option<Vec<_>> = descriptions.into_iter().collect();
    let descriptions = descriptions?.into_iter().enumerate().collect();
    (places.len() == items.len()).then_some(ReadRoutes {
        table,
        descriptions,
    })
}

fn warn_of_overlap(overlap: &Overlap, places: &[Field<'_>], patterns: &[Pattern]) {
    let pattern = |at: usize| patterns.get(at).map_or("", Pattern::as_str);
    let (Some(first), Some(second)) = (places.get(overlap.first), places.get(overlap.second))
    else {
        return;
    };
    let (how, remedy) = match overlap.kind {
        OverlapKind::Equivalent => ("allows the same requests as", "keep one of the two"),
        OverlapKind::Overlapping => (
            "overlaps",
            "no change is needed if both are intended: a request that matches either is allowed",
        ),
    };
    let message = format!(
        "{} {how} {} in line {}: both match {}",
        redaction::shown_pattern(pattern(overlap.second)),
        redaction::shown_pattern(pattern(overlap.first)),
        first.node.place.line,
        redaction::shown_pattern(&overlap.witness)
    );
    second.warn("overlapping_routes", message, remedy);
}

/// Reads an entry: a pattern, or a mapping that describes one.
fn read_route<'a>(
    item: &Field<'a>,
    allow_encoded_slash: bool,
    reader: &mut DescriptionReader<'a>,
) -> ReadRoute<'a> {
    let (field, description) = match &item.node.value {
        Value::Text(_) => (Some(item.clone()), Some(RouteDescription::default())),
        Value::Map(_) => reader.read_route(item),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) => {
            let message = format!(
                "must be a pattern or a mapping, not {}",
                item.describe_value()
            );
            let remedy =
                "write a pattern such as `GET /api/status`, or `{route: …, description: …}`";
            item.report("wrong_type", message, remedy);
            (None, None)
        }
    };
    let pattern = field.and_then(|field| {
        let pattern = read_pattern(&field, allow_encoded_slash)?;
        Some((field, pattern))
    });
    ReadRoute {
        pattern,
        description,
    }
}

fn read_pattern(field: &Field<'_>, allow_encoded_slash: bool) -> Option<Pattern> {
    let text = field.read_text()?;
    let pattern = match Pattern::parse(text) {
        Ok(pattern) => pattern,
        Err(invalid) => {
            let invalid = if Grammar::Pattern.may_show(text) {
                invalid
            } else {
                invalid.without_subject()
            };
            let message = format!(
                "{} is not a pattern: {invalid}",
                redaction::shown_pattern(text)
            );
            return field.reject("invalid_route", message, invalid.remedy());
        }
    };
    foreign_wildcards::warn_of_wildcards(field, text);
    if let Some(why) = pattern.never_matches(allow_encoded_slash) {
        let message = format!("{} {why}", redaction::shown_pattern(text));
        let remedy = "remove it, or write the path as clients send it";
        field.warn("dead_route", message, remedy);
    }
    Some(pattern)
}
