#!/usr/bin/env python3
"""Run TransformerLens 4.3.0's attribution_patch and pythia-tui in turn on one checkpoint, and print how much faster the latter is.

    venv4/bin/python tests/golden/speed_circuits.py DIR [--program target/debug/pythia-tui] [--rounds 5] [--length 64]

The venv is that of direct_path.py. DIR holds a checkpoint in the published layout with parallel blocks. Every number is a median; a
round measures both, so that what else the machine does falls on both. Each measurement runs both prompts and the way back. That the
scores are the same is asserted once: there they are by position, and here summed over positions.
"""
import argparse, collections, json, logging, statistics, subprocess, time
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis.attribution_patching import EdgeAttributionConfig, attribution_patch

WRITERS = dict(embed=lambda n: "input", attn_head_out=lambda n: f"a{n.layer}.h{n.head}", mlp_out=lambda n: f"m{n.layer}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--program", default="target/debug/pythia-tui")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--length", type=int, default=64)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    model = TransformerBridge.boot_transformers(args.checkpoint, device="cpu").eval()
    model.enable_compatibility_mode(disable_warnings=True)
    prompt, contrast = ([i * step % 50000 + 1 for i in range(args.length)] for step in (37, 91))
    clean, corrupt = torch.tensor([contrast]), torch.tensor([prompt])       # scores point from the prompt to the contrast prompt
    metric = lambda logits: logits[0, -1, 5] - logits[0, -1, 9]
    call = lambda by: attribution_patch(model, clean, corrupt, metric, EdgeAttributionConfig(granularity=by))

    ids = lambda tokens: ",".join(map(str, tokens))
    out = subprocess.run([args.program, "attribute", "--model", args.checkpoint, "--tokens", ids(prompt), "--contrast-tokens", ids(contrast),
                          "--target", "#5", "--distractor", "#9", "--json"], capture_output=True, check=True)
    ours, theirs = {n["node"]: n["score"] for n in json.loads(out.stdout)["nodes"]}, collections.Counter()
    for node, score in call("node").node_scores.items():
        theirs[WRITERS[node.kind](node)] += score
    off = max(abs(ours[name] - theirs[name]) for name in ours) / max(map(abs, ours.values()))
    assert ours.keys() == theirs.keys() and off < 1e-3, off
    print(f"largest difference of a node's score, of the largest: {off:.1e}")

    times = collections.defaultdict(list)
    for _ in range(args.rounds):
        for by in ("node", "edge"):
            began = time.perf_counter()
            call(by)
            times[by, "theirs"].append((time.perf_counter() - began) * 1e3)
        bench = subprocess.run([args.program, "bench", "--model", args.checkpoint, "--lengths", str(args.length), "--repeats", "5", "--json"],
                               capture_output=True, check=True)
        for by in ("node", "edge"):
            times[by, "ours"].append(json.loads(bench.stdout)[0][f"attribute_{by}s_ms"])
    print(f"{'':32}{'TransformerLens':>16}{'pythia-tui':>16}{'ratio':>8}")
    for by in ("node", "edge"):
        theirs, ours = (statistics.median(times[by, who]) for who in ("theirs", "ours"))
        print(f"{f'scores of all {by}s, {args.length} tokens':32}{theirs:>13.1f} ms{ours:>13.1f} ms{theirs / ours:>8.1f}")


main()
