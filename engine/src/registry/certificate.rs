//! Whom TLS trusts: this machine's authorities or Mozilla's, and for one host what stands in its folder of `certs.d`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Context, Error, Result};
use crate::order;

/// Whether a registry has to show who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// By a certificate that is trusted.
    Required,
    /// No: `--tls-verify=false`. Plain HTTP is taken as well.
    Waived,
}

/// Where distributions keep the authorities that the machine trusts.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The folders with a folder for each host.
pub fn folders() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let config =
        std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or(home.map(|home| home.join(".config")));
    let of_user = config.map(|config| ["containers", "docker"].map(|name| config.join(name).join("certs.d")));
    let of_machine = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    of_user.into_iter().flatten().chain(of_machine).collect()
}

/// The configuration of TLS for a host, by its name and port as an image's name has them.
///
/// # Errors
/// A file of the host's cannot be read, or is none of what its name says.
pub fn configure(host: &str, folders: &[PathBuf], verification: Verification) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let own = HostFiles::read(host, folders)?;
    let verifier: Arc<dyn ServerCertVerifier> = match verification {
        Verification::Waived => {
            Arc::new(Verifier { provider: provider.clone(), exact: Vec::new(), chain: None })
        }
        Verification::Required => {
            let roots = Arc::new(roots(&own.authorities)?);
            let chain = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                .build()
                .map_err(|error| Error::invalid(format!("authorities: {error}")))?;
            Arc::new(Verifier { provider: provider.clone(), exact: own.authorities, chain: Some(chain) })
        }
    };
    let wrong = |error: rustls::Error| Error::invalid(format!("TLS: {error}"));
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(wrong)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match own.identity {
        Some((certificates, key)) => builder.with_client_auth_cert(certificates, key).map_err(wrong),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// What the folders of a host have: `*.crt` are authorities, `*.cert` and `*.key` are who we are.
#[derive(Default)]
struct HostFiles {
    authorities: Vec<CertificateDer<'static>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl HostFiles {
    fn read(host: &str, folders: &[PathBuf]) -> Result<HostFiles> {
        let mut files = HostFiles::default();
        for folder in folders.iter().map(|folder| folder.join(host)) {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            order::sort(&mut paths);
            for path in paths {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => files.authorities.extend(certificates(&path)?),
                    Some("cert") if files.identity.is_none() => {
                        let key = path.with_extension("key");
                        let key = PrivateKeyDer::from_pem_file(&key)
                            .map_err(|error| Error::corrupt(format!("{}: {error}", key.display())))?;
                        files.identity = Some((certificates(&path)?, key));
                    }
                    _ => {}
                }
            }
        }
        Ok(files)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |error| Error::corrupt(format!("{}: {error}", path.display()));
    CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<std::result::Result<_, _>>().map_err(wrong)
}

/// This machine's authorities, or Mozilla's where it has none, and some more.
fn roots(more: &[CertificateDer<'static>]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    match &named {
        Some(path) => {
            let text = std::fs::read(path).context(|| format!("SSL_CERT_FILE {}", path.display()))?;
            add(&mut roots, &text);
        }
        None => {
            if let Some(text) = BUNDLES.iter().find_map(|path| std::fs::read(path).ok()) {
                add(&mut roots, &text);
            }
        }
    }
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots.add_parsable_certificates(more.iter().cloned());
    Ok(roots)
}

/// Bundles have certificates that are too odd to be parsed: they are nobody's authority then.
fn add(roots: &mut RootCertStore, text: &[u8]) {
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(text).flatten());
}

/// A chain to an authority; or exactly a certificate of the host's folder, as home-made ones sign themselves. Without a chain
/// anybody is let through.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    exact: Vec<CertificateDer<'static>>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        match &self.chain {
            Some(chain) if !self.exact.contains(end_entity) => {
                chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a connection failed because of whom it led to.
pub fn is_distrust(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// Whether a host that speaks TLS did not want to speak with us.
pub fn is_refusal(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::AlertReceived(_)))
}

/// The error of a host that refused, with the usual remedy.
pub fn refusal(host: &str, error: &std::io::Error) -> Error {
    Error::invalid(format!(
        "{host}: {error}: if it wants to know who asks, a certificate is missing (client.cert and client.key in /etc/docker/certs.d/{host}/)"
    ))
}

/// The error of a host that is not trusted, with the remedy.
pub fn distrust(host: &str, error: &std::io::Error) -> Error {
    let text = format!(
        "{host}: {error}: put the certificate of its authority into /etc/docker/certs.d/{host}/ca.crt, or trust anybody (--tls-verify=false)"
    );
    Error::invalid(text)
}
