//! weir's own login to the brokers (SASL/PLAIN, RFC 4616; SCRAM, RFC 5802; KIP-152, KIP-368).
//!
//! ```text
//!   SaslHandshake 1 ─► SaslAuthenticate (PLAIN) ─────────────────────────────────────► in
//!                  └─► SaslAuthenticate (client first) ─► SaslAuthenticate (client final) ─► signature checked ─► in
//! ```
//!
//! [`UpstreamLogin`] is who weir is to the brokers; an [`Exchange`] is one login, of a session's broker connection or of the control
//! connection. It makes requests and takes their answers, one at a time, and knows no socket. What costs milliseconds, salting a password, it
//! leaves to its caller as a [`Salting`], unless that was done before.

mod exchange;
mod salting;

use std::fmt;
use std::time::Duration;

use weir_authn::{ScramError, ScramHash};
use zeroize::Zeroizing;

use crate::time::Now;

use self::salting::Kept;

pub(crate) use exchange::{Ask, Exchange, Progress, Versions};
pub use salting::{Salted, Salting};

/// Characters of a broker's own words that are repeated in a message.
const BROKER_TEXT_CHARS_MAX: usize = 200;

/// How weir proves to the brokers who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamMechanism {
    /// The password itself is sent.
    Plain,
    /// A proof is sent, and the broker must prove that it knows the password too.
    Scram(ScramHash),
}

impl UpstreamMechanism {
    /// The name that SASL has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(ScramHash::Sha256) => "SCRAM-SHA-256",
            Self::Scram(ScramHash::Sha512) => "SCRAM-SHA-512",
        }
    }
}

/// Who weir is to the brokers. Its `Debug` shows neither the password nor what is made of it.
pub struct UpstreamLogin {
    mechanism: UpstreamMechanism,
    username: String,
    password: Zeroizing<String>,
    salted: Kept,
}

impl UpstreamLogin {
    /// A login with a password. It remembers what is costly to make of it: one of these serves all connections until the password
    /// is replaced.
    pub fn new(mechanism: UpstreamMechanism, username: String, password: Zeroizing<String>) -> Self {
        Self { mechanism, username, password, salted: Kept::default() }
    }

    /// How it proves itself.
    pub fn mechanism(&self) -> UpstreamMechanism {
        self.mechanism
    }

    /// Its name to the brokers.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Whether this is the same user, proven in the same way; the password may be another. Brokers let a connection log in again as
    /// nobody else (KIP-368).
    pub fn is_same_user(&self, other: &Self) -> bool {
        self.mechanism == other.mechanism && self.username == other.username
    }

    /// Whether it is that password.
    pub fn has_password(&self, password: &str) -> bool {
        *self.password == password
    }

    /// What a broker says, fit for one line of a log: cut, without control characters, and not at all if it repeats the password.
    fn quoted(&self, words: &str) -> String {
        if !self.password.is_empty() && words.contains(self.password.as_str()) {
            return "(it repeats the password, so it is not shown)".to_owned();
        }
        let mut text = words
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .take(BROKER_TEXT_CHARS_MAX)
            .collect::<String>();
        if words.chars().nth(BROKER_TEXT_CHARS_MAX).is_some() {
            text.push('…');
        }
        text
    }
}

impl fmt::Debug for UpstreamLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamLogin")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Why a broker does not let weir in. No message holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamLoginError {
    /// The broker does not take the mechanism.
    #[error("the broker does not take {mechanism} on this port; it takes {offered}")]
    MechanismRefused {
        /// What was asked for.
        mechanism: &'static str,
        /// What the broker says that it takes.
        offered: String,
    },
    /// The broker takes no login on this port.
    #[error("the broker takes no login on this port (error 34): it is one for clients without SASL")]
    NotExpected,
    /// The broker refused.
    #[error("the broker refused the login of `{username}` with {mechanism}: error {code}: {message}")]
    Refused {
        /// The mechanism.
        mechanism: &'static str,
        /// Who tried to log in.
        username: String,
        /// Kafka's error code.
        code: i16,
        /// What the broker says, cut and without control characters.
        message: String,
    },
    /// The SCRAM exchange went wrong.
    #[error("the login of `{username}` with {mechanism} was given up: {source}")]
    Scram {
        /// The mechanism.
        mechanism: &'static str,
        /// Who tried to log in.
        username: String,
        /// What went wrong.
        source: ScramError,
    },
    /// The broker's answer cannot be read.
    #[error("the broker's answer to the login cannot be read: {0}")]
    Malformed(String),
    /// The broker does not know the version that weir needs.
    #[error("the broker does not serve {api} version {needed}, which weir needs to log in")]
    TooOld {
        /// Which API.
        api: &'static str,
        /// Which version.
        needed: i16,
    },
    /// The configuration names another user by now.
    #[error("`upstream.auth` names another user or mechanism now; connections log in anew")]
    OtherUser,
}

