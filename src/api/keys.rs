//! The access keys of the API. A secret in a file is read here, once.
//!
//! Ids are not compared in constant time: the documented error code shows anyway whether an id exists. [`super::sign`]
//! compares secrets, and nothing shows them. There is no built-in key. The sidecar issues no temporary credentials: the
//! security token of a request is part of the signed text and has no other meaning.

use crate::base::file;
use crate::config::{AccessKeySource, SecretSource};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An access key.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id, which is public.
    pub id: String,
    /// Its secret.
    secret: String,
}

impl AccessKey {
    /// A key of an id and a secret.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { id: id.into(), secret: secret.into() }
    }

    /// The secret part.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for AccessKey {
    /// Without the secret: the text may go to logs and reports.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The keys that are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(Vec<AccessKey>);

impl Keys {
    /// Reads the secrets of configured keys; `credentials` is `$CREDENTIALS_DIRECTORY`. The second part are
    /// warnings, one sentence each.
    ///
    /// # Errors
    /// Every secret that is not available.
    pub fn load(
        sources: &[AccessKeySource],
        credentials: Option<&Path>,
    ) -> Result<(Self, Vec<String>), Vec<KeyFault>> {
        let (mut keys, mut warnings, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for source in sources {
            match read_secret(&source.secret, credentials, &mut warnings) {
                Ok(secret) => keys.push(AccessKey::new(source.id.clone(), secret)),
                Err(why) => faults.push(KeyFault { id: source.id.clone(), why }),
            }
        }
        if faults.is_empty() { Ok((Self(keys), warnings)) } else { Err(faults) }
    }

    /// The key of an id.
    pub fn find(&self, id: &str) -> Option<&AccessKey> {
        self.0.iter().find(|key| key.id == id)
    }

    /// The first key, with which pvtzd's own commands sign.
    pub fn first(&self) -> Option<&AccessKey> {
        self.0.first()
    }
}

impl FromIterator<AccessKey> for Keys {
    fn from_iter<I: IntoIterator<Item = AccessKey>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

/// A key without its secret.
#[derive(Debug)]
pub struct KeyFault {
    /// The key's id.
    pub id: String,
    /// The reason.
    pub why: SecretFault,
}

/// The reason why a secret is not available.
#[derive(Debug)]
pub enum SecretFault {
    /// The file cannot be read, or is not text.
    Io(PathBuf, io::Error),
    /// The file is empty, or has more than one line.
    NotOneLine(PathBuf),
    /// There is no credentials directory for this name.
    NoCredentials(String),
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the secret of access key `{}` is not available: {}", self.id, self.why)
    }
}

impl fmt::Display for SecretFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => {
                write!(f, "cannot read {}: {error}", path.display())?;
                match error.kind() {
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "; the user that pvtzd runs as may not read it. Under systemd, LoadCredential=NAME:{} in the \
                         unit gives the file to the service alone: write secret_credential = \"NAME\" instead of \
                         secret_file",
                        path.display()
                    ),
                    _ => Ok(()),
                }
            }
            Self::NotOneLine(path) => {
                write!(f, "{} must contain only the secret, on one line", path.display())
            }
            Self::NoCredentials(name) => write!(
                f,
                "$CREDENTIALS_DIRECTORY is not set, so there is no credential `{name}`; under systemd, \
                 LoadCredential={name}:FILE in the unit provides it"
            ),
        }
    }
}

impl std::error::Error for KeyFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            SecretFault::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

/// The largest file of a secret, in octets.
const LARGEST: u64 = 64 << 10;

/// Reads a secret; `credentials` is `$CREDENTIALS_DIRECTORY`.
///
/// # Errors
/// The secret is not available: why.
pub fn read_secret(
    source: &SecretSource,
    credentials: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<String, SecretFault> {
    let path = match source {
        SecretSource::Written(secret) => return Ok(secret.as_str().into()),
        SecretSource::File(path) => path.clone(),
        SecretSource::Credential(name) => {
            credentials.ok_or_else(|| SecretFault::NoCredentials(name.clone()))?.join(name)
        }
    };
    let text = file::read_text(&path, LARGEST).map_err(|error| SecretFault::Io(path.clone(), error))?;
    if is_readable_by_all(&path) {
        warnings.push(format!(
            "{} contains a secret and every user may read it: run `chmod 600 {0}`",
            path.display()
        ));
    }
    match text.trim() {
        "" => Err(SecretFault::NotOneLine(path)),
        secret if secret.contains(char::is_whitespace) => Err(SecretFault::NotOneLine(path)),
        secret => Ok(secret.into()),
    }
}

/// True if every user of the machine may read the file.
fn is_readable_by_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn source(id: &str, secret: SecretSource) -> AccessKeySource {
        AccessKeySource { id: id.into(), secret }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let key = AccessKey::new("LTAI", "hush");
        assert_eq!(format!("{key:?}"), "AccessKey { id: \"LTAI\", .. }");
        let written = source("LTAI", SecretSource::Written("hush".to_string().into()));
        assert!(!format!("{written:?}").contains("hush"));
    }

    #[test]
    fn secrets_come_from_where_they_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "from-file\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let sources = [
            source("a", SecretSource::Written("plain".to_string().into())),
            source("b", SecretSource::File(path.clone())),
            source("c", SecretSource::Credential("secret".into())),
        ];
        let (keys, warnings) = Keys::load(&sources, Some(folder.path())).unwrap();
        assert_eq!(keys.find("a").unwrap().secret(), "plain");
        assert_eq!(keys.find("b").unwrap().secret(), "from-file");
        assert_eq!(keys.find("c").unwrap().secret(), "from-file");
        assert_eq!(keys.find("A"), None);
        assert_eq!(warnings, [""; 0]);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let (_, warnings) = Keys::load(&sources[1..2], None).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn a_file_that_may_not_be_read_leads_to_the_credential() {
        let why = SecretFault::Io("/etc/pvtzd/secret".into(), io::ErrorKind::PermissionDenied.into());
        let told = KeyFault { id: "a".into(), why }.to_string();
        assert!(told.contains("LoadCredential=NAME:/etc/pvtzd/secret"), "{told}");
        assert!(told.contains("secret_credential = \"NAME\""), "{told}");
    }

    #[test]
    fn every_secret_that_cannot_be_had_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        std::fs::write(folder.path().join("two"), "a\nb\n").unwrap();
        let sources = [
            source("a", SecretSource::File(folder.path().join("missing"))),
            source("b", SecretSource::File(folder.path().join("empty"))),
            source("c", SecretSource::File(folder.path().join("two"))),
            source("d", SecretSource::Credential("x".into())),
        ];
        let faults = Keys::load(&sources, None).unwrap_err();
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(
            told[0].starts_with("the secret of access key `a` is not available: cannot read "),
            "{told:#?}"
        );
        assert!(told[3].contains("$CREDENTIALS_DIRECTORY is not set"), "{told:#?}");
    }
}
