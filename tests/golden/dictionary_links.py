#!/usr/bin/env python3
"""Write the golden of links between dictionaries, from the weights as their own libraries load them.

    python3 -m venv venv && venv/bin/pip install eai-sparsify==1.3.3 sae-lens==6.54.12 dictionary-learning==0.1.0
    venv/bin/python tests/golden/dictionaries.py            # the dictionaries
    venv/bin/python tests/golden/dictionary_links.py

Into tests/fixtures/golden-dictionary-links.safetensors: `FIRST|SECOND` `[d_sae, d_sae]`, how much of each feature that FIRST writes
each feature of SECOND reads: W_dec W_enc.
"""
import os, pathlib
os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
import torch
from safetensors.torch import save_file
import sparsify
from sae_lens.saes.standard_sae import StandardSAE
from sae_lens.saes.topk_sae import TopKSAE
from dictionary_learning.utils import load_dictionary

OUT = pathlib.Path(__file__).parent.parent / "fixtures"
DIR = OUT / "dictionaries"


def weights(name):
    """The decoder `[d_sae, d_in]` and the encoder `[d_in, d_sae]`."""
    if name.startswith("sparsify"):
        sae = sparsify.SparseCoder.load_from_disk(DIR / name)
        return sae.W_dec, sae.encoder.weight.T
    if name.startswith("dl-"):
        sae, _ = load_dictionary(str(DIR / name), device=None)
        return sae.decoder.weight.T, sae.encoder.weight.T
    sae = (TopKSAE if "topk" in name else StandardSAE).load_from_disk(DIR / name)
    # features that are counted as if the decoder's rows had norm 1
    norm = sae.W_dec.norm(dim=1) if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False) else torch.ones(len(sae.W_dec))
    return sae.W_dec / norm[:, None], sae.W_enc * norm


def main():
    torch.set_grad_enabled(False)
    tensors = {}
    for first, second in [("sae-lens-standard", "sparsify/layers.0"), ("sparsify/layers.0", "dl-standard"),
                          ("dl-standard", "sae-lens-topk-rescaled"), ("sae-lens-topk-rescaled", "sae-lens-standard")]:
        tensors[f"{first}|{second}"] = (weights(first)[0] @ weights(second)[1]).contiguous()
    save_file(tensors, OUT / "golden-dictionary-links.safetensors", metadata={"of": "W_dec W_enc"})


if __name__ == "__main__":
    main()
