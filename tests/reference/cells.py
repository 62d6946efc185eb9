"""Reference numbers of every cell, from PyTorch in float64, stored as float32 beside this script, one file a cell.

    pip install torch numpy safetensors        (the fixtures in the repository: torch 2.15.0, seed 7)
    python tests/reference/cells.py            writes the fixtures
    python tests/reference/cells.py --check    recomputes the outputs from the stored inputs and compares; writes nothing

Each file is a whole network (embedding, L layers, readout) with biases and a first state that are not zero.
S is the number of vectors in a layer's state: 2 for the LSTM (h, then c), 1 elsewhere.

    inputs    embedding.weight, rnn.*, readout.*   parameters, named as in a checkpoint
              norm.*                               those that only a residual network has
              ids, targets [T, B] u32              resets [T, B] u8: where it is 1, the state that enters the step is zero
              state0, seed_state [L, S, B, H]
    outputs   hidden [T, B, H] (that the readout reads), logits [T, B, V], state [L, S, B, H] (final),
              loss [] (mean cross-entropy, nats), and grad.<parameter>, grad.state0:
              gradients of loss + sum(state * seed_state), so that the final state's gradient counts
              resets.<output>: the same with the resets applied, in every layer
              residual.<output>: the same of a residual network, with the resets applied: what a layer gives is its hidden
              sequence through LayerNorm(H, bias=False), plus what it read, but for the lowest

gru-reset-after, lstm and rnn are torch.nn.GRU, LSTM and RNN; `gru` (reset gate before the product) and `mingru` are not
in PyTorch and are written out. The written-out cells must agree with torch.nn to 1e-12, and every gradient with finite differences.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

V, E, H, L, T, B = 7, 5, 6, 2, 5, 3
SEED = 7
# Without bias_hh, and without weight_hh.
NO_BIAS_HH, NO_WEIGHT_HH = {"gru", "mingru"}, {"mingru"}
GATES = {"gru": 3, "gru-reset-after": 3, "lstm": 4, "rnn": 1, "mingru": 2}
LIBRARY = {"gru-reset-after": torch.nn.GRU, "lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}


def make_inputs(cell):
    """Parameters, ids, states and resets by name. Floats are exact in float32, so storing them loses nothing."""
    generator = torch.Generator().manual_seed(SEED)

    def normal(*shape):
        return 0.6 * torch.randn(shape, generator=generator)

    def draw_ids():
        return torch.randint(0, V, (T, B), generator=generator).to(torch.uint32)

    rows, states = GATES[cell] * H, 2 if cell == "lstm" else 1
    inputs = {"embedding.weight": normal(V, E)}
    for k in range(L):
        inputs[f"rnn.weight_ih_l{k}"] = normal(rows, E if k == 0 else H)
        if cell not in NO_WEIGHT_HH:
            inputs[f"rnn.weight_hh_l{k}"] = normal(rows, H)
        inputs[f"rnn.bias_ih_l{k}"] = normal(rows)
        if cell not in NO_BIAS_HH:
            inputs[f"rnn.bias_hh_l{k}"] = normal(rows)
    inputs["readout.weight"], inputs["readout.bias"] = normal(V, H), normal(V)
    inputs["ids"], inputs["targets"] = draw_ids(), draw_ids()
    inputs["state0"], inputs["seed_state"] = normal(L, states, B, H), normal(L, states, B, H)
    # The first step, the last step, two rows at once, one row twice running.
    resets = torch.zeros(T, B, dtype=torch.uint8)
    for t, b in [(0, 1), (2, 0), (2, 2), (3, 2), (4, 1)]:
        resets[t, b] = 1
    inputs["resets"] = resets
    for k in range(L):
        inputs[f"norm.{k}.weight"] = 1 + normal(H)
    return inputs


def step(cell, x, state, weight_ih, bias_ih, weight_hh=None, bias_hh=None):
    """One time step of one layer, from the equations: x [B, E or H], state [S, B, H] to the next state."""
    h = state[0]
    from_x = x @ weight_ih.T + bias_ih
    if cell == "gru":
        (x_r, x_z, x_n), (w_r, w_z, w_n) = from_x.chunk(3, 1), weight_hh.chunk(3)
        r = torch.sigmoid(x_r + h @ w_r.T)
        z = torch.sigmoid(x_z + h @ w_z.T)
        n = torch.tanh(x_n + (r * h) @ w_n.T)
        return torch.stack([(1 - z) * h + z * n])
    if cell == "mingru":
        x_z, a = from_x.chunk(2, 1)
        z, n = torch.sigmoid(x_z), torch.where(a >= 0, a + 0.5, torch.sigmoid(a))
        return torch.stack([(1 - z) * h + z * n])
    from_h = h @ weight_hh.T + bias_hh
    if cell == "gru-reset-after":
        (x_r, x_z, x_n), (h_r, h_z, h_n) = from_x.chunk(3, 1), from_h.chunk(3, 1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * h_n)
        return torch.stack([(1 - z) * n + z * h])
    if cell == "lstm":
        i, f, g, o = (from_x + from_h).chunk(4, 1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return torch.stack([torch.sigmoid(o) * torch.tanh(c), c])
    return torch.stack([torch.tanh(from_x + from_h)])


def written_out(cell, parameters, x, state0, resets):
    """All layers over all steps: embedded x [T, B, E] to the hidden sequence and the final state."""
    finals = []
    for k in range(L):
        kinds = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
        weights = {kind: parameters[name] for kind in kinds if (name := f"rnn.{kind}_l{k}") in parameters}
        state, hidden = state0[k], []
        for t in range(T):
            kept = (1 - resets[t]).unsqueeze(1)
            state = step(cell, x[t], state * kept, **weights)
            hidden.append(state[0])
        hidden = torch.stack(hidden)
        gain = parameters.get(f"norm.{k}.weight")
        if gain is not None:
            hidden = F.layer_norm(hidden, (H,), gain) + (x if k > 0 else 0)
        x = hidden
        finals.append(state)
    return x, torch.stack(finals)


def in_library(cell, parameters, x, state0, _resets):
    """The same in torch.nn, which knows no resets."""
    rnn = LIBRARY[cell](E, H, L, dtype=torch.float64)
    weights = {name.removeprefix("rnn."): p for name, p in parameters.items() if name.startswith("rnn.")}
    first = tuple(state0.unbind(1)) if cell == "lstm" else state0[:, 0]
    hidden, final = torch.func.functional_call(rnn, weights, (x, first), strict=True)
    return hidden, torch.stack(final if cell == "lstm" else (final,), 1)


def make_outputs(cell, recurrence, inputs, resets, residual=False):
    """Forward and gradients of the whole network in float64, with `recurrence` for its layers."""
    rooms = ("embedding.", "rnn.", "readout.") + (("norm.",) if residual else ())
    names = [name for name in inputs if name.startswith(rooms)] + ["state0"]
    leaves = [inputs[name].double().requires_grad_() for name in names]
    ids, targets = inputs["ids"].long(), inputs["targets"].long()
    seed_state = inputs["seed_state"].double()

    def network(*leaves):
        p = dict(zip(names, leaves))
        hidden, state = recurrence(cell, p, p["embedding.weight"][ids], p["state0"], resets.double())
        logits = F.linear(hidden, p["readout.weight"], p["readout.bias"])
        loss = F.cross_entropy(logits.reshape(T * B, V), targets.reshape(T * B))
        return {"hidden": hidden, "logits": logits, "state": state, "loss": loss}

    def objective(*leaves):
        outputs = network(*leaves)
        return outputs["loss"] + (outputs["state"] * seed_state).sum()

    torch.autograd.gradcheck(objective, leaves, eps=1e-6, atol=1e-8, rtol=1e-6)
    gradients = torch.autograd.grad(objective(*leaves), leaves)
    outputs = {name: value.detach() for name, value in network(*leaves).items()}
    return outputs | {f"grad.{name}": gradient for name, gradient in zip(names, gradients)}


def all_outputs(cell, inputs):
    """Every output by name, float32."""
    nothing = torch.zeros_like(inputs["resets"])
    outputs = make_outputs(cell, written_out, inputs, nothing)
    if cell in LIBRARY:
        library = make_outputs(cell, in_library, inputs, nothing)
        for name, value in library.items():
            torch.testing.assert_close(outputs[name], value, rtol=1e-12, atol=1e-12, msg=f"{cell}: {name}")
        outputs = library
    with_resets = make_outputs(cell, written_out, inputs, inputs["resets"])
    outputs |= {f"resets.{name}": value for name, value in with_resets.items()}
    residual = make_outputs(cell, written_out, inputs, inputs["resets"], residual=True)
    outputs |= {f"residual.{name}": value for name, value in residual.items()}
    return {name: value.float().contiguous() for name, value in outputs.items()}


def main():
    parser = argparse.ArgumentParser(description="PyTorch's numbers for every cell")
    parser.add_argument("--cell", choices=GATES, action="append", help="only this cell [default: every cell]")
    parser.add_argument("--check", action="store_true", help="compare with the stored fixtures; write nothing")
    args = parser.parse_args()
    check = args.check
    for cell in args.cell or GATES:
        path = Path(__file__).with_name(cell.replace("-", "_") + ".safetensors")
        if check:
            stored = load_file(path)
            inputs = {name: stored[name] for name in make_inputs(cell)}
            outputs = all_outputs(cell, inputs)
            assert stored.keys() == inputs.keys() | outputs.keys(), f"{path.name} has other tensors"
            for name, value in outputs.items():
                torch.testing.assert_close(stored[name], value, rtol=1e-6, atol=1e-7, msg=f"{path.name}: {name}")
            with safe_open(path, "pt") as file:
                print(f"{path.name}: {len(outputs)} outputs agree with torch {torch.__version__}; {file.metadata()}")
        else:
            inputs = make_inputs(cell)
            tensors = inputs | all_outputs(cell, inputs)
            metadata = {"generator": f"tests/reference/cells.py, torch {torch.__version__}, cell {cell}, seed {SEED}"}
            save_file(tensors, path, metadata)
            print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
