#!/usr/bin/env python3
"""Write the goldens of attribution patching, path edits, circuits and explanations, with TransformerLens 2.18.0.

    venv/bin/python tests/golden/circuits.py           # the venv of generate.py, whose checkpoints it reads

Into tests/fixtures/golden-circuits-*.safetensors. Everything is defined here by hooks on the split inputs, with nothing of the
program that is tested: attribution by autograd, patches and circuits by rebuilding what a reader reads.
"""
import json, logging, random
import torch
from safetensors.torch import save_file
from gradients import sample as gradient_sample
from generate import CHECKPOINTS, OUT, hooked, noise, prompt, sample, GPTNeoXForCausalLM

TARGET, DISTRACTOR, N, STEPS = 5, 9, 9, 3
SPLIT = dict(use_split_qkv_input=True, use_hook_mlp_in=True, use_attn_result=True)
PORTS = "qkv"


def graph(model):
    """(edges, senders): names as EAP-IG has them, by reader in execution order."""
    c = model.cfg
    edges, before = [], ["input"]
    for l in range(c.n_layers):
        heads = [f"a{l}.h{h}" for h in range(c.n_heads)]
        edges += [(u, head, p) for head in heads for p in PORTS for u in before]
        if not c.parallel_attn_mlp: before = before + heads
        edges += [(u, f"m{l}", None) for u in before]
        before = before + (heads if c.parallel_attn_mlp else []) + [f"m{l}"]
    return edges + [(u, "logits", None) for u in before], before


def out_hook(node):
    if node == "input": return "hook_embed", None
    if node[0] == "m": return f"blocks.{node[1:]}.hook_mlp_out", None
    l, h = node[1:].split(".h")
    return f"blocks.{l}.attn.hook_result", int(h)


def in_hook(model, node, port):
    if node == "logits": return f"blocks.{model.cfg.n_layers - 1}.hook_resid_post", None
    if node[0] == "m": return f"blocks.{node[1:]}.hook_mlp_in", None
    l, h = node[1:].split(".h")
    return f"blocks.{l}.hook_{port}_input", int(h)


def pick(x, head):
    return x if head is None else x[:, :, head]


def metric(logits, name="logit-diff", base=None, ids=None):
    last = logits[0, -1]
    if name == "prob": return last.softmax(-1)[TARGET]
    if name == "kl": return (base[0, -1].softmax(-1) * (base[0, -1].log_softmax(-1) - last.log_softmax(-1))).sum()
    if name == "loss": return -logits[0, :-1].log_softmax(-1).gather(-1, torch.tensor(ids[1:])[:, None]).mean()
    return last[TARGET] - last[DISTRACTOR]


def attribution(model, ids, delta, embeds=None, name="logit-diff"):
    """Node and edge scores of one input: sums over positions of change times gradient."""
    grads = {}
    edges, nodes = graph(model)
    names = {out_hook(n)[0] for n in nodes} | {in_hook(model, v, p)[0] for _u, v, p in edges}
    fwd = [] if embeds is None else [("hook_embed", lambda x, hook: embeds.clone().requires_grad_())]
    def keep(grad, hook): grads[hook.name] = grad.clone()
    with model.hooks(fwd_hooks=fwd, bwd_hooks=[(n, keep) for n in names if n != "hook_embed"]):
        if embeds is None:
            with model.hooks(bwd_hooks=[("hook_embed", keep)]):
                metric(model(ids), name, ids=ids[0].tolist()).backward()
        else:
            with model.hooks(bwd_hooks=[("blocks.0.hook_resid_pre", keep)]):
                metric(model(ids), name, ids=ids[0].tolist()).backward()
            grads["hook_embed"] = grads["blocks.0.hook_resid_pre"]
    model.zero_grad()
    of = lambda where, u: float((delta[u] * pick(grads[where[0]], where[1])).double().sum())
    return ({u: of(out_hook(u), u) for u in nodes}, {e: of(in_hook(model, e[1], e[2]), e[0]) for e in edges})


def writes(cache, nodes):
    return {u: pick(cache[out_hook(u)[0]], out_hook(u)[1]) for u in nodes}


