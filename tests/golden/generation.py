#!/usr/bin/env python3
"""Greedy continuations by Hugging Face's `generate`, with its cache.

    venv/bin/python tests/golden/generation.py          (after generate.py)
    venv/bin/python tests/golden/generation.py --program target/release/pythia-tui

The venv is that of generate.py. The first writes tests/fixtures/golden-generation.json: of each micro checkpoint, continuations
with the probability of each token. The second runs the program on them and on the demo, which has a context length to run into,
and compares.
"""
import argparse, json, pathlib, subprocess
import numpy as np, torch
from transformers import GPTNeoXForCausalLM
from transformers.utils import logging

ROOT = pathlib.Path(__file__).parent.parent
FIXTURES = ROOT / "fixtures"
DEMO = ROOT.parent / "assets/demo"
CHECKPOINTS = ["parallel-25", "parallel-100", "sequential-25", "sequential-100"]
LENGTHS, COUNT = [1, 7, 60], 24
# of probabilities; measured: 6.2e-6
TOLERANCE = 2e-5


def prompt(n, vocabulary, seed):
    return np.random.default_rng(1000 * seed + n).integers(1, vocabulary, n).tolist()


def continued(model, ids, count):
    ids = torch.tensor([ids])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, use_cache=True,
                         return_dict_in_generate=True, output_scores=True, pad_token_id=0)
    new = out.sequences[0, ids.shape[1]:].tolist()
    probs = [float(scores[0].double().softmax(-1)[token]) for scores, token in zip(out.scores, new)]
    return {"prompt": ids[0].tolist(), "tokens": new, "probs": probs}


def all_of(directory, count, lengths):
    model = GPTNeoXForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    vocabulary = model.config.vocab_size
    return [continued(model, prompt(n, vocabulary, seed), count) for n in lengths for seed in range(3)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program")
    args = parser.parse_args()
    logging.set_verbosity_error()
    if args.program is None:
        goldens = {name: all_of(FIXTURES / name, COUNT, LENGTHS) for name in CHECKPOINTS}
        text = json.dumps(goldens).replace("}, {", "},\n  {").replace("], \"", "],\n \"")
        return (FIXTURES / "golden-generation.json").write_text(text + "\n")
    worst, compared = 0.0, 0
    for directory in [*(FIXTURES / name for name in CHECKPOINTS), DEMO]:
        for expected in all_of(directory, 3 * COUNT, LENGTHS):
            for processing in ([], ["--no-processing"]):
                ids = ",".join(str(id) for id in expected["prompt"])
                out = subprocess.run([args.program, "generate", "--model", str(directory), "--tokens", ids, "--json", "--max-new-tokens",
                                      str(3 * COUNT), *processing], capture_output=True, check=True)
                found = json.loads(out.stdout)["new_tokens"]
                assert [token["id"] for token in found] == expected["tokens"], (directory, expected, found)
                worst = max([worst, *(abs(token["prob"] - p) for token, p in zip(found, expected["probs"]))])
                compared += len(found)
    assert worst <= TOLERANCE, worst
    print(f"{compared} tokens; probabilities differ by at most {worst:.1e}\nequal")


main()
