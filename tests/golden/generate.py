#!/usr/bin/env python3
"""Write the goldens: micro checkpoints and what TransformerLens 2.18.0 computes on them.

    python3 -m venv venv && venv/bin/pip install transformer-lens==2.18.0 transformers==4.57.6 torch==2.15.0 numpy==1.26.4 'pyarrow<22'
    venv/bin/python tests/golden/generate.py

Into tests/fixtures/: one directory a checkpoint (random weights, fp16, in Pythia's layout), and for each of them
`golden-*.safetensors`. Tensors of more than SAMPLES values are kept as SAMPLES values at regular places and their L2 norm.
Edits are written twice here, as a line of the grammar and as torch code that knows nothing of the grammar.
"""
import json, logging, pathlib, sys
import numpy as np, torch
from safetensors.torch import save_file
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
from transformer_lens import HookedTransformer, HookedTransformerConfig, head_detector, patching
from transformer_lens.pretrained.weight_conversions import convert_neox_weights

OUT = pathlib.Path(__file__).parent.parent / "fixtures"
SAMPLES = 256
VOCAB = 96
CHECKPOINTS = {"parallel-25": (True, 0.25), "parallel-100": (True, 1.0), "sequential-25": (False, 0.25), "sequential-100": (False, 1.0)}
LENGTHS = [1, 2, 17, 130]
ACTIVATIONS = ["gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu", "swish"]
ACT_FN = {"swish": "silu"}      # TransformerLens's name, if it differs
PATCHING = ["resid_pre", "attn_out", "mlp_out", "attn_head_out_all_pos", "attn_head_q_all_pos", "attn_head_k_all_pos", "attn_head_v_all_pos",
            "attn_head_pattern_all_pos", "attn_head_out_by_pos", "attn_head_q_by_pos", "attn_head_k_by_pos", "attn_head_v_by_pos",
            "attn_head_pattern_by_pos"]
TARGET, DISTRACTOR = 5, 9


def make_checkpoint(name, parallel, rotary_pct, seed):
    cfg = GPTNeoXConfig(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
                        hidden_act="gelu", rotary_pct=rotary_pct, rotary_emb_base=10000, max_position_embeddings=256,
                        layer_norm_eps=1e-5, use_parallel_residual=parallel, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0)
    model, g = GPTNeoXForCausalLM(cfg), torch.Generator().manual_seed(seed)
    with torch.no_grad():      # away from neutral values, which hide mistakes
        for key, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            norm = "norm" in key
            p.copy_(noise * 0.2 + float(key.endswith("weight")) if norm else noise * (0.1 if key.endswith("bias") else 1.5 / p.shape[-1] ** 0.5))
    model = model.to(torch.float16)
    model.save_pretrained(OUT / name)
    (OUT / name / "generation_config.json").unlink(missing_ok=True)
    return model


def hooked(hf, processing, **flags):
    c = hf.config
    d_head = c.hidden_size // c.num_attention_heads
    cfg = HookedTransformerConfig(
        n_layers=c.num_hidden_layers, d_model=c.hidden_size, n_heads=c.num_attention_heads, d_head=d_head, d_mlp=c.intermediate_size,
        d_vocab=c.vocab_size, n_ctx=c.max_position_embeddings, act_fn=ACT_FN.get(c.hidden_act, c.hidden_act), eps=c.layer_norm_eps,
        normalization_type="LNPre" if processing else "LN", positional_embedding_type="rotary", rotary_dim=int(c.rotary_pct * d_head),
        rotary_adjacent_pairs=False, parallel_attn_mlp=c.use_parallel_residual, device="cpu", **flags)
    model = HookedTransformer(cfg)
    model.load_and_process_state_dict(
        {k: v.clone() for k, v in convert_neox_weights(hf.float(), cfg).items()}, fold_ln=processing, center_writing_weights=processing,
        center_unembed=processing, fold_value_biases=processing, refactor_factored_attn_matrices=False)
    return model.eval()


def prompt(n, seed=0):
    return np.random.default_rng(1000 * seed + n).integers(0, VOCAB, n).tolist()


