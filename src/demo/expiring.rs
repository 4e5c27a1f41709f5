//! A bounded list of entries that expire.

use std::time::Instant;

/// A list of at most a fixed number of entries, in the order in which they were added. An entry is
/// not found after its expiry.
pub(super) struct Expiring<T> {
    entries: Vec<Entry<T>>,
    capacity: usize,
}

struct Entry<T> {
    until: Instant,
    value: T,
}

impl<T> Expiring<T> {
    /// Creates an empty list for this number of entries.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            entries: Vec::new(),
            capacity,
        }
    }

    /// Adds an entry. Removes expired entries and, if the list is full, the oldest one.
    pub(super) fn push(&mut self, value: T, now: Instant, until: Instant) {
        self.entries.retain(|entry| entry.until > now);
        if self.entries.len() >= self.capacity {
            self.entries.remove(0);
        }
        self.entries.push(Entry { until, value });
    }

    /// Returns the first entry that matches and has not expired.
    pub(super) fn find(&self, now: Instant, matches: impl Fn(&T) -> bool) -> Option<&T> {
        let mut live = self.entries.iter().filter(|entry| entry.until > now);
        live.find(|entry| matches(&entry.value))
            .map(|entry| &entry.value)
    }

    /// Returns the first entry that matches and has not expired, to change it.
    pub(super) fn find_mut(
        &mut self,
        now: Instant,
        matches: impl Fn(&T) -> bool,
    ) -> Option<&mut T> {
        let mut live = self.entries.iter_mut().filter(|entry| entry.until > now);
        live.find(|entry| matches(&entry.value))
            .map(|entry| &mut entry.value)
    }

    /// Removes and returns the first entry that matches and has not expired.
    pub(super) fn take(&mut self, now: Instant, matches: impl Fn(&T) -> bool) -> Option<T> {
        let mut entries = self.entries.iter();
        let place = entries.position(|entry| entry.until > now && matches(&entry.value))?;
        Some(self.entries.remove(place).value)
    }

    /// Removes every entry that matches.
    pub(super) fn remove(&mut self, matches: impl Fn(&T) -> bool) {
        self.entries.retain(|entry| !matches(&entry.value));
    }
}

#[cfg(test)]
mod tests {
    use super::Expiring;
    use std::time::{Duration, Instant};

    const MOMENT: Duration = Duration::from_millis(1);
    const LIFETIME: Duration = Duration::from_secs(60);

    #[test]
    fn an_entry_is_found_until_its_expiry() {
        let (mut list, now) = (Expiring::with_capacity(2), Instant::now());
        list.push(1, now, now + LIFETIME);
        let is_one = |value: &i32| *value == 1;
        assert_eq!(list.find(now + LIFETIME - MOMENT, is_one), Some(&1));
        assert_eq!(list.find(now + LIFETIME, is_one), None);
        assert_eq!(list.find_mut(now + LIFETIME, is_one), None);
        assert_eq!(list.take(now + LIFETIME, is_one), None);
        assert_eq!(list.take(now, is_one), Some(1));
        assert_eq!(list.take(now, is_one), None);
    }

    #[test]
    fn the_oldest_entry_makes_room_for_a_new_one() {
        let (mut list, now) = (Expiring::with_capacity(2), Instant::now());
        for value in 1..=3 {
            list.push(value, now, now + LIFETIME);
        }
        let is_found = |list: &Expiring<i32>, value| list.find(now, |v| *v == value).is_some();
        assert_eq!(
            [1, 2, 3].map(|value| is_found(&list, value)),
            [false, true, true]
        );
        // Expired entries take no room.
        let later = now + LIFETIME;
        list.push(4, later, later + LIFETIME);
        list.push(5, later, later + LIFETIME);
        assert_eq!(list.find(later, |v| *v == 4), Some(&4));
        list.remove(|v| *v == 4);
        assert_eq!(list.find(later, |v| *v == 4), None);
    }
}
