"""100 steps of torch.optim.AdamW in float64 on two tensors, stored as float32 in adamw.safetensors beside this script.

    pip install torch numpy safetensors        (the fixture in the repository: torch 2.15.0, seed 7)
    python tests/reference/adamw.py            writes the fixture
    python tests/reference/adamw.py --check    recomputes from the stored inputs and compares; writes nothing

`weight` decays, `bias` does not; the hyperparameters are in the file's metadata.

    inputs    lr [100]                             learning rate of each step: warmup, then cosine
              grad.weight [100, 4, 3], grad.bias [100, 4]      the gradients of each step
              step0.weight [4, 3], step0.bias [4]  first values
    outputs   step1.*, step10.*, step100.*         values after so many steps
              exp_avg.*, exp_avg_sq.*              moments after the last

The gradients range over seven orders of magnitude, so that eps counts; that of bias[0] is zero at every step.
"""

import argparse
import json
import math
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

SEED, STEPS, WARMUP, PEAK = 7, 100, 10, 0.01
BETAS, EPS, WEIGHT_DECAY = (0.9, 0.99), 1e-8, {"weight": 0.1, "bias": 0.0}
SHAPES = {"weight": (4, 3), "bias": (4,)}
KEPT = (1, 10, 100)


def make_inputs():
    """Exact in float32, so storing them loses nothing."""
    generator = torch.Generator().manual_seed(SEED)

    def learning_rate(step):
        if step < WARMUP:
            return PEAK * (step + 1) / WARMUP
        return PEAK * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))

    inputs = {"lr": torch.tensor([learning_rate(step) for step in range(STEPS)])}
    for name, shape in SHAPES.items():
        inputs[f"step0.{name}"] = torch.randn(shape, generator=generator)
        # One magnitude an element, 1e-7 to 1, for all steps.
        magnitude = 10 ** (-7 * torch.rand(shape, generator=generator))
        inputs[f"grad.{name}"] = magnitude * torch.randn(STEPS, *shape, generator=generator)
    inputs["grad.bias"][:, 0] = 0
    return inputs


def make_outputs(inputs):
    values = {name: inputs[f"step0.{name}"].double().requires_grad_() for name in SHAPES}
    groups = [{"params": [values[name]], "weight_decay": WEIGHT_DECAY[name]} for name in SHAPES]
    optimizer = torch.optim.AdamW(groups, betas=BETAS, eps=EPS)
    outputs = {}
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = inputs["lr"][step].item()
        for name, value in values.items():
            value.grad = inputs[f"grad.{name}"][step].double()
        optimizer.step()
        if step + 1 in KEPT:
            outputs |= {f"step{step + 1}.{name}": value.detach().clone() for name, value in values.items()}
    for moment in ("exp_avg", "exp_avg_sq"):
        outputs |= {f"{moment}.{name}": optimizer.state[value][moment] for name, value in values.items()}
    return outputs


def by_hand(inputs, name, index):
    """One element from the equations of Loshchilov & Hutter (2019), in Python's floats."""
    value, first, second = inputs[f"step0.{name}"][index].item(), 0.0, 0.0
    for step, lr in enumerate(inputs["lr"].tolist(), 1):
        grad = inputs[f"grad.{name}"][(step - 1, *index)].item()
        first = BETAS[0] * first + (1 - BETAS[0]) * grad
        second = BETAS[1] * second + (1 - BETAS[1]) * grad**2
        corrected = first / (1 - BETAS[0] ** step), second / (1 - BETAS[1] ** step)
        value -= lr * WEIGHT_DECAY[name] * value
        value -= lr * corrected[0] / (math.sqrt(corrected[1]) + EPS)
    return value


def main():
    parser = argparse.ArgumentParser(description="PyTorch's numbers for AdamW")
    parser.add_argument("--check", action="store_true", help="compare with the stored fixture; write nothing")
    check = parser.parse_args().check
    path = Path(__file__).with_name("adamw.safetensors")
    stored = load_file(path) if check else {}
    inputs = {name: stored[name] for name in make_inputs()} if check else make_inputs()
    outputs = make_outputs(inputs)
    for name, shape in SHAPES.items():
        for index in torch.cartesian_prod(*map(torch.arange, shape)).reshape(-1, len(shape)).tolist():
            expected, found = by_hand(inputs, name, tuple(index)), outputs[f"step{STEPS}.{name}"][tuple(index)].item()
            assert math.isclose(expected, found, rel_tol=1e-12), f"{name}{index}: {expected} and {found}"
    outputs = {name: value.float().contiguous() for name, value in outputs.items()}
    if check:
        assert stored.keys() == inputs.keys() | outputs.keys(), f"{path.name} has other tensors"
        for name, value in outputs.items():
            torch.testing.assert_close(stored[name], value, rtol=1e-6, atol=0, msg=name)
        with safe_open(path, "pt") as file:
            print(f"{path.name}: {len(outputs)} outputs agree with torch {torch.__version__}; {file.metadata()}")
    else:
        settings = f"beta1 {BETAS[0]}, beta2 {BETAS[1]}, eps {EPS}, weight_decay {json.dumps(WEIGHT_DECAY)}"
        # One entry: several would be written in an order that changes from run to run.
        metadata = {"generator": f"tests/reference/adamw.py, torch {torch.__version__}, seed {SEED}; {settings}"}
        save_file(inputs | outputs, path, metadata)
        print(f"{path.name}: {len(inputs | outputs)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
