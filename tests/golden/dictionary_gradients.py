#!/usr/bin/env python3
"""Write the golden of gradients through edits of features, and of features as nodes, with sae-lens 6.54.12.

    python3 -m venv venv && venv/bin/pip install sae-lens==6.54.12
    venv/bin/python tests/golden/dictionaries.py            # the dictionaries
    venv/bin/python tests/golden/dictionary_gradients.py

Into tests/fixtures/golden-dictionary-gradients.safetensors, of an unprocessed HookedTransformer with the micro checkpoints' weights
and the metric logits[-1, 5] - logits[-1, 9]:

- `CHECKPOINT|NAME|EDIT|HOOK`: the gradient at HOOK, after its edits, in a run with a feature edit. The edit is spliced in as
  x + decode(edited features) - decode(features), by SAELens's own encode and decode, so that autograd sees all of it. (The error term of
  SAELens itself is computed without gradients, so what its class gives before the dictionary is not the derivative of the run.)
- `CHECKPOINT|NAME|HOOK|features` [d_sae] and `|error` [1]: (contrast - prompt) times the gradient, summed over positions, at
  `hook_sae_acts_post` and `hook_sae_error` of SAELens's HookedSAETransformer with the error term.
"""
import json, pathlib
import numpy as np, torch
from safetensors.torch import save_file
from transformers import GPTNeoXForCausalLM
from sae_lens import HookedSAETransformer
from sae_lens.saes.gated_sae import GatedSAE
from sae_lens.saes.jumprelu_sae import JumpReLUSAE
from sae_lens.saes.standard_sae import StandardSAE
from sae_lens.saes.topk_sae import TopKSAE
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_neox_weights

OUT = pathlib.Path(__file__).parent.parent / "fixtures"
rng = np.random.default_rng(12)
IDS, CONTRAST = rng.integers(0, 96, 9).tolist(), rng.integers(0, 96, 9).tolist()
PLAIN, LAYER_NORM, CONSTANT = "sae-lens-standard", "sae-lens-standard-unsubtracted", "sae-lens-topk"
CLASSES = {PLAIN: StandardSAE, LAYER_NORM: StandardSAE, CONSTANT: TopKSAE, "sae-lens-topk-rescaled": TopKSAE,
           "sae-lens-jumprelu": JumpReLUSAE, "sae-lens-gated": GatedSAE}

# checkpoint, dictionary, hook, selection and operation, what it does to features [pos, d_sae], given those of the contrast prompt
def at(rows, columns, change):
    def edit(f, contrast):
        f = f.clone()
        part = (slice(None) if rows is None else rows, slice(None) if columns is None else columns)
        f[part] = change(f, f[part], contrast[part])
        return f
    return edit

EDITS = [
    ("parallel-25", PLAIN, "blocks.0.hook_resid_post", "[d_sae=0:20] *= 0.5", at(None, slice(0, 20), lambda f, x, c: x * 0.5)),
    ("parallel-25", LAYER_NORM, "blocks.0.hook_resid_post", " *= 2", at(None, None, lambda f, x, c: x * 2)),
    ("parallel-25", LAYER_NORM, "blocks.1.hook_resid_pre", "[pos=2:5] = patch", at(slice(2, 5), None, lambda f, x, c: c)),
    ("parallel-25", CONSTANT, "blocks.1.hook_mlp_out", "[pos=3:8] = 0", at(slice(3, 8), None, lambda f, x, c: x * 0)),
    ("parallel-25", CONSTANT, "blocks.1.ln2.hook_normalized", "[pos=3:8] *= 3", at(slice(3, 8), None, lambda f, x, c: x * 3)),
    ("parallel-25", "sae-lens-topk-rescaled", "blocks.0.attn.hook_z", " *= -1", at(None, None, lambda f, x, c: -x)),
    ("parallel-25", "sae-lens-jumprelu", "blocks.0.hook_attn_out", "[d_sae=0:20] = mean",
     at(None, slice(0, 20), lambda f, x, c: x.mean(0, keepdim=True).expand_as(x))),
    ("parallel-25", "sae-lens-gated", "blocks.1.hook_resid_pre", " *= 0", at(None, None, lambda f, x, c: x * 0)),
    ("sequential-25", PLAIN, "blocks.1.hook_resid_mid", " *= 2", at(None, None, lambda f, x, c: x * 2)),
    ("sequential-25", LAYER_NORM, "blocks.0.hook_resid_post", "[pos=0:6] = 0", at(slice(0, 6), None, lambda f, x, c: x * 0)),
]
GRADIENTS = ["hook_embed", "blocks.0.attn.hook_z", "blocks.0.mlp.hook_post", "blocks.0.hook_resid_post", "blocks.1.attn.hook_z",
             "blocks.1.hook_mlp_out"]
