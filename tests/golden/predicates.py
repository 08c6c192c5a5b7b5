"""Holds `grep` to a numpy reading of `--save-cache`, over random predicates.

    python predicates.py PROGRAM MODEL [CASES] [SEED]

PROGRAM is the built binary, MODEL what `--model` takes. Needs numpy alone. docs/predicates.md says what a place is; this follows it
literally, with every place spelt out, and shares nothing with the program.
"""

import itertools
import json
import random
import re
import subprocess
import sys
import tempfile

import numpy as np

SQUARE, HEADS, STREAM, NEURONS, ONE = ("head", "query", "key"), ("pos", "head", "d_head"), ("pos", "d_model"), ("pos", "d_mlp"), ("pos", None)
AXES = {
    "hook_resid_pre": STREAM, "ln1.hook_scale": ONE, "ln1.hook_normalized": STREAM, "attn.hook_q": HEADS, "attn.hook_k": HEADS,
    "attn.hook_v": HEADS, "attn.hook_rot_q": HEADS, "attn.hook_rot_k": HEADS, "attn.hook_attn_scores": SQUARE,
    "attn.hook_pattern": SQUARE, "attn.hook_z": HEADS, "hook_attn_out": STREAM, "ln2.hook_scale": ONE,
    "ln2.hook_normalized": STREAM, "mlp.hook_pre": NEURONS, "mlp.hook_post": NEURONS, "hook_mlp_out": STREAM,
    "hook_resid_post": STREAM, "hook_embed": STREAM, "ln_final.hook_scale": ONE, "ln_final.hook_normalized": STREAM,
}
GLOBAL = ["hook_embed", "ln_final.hook_scale", "ln_final.hook_normalized"]
COMPARE = {">": np.greater, "<": np.less, ">=": np.greater_equal, "<=": np.less_equal, "==": np.equal, "!=": np.not_equal}


def short(name):
    return re.sub(r"^blocks\.\d+\.", "", name)


def block(name):
    found = re.match(r"blocks\.(\d+)\.", name)
    return int(found[1]) if found else None


def reduce(function, x, axis):
    x = x.astype(np.float64)
    with np.errstate(all="ignore"):
        if function == "norm":
            return np.sqrt((x * x).sum(axis=axis))
        if function == "entropy":
            return np.where(x == 0, 0.0, -x * np.log(np.where(x == 0, 1.0, x))).sum(axis=axis)
        return {"max": np.max, "min": np.min, "mean": np.mean, "std": np.std}[function](x, axis=axis)


def delta(x, before, axis):
    x, before = x.astype(np.float64), before.astype(np.float64)
    with np.errstate(all="ignore"):
        moved = np.where(x == before, 0.0, (x - before) ** 2).sum(axis=axis)
        norm = np.where(np.isfinite(before), before**2, 0.0).sum(axis=axis)
        return np.where(moved == 0, 0.0, np.sqrt(moved / norm))


