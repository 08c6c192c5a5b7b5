//! Vectors in files: `.npy`, and the arrays of `.npz`, `.safetensors` and `.pt`.

use std::path::Path;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use crate::{
    fs,
    model::{ModelError, NpyHeader, saved_tensor, saved_tensors},
    printed::{self, escaped},
    suggest::{did_you_mean, nearest},
};

/// A dictionary of 65,536 features for a model of 410m's size has 268 MB.
const LIMIT: u64 = 1 << 30;

/// The numbers of a file, row-major: of the tensor that `key` names, `NAME` or `NAME[ROW]`; without it, of the only one.
///
/// # Errors
/// Says what is wrong, with the file's name.
pub(super) fn read(path: &Path, key: Option<&str>) -> Result<Vec<f32>, String> {
    let name = printed::path(path);
    let wrong = |reason: String| format!("{name}: {reason}");
    let is = |extension: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension));
    let what = match () {
        () if is("npz") => "array",
        () if is("pt") || is("pth") || is("bin") || is("npy") || is("safetensors") => "tensor",
        () => return Err(wrong("expected a `.safetensors`, `.npy`, `.npz` or `.pt` file".into())),
    };
    let whole = [("npy", npy as Reader), ("safetensors", tensor)];
    let whole = whole.into_iter().find(|(extension, _)| is(extension)).map(|(_, read)| read);
    let (key, row) = match key {
        Some(key) => of_row(key).map_err(wrong)?,
        None => (None, None),
    };
    let (shape, values) = match whole {
        Some(read) => {
            let bytes = fs::read(path, LIMIT).map_err(|reason| format!("can't read {name}: {reason}"))?;
            read(&bytes, key).map_err(wrong)?
        }
        None => saved(path, key, what).map_err(wrong)?,
    };
    let Some(row) = row else { return Ok(values) };
    let [rows, width] = shape[..] else {
        return Err(wrong(format!("[{row}] names a row, and {shape:?} is no matrix")));
    };
    if row >= rows {
        return Err(wrong(format!("there is no row {row}: expected 0 to {}", rows.saturating_sub(1))));
    }
    Ok(values[row * width..(row + 1) * width].to_vec())
}

/// `NAME[ROW]` as its parts.
fn of_row(key: &str) -> Result<(Option<&str>, Option<usize>), String> {
    let Some((name, row)) = key.strip_suffix(']').and_then(|key| key.rsplit_once('[')) else {
        return Ok((Some(key), None));
    };
    let row = row.parse().map_err(|_| format!("{:?} is no row; expected a whole number from 0", escaped(row)))?;
    Ok((Some(name).filter(|name| !name.is_empty()), Some(row)))
}

type Array = (Vec<usize>, Vec<f32>);

/// Reads the array that is named, or the only one.
type Reader = fn(&[u8], Option<&str>) -> Result<Array, String>;

/// The name of the array to read: the given one, or the only one that there is.
fn chosen<'a>(names: &[&'a str], key: Option<&'a str>, what: &str) -> Result<&'a str, String> {
    /// Of the names that are listed.
    const SHOWN: usize = 8;
    match (key, names) {
        (Some(key), _) if names.contains(&key) => Ok(key),
        (Some(key), _) => {
            let nearest = did_you_mean(&nearest(key, names.iter().copied()));
            Err(format!("it holds no {what} `{}`{nearest}", escaped(key)))
        }
        (None, [one]) => Ok(one),
        (None, []) => Err(format!("it holds no {what}")),
        (None, _) => {
            let shown: Vec<_> = names.iter().take(SHOWN).map(|name| escaped(name)).collect();
            let more = if names.len() > SHOWN { ", ..." } else { "" };
            Err(format!("it holds {} {what}s ({}{more}): name one, as FILE#NAME", names.len(), shown.join(", ")))
        }
    }
}

/// An array of numpy's archive, or a tensor that `torch.save` wrote, wherever in the saved object. Files are parsed, and nothing in them
/// is run.
fn saved(path: &Path, key: Option<&str>, what: &str) -> Result<Array, String> {
    let reason = |error: ModelError| match error {
        ModelError::Broken { reason, .. } => reason,
        other => other.to_string(),
    };
    let names = saved_tensors(path).map_err(reason)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let key = match (key, names.as_slice()) {
        // a tensor that was saved by itself has no name
        (Some(_), [""]) => return Err(format!("it holds one {what}, without a name")),
        (key, _) => chosen(&names, key, what)?,
    };
    saved_tensor(path, key).map_err(reason)
}

