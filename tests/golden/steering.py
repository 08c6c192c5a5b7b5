#!/usr/bin/env python3
"""Write the golden of edits with vectors: what TransformerLens 2.18.0 computes on micro checkpoints.

    venv/bin/python tests/golden/steering.py          (after generate.py; the venv is that of generate.py)

Into tests/fixtures/golden-steering.safetensors. The vectors are a difference of prompts, a token's unembedding and a token's
embedding. Each edit is written twice, as a line of the grammar and as torch code that knows nothing of the grammar.
"""
import json
import torch
from safetensors.torch import save_file
from transformers import GPTNeoXForCausalLM
from generate import OUT, hooked, prompt, sample

CHECKPOINTS = ["parallel-25", "sequential-25"]
POSITIVE, NEGATIVE = [prompt(4, 1), prompt(7, 1), prompt(9, 1)], [prompt(5, 2), prompt(11, 2)]
TOKENS, UNEMBEDDED, EMBEDDED = prompt(7), 5, 9
# a line, the hook in question, and the new values of x [pos, ...] from x and the vector v
EDITS = [
    ("blocks.1.hook_resid_pre += 3 * diff", lambda x, v: x + 3 * v),
    ("blocks.0.hook_resid_post[pos=1:] += -2 * diff", lambda x, v: torch.cat([x[:1], x[1:] - 2 * v])),
    ("blocks.1.hook_resid_post[d_model=3,8] += 4 * diff", lambda x, v: x + 4 * v * torch.tensor([float(i in (3, 8)) for i in range(x.shape[1])])),
    ("blocks.0.attn.hook_z += 2 * diff", lambda x, v: x + 2 * v),
    ("blocks.1.attn.hook_v[head=2] += 2 * diff", lambda x, v: x + 2 * v * torch.eye(x.shape[1])[2][:, None]),
    ("blocks.0.mlp.hook_post -= proj diff", lambda x, v: x - torch.outer(x @ v, v) / (v @ v)),
    ("blocks.0.hook_resid_post -= proj diff", lambda x, v: x - torch.outer(x @ v, v) / (v @ v)),
    ("blocks.0.attn.hook_z -= proj diff", lambda x, v: x - torch.einsum("phd,hd->ph", x, v)[..., None] * v / (v * v).sum(-1)[:, None]),
    ("blocks.1.hook_resid_pre[pos=-1] += 1.5 * out", lambda x, v: torch.cat([x[:-1], x[-1:] + 1.5 * v])),
    ("blocks.1.hook_resid_post -= proj out", lambda x, v: x - torch.outer(x @ v, v) / (v @ v)),
    ("hook_embed += 0.5 * in", lambda x, v: x + 0.5 * v),
]


def main():
    tensors = {}
    for checkpoint in CHECKPOINTS:
        for kind in ("processed", "unprocessed"):
            model = hooked(GPTNeoXForCausalLM.from_pretrained(OUT / checkpoint), kind == "processed")
            with torch.no_grad():
                caches = [[model.run_with_cache(torch.tensor([ids]))[1] for ids in prompts] for prompts in (POSITIVE, NEGATIVE)]
                for line, change in EDITS:
                    hook = line.split("[")[0].split(" ")[0]
                    mean = lambda caches: torch.stack([cache[hook][0, -1] for cache in caches]).mean(0)
                    name = line.split()[-1]
                    vector = {"diff": mean(caches[0]) - mean(caches[1]), "out": model.W_U[:, UNEMBEDDED], "in": model.W_E[EMBEDDED]}[name]
                    edit = lambda x, hook: change(x[0], vector)[None]
                    logits = model.run_with_hooks(torch.tensor([TOKENS]), fwd_hooks=[(hook, edit)])
                    tensors[f"{checkpoint}/{kind}/{line}"] = sample(logits)
                    if name == "diff":
                        tensors[f"{checkpoint}/{kind}/vector/{hook}"] = vector.flatten().clone()
    facts = {"tokens": TOKENS, "positive": POSITIVE, "negative": NEGATIVE, "out": UNEMBEDDED, "in": EMBEDDED,
             "edits": [line for line, _ in EDITS]}
    save_file(tensors, OUT / "golden-steering.safetensors", metadata={name: json.dumps(fact) for name, fact in facts.items()})


main()
