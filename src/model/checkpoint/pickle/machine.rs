use std::{collections::HashMap, rc::Rc};

use super::value::{Id, LIMIT, Value};

/// The stack machine that executes a pickle.
pub(super) struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    /// The stack heights at which marks were set.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

type Step<T> = Result<T, &'static str>;

const ENDS_EARLY: &str = "it ends early";

impl<'a> Machine<'a> {
    pub(super) fn new(pickle: &'a [u8]) -> Self {
        Self { rest: pickle, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }
    }

    /// The number of unread bytes.
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn into_values(self) -> Vec<Value> {
        self.values
    }

    fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(taken)
    }

    /// An unsigned little-endian integer of `bytes` bytes.
    fn number(&mut self, bytes: usize) -> Step<usize> {
        let taken = self.take(bytes)?;
        let number = taken.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        usize::try_from(number).map_err(|_| "a length in it is out of range")
    }

    fn key(&mut self, bytes: usize) -> Step<u32> {
        u32::try_from(self.number(bytes)?).map_err(|_| "a number of its memo is out of range")
    }

    fn line(&mut self) -> Step<Rc<str>> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or(ENDS_EARLY)?;
        let line = self.take(end)?;
        self.take(1)?;
        Ok(String::from_utf8_lossy(line).trim_end_matches('\r').into())
    }

    fn bytes(&mut self, width: usize) -> Step<&'a [u8]> {
        let n = self.number(width)?;
        self.take(n)
    }

    /// A signed little-endian integer of any length.
    fn long(&mut self, width: usize) -> Step<Value> {
        let bytes = self.bytes(width)?;
        if bytes.len() > 8 {
            return Ok(Value::Opaque);
        }
        let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut wide = [fill; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(wide)))
    }

    fn add(&mut self, value: Value) -> Step<()> {
        if self.values.len() >= LIMIT {
            return Err("it holds more values than any checkpoint");
        }
        self.values.push(value);
        self.push(Id(self.values.len() - 1))
    }

    fn push(&mut self, id: Id) -> Step<()> {
        if self.stack.len() >= LIMIT {
            return Err("its stack is deeper than any checkpoint's");
        }
        self.stack.push(id);
        Ok(())
    }

    fn pop(&mut self) -> Step<Id> {
        // values below a mark can't be popped before the mark
        if self.marks.last().is_some_and(|mark| self.stack.len() <= *mark) {
            return Err("it takes a mark for a value");
        }
        self.stack.pop().ok_or("it takes a value that is not there")
    }

    fn top(&self) -> Step<Id> {
        self.stack.last().copied().ok_or("it takes a value that is not there")
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("it takes a mark that is not there")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn pairs(items: &[Id]) -> Step<Vec<(Id, Id)>> {
        let (pairs, rest) = items.as_chunks::<2>();
        if rest.is_empty() {
            Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
        } else {
            Err("a key in it has no value")
        }
    }

    fn tuple(&mut self, n: usize) -> Step<()> {
        let mut items = (0..n).map(|_| self.pop()).collect::<Step<Vec<Id>>>()?;
        items.reverse();
        self.add(Value::Tuple(items))
    }

    /// Add to the container on top of the stack. Only lists and dictionaries are recorded.
    fn insert(&mut self, items: &[Id], pairs: &[(Id, Id)]) -> Step<()> {
        let Id(top) = self.top()?;
        match self.values.get_mut(top) {
            Some(Value::List(list)) => list.extend(items),
            Some(Value::Dict(dict) | Value::Call { items: dict, .. }) => dict.extend(pairs),
            _ => {}
        }
        Ok(())
    }

    fn call(&mut self) -> Step<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let is_dict = matches!(self.values.get(function.0), Some(Value::Class { module, name })
            if **module == *"collections" && **name == *"OrderedDict");
        let no_arguments = matches!(self.values.get(arguments.0), Some(Value::Tuple(items)) if items.is_empty());
        self.add(if is_dict && no_arguments {
            Value::Dict(vec![])
        } else {
            Value::Call { function, arguments, items: vec![], state: None }
        })
    }

    /// Execute one instruction; returns the root value at the end of the pickle.
    pub(super) fn step(&mut self) -> Step<Option<Id>> {
        let opcode = self.take(1)?[0];
        if opcode == b'.' {
            return self.pop().map(Some);
        }
        if let Some(value) = self.literal(opcode)? {
            self.add(value)?;
        } else if !self.container(opcode)? && !self.memo(opcode)? && !self.object(opcode)? {
            match opcode {
                // the protocol, and the length of a frame
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),
                b'2' => self.push(self.top()?)?,
                _ => return Err("it has an opcode that no checkpoint needs"),
            }
        }
        Ok(None)
    }

    /// The value of an instruction that pushes a literal; None for other instructions.
    fn literal(&mut self, opcode: u8) -> Step<Option<Value>> {
        let text = |bytes: &[u8]| Value::Text(String::from_utf8_lossy(bytes).into());
        Ok(Some(match opcode {
            // None, true, false, and an empty set
            b'N' | 0x88 | 0x89 | 0x8f => Value::Opaque,
            b'J' => {
                let four = self.take(4)?;
                Value::Int(i32::from_le_bytes([four[0], four[1], four[2], four[3]]).into())
            }
            b'K' => Value::Int(self.take(1)?[0].into()),
            b'M' => {
                let two = self.take(2)?;
                Value::Int(u16::from_le_bytes([two[0], two[1]]).into())
            }
            b'I' | b'L' => match self.line()?.trim_end_matches('L') {
                // false and true
                "00" | "01" => Value::Opaque,
                digits => digits.parse().map_or(Value::Opaque, Value::Int),
            },
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            // a float
            b'G' => {
                self.take(8)?;
                Value::Opaque
            }
            b'F' | b'S' => {
                self.line()?;
                Value::Opaque
            }
            b'V' => Value::Text(self.line()?),
            // strings with lengths of 1, 4 and 8 bytes, including those of Python 2
            0x8c | b'U' => text(self.bytes(1)?),
            b'X' | b'T' => text(self.bytes(4)?),
            0x8d => text(self.bytes(8)?),
            // bytes
            b'C' | b'B' | 0x8e | 0x96 => {
                self.bytes(match opcode {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                Value::Opaque
            }
            b')' => Value::Tuple(vec![]),
            b']' => Value::List(vec![]),
            b'}' => Value::Dict(vec![]),
            b'c' => Value::Class { module: self.line()?, name: self.line()? },
            _ => return Ok(None),
        }))
    }

    /// Execute an instruction that makes or fills a container; false for other instructions.
    fn container(&mut self, opcode: u8) -> Step<bool> {
        match opcode {
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let items = self.pop_to_mark()?;
                self.add(Value::Tuple(items))?;
            }
            b'l' => {
                let items = self.pop_to_mark()?;
                self.add(Value::List(items))?;
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.add(Value::Dict(Self::pairs(&items)?))?;
            }
            // a frozen set
            0x91 => {
                self.pop_to_mark()?;
                self.add(Value::Opaque)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.insert(&[item], &[])?;
            }
            // append to a list, add to a set
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.insert(&items, &[])?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[], &[(key, value)])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(&[], &Self::pairs(&items)?)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Execute an instruction that writes or reads the memo; false for other instructions.
    fn memo(&mut self, opcode: u8) -> Step<bool> {
        let key = match opcode {
            b'q' | b'h' => self.key(1)?,
            b'r' | b'j' => self.key(4)?,
            b'p' | b'g' => self.line()?.parse().map_err(|_| "a number of its memo is malformed")?,
            0x94 => u32::try_from(self.memo.len()).map_err(|_| "its memo is too large")?,
            _ => return Ok(false),
        };
        if matches!(opcode, b'h' | b'j' | b'g') {
            self.push(*self.memo.get(&key).ok_or("it recalls what it did not memorise")?)?;
        } else {
            self.memo.insert(key, self.top()?);
        }
        Ok(true)
    }

    /// Execute an instruction that names a class, or records a call or an object's state; false for other instructions.
    fn object(&mut self, opcode: u8) -> Step<bool> {
        match opcode {
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| match self.values.get(id.0) {
                    Some(Value::Text(text)) => Ok(text.clone()),
                    _ => Err("a class in it has no name"),
                };
                let class = Value::Class { module: text(module)?, name: text(name)? };
                self.add(class)?;
            }
            // calls, and objects created without `__init__`
            b'R' | 0x81 => self.call()?,
            // the same with keyword arguments
            0x92 => {
                self.pop()?;
                self.call()?;
            }
            b'b' => {
                let (given, Id(top)) = (self.pop()?, self.top()?);
                if let Some(Value::Call { state, .. }) = self.values.get_mut(top) {
                    *state = Some(given);
                }
            }
            b'Q' => {
                let name = self.pop()?;
                self.add(Value::Persistent(name))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
