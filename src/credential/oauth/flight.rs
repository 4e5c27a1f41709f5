//! A flight: one token call (two where the endpoint wants the client's credentials in the body), and the entry of what it brought in the books.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use tokio::sync::watch;

use super::endpoint::Failed;
use super::grant::{Grant, Landed, attend};
use super::policy;
use super::response::Granted;
use super::token::Token;
use crate::clock::BootTime;
use crate::credential::unavailable::{ErrorCode, InvalidAnswer, Reason};
use crate::domain::auth::ClientAuth;

const REFUSED_CLIENT: Reason = Reason::Refused(ErrorCode::InvalidClient);

/// A token, and the time when it was requested.
struct Minted {
    granted: Granted,
    asked: BootTime,
}

/// A flight under way. However it ends, a panic among the ways, its place in the books is cleared before anybody who waits for it learns of the end.
pub(super) struct Landing {
    grant: Arc<Grant>,
    landed: watch::Sender<Landed>,
}

impl Landing {
    pub(super) fn new(grant: Arc<Grant>) -> Self {
        Self {
            grant,
            landed: watch::Sender::new(None),
        }
    }

    /// To wait for it.
    pub(super) fn watch(&self) -> watch::Receiver<Landed> {
        self.landed.subscribe()
    }

    /// Asks, and enters the answer.
    pub(super) async fn fly(self) {
        let outcome = self.grant.ask().await;
        let landed = self.grant.enter(outcome);
        self.landed.send_replace(Some(landed));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mine = self.landed.subscribe();
        let mut books = self.grant.books();
        books.flight.take_if(|flight| flight.same_channel(&mine));
    }
}

impl Grant {
    async fn ask(&self) -> Result<(Minted, ClientAuth), Failed> {
        let style = self.books().style;
        let first = self.ask_once(style).await;
        let refused = matches!(&first, Err(failed) if failed.reason == REFUSED_CLIENT);
        match style {
            ClientAuth::Basic if refused => {
                let minted = self.ask_once(ClientAuth::Body).await?;
                Ok((minted, ClientAuth::Body))
            }
            ClientAuth::Basic | ClientAuth::Body => Ok((first?, style)),
        }
    }

    /// Requests a token once with the client's credentials in the other place than the one
    /// configured, and drops the token. Returns that place if it works. For `egressd probe`, after
    /// a refusal that may be about the client's credentials.
    pub async fn try_other_client_auth(&self) -> Option<ClientAuth> {
        let other = match self.style {
            ClientAuth::Basic => ClientAuth::Body,
            ClientAuth::Body => ClientAuth::Basic,
        };
        self.ask_once(other).await.is_ok().then_some(other)
    }

    async fn ask_once(&self, style: ClientAuth) -> Result<Minted, Failed> {
        let asked = self.clock.now();
        let answered = self.source.ask(style).await;
        let count = if answered.is_ok() {
            &self.granted
        } else {
            &self.failed
        };
        count.fetch_add(1, Relaxed);
        answered.map(|granted| Minted { granted, asked })
    }

    /// Enters what a flight brought into the books and the cache, in one step.
    fn enter(
        self: &Arc<Self>,
        outcome: Result<(Minted, ClientAuth), Failed>,
    ) -> Result<Arc<Token>, crate::credential::Unavailable> {
        let token = outcome.and_then(|(minted, style)| {
            if minted.granted.is_life_assumed {
                self.notices.life_assumed();
            }
            let token = Token::new(&minted.granted, minted.asked, &self.clock, policy::dice());
            if token.serves() {
                Ok((Arc::new(token), style))
            } else {
                Err(Reason::Invalid(InvalidAnswer::Expired).into())
            }
        });
        if let Ok((token, _)) = &token
            && let Some(secret) = token.searched()
        {
            // Registered before any request can use the token.
            let grant = Arc::as_ptr(self).addr();
            self.guard.add_token(grant, secret, token.left());
        }
        let mut books = self.books();
        books.flight = None;
        match token {
            Err(failed) => {
                // What worked once works no longer: the next flight begins anew.
                if failed.reason == REFUSED_CLIENT {
                    books.style = self.style;
                }
                let unavailable = books.fail(failed, &self.clock, policy::dice());
                self.notices.failed(&unavailable, books.failures());
                Err(unavailable)
            }
            Ok((token, style)) => {
                books.style = style;
                self.notices.obtained(books.failures(), token.left());
                books.failure = None;
                books.refreshed = Some(SystemTime::now());
                if token.left().is_some() {
                    self.token.store(Some(Arc::clone(&token)));
                    let (grant, kept) = (Arc::downgrade(self), Arc::downgrade(&token));
                    let attendant = self.runtime.spawn(attend(grant, kept));
                    // The task of the previous token may sleep for up to a day.
                    if let Some(old) = books.attendant.replace(attendant.abort_handle()) {
                        old.abort();
                    }
                }
                Ok(token)
            }
        }
    }
}
