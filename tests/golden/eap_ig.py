#!/usr/bin/env python3
"""Compare pythia-tui with EAP-IG itself (https://github.com/hannamw/EAP-IG): scores, circuits, and the graph files of each, read by the other.

    venv/bin/pip install matplotlib         # the venv of generate.py; EAP-IG imports it
    PYTHONPATH=EAP-IG/src venv/bin/python tests/golden/eap_ig.py [--program target/debug/pythia-tui]

Every number of theirs comes out of their package. Two of its habits are turned off: it asks for CUDA, and it puts a BOS token before
texts, where here it gets the token ids of the fixtures. Its exact scores are those of its evaluation with an edge left out, each on a
graph of its own, since evaluating a graph prunes it. Its nodes differ from its edges in two ways. An MLP's score multiplies what it
writes with the gradient at what it reads; so MLPs are compared by the edges that leave them. And integrated gradients leave out the
contrast prompt's end of the way where edges leave out the prompt's; so the one end is taken off and the other added, by EAP of either prompt.
"""
import argparse, json, logging, pathlib, subprocess, tempfile
import numpy as np, torch
from generate import OUT, hooked, prompt, GPTNeoXForCausalLM
import eap.attribute, eap.attribute_node, eap.evaluate
from eap.graph import Graph

TARGET, DISTRACTOR, N, STEPS = 5, 9, 9, 3
SPLIT = dict(use_split_qkv_input=True, use_hook_mlp_in=True, use_attn_result=True)
TOLERANCE = 2e-5        # of the largest score
METHODS = {"eap": "EAP", "eap-ig": "EAP-IG-inputs", "exact": "exact"}


def on_the_cpu_with_ids():
    """Their code on this machine, on prompts that are token ids already."""
    zeros = torch.zeros
    torch.zeros = lambda *size, device=None, **rest: zeros(*size, device="cpu" if device == "cuda" else device, **rest)
    def tokens_of(_model, prompts, max_length=None):
        ids = torch.tensor(prompts)
        return ids, torch.ones_like(ids), torch.full((len(ids),), ids.shape[1]), ids.shape[1]
    for module in (eap.attribute, eap.attribute_node, eap.evaluate):
        module.tokenize_plus = tokens_of


def metric(logits, _clean_logits, _lengths, _label):
    return (logits[:, -1, TARGET] - logits[:, -1, DISTRACTOR]).mean()


def far(ours, theirs):
    """The largest difference, relative to their largest value."""
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    return max(abs(ours[k] - theirs[k]) for k in theirs) / max(map(abs, theirs.values()))


def exact(model, data):
    """How far their evaluation of the graph without an edge differs from that of the model, edge by edge."""
    baseline, scores = float(eap.evaluate.evaluate_baseline(model, data, metric, quiet=True)), {}
    for name in Graph.from_model(model).edges:
        graph = Graph.from_model(model)         # a new graph: evaluating one removes its cut edges for good
        graph.reset(empty=False)
        graph.edges[name].in_graph = False
        scores[name] = float(eap.evaluate.evaluate_graph(model, graph, data, metric, quiet=True)) - baseline
    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/debug/pythia-tui")
    program = parser.parse_args().program
    logging.disable(logging.WARNING)
    on_the_cpu_with_ids()
    here, there = prompt(N), prompt(N, seed=9)
    data = [([here], [there], [0])]
    ids = lambda tokens: ",".join(map(str, tokens))
    worst = {}

    def held(what, off, tolerance=TOLERANCE):
        worst[what] = max(worst.get(what, 0), off)
        assert off <= tolerance, f"{what}: {off:.1e}"

    for checkpoint in ("parallel-25", "sequential-25"):
        hf = GPTNeoXForCausalLM.from_pretrained(OUT / checkpoint).float()
        for processing in (True, False):
            model = hooked(hf, processing, **SPLIT)
            both = ["--model", str(OUT / checkpoint), "--tokens", ids(here), "--contrast-tokens", ids(there), "--target", f"#{TARGET}",
                    "--distractor", f"#{DISTRACTOR}", "--json"] + ([] if processing else ["--no-processing"])
            def run(*args):
                out = subprocess.run([program, *args, *both], capture_output=True, text=True)
                assert out.returncode == 0, out.stderr
                return json.loads(out.stdout)
            with tempfile.TemporaryDirectory() as directory:
                file = lambda name: str(pathlib.Path(directory, name))
                for ours, theirs in METHODS.items():
                    steps = ["--steps", str(STEPS)] if ours == "eap-ig" else []
                    graph = Graph.from_model(model)
                    if ours == "exact":
                        scores = exact(model, data)
                    else:
                        eap.attribute.attribute(model, graph, data, metric, theirs, ig_steps=STEPS, quiet=True)
                        scores = {name: float(edge.score) for name, edge in graph.edges.items()}
                    report = run("attribute", "--by", "edge", "--method", ours, *steps, "--graph", file(f"{ours}.json"), "--top", "40")
                    read = Graph.from_json(file(f"{ours}.json"))        # their program reads our file: every score, and the 40 edges
                    held(f"edges by {ours}", far({name: float(edge.score) for name, edge in read.edges.items()}, scores))
                    name = lambda e: f"{e['from']}->{e['to']}" + (f"<{e['input']}>" if e["input"] else "")
                    assert {n for n, e in read.edges.items() if e.in_graph} == {name(e) for e in report["edges"]} and len(report["edges"]) == 40
                    edges = run("circuit", "--edges", file(f"{ours}.json"))
                    value = float(eap.evaluate.evaluate_graph(model, read, data, metric, quiet=True))
                    held("value of our circuit", abs(edges["circuit_value"] - value), 1e-5)
                    if ours == "exact": continue
                    graph.apply_topn(25, prune=False)                    # our program reads their file
                    graph.to_json(file("theirs.json"))
                    circuit = run("circuit", "--edges", file("theirs.json"))
                    assert set(circuit["edges"]) == {n for n, e in graph.edges.items() if e.in_graph} and len(circuit["edges"]) == 25
                    value = float(eap.evaluate.evaluate_graph(model, graph, data, metric, quiet=True))
                    held("value of their circuit", abs(circuit["circuit_value"] - value), 1e-5)
                    by_node = {n["node"]: n["score"] for n in run("attribute", "--method", ours, *steps)["nodes"]}
                    sums = {n: sum(s for e, s in scores.items() if e.startswith(n + "->")) for n in by_node}
                    held(f"nodes by {ours}, as sums of edges", far(by_node, sums))
                    def of_nodes(method, data):
                        nodes = Graph.from_model(model, node_scores=True)
                        eap.attribute_node.attribute_node(model, nodes, data, metric, method, ig_steps=STEPS, quiet=True)
                        return {n: float(nodes.nodes[n].score) for n in by_node if n[0] != "m"}
                    expected = of_nodes(theirs, data)
                    if ours == "eap-ig":
                        here_end, there_end = of_nodes("EAP", data), of_nodes("EAP", [([there], [here], [0])])
                        expected = {n: s + (-there_end[n] - here_end[n]) / STEPS for n, s in expected.items()}
                    held(f"nodes by {ours}", far({n: by_node[n] for n in expected}, expected))
    for what, off in worst.items():
        print(f"{what}: at most {off:.1e}")
    print("equal")


main()
