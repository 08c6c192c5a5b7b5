#!/usr/bin/env python3
"""Train the demo's sparse dictionary: pip install torch transformers tokenizers safetensors; python assets/demo/train_dictionary.py

Writes, in sparsify's layout (fp16), dictionary/layers.1/{cfg.json,sae.safetensors}: TopK(ReLU(E (x - b_dec) + b)) of what leaves block 1,
unprocessed (Gao et al., 2024); labels.jsonl beside it, as Neuronpedia exports labels; and tests/fixtures/demo-dictionary.json, the rows
that the facts of README.md are measured on. Seeded; the last bits depend on the machine's arithmetic.
"""
import argparse, json, pathlib, re, time
from collections import Counter, defaultdict
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import GPTNeoXForCausalLM
import corpus
from train import Rows

HERE = pathlib.Path(__file__).parent
LAYER, LENGTH = 1, 128


def streams(model, rows):
    """What leaves the block, `[row, pos, d_model]`."""
    return torch.cat([model(batch, output_hidden_states=True).hidden_states[LAYER + 1] for batch in rows.split(64)])


def groups():
    """Words of the corpus by what they are."""
    people = corpus.PEOPLE + corpus.ANIMALS
    return {"names of people": corpus.NAMES, "places": corpus.PLACES, "things": corpus.THINGS, "colours": corpus.COLOURS,
            "sizes": corpus.SIZES, "people and animals": people, "plurals": [corpus.plural(noun) for noun in people + corpus.THINGS],
            "numbers": corpus.NUMBERS, "feelings": corpus.FEELINGS, "giving": corpus.GIVE}


def train(x, n, k, steps, lr, seed, batch_size=768):
    """A dictionary of `x`, `[token, d_model]`."""
    torch.manual_seed(seed)
    d = x.shape[1]
    centre = x.mean(0)
    scale = (x - centre).pow(2).sum(1).mean().sqrt() / d ** 0.5
    z = (x - centre) / scale
    decoder = torch.nn.functional.normalize(torch.randn(n, d), dim=1)
    encoder, bias, b_dec = decoder.clone(), torch.zeros(n), torch.zeros(d)
    parameters = [p.requires_grad_() for p in (encoder, bias, decoder, b_dec)]
    adam = torch.optim.Adam(parameters, lr=lr, betas=(0.9, 0.999))
    silent, g, began = torch.zeros(n), torch.Generator().manual_seed(seed), time.time()
    for step in range(steps):
        for group in adam.param_groups: group["lr"] = lr * min(1, (step + 1) / 100, 5 * (steps - step) / steps)
        batch = z[torch.randint(len(z), (batch_size,), generator=g)]
        pre = torch.relu((batch - b_dec) @ encoder.T + bias)
        top = pre.topk(k)
        features = torch.zeros_like(pre).scatter(1, top.indices, top.values)
        missed = batch - features @ decoder - b_dec
        loss = missed.pow(2).sum(1).mean() / d
        # the silent ones model what the others miss
        silent += 1
        silent[top.indices.flatten().unique()] = 0
        dead = silent > 200
        if dead.any():
            aux = torch.where(dead, pre, torch.zeros_like(pre)).topk(min(32, int(dead.sum())))
            again = torch.zeros_like(pre).scatter(1, aux.indices, aux.values) @ decoder
            loss = loss + (missed.detach() - again).pow(2).sum(1).mean() / d / 32
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad(): decoder /= decoder.norm(dim=1, keepdim=True)
        if step % 500 == 0 or step + 1 == steps:
            explained = 1 - missed.pow(2).sum() / (batch - batch.mean(0)).pow(2).sum()
            print(f"{step:5} explained {explained:.4f}, silent {int(dead.sum())}, {time.time() - began:.0f} s", flush=True)
    with torch.no_grad():
        # features are in the units of the stream
        return {"encoder.weight": encoder.detach(), "encoder.bias": (bias * scale).detach(), "W_dec": decoder.detach(),
                "b_dec": (b_dec * scale + centre).detach()}


def encode(weights, x, k):
    pre = torch.relu((x - weights["b_dec"]) @ weights["encoder.weight"].T + weights["encoder.bias"])
    top = pre.topk(k)
    return torch.zeros_like(pre).scatter(1, top.indices, top.values)


