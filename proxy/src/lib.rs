//! weir: a gateway in front of Apache Kafka that stops sensitive data from crossing it.

mod admin;
pub mod cli;
pub mod config;
pub mod gateway;
mod output;
mod tls;