fn tensor(bytes: &[u8], key: Option<&str>) -> Result<Array, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| format!("no safetensors: {error}"))?;
    let mut names: Vec<&str> = file.names();
    names.sort_unstable();
    let key = chosen(&names, key, "tensor")?;
    let tensor = file.tensor(key).map_err(|error| format!("`{}`: {error}", escaped(key)))?;
    let (data, shape) = (tensor.data(), tensor.shape().to_vec());
    #[allow(clippy::cast_possible_truncation, reason = "activations are f32")]
    let values = match tensor.dtype() {
        Dtype::F32 => numbers(data, f32::from_le_bytes),
        Dtype::F64 => numbers(data, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => numbers(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => numbers(data, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        other => return Err(format!("`{}` is {other:?}; expected F16, BF16, F32 or F64", escaped(key))),
    };
    Ok((shape, values))
}

fn numbers<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
}

/// An array in numpy's format, versions 1 to 3.
fn npy(bytes: &[u8], key: Option<&str>) -> Result<Array, String> {
    if key.is_some_and(|key| !key.is_empty()) {
        return Err("a `.npy` file holds one array, without a name".into());
    }
    let header = NpyHeader::read(bytes)?;
    if header.strides().is_some() {
        return Err("its array is in Fortran's order; expected C's, as numpy.ascontiguousarray gives it".into());
    }
    let data = bytes.get(header.data..).unwrap_or_default();
    #[allow(clippy::cast_possible_truncation, reason = "activations are f32")]
    let values = match header.dtype {
        Dtype::F32 => numbers(data, f32::from_le_bytes),
        Dtype::F64 => numbers(data, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => numbers(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
        other => return Err(format!("its array is of type {other:?}; expected <f2, <f4 or <f8")),
    };
    let shape = header.shape;
    match shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n)) {
        Some(n) if n == values.len() => Ok((shape, values)),
        _ => Err(format!("its header says {shape:?}, and it has {} numbers", values.len())),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, path::PathBuf};

    use super::*;

    fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (directory, path)
    }

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), data].concat()
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[test]
    fn numpy_arrays_are_read_as_they_are_or_by_row() {
        let data = bytes(&[1.0, -2.0, 3.0, 4.5, 5.0, 6.0]);
        let matrix = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", &data);
        let (_kept, path) = file("v.npy", &matrix);
        assert_eq!(read(&path, Some("[1]")).unwrap(), [4.5, 5.0, 6.0]);
        assert_eq!(read(&path, None).unwrap().len(), 6);
        assert!(read(&path, Some("[2]")).unwrap_err().contains("expected 0 to 1"));
        assert!(read(&path, Some("w")).unwrap_err().contains("without a name"));
        let doubles: Vec<u8> = [0.5f64, -1.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let (_kept, path) = file("v.NPY", &npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", &doubles));
        assert_eq!(read(&path, None).unwrap(), [0.5, -1.0]);
        for (header, data, expected) in [
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &data[..], "has 6 numbers"),
            ("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", &data, "Fortran"),
            ("{'descr': '<i4', 'fortran_order': False, 'shape': (6,), }", &data, "expected <f2, <f4 or <f8"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }", &data, "6 numbers"),
            ("{'descr': '<f4'", &data, "no array"),
        ] {
            let (_kept, path) = file("v.npy", &npy(header, data));
            let message = read(&path, None).unwrap_err();
            assert!(message.contains(expected) && message.contains("v.npy"), "{message}");
        }
    }

    /// A file of `tests/golden/vector_files.py`.
    fn written(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vectors").join(name)
    }

    fn vector() -> Vec<f32> {
        (0u8..32).map(|i| (f32::from((u16::from(i) * 13 % 32) as u8) - 15.5) / 10.0).collect()
    }

    #[test]
    fn files_of_numpy_and_pytorch_hold_the_same_vector() {
        for (name, key) in [
            ("stored.npz", Some("v")),
            ("stored.npz", Some("both[1]")),
            ("compressed.npz", Some("v")),
            ("one.npz", None),
            ("one.npz", Some("arr_0")),
            ("tensor.pt", None),
            ("parameter.pt", None),
            ("view.pt", None),
            ("strided.pt", None),
            ("several.pt", Some("v")),
            ("several.pt", Some("layers.3[1]")),
            ("with-settings.pt", None),
        ] {
            assert_eq!(read(&written(name), key).unwrap(), vector(), "{name} {key:?}");
        }
        for (name, key, off) in [("compressed.npz", Some("both[1]"), 1e-3), ("bf16.pt", None, 1e-2)] {
            let found = read(&written(name), key).unwrap();
            assert!(found.iter().zip(vector()).all(|(a, b)| (a - b).abs() <= off), "{name}");
        }
        let minus: Vec<f32> = vector().into_iter().map(|x| -x).collect();
        assert_eq!(read(&written("stored.npz"), Some("minus")).unwrap(), minus);
        for (name, key, expected) in [
            ("stored.npz", None, "3 arrays (both, minus, v): name one"),
            ("stored.npz", Some("bth"), "holds no array `bth`; did you mean `both`?"),
            ("several.pt", None, "3 tensors (layers.3, minus, v): name one"),
            ("several.pt", Some("w"), "holds no tensor `w`"),
            ("tensor.pt", Some("v"), "holds one tensor, without a name"),
            ("tensor.pt", Some("[0]"), "is no matrix"),
        ] {
            let message = read(&written(name), key).unwrap_err();
            assert!(message.contains(expected) && message.contains(name), "{message}");
        }
    }

    #[test]
    fn truncated_and_crafted_files_are_refused() {
        let whole = std::fs::read(written("stored.npz")).unwrap();
        let torch = std::fs::read(written("several.pt")).unwrap();
        for (name, bytes) in [("v.npz", &whole), ("v.pt", &torch)] {
            for length in [0, 3, 60, bytes.len() / 2, bytes.len() - 30, bytes.len() - 1] {
                let (_kept, path) = file(name, &bytes[..length]);
                let message = read(&path, Some("v")).unwrap_err();
                assert!(message.contains(name), "{message}");
            }
        }
        // every byte matters or does not, and none of them makes it panic
        for (name, bytes) in [("v.npz", &whole), ("v.pt", &torch)] {
            for at in (0..bytes.len()).step_by(7) {
                let mut changed = bytes.clone();
                changed[at] ^= 0x55;
                let (_kept, path) = file(name, &changed);
                let _ = read(&path, Some("v"));
            }
        }
        let archive = |entries: &[(&str, &[u8])]| {
            let mut archive = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
            for (name, bytes) in entries {
                archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
                std::io::Write::write_all(&mut archive, bytes).unwrap();
            }
            archive.finish().unwrap().into_inner()
        };
        for (bytes, expected) in [
            (archive(&[("v.npy", b"no array")]), "no array in numpy's format"),
            (archive(&[("v.txt", b"text")]), "it holds no array"),
            (b"text".to_vec(), "v.npz: "),
        ] {
            let (_kept, path) = file("v.npz", &bytes);
            let message = read(&path, None).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        // a pickle that would call something is parsed, and holds no tensor
        let calls = archive(&[("x/data.pkl", b"cos\nsystem\n(Vtouch /tmp/never\ntR.")]);
        let (_kept, path) = file("v.pt", &calls);
        assert!(read(&path, None).unwrap_err().contains("it holds no tensor"));
        assert!(!std::path::Path::new("/tmp/never").exists());
    }

    #[test]
    fn tensors_are_named_unless_there_is_one() {
        let data = bytes(&[1.0, 2.0, 3.0, 4.0]);
        let view = |shape: &[usize]| safetensors::tensor::TensorView::new(Dtype::F32, shape.to_vec(), &data).unwrap();
        let one = safetensors::serialize([("v", view(&[4]))], None).unwrap();
        let (_kept, path) = file("v.safetensors", &one);
        assert_eq!(read(&path, None).unwrap(), [1.0, 2.0, 3.0, 4.0]);
        let two: HashMap<&str, _> = [("W_dec", view(&[2, 2])), ("W_enc", view(&[2, 2]))].into();
        let (_kept, path) = file("v.safetensors", &safetensors::serialize(two, None).unwrap());
        assert_eq!(read(&path, Some("W_dec[1]")).unwrap(), [3.0, 4.0]);
        assert!(read(&path, None).unwrap_err().contains("2 tensors (W_dec, W_enc): name one"));
        assert!(read(&path, Some("W_dc")).unwrap_err().contains("did you mean `W_dec`?"));
        assert!(read(&path, Some("W_dec[x]")).unwrap_err().contains("no row"));
        let (_kept, path) = file("v.txt", b"");
        assert!(read(&path, None).unwrap_err().contains("expected a `.safetensors`, `.npy`, `.npz` or `.pt` file"));
    }
}
