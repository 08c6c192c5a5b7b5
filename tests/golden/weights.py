#!/usr/bin/env python3
"""Write the goldens of what weights say, with TransformerLens 2.18.0: SVDInterpreter, FactoredMatrix, all_composition_scores.

    venv/bin/python tests/golden/weights.py          # the venv of generate.py, whose checkpoints it reads

Into tests/fixtures/golden-weights.safetensors. Singular directions have the sign that makes the largest number positive. The
interaction at a distance is computed from whole matrices, with the rotation of HookedTransformer's own attention.
"""
import logging
import torch
from safetensors.torch import save_file
from transformer_lens import FactoredMatrix, SVDInterpreter
from generate import OUT, hooked, GPTNeoXForCausalLM

NEURON, HEAD, VECTORS, DISTANCES = (1, 17), (1, 2), 3, 5


def signed(read, written):
    """Both sides of each direction, `[n, vocab]`, with the sign of the second's extreme."""
    extreme = written.gather(1, written.abs().argmax(1, keepdim=True)).sign()
    return read * extreme, written * extreme


def main():
    logging.disable(logging.WARNING)
    torch.set_grad_enabled(False)
    out = {}
    for name, processing in [("processed", True), ("unprocessed", False)]:
        model = hooked(GPTNeoXForCausalLM.from_pretrained(OUT / "parallel-25", dtype=torch.float32), processing)
        layer, head = HEAD
        out[f"{name}/neuron"] = model.W_out[NEURON[0], NEURON[1]] @ model.W_U
        ov = FactoredMatrix(model.W_V[layer, head], model.W_O[layer, head])
        U, S, _ = ov.svd()
        written = SVDInterpreter(model).get_singular_vectors("OV", layer, num_vectors=VECTORS, head_index=head)[:, 0].T
        out[f"{name}/ov/values"] = S[:VECTORS].clone()
        out[f"{name}/ov/reads"], out[f"{name}/ov/writes"] = signed((model.W_E @ U[:, :VECTORS]).T, written)
        attn = model.blocks[layer].attn
        for distance in range(DISTANCES):
            turn = lambda x: attn.apply_rotary(x[:, None, None], past_kv_pos_offset=distance)[:, 0, 0]
            turned, keys, root = turn(model.W_Q[layer, head]), model.W_K[layer, head], model.cfg.d_head ** 0.5
            out[f"{name}/distance/{distance}"] = torch.stack([
                (turned @ keys.T).norm() / root, turn(model.b_Q[layer, head][None])[0] @ model.b_K[layer, head] / root])
            if distance in (0, 3):
                U, S, V = FactoredMatrix(turned, keys.T).svd()
                side = lambda vectors: (model.W_E @ vectors[:, :VECTORS]).T
                out[f"{name}/qk{distance}/values"] = S[:VECTORS].clone()
                out[f"{name}/qk{distance}/query"], out[f"{name}/qk{distance}/key"] = signed(side(U), side(V))
        for mode in "QKV":
            out[f"{name}/composition/{mode.lower()}"] = model.all_composition_scores(mode)
    save_file({key: value.float().contiguous() for key, value in out.items()}, OUT / "golden-weights.safetensors", metadata={"of": "weights"})
    print({key: tuple(value.shape) for key, value in out.items()})


if __name__ == "__main__":
    main()
