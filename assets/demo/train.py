#!/usr/bin/env python3
"""Train the demo model: pip install torch transformers tokenizers safetensors; python assets/demo/train.py

Writes tokenizer.json, config.json and model.safetensors (fp16, Pythia's layout) beside this file. Seeded; the last bits
depend on the machine's arithmetic. Prints the loss as it goes; measure.py then measures what README.md and the tests claim.
"""
import argparse, json, math, pathlib, random, time
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
import corpus

HERE = pathlib.Path(__file__).parent
EOT = 0


def train_tokenizer(seed, size):
    """Byte-level BPE, as Pythia's: all 256 bytes are in the alphabet, so any text encodes and decodes without loss."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    stream = corpus.documents(seed)
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<|endoftext|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator((next(stream) for _ in range(30_000)), trainer)
    return tok


class Rows:
    """Rows of token ids."""
    def __init__(self, tok, seed):
        self.tok, self.rng, self.stream, self.buffer = tok, random.Random(seed), corpus.documents(seed + 1), []

    def text(self, length):
        while len(self.buffer) < length:
            self.buffer += [EOT] + self.tok.encode(next(self.stream)).ids
        row, self.buffer = self.buffer[:length], self.buffer[length:]
        return row

    def repeated(self, length):
        period = self.rng.randint(4, min(64, length // 3))
        unit = [self.rng.randrange(1, self.tok.get_vocab_size()) for _ in range(period)]
        return (unit * (length // period + 1))[:length]

    def batch(self, n, length, repeated):
        """`n` rows, a share of them random sequences repeated to the end, the rest packed documents."""
        return torch.tensor([self.repeated(length) if i < repeated * n else self.text(length) for i in range(n)])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--steps", type=int, default=3200)
    ap.add_argument("--repeats", type=int, default=450, help="first steps, on repeated sequences alone")
    ap.add_argument("--share", type=float, default=0.2, help="share of repeated sequences among the rows after that")
    ap.add_argument("--resume", type=pathlib.Path, help="go on from the weights and tokenizer in this directory")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--vocab", type=int, default=1280)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--out", type=pathlib.Path, default=HERE)
    a = ap.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    a.out.mkdir(parents=True, exist_ok=True)
    tok = Tokenizer.from_file(str(a.resume / "tokenizer.json")) if a.resume else train_tokenizer(a.seed, a.vocab)
    tok.save(str(a.out / "tokenizer.json"))
    vocab = math.ceil(tok.get_vocab_size() / 64) * 64          # padded, as Pythia's is
    print(f"{tok.get_vocab_size()} tokens, {vocab} rows; {tok.encode('Two tokens').tokens}", flush=True)
    cfg = GPTNeoXConfig(vocab_size=vocab, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512,
                        hidden_act="gelu", rotary_pct=0.25, rotary_emb_base=10000, max_position_embeddings=512,
                        layer_norm_eps=1e-5, use_parallel_residual=True, tie_word_embeddings=False, bos_token_id=EOT, eos_token_id=EOT,
                        initializer_range=0.06)            # with the usual 0.02 no induction head formed in 3000 steps
    model = GPTNeoXForCausalLM.from_pretrained(a.resume).float() if a.resume else GPTNeoXForCausalLM(cfg)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    decay = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() == 1]
    opt = torch.optim.AdamW([dict(params=decay, weight_decay=0.05), dict(params=rest, weight_decay=0.0)], lr=a.lr, betas=(0.9, 0.98))
    rows = Rows(tok, a.seed)
    start = time.time()
    for step in range(a.steps):
        warm, left = min(1.0, (step + 1) / 100), step / a.steps
        for group in opt.param_groups:
            group["lr"] = a.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * left)))
        if step < a.repeats:
            batch = rows.batch(64, 64, repeated=1.0)             # induction first: mixed with text it forms much later
        elif step % 8 == 7:
            batch = rows.batch(10, 512, repeated=a.share)           # so that positions up to 512 are known
        else:
            batch = rows.batch(35, 128, repeated=a.share)
        loss = model(batch, labels=batch).loss
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        if step % 100 == 0 or step == a.steps - 1:
            print(f"step {step:5d}  loss {loss.item():.4f}  {time.time() - start:.0f} s", flush=True)
    state = {k: v.to(torch.float16).contiguous() for k, v in model.state_dict().items()}
    save_file(state, str(a.out / "model.safetensors"), metadata={"format": "pt"})
    config = {k: getattr(cfg, k) for k in ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                                           "hidden_act", "rotary_pct", "rotary_emb_base", "max_position_embeddings", "layer_norm_eps",
                                           "use_parallel_residual", "tie_word_embeddings", "bos_token_id", "eos_token_id"]}
    (a.out / "config.json").write_text(json.dumps(dict(architectures=["GPTNeoXForCausalLM"], model_type="gpt_neox",
                                                       torch_dtype="float16", **config), indent=2) + "\n")


if __name__ == "__main__":
    main()
