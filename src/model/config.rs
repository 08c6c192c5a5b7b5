use serde_json::Value;

use super::{ACTIVATIONS, Activation, ModelError};
use crate::hooks::Dims;

/// What `config.json` says of a GPT-NeoX model, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub n_layers: usize,
    pub n_heads: usize,
    pub d_model: usize,
    pub d_head: usize,
    pub d_mlp: usize,
    pub d_vocab: usize,
    /// The longest prompt.
    pub context: usize,
    /// How many of each head's dimensions are turned by rotary position embedding.
    pub rotary_dims: usize,
    pub rotary_base: f32,
    pub layer_norm_eps: f64,
    pub activation: &'static Activation,
    pub parallel: bool,
    /// The unembedding is the embedding.
    pub tied: bool,
    pub bos: u32,
}

impl Config {
    /// # Errors
    /// Names the first field that is missing, malformed or has a value this program does not compute.
    pub fn from_json(json: &Value) -> Result<Self, ModelError> {
        let refuse = |message: String| Err(ModelError::Config(message));
        let fields = Fields(json);
        match json.get("model_type").and_then(Value::as_str) {
            Some("gpt_neox") => {}
            Some(other) => {
                return refuse(format!(
                    "model_type is \"{other}\"; only GPT-NeoX models (\"gpt_neox\"), such as Pythia, are supported"
                ));
            }
            None => return refuse("model_type is missing; expected \"gpt_neox\"".into()),
        }
        let act = fields.text("hidden_act", "gelu")?;
        let Some(activation) = Activation::named(act) else {
            let known: Vec<String> = ACTIVATIONS.iter().map(|known| format!("\"{}\"", known.name)).collect();
            return refuse(format!("hidden_act is \"{act}\"; expected one of {}", known.join(", ")));
        };
        if !fields.flag("attention_bias", true)? {
            return refuse("attention_bias is false; only attention with biases is supported".into());
        }
        if json.get("quantization_config").is_some_and(|v| !v.is_null()) {
            return refuse("quantization_config is set; only unquantised weights are supported".into());
        }
        let rope = fields.rope()?;
        let (d_model, n_heads) = (fields.size("hidden_size")?, fields.size("num_attention_heads")?);
        if d_model % n_heads != 0 {
            return refuse(format!("hidden_size {d_model} is not a multiple of num_attention_heads {n_heads}"));
        }
        let d_head = d_model / n_heads;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "0 to d_head"
        )]
        let rotary_dims = (d_head as f64 * rope.fraction) as usize;
        if rotary_dims == 0 || !rotary_dims.is_multiple_of(2) {
            return refuse(format!(
                "rotary_pct {} of {d_head} dimensions a head gives {rotary_dims} rotary dimensions; expected an even number above 0",
                rope.fraction
            ));
        }
        let layer_norm_eps = fields.number("layer_norm_eps", 1e-5)?;
        if layer_norm_eps <= 0.0 {
            return refuse(format!("layer_norm_eps is {layer_norm_eps}; expected a number above 0"));
        }
        #[allow(clippy::cast_possible_truncation, reason = "the reference computes rotary angles in f32")]
        Ok(Self {
            n_layers: fields.size("num_hidden_layers")?,
            n_heads,
            d_model,
            d_head,
            d_mlp: fields.size("intermediate_size")?,
            d_vocab: fields.size("vocab_size")?,
            context: fields.size("max_position_embeddings")?,
            rotary_dims,
            rotary_base: rope.base as f32,
            layer_norm_eps,
            activation,
            parallel: fields.flag("use_parallel_residual", true)?,
            tied: fields.flag("tie_word_embeddings", false)?,
            bos: json.get("bos_token_id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok()).unwrap_or(0),
        })
    }

    /// How many numbers a checkpoint of it holds.
    #[must_use]
    pub fn parameters(&self) -> usize {
        super::structure::parameters(self).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    #[must_use]
    pub fn dims(&self) -> Dims {
        Dims {
            n_layers: self.n_layers,
            n_heads: self.n_heads,
            d_head: self.d_head,
            d_model: self.d_model,
            d_mlp: self.d_mlp,
            d_vocab: self.d_vocab,
            parallel: self.parallel,
            activation: self.activation.words,
        }
    }
}

/// No size of a model comes near this; a larger one is a mistake that would exhaust memory before it is noticed.
const LARGEST: usize = 1 << 22;

struct Rope {
    fraction: f64,
    base: f64,
}

