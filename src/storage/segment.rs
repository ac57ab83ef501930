//! Segment files: bounded pieces of the journal, and survivors written by cleaning.
//!
//! A journal segment is made ahead of need: zero-filled by real writes, synced, renamed into place, directory synced.
//! It is then only overwritten, so no later sync has file-system metadata to commit. It keeps its full length for
//! ever, which is what makes read-only maps of it safe.
//!
//! Payload of its first frame (kind `SegmentHeader`), written when the journal reaches it:
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 16 | database id |
//! | 16 | 4 | format version |
//! | 20 | 4 | checksum of the last frame before this segment |
//! | 24 | 8 | number of this segment |
//! | 32 | 8 | end of the journal before this segment |

use std::io;

use hashbrown::HashMap;

use crate::base::bounds::OPEN_SEGMENTS_MAX;
use crate::base::lsn::{Geometry, Lsn};
use crate::base::planted;
use crate::base::segment_id::SegmentId;
use crate::base::sync::{Arc, Mutex};

use super::control::FORMAT;
use super::disk::{Access, Disk, File, Map};

pub(crate) const FOLDER: &str = "segments";

/// Bytes of a segment header's payload.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 40;

/// How much of a new segment is written at a time.
const FILL_BYTES: usize = 1 << 20;

/// What the first frame of a segment says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) database_id: [u8; 16],
    pub(crate) number: u64,
    pub(crate) end_before: Lsn,
    pub(crate) crc_before: u32,
}

impl SegmentHeader {
    pub(crate) fn encode(&self, out: &mut [u8]) {
        out[..16].copy_from_slice(&self.database_id);
        out[16..20].copy_from_slice(&FORMAT.to_le_bytes());
        out[20..24].copy_from_slice(&self.crc_before.to_le_bytes());
        out[24..32].copy_from_slice(&self.number.to_le_bytes());
        out[32..40].copy_from_slice(&self.end_before.0.to_le_bytes());
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<SegmentHeader> {
        let payload: &[u8; SEGMENT_HEADER_BYTES] = payload.try_into().ok()?;
        let u64_at = |at: usize| payload[at..].first_chunk().map(|b| u64::from_le_bytes(*b));
        Some(SegmentHeader {
            database_id: *payload.first_chunk()?,
            crc_before: u32::from_le_bytes(*payload[20..].first_chunk()?),
            number: u64_at(24)?,
            end_before: Lsn(u64_at(32)?),
        })
    }
}

/// Path of a segment's file.
pub(crate) fn path(id: SegmentId) -> String {
    match id {
        SegmentId::Journal(number) => format!("{FOLDER}/{number}.seg"),
        SegmentId::Survivor(number) => format!("{FOLDER}/s{number}.seg"),
    }
}

/// Path of a segment's sidecar.
pub(crate) fn sidecar_path(id: SegmentId) -> String {
    match id {
        SegmentId::Journal(number) => format!("{FOLDER}/{number}.idx"),
        SegmentId::Survivor(number) => format!("{FOLDER}/s{number}.idx"),
    }
}

/// What a file in the segments folder is, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum FileName {
    Segment(SegmentId),
    Sidecar(SegmentId),
    /// Not finished when its maker died.
    Unfinished,
    Foreign,
}

pub(crate) fn parse_name(name: &str) -> FileName {
    let Some((stem, ending)) = name.rsplit_once('.') else { return FileName::Foreign };
    let id = match stem.strip_prefix('s') {
        Some(number) => number.parse().ok().map(SegmentId::Survivor),
        None => stem.parse().ok().map(SegmentId::Journal),
    };
    match (id, ending) {
        (_, "new") => FileName::Unfinished,
        (Some(id), "seg") => FileName::Segment(id),
        (Some(id), "idx") => FileName::Sidecar(id),
        _ => FileName::Foreign,
    }
}

/// An open segment. Cheap to clone; what it maps stays readable after the file was removed.
#[derive(Clone, Debug)]
pub(crate) struct SegmentFile {
    pub(crate) id: SegmentId,
    pub(crate) file: Arc<dyn File>,
    pub(crate) map: Map,
}

impl SegmentFile {
    fn open(disk: &dyn Disk, id: SegmentId, access: Access, geometry: Geometry) -> io::Result<SegmentFile> {
        let file = disk.open(&path(id), access)?;
        let len = match id {
            SegmentId::Journal(_) => geometry.segment_bytes(),
            SegmentId::Survivor(_) => file.len()?,
        };
        if file.len()? < len {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is shorter than a segment", path(id))));
        }
        let map = file.map_read(len)?;
        Ok(SegmentFile { id, file, map })
    }
}

/// The segments of one database that are open. A segment is opened at first use and closed when it is retired.
#[derive(Debug)]
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    geometry: Geometry,
    access: Access,
    open_max: usize,
    open: Mutex<HashMap<SegmentId, SegmentFile, foldhash::fast::RandomState>>,
}

