#!/usr/bin/env python3
"""Write the goldens of the tuned and the Jacobian lens, with tuned-lens 0.2.0 and TransformerLens 4.3.0.

    python3 -m venv venv4 && venv4/bin/pip install transformer-lens==4.3.0 && venv4/bin/pip install --no-deps tuned-lens==0.2.0
    venv4/bin/python tests/golden/lenses.py

Into tests/fixtures: lens/ (the lenses, with random maps) and golden-lenses.safetensors: the logits of each layer, by checkpoint.
"""
import json, logging, pathlib
import numpy as np, torch
from safetensors.torch import save_file
from transformers import GPTNeoXForCausalLM
from tuned_lens import model_surgery
model_surgery._transformer_lens_available = False   # it asks for a class that 4.0 removed
from tuned_lens.nn.lenses import TunedLens
from tuned_lens.nn.unembed import Unembed
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis import JacobianLens

OUT = pathlib.Path(__file__).parent.parent / "fixtures"
CHECKPOINTS = ["parallel-25", "sequential-100"]
IDS = np.random.default_rng(11).integers(0, 96, 9).tolist()


def random_lenses(model):
    """A tuned lens and a Jacobian lens whose maps are far from the identity."""
    g = torch.Generator().manual_seed(5)
    d, n = model.config.hidden_size, model.config.num_hidden_layers
    tuned = TunedLens.from_model(model)
    for translator in tuned.layer_translators:
        translator.weight.data = torch.randn((d, d), generator=g) * 0.2
        translator.bias.data = torch.randn(d, generator=g) * 0.5
    tuned.config.base_model_name_or_path = "parallel-25"
    tuned.save(OUT / "lens" / "tuned")
    jacobian = JacobianLens({layer: torch.randn((d, d), generator=g) * 0.3 for layer in range(n - 1)}, n_prompts=3, d_model=d)
    jacobian.save(str(OUT / "lens" / "jacobian.pt"))


def main():
    logging.disable(logging.WARNING)
    torch.set_grad_enabled(False)
    tensors = {}
    for name in CHECKPOINTS:
        model = GPTNeoXForCausalLM.from_pretrained(OUT / name, dtype=torch.float32).eval()
        if name == CHECKPOINTS[0]: random_lenses(model)
        tuned = TunedLens.from_unembed_and_pretrained(Unembed(model), str(OUT / "lens" / "tuned"))
        states = model(torch.tensor([IDS]), output_hidden_states=True).hidden_states
        for layer in range(model.config.num_hidden_layers):
            tensors[f"{name}/tuned/{layer}"] = tuned.forward(states[layer], layer)[0].contiguous()
        bridge = TransformerBridge.boot_transformers(str(OUT / name), hf_model=model, device="cpu", load_weights=True)
        jacobian = JacobianLens.load(str(OUT / "lens" / "jacobian.pt"))
        read = jacobian.readout(bridge, torch.tensor([IDS]), return_full_logits=True, top_k=3)
        for layer, logits in read.lens_logits.items():
            tensors[f"{name}/jacobian/{layer}"] = logits.contiguous()
    save_file(tensors, OUT / "golden-lenses.safetensors", metadata={"prompt": json.dumps(IDS)})
    print({name: tuple(t.shape) for name, t in tensors.items()})


if __name__ == "__main__":
    main()
