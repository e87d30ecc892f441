//! A certificate authority of the test's own, made by OpenSSL, and certificates of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::program;

/// An authority. Its files are gone with it.
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// Makes one.
    pub fn new() -> Self {
        let authority = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let subject = ["-days", "30", "-subj", "/CN=Test Authority", "-keyout", "ca.key", "-out", "ca.pem"];
        authority.openssl(&[&["req", "-x509"][..], &CURVE, &subject].concat());
        authority
    }

    /// The file with its own certificate.
    pub fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Makes a certificate for these names (`DNS:localhost,IP:127.0.0.1`): its file, and the one of its key.
    pub fn issue(&self, name: &str, names: &str) -> (PathBuf, PathBuf) {
        let [key, request, certificate] = ["key", "csr", "pem"].map(|kind| format!("{name}.{kind}"));
        let (subject, names) = (format!("/CN={name}"), format!("subjectAltName={names}"));
        let asked = ["-subj", &subject, "-addext", &names, "-keyout", &key, "-out", &request];
        self.openssl(&[&["req"][..], &CURVE, &asked].concat());
        let by =
            ["x509", "-req", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "5"];
        self.openssl(&[&by[..], &["-copy_extensions", "copy", "-out", &certificate]].concat());
        (self.path(&certificate), self.path(&key))
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let run = Command::new(program(&["openssl"])).args(arguments).current_dir(self.folder.path()).output();
        let run = run.expect("openssl runs");
        assert!(run.status.success(), "openssl: {}", String::from_utf8_lossy(&run.stderr));
    }
}

const CURVE: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