impl Segments {
    pub(crate) fn new(disk: Arc<dyn Disk>, geometry: Geometry) -> Segments {
        let access = Access::Write;
        Segments { disk, geometry, access, open_max: OPEN_SEGMENTS_MAX, open: Mutex::new(HashMap::default()) }
    }

    /// Those of a database that another process hosts. At most `open_max` are kept open.
    pub(crate) fn to_be_read(disk: Arc<dyn Disk>, geometry: Geometry, open_max: usize) -> Segments {
        let access = Access::Read;
        Segments { disk, geometry, access, open_max, open: Mutex::new(HashMap::default()) }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The open segment, opened now if need be. `NotFound` if it was retired.
    pub(crate) fn get(&self, id: SegmentId) -> io::Result<SegmentFile> {
        let mut open = self.open.lock();
        if let Some(segment) = open.get(&id) {
            return Ok(segment.clone());
        }
        let segment = SegmentFile::open(&*self.disk, id, self.access, self.geometry)?;
        if open.len() >= self.open_max
            && let Some(oldest) = open.keys().min_by_key(|id| (matches!(id, SegmentId::Journal(_)), **id)).copied()
        {
            // Readers that hold it keep it; the committer's are the newest of the journal and stay.
            open.remove(&oldest);
        }
        open.insert(id, segment.clone());
        Ok(segment)
    }

    /// Makes a zero-filled segment. It and its name are durable on return.
    pub(crate) fn make(&self, number: u64) -> io::Result<()> {
        let id = SegmentId::Journal(number);
        let unfinished = format!("{FOLDER}/{number}.new");
        let result = self.fill(&unfinished).and_then(|()| {
            self.disk.rename(&unfinished, &path(id))?;
            if planted::is("segment_name_not_synced") { Ok(()) } else { self.disk.sync_dir(FOLDER) }
        });
        if result.is_err() {
            // What is left of an unfinished segment only takes room; the next open removes it if this cannot.
            let _ = self.disk.remove(&unfinished);
        }
        result
    }

    fn fill(&self, unfinished: &str) -> io::Result<()> {
        let file = match self.disk.open(unfinished, Access::Create) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(unfinished)?;
                self.disk.open(unfinished, Access::Create)?
            }
            opened => opened?,
        };
        let zeros = vec![0; FILL_BYTES];
        for at in (0..self.geometry.segment_bytes()).step_by(FILL_BYTES) {
            file.write(at, &zeros)?;
        }
        file.sync_data()
    }

    /// Removes a segment and its sidecar, if they are there. Readers that hold the segment keep its bytes.
    pub(crate) fn retire(&self, id: SegmentId) -> io::Result<()> {
        #[cfg(planted = "close_before_remove")]
        self.close(id);
        for path in [path(id), sidecar_path(id)] {
            match self.disk.remove(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        // After its name is gone: a reader could open it again before, and nobody would ever close it.
        #[cfg(not(planted = "close_before_remove"))]
        self.close(id);
        Ok(())
    }

    #[cfg(loom)]
    pub(crate) fn is_open(&self, id: SegmentId) -> bool {
        self.open.lock().contains_key(&id)
    }

    /// Forgets the open file, so that the number of open files follows use.
    pub(crate) fn close(&self, id: SegmentId) {
        self.open.lock().remove(&id);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::bounds::GEOMETRY_BYTES_MIN;
    use crate::storage::disk::host::HostDisk;

    #[test]
    fn a_segment_header_comes_back_as_it_was_written() {
        let header = SegmentHeader { database_id: [7; 16], number: 12, end_before: Lsn(96), crc_before: 0xfeed };
        let mut out = [0; SEGMENT_HEADER_BYTES];
        header.encode(&mut out);
        assert_eq!(SegmentHeader::decode(&out), Some(header));
        assert_eq!(SegmentHeader::decode(&out[1..]), None);
    }

    #[test]
    fn segments_of_another_process_are_opened_for_reading_only() {
        let place = tempfile::tempdir().unwrap();
        let disk = Arc::new(HostDisk::open(place.path(), false).unwrap());
        disk.create_folder(FOLDER).unwrap();
        let geometry = Geometry::new(GEOMETRY_BYTES_MIN, GEOMETRY_BYTES_MIN).unwrap();
        Segments::new(disk.clone(), geometry).make(3).unwrap();
        let segment = Segments::to_be_read(disk, geometry, 1).get(SegmentId::Journal(3)).unwrap();
        assert_eq!(segment.map.len() as u64, geometry.segment_bytes());
        assert!(segment.file.write(0, b"x").is_err());
    }

    #[test]
    fn files_are_known_by_their_names() {
        assert_eq!(parse_name("12.seg"), FileName::Segment(SegmentId::Journal(12)));
        assert_eq!(parse_name("s3.idx"), FileName::Sidecar(SegmentId::Survivor(3)));
        assert_eq!(parse_name("12.new"), FileName::Unfinished);
        assert_eq!(parse_name("notes.txt"), FileName::Foreign);
        assert_eq!(
            parse_name(&path(SegmentId::Survivor(4))["segments/".len()..]),
            FileName::Segment(SegmentId::Survivor(4))
        );
    }
}
