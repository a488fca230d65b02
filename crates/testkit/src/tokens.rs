use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    RsaKeyPair, RsaPublicKeyComponents,
};
use aws_lc_rs::{error::Unspecified, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use crate::Error;

/// An identity provider for tests: keys made at run time, their public halves as a JSON web key set, and tokens with any claims, good and
/// hostile ones. It signs with aws-lc itself, not with the crate that weir verifies with.
///
/// ```
/// use std::time::Duration;
/// use weir_testkit::{KeyKind, TokenIssuer};
///
/// let issuer = TokenIssuer::new("https://issuer.test", &[("ec-1", KeyKind::P256)])?;
/// let good = issuer.token("checkout").groups(&["checkout"]).sign()?;
/// let hostile = issuer.token("checkout").expired(Duration::from_secs(180)).sign()?;
/// assert!(issuer.jwks().contains("ec-1"));
/// assert_eq!(good.split('.').count(), 3);
/// # drop(hostile);
/// # Ok::<(), weir_testkit::Error>(())
/// ```
#[derive(Debug)]
pub struct TokenIssuer {
    name: String,
    keys: Vec<SigningKey>,
}

impl TokenIssuer {
    /// An issuer of that name (`iss`) with a key of each given id (`kid`) and kind.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn new(name: &str, keys: &[(&str, KeyKind)]) -> Result<Self, Error> {
        let keys = keys.iter().map(|(id, kind)| SigningKey::generate(id, *kind)).collect::<Result<_, _>>()?;
        Ok(Self { name: name.to_owned(), keys })
    }

    /// Makes one more key; earlier ones stay.
    ///
    /// # Errors
    /// When the key cannot be made.
    pub fn add_key(&mut self, id: &str, kind: KeyKind) -> Result<(), Error> {
        self.keys.push(SigningKey::generate(id, kind)?);
        Ok(())
    }

    /// The issuer's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public keys as a JSON web key set (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> String {
        json!({ "keys": self.keys.iter().map(SigningKey::jwk).collect::<Vec<_>>() }).to_string()
    }

    /// Writes the key set to a file, in one step: a reader sees the old set or the new one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_jwks(&self, path: &Path) -> Result<(), Error> {
        let fresh = path.with_extension("fresh");
        let written = fs::write(&fresh, self.jwks()).and_then(|()| fs::rename(&fresh, path));
        written.map_err(Error::io(format!("write {}", path.display())))
    }

    /// Starts a token for that subject: issued now, good for five minutes, for the audience `kafka`, signed by the first key.
    #[must_use]
    pub fn token(&self, subject: &str) -> TokenBuilder<'_> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), self.name.clone().into());
        claims.insert("sub".to_owned(), subject.into());
        claims.insert("aud".to_owned(), json!(["kafka"]));
        let header = Map::from_iter([("typ".to_owned(), "JWT".into())]);
        let builder =
            TokenBuilder { issuer: self, header, claims, text: None, now, key: 0, algorithm: None, hides_kid: false };
        builder.issued_at(now)
    }
}

/// The kinds of keys that a [`TokenIssuer`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA with 2048 bits: RS256 unless the token says otherwise.
    Rsa2048,
    /// ECDSA on P-256: ES256.
    P256,
    /// ECDSA on P-384: ES384.
    P384,
    /// Ed25519: `EdDSA`.
    Ed25519,
}

/// How a public key is misused as a secret for HS256: each form has fooled some verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKeyAs {
    /// The text of a PEM file.
    Pem,
    /// The bytes of its `SubjectPublicKeyInfo`.
    Der,
    /// The bytes of the modulus or the point, as they stand in the key set.
    Raw,
}

/// A token in the making. Every part can be made wrong.
#[derive(Debug, Clone)]
pub struct TokenBuilder<'a> {
    issuer: &'a TokenIssuer,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    /// The claims as text, when they are to be no ordinary object.
    text: Option<String>,
    now: Duration,
    key: usize,
    algorithm: Option<String>,
    hides_kid: bool,
}

