#!/usr/bin/env python3
"""Write the goldens of sparse dictionaries, with eai-sparsify 1.3.3, sae-lens 6.54.12 and dictionary-learning 0.1.0.

    python3 -m venv venv && venv/bin/pip install eai-sparsify==1.3.3 sae-lens==6.54.12 dictionary-learning==0.1.0
    venv/bin/python tests/golden/dictionaries.py

Into tests/fixtures: dictionaries/NAME/ (random weights, in the layout of each library) and golden-dictionaries.safetensors: `x`, and
by dictionary the features and the reconstruction of `x`. MLSAE is on no package index: its forward pass is written down here from
Lawson et al. (2024). `stream` is what leaves block 0 of the checkpoint parallel-25, from transformers. `edits` are log-probabilities
of that checkpoint with features edited at a hook and the error term kept, from SAELens's HookedSAETransformer.
"""
import json, os, pathlib, shutil
os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
import numpy as np, torch
from safetensors.torch import save_file
from transformers import GPTNeoXForCausalLM
import sparsify
from sae_lens.saes.gated_sae import GatedSAE, GatedSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUSAE, JumpReLUSAEConfig
from sae_lens.saes.standard_sae import StandardSAE, StandardSAEConfig
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
from sae_lens.saes.sae import SAEMetadata
from sae_lens import HookedSAETransformer
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_neox_weights
from dictionary_learning import dictionary as dl
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
from dictionary_learning.trainers.top_k import AutoEncoderTopK
from dictionary_learning.utils import load_dictionary

OUT = pathlib.Path(__file__).parent.parent / "fixtures"
DIR = OUT / "dictionaries"
D_IN, D_SAE, K = 32, 40, 5
IDS = np.random.default_rng(11).integers(0, 96, 9).tolist()
HOOK = "blocks.0.hook_resid_post"


def fill(module, seed):
    """Random weights, far from any initialisation."""
    g = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        if "threshold" in name: p.data = torch.rand(p.shape, generator=g)
        elif p.dim() == 2: p.data = (torch.randn(p.shape, generator=g) * 0.3).contiguous()
        else: p.data = torch.randn(p.shape, generator=g) * 0.4
    return module


def sparsify_layout(x):
    cfg = sparsify.SparseCoderConfig(num_latents=D_SAE, k=K)
    sae = fill(sparsify.SparseCoder(D_IN, cfg), 1)
    sae.save_to_disk(DIR / "sparsify" / "layers.0")
    found = sparsify.SparseCoder.load_from_disk(DIR / "sparsify" / "layers.0")
    acts, ids, _ = found.encode(x)
    return torch.zeros(len(x), D_SAE).scatter_(1, ids, acts), found.decode(acts, ids)


def sae_lens_layout(x, name, cls, cfg, seed, **kwargs):
    meta = SAEMetadata(hook_name=HOOK, model_name="pythia-14m")
    sae = fill(cls(cfg(d_in=D_IN, d_sae=D_SAE, metadata=meta, **kwargs)), seed)
    sae.save_model(DIR / name)
    found = cls.load_from_disk(DIR / name)
    features = found.encode(x)
    return features, found.decode(features)


def dictionary_learning_layout(x, name, sae, seed, **trainer):
    sae = fill(sae, seed)
    if hasattr(sae, "threshold") and sae.threshold.dim() == 0: sae.threshold.fill_(0.6)
    (DIR / name).mkdir(parents=True)
    torch.save(sae.state_dict(), DIR / name / "ae.pt")
    about = {"dict_class": type(sae).__name__, "activation_dim": D_IN, "dict_size": D_SAE, "layer": 0, "lm_name": "EleutherAI/pythia-14m",
             "lr": 0.001, "seed": 0, "steps": 10, "device": "cpu", "wandb_name": "x", "submodule_name": "resid_post_layer_0", **trainer}
    config = {"trainer": about, "buffer": {"d_submodule": D_IN, "io": "out", "n_ctxs": 10, "ctx_len": 8, "device": "cpu"}}
    (DIR / name / "config.json").write_text(json.dumps(config, indent=1))
    found, _ = load_dictionary(str(DIR / name), device=None)
    features = found.encode(x)
    return features, found.decode(features)


