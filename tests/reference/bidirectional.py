"""Reference numbers of a bidirectional network, from PyTorch in float64, stored as float32 in bidirectional.safetensors.

    pip install torch numpy safetensors               (the fixture in the repository: torch 2.15.0, seed 9)
    python tests/reference/bidirectional.py           writes the fixture
    python tests/reference/bidirectional.py --check   recomputes the outputs from the stored inputs; writes nothing

The network is two torch.nn.GRU of L layers, which share an embedding and know nothing of each other. (One of
`bidirectional=True` would join the directions in every layer: from the second on, a position would see itself.)

    inputs    embedding.weight, rnn.*, rnn.*_reverse, readout.*, forward_readout.*, backward_readout.*
                                                    parameters, named as in a checkpoint
              ids, targets [T, B] u32               the forward GRU reads ids from the first state state0 [L, 1, B, H]
              following [T, B], margin [M, B] u32   the backward GRU reads the margin from the last to the first, from a zero
                                                    state and without gradient, and then following, also from the last on
              scored [T, B] u8                      targets where it is 0 count only in the loss of the forward half
    outputs   logits [T, B, V]                      of the two hidden vectors side by side
              loss, loss.halves []                  mean cross-entropy of those; sum of the losses of the two halves
              state [L, 1, B, H]                    of the forward GRU, final
              grad.<parameter>                      gradients of `loss`
              grad.halves.<parameter>               gradients of `loss.halves`, but of the joint readout, which it lacks
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

V, E, H, L, T, M, B = 5, 3, 4, 2, 4, 3, 2
SEED = 9
PATH = Path(__file__).with_name("bidirectional.safetensors")
JOINT = ("readout.weight", "readout.bias")


def make_inputs():
    """Parameters, ids and states by name. Floats are exact in float32, so storing them loses nothing."""
    generator = torch.Generator().manual_seed(SEED)

    def normal(*shape):
        return 0.6 * torch.randn(shape, generator=generator)

    def draw_ids(steps):
        return torch.randint(0, V, (steps, B), generator=generator).to(torch.uint32)

    inputs = {"embedding.weight": normal(V, E)}
    for suffix in ("", "_reverse"):
        for k in range(L):
            inputs[f"rnn.weight_ih_l{k}{suffix}"] = normal(3 * H, E if k == 0 else H)
            inputs[f"rnn.weight_hh_l{k}{suffix}"] = normal(3 * H, H)
            inputs[f"rnn.bias_ih_l{k}{suffix}"] = normal(3 * H)
            inputs[f"rnn.bias_hh_l{k}{suffix}"] = normal(3 * H)
    for name, width in [("readout", 2 * H), ("forward_readout", H), ("backward_readout", H)]:
        inputs[f"{name}.weight"], inputs[f"{name}.bias"] = normal(V, width), normal(V)
    for name, steps in [("ids", T), ("targets", T), ("following", T), ("margin", M)]:
        inputs[name] = draw_ids(steps)
    scored = torch.ones(T, B, dtype=torch.uint8)
    scored[1, 0] = scored[3, 1] = 0
    inputs["scored"], inputs["state0"] = scored, normal(L, 1, B, H)
    return inputs


def stack(p, suffix, ids, first):
    """One direction's nn.GRU over ids [T, B], in the order in which they are given: hidden sequence, final state."""
    gru = torch.nn.GRU(E, H, L, dtype=torch.float64)
    own = {
        name.removeprefix("rnn.").removesuffix(suffix): value
        for name, value in p.items()
        if name.startswith("rnn.") and name.endswith("_reverse") == bool(suffix)
    }
    return torch.func.functional_call(gru, own, (p["embedding.weight"][ids], first), strict=True)


def network(p, inputs):
    """Every output but the gradients."""
    ids, targets, following, margin = (inputs[n].long() for n in ("ids", "targets", "following", "margin"))
    left, state = stack(p, "", ids, inputs["state0"].double().squeeze(1))
    with torch.no_grad():
        _, entering = stack(p, "_reverse", margin.flip(0), torch.zeros(L, B, H, dtype=torch.float64))
    right, _ = stack(p, "_reverse", following.flip(0), entering)
    right = right.flip(0)

    def readout(name, hidden):
        return F.linear(hidden, p[f"{name}.weight"], p[f"{name}.bias"])

    def loss(logits, counts):
        nats = F.cross_entropy(logits.reshape(T * B, V), targets.reshape(T * B), reduction="none")
        return nats[counts.reshape(T * B)].mean()

    scored, all_of_them = inputs["scored"].bool(), torch.ones(T, B, dtype=torch.bool)
    logits = readout("readout", torch.cat([left, right], 2))
    halves = loss(readout("forward_readout", left), all_of_them) + loss(readout("backward_readout", right), scored)
    return {"logits": logits, "state": state.unsqueeze(1), "loss": loss(logits, scored), "loss.halves": halves}


def all_outputs(inputs):
    """Every output by name, float32."""
    names = [name for name in inputs if name.endswith((".weight", ".bias")) or name.startswith("rnn.")]
    leaves = [inputs[name].double().requires_grad_() for name in names]
    found = network(dict(zip(names, leaves)), inputs)
    outputs = {name: value.detach() for name, value in found.items()}
    for loss, prefix in [("loss", "grad."), ("loss.halves", "grad.halves.")]:
        gradients = torch.autograd.grad(found[loss], leaves, retain_graph=True, allow_unused=True)
        for name, gradient in zip(names, gradients):
            if gradient is not None:
                outputs[prefix + name] = gradient
    assert not any(f"grad.halves.{name}" in outputs for name in JOINT)
    return {name: value.float().contiguous() for name, value in outputs.items()}


def main():
    parser = argparse.ArgumentParser(description="PyTorch's numbers for a bidirectional network")
    parser.add_argument("--check", action="store_true", help="compare with the stored fixture; write nothing")
    if parser.parse_args().check:
        stored = load_file(PATH)
        inputs = {name: stored[name] for name in make_inputs()}
        outputs = all_outputs(inputs)
        assert stored.keys() == inputs.keys() | outputs.keys(), f"{PATH.name} has other tensors"
        for name, value in outputs.items():
            torch.testing.assert_close(stored[name], value, rtol=1e-6, atol=1e-7, msg=f"{PATH.name}: {name}")
        with safe_open(PATH, "pt") as file:
            print(f"{PATH.name}: {len(outputs)} outputs agree with torch {torch.__version__}; {file.metadata()}")
    else:
        inputs = make_inputs()
        tensors = inputs | all_outputs(inputs)
        metadata = {"generator": f"tests/reference/bidirectional.py, torch {torch.__version__}, seed {SEED}"}
        save_file(tensors, PATH, metadata)
        print(f"{PATH.name}: {len(tensors)} tensors, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
