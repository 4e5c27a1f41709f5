//! Load anew, compile whole, publish in one step; or keep the last good generation and say why.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{self, LoadOptions, Problem, Severity};
use crate::snapshot::Published;
use crate::telemetry::problem_log::Finding;
use crate::telemetry::{Event, Metrics, ProblemLog};

/// Where definitions come from and where they go.
pub struct Reload {
    /// Held while one reload runs: each generation is made from the one before.
    options: Mutex<LoadOptions>,
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    problems: ProblemLog,
}

/// A reload that was good.
#[derive(Debug)]
pub struct Reloaded {
    /// The new generation's number.
    pub generation: u64,
    /// Its live connections.
    pub connections: usize,
}

impl Reload {
    /// Reads again what these options name, and tells how it went. Settings other than where definitions are have no effect before the next start.
    pub fn new(
        options: LoadOptions,
        published: Arc<Published>,
        metrics: Arc<Metrics>,
        problems: ProblemLog,
    ) -> Self {
        Self {
            options: Mutex::new(options),
            published,
            metrics,
            problems,
        }
    }

    /// Reads files and compiles: takes its time, and belongs on a thread that serves nobody. With any problem nothing changes.
    pub fn run(&self) -> Result<Reloaded, Vec<Problem>> {
        let reloaded = self.publish();
        self.metrics.reloaded(reloaded.is_ok());
        match &reloaded {
            Ok(reloaded) => self.problems.tell(Event::Reloaded {
                generation: reloaded.generation,
                connections: reloaded.connections,
            }),
            Err(found) => {
                warn(found, &self.problems);
                let errors = found.iter().filter(|found| is_error(found));
                self.problems.tell(Event::ReloadFailed {
                    problems: errors.count(),
                });
            }
        }
        reloaded
    }

    fn publish(&self) -> Result<Reloaded, Vec<Problem>> {
        let options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = config::load(&options)?;
        warn(&loaded.warnings, &self.problems);
        let next = self.published.current().succeed(loaded.connections);
        let generation = next.generation();
        let live = next.entries().iter().filter(|entry| entry.is_live());
        let connections = live.count();
        self.published.publish(next);
        Ok(Reloaded {
            generation,
            connections,
        })
    }
}

/// Tells the log of findings.
pub fn warn(found: &[Problem], log: &ProblemLog) {
    for problem in found {
        let finding = Box::new(Finding {
            code: problem.code,
            file: problem.file.clone(),
            line: problem.line,
            field: problem.field.clone(),
            message: problem.message.clone(),
            remedy: problem.remedy.clone(),
        });
        log.tell(if is_error(problem) {
            Event::ConfigProblem(finding)
        } else {
            Event::ConfigWarning(finding)
        });
    }
}

fn is_error(problem: &Problem) -> bool {
    problem.severity == Severity::Error
}
