//! Activations as files: safetensors and npz.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use candle_core::Tensor;
use serde_json::json;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{Control, Engine, Gradients, Run, host};
use crate::{
    fs::{self, Readers},
    hooks::{HookPoint, RunError},
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

/// Whether the file name of a cache asks for npz rather than safetensors.
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

/// Write every activation that the run kept, or that can be computed from those, and `logits` `[pos, vocab]`, all f32,
/// under TransformerLens's names and without the batch axis: as safetensors, or as npz if the name says so. The file is
/// written completely or not at all.
///
/// # Errors
/// Another extension, or a file that can't be written; an existing file then stays unchanged.
pub fn save_cache(engine: &Engine, run: &Run, path: &Path) -> Result<(), SaveError> {
    let points: Vec<HookPoint> = run.cache.points().into_iter().collect();
    let n_pos = run.tokens.len();
    let header = |point: &HookPoint| Header { name: point.to_string(), shape: engine.schema.shape(*point, n_pos) };
    let logits = Header { name: "logits".into(), shape: vec![n_pos, engine.schema.dims.d_vocab] };
    save(path, points.iter().map(header).chain([logits]).collect(), &mut |number| match points.get(number) {
        Some(point) => engine.activation(run, *point),
        None => engine.logits(run, 0..n_pos).map(Some),
    })
}

/// Write every gradient under the name of its hook, as [`save_cache`] writes activations.
///
/// # Errors
/// Another extension, cancellation, or a file that can't be written; an existing file then stays unchanged.
pub fn save_gradients(
    engine: &Engine,
    gradients: &Gradients,
    path: &Path,
    control: Control<'_>,
) -> Result<(), SaveError> {
    let points: Vec<HookPoint> = gradients.cache.points().into_iter().collect();
    let n_pos = gradients.run.tokens.len();
    let header = |point: &HookPoint| Header { name: point.to_string(), shape: engine.schema.shape(*point, n_pos) };
    save(path, points.iter().map(header).collect(), &mut |number| match points.get(number) {
        Some(point) => engine.gradient(gradients, *point, control),
        None => Ok(None),
    })
}

/// Write tensors `[1, ...]` in the order of their names, each computed when its turn comes.
fn save(
    path: &Path,
    headers: Vec<Header>,
    tensor: &mut dyn FnMut(usize) -> Result<Option<Tensor>, RunError>,
) -> Result<(), SaveError> {
    let write = if check_cache_name(path)? { npz } else { safetensors };
    let mut headers: Vec<(usize, Header)> = headers.into_iter().enumerate().collect();
    headers.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    let (numbers, headers): (Vec<usize>, Vec<Header>) = headers.into_iter().unzip();
    let mut values = |at: usize| -> io::Result<Vec<f32>> {
        let failed = |error: RunError| io::Error::other(plain(&error));
        let tensor = tensor(numbers[at]).map_err(failed)?.ok_or_else(|| io::Error::other("a value was not kept"))?;
        host::values(&tensor).map_err(failed)
    };
    let failed = |reason: String| SaveError::Write { path: path.to_path_buf(), reason };
    fs::write_atomic(path, Readers::AsBefore, |file| write(file, &headers, &mut values))
        .map_err(|e| failed(fs::plain(&e.source)))
}

/// An f32 array with the name and shape it is written with.
pub struct Array {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// The name and shape of an array whose values are computed when they are written, so that only one is in memory at a
/// time.
struct Header {
    name: String,
    shape: Vec<usize>,
}

/// Makes the values of an array by its number.
type Values<'a> = dyn FnMut(usize) -> io::Result<Vec<f32>> + 'a;

/// Arrays as `numpy.savez` writes them: an uncompressed zip archive of `NAME.npy`, format 1.0 (NEP 1).
///
/// # Errors
/// The file can't be written whole.
pub fn write_npz(file: &mut File, arrays: &[Array]) -> io::Result<()> {
    let header = |array: &Array| Header { name: array.name.clone(), shape: array.shape.clone() };
    let headers: Vec<Header> = arrays.iter().map(header).collect();
    npz(file, &headers, &mut |number| Ok(arrays[number].values.clone()))
}

fn npz(file: &mut File, headers: &[Header], values: &mut Values<'_>) -> io::Result<()> {
    let mut failed = None;
    let out = Latched { out: BufWriter::with_capacity(BUFFER, file), failed: &mut failed, at: 0, end: 0 };
    let mut archive = ZipWriter::new(out);
    for (number, Header { name, shape }) in headers.iter().enumerate() {
        let values = values(number)?;
        let size = values.len() as u64 * 4;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            // for arrays of 4 GiB and more
            .large_file(size >= u64::from(u32::MAX) - 1024);
        archive.start_file(format!("{name}.npy"), options)?;
        let comma = if shape.len() == 1 { "," } else { "" };
        let shape = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}{comma}), }}");
        // the data begin at a multiple of 64 bytes, after the 10 bytes before the header and the line feed at its end
        header.push_str(&" ".repeat(63 - (header.len() + 10) % 64));
        header.push('\n');
        let length = u16::try_from(header.len()).map_err(io::Error::other)?;
        archive.write_all(b"\x93NUMPY\x01\x00")?;
        archive.write_all(&length.to_le_bytes())?;
        archive.write_all(header.as_bytes())?;
        write_values(&mut archive, &values)?;
    }
    archive.finish()?.flush()?;
    failed.map_or(Ok(()), Err)
}

/// A writer that stores the first error and then discards all output. Without it, an archive that is dropped because of
/// an error would try to finish, fail, and print a message onto the screen.
struct Latched<'a, W> {
    out: W,
    failed: &'a mut Option<io::Error>,
    /// Where the next byte would go and where the last one would be, had there been no error.
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
fn safetensors(file: &mut File, headers: &[Header], values: &mut Values<'_>) -> io::Result<()> {
    let mut json = serde_json::Map::new();
    let mut end = 0;
    for Header { name, shape } in headers {
        let begin = end;
        end += shape.iter().product::<usize>() * 4;
        json.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}));
    }
    let mut json = serde_json::Value::from(json).to_string();
    json.push_str(&" ".repeat(json.len().next_multiple_of(8) - json.len()));
    let mut out = BufWriter::with_capacity(BUFFER, file);
    out.write_all(&(json.len() as u64).to_le_bytes())?;
    out.write_all(json.as_bytes())?;
    for number in 0..headers.len() {
        write_values(&mut out, &values(number)?)?;
    }
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
