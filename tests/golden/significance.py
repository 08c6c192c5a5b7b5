"""Intervals and p-values of TransformerLens 4.3.0 (transformer_lens.utilities.statistics) for tests/significance.rs.

    python tests/golden/significance.py > tests/fixtures/golden-significance.json

Exact p-values are exact. Random ones and intervals are computed with a million draws, so that what is left of their own randomness
is far below that of the thousand draws that are usual.
"""

import json

import torch
from transformer_lens.utilities.statistics import bootstrap_ci, derive_generator, sign_flip_permutation_pvalue

DRAWS = 1_000_000


def case(values):
    x = torch.tensor(values, dtype=torch.float64)
    low, high = bootstrap_ci(x, n_resamples=DRAWS, generator=derive_generator(1), chunk_size=20_000)
    narrow = bootstrap_ci(x, confidence=0.5, n_resamples=DRAWS, generator=derive_generator(2), chunk_size=20_000)
    p = {
        name: sign_flip_permutation_pvalue(x, n_permutations=DRAWS, generator=derive_generator(3), alternative=name).item()
        for name in ("two-sided", "greater", "less")
    }
    interval, half = [low.item(), high.item()], [narrow[0].item(), narrow[1].item()]
    return {"values": values, "mean": x.mean().item(), "interval": interval, "half": half, "p": p}


def main():
    generator = torch.Generator().manual_seed(20)
    normal = lambda n, shift: (torch.randn(n, generator=generator, dtype=torch.float64) + shift).tolist()
    cases = [
        [0.5],
        [0.0, 0.0, 0.0],
        [1.0, 1.0, 1.0, 1.0],
        [0.1, 0.2, 0.3, -0.1],
        [1.0, -1.0, 2.0, -2.0],
        normal(7, 0.5),
        normal(12, -0.8),
        normal(13, 0.4),
        normal(40, 0.3),
        [abs(x) ** 3 for x in normal(60, 0.0)],
    ]
    print(json.dumps([case(values) for values in cases], indent=0))


main()
