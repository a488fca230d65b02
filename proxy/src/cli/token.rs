//! `weir token --dev`: a token signed by a local key, for an issuer whose key set is a file.

mod key;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use weir_authn::ClaimPath;
use weir_yaml::{Problems, parse_duration};

pub(super) use self::key::{TokenError, key};
use crate::config::{DevIssuer, dev_issuers};

/// Arguments of `weir token`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Only for an issuer whose `jwks` is a file: the key is made at first use, kept beside that file, and its public \
                  half is added to it. Anybody with that key can log in: not for production.\n\n\
                  The token, and nothing else, goes to standard output.\n\n\
                  Exit codes: 0 a token, 1 none, 2 wrong usage.\n\n\
                  Examples:\n  weir token --dev --group checkout\n  \
                  weir token --dev --group checkout --subject checkout-1 --expires-in 10m > token.jwt"
)]
pub struct TokenArgs {
    /// Says that a key on this machine may sign
    #[arg(long, required = true)]
    pub dev: bool,
    /// A group of the token's owner; may be given again
    #[arg(long, value_name = "GROUP")]
    pub group: Vec<String>,
    /// The token's owner
    #[arg(long, value_name = "NAME", default_value = "dev")]
    pub subject: String,
    /// How long it is good; at most a day
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = lifetime)]
    pub expires_in: Duration,
    /// Which issuer, when several have their keys in files
    #[arg(long, value_name = "NAME")]
    pub issuer: Option<String>,
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "weir.yaml")]
    pub config: PathBuf,
}

/// A token for trying things need not live longer: it cannot be withdrawn alone.
const LIFETIME_MAX: Duration = Duration::from_secs(86_400);

fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse_duration(text).map_err(|error| format!("it {error}; as in 10m or 1h"))?;
    if lifetime < Duration::from_secs(1) || lifetime > LIFETIME_MAX {
        return Err("it must be from 1s to 1d".to_owned());
    }
    Ok(lifetime)
}

/// Prints a token.
pub fn run(args: &TokenArgs, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
    let said = match token(args) {
        Ok((token, note)) => {
            let noted = note.map_or(Ok(()), |note| writeln!(err, "{note}"));
            noted.and_then(|()| writeln!(out, "{token}")).map(|()| ExitCode::SUCCESS)
        }
        Err(error) => writeln!(err, "error: {error}").map(|()| ExitCode::from(super::EXIT_ERRORS)),
    };
    // Whoever closed the output does not read this either.
    said.unwrap_or_else(|_| ExitCode::from(super::EXIT_ERRORS))
}

/// The token, and what is to be said beside it.
fn token(args: &TokenArgs) -> Result<(String, Option<String>), TokenError> {
    let mut problems = Problems::default();
    let issuers = dev_issuers(&args.config, &mut problems);
    if problems.errors() > 0 {
        return Err(TokenError::Config(problems.to_string().trim_end().to_owned()));
    }
    let issuer = choose(issuers, args.issuer.as_deref())?;
    let Some(jwks) = &issuer.jwks else { return Err(TokenError::NotAFile { issuer: issuer.issuer }) };
    if !issuer.algorithms.iter().any(|name| name == ALGORITHM) {
        return Err(TokenError::Algorithm { issuer: issuer.issuer });
    }
    let made = key(jwks)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let header = json!({ "alg": ALGORITHM, "typ": "JWT", "kid": made.id });
    let parts = [header.to_string(), claims(args, &issuer, now).to_string()];
    let signed = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = made.sign(signed.as_bytes())?;
    Ok((format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)), made.note))
}

fn choose(issuers: Vec<DevIssuer>, name: Option<&str>) -> Result<DevIssuer, TokenError> {
    if let Some(name) = name {
        let found = issuers.into_iter().find(|issuer| issuer.issuer == name);
        return found.ok_or_else(|| TokenError::NoSuchIssuer { issuer: name.to_owned() });
    }
    let names = issuers.iter().map(|issuer| format!("`{}`", issuer.issuer)).collect::<Vec<_>>().join(", ");
    let (mut of_files, others): (Vec<_>, Vec<_>) = issuers.into_iter().partition(|issuer| issuer.jwks.is_some());
    match (of_files.pop(), of_files.is_empty(), others.into_iter().next()) {
        (Some(issuer), true, _) => Ok(issuer),
        (Some(_), false, _) => Err(TokenError::Several { names }),
        (None, _, Some(other)) => Err(TokenError::NotAFile { issuer: other.issuer }),
        (None, _, None) => Err(TokenError::NoIssuer),
    }
}

fn claims(args: &TokenArgs, issuer: &DevIssuer, now: Duration) -> Value {
    let now = now.as_secs();
    let mut claims = Map::new();
    for (path, value) in [(&issuer.groups, json!(args.group)), (&issuer.principal, json!(args.subject))] {
        if let Some(path) = ClaimPath::parse(path) {
            put(&mut claims, path.names(), value);
        }
    }
    claims.insert("iss".to_owned(), json!(issuer.issuer));
    claims.insert("aud".to_owned(), json!([issuer.audience]));
    claims.entry("sub").or_insert_with(|| json!(args.subject));
    claims.insert("iat".to_owned(), json!(now));
    claims.insert("exp".to_owned(), json!(now.saturating_add(args.expires_in.as_secs())));
    Value::Object(claims)
}

/// Puts a claim at its path.
fn put(claims: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => drop(claims.insert(name.clone(), value)),
        [first, rest @ ..] => {
            let below = claims.entry(first).or_insert_with(|| json!({}));
            if !below.is_object() {
                *below = json!({});
            }
            if let Value::Object(below) = below {
                put(below, rest, value);
            }
        }
    }
}

/// What the key signs with.
const ALGORITHM: &str = "ES256";
