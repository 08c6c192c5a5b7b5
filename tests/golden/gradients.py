#!/usr/bin/env python3
"""Write the goldens of gradients: torch's autograd through TransformerLens 2.18.0, with a backward hook at every hook point.

    venv/bin/python tests/golden/gradients.py          # the venv of generate.py, whose checkpoints it reads

Into tests/fixtures/golden-gradients-*.safetensors. Each gradient is with respect to the value after the edits of its hook, and is
kept as SAMPLES values at regular places and its L2 norm.
"""
import json, logging
import torch
from safetensors.torch import save_file
from generate import CASES, CHECKPOINTS, FLAGS, OUT, SEQUENTIAL, capture, hooked, prompt, GPTNeoXForCausalLM

SAMPLES = 40
TARGET, DISTRACTOR = 5, 9
SETS = {"attn_in": ["hook_tokens", "hook_attn_in", "hook_mlp_in", "attn.hook_result"], "split": ["hook_q_input", "hook_k_input", "hook_v_input"],
        "some": ["hook_k_input", "hook_mlp_in"], "all": list(FLAGS)}


def sample(x):
    x = x[0].float().contiguous().flatten()
    if len(x) > SAMPLES:
        x = torch.cat([x[[k * len(x) // SAMPLES for k in range(SAMPLES)]], x.double().norm().float()[None]])
    return x.clone()


def metric(name, logits, base, ids):
    last = logits[0, -1].double()
    if name == "logit-diff": return last[TARGET] - last[DISTRACTOR]
    if name == "target": return last[TARGET]
    if name == "prob": return last.softmax(-1)[TARGET]
    if name == "kl": return (base[0, -1].double().softmax(-1) * (base[0, -1].double().log_softmax(-1) - last.log_softmax(-1))).sum()
    if name == "loss": return -logits[0, :-1].double().log_softmax(-1).gather(-1, torch.tensor(ids[1:])[:, None]).mean()


def gradients(model, ids, base, name, fwd=(), split=False):
    """The metric, and its gradient at every hook. For ln1, which fires for q, k and v, it is the sum; with split inputs, only v's."""
    kept = {}
    def keep(grad, hook):
        if hook.name not in kept: kept[hook.name] = grad.clone()
        elif not split: kept[hook.name] = kept[hook.name] + grad
    names = [n for n in model.hook_dict if n != "hook_tokens"]
    with model.hooks(fwd_hooks=list(fwd), bwd_hooks=[(n, keep) for n in names]):
        value = metric(name, model(torch.tensor([ids])), base, ids)
        value.backward()
        value = value.detach()
    model.zero_grad()
    if split and model.cfg.normalization_type == "LNPre":     # the values' fires first in the backward pass
        w = torch.einsum("bphe,hde->bphd", kept["blocks.1.attn.hook_v"], model.blocks[1].attn.W_V)
        torch.testing.assert_close(kept["blocks.1.ln1.hook_normalized"], w, rtol=1e-4, atol=1e-6)
    for n in kept:
        if n.endswith("hook_attn_scores"):      # a query without a softmax: its pattern is 0 whatever its scores; torch has NaN
            kept[n] = kept[n].nan_to_num(0)
        assert kept[n].isfinite().all(), n
    return float(value), {n: sample(g) for n, g in kept.items()}


def case(hf, processing, edits, options, name):
    model, ids = hooked(hf, processing, **{FLAGS[n]: True for n in options.get("enable", [])}), prompt(17)
    base, baseline = capture(model, ids)
    contrast_ids = prompt(options["contrast"], seed=9) if "contrast" in options else None
    contrast = capture(model, contrast_ids)[1] if contrast_ids else {}
    fwd = []
    for _line, hooks, select, op in edits:
        for hook_name in hooks:
            def fn(x, hook, select=select, op=op, hook_name=hook_name):
                mask = torch.zeros_like(x, dtype=torch.bool); select(mask)
                return torch.where(mask, op(x, dict(hook=hook_name, baseline=baseline, contrast=contrast)), x)
            fwd.append((hook_name, fn))
    split = any(n.endswith(("q_input", "k_input", "v_input")) for n in options.get("enable", []))
    if name == "kl":        # the gradient of a KL near 0 is a difference of two equal distributions: rounding alone
        with torch.no_grad(), model.hooks(fwd_hooks=fwd):
            name = "kl" if metric("kl", model(torch.tensor([ids])), base, ids) > 1e-3 else "prob"
    value, tensors = gradients(model, ids, base, name, fwd, split)
    info = dict(edits=[e[0] for e in edits], enable=options.get("enable", []), contrast=contrast_ids, metric=name, value=value)
    return info, tensors


def main():
    logging.disable(logging.WARNING)
    for name, (parallel, pct) in CHECKPOINTS.items():
        hf = GPTNeoXForCausalLM.from_pretrained(OUT / name).float()
        for processing in (True, False):
            todo = [([], {}, metric) for metric in ("logit-diff", "target", "prob", "loss")]
            if pct == 0.25:
                todo += [([], {"enable": enable}, "logit-diff") for enable in SETS.values()]
                edited = CASES if parallel else SEQUENTIAL
                todo += [(edits, options, ("kl", "logit-diff", "loss", "prob")[i % 4]) for i, (edits, options) in enumerate(edited)]
            cases, tensors = [], {}
            for number, (edits, options, metric_name) in enumerate(todo):
                info, found = case(hf, processing, edits, options, metric_name)
                cases.append(info)
                tensors.update({f"{number}/{k}": v for k, v in found.items()})
            kind = "processed" if processing else "unprocessed"
            save_file(tensors, OUT / f"golden-gradients-{name}-{kind}.safetensors",
                      metadata={"cases": json.dumps(cases), "prompt": json.dumps(prompt(17))})
        print("wrote", name)


if __name__ == "__main__":
    main()
