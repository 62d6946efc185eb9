"""Opens a chargru checkpoint with tokenizers, safetensors and torch, and compares its logits with chargru's.

    pip install torch numpy safetensors tokenizers
    chargru score --checkpoint DIR --logits logits.safetensors TEXT
    python tests/reference/load_in_torch.py DIR TEXT logits.safetensors

Reads the first 1,000 characters of TEXT from the zero state. Row t of `logits` [N, V] is what the model predicts
after the character t; N may be larger. Exits with 1 when a logit differs by more than 1e-5 * max(1, |logit|).

Of a bidirectional checkpoint `logits` are what it predicts from both sides: a row for each character of TEXT but the
first and the last. TEXT then has at most 180 characters: of a longer one chargru does not read all that follows a
character.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

CHARACTERS = 1000
# Of a longer text chargru predicts some characters from both sides without reading all that follows.
SHORT = 180
TOLERANCE = 1e-5


class ChoGru(torch.nn.Module):
    """The cell `gru`, which PyTorch lacks: the reset gate acts on h before the matrix product (Cho et al. 2014)."""

    def __init__(self, embedding, hidden, layers):
        super().__init__()
        self.layers = layers
        for k in range(layers):
            width = embedding if k == 0 else hidden
            self.register_parameter(f"weight_ih_l{k}", torch.nn.Parameter(torch.empty(3 * hidden, width)))
            self.register_parameter(f"weight_hh_l{k}", torch.nn.Parameter(torch.empty(3 * hidden, hidden)))
            self.register_parameter(f"bias_ih_l{k}", torch.nn.Parameter(torch.empty(3 * hidden)))

    def forward(self, x):
        """x [T, E] to the last layer's hidden sequence [T, H] and the final states [L, H]."""
        finals = []
        for k in range(self.layers):
            w_ih, w_hh, bias = (getattr(self, f"{name}_l{k}") for name in ("weight_ih", "weight_hh", "bias_ih"))
            size = w_hh.shape[1]
            h, hidden = x.new_zeros(size), []
            for from_x in torch.nn.functional.linear(x, w_ih, bias):
                r, z = torch.sigmoid(from_x[: 2 * size] + w_hh[: 2 * size] @ h).chunk(2)
                n = torch.tanh(from_x[2 * size :] + w_hh[2 * size :] @ (r * h))
                h = (1 - z) * h + z * n
                hidden.append(h)
            x = torch.stack(hidden)
            finals.append(h)
        return x, torch.stack(finals)


class MinGru(torch.nn.Module):
    """The cell `mingru` (Feng et al. 2024): gates and candidate of the input alone."""

    def __init__(self, embedding, hidden, layers):
        super().__init__()
        self.layers = layers
        for k in range(layers):
            width = embedding if k == 0 else hidden
            self.register_parameter(f"weight_ih_l{k}", torch.nn.Parameter(torch.empty(2 * hidden, width)))
            self.register_parameter(f"bias_ih_l{k}", torch.nn.Parameter(torch.empty(2 * hidden)))

    def forward(self, x):
        """x [T, E] to the last layer's hidden sequence [T, H] and the final states [L, H]."""
        finals = []
        for k in range(self.layers):
            z, a = torch.nn.functional.linear(
                x, getattr(self, f"weight_ih_l{k}"), getattr(self, f"bias_ih_l{k}")
            ).chunk(2, 1)
            z, n = torch.sigmoid(z), torch.where(a >= 0, a + 0.5, torch.sigmoid(a))
            h, hidden = torch.zeros_like(n[0]), []
            for z_t, n_t in zip(z, n):
                h = (1 - z_t) * h + z_t * n_t
                hidden.append(h)
            x = torch.stack(hidden)
            finals.append(h)
        return x, torch.stack(finals)


RECURRENT = {
    "gru": ChoGru,
    "gru-reset-after": torch.nn.GRU,
    "lstm": torch.nn.LSTM,
    "rnn": torch.nn.RNN,
    "mingru": MinGru,
}


def one_layer(rnn, k):
    """Layer k of a torch.nn.GRU, LSTM or RNN, or of a class above, as a module of its own that shares its tensors."""
    weights = {name: p for name, p in rnn.named_parameters() if name.endswith(f"_l{k}")}
    rows, width = weights[f"weight_ih_l{k}"].shape
    hidden = rows // {"ChoGru": 3, "GRU": 3, "LSTM": 4, "RNN": 1, "MinGru": 2}[type(rnn).__name__]
    layer = type(rnn)(width, hidden, 1)
    for name, p in weights.items():
        setattr(layer, name.replace(f"_l{k}", "_l0"), p)
    return layer


class CharRnn(torch.nn.Module):
    """Embedding, recurrent layers and readout, named as the tensors of model.safetensors are."""

    def __init__(self, config, vocab):
        super().__init__()
        hidden = config["hidden"]
        self.embedding = torch.nn.Embedding(vocab, config["embedding"])
        self.rnn = RECURRENT[config["cell"]](config["embedding"], hidden, config["layers"])
        if config.get("residual", False):
            self.norm = torch.nn.ModuleList(torch.nn.LayerNorm(hidden, bias=False) for _ in range(config["layers"]))
        self.readout = torch.nn.Linear(hidden, vocab)
        if config["tie_weights"]:
            self.readout.weight = self.embedding.weight

    def hidden(self, ids):
        """ids [T] to what the readout reads [T, H], from the zero state."""
        x = self.embedding(ids)
        if not hasattr(self, "norm"):
            return self.rnn(x)[0]
        for k, norm in enumerate(self.norm):
            y = norm(one_layer(self.rnn, k)(x)[0])
            x = y + x if k > 0 else y
        return x

    def forward(self, ids):
        """ids [T] to logits [T, V], from the zero state."""
        return self.readout(self.hidden(ids))


