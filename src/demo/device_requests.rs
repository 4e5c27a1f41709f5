//! The request of a device without a browser (RFC 8628): its codes, its interval and its state.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::oauth_error::OauthError;
use super::random::{random_bytes, random_secret};

/// The time that a person has to enter the user code.
pub(super) const DEVICE_REQUEST_LIFETIME: Duration = Duration::from_secs(600);
/// The first interval between two polls, and the amount by which `slow_down` extends it (§3.5).
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// The letters of a user code. Without vowels, no code becomes a word (§6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// The user code of every device request of a run, as in `BCDF-GHJK`. A real server generates a new
/// one for each request. Here it is the same, so that a command that approves a request can be
/// printed at start-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserCode(String);

/// The request that waits for a decision, or for the device to fetch its tokens.
pub(super) struct DeviceRequest {
    device_code: Zeroizing<String>,
    state: DeviceState,
    interval: Duration,
    last_poll: Option<Instant>,
    until: Instant,
}

/// The state of a device request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceState {
    Pending,
    /// The person with this account agreed.
    Approved(&'static str),
    Denied,
}

impl UserCode {
    /// Generates a code. Fails only if the system provides no randomness.
    pub(super) fn generate() -> io::Result<Self> {
        let bytes = random_bytes::<8>()?;
        // 256 is no multiple of 20, so some letters are slightly more frequent.
        let letters = bytes.iter().map(|byte| {
            let index = usize::from(*byte) % LETTERS.len();
            LETTERS.get(index).map_or('B', |letter| char::from(*letter))
        });
        let mut code: String = letters.collect();
        code.insert(4, '-');
        Ok(Self(code))
    }

    /// Returns whether a person entered this code. Case and punctuation do not matter (§6.1).
    pub(super) fn matches(&self, entered: &str) -> bool {
        let letters = |text: &str| {
            let letters = text.chars().filter(char::is_ascii_alphanumeric);
            letters.collect::<String>().to_ascii_uppercase()
        };
        letters(entered) == letters(&self.0)
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DeviceRequest {
    /// Creates a pending request, and returns it with its device code.
    pub(super) fn new(now: Instant) -> io::Result<(Self, Zeroizing<String>)> {
        let device_code = random_secret()?;
        let request = Self {
            device_code: device_code.clone(),
            state: DeviceState::Pending,
            interval: POLL_INTERVAL,
            last_poll: None,
            until: now + DEVICE_REQUEST_LIFETIME,
        };
        Ok((request, device_code))
    }

    /// Returns whether the request has this device code.
    pub(super) fn has_code(&self, device_code: &str) -> bool {
        *self.device_code == device_code
    }

    /// Records the person's decision. Returns `false` if the request has expired or was decided.
    pub(super) fn decide(&mut self, state: DeviceState, now: Instant) -> bool {
        let is_open = self.state == DeviceState::Pending && now < self.until;
        if is_open {
            self.state = state;
        }
        is_open
    }

    /// Returns the account that agreed. Otherwise returns the error for the device.
    pub(super) fn poll(&mut self, now: Instant) -> Result<&'static str, OauthError> {
        if now >= self.until {
            return Err(OauthError::ExpiredToken);
        }
        let last = self.last_poll.replace(now);
        if last.is_some_and(|last| now.saturating_duration_since(last) < self.interval) {
            self.interval += POLL_INTERVAL;
            return Err(OauthError::SlowDown);
        }
        match self.state {
            DeviceState::Pending => Err(OauthError::AuthorizationPending),
            DeviceState::Approved(account) => Ok(account),
            DeviceState::Denied => Err(OauthError::AccessDenied),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        DEVICE_REQUEST_LIFETIME, DeviceRequest, DeviceState, Duration, Instant, LETTERS,
        OauthError, POLL_INTERVAL, UserCode,
    };

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn a_user_code_is_compared_without_case_and_punctuation() {
        let code = UserCode::generate().unwrap();
        let text = code.to_string();
        assert_eq!((text.len(), text.find('-')), (9, Some(4)));
        let letters = text.replace('-', "");
        assert!(letters.bytes().all(|byte| LETTERS.contains(&byte)));
        for same in [&text, &letters, &format!(" {}\n", letters.to_lowercase())] {
            assert!(code.matches(same), "{same}");
        }
        for other in ["", "-", text.get(1..).unwrap(), &format!("{text}B")] {
            assert!(!code.matches(other), "{other}");
        }
    }

    #[test]
    fn a_device_that_polls_too_fast_has_to_slow_down() {
        let now = Instant::now();
        let (mut request, code) = DeviceRequest::new(now).unwrap();
        assert!(request.has_code(&code) && !request.has_code("made-up"));
        assert_eq!(request.poll(now), Err(OauthError::AuthorizationPending));
        let second = now + POLL_INTERVAL;
        assert_eq!(request.poll(second), Err(OauthError::AuthorizationPending));
        let early = second + POLL_INTERVAL - MOMENT;
        assert_eq!(request.poll(early), Err(OauthError::SlowDown));
        // The interval is longer now.
        let early = early + POLL_INTERVAL;
        assert_eq!(request.poll(early), Err(OauthError::SlowDown));
        assert!(request.decide(DeviceState::Approved("ada"), early));
        let late = early + 3 * POLL_INTERVAL;
        assert_eq!(request.poll(late), Ok("ada"));
    }

    #[test]
    fn a_request_is_decided_once_and_expires() {
        let now = Instant::now();
        let (mut request, _) = DeviceRequest::new(now).unwrap();
        assert!(request.decide(DeviceState::Denied, now));
        assert!(!request.decide(DeviceState::Approved("ada"), now));
        assert_eq!(request.poll(now), Err(OauthError::AccessDenied));
        let (mut request, _) = DeviceRequest::new(now).unwrap();
        let late = now + DEVICE_REQUEST_LIFETIME;
        assert!(!request.decide(DeviceState::Approved("ada"), late));
        assert_eq!(request.poll(late), Err(OauthError::ExpiredToken));
    }
}
