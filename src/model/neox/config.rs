use serde_json::Value;

use super::{
    ACTIVATIONS, Activation,
    fields::{Fields, Range},
};
use crate::{hooks::Dims, model::ModelError};

/// The validated contents of a GPT-NeoX model's `config.json`.
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
    /// The number of each head's dimensions that rotary position embedding rotates.
    pub rotary_dims: usize,
    pub rotary_base: f32,
    pub layer_norm_eps: f64,
    pub activation: &'static Activation,
    pub parallel: bool,
    /// Whether the unembedding is the embedding.
    pub tied: bool,
    pub bos: u32,
    /// Tokens that end a text.
    pub eos: Vec<u32>,
}

impl Config {
    /// # Errors
    /// Names the first field that is missing, malformed or has a value this program does not compute.
    pub fn from_json(json: &Value) -> Result<Self, ModelError> {
        let refuse = |message: String| Err(ModelError::Config(message));
        let fields = Fields { json, within: "" };
        match json.get("model_type").and_then(Value::as_str) {
            Some("gpt_neox") => {}
            Some(other) => {
                return refuse(format!(
                    "model_type is {other:?}; only GPT-NeoX models (\"gpt_neox\"), such as Pythia, are supported"
                ));
            }
            None => return refuse("model_type is missing; expected \"gpt_neox\"".into()),
        }
        let act = fields.text("hidden_act", "gelu")?;
        let Some(activation) = Activation::named(act) else {
            let known: Vec<String> = ACTIVATIONS.iter().map(|known| format!("\"{}\"", known.name)).collect();
            return refuse(format!("hidden_act is {act:?}; expected one of {}", known.join(", ")));
        };
        if !fields.flag("attention_bias", true)? {
            return refuse("attention_bias is false; only attention with biases is supported".into());
        }
        if json.get("quantization_config").is_some_and(|v| !v.is_null()) {
            return refuse("quantization_config is set; only unquantised weights are supported".into());
        }
        let rope = Rope::read(&fields)?;
        let d_model = fields.size("hidden_size", LARGEST_WIDTH)?;
        let n_heads = fields.size("num_attention_heads", LARGEST_WIDTH)?;
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
                Value::from(rope.fraction)
            ));
        }
        #[allow(clippy::cast_possible_truncation, reason = "the reference computes rotary angles in f32")]
        let config = Self {
            n_layers: fields.size("num_hidden_layers", MOST_LAYERS)?,
            n_heads,
            d_model,
            d_head,
            d_mlp: fields.size("intermediate_size", LARGEST_WIDTH)?,
            d_vocab: fields.size("vocab_size", LARGEST_VOCABULARY)?,
            context: fields.size("max_position_embeddings", LONGEST_CONTEXT)?,
            rotary_dims,
            rotary_base: rope.base as f32,
            layer_norm_eps: fields.number("layer_norm_eps", 1e-5, &EPSILON)?,
            activation,
            parallel: fields.flag("use_parallel_residual", true)?,
            tied: fields.flag("tie_word_embeddings", false)?,
            bos: fields.token("bos_token_id")?,
            eos: fields.tokens("eos_token_id", &[2])?,
        };
        match config.parameters() {
            0..=MOST_PARAMETERS => Ok(config),
            found => refuse(format!(
                "num_hidden_layers {}, hidden_size {d_model}, intermediate_size {} and vocab_size {} make {found} parameters; \
                 expected at most {MOST_PARAMETERS}",
                config.n_layers, config.d_mlp, config.d_vocab
            )),
        }
    }

    /// The number of parameters in its checkpoint.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let [d, m, v, layers] = [self.d_model, self.d_mlp, self.d_vocab, self.n_layers].map(|n| n as u64);
        // query_key_value, dense, dense_h_to_4h and dense_4h_to_h with their biases, and two LayerNorms
        let block = 4 * d * (d + 1) + m * (d + 1) + d * (m + 1) + 4 * d;
        let embeddings = if self.tied { 1 } else { 2 };
        embeddings * v * d + layers * block + 2 * d
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

// Limits that no model comes near: larger numbers are mistakes, and would cost memory and time before the weights
// reveal them. GPT-3 has 96 layers and a width of 12,288, PaLM an MLP of 73,728; XLM-V has a vocabulary of 901,629.
// Products of sizes within these limits fit a u64.
const MOST_LAYERS: u64 = 1 << 10;
const LARGEST_WIDTH: u64 = 1 << 18;
const LARGEST_VOCABULARY: u64 = 1 << 21;
/// A long context costs nothing until a prompt uses it.
const LONGEST_CONTEXT: u64 = 1 << 22;
const MOST_PARAMETERS: u64 = 1 << 40;