def labels(features, ids, seen, text):
    """What a feature fires on, where nearly all of its activation is on one token, on one group of words, or on tokens that have
    occurred before among random ones (`seen`, `text`: which tokens are a repetition, and which stand in text)."""
    words = {" " + word: name for name, members in groups().items() for word in members}
    words |= {word: "names of people" for word in corpus.NAMES}
    found = {}
    for feature in range(features.shape[1]):
        at = features[:, feature].nonzero().flatten().tolist()
        mass = Counter()
        by_token, all_mass = defaultdict(float), 0.0
        for i in at:
            value = float(features[i, feature])
            all_mass += value
            by_token[ids[i]] += value
            mass["repeated tokens"] += value * (seen[i] and not text[i])
            if text[i]: mass[words.get(ids[i])] += value
        if len(at) < 30: continue
        token, share = max(by_token.items(), key=lambda item: item[1])
        strong = [token for token, value in by_token.items() if value > all_mass / 100]
        name, most = max(((name, value) for name, value in mass.items() if name), key=lambda item: item[1], default=(None, 0))
        if share > 0.9 * all_mass: found[feature] = json.dumps(token, ensure_ascii=False)
        elif name and most > 0.9 * all_mass and len(strong) >= 4: found[feature] = name
        elif name and most > 0.9 * all_mass: found[feature] = f"{name}: " + ", ".join(sorted(token.strip() for token in strong))
    return found


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--features", type=int, default=1024)
    ap.add_argument("--k", type=int, default=16)
    ap.add_argument("--steps", type=int, default=3000)
    ap.add_argument("--rows", type=int, default=4000)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--seed", type=int, default=5)
    ap.add_argument("--out", type=pathlib.Path, default=HERE / "dictionary")
    a = ap.parse_args()
    tok = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    model = GPTNeoXForCausalLM.from_pretrained(HERE, dtype=torch.float32).eval()
    with torch.no_grad():
        rows = Rows(tok, a.seed).batch(a.rows, LENGTH, 0.25)
        # the stream at the first position is an outlier in every row
        x = streams(model, rows)[:, 1:].flatten(0, 1)
    weights = {name: value.half().float() for name, value in train(x, a.features, a.k, a.steps, a.lr, a.seed).items()}
    out = a.out / f"layers.{LAYER}"
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in weights.items()}, out / "sae.safetensors")
    config = {"activation": "topk", "expansion_factor": a.features // x.shape[1], "normalize_decoder": True, "num_latents": a.features,
              "k": a.k, "multi_topk": False, "skip_connection": False, "transcode": False, "d_in": x.shape[1]}
    (out / "cfg.json").write_text(json.dumps(config) + "\n")
    # rows of other seeds, for the labels and for the facts
    for seed, count in ((a.seed + 100, 800), (a.seed + 200, 32)):
        rows = Rows(tok, seed).batch(count, LENGTH, 0.25)
        with torch.no_grad(): x = streams(model, rows)
        rows, keep = rows.tolist(), slice(1, None)
        text = [i >= 0.25 * count for i in range(count) for _ in range(LENGTH - 1)]
        seen = [row[pos] in row[:pos] for row in rows for pos in range(1, LENGTH)]
        ids = [tok.decode([token], skip_special_tokens=False) for row in rows for token in row[keep]]
        flat = x[:, keep].flatten(0, 1)
        features = encode(weights, flat, a.k)
        back = features @ weights["W_dec"] + weights["b_dec"]
        explained = 1 - (flat - back).pow(2).sum() / (flat - flat.mean(0)).pow(2).sum()
        print(f"{count} rows: L0 {(features > 0).sum(1).float().mean():.2f}, variance explained {explained:.4f}, "
              f"{int((features > 0).any(0).sum())} features fire")
        if count == 800:
            found = labels(features, ids, seen, text)
            lines = [json.dumps({"index": index, "description": label}, ensure_ascii=False) for index, label in sorted(found.items())]
            (out / "labels.jsonl").write_text("\n".join(lines) + "\n")
            print(len(found), "labels:", Counter(re.sub(r":.*|^\".*", "", label) for label in found.values()))
        else:
            texts = [bool(i >= 0.25 * count) for i in range(count)]
            facts = HERE.parent.parent / "tests" / "fixtures" / "demo-dictionary.json"
            facts.write_text(json.dumps({"rows": rows, "text": texts, "names": corpus.NAMES, "places": corpus.PLACES}) + "\n")


if __name__ == "__main__":
    main()
