//! `weir init`: a first configuration and a first policy.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use weir_yaml::Problems;

use super::token;
use crate::config::{self, HostPort, Surroundings};

/// Arguments of `weir init`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Writes weir.yaml and policies/try.yaml into the current directory, and overwrites nothing.\n\n\
                  Exit codes: 0 written, 1 not written, 2 wrong usage.\n\n\
                  Examples:\n  weir init --upstream localhost:9092\n  weir init --upstream kafka-1.internal:9092 --with-tokens"
)]
pub struct InitArgs {
    /// A broker of the cluster
    #[arg(long, value_name = "HOST:PORT")]
    pub upstream: HostPort,
    /// Also let clients log in with tokens that `weir token --dev` makes
    #[arg(long)]
    pub with_tokens: bool,
    /// Overwrite the files that are there
    #[arg(long)]
    pub force: bool,
}

/// Writes the files and says what comes next.
pub fn run(args: &InitArgs, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
    let said = match write_all(args, Path::new("")) {
        Ok(()) => out.write_all(next(args).as_bytes()).map(|()| ExitCode::SUCCESS),
        Err(error) => writeln!(err, "error: {error}").map(|()| ExitCode::from(super::EXIT_ERRORS)),
    };
    // Whoever closed the output does not read this either.
    said.unwrap_or_else(|_| ExitCode::from(super::EXIT_ERRORS))
}

/// Why nothing useful was written.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("`{path}` is there already; move it away, or overwrite it with --force")]
    Exists { path: &'static str },
    #[error("cannot write `{path}`: {source}")]
    Write { path: &'static str, source: io::Error },
    #[error("{0}")]
    Token(#[from] token::TokenError),
    #[error("what was written does not pass `weir check`:\n{0}")]
    Wrong(Problems),
}

fn write_all(args: &InitArgs, directory: &Path) -> Result<(), InitError> {
    let files = [(WEIR_YAML, weir_yaml(args)), (TRY_YAML, try_yaml(args))];
    if let Some((path, _)) = files.iter().find(|(path, _)| !args.force && directory.join(path).exists()) {
        return Err(InitError::Exists { path });
    }
    for (path, text) in files {
        write(&directory.join(path), &text, args.force).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                InitError::Exists { path }
            } else {
                InitError::Write { path, source }
            }
        })?;
    }
    if args.with_tokens {
        token::key(&directory.join(DEV_JWKS))?;
    }
    let mut problems = Problems::default();
    config::load_and_compile(&directory.join(WEIR_YAML), &Surroundings::of_process(), &mut problems);
    problems.sort();
    if problems.errors() > 0 { Err(InitError::Wrong(problems)) } else { Ok(()) }
}

fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(!force).create(force).truncate(force);
    options.open(path)?.write_all(text.as_bytes())
}

fn weir_yaml(args: &InitArgs) -> String {
    let upstream = &args.upstream;
    if !args.with_tokens {
        return format!(
            "version: 1\nupstream: {{ bootstrap: [\"{upstream}\"] }}\n\
             listeners: [ {{ name: try, bind: \"{LISTENER}\", auth: {{ anonymous: {{}} }} }} ]\n\
             policies: [\"policies/*.yaml\"]\n"
        );
    }
    format!(
        "version: 1\nupstream: {{ bootstrap: [\"{upstream}\"] }}\nlisteners:\n  \
         - {{ name: try, bind: \"{LISTENER}\", auth: {{ anonymous: {{}} }} }}\n  \
         - {{ name: apps, bind: \"{TOKEN_LISTENER}\", auth: [oauthbearer] }}    # tokens:  weir token --dev --group checkout\n\
         identity:\n  issuers:\n    \
         - {{ issuer: weir-dev, audience: [kafka], jwks: {{ file: {DEV_JWKS} }}, algorithms: [ES256] }}\n\
         policies: [\"policies/*.yaml\"]\n"
    )
}

fn try_yaml(args: &InitArgs) -> String {
    let groups = if args.with_tokens { "anonymous, checkout" } else { "anonymous" };
    TRY_POLICY.replace("GROUPS", groups)
}

fn next(args: &InitArgs) -> String {
    let mut text = format!(
        "wrote {WEIR_YAML} and {TRY_YAML}\n\nnext:\n  \
         weir check          says what is wrong with them\n  \
         weir policy test    runs the test in {TRY_YAML}\n  \
         weir serve          then give clients {LISTENER} instead of {}\n",
        args.upstream
    );
    if args.with_tokens {
        text += &format!("  weir token --dev --group checkout    a token for clients of {TOKEN_LISTENER}\n");
    }
    text
}

const WEIR_YAML: &str = "weir.yaml";
const TRY_YAML: &str = "policies/try.yaml";
const DEV_JWKS: &str = "dev-jwks.json";
const LISTENER: &str = "127.0.0.1:9192";
/// Behind the brokers' ports of the other one.
const TOKEN_LISTENER: &str = "127.0.0.1:9292";

const TRY_POLICY: &str = r#"# Who may do what, and what happens to fields. docs/policies.md explains all of it.
version: 1
access:
  - name: everybody-here
    principals: { groups: [GROUPS] }
    allow:
      - produce: ["*"]
      - consume: ["*"]
        consumer_groups: ["*"]
rules:
  - name: card-numbers                         # values of `orders` must be JSON: what cannot be read is refused
    match: { topics: ["orders"], direction: both }
    fields:
      - { path: "$.card.number", transform: { mask: { keep_last: 4 } } }
tests:
  - name: a card number keeps its last four digits
    given: { topic: orders, direction: produce, groups: [anonymous], value: { card: { number: "4111111111111111" } } }
    expect: { value: { card: { number: "************1111" } }, rules: [card-numbers] }
"#;
