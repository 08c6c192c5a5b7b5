import copy, importlib.metadata, operator, pathlib, sys
import numpy as np, torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

VERSION = importlib.metadata.version("transformer-lens")
HOOKED = int(VERSION.split(".")[0]) < 4      # 4.0 replaced HookedTransformer by TransformerBridge
if HOOKED:
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_neox_weights
else:
    from transformer_lens.model_bridge import TransformerBridge

# ---- what pythia-tui ran, and what came of it ------------------------------------------------------------------------
#{facts}

# ---- the same with TransformerLens -----------------------------------------------------------------------------------
FLAGS = {#{flags}}


def load(name):
    """TransformerLens's model of a checkpoint on the hub, or of a directory that holds one."""
    if (LOCAL or name != MODEL) and not pathlib.Path(name).is_dir():
        sys.exit(f"{name} is no directory: give that of the checkpoint as the argument")
    revision = REVISION if name == MODEL else None
    hf = GPTNeoXForCausalLM.from_pretrained(name, revision=revision, config=hf_config()).float()
    if TIED:      # transformers 5 leaves them apart where the checkpoint has both
        hf.get_output_embeddings().weight = torch.nn.Parameter(hf.get_input_embeddings().weight.detach().clone())
    return (hooked(hf) if HOOKED else bridged(hf, name, revision)).eval()


def hf_config():
    """The settings above, as transformers takes them."""
    c = CONFIG
    return GPTNeoXConfig(
        num_hidden_layers=c["n_layers"], num_attention_heads=c["n_heads"], hidden_size=c["d_model"],
        intermediate_size=c["d_mlp"], vocab_size=c["d_vocab"], max_position_embeddings=c["n_ctx"],
        hidden_act=c["act_fn"], layer_norm_eps=c["eps"], use_parallel_residual=c["parallel_attn_mlp"],
        tie_word_embeddings=TIED, rotary_emb_base=c["rotary_base"],
        rotary_pct=min(1.0, (c["rotary_dim"] + 0.5) / c["d_head"]))      # times d_head, it is rounded down


def hooked(hf):
    """TransformerLens 2's model."""
    cfg = HookedTransformerConfig(
        **CONFIG, normalization_type="LNPre" if PROCESSED else "LN", device="cpu", use_hook_tokens="hook_tokens" in ENABLED)
    model = HookedTransformer(cfg)
    model.load_and_process_state_dict(
        {k: v.clone() for k, v in convert_neox_weights(hf, cfg).items()}, fold_ln=PROCESSED,
        center_writing_weights=PROCESSED, center_unembed=PROCESSED, fold_value_biases=PROCESSED,
        refactor_factored_attn_matrices=False)
    for block in model.blocks:      # opt-in hooks, block by block
        block.cfg = block.attn.cfg = copy.copy(model.cfg)
    for hook in ENABLED:
        if hook != "hook_tokens":
            _, number, name = hook.split(".", 2)
            for cfg in (model.blocks[int(number)].cfg, model.cfg):
                setattr(cfg, FLAGS[name], True)
    return model


def bridged(hf, name, revision):
    """TransformerLens 4's model, with the names and the processing of TransformerLens 2."""
    model = TransformerBridge.boot_transformers(name, hf_model=hf, revision=revision, device="cpu")
    model.enable_compatibility_mode(disable_warnings=True, no_processing=not PROCESSED)
    hooks = [hook for *_, where in EDITS for hook, _, _ in where]
    flags = {flag for name, flag in FLAGS.items() for hook in hooks if hook.endswith(name)}
    for hook in hooks:
        if hook.endswith("hook_resid_mid"):
            refuse(hook, "there, this edit reaches only the MLP, and not the residual stream")
        if hook.endswith("hook_normalized") and not PROCESSED:
            refuse(hook, "there, without processing, this is the value before LayerNorm's weight and bias")
        if hook.endswith("hook_attn_in") and "use_split_qkv_input" in flags:
            refuse(hook, "it does not have this hook together with hook_q_input, hook_k_input and hook_v_input")
    for flag in sorted(flags):
        operator.methodcaller("set_" + flag, True)(model)
    return model


def refuse(hook, why):
    """Ends the script, where TransformerLens would compute something else than pythia-tui."""
    sys.exit(f"TransformerLens {VERSION} can't repeat the edit of {hook}: {why}.\n"
             "Use 2.18.0: pip install transformer-lens==2.18.0 'transformers<5'")


def noise(hook, seed, shape):
    """Standard normals by hook, seed and place: SplitMix64 read at a counter, then Box and Muller."""
    mask, golden, h = (1 << 64) - 1, 0x9E3779B97F4A7C15, 0xCBF29CE484222325

    def mix(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)
    for b in hook.encode():
        h = ((h ^ b) * 0x100000001B3) & mask
    key = mix((seed + golden) & mask) ^ h
    u = [((mix((key + c * golden) & mask) >> 11) + 1) / 2.0 ** 53 for c in range(1, 2 * int(np.prod(shape)) + 1)]
    u, v = np.array(u[0::2]), np.array(u[1::2])
    return torch.from_numpy(np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)).reshape(shape)


def places(x, along):
    """The index of what is selected, a list of indices along each axis; None is all of it."""
    return tuple(torch.from_numpy(i) for i in np.ix_(*[np.arange(n) if a is None else a for n, a in zip(x.shape, along)]))


def edit(name, op, number, seed, here, there, unedited, contrast):
    """A hook function that does one edit at the hook of this name."""
    def change(value, hook):
        x = value[0].float()
        at = places(x, here)
#{operations}
        x = x.clone()
        x[at] = new
        return x[None].to(value.dtype)
    return change


def main():
    model = load(sys.argv[1] if len(sys.argv) > 1 else MODEL)
    with torch.no_grad():
        unedited, cache = model.run_with_cache(torch.tensor([TOKENS]))
        for hook in (hook for *_, where in EDITS for hook, _, _ in where if hook not in cache):
            refuse(hook, "it does not compute this value")      # an edit of a hook that never fires would do nothing
        contrast = model.run_with_cache(torch.tensor([CONTRAST]))[1] if CONTRAST else None
        hooks = [(hook, edit(hook, op, number, seed, here, there, cache, contrast))
                 for _, op, number, seed, where in EDITS for hook, here, there in where]
        edited = model.run_with_hooks(torch.tensor([TOKENS]), fwd_hooks=hooks)
    p, q = (logits[0, -1].double().log_softmax(-1) for logits in (unedited, edited))
    kl = float((p.exp() * (p - q)).sum())
    print(f"KL(unedited || edited) after the last position: {kl:.6g} here, {KL:.6g} in pythia-tui")
    for what, logits, expected in [("unedited", unedited, UNEDITED), ("edited", edited, EDITED)]:
        here, there = logits[0, -1, list(expected)].numpy(), np.float32(list(expected.values()))
        largest = max(1, np.abs(there[np.isfinite(there)]).max(initial=0))
        np.testing.assert_allclose(here, there, rtol=0, atol=TOLERANCE * largest, err_msg=f"{what}: logits differ")
        print(f"{what}: the logits differ by at most {np.nanmax(np.abs(here - there), initial=0) / largest:.1e} of the largest")
    np.testing.assert_allclose(kl, KL, rtol=1e-3, atol=1e-5, err_msg="KL differs")
    print("equal")


main()