class Test:
    """One comparison: text, hooks, selection, functions, condition."""

    def __init__(self, rng, layers, n_pos, heads):
        kind = rng.random()
        self.blocks = rng.choice(["*", "0", "1", "0-1"])
        self.numbers = list(range(layers)) if self.blocks == "*" else sorted({int(b) for b in re.findall(r"\d", self.blocks)})
        self.several = self.blocks in ("*", "0-1")
        if kind < 0.1:
            self.hook, text, axes = None, f"blocks.{self.blocks}", ("pos",)
        elif kind < 0.2:
            self.hook = rng.choice(GLOBAL)
            text, axes, self.several = self.hook, AXES[self.hook], False
        else:
            self.hook = rng.choice([h for h in AXES if h not in GLOBAL])
            text, axes = f"blocks.{self.blocks}.{self.hook}", AXES[self.hook]
        self.selection = {}
        for axis in axes:
            if axis and rng.random() < 0.3:
                slots = "1" if axis == "head" else rng.choice(["-1", "0", "1:", ":2", "0,2", "0:2,-1"])
                self.selection[axis] = slots
        if self.selection:
            text += "[" + " ".join(f"{a}={s}" for a, s in self.selection.items()) + "]"
        self.calls, left = [], list(axes) if self.hook else ["pos", "?"]
        for number in range(rng.choice([0, 0, 1, 1, 2, 3])):
            function = rng.choice(["abs", "norm", "max", "min", "mean", "std", "entropy"] + (["delta"] * 2 if number == 0 else []))
            if function == "abs":
                self.calls.append(("abs", None))
                text = f"abs({text})"
                continue
            if not left:
                break
            over = rng.choice([None, None, "all"] + [a for a in left if a and a != "?"])
            left = [] if over == "all" else left[:-1] if over is None else [a for a in left if a != over]
            self.calls.append((function, over))
            text = f"{function}({text}{f' over {over}' if over else ''})"
        self.sign = rng.choice(list(COMPARE) + ["is nan", "is inf"])
        self.number = rng.choice([0.0, 0.1, 0.5, 1.0, 2.0, -0.3, 5.0])
        self.text = f"{text} {self.sign}" + ("" if self.sign.startswith("is") else f" {self.number}")

    def hooks(self, cache):
        def meant(name):
            if self.hook is None:
                return block(name) in self.numbers or (self.blocks == "*" and block(name) is None)
            return short(name) == self.hook and (self.hook in GLOBAL or block(name) in self.numbers)
        return [name for name in cache if name != "logits" and meant(name)]

    def read(self, cache, before):
        """Every place of the domain: {(hook, ((axis, index), ...)): (value, holds)}"""
        self.domain = {}
        for name in self.hooks(cache):
            axes = list(AXES[short(name)])
            if not set(self.selection) <= set(axes) or any(o not in axes and o not in (None, "all") for _, o in self.calls):
                continue
            x, old = cache[name], before[name]
            along = {a: list(range(n)) for a, n in zip(axes, x.shape)}
            for axis, slots in self.selection.items():
                n, chosen = x.shape[axes.index(axis)], set()
                for slot in slots.split(","):
                    if ":" in slot:
                        a, b = slot.split(":")
                        chosen |= set(range(n)[slice(int(a) if a else None, int(b) if b else None)])
                    else:
                        chosen.add(range(n)[int(slot)])
                along[axis] = sorted(chosen)
            take = np.ix_(*[along[a] for a in axes])
            x, old, kept, reduced = x[take], old[take], list(axes), False
            for function, over in self.calls:
                if function == "abs":
                    x = np.abs(x)
                    continue
                axis = tuple(range(len(kept))) if over == "all" else len(kept) - 1 if over is None else kept.index(over)
                x = delta(x, old, axis) if function == "delta" else reduce(function, x, axis)
                kept, reduced = [a for i, a in enumerate(kept) if i not in (axis if isinstance(axis, tuple) else (axis,))], True
            for at in itertools.product(*[range(len(along[a])) for a in kept]):
                value = x[at]
                if self.sign == "is nan":
                    holds = np.isnan(value)
                elif self.sign == "is inf":
                    holds = np.isinf(value)
                else:
                    number = np.float32(self.number)
                    holds = COMPARE[self.sign](value, np.float64(number) if reduced else number)
                    # a sum of another order may fall on the other side
                    if reduced and abs(value - np.float64(number)) < 1e-9 and value != number:
                        raise Borderline
                place = (name, tuple((a, along[a][i]) for a, i in zip(kept, at) if a))
                self.domain[place] = (float(value), bool(holds))

    def holds(self, place):
        name, at = place
        here = any(n == name for n, _ in self.domain)
        same = lambda a, b: a == b or {a, b} == {"pos", "query"}
        for (own, indices), (_, holds) in self.domain.items():
            if not holds or (here and own != name):
                continue
            if not here and self.several and None not in (block(own), block(name)) and block(own) != block(name):
                continue
            fixed = lambda axis: re.fullmatch(r"-?\d+", self.selection.get(axis, "")) is not None
            if all(i == j for a, i in indices if not fixed(a) for b, j in at if same(a, b)):
                return True
        return False

    def listed(self):
        return {place: value for place, (value, holds) in self.domain.items() if holds}

    def all(self):
        return {place: value for place, (value, _) in self.domain.items()}

    def tests(self):
        return [self]


