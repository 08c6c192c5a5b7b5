//! Locates the arrays in a file of `numpy.savez` or `numpy.savez_compressed`: a zip archive with one `.npy` entry for each.

use std::{
    fs::File,
    io::{BufReader, Read},
};

use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::{
    entry::{Entry, Found, MOST_TENSORS, Packed},
    npy::NpyHeader,
};

/// The arrays of a file, named without `.npy`.
pub(super) fn entries(file: &File) -> Result<Vec<Found>, String> {
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let length = usize::try_from(length).map_err(|e| e.to_string())?;
    let mut archive = ZipArchive::new(BufReader::new(file))
        .map_err(|e| format!("{e}: numpy.savez writes a zip archive; this one is cut off, or is none"))?;
    if archive.len() > MOST_TENSORS {
        return Err("it holds more arrays than any cache of activations".into());
    }
    let mut found = Vec::new();
    for number in 0..archive.len() {
        let entry = archive.by_index_raw(number).map_err(|e| e.to_string())?;
        let name = entry.name().map_err(|e| e.to_string())?.into_owned();
        let Some(name) = name.strip_suffix(".npy").map(String::from) else { continue };
        found.push((name, array(entry, length)));
    }
    Ok(found)
}

/// The array in an entry of the archive, which is read as it is stored.
fn array(mut entry: zip::read::ZipFile<'_, BufReader<&File>>, length: usize) -> Result<Entry, String> {
    let outside = || "does not lie in its file; fetch it again".to_string();
    let start = entry.data_start().ok_or("its position in the archive is unknown")?;
    let start = usize::try_from(start).map_err(|_| outside())?;
    let stored = usize::try_from(entry.compressed_size()).map_err(|_| outside())?;
    let end = start.checked_add(stored).filter(|end| *end <= length).ok_or_else(outside)?;
    let deflated = match entry.compression() {
        CompressionMethod::Stored => false,
        CompressionMethod::DEFLATE => true,
        other => return Err(format!("is compressed by {other}; numpy writes arrays as they are, or deflated")),
    };
    let mut beginning = Vec::new();
    let enough = NpyHeader::ENOUGH as u64;
    let read = match deflated {
        true => DeflateDecoder::new(&mut entry).take(enough).read_to_end(&mut beginning),
        false => (&mut entry).take(enough).read_to_end(&mut beginning),
    };
    read.map_err(|e| format!("can't be read: {e}"))?;
    let header = NpyHeader::read(&beginning)?;
    let size = header.size().ok_or_else(outside)?;
    let (dtype, strides) = (header.dtype, header.strides());
    let entry = |bytes, packed| Entry { dtype, shape: header.shape.clone(), bytes, strides, packed };
    if deflated {
        // deflate compresses at most 1032 times
        if size > stored.saturating_mul(1032).saturating_add(1 << 10) {
            return Err(format!("has {size} bytes by its header, which {stored} compressed bytes can't hold"));
        }
        return Ok(entry(start..end, Some(Packed { skip: header.data, size })));
    }
    let first = start + header.data;
    if first.checked_add(size).is_none_or(|last| last > end) {
        return Err(format!("is {:?} by its header, and has {} bytes", header.shape, end.saturating_sub(first)));
    }
    Ok(entry(first..first + size, None))
}
