#![doc = include_str!("../README.md")]

mod access;
mod bits;
mod digest;
mod document;
mod formats;
mod inspector;
pub mod json;
mod keys;
mod pattern;
mod policy_set;
mod rules;
mod ruleset;
mod selected;
mod testing;
pub mod transform;

pub use access::{Access, Subject};
pub use inspector::{
    Findings, HitAction, INNER_BYTES_MAX, INNER_EDITS_MAX, Inspector, RefuseCause, RefusedRecord, RuleHit,
    SELECTED_VALUES_MAX, SELECTION_BYTES_MAX, Scratch,
};
pub use keys::{Key, KeyRing, KeyUse};
pub use pattern::{Overlap, Pattern, PatternError, is_internal_topic};
pub use policy_set::{PolicyLimits, PolicySet, RULE_SETS_CACHED_MAX, Source, TOPICS_CACHED_MAX};
pub use rules::{Direction, RuleId};
pub use ruleset::{PLACEHOLDER, RuleSet};
pub use testing::TestOutcome;
#[doc(hidden)]
pub use testing::fuzz::{fuzz_formats, fuzz_json_acceptance};
