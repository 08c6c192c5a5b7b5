#!/usr/bin/env python3
"""Write one small checkpoint in every form that checkpoints come in, with Hugging Face's own writer.

    venv/bin/python tests/golden/formats.py          (the environment of generate.py)

Into tests/fixtures/formats/NAME. The weights are multiples of 1/64 below 2, which f16, bf16 and f32 all hold exactly: every
form has to give the very same model.
"""
import json, pathlib, shutil
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

OUT = pathlib.Path(__file__).parent.parent / "fixtures" / "formats"
F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32


def model():
    cfg = GPTNeoXConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, hidden_act="gelu",
                        rotary_pct=0.5, max_position_embeddings=64, bos_token_id=0, eos_token_id=0)
    m, g = GPTNeoXForCausalLM(cfg), torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in m.parameters():
            p.copy_(torch.randint(-40, 41, p.shape, generator=g) / 64)
    return m


def buffers(cfg):
    """What old checkpoints contain in addition to their parameters."""
    n, out = cfg.max_position_embeddings, {}
    for i in range(cfg.num_hidden_layers):
        at = f"gpt_neox.layers.{i}.attention."
        out[at + "bias"] = torch.tril(torch.ones(n, n, dtype=torch.bool))[None, None]
        out[at + "masked_bias"] = torch.tensor(-1e9).to(F16)
        out[at + "rotary_emb.inv_freq"] = torch.ones(2)
    return out


def write(name, dtype, shard=None, safe=True, extra=False):
    m = model().to(dtype)
    state = {**m.state_dict(), **(buffers(m.config) if extra else {})}
    if extra and not safe:        # the oldest ones kept the mask as bytes
        state = {k: v.to(torch.uint8) if v.dtype == torch.bool else v for k, v in state.items()}
    m.save_pretrained(OUT / name, state_dict=state, safe_serialization=safe, **({"max_shard_size": shard} if shard else {}))
    (OUT / name / "generation_config.json").unlink(missing_ok=True)


def write_views(name):
    """As a training program may save it: in a nested dictionary, in double precision, every tensor a view that is not contiguous,
    beside tensors that the model does not have."""
    m = model()
    def view(x):
        return x.t().contiguous().t() if x.dim() == 2 else torch.stack([x, -x], 1)[:, 0]
    state = {k: view(v.double()) for k, v in m.state_dict().items()}
    state["lora.extra"], state["step"] = torch.ones(2, 3), torch.tensor(7)
    (OUT / name).mkdir()
    m.config.save_pretrained(OUT / name)
    torch.save({"epoch": 3, "state_dict": state}, OUT / name / "pytorch_model.bin")


shutil.rmtree(OUT, ignore_errors=True)
write("f32", F32)
write("bf16", BF16)
write("f16-buffers", F16, extra=True)
write("f16-shards", F16, shard="8KB")
write("f16-bin", F16, safe=False)
write("bf16-bin", BF16, safe=False)
write("f16-bin-shards-buffers", F16, shard="8KB", safe=False, extra=True)
write_views("f64-views-bin")
for path in sorted(OUT.rglob("*")):
    if path.is_file():
        print(path.relative_to(OUT), path.stat().st_size)
