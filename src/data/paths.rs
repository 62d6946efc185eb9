//! Paths in JSON, without loss: a string where the path is UTF-8, else an object with what the system
//! keeps: `{"bytes": [..]}` on Unix, `{"wide": [..]}`, of UTF-16, on Windows.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One path as a value of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum JsonPath {
    /// UTF-8.
    Text(String),
    /// Any other.
    Raw(RawPath),
}

/// A path that is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RawPath {
    /// Of a Unix system.
    Bytes(Vec<u8>),
    /// Of Windows.
    Wide(Vec<u16>),
}

impl From<&Path> for JsonPath {
    fn from(path: &Path) -> Self {
        path.to_str().map_or_else(|| raw(path), |text| Self::Text(text.into()))
    }
}

#[cfg(unix)]
fn raw(path: &Path) -> JsonPath {
    use std::os::unix::ffi::OsStrExt;
    JsonPath::Raw(RawPath::Bytes(path.as_os_str().as_bytes().to_vec()))
}

#[cfg(windows)]
fn raw(path: &Path) -> JsonPath {
    use std::os::windows::ffi::OsStrExt;
    JsonPath::Raw(RawPath::Wide(path.as_os_str().encode_wide().collect()))
}

/// What the system keeps is not known here.
#[cfg(not(any(unix, windows)))]
fn raw(path: &Path) -> JsonPath {
    JsonPath::Text(path.to_string_lossy().into_owned())
}

impl TryFrom<JsonPath> for PathBuf {
    type Error = &'static str;

    fn try_from(path: JsonPath) -> Result<Self, Self::Error> {
        match path {
            JsonPath::Text(text) => Ok(text.into()),
            JsonPath::Raw(raw) => os_string(raw).map(Into::into),
        }
    }
}

fn os_string(raw: RawPath) -> Result<OsString, &'static str> {
    match raw {
        #[cfg(unix)]
        RawPath::Bytes(bytes) => Ok(std::os::unix::ffi::OsStringExt::from_vec(bytes)),
        #[cfg(windows)]
        RawPath::Wide(wide) => Ok(std::os::windows::ffi::OsStringExt::from_wide(&wide)),
        _ => Err("a path that only another system can have"),
    }
}

/// For serde's `with`: a list of paths.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(paths.iter().map(|path| JsonPath::from(path.as_path())))
}

/// For serde's `with`: a list of paths.
///
/// # Errors
/// Those of the deserializer; a path that only another system can have.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    let paths = Vec::<JsonPath>::deserialize(from)?;
    paths.into_iter().map(|path| PathBuf::try_from(path).map_err(D::Error::custom)).collect()
}

/// For serde's `with`: a path that may be missing.
pub mod optional {
    use std::path::PathBuf;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::data::paths::JsonPath;

    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        path.as_deref().map(JsonPath::from).serialize(to)
    }

    /// # Errors
    /// Those of the deserializer; a path that only another system can have.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        let path = Option::<JsonPath>::deserialize(from)?;
        path.map(|path| PathBuf::try_from(path).map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Record {
        #[serde(with = "crate::data::paths")]
        paths: Vec<PathBuf>,
        #[serde(with = "optional")]
        out: Option<PathBuf>,
    }

    #[test]
    fn a_path_in_utf8_is_a_string_as_in_older_checkpoints() {
        let record = Record { paths: vec!["a/b.txt".into(), "-".into()], out: None };
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(json, r#"{"paths":["a/b.txt","-"],"out":null}"#);
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf8_survives() {
        use std::os::unix::ffi::OsStringExt;
        let path = || PathBuf::from(OsString::from_vec(b"caf\xE9/\xFF.txt".to_vec()));
        let record = Record { paths: vec![path(), "x".into()], out: Some(path()) };
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["out"]["bytes"][3], 0xE9);
        assert_eq!(serde_json::from_value::<Record>(json).unwrap(), record);
        let foreign = r#"{"paths":[{"wide":[55296]}],"out":null}"#;
        let error = serde_json::from_str::<Record>(foreign).unwrap_err().to_string();
        assert!(error.contains("only another system can have"), "{error}");
    }
}
