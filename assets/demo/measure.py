#!/usr/bin/env python3
"""Measure what the demo's README claims, with TransformerLens, and write the prompts that the tests use.

    pip install transformer-lens==2.18.0 transformers==4.57.6; python assets/demo/measure.py

Writes tests/fixtures/demo.json: repeated sequences of random tokens, and indirect-object prompts with name pairs that
no training document holds together.
"""
import argparse, json, logging, pathlib, random, sys
import torch
from tokenizers import Tokenizer
from transformers import GPTNeoXForCausalLM
from transformer_lens.head_detector import (compute_head_attention_similarity_score as similarity, get_induction_head_detection_pattern as
                                            induction, get_previous_token_head_detection_pattern as previous)

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent / "tests" / "golden")]
import corpus
from generate import hooked


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", type=pathlib.Path, default=HERE)
    ap.add_argument("--out", type=pathlib.Path, default=HERE.parent.parent / "tests" / "fixtures" / "demo.json")
    a = ap.parse_args()
    logging.disable(logging.WARNING)
    hf = GPTNeoXForCausalLM.from_pretrained(a.model)
    tok = Tokenizer.from_file(str(a.model / "tokenizer.json"))
    model, rng = hooked(hf, True), random.Random(2024)
    rows = [[rng.randrange(1, tok.get_vocab_size()) for _ in range(16)] * 6 for _ in range(8)]
    scores = {"previous-token": torch.zeros(4, 4), "induction": torch.zeros(4, 4)}
    for row in rows:
        _, cache = model.run_with_cache(torch.tensor([row]))
        for name, detection in (("previous-token", previous), ("induction", induction)):
            pattern = detection(torch.tensor([row]))
            for layer in range(4):
                for head in range(4):
                    scores[name][layer, head] += similarity(cache[f"blocks.{layer}.attn.hook_pattern"][0, head].clone(), pattern, exclude_bos=False,
                                                            exclude_current_token=False, error_measure="mul") / len(rows)
    for name, score in scores.items():
        print(name, "\n", score.numpy().round(2))
    inductive = [(l, h) for l in range(4) for h in range(4) if scores["induction"][l, h] > 0.3]
    zero = lambda head: lambda z, hook: z.index_fill(2, torch.tensor([head]), 0.0)
    hooks = [(f"blocks.{l}.attn.hook_z", zero(h)) for l, h in inductive]
    tokens = torch.tensor(rows)
    for name, fwd in (("unedited", []), (f"without heads {inductive}", hooks)):
        logits = model.run_with_hooks(tokens, fwd_hooks=fwd)
        loss = -logits.log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)
        print(f"{name}: loss on the first occurrence {loss[:, :15].mean():.3f}, later {loss[:, 16:].mean():.3f}")
    prompts = []
    for held_out in (True, False):
        right = 0
        for _ in range(200):
            prompt, answer = corpus.indirect_object(rng, held_out)
            ids, (target,) = tok.encode(prompt).ids, tok.encode(answer).ids
            right += int(model(torch.tensor([ids]))[0, -1].argmax() == target)
            if held_out:
                prompts.append([prompt, answer])
        print(f"indirect object, {'held-out' if held_out else 'trained'} pairs: {right / 200:.1%}")
    a.out.write_text(json.dumps(dict(repeated=rows, period=16, indirect_object=prompts), indent=0, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
