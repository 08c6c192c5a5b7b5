#!/usr/bin/env python3
"""Write caches of activations as users of each library save them, of the micro checkpoint parallel-25.

    python3 tests/golden/caches.py tl2        (the environment of generate.py; also Hugging Face's outputs)
    python3 tests/golden/caches.py tl4        (the environment of bridge.py)
    python3 tests/golden/caches.py nnsight    (that of bridge.py, with nnsight==0.8.1)

Into tests/fixtures/caches. tests/cache_check.rs holds them to the program's own runs.
"""
import pathlib, sys
import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
CHECKPOINT = str(HERE.parent / "fixtures" / "parallel-25")
OUT = HERE.parent / "fixtures" / "caches"
IDS, BOS = [7, 3, 11, 2], 0


def hugging_face(dtype=torch.float32):
    from transformers import GPTNeoXForCausalLM
    return GPTNeoXForCausalLM.from_pretrained(CHECKPOINT, dtype=dtype, attn_implementation="eager").eval()


def tl2():
    sys.path.insert(0, str(HERE))
    from generate import hooked
    from safetensors.torch import save_file

    tokens = torch.tensor([IDS])
    processed, unprocessed = hooked(hugging_face(), True), hooked(hugging_face(), False)
    _, cache = processed.run_with_cache(tokens)
    cache.model = None      # else the file has all weights of the model beside the activations
    torch.save(cache, OUT / "tl2-object.pt")

    logits, cache = unprocessed.run_with_cache(tokens)
    arrays = {name: value[0].numpy() for name, value in cache.items()}
    arrays["attn_scores_of_block_1_by_key"] = np.asfortranarray(arrays["blocks.1.attn.hook_attn_scores"][0])
    np.savez_compressed(OUT / "tl2-unprocessed.npz", **arrays, logits=logits[0].numpy(), tokens=np.array(IDS))

    wanted = lambda name: name.endswith(("hook_embed", "hook_resid_post", "hook_pattern"))
    logits, cache = processed.run_with_cache(torch.tensor([[BOS] + IDS]), names_filter=wanted)
    save_file({name: value.contiguous() for name, value in cache.items()} | {"logits": logits}, OUT / "tl2-bos.safetensors")

    half = hooked(hugging_face(), True).to(torch.bfloat16)
    logits, cache = half.run_with_cache(tokens)
    torch.save(dict(cache) | {"tokens": tokens, "logits": logits}, OUT / "tl2-bf16.pt")

    # what a mistake in a hook looks like: a head of block 1 is lost
    def without_head(z, hook):
        z[:, :, 2] = 0
        return z
    with processed.hooks(fwd_hooks=[("blocks.1.attn.hook_z", without_head)]):
        logits, cache = processed.run_with_cache(tokens)
    torch.save(dict(cache) | {"tokens": tokens}, OUT / "tl2-ablated.pt")

    _, cache = processed.run_with_cache(torch.tensor([IDS, IDS[::-1]]), names_filter=wanted)
    torch.save(dict(cache), OUT / "tl2-batch.pt")

    model = hugging_face()
    out = model(tokens, output_hidden_states=True, output_attentions=True)
    torch.save(out, OUT / "hf-output.pt")
    torch.save(out.hidden_states, OUT / "hf-hidden-states.pt")
    torch.save({"input_ids": tokens, "attentions": out.attentions}, OUT / "hf-attentions.pt")
    stacked(out, tokens)
    out = hugging_face(torch.float16)(tokens, output_hidden_states=True)
    states = {f"hidden_states.{i}": state for i, state in enumerate(out.hidden_states)}
    save_file(states | {"input_ids": tokens, "logits": out.logits}, OUT / "hf-f16.safetensors")


def stacked(out, tokens):
    """The entries of a tuple as one tensor, with and without the batch axis."""
    from safetensors.torch import save_file
    states, patterns = torch.stack(out.hidden_states), torch.stack(out.attentions)
    torch.save({"input_ids": tokens, "hidden_states": states.transpose(0, 2).contiguous().transpose(0, 2), "attentions": patterns},
               OUT / "hf-stacked.pt")
    save_file({"input_ids": tokens, "hidden_states": states[:, 0].contiguous()}, OUT / "hf-stacked.safetensors")
    np.savez_compressed(OUT / "hf-stacked.npz", input_ids=np.array(IDS), hidden_states=states[:, 0].numpy(),
                        attentions=np.asfortranarray(patterns[:, 0].numpy()))


def tl4():
    from safetensors.torch import save_file
    from transformer_lens.model_bridge import TransformerBridge
    for name, no_processing in {"processed": False, "unprocessed": True}.items():
        model = TransformerBridge.boot_transformers(CHECKPOINT, device="cpu")
        model.enable_compatibility_mode(no_processing=no_processing)
        _, cache = model.run_with_cache(torch.tensor([IDS]))
        tensors = {name: value.clone().contiguous() for name, value in cache.items()}
        if no_processing:
            torch.save(tensors, OUT / "tl4-unprocessed.pt")
        else:
            save_file(tensors, OUT / "tl4-processed.safetensors")


def nnsight():
    from nnsight import NNsight
    model = NNsight(hugging_face())
    with model.trace(torch.tensor([IDS])) as tracer:
        cache = tracer.cache(include_inputs=True).save()
    torch.save(cache, OUT / "nnsight-cache.pt")
    with model.trace(torch.tensor([IDS])):
        attention = model.gpt_neox.layers[0].attention.output[0].save()
        stream = model.gpt_neox.layers[0].output.save()
        neurons = model.gpt_neox.layers[1].mlp.act.output.save()
    saved = {"gpt_neox.layers.0.output": stream, "gpt_neox.layers.0.attention.output[0]": attention,
             "gpt_neox.layers.1.mlp.act.output": neurons}
    torch.save({name: value.detach() for name, value in saved.items()}, OUT / "nnsight-saved.pt")


OUT.mkdir(exist_ok=True)
with torch.no_grad():
    {"tl2": tl2, "tl4": tl4, "nnsight": nnsight}[sys.argv[1]]()