/// Used as f32, whose smallest normal number is 1.2e-38.
const EPSILON: Range = Range { within: |x| (1e-37..=1.0).contains(&x), expected: "a number from 1e-37 to 1" };
const FRACTION: Range = Range { within: |x| x > 0.0 && x <= 1.0, expected: "a share above 0, at most 1" };
#[allow(clippy::cast_possible_truncation, reason = "the number that is computed with")]
const BASE: Range = Range { within: |x| x as f32 > 1.0 && x <= 1e38, expected: "a number above 1, at most 1e38" };

struct Rope {
    fraction: f64,
    base: f64,
}

impl Rope {
    /// Rotary settings, as older files (`rotary_pct`, `rotary_emb_base`) and newer ones (`rope_parameters`) write them.
    fn read(fields: &Fields<'_>) -> Result<Self, ModelError> {
        let mut rope = Self {
            fraction: fields.number("rotary_pct", 0.25, &FRACTION)?,
            base: fields.number("rotary_emb_base", 10_000.0, &BASE)?,
        };
        for name in ["rope_scaling", "rope_parameters"] {
            let Some(value) = fields.json.get(name).filter(|v| !v.is_null()) else {
                continue;
            };
            if !value.is_object() {
                return fields.wrong(name, value, "an object");
            }
            let nested = Fields { json: value, within: &format!("{name}.") };
            for kind in ["rope_type", "type"] {
                let found = value.get(kind).filter(|v| !v.is_null() && **v != "default");
                if let Some(other) = found {
                    let expected = "\"default\": scaled rotary embeddings are not supported";
                    return nested.wrong(kind, other, expected);
                }
            }
            rope.fraction = nested.number("partial_rotary_factor", rope.fraction, &FRACTION)?;
            rope.base = nested.number("rope_theta", rope.base, &BASE)?;
        }
        Ok(rope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const FIELDS: [&str; 17] = [
        "model_type",
        "hidden_act",
        "attention_bias",
        "quantization_config",
        "hidden_size",
        "num_attention_heads",
        "num_hidden_layers",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
        "rotary_pct",
        "rotary_emb_base",
        "rope_scaling",
        "rope_parameters",
        "layer_norm_eps",
        "use_parallel_residual",
        "bos_token_id",
    ];

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
    fn both_formats_of_rotary_settings_are_read() {
        let old = Config::from_json(&pythia_70m()).unwrap();
        assert_eq!((old.d_head, old.rotary_dims), (64, 16));
        let mut json = pythia_70m();
        json.as_object_mut().unwrap().remove("rotary_pct");
        json["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25});
        assert_eq!(Config::from_json(&json).unwrap(), old);
    }

    #[test]
    fn an_unknown_activation_function_is_refused_with_the_known_ones() {
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
    fn a_text_ends_where_the_file_or_hugging_face_says() {
        for (written, read) in
            [(json!(0), vec![0]), (json!([0, 50_277]), vec![0, 50_277]), (json!([]), vec![]), (Value::Null, vec![])]
        {
            assert_eq!(with("eos_token_id", written).unwrap().eos, read);
        }
        // what transformers' GPTNeoXConfig has without the field
        assert_eq!(Config::from_json(&pythia_70m()).unwrap().eos, [2]);
        for wrong in [json!(-1), json!("0"), json!([0, 1.5])] {
            let message = with("eos_token_id", wrong).unwrap_err().to_string();
            assert!(message.contains("eos_token_id") && message.contains("expected a token id"), "{message}");
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

    #[test]
    fn numbers_out_of_bounds_are_quoted_and_refused() {
        for (field, value, expected) in [
            ("num_hidden_layers", json!(4_194_304), "is 4194304; expected a whole number from 1 to 1024"),
            ("hidden_size", json!(1_u64 << 40), "is 1099511627776; expected a whole number from 1 to 262144"),
            ("vocab_size", json!(u64::MAX), "is 18446744073709551615; expected a whole number from 1 to 2097152"),
            ("max_position_embeddings", json!(-1), "is -1; expected a whole number from 1 to 4194304"),
            ("num_attention_heads", json!(8.0), "is 8.0; expected a whole number"),
            ("layer_norm_eps", json!(1e39), "is 1e+39; expected a number from 1e-37 to 1"),
            ("layer_norm_eps", json!(1e-300), "is 1e-300; expected"),
            ("rotary_emb_base", json!(1e39), "is 1e+39; expected a number above 1, at most 1e38"),
            ("rotary_emb_base", json!(1.000_000_000_1), "expected a number above 1"),
            ("rotary_pct", json!(1e-300), "rotary_pct 1e-300 of 64 dimensions a head gives 0"),
            ("rotary_pct", json!("x"), "is \"x\"; expected a share above 0, at most 1"),
            ("rope_scaling", json!("x"), "is \"x\"; expected an object"),
            ("rope_parameters", json!([]), "is []; expected an object"),
            ("rope_scaling", json!({"rope_type": 5}), "rope_scaling.rope_type is 5; expected \"default\""),
            ("rope_scaling", json!({"rope_theta": 0}), "rope_scaling.rope_theta is 0; expected a number above 1"),
            ("bos_token_id", json!(-1), "is -1; expected a token id"),
            ("bos_token_id", json!(1.5), "is 1.5; expected a token id"),
            ("bos_token_id", json!("x"), "is \"x\"; expected a token id"),
            ("bos_token_id", json!(1_u64 << 32), "is 4294967296; expected a token id"),
            ("vocab_size", json!("x".repeat(1000)), "xxx...; expected a whole number"),
        ] {
            let message = with(field, value).unwrap_err().to_string();
            assert!(message.contains(field) && message.contains(expected), "{message}");
        }
        assert_eq!(with("bos_token_id", Value::Null).unwrap().bos, 0);
        let mut large = pythia_70m();
        (large["hidden_size"], large["num_hidden_layers"]) = (json!(65_536), json!(1024));
        let message = Config::from_json(&large).unwrap_err().to_string();
        assert!(message.contains("hidden_size 65536") && message.contains("at most 1099511627776"), "{message}");
    }

    #[test]
    fn the_parameter_count_equals_that_of_the_module_tree() {
        for tied in [true, false] {
            let config = with("tie_word_embeddings", json!(tied)).unwrap();
            let tree = crate::model::neox::structure::parameters(&config);
            let sum: usize = tree.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
            assert_eq!(config.parameters(), sum as u64);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-2_i64..5000).prop_map(Value::from),
            (0_u32..64).prop_map(|power| Value::from(1_u64 << power)),
            any::<f64>().prop_map(Value::from),
            (-60..60).prop_map(|power| Value::from(10_f64.powi(power))),
            ".{0,4}".prop_map(Value::from),
            Just(Value::from("default")),
        ];
        let key = prop::sample::select(vec!["rope_type", "type", "rope_theta", "partial_rotary_factor"]);
        leaf.prop_recursive(2, 6, 3, move |inner| {
            let object = prop::collection::btree_map(key.clone().prop_map(String::from), inner.clone(), 0..3);
            prop_oneof![
                prop::collection::vec(inner, 0..3).prop_map(Value::from),
                object.prop_map(|map| map.into_iter().collect())
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_config_is_sane_or_refused_by_name(
            changes in prop::collection::vec((prop::sample::select(FIELDS.to_vec()), prop::option::of(any_json())), 1..4)
        ) {
            let mut json = pythia_70m();
            for (field, value) in changes {
                match value {
                    Some(value) => json[field] = value,
                    None => drop(json.as_object_mut().unwrap().remove(field)),
                }
            }
            match Config::from_json(&json) {
                Ok(config) => {
                    prop_assert!(config.parameters() <= MOST_PARAMETERS && config.n_layers <= 1024);
                    prop_assert_eq!(config.d_head * config.n_heads, config.d_model);
                    prop_assert!(config.rotary_dims.is_multiple_of(2) && (2..=config.d_head).contains(&config.rotary_dims));
                    prop_assert!(config.rotary_base > 1.0 && config.rotary_base.is_finite());
                    prop_assert!((1e-37..=1.0).contains(&config.layer_norm_eps));
                }
                Err(refused) => {
                    let message = refused.to_string();
                    prop_assert!(FIELDS.iter().any(|field| message.contains(field)), "{}", message);
                    prop_assert!(message.len() < 2000, "{}", message);
                }
            }
        }
    }
}
