//! Notes, which are stored in memory only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The maximum number of notes.
const MAX_ITEMS: usize = 1000;

/// A note in a response.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Item {
    pub(super) id: u64,
    pub(super) text: String,
}

/// A note in a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewItem {
    pub(super) text: String,
}

/// All notes.
pub(super) struct Items {
    texts: BTreeMap<u64, String>,
    next: u64,
}

impl Default for Items {
    fn default() -> Self {
        // One of the printed lines reads item 2, so it exists from the start.
        let texts = [(1, "water the plants"), (2, "call the bank")];
        Self {
            texts: texts.map(|(id, text)| (id, text.to_owned())).into(),
            next: 3,
        }
    }
}

impl Items {
    pub(super) fn list(&self) -> Vec<Item> {
        let item = |(id, text): (&u64, &String)| Item {
            id: *id,
            text: text.clone(),
        };
        self.texts.iter().map(item).collect()
    }

    pub(super) fn find(&self, id: u64) -> Option<Item> {
        let text = self.texts.get(&id)?.clone();
        Some(Item { id, text })
    }

    /// Adds a note. Returns `None` if there are [`MAX_ITEMS`] already.
    pub(super) fn add(&mut self, text: String) -> Option<Item> {
        if self.texts.len() >= MAX_ITEMS {
            return None;
        }
        // Ids are not reused, so the URL of a removed note never leads to another one.
        let id = self.next;
        self.next += 1;
        self.texts.insert(id, text.clone());
        Some(Item { id, text })
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.texts.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::Items;

    #[test]
    fn ids_are_not_reused_and_the_number_is_bounded() {
        let mut items = Items::default();
        let added = items.add("a".to_owned()).unwrap();
        items.remove(added.id);
        assert_eq!(items.find(added.id), None);
        assert_ne!(items.add("b".to_owned()).unwrap().id, added.id);
        while items.list().len() < super::MAX_ITEMS {
            items.add(String::new()).unwrap();
        }
        assert_eq!(items.add(String::new()), None);
    }
}