def one_direction(weights, suffix, readout):
    """The tensors of the layers whose names end so, and of this readout, named as those of one direction."""
    found = {"embedding.weight": weights["embedding.weight"]}
    for name, tensor in weights.items():
        if name.startswith("rnn.") and name.endswith("_reverse") == bool(suffix):
            found[name.removesuffix(suffix)] = tensor
        elif name.startswith(f"norm{suffix}."):
            found[name.replace(suffix, "")] = tensor
        elif name.startswith(readout + "."):
            found[name.replace(readout, "readout")] = tensor
    return found


class BothSides(torch.nn.Module):
    """Two networks of one direction, and a readout of both hidden sequences. (Not torch.nn.GRU(bidirectional=True): its
    second layer reads both directions of the first, and so the character that is to be predicted.)"""

    def __init__(self, config, vocab, weights):
        super().__init__()
        self.forwards, self.backwards = CharRnn(config, vocab), CharRnn(config, vocab)
        self.forwards.load_state_dict(one_direction(weights, "", "forward_readout"), strict=True)
        self.backwards.load_state_dict(one_direction(weights, "_reverse", "backward_readout"), strict=True)
        self.readout = torch.nn.Linear(2 * config["hidden"], vocab)
        self.readout.load_state_dict({name: weights[f"readout.{name}"] for name in ("weight", "bias")})

    def forward(self, ids):
        """ids [T] to logits [T - 2, V] of ids[1:-1], each given all others."""
        left, right = self.forwards.hidden(ids[:-2]), self.backwards.hidden(ids[2:].flip(0))
        return self.readout(torch.cat([left, right.flip(0)], 1))


def main():
    parser = argparse.ArgumentParser(description="compare chargru's logits with PyTorch's")
    parser.add_argument("checkpoint", type=Path, help="a folder with config.json, tokenizer.json, model.safetensors")
    parser.add_argument("text", type=Path, help="the text that chargru scored")
    parser.add_argument("logits", type=Path, help="what chargru score --logits wrote")
    args = parser.parse_args()

    config = json.loads((args.checkpoint / "config.json").read_text(encoding="utf-8"))["model"]
    tokenizer = Tokenizer.from_file(str(args.checkpoint / "tokenizer.json"))
    weights = load_file(args.checkpoint / "model.safetensors")
    if config["tie_weights"]:
        weights["readout.weight"] = weights["embedding.weight"]
    vocab = tokenizer.get_vocab_size()
    bidirectional = config.get("bidirectional", False)
    if bidirectional:
        model = BothSides(config, vocab, weights).eval()
        names = ("readout", "forward_readout", "backward_readout")
        readouts = [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]
        layers = [f"rnn.{name}{suffix}" for name in model.forwards.rnn.state_dict() for suffix in ("", "_reverse")]
        norms = range(config["layers"] if config.get("residual", False) else 0)
        norms = [f"norm{suffix}.{k}.weight" for suffix in ("", "_reverse") for k in norms]
        if weights.keys() != {"embedding.weight", *readouts, *layers, *norms}:
            sys.exit(f"the checkpoint has other tensors: {sorted(weights)}")
    else:
        model = CharRnn(config, vocab).eval()
        model.load_state_dict(weights, strict=True)

    # Universal newlines and a dropped byte-order mark, as chargru reads by default.
    text = args.text.read_text(encoding="utf-8-sig")[: CHARACTERS + 1]
    ids = tokenizer.encode(text, add_special_tokens=False).ids[:CHARACTERS]
    if bidirectional:
        count = len(ids) - 2
        if not 3 <= len(ids) <= SHORT:
            sys.exit(f"{args.text} has {len(ids)} characters: give 3 to {SHORT} for a bidirectional checkpoint")
    else:
        count = CHARACTERS
        if len(ids) < CHARACTERS:
            sys.exit(f"{args.text} has {len(ids)} characters but {CHARACTERS} are compared: give a longer text")
    found = load_file(args.logits)["logits"]
    if found.shape[0] < count or found.shape[1:] != (config["vocab"],):
        sys.exit(f"{args.logits} holds logits {list(found.shape)}: at least {[count, config['vocab']]} are compared")

    with torch.inference_mode():
        expected = model(torch.tensor(ids))
        rounding = (model.double()(torch.tensor(ids)) - expected).abs().max().item()
    difference = (found[:count] - expected).abs()
    relative = (difference / expected.abs().clamp(min=1)).max().item()
    within = relative <= TOLERANCE  # False for NaN too
    print(
        f"{'residual ' if config.get('residual', False) else ''}{config['cell']} H={config['hidden']} L={config['layers']}, {count} characters, torch {torch.__version__}: "
        f"largest difference {difference.max().item():.2e}, relative {relative:.2e}, "
        f"{'within' if within else 'BEYOND'} {TOLERANCE:.0e} (PyTorch's own float32 is {rounding:.2e} from its float64)"
    )
    sys.exit(0 if within else 1)


if __name__ == "__main__":
    main()
