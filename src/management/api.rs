//! What answers are made with: what they are made of, and what is kept between them.

use std::sync::Arc;

use axum::extract::FromRef;

use super::Sources;
use super::metrics::CachedRendering;
use super::query::Listings;
use super::tools::ToolCache;

/// The router's state. A handler that needs no more takes `State<Arc<Sources>>`.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) sources: Arc<Sources>,
    /// Lists whose next page may be asked for.
    pub(super) listings: Arc<Listings>,
    pub(super) tools: Arc<ToolCache>,
    /// The text of `/metrics`.
    pub(super) rendered: Arc<CachedRendering>,
}

impl Api {
    pub(super) fn new(sources: Sources) -> Self {
        Self {
            sources: Arc::new(sources),
            listings: Arc::new(Listings::new()),
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