class Borderline(Exception):
    pass


class Not:
    def __init__(self, a):
        self.a, self.text = a, f"not ({a.text})"

    def holds(self, place):
        return not self.a.holds(place)

    def listed(self):
        return {place: value for place, value in self.a.all().items() if not self.a.holds(place)}

    def all(self):
        return self.a.all()

    def tests(self):
        return self.a.tests()


class And:
    def __init__(self, a, b):
        self.a, self.b, self.text = a, b, f"({a.text}) and ({b.text})"

    def holds(self, place):
        return self.a.holds(place) and self.b.holds(place)

    def listed(self):
        return {place: value for place, value in self.a.listed().items() if self.b.holds(place)}

    def all(self):
        return self.a.all()

    def tests(self):
        return self.a.tests() + self.b.tests()


class Or(And):
    def __init__(self, a, b):
        super().__init__(a, b)
        self.text = f"({a.text}) or ({b.text})"

    def holds(self, place):
        return self.a.holds(place) or self.b.holds(place)

    def listed(self):
        return {**self.b.listed(), **self.a.listed()}

    def all(self):
        return {**self.b.all(), **self.a.all()}


def predicate(rng, depth, *sizes):
    if depth == 0 or rng.random() < 0.5:
        return Test(rng, *sizes)
    kind, a = rng.choice([Not, And, Or]), predicate(rng, depth - 1, *sizes)
    return Not(a) if kind is Not else kind(a, predicate(rng, depth - 1, *sizes))


def main(program, model, cases=200, seed=0):
    rng = random.Random(seed)
    tokens = "7,3,9,22,41"
    edits = [[], ["--edit", "blocks.0.hook_mlp_out[pos=2] *= 3"], ["--edit", "blocks.0.attn.hook_z[head=1] = inf"]]
    run = lambda *args: subprocess.run([program, *args], capture_output=True, text=True)
    caches = []
    for edit in edits:
        with tempfile.NamedTemporaryFile(suffix=".npz") as file:
            done = run("run", "--model", model, "--tokens", tokens, "--save-cache", file.name, *edit)
            assert done.returncode == 0, done.stderr
            caches.append(dict(np.load(file.name)))
    layers = 1 + max(block(name) or 0 for name in caches[0])
    heads = caches[0]["blocks.0.attn.hook_pattern"].shape[0]
    compared = places = worst = 0
    while compared < cases:
        which = rng.randrange(len(edits))
        asked = predicate(rng, 2, layers, 5, heads)
        done = run("grep", "--model", model, "--tokens", tokens, "--json", *edits[which], asked.text)
        if done.returncode == 2:
            expected = ("has no axis", "no axis is left", "none of these hooks")
            assert any(words in done.stderr for words in expected), (asked.text, done.stderr)
            continue
        try:
            for test in asked.tests():
                test.read(caches[which], caches[0])
        except Borderline:
            continue
        found = {}
        for match in json.loads(done.stdout)["matches"]:
            value = match["value"] if match["value"] is not None else float(match["nonfinite"])
            found[match["hook"], tuple((a, match["index"][a]) for a in AXES[short(match["hook"])] if a in match["index"])] = value
        expected = asked.listed()
        assert set(found) == set(expected), (asked.text, edits[which], set(found) ^ set(expected))
        assert done.returncode == (0 if expected else 1), (asked.text, done.returncode)
        for place, value in expected.items():
            other = found[place]
            if not np.isfinite(value):
                assert str(other) == str(value), (asked.text, place, value, other)
                continue
            off = abs(other - value) / max(abs(value), 1e-12)
            worst = max(worst, off)
            assert off < 1e-9, (asked.text, place, value, other)
        compared, places = compared + 1, places + len(expected)
    print(f"{compared} predicates, {places} places, largest relative error {worst:.1e}")


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
