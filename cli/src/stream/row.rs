//! A record as it is printed.

use serde::Serialize;
use towpath::RecordView;

use crate::exit::Failure;
use crate::output::{Output, base64};
use crate::units::rfc3339;

/// A record that has left its batch, so that the batches of several partitions can be merged.
pub(crate) struct Row {
    pub(crate) partition: u32,
    pub(crate) lsn: u64,
    offset: u64,
    timestamp: towpath::Timestamp,
    key: Option<Vec<u8>>,
    body: Vec<u8>,
    is_tombstone: bool,
    headers: Vec<(String, Vec<u8>)>,
}

impl Row {
    pub(crate) fn new(record: &RecordView<'_>) -> Row {
        Row {
            partition: record.partition(),
            lsn: record.lsn().get(),
            offset: record.offset(),
            timestamp: record.timestamp(),
            key: record.key().map(<[u8]>::to_vec),
            body: record.body().to_vec(),
            is_tombstone: record.is_tombstone(),
            headers: record.headers().map(|header| (header.name.to_owned(), header.value.to_vec())).collect(),
        }
    }

    pub(crate) fn write(&self, json: bool, output: &mut Output) -> Result<(), Failure> {
        if json { output.json(&self.printed()) } else { output.line(&self.body) }
    }

    fn printed(&self) -> Printed<'_> {
        let (key, key_base64) = self.key.as_deref().map_or((None, None), text_or_base64);
        let (body, body_base64) = if self.is_tombstone { (None, None) } else { text_or_base64(&self.body) };
        Printed {
            partition: self.partition,
            offset: self.offset,
            timestamp: rfc3339(self.timestamp),
            lsn: self.lsn,
            key,
            key_base64,
            body,
            body_base64,
            headers: self.headers.iter().map(PrintedHeader::new).collect(),
        }
    }
}

/// `body` is null for a tombstone; what is not UTF-8 stands under the same name with `_base64`.
#[derive(Serialize)]
struct Printed<'a> {
    partition: u32,
    offset: u64,
    timestamp: String,
    lsn: u64,
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    headers: Vec<PrintedHeader<'a>>,
}

#[derive(Serialize)]
struct PrintedHeader<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl<'a> PrintedHeader<'a> {
    fn new((name, value): &'a (String, Vec<u8>)) -> PrintedHeader<'a> {
        let (value, value_base64) = text_or_base64(value);
        PrintedHeader { name, value, value_base64 }
    }
}

fn text_or_base64(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(base64(bytes))),
    }
}
