//! What goes wrong between two sides of TLS, in the words of whoever has to repair it. One line each, no byte of what was sent.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums are rustls's, and nothing is decided here: the rest has words of its own"
)]

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// Why a handshake that weir began failed.
pub(crate) fn explain_handshake(error: &io::Error) -> String {
    if let Some(error) = rustls_error(error) {
        return explain(error);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "it closed the connection when TLS began; is that a port without TLS?".to_owned()
        }
        _ => format!("the TLS handshake failed: {}", error.to_string().to_lowercase()),
    }
}

/// The error of rustls inside one of I/O.
pub(crate) fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref::<Error>()
}

/// Why TLS with a broker failed.
pub(crate) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidMessage(_) => "it does not speak TLS there; is that a port without TLS?".to_owned(),
        Error::AlertReceived(alert) => refused(*alert),
        Error::PeerIncompatible(
            PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::Tls12NotOfferedOrEnabled,
        ) => "it speaks no version of TLS that `upstream.tls.min_version` allows".to_owned(),
        other => format!("TLS failed: {other}"),
    }
}

/// What is wrong with the certificate that a broker showed.
fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by nobody whom weir trusts; is `upstream.tls.ca` the authority of this cluster?"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is not for `{}` but for {}; set `upstream.tls.server_name`, or reach it by such a name",
            expected.to_str(),
            names(presented)
        ),
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate expired on {}", date(*not_after))
        }
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is not valid before {}; is the clock right?", date(*not_before))
        }
        CertificateError::NotValidYet => "its certificate is not valid yet; is the clock right?".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not made for servers (extended key usage)".to_owned()
        }
        other => format!("its certificate is refused: {other}"),
    }
}

/// Names that a certificate bears, most of them at least.
pub(crate) fn names(presented: &[String]) -> String {
    let shown = presented.iter().take(NAMES_SHOWN_MAX).map(|name| plain_name(name)).collect::<Vec<_>>().join(", ");
    match presented.len().saturating_sub(NAMES_SHOWN_MAX) {
        _ if presented.is_empty() => "no name at all".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// `DnsName("a.example")` as `a.example`; a peer's certificate may hold anything, a line of a log may not.
fn plain_name(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    let legal = |letter: &char| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\' | '`');
    inner.chars().filter(legal).take(NAME_CHARACTERS_MAX).collect()
}

/// What the peer's alert says about weir.
fn refused(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "it wants a certificate of weir; add  cert: …, key: …  to `upstream.tls`".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => {
            format!("it refuses weir's certificate, `upstream.tls.cert`, or its absence (alert {})", words(alert))
        }
        AlertDescription::ProtocolVersion => "it refuses the versions of TLS that weir offers".to_owned(),
        other => format!("it broke TLS off (alert {})", words(other)),
    }
}

/// `unknown ca` of `UnknownCA`.
pub(crate) fn words(alert: AlertDescription) -> String {
    let name = alert.as_str().unwrap_or("without a name");
    let mut words = String::new();
    let mut after_capital = true;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !after_capital {
            words.push(' ');
        }
        after_capital = letter.is_ascii_uppercase();
        words.push(letter.to_ascii_lowercase());
    }
    words
}

fn date(time: UnixTime) -> String {
    super::date(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

/// Names of a certificate that one line shows.
const NAMES_SHOWN_MAX: usize = 8;
/// Characters of a name: those of the longest DNS name.
const NAME_CHARACTERS_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_written_as_words() {
        for (alert, expected) in [
            (AlertDescription::UnknownCA, "unknown ca"),
            (AlertDescription::BadCertificate, "bad certificate"),
            (AlertDescription::Unknown(200), "without a name"),
        ] {
            assert_eq!(words(alert), expected);
        }
    }

    #[test]
    fn a_hostile_name_cannot_break_a_line() {
        let hostile = "DnsName(\"a\n\u{1b}[31mb`\")".to_owned();
        assert_eq!(names(&[hostile]), "a[31mb");
        assert_eq!(names(&[]), "no name at all");
        let many: Vec<String> = (0..10).map(|n| format!("DnsName(\"{n}.test\")")).collect();
        assert!(names(&many).ends_with("7.test and 2 more"), "{}", names(&many));
        assert_eq!(names(&[format!("DnsName(\"{}\")", "a".repeat(400))]).len(), NAME_CHARACTERS_MAX);
    }
}
