//! Load anew, compile whole, publish in one step; or keep the last good generation and say why.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{self, LoadOptions, Problem};
use crate::snapshot::Published;

/// Where definitions come from and where they go.
pub struct Reload {
    /// Held while one reload runs: each generation is made from the one before.
    options: Mutex<LoadOptions>,
    published: Arc<Published>,
}

/// A reload that was good.
#[derive(Debug)]
pub struct Reloaded {
    /// The new generation's number.
    pub generation: u64,
    /// Its live connections.
    pub connections: usize,
    /// What the operator should know.
    pub warnings: Vec<Problem>,
}

impl Reload {
    /// Reads again what these options name. Settings other than where definitions are have no effect before the next start.
    pub fn new(options: LoadOptions, published: Arc<Published>) -> Self {
        Self {
            options: Mutex::new(options),
            published,
        }
    }

    /// Reads files and compiles: takes its time, and belongs on a thread that serves nobody. With any problem nothing changes.
    pub fn run(&self) -> Result<Reloaded, Vec<Problem>> {
        let options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = config::load(&options)?;
        let next = self.published.current().succeed(loaded.connections);
        let generation = next.generation();
        let live = next.entries().iter().filter(|entry| entry.is_live());
        let connections = live.count();
        self.published.publish(next);
        Ok(Reloaded {
            generation,
            connections,
            warnings: loaded.warnings,
        })
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            generation,
            connections,
            ..
        } = self;
        write!(f, "generation {generation}: {connections} live connections")
    }
}
