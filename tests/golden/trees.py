#!/usr/bin/env python3
"""Write tests/fixtures/trees.json: module trees as PyTorch prints them, of TransformerLens 2.18.0 and of transformers 4.57.

    venv/bin/python tests/golden/trees.py         # the environment of generate.py

A list of cases: `config` as transformers writes config.json, and what `print(model)` shows: `hf`, and where activations are not
all that differs `processed` and `unprocessed`.
"""
import json
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
from generate import ACTIVATIONS, OUT, VOCAB, hooked


def case(trees=True, **settings):
    config = GPTNeoXConfig(**{
        "vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 96,
        "hidden_act": "gelu", "rotary_pct": 0.25, "max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": 0, **settings})
    hf = GPTNeoXForCausalLM(config)
    both = {"processed": str(hooked(hf, True)), "unprocessed": str(hooked(hf, False))} if trees else {}
    return {"config": json.loads(config.to_json_string()), "hf": str(hf), **both}


if __name__ == "__main__":
    cases = [
        case(num_hidden_layers=2),
        case(num_hidden_layers=3, use_parallel_residual=False, layer_norm_eps=1e-6),
        case(tie_word_embeddings=True, hidden_size=64, intermediate_size=80, layer_norm_eps=0.001),
        *[case(trees=False, hidden_act=act) for act in ACTIVATIONS],
    ]
    (OUT / "trees.json").write_text(json.dumps(cases, indent=1) + "\n")
