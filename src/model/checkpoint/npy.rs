//! The header of an array in numpy's format (NEP 1), versions 1 to 3.

use safetensors::Dtype;

use crate::printed::escaped;

/// What the header of an array says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NpyHeader {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Whether the first axis varies fastest.
    pub fortran: bool,
    /// The number of bytes before the first value.
    pub data: usize,
}

impl NpyHeader {
    /// The bytes that are enough to read any header, unless an array has hundreds of axes.
    pub const ENOUGH: usize = 1 << 12;

    /// Read it from the first bytes of a file.
    ///
    /// # Errors
    /// What the bytes are instead, or which type of number was expected.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let broken = || "no array in numpy's format".to_string();
        let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(broken)?;
        let (length, rest) = match rest {
            [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
            [2 | 3, _, a, b, c, d, rest @ ..] => {
                (usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).map_err(|_| broken())?, rest)
            }
            _ => return Err(broken()),
        };
        let (header, after) = rest.split_at_checked(length).ok_or_else(broken)?;
        let header = std::str::from_utf8(header).map_err(|_| broken())?;
        let field = |name: &str| header.split_once(&format!("'{name}':")).map(|(_, rest)| rest.trim_start());
        let kind = field("descr").and_then(|rest| rest.strip_prefix('\'')?.split('\'').next()).ok_or_else(broken)?;
        let shape = field("shape").and_then(|rest| rest.strip_prefix('(')?.split_once(')')).ok_or_else(broken)?.0;
        let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape: Vec<usize> = sizes.map(|size| size.parse().map_err(|_| broken())).collect::<Result<_, _>>()?;
        let dtype = match kind {
            "<f2" => Dtype::F16,
            "<f4" => Dtype::F32,
            "<f8" => Dtype::F64,
            "<i8" => Dtype::I64,
            "<i4" => Dtype::I32,
            "<u4" => Dtype::U32,
            other => return Err(format!("its array is of type {}; expected <f2, <f4 or <f8", escaped(other))),
        };
        let fortran = !field("fortran_order").is_some_and(|rest| rest.starts_with("False"));
        Ok(Self { dtype, shape, fortran, data: bytes.len() - after.len() })
    }

    /// The bytes of the values; None if they are too many to count.
    pub fn size(&self) -> Option<usize> {
        self.shape.iter().try_fold(self.dtype.bitsize() / 8, |bytes, n| bytes.checked_mul(*n))
    }

    /// The distance in elements between neighbours along each axis, if that is not the order of rows.
    pub fn strides(&self) -> Option<Vec<usize>> {
        let several = self.shape.iter().filter(|n| **n > 1).count() > 1;
        (self.fortran && several).then(|| {
            let step = |step: &mut usize, n: &usize| {
                let here = *step;
                *step = step.saturating_mul(*n);
                Some(here)
            };
            self.shape.iter().scan(1, step).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Vec<u8> {
        [b"\x93NUMPY\x01\x00".as_slice(), &u16::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
    }

    #[test]
    fn headers_say_type_shape_and_order() {
        let read = |text: &str| NpyHeader::read(&[header(text), vec![0; 8]].concat());
        let found = read("{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }").unwrap();
        assert_eq!((found.dtype, found.size(), found.strides()), (Dtype::F64, Some(48), Some(vec![1, 2])));
        let found = read("{'descr': '<i8', 'fortran_order': False, 'shape': (5,), }").unwrap();
        assert_eq!((found.dtype, found.shape.clone(), found.strides()), (Dtype::I64, vec![5], None));
        let found = read("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 5), }").unwrap();
        assert_eq!(found.strides(), None);
        assert_eq!(read("{'descr': '<f4', 'fortran_order': False, 'shape': (), }").unwrap().size(), Some(4));
        assert!(
            read("{'descr': '|S3', 'fortran_order': False, 'shape': (2,), }").unwrap_err().contains("expected <f2")
        );
        let huge = read("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }").unwrap();
        assert_eq!(huge.size(), None);
        assert!(NpyHeader::read(b"\x93NUMPY\x01\x00\xff\xff{'descr").is_err());
        assert!(NpyHeader::read(b"PK").is_err());
    }
}