/// Typed access to the fields, with errors that name them.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn wrong<T>(name: &str, found: &Value, expected: &str) -> Result<T, ModelError> {
        Err(ModelError::Config(format!("{name} is {found}; expected {expected}")))
    }

    fn size(&self, name: &str) -> Result<usize, ModelError> {
        let Some(value) = self.0.get(name) else {
            return Err(ModelError::Config(format!("{name} is missing; expected a whole number from 1 to {LARGEST}")));
        };
        match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(n) if n > 0 && n <= LARGEST => Ok(n),
            _ => Self::wrong(name, value, &format!("a whole number from 1 to {LARGEST}")),
        }
    }

    fn number(&self, name: &str, default: f64) -> Result<f64, ModelError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_f64().map_or_else(|| Self::wrong(name, value, "a number"), Ok),
        }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, ModelError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_bool().map_or_else(|| Self::wrong(name, value, "true or false"), Ok),
        }
    }

    fn text(&self, name: &str, default: &'static str) -> Result<&str, ModelError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value.as_str().map_or_else(|| Self::wrong(name, value, "a name"), Ok),
        }
    }

    /// Rotary settings, as older files (`rotary_pct`, `rotary_emb_base`) and newer ones (`rope_parameters`) write them.
    fn rope(&self) -> Result<Rope, ModelError> {
        let mut rope =
            Rope { fraction: self.number("rotary_pct", 0.25)?, base: self.number("rotary_emb_base", 10_000.0)? };
        for name in ["rope_scaling", "rope_parameters"] {
            let Some(value) = self.0.get(name).filter(|v| !v.is_null()) else {
                continue;
            };
            let nested = Fields(value);
            let kind =
                value.get("rope_type").or_else(|| value.get("type")).and_then(Value::as_str).unwrap_or("default");
            if kind != "default" {
                return Self::wrong(
                    &format!("{name}.rope_type"),
                    &Value::from(kind),
                    "\"default\": scaled rotary embeddings are not supported",
                );
            }
            rope.fraction = nested.number("partial_rotary_factor", rope.fraction)?;
            rope.base = nested.number("rope_theta", rope.base)?;
        }
        if !(rope.fraction > 0.0 && rope.fraction <= 1.0) {
            return Self::wrong("rotary_pct", &Value::from(rope.fraction), "a share above 0, at most 1");
        }
        if rope.base <= 1.0 {
            return Self::wrong("rotary_emb_base", &Value::from(rope.base), "a number above 1");
        }
        Ok(rope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pythia_70m() -> Value {
        json!({"model_type": "gpt_neox", "hidden_act": "gelu", "hidden_size": 512, "num_attention_heads": 8,
               "num_hidden_layers": 6, "intermediate_size": 2048, "vocab_size": 50304, "max_position_embeddings": 2048,
               "rotary_pct": 0.25, "rotary_emb_base": 10000, "layer_norm_eps": 1e-5, "use_parallel_residual": true})
    }

    fn with(field: &str, value: Value) -> Result<Config, ModelError> {
        let mut json = pythia_70m();
        json[field] = value;
        Config::from_json(&json)
    }

    #[test]
    fn reads_both_ways_of_writing_rotary_settings() {
        let old = Config::from_json(&pythia_70m()).unwrap();
        assert_eq!((old.d_head, old.rotary_dims), (64, 16));
        let mut json = pythia_70m();
        json.as_object_mut().unwrap().remove("rotary_pct");
        json["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25});
        assert_eq!(Config::from_json(&json).unwrap(), old);
    }

    #[test]
    fn an_activation_function_that_is_not_known_is_refused_with_those_that_are() {
        let mut json = pythia_70m();
        json.as_object_mut().unwrap().remove("hidden_act");
        assert_eq!(Config::from_json(&json).unwrap().activation.name, "gelu");
        assert_eq!(with("hidden_act", json!("swish")).unwrap().activation.act_fn, "silu");
        let message = with("hidden_act", json!("mish")).unwrap_err().to_string();
        for part in ["hidden_act is \"mish\"", "\"gelu\"", "\"gelu_pytorch_tanh\"", "\"swish\""] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn unsupported_values_are_refused_by_name() {
        for (field, value) in [
            ("model_type", json!("llama")),
            ("hidden_act", json!("mish")),
            ("attention_bias", json!(false)),
            ("num_attention_heads", json!(7)),
            ("num_hidden_layers", json!(0)),
            ("vocab_size", json!("many")),
            ("rotary_pct", json!(0.01)),
            ("rotary_pct", json!(1.5)),
            ("layer_norm_eps", json!(0)),
            ("rope_scaling", json!({"type": "linear", "factor": 2.0})),
            ("quantization_config", json!({"bits": 4})),
        ] {
            let message = with(field, value).unwrap_err().to_string();
            assert!(message.contains(field.trim_end_matches("_pct")), "{message}");
        }
    }
}
