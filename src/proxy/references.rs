//! References in header fields of responses, such as `Location`.

mod resolver;

pub(super) use resolver::ReferenceRewriter;
