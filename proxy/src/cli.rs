//! The command line: one module per verb.

pub mod audit;
pub mod check;
pub mod init;
pub mod policy;
pub mod serve;
pub mod token;

/// Exit code of a verb that found errors. 0 is success, and wrong usage is 2, which the argument parser answers.
pub const EXIT_ERRORS: u8 = 1;

/// `1 rule`, `2 rules`.
pub(crate) fn count(number: usize, name: &str) -> String {
    format!("{number} {name}{}", if number == 1 { "" } else { "s" })
}
