//! Name resolution with a name server on loopback.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;

use super::world::{DnsReply, LONG_TIMEOUT, NameServer};
use crate::upstream::Failure;
use crate::upstream::failure::DnsFault;
use crate::upstream::resolver::{Resolver, ResolverSettings};

fn resolver_for(server: &NameServer, hosts: &str) -> Resolver {
    ResolverSettings::with_servers(&[server.address], hosts).resolver(LONG_TIMEOUT)
}

async fn lookup_addresses(resolver: &Resolver, name: &str) -> Result<Vec<String>, Failure> {
    let addresses = resolver.lookup(name).await?;
    Ok(addresses.iter().map(IpAddr::to_string).collect())
}

#[tokio::test]
async fn an_answer_contains_both_address_families() {
    let server = NameServer::start(|name, family| match (name, family) {
        ("both.test", RecordType::A) => DnsReply::addresses(&["192.0.2.1", "192.0.2.2"]),
        ("both.test", _) => DnsReply::addresses(&["2001:db8::1"]),
        ("four.test", RecordType::A) | ("broken-six.test", RecordType::A) => {
            DnsReply::addresses(&["192.0.2.4"])
        }
        ("broken-six.test", _) => DnsReply::Code(ResponseCode::ServFail),
        ("six.test", RecordType::AAAA) | ("broken-four.test", RecordType::AAAA) => {
            DnsReply::addresses(&["2001:db8::6"])
        }
        ("broken-four.test", _) => DnsReply::Code(ResponseCode::ServFail),
        (_, _) => DnsReply::addresses(&[]),
    })
    .await;
    let resolver = resolver_for(&server, "");
    let both = lookup_addresses(&resolver, "both.test").await.unwrap();
    assert_eq!(both, ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    for (name, expected) in [
        ("four.test", "192.0.2.4"),
        ("broken-six.test", "192.0.2.4"),
        ("six.test", "2001:db8::6"),
        ("broken-four.test", "2001:db8::6"),
    ] {
        assert_eq!(
            lookup_addresses(&resolver, name).await.unwrap(),
            [expected],
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_failed_lookup_has_a_reason() {
    // F-84
    let server = NameServer::start(|name, _| match name {
        "none.test" => DnsReply::Code(ResponseCode::NXDomain),
        "broken.test" => DnsReply::Code(ResponseCode::ServFail),
        "refused.test" => DnsReply::Code(ResponseCode::Refused),
        _ => DnsReply::addresses(&[]),
    })
    .await;
    let resolver = resolver_for(&server, "");
    for (name, fault) in [
        ("none.test", DnsFault::NoAddress),
        ("empty.test", DnsFault::NoAddress),
        ("broken.test", DnsFault::Server),
        ("refused.test", DnsFault::Server),
    ] {
        let expected = Err(Failure::Dns(fault));
        assert_eq!(lookup_addresses(&resolver, name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_lookup_times_out_and_does_not_delay_other_names() {
    // F-84
    let server = NameServer::start(|name, _| match name {
        "good.test" => DnsReply::addresses(&["192.0.2.1"]),
        _ => DnsReply::Silence,
    })
    .await;
    let names = ResolverSettings::with_servers(&[server.address], "");
    let limit = Duration::from_millis(50);
    let impatient = names.resolver(limit);
    let timeout = Err(Failure::Dns(DnsFault::Timeout(limit)));
    assert_eq!(lookup_addresses(&impatient, "silent.test").await, timeout);

    let patient = names.resolver(LONG_TIMEOUT);
    let silent: Vec<String> = (0..100).map(|n| format!("silent-{n}.test")).collect();
    let all_silent = first_of_lookups(&patient, &silent);
    tokio::select! {
        biased;
        () = all_silent => panic!("a silent server answered"),
        good = lookup_addresses(&patient, "good.test") => assert_eq!(good.unwrap(), ["192.0.2.1"]),
    }
}

/// Looks up all of these names at once, and ends when the first lookup does.
async fn first_of_lookups(resolver: &Resolver, names: &[String]) {
    let mut lookups: Vec<_> = names
        .iter()
        .map(|name| Box::pin(resolver.lookup(name)))
        .collect();
    std::future::poll_fn(|context| {
        let ended = lookups
            .iter_mut()
            .any(|lookup| lookup.as_mut().poll(context).is_ready());
        if ended {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

#[tokio::test]
async fn answers_are_cached_for_a_while_whatever_their_ttl() {
    // F-85
    let server = NameServer::start(|name, _| match name {
        "zero.test" => DnsReply::Addresses(vec!["192.0.2.1".parse().unwrap()], 0),
        "huge.test" => DnsReply::Addresses(vec!["192.0.2.2".parse().unwrap()], 1 << 31),
        "broken.test" => DnsReply::Code(ResponseCode::ServFail),
        _ => DnsReply::Code(ResponseCode::NXDomain),
    })
    .await;
    let resolver = resolver_for(&server, "");
    for name in ["zero.test", "huge.test", "none.test"] {
        let first = lookup_addresses(&resolver, name).await;
        let asked = server.queried_names().len();
        assert_eq!(lookup_addresses(&resolver, name).await, first);
        assert_eq!(
            server.queried_names().len(),
            asked,
            "{name} was queried again"
        );
    }
    let _ = lookup_addresses(&resolver, "broken.test").await;
    let asked = server.queried_names().len();
    let _ = lookup_addresses(&resolver, "broken.test").await;
    assert!(
        server.queried_names().len() > asked,
        "the failure was cached"
    );
}

#[tokio::test]
async fn a_large_answer_is_complete() {
    // F-85
    let server = NameServer::start(|_, _| {
        let address = |n: u16| IpAddr::from([198, 51, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
        DnsReply::Addresses((0..500).map(address).collect(), 60)
    })
    .await;
    let resolver = resolver_for(&server, "");
    assert_eq!(
        lookup_addresses(&resolver, "many.test")
            .await
            .unwrap()
            .len(),
        500
    );
}

#[tokio::test]
async fn the_hosts_file_takes_precedence_and_localhost_is_never_queried() {
    // F-86
    let server = NameServer::start(|_, _| DnsReply::addresses(&["192.0.2.1", "2001:db8::1"])).await;
    let resolver = resolver_for(&server, "127.0.0.1 api.test # a comment\n::1 six.test\n");
    for (name, expected) in [
        ("api.test", vec!["127.0.0.1"]),
        ("six.test", vec!["::1"]),
        ("localhost", vec!["127.0.0.1", "::1"]),
        ("a.localhost", vec!["127.0.0.1", "::1"]),
    ] {
        assert_eq!(
            lookup_addresses(&resolver, name).await.unwrap(),
            expected,
            "{name}"
        );
    }
    assert_eq!(server.queried_names(), [""; 0]);
}

#[tokio::test]
async fn without_name_servers_only_the_hosts_file_is_used() {
    let resolver =
        ResolverSettings::with_servers(&[], "192.0.2.7 listed.test").resolver(LONG_TIMEOUT);
    let listed = lookup_addresses(&resolver, "listed.test").await.unwrap();
    assert_eq!(listed, ["192.0.2.7"]);
    let failed = Err(Failure::Dns(DnsFault::Server));
    assert_eq!(lookup_addresses(&resolver, "other.test").await, failed);
}