def mlsae_layout(x, standardize):
    g = torch.Generator().manual_seed(9)
    rand = lambda *shape: torch.randn(shape, generator=g) * 0.3
    weights = {"encoder.weight": rand(D_SAE, D_IN), "decoder.weight": rand(D_IN, D_SAE), "pre_encoder_bias": rand(D_IN),
               "last_nonzero": torch.zeros(D_SAE, dtype=torch.long)}
    path = DIR / ("mlsae" if standardize else "mlsae-raw")
    path.mkdir(parents=True)
    save_file(weights, path / "model.safetensors")
    config = {"auxk": 16, "dead_steps_threshold": 10, "dead_threshold": 0.001, "k": K, "n_inputs": D_IN, "n_latents": D_SAE,
              "standardize": standardize}
    (path / "config.json").write_text(json.dumps(config))
    mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
    z = (x - mean) / (std + 1e-5) if standardize else x
    top = torch.topk((z - weights["pre_encoder_bias"]) @ weights["encoder.weight"].T, K)
    features = torch.zeros(len(x), D_SAE).scatter_(1, top.indices, top.values.relu())
    back = features @ weights["decoder.weight"].T + weights["pre_encoder_bias"]
    return features, back * std + mean if standardize else back


def all_of(x):
    yield "sparsify/layers.0", sparsify_layout(x)
    lens = lambda *a, **k: (a[0], sae_lens_layout(x, *a, **k))
    yield lens("sae-lens-standard", StandardSAE, StandardSAEConfig, 2)
    yield lens("sae-lens-standard-unsubtracted", StandardSAE, StandardSAEConfig, 3, apply_b_dec_to_input=False, normalize_activations="layer_norm")
    yield lens("sae-lens-topk", TopKSAE, TopKSAEConfig, 4, k=K, normalize_activations="constant_norm_rescale")
    yield lens("sae-lens-topk-rescaled", TopKSAE, TopKSAEConfig, 5, k=K, rescale_acts_by_decoder_norm=True)
    yield lens("sae-lens-jumprelu", JumpReLUSAE, JumpReLUSAEConfig, 6)
    yield lens("sae-lens-gated", GatedSAE, GatedSAEConfig, 7)
    learnt = lambda name, *a, **k: (name, dictionary_learning_layout(x, name, *a, **k))
    yield learnt("dl-standard", dl.AutoEncoder(D_IN, D_SAE), 11, trainer_class="StandardTrainer", l1_penalty=0.1)
    yield learnt("dl-standard-new", dl.AutoEncoderNew(D_IN, D_SAE), 12, trainer_class="StandardTrainerAprilUpdate", l1_penalty=0.1)
    yield learnt("dl-topk", AutoEncoderTopK(D_IN, D_SAE, K), 13, trainer_class="TopKTrainer", k=K)
    yield learnt("dl-batch-topk", BatchTopKSAE(D_IN, D_SAE, K), 14, trainer_class="BatchTopKTrainer", k=K)
    yield learnt("dl-jumprelu", dl.JumpReluAutoEncoder(D_IN, D_SAE), 15, trainer_class="JumpReluTrainer", bandwidth=0.001)
    yield learnt("dl-gated", dl.GatedAutoEncoder(D_IN, D_SAE), 16, trainer_class="GatedSAETrainer", l1_penalty=0.1)
    yield "mlsae", mlsae_layout(x, True)
    yield "mlsae-raw", mlsae_layout(x, False)


EDITS = [
    ("sae-lens-standard", StandardSAE, "blocks.0.hook_resid_post", "[d_sae=3,5,11] = 0"),
    ("sae-lens-standard-unsubtracted", StandardSAE, "blocks.0.hook_resid_post", "*= 2"),
    ("sae-lens-topk", TopKSAE, "blocks.1.hook_resid_pre", "[pos=-1 d_sae=5] += 4"),
    ("sae-lens-topk-rescaled", TopKSAE, "blocks.1.hook_mlp_out", "[pos=2:5] = 0"),
    ("sae-lens-jumprelu", JumpReLUSAE, "blocks.0.hook_attn_out", "[d_sae=0:20] = mean"),
    ("sae-lens-gated", GatedSAE, "blocks.1.hook_resid_post", "[pos=-1] *= -1"),
]


