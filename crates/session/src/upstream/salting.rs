//! Salting a password for SCRAM: tens of milliseconds of work, once for each salt that a broker gives out, never where others wait for it.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use weir_authn::{Challenge, SaltedPassword, ScramHash};

use super::UpstreamLogin;

/// Salted passwords that are kept: each user of a cluster has one salt per mechanism, and a new one with a new password.
const SALTED_PASSWORDS_MAX: usize = 8;

/// The salted passwords of one login, the oldest first.
#[derive(Default)]
pub(super) struct Kept(Mutex<VecDeque<Entry>>);

struct Entry {
    salt: Vec<u8>,
    iterations: NonZeroU32,
    /// Filled once, by whoever comes first.
    password: Arc<OnceLock<SaltedPassword>>,
}

/// A password to be salted, away from whatever else is to go on meanwhile.
pub struct Salting {
    login: Arc<UpstreamLogin>,
    hash: ScramHash,
    salt: Vec<u8>,
    iterations: NonZeroU32,
    password: Arc<OnceLock<SaltedPassword>>,
}

/// A salted password, to be handed back to whoever gave out the [`Salting`].
pub struct Salted(pub(super) SaltedPassword);

impl Kept {
    /// Where the password that is salted so is, or is going to be.
    fn of(&self, salt: &[u8], iterations: NonZeroU32) -> Arc<OnceLock<SaltedPassword>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.iter().find(|it| it.salt == salt && it.iterations == iterations) {
            return Arc::clone(&found.password);
        }
        if kept.len() >= SALTED_PASSWORDS_MAX {
            kept.pop_front();
        }
        let password = Arc::default();
        kept.push_back(Entry { salt: salt.to_vec(), iterations, password: Arc::clone(&password) });
        password
    }
}

impl Salting {
    /// What a broker's challenge asks for.
    pub(super) fn of(login: &Arc<UpstreamLogin>, hash: ScramHash, challenge: &Challenge) -> Self {
        let (salt, iterations) = (challenge.salt(), challenge.iterations());
        let password = login.salted.of(salt, iterations);
        Self { login: Arc::clone(login), hash, salt: salt.to_vec(), iterations, password }
    }

    /// The password, if it was salted so before.
    pub(super) fn done(&self) -> Option<Salted> {
        self.password.get().cloned().map(Salted)
    }

    /// Does the work. Whoever comes meanwhile with the same waits for it instead of doing it once more.
    #[must_use]
    pub fn run(self) -> Salted {
        let salted = || SaltedPassword::new(self.hash, &self.login.password, &self.salt, self.iterations);
        Salted(self.password.get_or_init(salted).clone())
    }
}

impl fmt::Debug for Salting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Salting").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl fmt::Debug for Salted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salted(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::UpstreamMechanism;

    fn login() -> Arc<UpstreamLogin> {
        let mechanism = UpstreamMechanism::Scram(ScramHash::Sha256);
        Arc::new(UpstreamLogin::new(mechanism, "weir".to_owned(), "hunter2".to_owned().into()))
    }

    fn challenge(salt: usize, iterations: u32) -> Challenge {
        let first = weir_authn::ClientFirst::new(ScramHash::Sha256, "weir", "abc".to_owned());
        let salt = ["YQ==", "Yg==", "Yw==", "ZA==", "ZQ==", "Zg==", "Zw==", "aA==", "aQ=="][salt];
        first.challenge(format!("r=abcd,s={salt},i={iterations}").as_bytes()).unwrap()
    }

    #[test]
    fn salted_passwords_are_kept_up_to_a_number() {
        let login = login();
        let kept = || login.salted.0.lock().unwrap();
        for salt in 0..=SALTED_PASSWORDS_MAX {
            let first = Salting::of(&login, ScramHash::Sha256, &challenge(salt, 4096));
            assert!(first.done().is_none());
            drop(first.run());
            assert!(Salting::of(&login, ScramHash::Sha256, &challenge(salt, 4096)).done().is_some());
            assert_eq!(kept().len(), (salt + 1).min(SALTED_PASSWORDS_MAX));
        }
        assert_eq!(kept().front().unwrap().salt, b"b", "the oldest went");
        assert!(Salting::of(&login, ScramHash::Sha256, &challenge(8, 4097)).done().is_none(), "another form of it");
    }

    #[test]
    fn nobody_waits_for_the_salting_of_another_password() {
        let login = login();
        let (slow, quick) = (challenge(0, 100_000), challenge(1, 4096));
        let slow = Salting::of(&login, ScramHash::Sha256, &slow);
        // As long as the first is at work, the place where all are kept is free, and so is the other's own.
        let (password, begun) = (Arc::clone(&slow.password), std::sync::Barrier::new(2));
        let end = Mutex::new(());
        std::thread::scope(|scope| {
            let held = end.lock().unwrap();
            let works = scope.spawn(|| {
                password.get_or_init(|| {
                    begun.wait();
                    drop(end.lock());
                    SaltedPassword::new(slow.hash, &login.password, &slow.salt, NonZeroU32::MIN)
                });
            });
            begun.wait();
            drop(Salting::of(&login, ScramHash::Sha256, &quick).run());
            assert!(Salting::of(&login, ScramHash::Sha256, &quick).done().is_some());
            assert!(password.get().is_none() && !works.is_finished(), "the control: it is still at work");
            drop(held);
        });
        assert!(slow.done().is_some());
        assert_eq!(format!("{slow:?} {:?}", slow.done()), "Salting { iterations: 100000, .. } Some(Salted(..))");
    }
}
