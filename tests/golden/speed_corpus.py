#!/usr/bin/env python3
"""Run TransformerLens, Hugging Face and pythia-tui's `corpus` in turn on one checkpoint, and print how fast each is.

    venv/bin/python tests/golden/speed_corpus.py DIR [--program target/release/pythia-tui] [--rounds 3] [--windows 16] [--prompts 200]

The venv is that of generate.py; DIR has a tokenizer. Two tasks:

- windows of 512 tokens: TransformerLens's `run_with_cache` and Hugging Face's forward pass, window by window, both with the loss,
  and `corpus --window 512`. Beside them a large matrix product of torch, as what the machine reaches; a forward pass's share of it
  counts the multiplications and additions of the matrices and of causal attention.
- the effect of ablating every head on prompts of 16 tokens: TransformerLens's `run_with_hooks`, head by head, on some of the
  prompts, and `corpus --ablate-heads`.

Numbers are medians of rounds; a round measures all of them, so that what else the machine does falls on all.
"""
import argparse, json, logging, pathlib, random, statistics, subprocess, sys, tempfile, time
import torch

WINDOW, PROMPT = 512, 16


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--program", default="target/release/pythia-tui")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--theirs", type=int, default=4, help="prompts on which TransformerLens ablates heads")
    parser.add_argument("--threads", type=int, help="of both programs [default: all cores]")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    logging.disable(logging.WARNING)
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from generate import hooked, GPTNeoXForCausalLM
    hf = GPTNeoXForCausalLM.from_pretrained(args.checkpoint).float().eval()
    model, config = hooked(hf, True), hf.config
    layers, heads, d, vocab = config.num_hidden_layers, config.num_attention_heads, config.hidden_size, config.vocab_size

    draw = random.Random(1)
    words = [" " + w for w in "the of and a in to was is for as with on by he at from his it an were are which this".split()]
    directory = tempfile.TemporaryDirectory()
    texts = pathlib.Path(directory.name) / "texts.txt"
    prompts = pathlib.Path(directory.name) / "prompts.txt"
    # each word is a token
    texts.write_text("".join(draw.choice(words) for _ in range(args.windows * WINDOW)))
    prompts.write_text("\n".join("".join(draw.choice(words) for _ in range(PROMPT)) for _ in range(args.prompts)) + "\n")
    windows = torch.randint(0, vocab, (args.windows, WINDOW))
    short = torch.randint(0, vocab, (args.theirs, PROMPT))

    def ours(file, *rest):
        command = [args.program, "corpus", str(file), "--model", args.checkpoint, "--json", *rest]
        command += ["--threads", str(args.threads)] if args.threads else []
        out = subprocess.run(command, capture_output=True, check=True)
        report = json.loads(out.stdout)
        assert report["complete"], report
        return report["time_ms"]["run"] / 1e3, report

    def windows_of_ours():
        seconds, report = ours(texts, "--window", str(WINDOW))
        assert report["corpus"] == {**report["corpus"], "prompts": args.windows, "tokens": args.windows * WINDOW}, report["corpus"]
        return seconds / args.windows

    def heads_of_ours():
        seconds, report = ours(prompts, "--metric", "kl", "--ablate-heads")
        assert report["corpus"]["tokens"] == args.prompts * PROMPT, report["corpus"]
        return seconds / args.prompts

    def cached():
        for tokens in windows:
            model.run_with_cache(tokens[None], return_type="loss")

    def forward():
        for tokens in windows:
            hf(tokens[None], labels=tokens[None], use_cache=False)

    def ablated():
        for tokens in short:
            base = model(tokens[None])[0, -1].log_softmax(-1)
            for layer in range(layers):
                for head in range(heads):
                    def zero(z, hook):
                        z[:, :, head] = 0
                        return z
                    logits = model.run_with_hooks(tokens[None], fwd_hooks=[(f"blocks.{layer}.attn.hook_z", zero)])[0, -1]
                    (base.exp() * (base - logits.log_softmax(-1))).sum().item()

    a, b = torch.randn(4096, 4096), torch.randn(4096, 4096)
    with torch.inference_mode():
        rounds = []
        for number in range(args.rounds + 1):
            row = (timed(lambda: a @ b), timed(cached) / args.windows, timed(forward) / args.windows, windows_of_ours(),
                   timed(ablated) / args.theirs, heads_of_ours())
            # the first round warms up
            rounds += [row] if number else []
    ratio = lambda i, j: statistics.median(row[i] / row[j] for row in rounds)
    product, lens, face, window, loop, effects = [statistics.median(column) for column in zip(*rounds)]
    work = 2 * WINDOW * (12 * layers * d * d + d * vocab) + layers * 2 * 2 * d * WINDOW * WINDOW / 2
    reached = 2 * 4096**3 / product
    # the median over rounds of what is reached in the same round
    share = statistics.median(work / row[3] / (2 * 4096**3 / row[0]) for row in rounds)
    print(f"a product of matrices of 4096 x 4096        {reached / 1e9:9.1f} GFLOP/s")
    print(f"windows of {WINDOW} tokens\n  TransformerLens, run_with_cache           {lens * 1e3:9.0f} ms a window")
    print(f"  Hugging Face, forward                     {face * 1e3:9.0f} ms a window")
    print(f"  pythia-tui corpus                         {window * 1e3:9.0f} ms a window, {work / window / 1e9:.1f} GFLOP/s: {share:.0%} of the product")
    print(f"  faster than TransformerLens {ratio(1, 3):.2f} times, than Hugging Face {ratio(2, 3):.2f} times")
    print(f"every head ablated, prompts of {PROMPT} tokens\n  TransformerLens, run_with_hooks           {loop * 1e3:9.0f} ms a prompt")
    print(f"  pythia-tui corpus --ablate-heads          {effects * 1e3:9.0f} ms a prompt\n  faster {ratio(4, 5):.2f} times")


main()
