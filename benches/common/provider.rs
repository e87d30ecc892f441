//! A provider at a distance: a TLS server that speaks HTTP/2 in a process of its own and answers every question after a delay.
//!
//! The process is the bench itself, started once more, so that the server's work is not counted with the client's. Its certificate is made
//! by `openssl` and lives as long as the bench.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The app that asks.
pub const APP: &str = "634900000000001";
/// Its secret.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A running provider; it ends with this value.
pub struct Provider {
    /// Where it answers.
    pub address: SocketAddr,
    folder: TempDir,
    child: Child,
}

impl Provider {
    /// A provider that takes `delay` for every answer.
    pub fn start(delay: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        certify(folder.path());
        let bench = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(bench)
            .arg(SERVE)
            .arg(folder.path())
            .arg(delay.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("the server speaks");
        Self { address: line.trim().parse().expect("an address"), folder, child }
    }

    /// A folder for whatever the bench writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The authority that its certificate is verified by.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// A configuration that asks this provider about `tokens` tokens, each with a file of its own.
    pub fn config(&self, tokens: usize) -> String {
        let place = |name: &str| format!("{{ file = \"{}\" }}", self.folder.path().join(name).display());
        for index in 0..tokens {
            std::fs::write(self.folder.path().join(name(index)), token(index)).expect("a token is written");
        }
        std::fs::write(self.folder.path().join("app"), SECRET).expect("the app's secret is written");
        self.config_with(tokens, place)
    }

    /// The same with all secrets in the environment; see [`environment`].
    pub fn config_by_environment(&self, tokens: usize) -> String {
        self.config_with(tokens, |name| format!("{{ env = \"{name}\" }}"))
    }

    fn config_with(&self, tokens: usize, place: impl Fn(&str) -> String) -> String {
        let folder = self.folder.path().display();
        let mut text = format!(
            "[provider.meta]\nbase_url = \"https://{}\"\nca_file = \"{folder}/cert.pem\"\n\
             [metrics]\nper_token = \"all\"\n\
             [receivers.default]\nemail = []\n\
             [apps.helpdesk]\nid = \"{APP}\"\nsecret = {}\n",
            self.address,
            place("app"),
        );
        for index in 0..tokens {
            let (name, place) = (name(index), place(&name(index)));
            text.push_str(&format!("[[tokens]]\nname = \"{name}\"\napp = \"helpdesk\"\nsecret = {place}\n"));
        }
        text
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The environment in which a configuration finds all its secrets.
pub fn environment(tokens: usize) -> Vec<(String, String)> {
    let app = ("app".to_owned(), SECRET.to_owned());
    (0..tokens).map(|index| (name(index), token(index))).chain([app]).collect()
}

fn name(index: usize) -> String {
    format!("customer-{index:06}-whatsapp")
}

/// A token as long as Meta's are.
pub fn token(index: usize) -> String {
    format!("EAAJB{index:0>190}")
}

/// Serves, where this process was started for that; then it never returns.
pub fn serve_if_asked() {
    let mut arguments = std::env::args().skip(1).skip_while(|argument| argument != SERVE).skip(1);
    let (Some(folder), Some(delay)) = (arguments.next(), arguments.next()) else { return };
    let delay = Duration::from_millis(delay.parse().expect("milliseconds"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(serve(acceptor(Path::new(&folder)), delay));
}

async fn serve(acceptor: TlsAcceptor, delay: Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr().expect("bound"))
        .and_then(|()| stdout.flush())
        .expect("the bench listens");
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // Else an answer of two frames waits for the client's delayed acknowledgement.
        stream.set_nodelay(true).expect("an option of every socket");
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let served = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                .http2()
                .max_concurrent_streams(1_000)
                .serve_connection(TokioIo::new(stream), service_fn(move |request| answer(request, delay)))
                .await;
            // A client that hangs up ends its own connection only.
            drop(served);
        });
    }
}

async fn answer(_: Request<Incoming>, delay: Duration) -> hyper::Result<Response<Full<Bytes>>> {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let response = Response::builder()
        .header("content-type", "application/json; charset=UTF-8")
        .header("facebook-api-version", "v25.0")
        .header("x-app-usage", r#"{"call_count":1,"total_cputime":1,"total_time":1}"#)
        .header("cache-control", "private, no-cache, no-store, must-revalidate");
    Ok(response.body(Full::new(Bytes::from_static(ANSWER.as_bytes()))).expect("a good response"))
}

fn acceptor(folder: &Path) -> TlsAcceptor {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(folder.join("cert.pem")).expect("a certificate").collect();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_no_client_auth()
        .with_single_cert(certificates.expect("PEM"), key)
        .expect("the key fits");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A certificate for this machine that is its own authority.
fn certify(folder: &Path) {
    let config = folder.join("openssl.cnf");
    std::fs::write(&config, OPENSSL).expect("the request is written");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-new",
            "-nodes",
            "-days",
            "2",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .arg("-config")
        .arg(&config)
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("cert.pem"))
        .stderr(Stdio::null())
        .status();
    assert!(made.is_ok_and(|status| status.success()), "openssl makes the server's certificate; is it installed?");
}

const SERVE: &str = "serve-as-provider";
const OPENSSL: &str = "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = extensions\n\
                       [name]\nCN = provider at a distance\n\
                       [extensions]\nbasicConstraints = critical, CA:FALSE\nsubjectAltName = IP:127.0.0.1\n";
/// A system user's token, as `debug_token` describes it.
const ANSWER: &str = r#"{"data":{"app_id":"634900000000001","type":"SYSTEM_USER","application":"Help desk","data_access_expires_at":0,"expires_at":2000000000,"is_valid":true,"issued_at":1767225600,"scopes":["whatsapp_business_management","whatsapp_business_messaging","public_profile"],"granular_scopes":[{"scope":"whatsapp_business_management","target_ids":["102290129340398"]},{"scope":"whatsapp_business_messaging","target_ids":["102290129340398"]}],"user_id":"104160000000001"}}"#;
