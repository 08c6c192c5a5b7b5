//! Finds tensors wherever a pickle keeps them: a cache may be a dictionary, a tuple, or an object of a library.

use super::{
    entry::MOST_TENSORS,
    pickle::{Id, Pickle, Value},
};

/// The deepest nesting that is searched.
const DEPTH: usize = 16;

/// The number of values that are visited; shared values are visited once for each way to them.
const VISITS: usize = 1 << 18;

/// The longest name of a tensor, in bytes.
const NAME: usize = 1 << 10;

const TOO_MANY: &str = "it holds more values than any cache of activations";

/// The tensors of a pickle, each with the keys, indices and fields that lead to it, joined by dots. Of an `ActivationCache`
/// only the activations are listed, without the model that it refers to.
///
/// # Errors
/// There are more values or deeper nesting than in any cache.
pub(super) fn tensors(pickle: &Pickle) -> Result<Vec<(String, Id)>, String> {
    let mut search = Search { pickle, visits: 0, found: Vec::new() };
    search.visit("", pickle.root(), 0)?;
    Ok(search.found)
}

struct Search<'a> {
    pickle: &'a Pickle,
    visits: usize,
    found: Vec<(String, Id)>,
}

impl Search<'_> {
    fn visit(&mut self, name: &str, id: Id, depth: usize) -> Result<(), String> {
        self.visits += 1;
        if self.visits > VISITS || self.found.len() > MOST_TENSORS {
            return Err(TOO_MANY.into());
        }
        if depth > DEPTH || name.len() > NAME {
            return Ok(());
        }
        let pickle = self.pickle;
        match pickle.get(id) {
            Value::Int(_) | Value::Text(_) | Value::Opaque | Value::Class { .. } | Value::Persistent(_) => Ok(()),
            Value::List(items) | Value::Tuple(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.visit(&below(name, &number.to_string()), *item, depth + 1)?;
                }
                Ok(())
            }
            Value::Dict(items) => self.items(name, items, depth),
            Value::Call { function, items, state, .. } => match pickle.class(*function) {
                Some(("torch._utils" | "torch._tensor", _)) => {
                    self.found.push((name.to_string(), id));
                    Ok(())
                }
                Some((_, "ActivationCache")) => match self.field(*state, "cache_dict") {
                    Some(cache) => self.visit(name, cache, depth + 1),
                    None => Ok(()),
                },
                _ => {
                    self.items(name, items, depth)?;
                    match state {
                        Some(state) => self.visit(name, *state, depth + 1),
                        None => Ok(()),
                    }
                }
            },
        }
    }

    fn items(&mut self, name: &str, items: &[(Id, Id)], depth: usize) -> Result<(), String> {
        let pickle = self.pickle;
        for (key, value) in items {
            let number = || pickle.size(*key).map(|number| number.to_string());
            let Some(key) = pickle.text(*key).map(String::from).or_else(number) else { continue };
            self.visit(&below(name, &key), *value, depth + 1)?;
        }
        Ok(())
    }

    /// A field of an object's state.
    fn field(&self, state: Option<Id>, name: &str) -> Option<Id> {
        let fields = self.pickle.dict(state?)?;
        fields.iter().rev().find(|(key, _)| self.pickle.text(*key) == Some(name)).map(|(_, value)| *value)
    }
}

fn below(outer: &str, inner: &str) -> String {
    if outer.is_empty() { inner.to_string() } else { format!("{outer}.{inner}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pickle: &str) -> Result<Vec<String>, String> {
        let pickle = Pickle::read(pickle.as_bytes())?;
        Ok(tensors(&pickle)?.into_iter().map(|(name, _)| name).collect())
    }

    const TENSOR: &str = "ctorch._utils\n_rebuild_tensor_v2\n(tR";

    #[test]
    fn tensors_are_named_by_the_way_to_them() {
        let nested = format!("}}Vhidden_states\n({TENSOR}{TENSOR}tsVn\nI7\nsI3\n({TENSOR}ls.");
        assert_eq!(names(&nested).unwrap(), ["hidden_states.0", "hidden_states.1", "3.0"]);
        assert_eq!(names(&format!("{TENSOR}.")).unwrap(), [""]);
        assert!(names("N.").unwrap().is_empty());
    }

    #[test]
    fn objects_are_searched_and_the_model_of_a_cache_is_not() {
        let object = |class: &str, fields: &str| format!("c{class}\n)R{fields}b.");
        let fields = format!("}}Vcache_dict\n}}Vhook_embed\n{TENSOR}ssVmodel\n}}Vw\n{TENSOR}ss");
        assert_eq!(
            names(&object("transformer_lens.ActivationCache\nActivationCache", &fields)).unwrap(),
            ["hook_embed"]
        );
        assert_eq!(names(&object("a\nOther", &fields)).unwrap(), ["cache_dict.hook_embed", "model.w"]);
        // a subclass of a dictionary
        assert_eq!(names(&format!("ca\nDict\n)RVlogits\n{TENSOR}s.")).unwrap(), ["logits"]);
    }

    #[test]
    fn shared_and_deep_structures_are_bounded() {
        // each tuple holds the previous one twice
        let shared = [TENSOR.as_bytes(), &b"2\x86".repeat(14), b"."].concat();
        let found = tensors(&Pickle::read(&shared).unwrap()).unwrap();
        assert_eq!(found.len(), 1 << 14);
        let deep = [TENSOR.as_bytes(), &b"2\x86".repeat(200), b"."].concat();
        assert!(tensors(&Pickle::read(&deep).unwrap()).unwrap().is_empty());
        let wide = format!("{TENSOR}p0\n0({}l.", "g0\n".repeat(MOST_TENSORS + 2));
        assert!(names(&wide).unwrap_err().contains("more values than any cache"));
    }
}