/// The logins of one broker connection: what they need of chance, and when the next is due.
#[derive(Debug)]
pub(crate) struct Schedule {
    seed: [u8; 32],
    begun: u64,
    again_at: Option<Duration>,
}

impl Schedule {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { seed, begun: 0, again_at: None }
    }

    /// A login begins: its nonce. None is due until it is through.
    pub(crate) fn begin(&mut self) -> String {
        self.begun += 1;
        self.again_at = None;
        self.random(b"nonce").to_hex().to_string()
    }

    /// A login is through: after about three quarters of its lifetime the next is due, so that what is open then has the last
    /// quarter to be answered. Not all connections at once, though they may all have begun when the brokers came up.
    pub(crate) fn logged_in(&mut self, lifetime: Option<Duration>, now: Now) {
        self.again_at = lifetime.map(|lifetime| {
            let jitter = self.random(b"moment").as_bytes().iter().fold(0_u64, |sum, byte| sum + u64::from(*byte));
            let permille = RENEW_PERMILLE_MIN + jitter % (RENEW_PERMILLE_MAX - RENEW_PERMILLE_MIN + 1);
            let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
            let wait = Duration::from_millis((lifetime_ms / 1000).saturating_mul(permille))
                + Duration::from_millis(lifetime_ms % 1000 * permille / 1000);
            now.monotonic.saturating_add(wait.max(RENEW_PAUSE_MIN))
        });
    }

    /// When the next login is due, on the monotonic clock.
    pub(crate) fn again_at(&self) -> Option<Duration> {
        self.again_at
    }

    /// No further login: the connection is ending.
    pub(crate) fn stop(&mut self) {
        self.again_at = None;
    }

    fn random(&self, purpose: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.seed, &[b"broker login ", purpose, &self.begun.to_be_bytes()[..]].concat())
    }
}

/// The part of a login's lifetime after which it is renewed, in thousandths: three quarters, give or take.
const RENEW_PERMILLE_MIN: u64 = 700;
const RENEW_PERMILLE_MAX: u64 = 800;

/// Least time between two logins: within a second a broker takes the handshake for a mistake (KIP-368).
const RENEW_PAUSE_MIN: Duration = Duration::from_millis(1100);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { monotonic: Duration::from_secs(100), wall: Duration::from_secs(1_700_000_000) };

    fn login(password: &str) -> UpstreamLogin {
        let password = Zeroizing::new(password.to_owned());
        UpstreamLogin::new(UpstreamMechanism::Scram(ScramHash::Sha256), "weir".to_owned(), password)
    }

    #[test]
    fn a_login_is_renewed_between_seven_and_eight_tenths_of_its_life() {
        let wait = |seed: u8, lifetime: Duration| {
            let mut schedule = Schedule::new([seed; 32]);
            schedule.begin();
            schedule.logged_in(Some(lifetime), NOW);
            schedule.again_at().unwrap() - NOW.monotonic
        };
        let waits = (0..100).map(|seed| wait(seed, Duration::from_secs(30))).collect::<Vec<_>>();
        assert!(waits.iter().all(|wait| (21_000..=24_000).contains(&wait.as_millis())), "{waits:?}");
        assert!(waits.iter().collect::<std::collections::HashSet<_>>().len() > 20, "not all at once");
        assert_eq!(wait(1, Duration::from_millis(1)), RENEW_PAUSE_MIN, "a broker takes no two handshakes in a second");
        assert!(wait(1, Duration::from_millis(u64::MAX)) > Duration::from_secs(1 << 40), "no overflow");
        let mut schedule = Schedule::new([1; 32]);
        schedule.logged_in(None, NOW);
        assert_eq!(schedule.again_at(), None);
    }

    #[test]
    fn no_two_logins_have_one_nonce() {
        let (mut one, mut other) = (Schedule::new([1; 32]), Schedule::new([2; 32]));
        let nonces = [one.begin(), one.begin(), other.begin(), other.begin()];
        let distinct = nonces.iter().collect::<std::collections::HashSet<_>>();
        assert_eq!(distinct.len(), nonces.len());
        assert!(nonces.iter().all(|nonce| nonce.len() == 64 && nonce.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }

    #[test]
    fn neither_debug_nor_a_brokers_words_show_the_password() {
        let login = login("hunter2");
        assert_eq!(format!("{login:?}"), "UpstreamLogin { mechanism: Scram(Sha256), username: \"weir\", .. }");
        assert!(!login.quoted("no: hunter2 is wrong").contains("hunter2"));
        assert_eq!(login.quoted("a\nb\u{1b}[31m"), "a b [31m");
        let (whole, long) = ("x".repeat(BROKER_TEXT_CHARS_MAX), "x".repeat(BROKER_TEXT_CHARS_MAX + 1));
        assert_eq!(login.quoted(&whole), whole);
        assert_eq!(login.quoted(&long), format!("{whole}…"));
    }
}
