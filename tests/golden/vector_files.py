#!/usr/bin/env python3
"""Write the files of vectors in tests/fixtures/vectors, as numpy and PyTorch write them.

    venv/bin/python tests/golden/vector_files.py          (the venv is that of generate.py)

Every vector is the same: 32 numbers, `(13 i mod 32 - 15.5) / 10`. Where a file holds several arrays, the others are its negative and
a matrix of both.
"""
from pathlib import Path

import numpy as np
import torch

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "vectors"


def main():
    OUT.mkdir(exist_ok=True)
    v = ((np.arange(32) * 13 % 32 - 15.5) / 10).astype(np.float32)
    both = np.stack([-v, v])
    np.savez(OUT / "stored.npz", v=v, minus=-v, both=both)
    np.savez_compressed(OUT / "compressed.npz", v=v.astype(np.float64), both=both.astype(np.float16))
    np.savez(OUT / "one.npz", v)
    t = torch.tensor(v)
    torch.save(t, OUT / "tensor.pt")
    torch.save(torch.nn.Parameter(t), OUT / "parameter.pt")
    # a row of a matrix shares its storage, and every other number of one is strided
    torch.save(torch.stack([-t, t])[1], OUT / "view.pt")
    torch.save(torch.stack([t, -t], 1)[:, 0], OUT / "strided.pt")
    torch.save(t.bfloat16(), OUT / "bf16.pt")
    torch.save({"v": t, "minus": -t, "layers": {3: torch.stack([-t, t])}}, OUT / "several.pt")
    torch.save({"v": t, "step": 7, "name": "happy"}, OUT / "with-settings.pt")


main()