impl TokenBuilder<'_> {
    /// Issues the token at that time since the epoch: sets `iat`, `nbf`, and `exp` five minutes later.
    #[must_use]
    pub fn issued_at(mut self, unix: Duration) -> Self {
        self.now = unix;
        let later = unix.as_secs().saturating_add(300);
        self.claim("iat", unix.as_secs()).claim("nbf", unix.as_secs()).claim("exp", later)
    }

    /// Lets it expire that long after it was issued.
    #[must_use]
    pub fn expires_in(self, after: Duration) -> Self {
        let exp = self.now.saturating_add(after).as_secs();
        self.claim("exp", exp)
    }

    /// Lets it have expired that long before it was issued.
    #[must_use]
    pub fn expired(self, ago: Duration) -> Self {
        let exp = self.now.saturating_sub(ago).as_secs();
        self.claim("exp", exp)
    }

    /// Lets it become valid that long after it was issued.
    #[must_use]
    pub fn not_before(self, ahead: Duration) -> Self {
        let nbf = self.now.saturating_add(ahead).as_secs();
        self.claim("nbf", nbf)
    }

    /// Sets `groups` to a list.
    #[must_use]
    pub fn groups(self, groups: &[&str]) -> Self {
        self.claim("groups", json!(groups))
    }

    /// Sets `aud` to one name.
    #[must_use]
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// Sets a claim to any JSON.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a claim out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Replaces the claims by any text, made from the text of those set so far: an object with a key twice, or no object at all.
    #[must_use]
    pub fn claims_text(mut self, change: impl FnOnce(String) -> String) -> Self {
        self.text = Some(change(Value::Object(self.claims.clone()).to_string()));
        self
    }

    /// Sets a member of the header to any JSON, also `alg` and `kid` (which then are not those of the signature).
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves `kid` out of the header.
    #[must_use]
    pub fn without_kid(mut self) -> Self {
        self.hides_kid = true;
        self
    }

    /// Signs with the key of that id; the first key if there is none of it.
    #[must_use]
    pub fn signed_by(mut self, kid: &str) -> Self {
        self.key = self.issuer.keys.iter().position(|key| key.id == kid).unwrap_or(0);
        self
    }

    /// Signs with another algorithm that the key can do, such as `PS256`.
    #[must_use]
    pub fn algorithm(mut self, name: &str) -> Self {
        self.algorithm = Some(name.to_owned());
        self
    }

    /// The finished token, signed by the chosen key.
    ///
    /// # Errors
    /// When the issuer has no key or the key cannot do the algorithm.
    pub fn sign(&self) -> Result<String, Error> {
        let key = self.key()?;
        let algorithm = self.algorithm.as_deref().unwrap_or(key.algorithm());
        let signed = self.signed(algorithm);
        let signature = key.sign(algorithm, signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Hostile: says `alg: none` and has no signature.
    #[must_use]
    pub fn unsigned(&self) -> String {
        format!("{}.", self.signed("none"))
    }

    /// Hostile: says HS256 and is "signed" with the public key, which everybody has.
    ///
    /// # Errors
    /// When the issuer has no key.
    pub fn signed_with_public_key(&self, form: PublicKeyAs) -> Result<String, Error> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &self.key()?.public(form)?);
        let signed = self.signed("HS256");
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&secret, signed.as_bytes()))))
    }

    /// Hostile: a good token whose claim was changed after signing.
    ///
    /// # Errors
    /// As [`TokenBuilder::sign`].
    pub fn tampered(&self, claim: &str, value: impl Into<Value>) -> Result<String, Error> {
        let (good, changed) = (self.sign()?, self.clone().claim(claim, value).sign()?);
        let parts = (good.split_once('.'), good.rsplit_once('.'), changed.split('.').nth(1));
        let (Some((header, _)), Some((_, signature)), Some(claims)) = parts else {
            return Err(cannot("take a token apart"));
        };
        Ok(format!("{header}.{claims}.{signature}"))
    }

    fn key(&self) -> Result<&SigningKey, Error> {
        self.issuer.keys.get(self.key).ok_or_else(|| cannot("sign without a key"))
    }

    /// Header and claims, encoded, with a dot between them.
    fn signed(&self, algorithm: &str) -> String {
        let mut header = self.header.clone();
        header.entry("alg").or_insert_with(|| algorithm.into());
        if let Ok(key) = self.key()
            && !self.hides_kid
        {
            header.entry("kid").or_insert_with(|| key.id.as_str().into());
        }
        let claims = self.text.clone().unwrap_or_else(|| Value::Object(self.claims.clone()).to_string());
        format!("{}.{}", URL_SAFE_NO_PAD.encode(Value::Object(header).to_string()), URL_SAFE_NO_PAD.encode(claims))
    }
}

