//! The reasons why a document is not valid.

use thiserror::Error;

/// The reason why the bytes of a file are not a valid document. Contains no byte of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidDocument {
    /// The file has no byte.
    #[error("is empty")]
    Empty,
    /// The file is larger than 64 KiB.
    #[error("is larger than 64 KiB")]
    TooLarge,
    /// The bytes are not UTF-8.
    #[error("is not UTF-8 text")]
    Encoding,
    /// The text ends inside the object.
    #[error("ends before the JSON object is complete")]
    Incomplete,
    /// The text is not JSON.
    #[error("is not valid JSON: see line {line}, column {column}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// The value is not an object.
    #[error("is not a JSON object")]
    NotObject,
    /// Objects or lists are nested more than 32 levels deep.
    #[error("is nested too deeply")]
    Depth,
    /// A key occurs twice in an object.
    #[error("has a duplicate key")]
    DuplicateKey,
    /// `format` is absent, or names something else.
    #[error("is not a token file: `format` must be `egressd-token/1`")]
    Format,
    /// `format` is that of a later version.
    #[error("has a newer format than this version of egressd reads (`egressd-token/1`)")]
    NewerFormat,
    /// `grant` is not the name of the file.
    #[error("belongs to another grant: `grant` must be equal to the name of the file")]
    OtherGrant,
    /// A member does not have the required value.
    #[error("`{member}` must be {expected}")]
    Member {
        /// The name of the member.
        member: &'static str,
        /// The required value.
        expected: &'static str,
    },
    /// There is neither a token nor the mark of a logout or refusal.
    #[error("has no `access_token`")]
    NoToken,
    /// There is a refresh token, and nothing that binds it to a client.
    #[error("has a `refresh_token` without `client`")]
    NoClient,
}
