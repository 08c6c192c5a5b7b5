#!/usr/bin/env python3
"""Write the golden of direct paths: TransformerLens 4.3.0's `get_act_patch_direct_path` on a checkpoint of generate.py.

    python3 -m venv venv4 && venv4/bin/pip install transformer-lens==4.3.0
    venv4/bin/python tests/golden/direct_path.py

Into tests/fixtures/golden-direct-path.safetensors: the logit difference with the path from each head of block 0 into each head of
block 1 taken from the other prompt, by the input that it goes to.
"""
import json, logging, pathlib
import numpy as np, torch
from safetensors.torch import save_file
from transformer_lens import patching
from transformer_lens.model_bridge import TransformerBridge

OUT = pathlib.Path(__file__).parent.parent / "fixtures"
TARGET, DISTRACTOR, N, VOCAB = 5, 9, 9, 96


def prompt(n, seed=0):
    return np.random.default_rng(1000 * seed + n).integers(0, VOCAB, n).tolist()


def main():
    logging.disable(logging.WARNING)
    tensors = {}
    for processing in (True, False):
        model = TransformerBridge.boot_transformers(str(OUT / "parallel-25"), device="cpu").eval()
        model.enable_compatibility_mode(disable_warnings=True, no_processing=not processing)
        ids, other = torch.tensor([prompt(N)]), torch.tensor([prompt(N, seed=9)])
        with torch.no_grad():
            _, cache = model.run_with_cache(ids)
            _, contrast = model.run_with_cache(other)
            metric = lambda logits: logits[0, -1, TARGET] - logits[0, -1, DISTRACTOR]
            for port in "qkv":
                rows = [patching.get_act_patch_direct_path(model, ids, contrast, cache, metric, 0, head, port, verbose=False)[1] for head in range(4)]
                tensors[f"{'processed' if processing else 'unprocessed'}/{port}"] = torch.stack(rows).float().contiguous()
    save_file(tensors, OUT / "golden-direct-path.safetensors", metadata={"prompts": json.dumps(dict(prompt=prompt(N), contrast=prompt(N, seed=9)))})


main()
