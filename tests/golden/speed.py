#!/usr/bin/env python3
"""Run TransformerLens and pythia-tui in turn on one checkpoint, and print how much faster the latter is.

    venv/bin/python tests/golden/speed.py DIR [--program target/release/pythia-tui] [--rounds 3] [--lengths 2,16,64,256]

The venv is that of generate.py. DIR holds a checkpoint in the published layout. Every number is a median; a round measures
both, so that what else the machine does falls on both.
"""
import argparse, json, logging, pathlib, resource, statistics, subprocess, sys, time

START = """
import logging; logging.disable(logging.WARNING)
import sys, torch
sys.path.insert(0, {here!r})
from generate import hooked, GPTNeoXForCausalLM
model = hooked(GPTNeoXForCausalLM.from_pretrained({checkpoint!r}), True)
with torch.no_grad():
    model(torch.tensor([[1, 2]]))
"""


def timed(work):
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def process(command):
    """Seconds and peak memory in MB of a process."""
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = __import__("os").wait4(child.pid, 0)
    assert status == 0, command
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--program", default="target/release/pythia-tui")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lengths", default="2,16,64,256")
    args = parser.parse_args()
    here = str(pathlib.Path(__file__).parent)
    logging.disable(logging.WARNING)
    starts = [(process([sys.executable, "-c", START.format(here=here, checkpoint=args.checkpoint)]),
               process([args.program, "run", "--model", args.checkpoint, "--tokens", "1,2", "--json"])) for _ in range(args.rounds)]
    theirs, ours = ([statistics.median(s[who][what] for s in starts) for what in (0, 1)] for who in (0, 1))
    print(f"{'':24}{'TransformerLens':>16}{'pythia-tui':>16}{'ratio':>8}")
    print(f"{'start to first result':24}{theirs[0]:>14.2f} s{ours[0]:>14.2f} s{theirs[0] / ours[0]:>8.1f}")
    print(f"{'peak memory':24}{theirs[1]:>13.0f} MB{ours[1]:>13.0f} MB{theirs[1] / ours[1]:>8.1f}")

    sys.path.insert(0, here)
    import torch
    from generate import hooked, GPTNeoXForCausalLM
    model = hooked(GPTNeoXForCausalLM.from_pretrained(args.checkpoint), True)

    def sweep(tokens):
        for layer in range(model.cfg.n_layers):
            for head in range(model.cfg.n_heads):
                def zero(z, hook, head=head):
                    z[:, :, head] = 0
                    return z
                model.run_with_hooks(tokens, fwd_hooks=[(f"blocks.{layer}.attn.hook_z", zero)])

    for length in [int(n) for n in args.lengths.split(",")]:
        tokens = torch.arange(1, length + 1)[None]
        cache, heads, bench = [], [], []
        with torch.no_grad():
            model.run_with_cache(tokens)
            for _ in range(args.rounds):
                cache += [timed(lambda: model.run_with_cache(tokens)) for _ in range(5)]
                heads.append(timed(lambda: sweep(tokens)))
                out = subprocess.run([args.program, "bench", "--model", args.checkpoint, "--lengths", str(length), "--json"],
                                     capture_output=True, check=True)
                bench.append(json.loads(out.stdout)[0])
        median = lambda key: statistics.median(b[key] for b in bench)
        for what, theirs, ours in [("run_with_cache", statistics.median(cache), median("run_with_cache_ms")),
                                   ("all heads ablated", statistics.median(heads), median("sweep_heads_ms"))]:
            print(f"{f'{what}, {length}':24}{theirs:>13.1f} ms{ours:>13.1f} ms{theirs / ours:>8.1f}")
        full, forward, again = median("run_with_cache_ms"), median("forward_ms"), median("rerun_last_block_ms")
        print(f"{f'  capture costs, {length}':24}{(full / forward - 1) * 100:>30.1f} %")
        print(f"{f'  re-run, last block, {length}':24}{again / full:>26.2f} of a run")


main()
