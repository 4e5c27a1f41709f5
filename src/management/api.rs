//! What answers are made with: what they are made of, and what is kept between them.

use std::sync::Arc;

use axum::extract::FromRef;

use super::Sources;
use super::metrics::CachedRendering;
use super::query::TokenKey;
use super::tools::ToolCache;

/// The router's state. A handler that needs no more takes `State<Arc<Sources>>`.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) sources: Arc<Sources>,
    /// Authenticates page tokens.
    pub(super) page_tokens: Arc<TokenKey>,
    pub(super) tools: Arc<ToolCache>,
    /// The text of `/metrics`.
    pub(super) rendered: Arc<CachedRendering>,
}

impl Api {
    pub(super) fn new(sources: Sources) -> Self {
        Self {
            sources: Arc::new(sources),
            page_tokens: Arc::new(TokenKey::random()),
            tools: Arc::default(),
            rendered: Arc::default(),
        }
    }
}

impl FromRef<Api> for Arc<Sources> {
    fn from_ref(api: &Api) -> Self {
        Self::clone(&api.sources)
    }
}

impl FromRef<Api> for Arc<CachedRendering> {
    fn from_ref(api: &Api) -> Self {
        Self::clone(&api.rendered)
    }
}
