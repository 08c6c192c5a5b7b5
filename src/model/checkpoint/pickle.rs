//! Parses pickles (protocols 0 to 5; Python's `pickletools` documents the opcodes) without importing or calling anything: a
//! call is recorded as [`Value::Call`].
//!
//! Values are stored in one list and refer to each other by index, so reading or dropping a deep or shared structure neither
//! recurses nor copies, and [`value::LIMIT`] bounds the memory.

mod machine;
mod value;

use machine::Machine;

pub(super) use value::{Id, Value};

/// Limits on names, in bytes, and on the axes of a tensor. Both are copied at every use, and a pickle can repeat a use at
/// no cost.
const MAX_NAME: usize = 1 << 10;
const MAX_AXES: usize = 64;

/// A parsed pickle.
pub(super) struct Pickle {
    values: Vec<Value>,
    root: Id,
}

impl Pickle {
    /// # Errors
    /// The pickle ends early, breaks its own rules, is too large, or uses an opcode that no checkpoint needs.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut machine = Machine::new(bytes);
        loop {
            let at = bytes.len() - machine.remaining();
            match machine.step() {
                Ok(None) => {}
                Ok(Some(root)) => return Ok(Self { values: machine.into_values(), root }),
                Err(reason) => return Err(format!("at byte {at}: {reason}")),
            }
        }
    }

    pub(super) fn root(&self) -> Id {
        self.root
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        self.values.get(id.0).unwrap_or(&Value::Opaque)
    }

    /// A string short enough to be a name.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) if text.len() <= MAX_NAME => Some(text),
            _ => None,
        }
    }

    pub(super) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn class(&self, id: Id) -> Option<(&str, &str)> {
        match self.get(id) {
            Value::Class { module, name } if module.len().max(name.len()) <= MAX_NAME => Some((module, name)),
            _ => None,
        }
    }

    /// A non-negative integer.
    pub(super) fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        }
    }

    /// A tuple of non-negative integers, one for each axis of a tensor.
    pub(super) fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        self.tuple(id).filter(|items| items.len() <= MAX_AXES)?.iter().map(|item| self.size(*item)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(bytes: &[u8]) -> Result<Pickle, String> {
        Pickle::read(bytes)
    }

    #[test]
    fn every_protocol_is_read() {
        // pickle.dumps({"a": (1, -2, 300, 70000, 1 << 40, None, True), "b": ["x", 0.5]}, protocol)
        let protocols: [&[u8]; 3] = [
            b"(dp0\nVa\np1\n(I1\nI-2\nI300\nI70000\nL1099511627776L\nNI01\ntp2\nsVb\np3\n(lp4\nVx\np5\naF0.5\nas.",
            b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\x00\x00\x00\x00\x01N\x88tq\x02X\x01\x00\x00\x00bq\x03]q\x04(X\x01\x00\x00\x00xq\x05G?\xe0\x00\x00\x00\x00\x00\x00eu.",
            b"\x80\x05\x95;\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\x00\x00\x00\x00\x01N\x88t\x94\x8c\x01b\x94]\x94(\x8c\x01x\x94G?\xe0\x00\x00\x00\x00\x00\x00eu.",
        ];
        for bytes in protocols {
            let pickle = root(bytes).unwrap();
            let dict = pickle.dict(pickle.root()).unwrap();
            let names: Vec<_> = dict.iter().map(|(key, _)| pickle.text(*key).unwrap()).collect();
            assert_eq!(names, ["a", "b"]);
            let numbers: Vec<_> = pickle.tuple(dict[0].1).unwrap().iter().map(|id| pickle.get(*id)).collect();
            assert!(matches!(
                numbers.as_slice(),
                [
                    Value::Int(1),
                    Value::Int(-2),
                    Value::Int(300),
                    Value::Int(70_000),
                    Value::Int(0x100_0000_0000),
                    Value::Opaque,
                    Value::Opaque
                ]
            ));
            assert!(matches!(pickle.get(dict[1].1), Value::List(items) if items.len() == 2));
        }
    }

    #[test]
    fn calls_are_recorded_and_not_made() {
        let pickle = root(b"cos\nsystem\n(Vecho\ntR.").unwrap();
        let Value::Call { function, arguments, .. } = pickle.get(pickle.root()) else { panic!("no call") };
        assert_eq!(pickle.class(*function), Some(("os", "system")));
        assert_eq!(pickle.tuple(*arguments).map(<[Id]>::len), Some(1));
    }

    #[test]
    fn deep_and_shared_structures_take_linear_time_and_memory() {
        let mut deep = b")".to_vec();
        deep.extend(b"\x85".repeat(500_000));
        deep.push(b'.');
        assert!(root(&deep).is_ok());
        // each tuple holds the previous one twice: 2^200 values if they were copied
        let mut shared = b"N".to_vec();
        shared.extend(b"2\x86".repeat(200));
        shared.push(b'.');
        assert!(root(&shared).is_ok());
        let mut many = b"(".to_vec();
        many.extend(b"N".repeat(value::LIMIT + 1));
        assert!(root(&many).err().unwrap().contains("more values than any checkpoint"));
        let mut stacked = b"N".to_vec();
        stacked.extend(b"2".repeat(value::LIMIT + 1));
        assert!(root(&stacked).err().unwrap().contains("stack"));
    }

    #[test]
    fn broken_pickles_are_refused_with_the_byte_offset() {
        for (bytes, reason) in [
            (&b""[..], "at byte 0: it ends early"),
            (b"\x80\x02X\xff\xff\xff\xff", "at byte 2: it ends early"),
            (b"N)0", "it ends early"),
            (b".", "a value that is not there"),
            (b"N(0.", "takes a mark for a value"),
            (b"t.", "a mark that is not there"),
            (b"h\x07.", "what it did not memorise"),
            (b"}(Nu.", "a key in it has no value"),
            (b"N\xf1.", "at byte 1: it has an opcode"),
        ] {
            let found = root(bytes).err().unwrap();
            assert!(found.contains(reason), "{bytes:?}: {found}");
        }
    }
}