def rewired(model, ids, contrast, outside):
    """The logits if each reader gets what the contrast run writes, along the edges `outside`."""
    edges, nodes = graph(model)
    other, now, fwd = writes(contrast, nodes), {}, []
    for name in {out_hook(u)[0] for u in nodes}:
        def keep(x, hook):
            for u in nodes:
                if out_hook(u)[0] == hook.name: now[u] = pick(x, out_hook(u)[1])
        fwd.append((name, keep))
    for name in {in_hook(model, v, p)[0] for _u, v, p in edges}:
        def rebuild(x, hook):
            x = x.clone()
            for e in outside:
                hook_name, head = in_hook(model, e[1], e[2])
                if hook_name == hook.name: pick(x, head)[:] += other[e[0]] - now[e[0]]
            return x
        fwd.append((name, rebuild))
    with torch.no_grad():
        return model.run_with_hooks(ids, fwd_hooks=fwd)


def patched_node(model, ids, contrast, u):
    name, head = out_hook(u)
    def fn(x, hook):
        x = x.clone(); pick(x, head)[:] = pick(contrast[name], head); return x
    with torch.no_grad():
        return model.run_with_hooks(ids, fwd_hooks=[(name, fn)])


# (lines of the grammar, senders, receivers, what the sender would write, from what it writes and the contrast's), and where
SCALE = lambda v: lambda w, c: w * v
SET = lambda v: lambda w, c: torch.full_like(w, v)
MEAN = lambda w, c: w.mean(1, keepdim=True).expand_as(w)
PATCH = lambda w, c: c
ALL = slice(None)
PATHS = [
    ("blocks.0.attn.hook_result[head=1] -> blocks.1.hook_q_input[head=2] = patch", ["a0.h1"], [("a1.h2", "q")], PATCH, ALL, ALL),
    ("blocks.0.attn.hook_result[head=1] -> blocks.1.hook_k_input[head=2] *= -2", ["a0.h1"], [("a1.h2", "k")], SCALE(-2.0), ALL, ALL),
    ("blocks.0.attn.hook_result[head=0,3] -> blocks.1.hook_v_input[head=1,2] = 0", ["a0.h0", "a0.h3"], [("a1.h1", "v"), ("a1.h2", "v")], SET(0.0), ALL, ALL),
    ("hook_embed -> blocks.*.hook_mlp_in = mean", ["input"], [("m0", None), ("m1", None)], MEAN, ALL, ALL),
    ("hook_embed[pos=2:5] -> blocks.0.hook_q_input[head=3 pos=4:] = patch", ["input"], [("a0.h3", "q")], PATCH, slice(2, 5), slice(4, None)),
    ("blocks.0.hook_mlp_out -> blocks.1.hook_resid_post[pos=-1] = 0.5", ["m0"], [("logits", None)], SET(0.5), ALL, slice(-1, None)),
    ("blocks.1.attn.hook_result[head=2] -> blocks.1.hook_resid_post *= 0", ["a1.h2"], [("logits", None)], SCALE(0.0), ALL, ALL),
    ("blocks.0.hook_mlp_out += noise 0.5 seed 3", None, None, None, None, None),
]


# ln1 and the inputs, whose hooks are off, have no gradient to compare
PATH_GRADIENTS = ("hook_embed", "hook_resid_pre", "hook_resid_post", "hook_resid_mid", "hook_attn_out", "hook_mlp_out", "attn.hook_z", "attn.hook_q",
                  "attn.hook_k", "attn.hook_v", "attn.hook_rot_q", "attn.hook_pattern", "mlp.hook_pre", "ln2.hook_normalized", "ln_final.hook_scale")


