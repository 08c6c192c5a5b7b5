import copy, pathlib, sys
import numpy as np, torch
from transformers import GPTNeoXForCausalLM
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_neox_weights

# ---- what pythia-tui ran, and what came of it ------------------------------------------------------------------------
#{facts}

# ---- the same with TransformerLens -----------------------------------------------------------------------------------
FLAGS = {#{flags}}


def load(name):
    """TransformerLens's model of a checkpoint on the hub, or of a directory that holds one."""
    if (LOCAL or name != MODEL) and not pathlib.Path(name).is_dir():
        sys.exit(f"{name} is no directory: give that of the checkpoint as the argument")
    hf = GPTNeoXForCausalLM.from_pretrained(      # for its weights; the settings are those above
        name, revision=REVISION if name == MODEL else None, tie_word_embeddings=TIED).float()
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
    return model.eval()


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


def edit(op, number, seed, here, there, unedited, contrast):
    """A hook function that does one edit at one hook."""
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
        contrast = model.run_with_cache(torch.tensor([CONTRAST]))[1] if CONTRAST else None
        hooks = [(hook, edit(op, number, seed, here, there, cache, contrast))
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
