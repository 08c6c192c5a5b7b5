//! Activations as files: safetensors and npz.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use candle_core::{DType, Tensor};
use serde_json::json;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{Engine, Run};
use crate::{
    fs::{self, Readers},
    hooks::RunError,
    printed,
};

/// A cache that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error("{}: the name should end in .safetensors or .npz", printed::path(.0))]
    Format(PathBuf),
    #[error("can't write {}: {reason}", printed::path(.path))]
    Write { path: PathBuf, reason: String },
}

/// Whether a cache's file name asks for npz, or for safetensors.
///
/// # Errors
/// It asks for neither.
pub fn check_cache_name(path: &Path) -> Result<bool, SaveError> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("safetensors") => Ok(false),
        Some("npz") => Ok(true),
        _ => Err(SaveError::Format(path.to_path_buf())),
    }
}

/// Write every activation that the run kept, or that can be made of what it kept, under its TransformerLens name, without the batch axis, and `logits` `[pos, vocab]`,
/// all f32: as safetensors, or as npz where the name ends so. The file appears whole or not at all.
///
/// # Errors
/// Another ending, or a file that can't be written; what stood there before is then untouched.
pub fn save_cache(engine: &Engine, run: &Run, path: &Path) -> Result<(), SaveError> {
    let npz = check_cache_name(path)?;
    let failed = |reason: String| SaveError::Write { path: path.to_path_buf(), reason };
    let tensors = tensors(engine, run).map_err(|e| failed(plain(&e)))?;
    let write = if npz { write_npz } else { write_safetensors };
    fs::write_atomic(path, Readers::AsBefore, |file| write(file, &tensors)).map_err(|e| failed(fs::plain(&e.source)))
}

/// An f32 array with the name and shape it is written with.
pub struct Array {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Arrays as `numpy.savez` writes them: an uncompressed zip archive of `NAME.npy`, format 1.0 (NEP 1).
///
/// # Errors
/// The file can't be written whole.
pub fn write_npz(file: &mut File, arrays: &[Array]) -> io::Result<()> {
    let mut failed = None;
    let out = Latched { out: BufWriter::with_capacity(BUFFER, file), failed: &mut failed, at: 0, end: 0 };
    let mut archive = ZipWriter::new(out);
    for Array { name, shape, values } in arrays {
        let size = values.len() as u64 * 4;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            // of 4 GiB and more
            .large_file(size >= u64::from(u32::MAX) - 1024);
        archive.start_file(format!("{name}.npy"), options)?;
        let comma = if shape.len() == 1 { "," } else { "" };
        let shape = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}{comma}), }}");
        // the data begin at a multiple of 64 bytes, behind 10 bytes before the header and the line end behind it
        header.push_str(&" ".repeat(63 - (header.len() + 10) % 64));
        header.push('\n');
        let length = u16::try_from(header.len()).map_err(io::Error::other)?;
        archive.write_all(b"\x93NUMPY\x01\x00")?;
        archive.write_all(&length.to_le_bytes())?;
        archive.write_all(header.as_bytes())?;
        write_values(&mut archive, values)?;
    }
    archive.finish()?.flush()?;
    failed.map_or(Ok(()), Err)
}

/// A writer that keeps the first error for later and from then on takes everything and writes nothing. An archive that is
/// dropped because of an error tries to finish and, failing, prints a line of its own onto the screen.
struct Latched<'a, W> {
    out: W,
    failed: &'a mut Option<io::Error>,
    /// Where the next byte goes, and where the last one is, as if there had been no error.
    at: u64,
    end: u64,
}

impl<W: Write + Seek> Latched<'_, W> {
    fn attempt<T>(&mut self, work: impl FnOnce(&mut W) -> io::Result<T>) -> Option<T> {
        if self.failed.is_some() {
            return None;
        }
        work(&mut self.out).map_err(|error| *self.failed = Some(error)).ok()
    }
}

impl<W: Write + Seek> Write for Latched<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.attempt(|out| out.write(bytes)).unwrap_or(bytes.len());
        self.at += written as u64;
        self.end = self.end.max(self.at);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt(Write::flush);
        Ok(())
    }
}

impl<W: Write + Seek> Seek for Latched<'_, W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.attempt(|out| out.seek(to));
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Arrays in the safetensors format: the length of a JSON header, the header, the values.
fn write_safetensors(file: &mut File, arrays: &[Array]) -> io::Result<()> {
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for Array { name, shape, values } in arrays {
        let begin = end;
        end += values.len() * 4;
        header.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}));
    }
    let mut header = serde_json::Value::from(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut out = BufWriter::with_capacity(BUFFER, file);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    arrays.iter().try_for_each(|array| write_values(&mut out, &array.values))?;
    out.flush()
}

const BUFFER: usize = 1 << 20;

/// Little-endian, some at a time.
fn write_values(out: &mut impl Write, values: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for part in values.chunks(1 << 16) {
        bytes.clear();
        bytes.extend(part.iter().flat_map(|x| x.to_le_bytes()));
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// candle's message without the backtrace it appends.
fn plain(error: &impl ToString) -> String {
    error.to_string().lines().next().unwrap_or_default().to_string()
}

fn tensors(engine: &Engine, run: &Run) -> Result<Vec<Array>, RunError> {
    let array = |name: String, tensor: Tensor| -> Result<Array, RunError> {
        let tensor = tensor.squeeze(0)?.to_dtype(DType::F32)?;
        Ok(Array { name, shape: tensor.dims().to_vec(), values: tensor.flatten_all()?.to_vec1()? })
    };
    let mut all = Vec::new();
    for point in run.cache.points() {
        if let Some(value) = engine.activation(run, point)? {
            all.push(array(point.to_string(), value)?);
        }
    }
    all.push(array("logits".into(), engine.logits(run, 0..run.tokens.len())?)?);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}
