//! Lists of many connections, page by page, while reloads change the configuration.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::connection::Connection;
use crate::support::{Agent, Gate, Sidecar, Upstream, connection};

const ALL: usize = 500;

/// Orders by fields that no reload changes.
const ORDERS: &[&str] = &[
    "",
    "name desc",
    "display_name",
    "display_name desc, name desc",
    "create_time desc",
    "connection_status.code, token_expires_at",
];

/// Returns the connections that exist throughout, and some that appear and disappear.
fn definitions(up: &Upstream, generation: usize) -> Vec<Connection> {
    let one = |name: String, number: usize| {
        connection(&name)
            .allow("GET /a")
            .upstream(up)
            .with_field("display_name", format!("No. {}", number % 7).into())
            .with_field(
                "description",
                format!("{}", number * generation % 499).into(),
            )
    };
    let lasting = (0..ALL).map(|number| one(format!("c{number}"), number));
    let transient = (generation..generation + 9).filter(|number| number % 3 > 0);
    let transient = transient.map(|number| one(format!("c{}-x", number * 7 % ALL), number));
    lasting.chain(transient).collect()
}

fn encoded(text: &str) -> String {
    text.replace(',', "%2C").replace(' ', "+")
}

/// Returns the names on a page, and the token of the next page.
fn page(operator: &mut Agent, query: &str) -> (Vec<String>, String) {
    let reply = operator.get(&format!("/v1/connections?{query}"));
    let answer: Value = reply.expect_status(200).json();
    let name = |row: &Value| row["name"].as_str().unwrap().to_owned();
    let names = answer["connections"].as_array().unwrap().iter().map(name);
    let next = answer["nextPageToken"].as_str().unwrap_or_default();
    (names.collect(), next.to_owned())
}

#[test]
fn every_lasting_connection_is_listed_once_during_reloads() {
    let up = Upstream::echo();
    let plan = definitions(&up, 1).into_iter();
    let sidecar = plan
        .fold(None, |plan: Option<crate::support::sidecar::Plan>, one| {
            Some(match plan {
                Some(plan) => plan.with_connection(one),
                None => Sidecar::with(one),
            })
        })
        .unwrap()
        .start();
    let all: BTreeSet<String> = (0..ALL).map(|n| format!("connections/c{n}")).collect();
    let done = Gate::new();
    std::thread::scope(|scope| {
        let changing = std::thread::Builder::new().name("world reload".into());
        let changes = changing.spawn_scoped(scope, || {
            let mut generation = 1;
            while !done.is_open() {
                generation += 1;
                let definitions = definitions(&up, generation);
                let reloaded = sidecar.reload(&definitions).unwrap();
                assert_eq!(reloaded.connections, definitions.len());
            }
            generation
        });
        let end = done.open_on_drop();
        let mut agent = Agent::connect(&sidecar);
        let mut operator = Agent::connect_to(sidecar.management());
        let mut used = 0;
        for (order, size) in ORDERS.iter().zip([50, 17, 499, 64, 100, 33]) {
            let (mut seen, mut token, mut count) = (BTreeSet::new(), String::new(), 0);
            let lasting = |name: &String| all.contains(name);
            loop {
                let query = format!(
                    "order_by={}&page_size={size}&page_token={token}",
                    encoded(order)
                );
                let (names, next) = page(&mut operator, &query);
                assert!(names.len() == size || next.is_empty());
                let names: Vec<String> = names.into_iter().filter(lasting).collect();
                count += names.len();
                seen.extend(names);
                if next.is_empty() {
                    break;
                }
                token = next;
                used += 1;
                agent
                    .get(&format!("/c{}/a", used * 31 % ALL))
                    .expect_status(200);
            }
            assert_eq!((count, &seen), (ALL, &all), "{order}");
        }
        drop(end);
        assert!(
            changes.unwrap().join().unwrap() > 2,
            "no reload happened meanwhile"
        );
    });
}

#[test]
fn a_list_continues_at_its_position_after_a_reload() {
    let up = Upstream::echo();
    let named = |id: &str| connection(id).allow("GET /a").upstream(&up);
    let sidecar = Sidecar::with(named("b"))
        .with_connection(named("c"))
        .with_connection(named("d"))
        .start();
    let mut operator = Agent::connect_to(sidecar.management());
    let (names, token) = page(&mut operator, "page_size=1");
    assert_eq!(names, ["connections/b"]);
    let next = format!("page_size=1&page_token={token}");
    assert_eq!(page(&mut operator, &next).0, ["connections/c"]);
    // F-193
    let reloaded = ["a", "bb", "d", "e"].map(named);
    sidecar.reload(&reloaded).unwrap();
    assert_eq!(page(&mut operator, &next).0, ["connections/bb"]);
    let rest = format!("page_token={token}");
    let expected = ["bb", "d", "e"].map(|id| format!("connections/{id}"));
    assert_eq!(page(&mut operator, &rest).0, expected);
    assert_eq!(page(&mut operator, "show_deleted=true").0.len(), 6);
    assert_eq!(page(&mut operator, "").0.len(), 4);
}
