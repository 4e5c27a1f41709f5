//! The cost of matching a request's route, and of compiling a list. `cargo bench --bench route`.
#![expect(
    clippy::expect_used,
    reason = "a bench with a broken world should stop"
)]

use divan::{Bencher, black_box};
use egressd::route::{CanonicalPath, Method, Pattern, RouteTable};

fn main() {
    divan::main();
}

const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];

/// Returns a list as APIs have it: five patterns for each resource, nested and without conflicts.
fn list(size: usize) -> Vec<Pattern> {
    let of_resource = |n: usize| {
        [
            format!("GET /v1/resource{n}/{{id}}"),
            format!("POST /v1/resource{n}"),
            format!("GET /v1/resource{n}/{{id}}/parts/{{part}}"),
            format!("DELETE /v1/resource{n}/{{id}}/parts/{{part}}"),
            format!("/v1/resource{n}/search/"),
        ]
    };
    (0..size / 5)
        .flat_map(of_resource)
        .map(|text| Pattern::parse(&text).expect("a pattern"))
        .collect()
}

fn path(text: &str) -> CanonicalPath<'_> {
    CanonicalPath::parse(text.as_bytes()).expect("a canonical path")
}

#[divan::bench(args = SIZES)]
fn find(bencher: Bencher<'_, '_>, size: usize) {
    let (table, _) = RouteTable::compile(list(size));
    let text = format!("/v1/resource{}/4711/parts/wheel", size / 10);
    let path = path(&text);
    bencher.bench_local(|| table.find(black_box(Some(Method::Get)), black_box(&path)));
}

#[divan::bench(args = SIZES)]
fn find_escaped(bencher: Bencher<'_, '_>, size: usize) {
    let (table, _) = RouteTable::compile(list(size));
    let text = format!("/v1/%72esource{}/47%2011/parts/wheel", size / 10);
    let path = path(&text);
    bencher.bench_local(|| table.find(black_box(Some(Method::Get)), black_box(&path)));
}

#[divan::bench(args = SIZES)]
fn miss(bencher: Bencher<'_, '_>, size: usize) {
    let (table, _) = RouteTable::compile(list(size));
    let text = format!("/v1/resource{}/4711/wheels", size / 10);
    let path = path(&text);
    bencher.bench_local(|| table.find(black_box(Some(Method::Get)), black_box(&path)));
}

/// 5 x 5 patterns that overlap, and a path that two of them match.
#[divan::bench]
fn find_among_overlapping(bencher: Bencher<'_, '_>) {
    let rows = (0..5).map(|n| format!("/a{n}/{{x}}"));
    let columns = (0..5).map(|n| format!("/{{x}}/b{n}"));
    let patterns = rows
        .chain(columns)
        .map(|text| Pattern::parse(&text).expect("a pattern"))
        .collect();
    let (table, _) = RouteTable::compile(patterns);
    let path = path("/a3/b4");
    bencher.bench_local(|| table.find(black_box(Some(Method::Get)), black_box(&path)));
}

#[divan::bench(args = [
    "/crm/v1/resource50/4711/parts/wheel",
    "/crm/v1/%72esource50/47%2011/parts/wheel",
])]
fn canonical(text: &str) -> usize {
    path(black_box(text)).as_bytes().len()
}

#[divan::bench]
fn canonical_4000_segments(bencher: Bencher<'_, '_>) {
    let text = "/a".repeat(4_000);
    bencher.bench_local(|| path(black_box(&text)).as_bytes().len());
}

/// The most expensive list within the limit of the walk: a miss that visits every node.
#[divan::bench]
fn miss_of_the_slowest_list(bencher: Bencher<'_, '_>) {
    let pattern = |mask: u32| {
        let segment = |level: u32| {
            if (mask >> level).is_multiple_of(2) {
                "/a".to_owned()
            } else {
                format!("/{{w{level}}}")
            }
        };
        let path: String = (0..8).map(segment).collect();
        Pattern::parse(&format!("{path}/end{mask}")).expect("a pattern")
    };
    let (table, _) = RouteTable::compile((0..1 << 8).map(pattern).collect());
    let text = format!("{}/no", "/a".repeat(8));
    let path = path(&text);
    bencher.bench_local(|| table.find(black_box(Some(Method::Get)), black_box(&path)));
}

/// Compiles a list, including the conflict report but not the parsing.
#[divan::bench(args = SIZES, sample_count = 20)]
fn compile(bencher: Bencher<'_, '_>, size: usize) {
    bencher
        .with_inputs(|| list(size))
        .bench_local_values(RouteTable::compile);
}

/// 5,000 patterns, each of which overlaps with 5,000 others.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn compile_10_000_overlapping(bencher: Bencher<'_, '_>) {
    let rows = (0..5_000).map(|n| format!("/a{n}/{{x}}"));
    let columns = (0..5_000).map(|n| format!("/{{x}}/b{n}"));
    let patterns: Vec<_> = rows
        .chain(columns)
        .map(|text| Pattern::parse(&text).expect("a pattern"))
        .collect();
    bencher
        .with_inputs(|| patterns.clone())
        .bench_local_values(RouteTable::compile);
}
