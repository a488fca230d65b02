//! Negative controls: one mode per proof, to see it fail. Only in builds with the feature `sabotage`.

#[cfg(not(debug_assertions))]
compile_error!("the feature `sabotage` switches protections off and must never be in a shipped build");

/// A protection that is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// No rule applies to any record: the no-leak search must find every canary.
    MaskOff,
    /// Replies do not wait for their entries: the crash harness must find acknowledged records without one.
    AckBeforeEntry,
    /// weir's login to a broker is not renewed: the broker must cut the connection under the client.
    RenewOff,
}

impl Sabotage {
    /// The mode of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "mask-off" => Some(Self::MaskOff),
            "ack-before-entry" => Some(Self::AckBeforeEntry),
            "renew-off" => Some(Self::RenewOff),
            _ => None,
        }
    }
}
