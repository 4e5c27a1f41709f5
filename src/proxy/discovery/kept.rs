//! Rendered lists of connections: rendered once per generation and sent many times, whatever host
//! agents use and however many agents read slowly.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::template::{FilledTemplate, Template};
use super::{json, markdown};
use crate::snapshot::Snapshot;

/// The listings of one generation.
#[derive(Default)]
pub struct Kept(Mutex<Texts>);

#[derive(Default)]
struct Texts {
    generation: u64,
    json: Option<Bytes>,
    markdown: Option<Arc<Template>>,
}

impl Kept {
    pub(super) fn json(&self, snapshot: &Snapshot) -> Bytes {
        let known = self.of(snapshot, |texts| texts.json.clone());
        known.unwrap_or_else(|| {
            let text = Bytes::from(json(snapshot));
            self.of(snapshot, |texts| texts.json = Some(text.clone()));
            text
        })
    }

    pub(super) fn markdown(&self, host: &str, snapshot: &Snapshot) -> FilledTemplate {
        let known = self.of(snapshot, |texts| texts.markdown.clone());
        let template = known.unwrap_or_else(|| {
            let template = Arc::new(markdown(snapshot));
            self.of(snapshot, |texts| {
                texts.markdown = Some(Arc::clone(&template))
            });
            template
        });
        template.fill(host)
    }

    /// What is done with the texts of this generation. A request that has an older one leaves nothing behind.
    fn of<T>(&self, snapshot: &Snapshot, with: impl FnOnce(&mut Texts) -> T) -> T {
        let mut texts = self.0.lock();
        let generation = snapshot.generation();
        if texts.generation < generation {
            *texts = Texts {
                generation,
                ..Texts::default()
            };
        }
        if texts.generation == generation {
            with(&mut texts)
        } else {
            with(&mut Texts::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Kept, Snapshot, Template};

    fn template(kept: &Kept) -> Option<Arc<Template>> {
        kept.0.lock().markdown.clone()
    }

    #[test]
    fn a_generation_is_rendered_once_for_all_hosts() {
        // F-262
        let kept = Kept::default();
        let first = Snapshot::new(Vec::new());
        let one = kept.json(&first);
        assert_eq!(one, r#"{"connections":[]}"#);
        assert_eq!(one.as_ptr(), kept.json(&first).as_ptr());
        kept.markdown("localhost", &first);
        let rendered = template(&kept).unwrap();
        for host in ["a.localhost", "b.localhost:1", "127.0.0.1"] {
            let text = kept.markdown(host, &first).next().unwrap();
            let begins = format!("The base URL of a connection is `http://{host}/");
            assert!(String::from_utf8_lossy(&text).contains(&begins), "{host}");
        }
        assert!(Arc::ptr_eq(&rendered, &template(&kept).unwrap()));

        let second = first.next_generation(Vec::new());
        assert_ne!(one.as_ptr(), kept.json(&second).as_ptr());
        kept.markdown("localhost", &second);
        let after = template(&kept).unwrap();
        assert!(!Arc::ptr_eq(&rendered, &after));
        // A request that began before the reload must not put the old list back.
        kept.markdown("localhost", &first);
        assert!(Arc::ptr_eq(&after, &template(&kept).unwrap()));
    }
}
