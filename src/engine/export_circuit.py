def graph():
    """The components that write to the residual stream, in order, and the number of them before each reader."""
    senders, readers = ["input"], {}
    for layer in range(CONFIG["n_layers"]):
        heads = [f"a{layer}.h{head}" for head in range(CONFIG["n_heads"])]
        readers |= {f"{head}<{port}>": len(senders) for port in "qkv" for head in heads}
        readers[f"m{layer}"] = len(senders) + (0 if CONFIG["parallel_attn_mlp"] else len(heads))
        senders += heads + [f"m{layer}"]
    readers["logits"] = len(senders)
    return senders, readers


def sending():
    """The hooks where senders write, each with the number of its first sender."""
    per_block = CONFIG["n_heads"] + 1
    yield "hook_embed", 0
    for layer in range(CONFIG["n_layers"]):
        yield f"blocks.{layer}.attn.hook_result", 1 + layer * per_block
        yield f"blocks.{layer}.hook_mlp_out", (layer + 1) * per_block


def by_sender(x):
    """What the senders at a hook write: [sender, pos, d_model]."""
    return x[0].transpose(0, 1) if x.dim() == 4 else x


def rewiring(contrast):
    """Hook functions that give each reader what the contrast run writes, for the senders whose edges are outside the circuit."""
    senders, readers = graph()
    inside = set(CIRCUIT)
    there = torch.cat([by_sender(contrast[name]) for name, _ in sending()])
    change = torch.zeros_like(there)      # what they write in the contrast run, minus what they write here

    def keep(first):
        def see(x, hook):
            now = by_sender(x)
            change[first:first + len(now)] = there[first:first + len(now)] - now
        return see

    def rebuild(names):
        outside = [[float(f"{sender}->{name}" not in inside) for sender in senders[:readers[name]]] for name in names]
        outside = torch.tensor(outside)

        def add(x, hook):
            extra = torch.einsum("rs,spd->prd", outside, change[:outside.shape[1]])
            return x + (extra[None] if x.dim() == 4 else extra[None, :, 0])
        return add
    functions = [(name, keep(first)) for name, first in sending()]
    for layer in range(CONFIG["n_layers"]):
        for port in "qkv":
            names = [f"a{layer}.h{head}<{port}>" for head in range(CONFIG["n_heads"])]
            functions.append((f"blocks.{layer}.hook_{port}_input", rebuild(names)))
        functions.append((f"blocks.{layer}.hook_mlp_in", rebuild([f"m{layer}"])))
    return functions + [(f"blocks.{CONFIG['n_layers'] - 1}.hook_resid_post", rebuild(["logits"]))]


def metric(logits, unedited):
    """The metric; a loss is measured on the prompt's tokens."""
    name, pos, target, distractor = METRIC
    log_probs = lambda run: run[0].double().log_softmax(-1)
    if name == "loss":
        return -float(log_probs(logits)[:-1].gather(-1, torch.tensor(TOKENS[1:])[:, None]).mean())
    if name == "prob":
        return float(log_probs(logits)[pos, target].exp())
    if name == "kl":
        p, q = log_probs(unedited)[pos], log_probs(logits)[pos]
        return float((p.exp() * (p - q)).sum())
    row = logits[0, pos].double()
    return float(row[target] - (0 if distractor is None else row[distractor]))


def main():
    model = load(sys.argv[1] if len(sys.argv) > 1 else MODEL)
    if not HOOKED:
        for flag in sorted({flag for name, flag in FLAGS.items() for hook in ENABLED if hook.endswith(name)}):
            operator.methodcaller("set_" + flag, True)(model)
    tokens = torch.tensor([TOKENS])
    with torch.no_grad():
        unedited, cache = model.run_with_cache(tokens)
        other, contrast = model.run_with_cache(torch.tensor([CONTRAST]))
        edits = hooks(model, cache, contrast)
        for hook in (hook for hook, _ in edits if hook not in cache):
            refuse(hook, "it does not compute this value")
        edited = model.run_with_hooks(tokens, fwd_hooks=edits)
        circuit = model.run_with_hooks(tokens, fwd_hooks=edits + rewiring(contrast))
    value, contrast_value, circuit_value = (metric(logits, unedited) for logits in (edited, other, circuit))
    faithfulness = (circuit_value - contrast_value) / (value - contrast_value)
    largest = max(1, *(float(logits[0].abs().max()) for logits in (edited, other, circuit)))
    slack = 2 * TOLERANCE * largest
    found = [("value of the prompt", value, VALUE, slack), ("value of the contrast prompt", contrast_value, CONTRAST_VALUE, slack),
             ("value of the circuit", circuit_value, CIRCUIT_VALUE, slack),
             ("faithfulness", faithfulness, FAITHFULNESS, 4 * slack * max(1, abs(FAITHFULNESS)) / abs(value - contrast_value))]
    for what, here, there, most in found:
        print(f"{what}: {here:.6g} here, {there:.6g} in pythia-tui")
        np.testing.assert_allclose(here, there, rtol=0, atol=most, err_msg=f"{what} differs")
    print("equal")


main()
