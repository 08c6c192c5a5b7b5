#!/usr/bin/env python3
"""Write the goldens of TransformerLens 4.3.0: what TransformerBridge in compatibility mode computes on a micro checkpoint.

    python3 -m venv venv4 && venv4/bin/pip install transformer-lens==4.3.0 transformers==5.24.0 torch==2.15.0
    venv4/bin/python tests/golden/bridge.py          (after generate.py)

Into tests/fixtures/golden-CHECKPOINT-bridge.safetensors: the logits and every hook that 2.18.0 has too and with the same meaning.
Tensors are kept as generate.py keeps them, the processed model's under processed/ and the other's under unprocessed/.
"""
import json, pathlib
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformer_lens.model_bridge import TransformerBridge

FIXTURES = pathlib.Path(__file__).parent.parent / "fixtures"
CHECKPOINT, LENGTH = "parallel-25", "17"
SAMPLES = 256


def sample(x):
    x = x[0].float().contiguous().flatten()
    if len(x) > SAMPLES:
        norm = x[x.isfinite()].double().norm().float()
        x = torch.cat([x[[k * len(x) // SAMPLES for k in range(SAMPLES)]], norm[None]])
    return x.clone()


def main():
    tensors = {}
    for kind in ("processed", "unprocessed"):
        model = TransformerBridge.boot_transformers(str(FIXTURES / CHECKPOINT), device="cpu")
        model.enable_compatibility_mode(no_processing=kind == "unprocessed")
        with safe_open(FIXTURES / f"golden-{CHECKPOINT}-{kind}.safetensors", "pt") as golden:
            prompt = json.loads(golden.metadata()["prompts"])[LENGTH]
            names = [name.removeprefix(f"{LENGTH}/") for name in golden.keys() if name.startswith(f"{LENGTH}/")]
        with torch.no_grad():
            logits, cache = model.run_with_cache(torch.tensor([prompt]))
        tensors[f"{kind}/logits"] = sample(logits)
        for name in sorted(names):
            # unprocessed, this is the value before weight and bias there
            other = kind == "unprocessed" and name.endswith("hook_normalized")
            if name in cache and not other:
                tensors[f"{kind}/{name}"] = sample(cache[name])
    save_file(tensors, FIXTURES / f"golden-{CHECKPOINT}-bridge.safetensors", metadata={"prompt": json.dumps(prompt)})


main()
