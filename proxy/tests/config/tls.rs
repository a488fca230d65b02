//! `tls` of listeners and of the upstream.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use weir::config::TlsVersion;
use weir_testkit::{Authority, Certificate};

use super::{check_in, folder, load_text, write_key};

/// Writes `NAME.crt` and `NAME.key`.
fn place(folder: &Path, name: &str, certificate: &Certificate) {
    fs::write(folder.join(format!("{name}.crt")), &certificate.cert).unwrap();
    write_key(&folder.join(format!("{name}.key")), &certificate.key, 0o640);
}

/// A good certificate `a`, an expired one `old`, another one `b`, and the authority.
fn prepare(folder: &Path) {
    let authority = Authority::new("test CA").unwrap();
    place(folder, "a", &authority.issue(&["kafka.example.com", "*.example.net"]).unwrap());
    place(folder, "b", &authority.issue(&["other.example.com", "192.0.2.7"]).unwrap());
    place(folder, "old", &authority.issue_expired(&["kafka.example.com"]).unwrap());
    fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    fs::write(folder.join("text.pem"), "no certificate").unwrap();
    fs::write(folder.join("bad.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
}

/// `listeners[0].tls` in place of `insecure`, line 12.
fn check_listener(tls: &str, expected: &[&str]) {
    check_in(prepare, "insecure: true", &format!("tls: {tls}"), expected);
}

/// `upstream.tls` behind the timeout, line 7.
fn check_upstream(tls: &str, expected: &[&str]) {
    check_in(prepare, "  connect_timeout: 3s\n", &format!("  connect_timeout: 3s\n  tls: {tls}\n"), expected);
}

#[test]
fn a_listener_with_tls_needs_no_insecure() {
    check_listener("{ cert: a.crt, key: a.key }", &[]);
    check_listener("{ cert: a.crt, key: a.key, min_version: \"1.3\" }", &[]);
    check_listener("{ cert: a.crt, key: a.key, min_version: 1.3 }", &[]);
}

#[test]
fn tls_is_read() {
    let folder = folder();
    prepare(folder.path());
    let text =
        super::WHOLE.replacen("insecure: true", "tls: { cert: a.crt, key: a.key, min_version: \"1.3\" }", 1).replacen(
            "  connect_timeout: 3s\n",
            "  tls: { ca: ca.pem, cert: b.crt, key: b.key, server_name: k.test }\n",
            1,
        );
    let config = load_text(&folder, &text).0.unwrap();
    let listener = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!((&listener.cert, listener.min_version), (&folder.path().join("a.crt"), TlsVersion::Tls13));
    assert_eq!(config.listeners[1].tls, None);
    let upstream = config.upstream.tls.unwrap();
    assert_eq!((upstream.ca, upstream.min_version), (Some(folder.path().join("ca.pem")), TlsVersion::Tls12));
    assert_eq!(upstream.identity, Some((folder.path().join("b.crt"), folder.path().join("b.key"))));
    assert_eq!(upstream.server_name.unwrap().to_str(), "k.test");
}

#[test]
fn certificates_and_keys_must_be_what_they_are_said_to_be() {
    check_listener(
        "{ key: a.key }",
        &["error: `cert` is required \
        | weir.yaml:12:10 a PEM file: the certificate, then those that signed it"],
    );
    check_listener(
        "{ cert: c.crt, key: a.key }",
        &["error: cannot read certificate `c.crt`: there is no such file \
        | weir.yaml:12:18"],
    );
    check_listener(
        "{ cert: a.crt, key: c.key }",
        &["error: cannot read key `c.key`: there is no such file \
        | weir.yaml:12:30"],
    );
    check_listener(
        "{ cert: text.pem, key: a.key }",
        &["error: there is no certificate in `text.pem` \
        | weir.yaml:12:18 PEM text, with -----BEGIN CERTIFICATE-----"],
    );
    check_listener(
        "{ cert: bad.pem, key: a.key }",
        &["error: certificate `bad.pem` cannot be used: it is not a \
        certificate in X.509 | weir.yaml:12:18 see openssl x509 -noout -text -in bad.pem"],
    );
    check_listener(
        "{ cert: a.crt, key: links.key }",
        &["error: there is no private key in `links.key` \
        | weir.yaml:12:30 PEM text, with -----BEGIN PRIVATE KEY-----"],
    );
    check_listener(
        "{ cert: a.crt, key: b.key }",
        &["error: key `b.key` does not belong to certificate `a.crt` \
        | weir.yaml:12:30 these two print the same when they belong together: openssl x509 -noout -pubkey -in CERT \
        and openssl pkey -pubout -in KEY"],
    );
    check_listener(
        "{ cert: \"-----BEGIN CERTIFICATE-----\", key: a.key }",
        &["error: `tls.cert` is a literal | weir.yaml:12:18 name a file with it"],
    );
    check_listener(
        "{ cert: a.crt, key: a.key, client_ca: ca.pem }",
        &["error: `listeners.tls.client_ca` is not \
        supported yet | weir.yaml:12:37 clients log in with auth: [oauthbearer]"],
    );
    check_listener(
        "{ cert: a.crt, key: a.key, min_version: \"1.1\" }",
        &["error: `min_version` is not a version of \
        TLS that weir speaks | weir.yaml:12:50 \"1.2\" or \"1.3\""],
    );
    check_listener("{ cert: a.crt, key: a.key, ciphers: all }", &["error: unknown key `ciphers` | weir.yaml:12:37"]);
}

#[test]
fn keys_of_certificates_must_be_kept_from_others_and_be_readable() {
    let tls = "tls: { cert: a.crt, key: a.key }";
    let with_mode = |mode| {
        move |folder: &Path| {
            prepare(folder);
            fs::set_permissions(folder.join("a.key"), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    check_in(
        with_mode(0o644),
        "insecure: true",
        tls,
        &["error: key file `a.key` is open to every user of this machine \
        | weir.yaml:12:30 its owner and group are enough: chmod o-rwx a.key"],
    );
    check_in(with_mode(0o600), "insecure: true", tls, &[]);
    let encrypted = |folder: &Path| {
        prepare(folder);
        let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        write_key(&folder.join("a.key"), text, 0o600);
    };
    check_in(
        encrypted,
        "insecure: true",
        tls,
        &["error: the private key in `a.key` is encrypted \
        | weir.yaml:12:30 decrypt it: openssl pkey -in a.key -out FILE"],
    );
}

#[test]
fn certificates_that_clients_would_refuse_are_warned_of() {
    check_listener(
        "{ cert: old.crt, key: old.key }",
        &["warning: certificate `old.crt` expired on \
        2021-01-02T00:00:00Z | weir.yaml:12:18 whoever checks it refuses it; put a new one in its place"],
    );
    check_listener(
        "{ cert: b.crt, key: b.key }",
        &["warning: the certificate is not for `kafka.example.com`, which \
        clients are told | weir.yaml:12:18 it is for other.example.com, 192.0.2.7; clients that check names refuse it"],
    );
}

#[test]
fn the_upstream_is_checked_against_somebody() {
    check_upstream("{ ca: ca.pem }", &[]);
    check_upstream("{ ca: ca.pem, cert: a.crt, key: a.key, server_name: kafka.internal, min_version: \"1.3\" }", &[]);
    check_upstream(
        "{ ca: gone.pem }",
        &["error: cannot read certificate authority `gone.pem`: there is no such file \
        | weir.yaml:7:14"],
    );
    check_upstream(
        "{ ca: text.pem }",
        &["error: there is no certificate in `text.pem` \
        | weir.yaml:7:14 PEM text, with -----BEGIN CERTIFICATE-----"],
    );
    check_upstream(
        "{ ca: bad.pem }",
        &["error: certificate authority `bad.pem` cannot be used: it is not a \
        certificate in X.509 | weir.yaml:7:14 see openssl x509 -noout -text -in bad.pem"],
    );
    check_upstream(
        "{ ca: ca.pem, cert: a.crt }",
        &["error: `upstream.tls` has `cert` without `key` \
        | weir.yaml:7:28 brokers check both or neither"],
    );
    check_upstream(
        "{ ca: ca.pem, key: a.key }",
        &["error: `upstream.tls` has `key` without `cert` \
        | weir.yaml:7:27 brokers check both or neither"],
    );
    check_upstream(
        "{ ca: ca.pem, server_name: \"a b\" }",
        &["error: `server_name` is not a host name \
        | weir.yaml:7:35 as in server_name: kafka.internal"],
    );
    check_upstream("{ ca: ca.pem, verify: false }", &["error: unknown key `verify` | weir.yaml:7:22"]);
}

#[test]
fn pem_files_have_a_size() {
    const PEM_BYTES_MAX: usize = 1 << 20;
    let padded = |to: usize| {
        move |folder: &Path| {
            prepare(folder);
            let pem = fs::read_to_string(folder.join("ca.pem")).unwrap();
            fs::write(folder.join("ca.pem"), format!("{pem}{}", "\n".repeat(to - pem.len()))).unwrap();
        }
    };
    let (from, to) = ("  connect_timeout: 3s\n", "  connect_timeout: 3s\n  tls: { ca: ca.pem }\n");
    check_in(padded(PEM_BYTES_MAX), from, to, &[]);
    let expected =
        "error: cannot read certificate authority `ca.pem`: it is larger than 1048576 bytes | weir.yaml:7:14";
    check_in(padded(PEM_BYTES_MAX + 1), from, to, &[expected]);
}
