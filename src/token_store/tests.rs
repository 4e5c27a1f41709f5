//! Tests of the store, with real files in a temporary directory.

mod contention;
mod crashes;
mod documents;
mod files;
mod full_disks;
mod lives;
mod mutations;
mod recoveries;
mod saves;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::{NewConsent, RefreshedTokens, StoredFile, StoredGrant, TokenStore, TokenText};
use crate::domain::ConnectionId;
use crate::domain::auth::GrantName;

/// The client of all documents.
const CLIENT: &str = "sha256:9f";
/// A time, in seconds.
const NOW: i64 = 1_795_860_000;

/// A store in a directory that is removed at the end.
struct World {
    directory: tempfile::TempDir,
    store: TokenStore,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = TokenStore::new(directory.path().to_owned());
        Self { directory, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Saves a document with this sequence.
    fn save(&self, sequence: u64) {
        let held = self.lock();
        held.reserve().unwrap().save(&document(sequence)).unwrap();
    }

    fn lock(&self) -> super::HeldGrant {
        self.store.lock(&github(), CLIENT, Duration::ZERO).unwrap()
    }

    fn read(&self) -> StoredGrant {
        usable(self.store.read(&github()))
    }

    /// Returns the names of all files, in order.
    fn names(&self) -> Vec<String> {
        names_in(self.directory.path())
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn github() -> GrantName {
    GrantName::from(ConnectionId::parse("github").unwrap())
}

fn token(text: &str) -> TokenText {
    TokenText::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

/// Returns the document of a consent at `NOW` with the sequence 1.
fn consent() -> StoredGrant {
    StoredGrant::from_consent(new_consent(), None, at(0))
}

fn new_consent() -> NewConsent {
    NewConsent {
        client: CLIENT.to_owned(),
        access_token: token("access-1"),
        expires_in: Some(Duration::from_secs(3600)),
        refresh_token: Some(token("refresh-1")),
        refresh_token_expires_in: None,
        scopes: Some("read:user".to_owned()),
        account: Some("octocat".to_owned()),
        client_auth: None,
        seed: None,
        answer: Map::new(),
    }
}

/// Returns the tokens of a rotation to this sequence.
fn tokens(sequence: u64) -> RefreshedTokens {
    RefreshedTokens {
        access_token: token(&format!("access-{sequence}")),
        expires_in: Some(Duration::from_secs(3600)),
        refresh_token: Some(token(&format!("refresh-{sequence}"))),
        refresh_token_expires_in: None,
        scopes: None,
        answer: Map::new(),
    }
}

/// Returns the document with this sequence.
fn document(sequence: u64) -> StoredGrant {
    (2..=sequence).fold(consent(), |last, next| last.refreshed(tokens(next), at(0)))
}

fn usable(file: StoredFile) -> StoredGrant {
    match file {
        StoredFile::Usable { document, .. } => *document,
        StoredFile::Unusable(why) => panic!("unusable: {why}"),
        StoredFile::Absent => panic!("absent"),
        StoredFile::DirectoryUnavailable(why) => panic!("no directory: {why}"),
    }
}

/// Returns the JSON of a document.
fn json_of(document: &StoredGrant) -> Value {
    serde_json::from_slice(&document.encode(&github()).unwrap()).unwrap()
}

/// Returns a valid document with these members added or replaced.
fn text_with(members: &Value) -> String {
    let mut all = json!({"format": "egressd-token/1", "access_token": "access-1"});
    let all = all.as_object_mut().unwrap();
    all.extend(members.as_object().unwrap().clone());
    serde_json::to_string(all).unwrap()
}
