#!/usr/bin/env python3
"""Run Hugging Face's `generate` and pythia-tui in turn on one checkpoint, and print tokens a second; then what keeping every
activation of the text adds to the time (`--save-cache`, without writing the file): while the prompt is read, and after the last token.

    venv/bin/python tests/golden/speed_generation.py DIR [--program target/release/pythia-tui] [--rounds 5] [--count 64] [--prompt 16]

The venv is that of generate.py. Both are greedy, in f32, with keys and values kept, and read the prompt within the time. Numbers
are medians; a round measures both, so that what else the machine does falls on both.
"""
import argparse, json, statistics, subprocess, tempfile, time
from pathlib import Path
import torch
from transformers import GPTNeoXForCausalLM
from transformers.utils import logging


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--program", default="target/release/pythia-tui")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=16)
    args = parser.parse_args()
    logging.set_verbosity_error()
    model = GPTNeoXForCausalLM.from_pretrained(args.checkpoint, dtype=torch.float32).eval()
    prompt = list(range(1, args.prompt + 1))
    ids = torch.tensor([prompt])

    def theirs():
        began = time.perf_counter()
        with torch.inference_mode():
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=args.count, do_sample=False, pad_token_id=0)
        return out.shape[1] - len(prompt), time.perf_counter() - began

    def ours(*rest):
        out = subprocess.run([args.program, "generate", "--model", args.checkpoint, "--tokens", ",".join(map(str, prompt)), "--json",
                              "--max-new-tokens", str(args.count), *rest], capture_output=True, check=True)
        report = json.loads(out.stdout)
        seconds = sum(report["time_ms"].get(part, 0) for part in ("prompt", "generate", "cache")) / 1e3
        return len(report["new_tokens"]), seconds

    edit = ["--edit", "blocks.1.attn.hook_z[head=2] = 0"]
    theirs()
    rounds = [(theirs(), ours(), ours(*edit)) for _ in range(args.rounds)]
    rates = [statistics.median(n / seconds for n, seconds in column) for column in zip(*rounds)]
    for what, rate in zip(["Hugging Face", "pythia-tui", "pythia-tui, edited and unedited side by side"], rates):
        print(f"{what:46}{rate:8.1f} tokens a second{rate / rates[0]:8.2f}")
    for what, rest in (("every activation kept", []), ("the same with an edit", edit)):
        with tempfile.TemporaryDirectory() as directory:
            keep = ["--save-cache", str(Path(directory) / "text.safetensors")]
            pairs = [(ours(*rest)[1], ours(*rest, *keep)[1]) for _ in range(args.rounds)]
        without, kept = (statistics.median(seconds) for seconds in zip(*pairs))
        print(f"{what:46}{100 * (kept / without - 1):8.1f} % more time")


main()
