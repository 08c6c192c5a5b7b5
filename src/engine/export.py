import copy, importlib.metadata, operator, pathlib, sys
import numpy as np, torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

VERSION = importlib.metadata.version("transformer-lens")
HOOKED = int(VERSION.split(".")[0]) < 4      # 4.0 replaced HookedTransformer with TransformerBridge
if HOOKED:
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_neox_weights
else:
    from transformer_lens.model_bridge import TransformerBridge

# ---- what pythia-tui ran, and its results -----------------------------------------------------------------------------
#{facts}

# ---- the same with TransformerLens -----------------------------------------------------------------------------------
FLAGS = {#{flags}}


def load(name):
    """TransformerLens's model of a checkpoint on the hub, or of a directory that holds one."""
    if (LOCAL or name != MODEL) and not pathlib.Path(name).is_dir():
        sys.exit(f"{name} is not a directory: give the checkpoint's directory as the argument")
    revision = REVISION if name == MODEL else None
    hf = GPTNeoXForCausalLM.from_pretrained(name, revision=revision, config=hf_config()).float()
    if TIED:      # transformers 5 does not tie them if the checkpoint has both
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
    hooks = [hook for *_, where in EDITS for hook, _, _, *path in where if not path or hook in ENABLED]
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
    """Ends the script if TransformerLens would not compute the same as pythia-tui."""
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


def vector(name, hook, x):
    """A vector at a hook, in the shape of what is there at a position; one of a single axis is that of each head."""
    v = torch.tensor(VECTORS[name, hook])
    return v.reshape(x.shape[1:]) if v.numel() == x[0].numel() else v


def places(x, along):
    """The index of a selection: a list of indices along each axis, or None for the whole axis."""
    return tuple(torch.from_numpy(i) for i in np.ix_(*[np.arange(n) if a is None else a for n, a in zip(x.shape, along)]))


def edit(name, op, number, seed, here, there, unedited, contrast):
    """A hook function that applies one edit at the hook of this name."""
    def change(value, hook):
        x = value[0].float()
        at = places(x, here)
#{operations}
        x = x.clone()
        x[at] = new
        return x[None].to(value.dtype)
    return change


def wrote(model, name, values):
    """What a sender writes; if hook_result is off, from hook_z."""
    if name in values:
        return values[name]
    block, z = name.removesuffix("attn.hook_result"), name.replace("hook_result", "hook_z")
    return torch.einsum("bphd,hdm->bphm", values[z], model.blocks[int(block.split(".")[1])].attn.W_O)


def path(model, change, receiver, here, sender, now, own):
    """The hook and the function that add to a reader's input what the sender would write after `change`, minus what it writes."""
    def delta():
        w = wrote(model, sender, now)
        d = change(w, None) - w
        d = d.sum(2) if d.dim() == 4 else d
        at = places(d[0], [here[0], here[-1]])
        seen = torch.zeros_like(d)
        seen[0][at] = d[0][at]
        return seen
    _, number, name = receiver.split(".", 2)
    block, stream = model.blocks[int(number)], f"blocks.{number}.hook_resid_pre"
    chosen = lambda n: range(n) if here[1] is None else here[1]

    def add(x, hook):
        x = x.clone()
        if x.dim() == 3:
            return x + delta()
        for head in chosen(x.shape[2]):
            x[:, :, head] += delta()
        return x
    if receiver in ENABLED or name == "hook_resid_post":
        return receiver, None, add
    if name == "hook_mlp_in":
        stream = stream if CONFIG["parallel_attn_mlp"] else f"blocks.{number}.hook_resid_mid"

        def neurons(x, hook):
            own[receiver] = own.get(receiver, now[stream]) + delta()
            return block.ln2(own[receiver]) @ block.mlp.W_in + block.mlp.b_in
        return f"blocks.{number}.mlp.hook_pre", stream, neurons
    letter = name[len("hook_")]
    weight, bias = (operator.attrgetter(f"attn.{what}_{letter.upper()}")(block) for what in "Wb")

    def vectors(x, hook):
        x = x.clone()
        for head in chosen(x.shape[2]):
            own[receiver, head] = own.get((receiver, head), now[stream]) + delta()
            x[:, :, head] = block.ln1(own[receiver, head]) @ weight[head] + bias[head]
        return x
    return f"blocks.{number}.attn.hook_{letter}", stream, vectors


def hooks(model, unedited, contrast):
    """Every hook function of the edited run."""
    first, edits, last, now, own = [], [], [], {}, {}

    def keep(name):
        def see(x, hook):
            now[name] = x
        if name is not None and all(name != known for known, _ in last):
            last.append((name, see))
    for _, op, number, seed, where in EDITS:
        for hook, here, there, *start in where:
            if not start:
                edits.append((hook, edit(hook, op, number, seed, here, there, unedited, contrast)))
                continue
            sender, along = start[0]
            of = lambda cache: {sender: wrote(model, sender, cache)} if cache else None
            change = edit(sender, op, number, seed, along, there, of(unedited), of(contrast))
            place, stream, function = path(model, change, hook, here, sender, now, own)
            # a path into a reader's input comes before the edits of what is computed from it; a path starts from edited values
            (edits if place == hook else first).append((place, function))
            keep(stream)
            keep(sender if sender in unedited else sender.replace("hook_result", "hook_z"))
    return first + edits + last


#{main}