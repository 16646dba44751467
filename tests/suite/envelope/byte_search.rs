//! Searches for a value in files and in the memory of a process.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use haven_testkit::workspace;
use memchr::memmem::Finder;

/// Number of bytes read at once.
const CHUNK_SIZE: usize = 4 * 1024 * 1024;

/// A value to search for, in several encodings.
pub(super) struct Needle(Vec<Encoding>);

/// A value in one encoding.
struct Encoding {
    name: &'static str,
    finder: Finder<'static>,
}

impl Needle {
    /// Returns a needle for `value` as it is, in hexadecimal, in base64, and in UTF-16.
    pub(super) fn new(value: &[u8]) -> Self {
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut encodings = vec![
            Encoding::new("as it is", value.to_owned()),
            Encoding::new("in hexadecimal", hex.to_uppercase().into()),
            Encoding::new("in hexadecimal", hex.into()),
            Encoding::new("in UTF-16", value.iter().flat_map(|byte| [*byte, 0]).collect()),
        ];
        for offset in 0..3 {
            // A digit holds six bits; digits that also hold bits of a neighbour are left out.
            let shifted = [vec![0; offset], value.to_owned()].concat();
            let (from, to) = ((offset * 8).div_ceil(6), shifted.len() * 8 / 6);
            for encoded in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
                encodings.push(Encoding::new("in base64", encoded[from..to].into()));
            }
        }
        Self(encodings)
    }

    /// Returns the encoding in which the value is in `bytes`, or `None`.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<&'static str> {
        self.0.iter().find(|form| form.is_in(bytes)).map(|form| form.name)
    }

    /// Returns the encoding and the file of `directory` in which the value is, or `None`.
    pub(super) fn find_in_files(&self, directory: &Path) -> Result<Option<String>> {
        for path in workspace::files(directory)? {
            let Ok(bytes) = fs::read(&path) else { continue };
            if let Some(form) = self.find(&bytes) {
                return Ok(Some(format!("{form}, in {}", path.display())));
            }
        }
        Ok(None)
    }

    /// Returns the encoding and the mapping in which the value is in the memory of a paused process, or `None`.
    pub(super) fn find_in_memory(&self, pid: u32) -> Result<Option<String>> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let memory = File::open(format!("/proc/{pid}/mem"))?;
        let longest = self
            .0
            .iter()
            .map(|form| form.finder.needle().len())
            .max()
            .unwrap_or(1);
        let mut bytes = vec![0; CHUNK_SIZE];
        let mut seen = 0;
        for map in maps.lines() {
            let Some((from, to)) = writable_range(map)? else {
                continue;
            };
            let mut at = from;
            while at < to {
                let wanted = CHUNK_SIZE.min((to - at) as usize);
                // A range without pages cannot be read.
                let Ok(read @ 1..) = memory.read_at(&mut bytes[..wanted], at) else {
                    break;
                };
                seen += read;
                if let Some(form) = self.find(&bytes[..read]) {
                    return Ok(Some(format!("{form}, in {map}")));
                }
                at += read as u64;
                if at < to {
                    // The value can lie across two pieces.
                    at -= read.min(longest - 1).min(read - 1) as u64;
                }
            }
        }
        ensure!(
            seen > CHUNK_SIZE,
            "no more than {seen} bytes of memory could be read"
        );
        Ok(None)
    }
}

/// Returns the range of a line of /proc/pid/maps. `None` when the range is never written to except by the linker, or is
/// the kernel's.
fn writable_range(map: &str) -> Result<Option<(u64, u64)>> {
    let mut words = map.split_whitespace();
    let (range, permissions) = (
        words.next().context("no range")?,
        words.next().context("no permissions")?,
    );
    let path = words.nth(3).unwrap_or_default();
    let (from, to) = range.split_once('-').context("no end of the range")?;
    let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
    let of_a_file = path.starts_with('/') && !permissions.contains('w');
    let of_the_kernel = path.starts_with("[v");
    Ok((permissions.starts_with('r') && !of_a_file && !of_the_kernel).then_some((from, to)))
}

impl Encoding {
    fn new(name: &'static str, bytes: Vec<u8>) -> Self {
        let finder = Finder::new(&bytes).into_owned();
        Self { name, finder }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.finder.find(bytes).is_some()
    }
}

#[test]
fn a_value_is_found_in_every_encoding() {
    let (needle, other) = (Needle::new(b"x7k2m9p4q1w8"), Needle::new(b"x7k2m9q4q1w8"));
    let hidden = "x7k2m9p4q1w8";
    let utf16: Vec<u8> = hidden.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let hex: String = hidden.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut encodings = vec![
        hidden.as_bytes().to_owned(),
        utf16,
        hex.to_uppercase().into(),
        hex.into(),
    ];
    for before in ["", "a", "ab"] {
        encodings.push(STANDARD_NO_PAD.encode(format!("{before}{hidden}?>")).into());
        encodings.push(URL_SAFE_NO_PAD.encode(format!("{before}{hidden}?>")).into());
    }
    for form in encodings {
        for noise in [0, 1, 11, 12, 13, 1000] {
            let bytes = [vec![b'n'; noise], form.clone(), vec![b'8'; noise]].concat();
            assert!(needle.find(&bytes).is_some(), "{bytes:?}");
            assert_eq!(other.find(&bytes), None, "{bytes:?}");
        }
    }
}

#[test]
fn a_value_is_found_in_memory() -> Result<()> {
    // Made here, so that the value is in memory and in no file.
    let value: Vec<u8> = (0..24).map(|_| rand::random()).collect();
    let needle = Needle::new(&value);
    let found = needle.find_in_memory(std::process::id())?;
    assert!(found.is_some());
    drop(value);
    Ok(())
}
