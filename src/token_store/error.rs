//! Errors of writing to the store.

use std::io;

use thiserror::Error;

/// The reason why the lock of a grant was not obtained.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process or thread held the lock until the timeout (`token_store_busy`).
    #[error("another process holds the lock of the grant")]
    Busy,
    /// The store cannot be written (`token_store_unwritable`).
    #[error(transparent)]
    Unwritable(#[from] StoreError),
}

/// The reason why the store cannot be written, for operators.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A system call failed.
    #[error("cannot {action} `{name}` in the token store: {source}")]
    Io {
        /// The step that failed, as a verb.
        action: &'static str,
        /// The path of the directory, or the name of a file in it.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The document has more than [`super::MAX_DOCUMENT_BYTES`] bytes.
    #[error("the document for `{0}` is larger than 64 KiB")]
    TooLarge(String),
}

impl StoreError {
    /// Returns a function that adds the step and the name of a file to an error.
    pub(super) fn at(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> Self {
        let name = name.to_owned();
        move |source| Self::Io {
            action,
            name,
            source,
        }
    }
}