def edited(features, text):
    features = features.clone()
    if text == "[d_sae=3,5,11] = 0": features[..., [3, 5, 11]] = 0
    elif text == "*= 2": features *= 2
    elif text == "[pos=-1 d_sae=5] += 4": features[:, -1, 5] += 4
    elif text == "[pos=2:5] = 0": features[:, 2:5] = 0
    elif text == "[d_sae=0:20] = mean": features[..., :20] = features[..., :20].mean(1, keepdim=True)
    elif text == "[pos=-1] *= -1": features[:, -1] *= -1
    else: raise ValueError(text)
    return features


def edits(hf):
    c = hf.config
    cfg = HookedTransformerConfig(
        n_layers=c.num_hidden_layers, d_model=c.hidden_size, n_heads=c.num_attention_heads, d_head=c.hidden_size // c.num_attention_heads,
        d_mlp=c.intermediate_size, d_vocab=c.vocab_size, n_ctx=c.max_position_embeddings, act_fn=c.hidden_act, eps=c.layer_norm_eps,
        normalization_type="LN", positional_embedding_type="rotary", rotary_adjacent_pairs=False, device="cpu",
        rotary_dim=int(c.rotary_pct * (c.hidden_size // c.num_attention_heads)), parallel_attn_mlp=c.use_parallel_residual)
    model = HookedSAETransformer(cfg)
    state = {k: v.clone() for k, v in convert_neox_weights(hf.float(), cfg).items()}
    model.load_and_process_state_dict(state, fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False)
    model.eval()
    ids = torch.tensor([IDS])
    yield "", model(ids)[0].log_softmax(-1)
    for name, cls, hook, text in EDITS:
        sae = cls.load_from_disk(DIR / name)
        sae.cfg.metadata.hook_name = hook
        model.add_sae(sae, use_error_term=True)
        change = lambda acts, hook, text=text: edited(acts, text)
        logits = model.run_with_hooks(ids, fwd_hooks=[(f"{hook}.hook_sae_acts_post", change)])
        model.reset_saes()
        yield f"{name}|{hook}.hook_sae_acts_post{'' if text.startswith('[') else ' '}{text}", logits[0].log_softmax(-1)


def main():
    torch.set_grad_enabled(False)
    shutil.rmtree(DIR, ignore_errors=True)
    x = torch.randn((7, D_IN), generator=torch.Generator().manual_seed(0)) * 1.5 + 0.3
    tensors = {"x": x}
    for name, (features, back) in all_of(x):
        tensors[f"{name}/features"], tensors[f"{name}/back"] = features.contiguous(), back.contiguous()
        print(name, "L0", (features != 0).sum(1).tolist())
    model = GPTNeoXForCausalLM.from_pretrained(OUT / "parallel-25", dtype=torch.float32).eval()
    stream = model(torch.tensor([IDS]), output_hidden_states=True).hidden_states[1][0]
    sae = sparsify.SparseCoder.load_from_disk(DIR / "sparsify" / "layers.0")
    acts, ids, _ = sae.encode(stream)
    tensors["stream/features"] = torch.zeros(len(stream), D_SAE).scatter_(1, ids, acts)
    out = sae.decode(acts, ids)
    tensors["stream/mse"] = (stream - out).pow(2).mean(1)
    tensors["stream/explained"] = 1 - (stream - out).pow(2).sum(1) / (stream - stream.mean(0)).pow(2).sum(1)
    for name, logits in edits(model): tensors[f"edits/{name}"] = logits.contiguous()
    save_file(tensors, OUT / "golden-dictionaries.safetensors", metadata={"prompt": json.dumps(IDS)})


if __name__ == "__main__":
    main()
