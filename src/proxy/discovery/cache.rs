//! A cache of the rendered lists of one listener. Each representation is rendered once per
//! generation of the configuration, for all hosts that agents use. Agents that read slowly share
//! one copy.

use std::sync::Arc;

use parking_lot::Mutex;

use super::template::Template;
use super::{json, markdown};
use crate::proxy::negotiation::Representation;
use crate::proxy::served_connections::ServedConnections;

/// The lists of one generation.
#[derive(Default)]
pub struct ListingCache(Mutex<Listings>);

#[derive(Default)]
struct Listings {
    generation: u64,
    json: Option<Arc<Template>>,
    markdown: Option<Arc<Template>>,
}

impl ListingCache {
    /// Returns the list of the generation. A request with an older snapshot than the cache renders
    /// its list without storing it. All calls must be for the same listener.
    pub(super) fn get_or_render(
        &self,
        representation: Representation,
        served: ServedConnections<'_>,
    ) -> Arc<Template> {
        let generation = served.generation();
        let cached = {
            let mut listings = self.0.lock();
            listings.advance_to(generation);
            listings
                .slot(representation, generation)
                .and_then(|slot| slot.clone())
        };
        // Rendered without the lock, so that a long list does not delay other workers. Two requests
        // may render the same list, and the last one is stored.
        cached.unwrap_or_else(|| {
            let rendered = Arc::new(match representation {
                Representation::Json => json(served),
                Representation::Markdown => markdown(served),
            });
            if let Some(slot) = self.0.lock().slot(representation, generation) {
                *slot = Some(Arc::clone(&rendered));
            }
            rendered
        })
    }
}

impl Listings {
    fn advance_to(&mut self, generation: u64) {
        if self.generation < generation {
            *self = Self {
                generation,
                ..Self::default()
            };
        }
    }

    /// Returns the slot of a list, or `None` if the cache holds another generation.
    fn slot(
        &mut self,
        representation: Representation,
        generation: u64,
    ) -> Option<&mut Option<Arc<Template>>> {
        let slot = match representation {
            Representation::Json => &mut self.json,
            Representation::Markdown => &mut self.markdown,
        };
        (self.generation == generation).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, ListingCache, Representation, ServedConnections, Template};
    use crate::domain::ListenerScope;
    use crate::snapshot::Snapshot;

    fn cached_markdown(cache: &ListingCache) -> Option<Arc<Template>> {
        cache.0.lock().markdown.clone()
    }

    #[test]
    fn a_generation_is_rendered_once_for_all_hosts() {
        // F-262
        let cache = ListingCache::default();
        let list = |representation, snapshot: &Snapshot| {
            let served = ServedConnections::new(&ListenerScope::All, snapshot);
            cache.get_or_render(representation, served)
        };
        let json = |snapshot: &Snapshot| list(Representation::Json, snapshot);
        let markdown = |snapshot: &Snapshot| list(Representation::Markdown, snapshot);
        let first = Snapshot::new(Vec::new());
        let one = json(&first);
        let whole = one.fill("", Box::default()).next().unwrap();
        assert_eq!(whole, r#"{"connections":[]}"#);
        assert!(Arc::ptr_eq(&one, &json(&first)));
        let rendered = markdown(&first);
        for host in ["a.localhost", "b.localhost:1", "127.0.0.1"] {
            let text = markdown(&first).fill(host, Box::default()).next().unwrap();
            let begins = format!("The base URL of a connection is `http://{host}/");
            assert!(String::from_utf8_lossy(&text).contains(&begins), "{host}");
        }
        assert!(Arc::ptr_eq(&rendered, &cached_markdown(&cache).unwrap()));

        let second = first.next_generation(Vec::new());
        assert!(!Arc::ptr_eq(&one, &json(&second)));
        markdown(&second);
        let after = cached_markdown(&cache).unwrap();
        assert!(!Arc::ptr_eq(&rendered, &after));
        // A request that began before the reload must not store the old list again.
        markdown(&first);
        assert!(Arc::ptr_eq(&after, &cached_markdown(&cache).unwrap()));
    }
}
