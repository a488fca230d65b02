use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::Error;

/// A certificate authority, as a company runs one for its own machines.
///
/// ```
/// # use weir_testkit::Authority;
/// let authority = Authority::new("test CA")?;
/// let broker = authority.issue(&["localhost", "127.0.0.1"])?;
/// assert!(broker.keystore().contains("BEGIN PRIVATE KEY") && broker.cert.contains("BEGIN CERTIFICATE"));
/// assert!(authority.pem().contains("BEGIN CERTIFICATE"));
/// # Ok::<(), weir_testkit::Error>(())
/// ```
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, then the authority's.
    pub cert: String,
    /// PKCS#8, P-256.
    pub key: String,
}

impl Authority {
    /// Makes one, valid until the end of the century.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(name: &str) -> Result<Self, Error> {
        let mut params = params(name, &[], LAST_YEAR)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// The authority's own certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate for these names and addresses, for servers and clients alike.
    ///
    /// # Errors
    /// When a name is none.
    pub fn issue(&self, names: &[&str]) -> Result<Certificate, Error> {
        self.issue_until(names, LAST_YEAR)
    }

    /// Issues one that has expired.
    ///
    /// # Errors
    /// When a name is none.
    pub fn issue_expired(&self, names: &[&str]) -> Result<Certificate, Error> {
        self.issue_until(names, EXPIRED_YEAR)
    }

    fn issue_until(&self, names: &[&str], year: i32) -> Result<Certificate, Error> {
        let mut params = params(names.first().copied().unwrap_or("nobody"), names, year)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(failed)?;
        let signed = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Certificate { cert: signed.pem() + &self.pem, key: key.serialize_pem() })
    }
}

impl Certificate {
    /// Key and certificates in one text: a keystore of Kafka's type `PEM`.
    #[must_use]
    pub fn keystore(&self) -> String {
        self.key.clone() + &self.cert
    }
}

fn params(name: &str, names: &[&str], year: i32) -> Result<CertificateParams, Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(FIRST_YEAR, 1, 1), date_time_ymd(year, 1, 2));
    Ok(params)
}

fn failed(error: rcgen::Error) -> Error {
    Error::io("make a certificate")(std::io::Error::other(error))
}

const FIRST_YEAR: i32 = 2020;
const EXPIRED_YEAR: i32 = 2021;
const LAST_YEAR: i32 = 2099;
