//! weir: a gateway in front of Apache Kafka that stops sensitive data from crossing it.

pub mod cli;
pub mod config;