#[derive(Debug)]
struct SigningKey {
    id: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    fn generate(id: &str, kind: KeyKind) -> Result<Self, Error> {
        let pair = match kind {
            KeyKind::Rsa2048 => RsaKeyPair::generate(KeySize::Rsa2048).map(|pair| Pair::Rsa(Box::new(pair))),
            KeyKind::P256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::P256),
            KeyKind::P384 => EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Pair::P384),
            KeyKind::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
        };
        Ok(Self { id: id.to_owned(), pair: pair.map_err(|_| cannot("make a key"))? })
    }

    /// The algorithm it signs with unless told otherwise.
    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        let refused = |_: Unspecified| cannot("sign a token");
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &'static dyn RsaEncoding = match algorithm {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => return Err(cannot("sign with that algorithm and an RSA key")),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).map_err(refused)?;
                Ok(signature)
            }
            Pair::P256(pair) | Pair::P384(pair) if algorithm == self.algorithm() => {
                pair.sign(&random, message).map(|signature| signature.as_ref().to_vec()).map_err(refused)
            }
            Pair::Ed25519(pair) if algorithm == self.algorithm() => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::P256(_) | Pair::P384(_) | Pair::Ed25519(_) => Err(cannot("sign with that algorithm and key")),
        }
    }

    fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let numbers = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "n": text(&numbers.n), "e": text(&numbers.e) })
            }
            Pair::P256(pair) | Pair::P384(pair) => {
                // An uncompressed point: 0x04, x, y.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if matches!(self.pair, Pair::P256(_)) { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": text(x), "y": text(y) })
            }
            Pair::Ed25519(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) }),
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), self.id.clone().into());
            members.insert("use".to_owned(), "sig".into());
        }
        jwk
    }

    fn public(&self, form: PublicKeyAs) -> Result<Vec<u8>, Error> {
        let spki = match &self.pair {
            Pair::Rsa(pair) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
            Pair::P256(pair) | Pair::P384(pair) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
            Pair::Ed25519(pair) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
        };
        let spki = spki.map_err(|_| cannot("write a public key"))?.as_ref().to_vec();
        Ok(match form {
            PublicKeyAs::Der => spki,
            PublicKeyAs::Pem => pem(&spki).into_bytes(),
            PublicKeyAs::Raw => match &self.pair {
                Pair::Rsa(pair) => RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key()).n,
                Pair::P256(pair) | Pair::P384(pair) => pair.public_key().as_ref().to_vec(),
                Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            },
        })
    }
}

/// As `openssl pkey -pubout` writes it: 64 letters a line.
fn pem(spki: &[u8]) -> String {
    let mut text = String::from("-----BEGIN PUBLIC KEY-----\n");
    for (at, letter) in STANDARD.encode(spki).chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text + "\n-----END PUBLIC KEY-----\n"
}

fn cannot(what: &str) -> Error {
    Error::Io { what: what.to_owned(), source: io::Error::other("the cryptographic library refuses") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::Value;

    use super::{KeyKind, PublicKeyAs, TokenIssuer};

    fn part(token: &str, at: usize) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn tokens_say_what_they_were_told() {
        let issuer = TokenIssuer::new("https://issuer.test", &[("ec-1", KeyKind::P256)]).unwrap();
        let at = Duration::from_secs(1_000);
        let token = issuer.token("ada").issued_at(at).groups(&["g"]).expired(Duration::from_secs(180)).sign().unwrap();
        assert_eq!(part(&token, 0), serde_json::json!({ "typ": "JWT", "alg": "ES256", "kid": "ec-1" }));
        let claims = part(&token, 1);
        assert_eq!(claims["iss"], "https://issuer.test");
        assert_eq!(claims["exp"], 820);
        assert_eq!(claims["groups"], serde_json::json!(["g"]));
    }

    #[test]
    fn a_tampered_token_keeps_the_signature_of_the_good_one() {
        let issuer = TokenIssuer::new("i", &[("ed", KeyKind::Ed25519)]).unwrap();
        let token = issuer.token("ada");
        let (good, tampered) = (token.sign().unwrap(), token.tampered("sub", "eve").unwrap());
        assert_eq!(good.rsplit('.').next(), tampered.rsplit('.').next());
        assert_eq!(part(&tampered, 1)["sub"], "eve");
        assert_eq!(part(&good, 1)["sub"], "ada");
    }

    #[test]
    fn every_kind_signs_and_publishes() {
        let kinds = [KeyKind::Rsa2048, KeyKind::P256, KeyKind::P384, KeyKind::Ed25519];
        for kind in kinds {
            let issuer = TokenIssuer::new("i", &[("k", kind)]).unwrap();
            assert!(issuer.token("ada").sign().is_ok(), "{kind:?}");
            for form in [PublicKeyAs::Pem, PublicKeyAs::Der, PublicKeyAs::Raw] {
                assert!(issuer.token("ada").signed_with_public_key(form).is_ok(), "{kind:?}");
            }
            let jwks: Value = serde_json::from_str(&issuer.jwks()).unwrap();
            assert_eq!(jwks["keys"][0]["kid"], "k");
        }
    }
}