def path_case(model, ids, contrast, lines):
    """The logits with some paths changed, and the metric's gradients; each begins at what its sender writes in this run."""
    now, fwd = {}, []
    def keep(x, hook):      # a path reads before torch's backward hook does: its gradient appears at the tensor itself
        now[hook.name] = x.clone(); now[hook.name].retain_grad(); return now[hook.name]
    for line in lines:
        _line, senders, receivers, op, sent, received = line
        if senders is None:         # an ordinary edit before the paths
            fwd.append(("blocks.0.hook_mlp_out", lambda x, hook: x + (noise(hook.name, 3, x.shape[1:])[None] * 0.5).float()))
            continue
        for u in senders:
            name, head = out_hook(u)
            fwd.append((name, keep))
            for v, p in receivers:
                to, to_head = in_hook(model, v, p)
                def add(x, hook, name=name, head=head, to_head=to_head, op=op, sent=sent, received=received):
                    w = pick(now[name], head)
                    after = w.clone(); after[:, sent] = op(w, pick(contrast[name], head))[:, sent]
                    x = x.clone(); pick(x, to_head)[:, received] += (after - w)[:, received]; return x
                fwd.append((to, add))
    grads = {}
    def back(grad, hook): grads[hook.name] = grad.clone()
    names = [n for n in model.hook_dict if n.endswith(PATH_GRADIENTS)]
    with model.hooks(fwd_hooks=fwd, bwd_hooks=[(n, back) for n in names]):
        logits = model(ids)
        metric(logits).backward()
    model.zero_grad()
    grads.update({n: now[n].grad for n in names if n in now})
    return logits.detach(), grads


def estimates(model, ids, cache, contrast):
    """Every patching map by attribution patching: change times gradient, and how it is summed up; 0 to 1 between the prompts."""
    grads = {}
    def back(grad, hook): grads[hook.name] = grad.clone()
    hooks = dict(resid_pre="hook_resid_pre", attn_out="hook_attn_out", mlp_out="hook_mlp_out")
    for letter, name in dict(out="z", q="q", k="k", v="v", pattern="pattern").items():
        hooks[f"attn_head_{letter}_all_pos"] = hooks[f"attn_head_{letter}_by_pos"] = f"attn.hook_{name}"
    with model.hooks(bwd_hooks=[(n, back) for n in model.hook_dict if n.endswith(tuple(hooks.values()))]):
        metric(model(ids)).backward()
    model.zero_grad()
    out = {}
    for name, hook in hooks.items():
        rows = []
        for l in range(model.cfg.n_layers):
            full = f"blocks.{l}.{hook}"
            x = ((contrast[full] - cache[full]) * grads[full])[0]
            if hook.endswith("pattern"): x = x.sum(-1).T[..., None]       # [query, head, 1]
            if x.dim() == 2: rows.append(x.sum(-1))
            else: rows.append(x.sum((0, 2)) if name.endswith("all_pos") else x.sum(-1).T.flatten())
        out[name] = torch.stack(rows)
    return out


def explained(model, cache, layer, head, query, key):
    """An attention score by the query's and the key's upstream components."""
    c = model.cfg
    names, parts = ["embed"], [cache["hook_embed"][0]]
    bias = torch.zeros_like(parts[0])
    for l in range(layer):
        for h in range(c.n_heads):
            names.append(f"L{l}H{h}"); parts.append(cache[f"blocks.{l}.attn.hook_result"][0, :, h])
        names.append(f"{l}_mlp_out"); parts.append(cache[f"blocks.{l}.hook_mlp_out"][0])
        bias = bias + model.blocks[l].attn.b_O
    block, attn = model.blocks[layer], model.blocks[layer].attn
    scale = cache[f"blocks.{layer}.ln1.hook_scale"][0]
    if scale.dim() == 3: scale = scale[:, head]
    affine = c.normalization_type == "LN"
    def side(W, b, pos):
        def read(x):
            x = (x - x.mean(-1, keepdim=True)) / scale
            return (x * block.ln1.w if affine else x) @ W[head]
        rows = [read(p) for p in parts]
        const = b[head] + (block.ln1.b @ W[head] if affine else 0)
        rows.append(read(bias) + const)
        turned = [attn.apply_rotary(r[None, :, None])[0, :, 0] for r in rows]
        return torch.stack(turned)[:, pos]
    with torch.no_grad():
        m = side(attn.W_Q, attn.b_Q, query) @ side(attn.W_K, attn.b_K, key).T / c.d_head ** 0.5
    score = cache[f"blocks.{layer}.attn.hook_attn_scores"][0, head, query, key]
    torch.testing.assert_close(m.sum(), score, rtol=1e-4, atol=1e-4)
    return names + ["bias"], m