NODES = [("parallel-25", PLAIN, "blocks.0.hook_resid_post"), ("parallel-25", LAYER_NORM, "blocks.1.hook_resid_pre"),
         ("parallel-25", "sae-lens-gated", "blocks.1.hook_mlp_out"), ("sequential-25", "sae-lens-jumprelu", "blocks.0.hook_attn_out"),
         ("sequential-25", CONSTANT, "blocks.1.hook_resid_post")]


def checkpoint(name):
    hf = GPTNeoXForCausalLM.from_pretrained(OUT / name, dtype=torch.float32).eval()
    c = hf.config
    cfg = HookedTransformerConfig(
        n_layers=c.num_hidden_layers, d_model=c.hidden_size, n_heads=c.num_attention_heads, d_head=c.hidden_size // c.num_attention_heads,
        d_mlp=c.intermediate_size, d_vocab=c.vocab_size, n_ctx=c.max_position_embeddings, act_fn=c.hidden_act, eps=c.layer_norm_eps,
        normalization_type="LN", positional_embedding_type="rotary", rotary_adjacent_pairs=False, device="cpu",
        rotary_dim=int(c.rotary_pct * (c.hidden_size // c.num_attention_heads)), parallel_attn_mlp=c.use_parallel_residual)
    model = HookedSAETransformer(cfg)
    state = {k: v.clone() for k, v in convert_neox_weights(hf, cfg).items()}
    model.load_and_process_state_dict(state, fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False)
    model.eval().requires_grad_(False)
    return model


def metric(logits):
    return logits[0, -1, 5] - logits[0, -1, 9]


def load(name, hook):
    sae = CLASSES[name].load_from_disk(OUT / "dictionaries" / name)
    sae.cfg.metadata.hook_name = hook
    return sae.requires_grad_(False)


def gradients(model, sae, hook, edit):
    """By hook, with `edit` of the features at `hook`."""
    flat = lambda x: x[0].flatten(1)
    features = {}
    model.run_with_hooks(torch.tensor([CONTRAST]), fwd_hooks=[(hook, lambda x, hook: features.update(contrast=sae.encode(flat(x))))])
    def splice(x, hook):
        before = sae.encode(flat(x))
        # one after the other, since a decoder may need what its encoder found in the same activation
        changed = sae.decode(edit(before, features["contrast"]))
        sae.encode(flat(x))
        return x + (changed - sae.decode(before)).reshape(x.shape)
    kept = {}
    def keep(x, hook):
        if not x.requires_grad: x.requires_grad_(True)
        x.retain_grad()
        kept[hook.name] = x
        return x
    with torch.enable_grad():
        hooks = [(name, keep) for name in GRADIENTS]
        metric(model.run_with_hooks(torch.tensor([IDS]), fwd_hooks=[(hook, splice)] + hooks)).backward()
    return {name: x.grad[0] for name, x in kept.items()}


def nodes(model, sae, hook):
    """The scores of the features [d_sae] and of the error term."""
    names = [f"{hook}.hook_sae_acts_post", f"{hook}.hook_sae_error"]
    model.add_sae(sae, use_error_term=True)
    def run(ids):
        kept = {}
        def keep(x, hook):
            x = x.detach().requires_grad_(True)
            kept[hook.name] = x
            return x
        value = metric(model.run_with_hooks(torch.tensor([ids]), fwd_hooks=[(name, keep) for name in names]))
        return value, kept
    with torch.enable_grad():
        value, here = run(IDS)
        value.backward()
        _, there = run(CONTRAST)
    model.reset_saes()
    scores = [((there[name] - here[name]).detach() * here[name].grad)[0].sum(0) for name in names]
    return scores[0], scores[1].sum()[None]


def main():
    torch.set_grad_enabled(False)
    tensors, models = {}, {name: checkpoint(name) for name in ("parallel-25", "sequential-25")}
    for name, dictionary, hook, text, edit in EDITS:
        found = gradients(models[name], load(dictionary, hook), hook, edit)
        for at, gradient in found.items():
            tensors[f"{name}|{dictionary}|{hook}.hook_sae_acts_post{text}|{at}"] = gradient.contiguous()
    for name, dictionary, hook in NODES:
        features, error = nodes(models[name], load(dictionary, hook), hook)
        tensors[f"{name}|{dictionary}|{hook}|features"], tensors[f"{name}|{dictionary}|{hook}|error"] = features.contiguous(), error
        print(name, dictionary, hook, features.abs().max().item(), error.item())
    about = {"prompt": json.dumps(IDS), "contrast": json.dumps(CONTRAST)}
    save_file(tensors, OUT / "golden-dictionary-gradients.safetensors", metadata=about)


if __name__ == "__main__":
    main()
