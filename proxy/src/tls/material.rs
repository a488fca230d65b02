//! Certificates, keys and authorities, read from PEM files and checked as far as that goes without a peer.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys};
use zeroize::Zeroizing;

use super::explain::names;
use super::validity::{Validity, date};
use crate::config::{Files, SecretFileError};

/// A certificate with those that signed it, and its key.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) certified: CertifiedKey,
    pub(crate) validity: Validity,
}

/// Why files are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MaterialError {
    #[error("cannot read {what} `{}`: {reason}", path.display())]
    Unreadable { what: What, path: PathBuf, reason: String },
    #[error("key file `{}` is open to every user of this machine", .0.display())]
    OpenToOthers(PathBuf),
    #[error("there is no certificate in `{}`", .0.display())]
    NoCertificate(PathBuf),
    #[error("{what} `{}` cannot be used: it is not a certificate in X.509", path.display())]
    NotCertificate { what: What, path: PathBuf },
    #[error("there is no private key in `{}`", .0.display())]
    NoKey(PathBuf),
    #[error("the private key in `{}` is encrypted", .0.display())]
    KeyEncrypted(PathBuf),
    #[error("the private key in `{}` cannot be used", .0.display())]
    KeyUnusable(PathBuf),
    #[error("key `{}` does not belong to certificate `{}`", key.display(), cert.display())]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("certificate `{}` expired on {}", path.display(), date(*not_after))]
    Expired { path: PathBuf, not_after: i64 },
    #[error("this system has no certificate authorities")]
    NoSystemAuthorities,
}

/// What a file was to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Certificate,
    Key,
    Authorities,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::Authorities => "certificate authority",
        })
    }
}

impl MaterialError {
    /// Which file it is about.
    pub(crate) fn what(&self) -> What {
        match self {
            Self::Unreadable { what, .. } | Self::NotCertificate { what, .. } => *what,
            Self::NoCertificate(_) | Self::Expired { .. } => What::Certificate,
            Self::OpenToOthers(_)
            | Self::NoKey(_)
            | Self::KeyEncrypted(_)
            | Self::KeyUnusable(_)
            | Self::Mismatch { .. } => What::Key,
            Self::NoSystemAuthorities => What::Authorities,
        }
    }

    /// What to do about it.
    pub(crate) fn cure(&self) -> String {
        match self {
            Self::Unreadable { .. } => String::new(),
            Self::OpenToOthers(path) => {
                format!("its owner and group are enough:  chmod o-rwx {}", path.display())
            }
            Self::NoCertificate(_) => "PEM text, with  -----BEGIN CERTIFICATE-----".to_owned(),
            Self::NotCertificate { path, .. } => format!("see  openssl x509 -noout -text -in {}", path.display()),
            Self::NoKey(_) => "PEM text, with  -----BEGIN PRIVATE KEY-----".to_owned(),
            Self::KeyEncrypted(path) => format!("decrypt it:  openssl pkey -in {} -out FILE", path.display()),
            Self::KeyUnusable(_) => "RSA of 2048 bits and more, ECDSA on P-256, P-384 or P-521, or Ed25519".to_owned(),
            Self::Mismatch { .. } => {
                "these two print the same when they belong together:  openssl x509 -noout -pubkey \
                                      -in CERT  and  openssl pkey -pubout -in KEY"
                    .to_owned()
            }
            Self::Expired { .. } => "put a new one in its place".to_owned(),
            Self::NoSystemAuthorities => "install them (ca-certificates), or name your own:  ca: FILE".to_owned(),
        }
    }
}

/// Reads a certificate chain, the own certificate first, and its key.
///
/// # Errors
///
/// When either is missing or unusable, or they do not belong together. Not when it has expired: that is the caller's to judge.
pub(crate) fn load_identity(files: &Files, cert: &Path, key: &Path) -> Result<Identity, MaterialError> {
    let chain = read_certificates(files, cert, What::Certificate)?;
    let key_der = read_key(files, key)?;
    let unusable = || MaterialError::KeyUnusable(key.to_owned());
    let bad_certificate = || MaterialError::NotCertificate { what: What::Certificate, path: cert.to_owned() };
    let validity = chain.first().and_then(|own| Validity::of(own)).ok_or_else(bad_certificate)?;
    let certified = CertifiedKey::new(chain, any_supported_type(&key_der).map_err(|_| unusable())?);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Identity { certified, validity }),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(MaterialError::Mismatch { cert: cert.to_owned(), key: key.to_owned() })
        }
        Err(Error::InvalidCertificate(_)) => Err(bad_certificate()),
        Err(_) => Err(unusable()),
    }
}

impl Identity {
    /// Why clients that reach weir by this name would refuse the certificate: the names that it bears instead.
    pub(crate) fn names_other_than(&self, host: &str) -> Option<String> {
        let name = ServerName::try_from(host).ok()?;
        let certificate = ParsedCertificate::try_from(self.certified.end_entity_cert().ok()?).ok()?;
        match rustls::client::verify_server_name(&certificate, &name) {
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) => {
                Some(names(&presented))
            }
            Ok(()) | Err(_) => None,
        }
    }
}

/// The authorities that brokers' certificates are checked against: those of a file, or of the system. With the moment at which the
/// first of a file ends.
///
/// # Errors
///
/// When there are none.
pub(crate) fn load_authorities(
    files: &Files,
    ca: Option<&Path>,
) -> Result<(RootCertStore, Option<i64>), MaterialError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        // Single ones that cannot be read are the system's affair; with none at all nothing could be checked.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() { Err(MaterialError::NoSystemAuthorities) } else { Ok((roots, None)) };
    };
    let mut ends = None;
    for certificate in read_certificates(files, path, What::Authorities)? {
        let validity = Validity::of(&certificate);
        if roots.add(certificate).is_err() {
            return Err(MaterialError::NotCertificate { what: What::Authorities, path: path.to_owned() });
        }
        ends = ends.into_iter().chain(validity.map(|validity| validity.not_after)).min();
    }
    Ok((roots, ends))
}

fn read_certificates(files: &Files, path: &Path, what: What) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let text = files.read_text(path, PEM_BYTES_MAX).map_err(|reason| MaterialError::Unreadable {
        what,
        path: path.to_owned(),
        reason,
    })?;
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(MaterialError::NoCertificate(path.to_owned())),
        Err(_) => Err(MaterialError::NotCertificate { what, path: path.to_owned() }),
    }
}

/// The key, which is cleared once what signs with it was made.
fn read_key(files: &Files, path: &Path) -> Result<Zeroizing<PrivateKeyDer<'static>>, MaterialError> {
    let text = files.read_secret(path, PEM_BYTES_MAX).map_err(|error| match error {
        SecretFileError::OpenToOthers => MaterialError::OpenToOthers(path.to_owned()),
        SecretFileError::Unreadable(reason) => {
            MaterialError::Unreadable { what: What::Key, path: path.to_owned(), reason }
        }
    })?;
    match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(key) => Ok(Zeroizing::new(key)),
        Err(_) if text.contains("ENCRYPTED") => Err(MaterialError::KeyEncrypted(path.to_owned())),
        Err(_) => Err(MaterialError::NoKey(path.to_owned())),
    }
}

/// Bytes of a PEM file: the bundle of all public authorities has a quarter of it.
const PEM_BYTES_MAX: usize = 1 << 20;