def main():
    logging.disable(logging.WARNING)
    for checkpoint, (parallel, pct) in CHECKPOINTS.items():
        if pct != 0.25: continue
        hf = GPTNeoXForCausalLM.from_pretrained(OUT / checkpoint).float()
        for processing in (True, False):
            model = hooked(hf, processing, **SPLIT)
            ids, other = torch.tensor([prompt(N)]), torch.tensor([prompt(N, seed=9)])
            with torch.no_grad():
                logits, cache = model.run_with_cache(ids)
                other_logits, contrast = model.run_with_cache(other)
            edges, nodes = graph(model)
            delta = {u: w - writes(cache, nodes)[u] for u, w in writes(contrast, nodes).items()}
            value, contrast_value = float(metric(logits)), float(metric(other_logits))
            tensors, order = {}, lambda d, keys: torch.tensor([d[k] for k in keys])
            for name in ("logit-diff", "prob", "loss"):
                by_node, by_edge = attribution(model, ids, delta, name=name)
                tensors[f"eap/{name}/nodes"], tensors[f"eap/{name}/edges"] = order(by_node, nodes), order(by_edge, edges)
            ig = [attribution(model, ids, delta, contrast["hook_embed"] + k / STEPS * (cache["hook_embed"] - contrast["hook_embed"])) for k in range(STEPS)]
            tensors["eap-ig/nodes"] = sum(order(i[0], nodes) for i in ig) / STEPS
            tensors["eap-ig/edges"] = sum(order(i[1], edges) for i in ig) / STEPS
            for name in ("logit-diff", "kl", "loss"):
                of = lambda l: float(metric(l, name, logits, ids[0].tolist()) - metric(logits, name, logits, ids[0].tolist()))
                tensors[f"exact/{name}/nodes"] = torch.tensor([of(patched_node(model, ids, contrast, u)) for u in nodes])
                tensors[f"exact/{name}/edges"] = torch.tensor([of(rewired(model, ids, contrast, [e])) for e in edges])
            random.seed(3)
            circuits = [[e for e in edges if random.random() < p] for p in (0.0, 0.3, 0.7, 1.0)]
            values = [float(metric(rewired(model, ids, contrast, [e for e in edges if e not in c]))) for c in circuits]
            tensors["circuits"] = torch.tensor(values)
            cases = [[p] for p in PATHS[:-1]] + [[PATHS[-1], PATHS[0], PATHS[5]], [PATHS[1], PATHS[4]]]
            for i, lines in enumerate(cases):
                logits_of, grads = path_case(model, ids, contrast, lines)
                tensors[f"paths/{i}"] = sample(logits_of)
                tensors.update({f"path-gradients/{i}/{n}": gradient_sample(g) for n, g in grads.items()})
            low, high = value, contrast_value
            tensors.update({f"estimate/{n}": x / (high - low) for n, x in estimates(model, ids, cache, contrast).items()})
            cells = [(1, 2, 6, 3), (1, 0, 4, 4), (0, 1, 5, 2)]
            parts = []
            for i, cell in enumerate(cells):
                names, m = explained(model, cache, *cell)
                tensors[f"explain/{i}"] = m.contiguous(); parts.append(names)
            name = lambda e: f"{e[0]}->{e[1]}" + (f"<{e[2]}>" if e[2] else "")
            meta = dict(prompt=ids[0].tolist(), contrast=other[0].tolist(), value=value, contrast_value=contrast_value, steps=STEPS, nodes=nodes,
                        edges=[name(e) for e in edges], circuits=[[name(e) for e in c] for c in circuits],
                        paths=[[l[0] for l in lines] for lines in cases], cells=cells, parts=parts)
            kind = "processed" if processing else "unprocessed"
            save_file(tensors, OUT / f"golden-circuits-{checkpoint}-{kind}.safetensors", metadata={"circuits": json.dumps(meta)})
        print("wrote", checkpoint)


if __name__ == "__main__":
    main()