def sample(x):
    x = x[0].float().contiguous().flatten()
    if len(x) > SAMPLES:
        norm = x[x.isfinite()].double().norm().float()
        x = torch.cat([x[[k * len(x) // SAMPLES for k in range(SAMPLES)]], norm[None]])
    return x.clone()


def capture(model, ids):
    with torch.no_grad():
        logits, cache = model.run_with_cache(torch.tensor([ids]))
    return logits, dict(cache)


def analyses(model):
    """The logit lens and direct logit attribution on one prompt, and head_detector's scores on one that repeats."""
    out, (_, cache) = {}, model.run_with_cache(torch.tensor([prompt(17)]))
    stack = cache.accumulated_resid(apply_ln=True)                      # [layer, batch, pos, d_model]
    for layer, stream in enumerate(stack):
        out[f"lens/{layer}"] = sample(model.unembed(stream))
    components = cache.get_full_resid_decomposition(expand_neurons=False)   # heads, MLPs, embed, bias
    for name, tokens in {"target": (TARGET, None), "difference": (TARGET, DISTRACTOR)}.items():
        if model.cfg.normalization_type == "LNPre":
            attributed = cache.logit_attrs(components, tokens[0], incorrect_tokens=tokens[1])
        else:       # logit_attrs leaves out the final LayerNorm's weight, so that its parts would not sum to the logit
            away = model.W_U[:, tokens[1]] if tokens[1] is not None else 0
            direction = (model.W_U[:, tokens[0]] - away) * model.ln_final.w
            attributed = (cache.apply_ln_to_stack(components) * direction).sum(-1)
        out[f"attribution/{name}"] = attributed[:, 0, -1].clone()
    weighted = cache["blocks.1.attn.hook_pattern"] * cache["blocks.1.attn.hook_v"].norm(dim=-1).transpose(1, 2)[:, :, None]
    out["value_weighted"] = sample(weighted)
    ids = torch.tensor([prompt(6, seed=4) * 3])
    _, cache = model.run_with_cache(ids)
    patterns = {"previous_token": head_detector.get_previous_token_head_detection_pattern, "induction":
                head_detector.get_induction_head_detection_pattern, "duplicate_token": head_detector.get_duplicate_token_head_detection_pattern}
    for name, detection in patterns.items():
        score = lambda pattern: head_detector.compute_head_attention_similarity_score(
            pattern.clone(), detection(ids), exclude_bos=False, exclude_current_token=False, error_measure="mul")
        all_heads = [score(cache[f"blocks.{i}.attn.hook_pattern"][0, h]) for i in range(2) for h in range(4)]
        out[f"heads/{name}"] = torch.tensor(all_heads)
    return out


def sweeps(model):
    """Every map of transformer_lens.patching, and every head and MLP ablated one by one."""
    corrupted, clean = torch.tensor([prompt(6)]), torch.tensor([prompt(6, seed=9)])
    with torch.no_grad():
        clean_logits, clean_cache = model.run_with_cache(clean)
        corrupted_logits = model(corrupted)
        diff = lambda logits: logits[0, -1, TARGET] - logits[0, -1, DISTRACTOR]
        low, high = diff(corrupted_logits), diff(clean_logits)
        metric = lambda logits: (diff(logits) - low) / (high - low)
        maps = {name: getattr(patching, "get_act_patch_" + name)(model, corrupted, clean_cache, metric) for name in PATCHING}
        maps["block_every"] = patching.get_act_patch_block_every(model, corrupted, clean_cache, metric)
        out = {f"patching/{name}": values.contiguous() for name, values in maps.items()}
        for kind, op in {"zero": lambda x: x * 0, "mean": lambda x: x.mean(1, keepdim=True).expand_as(x)}.items():
            rows = []
            for layer in range(model.cfg.n_layers):
                for head in [*range(model.cfg.n_heads), None]:
                    def fn(x, hook, head=head, op=op):
                        y = x.clone()
                        if head is None: y[:] = op(x)
                        else: y[:, :, head] = op(x[:, :, head])
                        return y
                    name = f"blocks.{layer}." + ("hook_mlp_out" if head is None else "attn.hook_z")
                    logits = model.run_with_hooks(corrupted, fwd_hooks=[(name, fn)])
                    p, q = corrupted_logits[0, -1].double().log_softmax(-1), logits[0, -1].double().log_softmax(-1)
                    rows.append([float((p.exp() * (p - q)).sum()), float(diff(logits) - low), float(q[TARGET].exp() - p[TARGET].exp())])
            out[f"ablation/{kind}"] = torch.tensor(rows)        # [(layer, head or MLP), (KL, logit difference, probability)]
    return out


# ---- edits ----------------------------------------------------------------------------------------------------------
MASK64 = (1 << 64) - 1


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def noise(hook, seed, shape):
    """Counter-based SplitMix64 and Box-Muller, one stream a hook and seed."""
    golden, h = 0x9E3779B97F4A7C15, 0xCBF29CE484222325
    for b in hook.encode():
        h = ((h ^ b) * 0x100000001B3) & MASK64
    key = mix((seed + golden) & MASK64) ^ h
    u = lambda c: ((mix((key + c * golden) & MASK64) >> 11) + 1) / 2.0 ** 53
    n = int(np.prod(shape))
    values = [np.sqrt(-2 * np.log(u(2 * i + 1))) * np.cos(2 * np.pi * u(2 * i + 2)) for i in range(n)]
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


B = lambda layers, name: [f"blocks.{i}.{name}" for i in layers]
SET = lambda v: lambda x, c: torch.full_like(x, v)
SCALE = lambda v: lambda x, c: x * v
ADD = lambda v: lambda x, c: x + v
MEAN = lambda dim: lambda x, c: x.mean(dim, keepdim=True).expand_as(x)
FREEZE = lambda x, c: c["baseline"][c["hook"]]
PATCH = lambda x, c: c["contrast"][c["hook"]]
NOISE = lambda sd, seed: lambda x, c: x + (noise(c["hook"], seed, x.shape[1:])[None] * np.float64(np.float32(sd))).float()
NEG = float("-inf")


def all_(m): m[:] = True
def at(*index):
    def set_(m): m[(slice(None),) + index] = True
    return set_
_ = slice(None)


def last_from_last(x, c):
    """the contrast prompt's last position, at this prompt's last"""
    y = x.clone(); y[:, -1] = c["contrast"][c["hook"]][:, -1]; return y


# (edits, options); each edit: (line, hooks, select, op)
CASES = [
    ([("blocks.0.attn.hook_z[head=3] = 0", B([0], "attn.hook_z"), at(_, 3), SET(0.0))], {}),
    ([("blocks.*.attn.hook_z[head=0,2:4 pos=-1] *= 0.5", B([0, 1], "attn.hook_z"), at(-1, [0, 2, 3]), SCALE(0.5))], {}),
    ([("blocks.0-1.hook_mlp_out = mean", B([0, 1], "hook_mlp_out"), all_, MEAN(1))], {}),
    ([("blocks.1.attn.hook_pattern[head=2 query=-1 key=0] = 0", B([1], "attn.hook_pattern"), at(2, -1, 0), SET(0.0))], {}),
    ([("blocks.0.hook_resid_post[pos=1 d_model=17] += 4", B([0], "hook_resid_post"), at(1, 17), ADD(4.0))], {}),
    ([("blocks.1.hook_resid_pre[pos=1] = patch", B([1], "hook_resid_pre"), at(1), PATCH)], {"contrast": 17}),
    ([("blocks.0.hook_mlp_out = 0", B([0], "hook_mlp_out"), all_, SET(0.0)),
      ("blocks.*.ln1.hook_scale = freeze", B([0, 1], "ln1.hook_scale"), all_, FREEZE)], {}),
    ([("blocks.1.hook_mlp_out += noise 0.1 seed 7", B([1], "hook_mlp_out"), all_, NOISE(0.1, 7))], {}),
    ([("blocks.0.attn.hook_q[head=1] *= -2", B([0], "attn.hook_q"), at(_, 1), SCALE(-2.0))], {}),
    ([("blocks.0.attn.hook_k[pos=2:5] = mean", B([0], "attn.hook_k"), at(slice(2, 5)), MEAN(1))], {}),
    ([("blocks.1.attn.hook_v[head=0 d_head=1:3] += 1.5", B([1], "attn.hook_v"), at(_, 0, slice(1, 3)), ADD(1.5))], {}),
    ([("blocks.1.attn.hook_rot_q[pos=-3:] = 0.25", B([1], "attn.hook_rot_q"), at(slice(-3, None)), SET(0.25))], {}),
    ([("blocks.0.attn.hook_rot_k[head=2] = patch", B([0], "attn.hook_rot_k"), at(_, 2), PATCH)], {"contrast": 17}),
    ([("blocks.0.attn.hook_attn_scores[key=0] = -inf", B([0], "attn.hook_attn_scores"), at(_, _, 0), SET(NEG))], {}),
    ([("blocks.1.attn.hook_attn_scores[head=1 query=5:] *= 3", B([1], "attn.hook_attn_scores"), at(1, slice(5, None)), SCALE(3.0))], {}),
    ([("blocks.1.attn.hook_attn_scores[head=0] += 2", B([1], "attn.hook_attn_scores"), at(0), ADD(2.0))], {}),
    ([("blocks.0.attn.hook_pattern = mean", B([0], "attn.hook_pattern"), all_, MEAN(2))], {}),
    ([("blocks.0.attn.hook_pattern[head=1] = patch", B([0], "attn.hook_pattern"), at(1), PATCH)], {"contrast": 17}),
    ([("blocks.0.ln1.hook_scale *= 2", B([0], "ln1.hook_scale"), all_, SCALE(2.0))], {}),
    ([("blocks.1.ln1.hook_normalized[d_model=3] = 0", B([1], "ln1.hook_normalized"), at(_, 3), SET(0.0))], {}),
    ([("blocks.0.ln2.hook_scale[pos=0] = 1", B([0], "ln2.hook_scale"), at(0), SET(1.0))], {}),
    ([("blocks.1.ln2.hook_normalized = mean", B([1], "ln2.hook_normalized"), all_, MEAN(1))], {}),
    ([("hook_embed[pos=4] = 0", ["hook_embed"], at(4), SET(0.0))], {}),
    ([("hook_embed += noise 0.5", ["hook_embed"], all_, NOISE(0.5, 0))], {}),
    ([("blocks.0.mlp.hook_pre[d_mlp=5,7] = 3", B([0], "mlp.hook_pre"), at(_, [5, 7]), SET(3.0))], {}),
    ([("blocks.1.mlp.hook_post[d_mlp=10:20] = 0", B([1], "mlp.hook_post"), at(_, slice(10, 20)), SET(0.0))], {}),
    ([("blocks.0.hook_attn_out[pos=1:] *= 0", B([0], "hook_attn_out"), at(slice(1, None)), SCALE(0.0))], {}),
    ([("ln_final.hook_scale[pos=-1] *= 0.5", ["ln_final.hook_scale"], at(-1), SCALE(0.5))], {}),
    ([("ln_final.hook_normalized[d_model=0:8] = 0", ["ln_final.hook_normalized"], at(_, slice(0, 8)), SET(0.0))], {}),
    ([("blocks.1.attn.hook_z[pos=-1] = patch", B([1], "attn.hook_z"), at(-1), last_from_last)], {"contrast": 9}),
    ([("blocks.0.attn.hook_z[head=1] = 0", B([0], "attn.hook_z"), at(_, 1), SET(0.0)),
      ("blocks.1.hook_resid_pre = freeze", B([1], "hook_resid_pre"), all_, FREEZE)], {}),
    ([("blocks.0.hook_mlp_out *= 2", B([0], "hook_mlp_out"), all_, SCALE(2.0)),
      ("blocks.0.hook_mlp_out[pos=3] += 1", B([0], "hook_mlp_out"), at(3), ADD(1.0)),
      ("blocks.1.attn.hook_pattern[head=0] = 0", B([1], "attn.hook_pattern"), at(0), SET(0.0))], {}),
    # opt-in hooks
    ([("hook_tokens[pos=2] = 11", ["hook_tokens"], at(2), SET(11))], {"enable": ["hook_tokens"]}),
    ([("blocks.0.hook_attn_in[head=2] = 0", B([0], "hook_attn_in"), at(_, 2), SET(0.0))], {"enable": ["hook_attn_in"]}),
    ([("blocks.1.hook_q_input[head=1 pos=3:] *= 0.5", B([1], "hook_q_input"), at(slice(3, None), 1), SCALE(0.5)),
      ("blocks.1.hook_k_input[head=0] = mean", B([1], "hook_k_input"), at(_, 0), MEAN(1)),
      ("blocks.0.hook_v_input[head=3] += 1", B([0], "hook_v_input"), at(_, 3), ADD(1.0))],
     {"enable": ["hook_q_input", "hook_k_input", "hook_v_input"]}),
    ([("blocks.1.hook_mlp_in[pos=0] = 0", B([1], "hook_mlp_in"), at(0), SET(0.0))], {"enable": ["hook_mlp_in"]}),
    ([("blocks.0.attn.hook_result[head=2] = mean", B([0], "attn.hook_result"), at(_, 2), MEAN(1))], {"enable": ["attn.hook_result"]}),
]
SEQUENTIAL = [
    ([("blocks.0.hook_resid_mid[pos=2] = 0", B([0], "hook_resid_mid"), at(2), SET(0.0))], {}),
    ([("blocks.*.hook_resid_mid += noise 0.2 seed 3", B([0, 1], "hook_resid_mid"), all_, NOISE(0.2, 3))], {}),
    ([("blocks.1.hook_mlp_in[pos=0] = 0", B([1], "hook_mlp_in"), at(0), SET(0.0))], {"enable": ["hook_mlp_in"]}),
]
FLAGS = {"hook_tokens": "use_hook_tokens", "hook_attn_in": "use_attn_in", "hook_q_input": "use_split_qkv_input", "hook_k_input": "use_split_qkv_input",
         "hook_v_input": "use_split_qkv_input", "hook_mlp_in": "use_hook_mlp_in", "attn.hook_result": "use_attn_result"}
KEEP = ["blocks.0.attn.hook_pattern", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post", "blocks.1.ln1.hook_scale"]


def run_case(hf, processing, edits, options):
    flags = {FLAGS[name]: True for name in options.get("enable", [])}
    model, ids = hooked(hf, processing, **flags), prompt(17)
    base_logits, baseline = capture(model, ids)
    contrast_ids = prompt(options["contrast"], seed=9) if "contrast" in options else None
    contrast = capture(model, contrast_ids)[1] if contrast_ids else {}
    effects, fwd = [dict(touched=0, squared=0.0) for _e in edits], []
    for number, (_line, hooks, select, op) in enumerate(edits):
        for name in hooks:
            def fn(x, hook, number=number, select=select, op=op, name=name):
                mask = torch.zeros_like(x, dtype=torch.bool); select(mask)
                y = torch.where(mask, op(x, dict(hook=name, baseline=baseline, contrast=contrast)), x)
                effects[number]["touched"] += int(mask.sum())
                moved = mask & (x != y)
                effects[number]["squared"] += float((y[moved].double() - x[moved].double()).pow(2).sum())
                return y
            fwd.append((name, fn))
    kept = {}
    def keep(x, hook): kept[hook.name] = x.clone()
    with torch.no_grad():
        logits = model.run_with_hooks(torch.tensor([ids]), fwd_hooks=fwd + [(name, keep) for name in KEEP])
    p, q = base_logits.double().log_softmax(-1)[0], logits.double().log_softmax(-1)[0]
    kl = (p.exp() * (p - q)).sum(-1)
    # ln1 fires three times (for q, k and v) on the same input in the reference; one application is what an edit means
    ln1 = [("ln1" in e[1][0] and "use_split_qkv_input" not in flags) for e in edits]
    times = [3 if l else 1 for l in ln1]
    norms = [(f["squared"] / t) ** 0.5 for f, t in zip(effects, times)]
    info = [dict(edit=e[0], touched=f["touched"] // t, delta_l2=norm if np.isfinite(norm) else None)      # None: infinite
            for e, f, t, norm in zip(edits, effects, times, norms)]
    tensors = {"logits": sample(logits), "kl": kl.float(), **{k: sample(v) for k, v in kept.items()}}
    return dict(edits=info, enable=options.get("enable", []), prompt=ids, contrast=contrast_ids), tensors


def halved(hf, processing, dtype):
    """Processed in f32, then computed in 16 bits; LayerNorm, scores and patterns stay f32 there."""
    model = hooked(hf, processing).to(dtype)
    logits, cache = capture(model, prompt(17))
    return {f"17/{k}": sample(v) for k, v in cache.items()} | {"17/logits": sample(logits)}


def activations(hf, processing):
    """Other activation functions on the same weights: the neurons and the results, checked against Hugging Face's logits."""
    out, classes, cfg = {}, {}, hf.config.to_dict()
    for act in ACTIVATIONS:
        other = GPTNeoXForCausalLM(GPTNeoXConfig(**(cfg | {"hidden_act": act})))
        other.load_state_dict(hf.state_dict())
        logits, cache = capture(hooked(other, processing), prompt(17))
        with torch.no_grad():
            theirs = other(torch.tensor([prompt(17)])).logits
        assert (logits.log_softmax(-1) - theirs.log_softmax(-1)).abs().max() < 1e-4, act
        out.update({f"{act}/{k}": sample(v) for k, v in cache.items() if k.endswith("mlp.hook_post")} | {f"{act}/logits": sample(logits)})
        classes[act] = type(other.gpt_neox.layers[0].mlp.act).__name__
    return out, classes


def modules(hf):
    """Every module of Hugging Face's model with its class and own parameters, in the order of named_modules()."""
    own = lambda m: [[name, list(p.shape)] for name, p in m.named_parameters(recurse=False)]
    return [[path, type(m).__name__, own(m)] for path, m in hf.named_modules()]


def main():
    logging.disable(logging.WARNING)
    OUT.mkdir(exist_ok=True)
    for seed, (name, (parallel, pct)) in enumerate(CHECKPOINTS.items()):
        hf = make_checkpoint(name, parallel, pct, seed)
        (OUT / name / "modules.json").write_text("[\n" + ",\n".join(json.dumps(m) for m in modules(hf)) + "\n]\n")
        for processing in (True, False):
            kind = "processed" if processing else "unprocessed"
            model, tensors = hooked(hf, processing), {}
            for n in LENGTHS:
                logits, cache = capture(model, prompt(n))
                tensors.update({f"{n}/{k}": sample(v) for k, v in cache.items()} | {f"{n}/logits": sample(logits)})
            with torch.no_grad():
                tensors.update(analyses(model))
            prompts = {str(n): prompt(n) for n in LENGTHS} | {"lens": prompt(17), "heads": prompt(6, seed=4) * 3}
            save_file(tensors, OUT / f"golden-{name}-{kind}.safetensors", metadata={"prompts": json.dumps(prompts)})
            if name == "parallel-25":
                others, classes = activations(hf, processing)
                save_file(others, OUT / f"golden-activations-{kind}.safetensors",
                          metadata={"prompt": json.dumps(prompt(17)), "classes": json.dumps(classes)})
            if pct != 0.25:
                continue
            for kind_of_float, dtype in {"f16": torch.float16, "bf16": torch.bfloat16}.items():
                save_file(halved(hf, processing, dtype), OUT / f"golden-{name}-{kind}-{kind_of_float}.safetensors",
                          metadata={"prompt": json.dumps(prompt(17))})
            save_file(sweeps(model), OUT / f"golden-{name}-{kind}-sweeps.safetensors",
                      metadata={"prompts": json.dumps({"corrupted": prompt(6), "clean": prompt(6, seed=9)})})
            tensors, cases = {}, {}
            for set_name, opt_in in {"attn_in": ["hook_tokens", "hook_attn_in", "hook_mlp_in", "attn.hook_result"],
                                     "split": ["hook_q_input", "hook_k_input", "hook_v_input"],
                                     "all": list(FLAGS)}.items():
                logits, cache = capture(hooked(hf, processing, **{FLAGS[o]: True for o in opt_in}), prompt(17))
                tensors.update({f"{set_name}/{k}": sample(v) for k, v in cache.items()} | {f"{set_name}/logits": sample(logits)})
                cases[set_name] = opt_in
            meta = {"prompt": json.dumps(prompt(17)), "enable": json.dumps(cases)}
            save_file(tensors, OUT / f"golden-{name}-{kind}-opt-in.safetensors", metadata=meta)
            tensors, cases = {}, []
            for number, (edits, options) in enumerate((CASES if parallel else []) + ([] if parallel else SEQUENTIAL)):
                info, out = run_case(hf, processing, edits, options)
                cases.append(info)
                tensors.update({f"{number}/{k}": v.contiguous() for k, v in out.items()})
            save_file(tensors, OUT / f"golden-{name}-{kind}-edits.safetensors", metadata={"cases": json.dumps(cases)})
        print("wrote", name)


if __name__ == "__main__":
    main()
