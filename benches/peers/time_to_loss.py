"""How long PyTorch trains the network of a run of chargru until its validation loss is as low.

    pip install -r benches/peers/requirements.txt
    chargru train tinyshakespeare.txt
    python benches/peers/time_to_loss.py tinyshakespeare.txt checkpoints/tinyshakespeare --loss 1.5

The settings are those of the run: sizes, residual connections, dropout, weight drop, AdamW, the cosine, the average of
the weights. The GRU is nn.GRU's, which applies the reset gate after the product. Prints each evaluation, then the time
of either, evaluations included. float32, two threads.
"""

import argparse
import json
import math
import pathlib
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

STREAMS = 64  # the validation text is read in so many stretches side by side, as chargru does


class CharRnn(nn.Module):
    def __init__(self, vocab, embedding, hidden, layers, dropout, weight_drop):
        super().__init__()
        self.hidden, self.dropout, self.weight_drop = hidden, dropout, weight_drop
        self.embedding = nn.Embedding(vocab, embedding)
        nn.init.uniform_(self.embedding.weight, -math.sqrt(3 / embedding), math.sqrt(3 / embedding))
        widths = [embedding] + [hidden] * (layers - 1)
        self.layers = nn.ModuleList(nn.GRU(width, hidden, batch_first=True) for width in widths)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, bias=False) for _ in range(layers))
        self.readout = nn.Linear(hidden, vocab)

    def zero_state(self, batch):
        return [torch.zeros(1, batch, self.hidden) for _ in self.layers]

    def forward(self, ids, state):
        x, last = self.embedding(ids), []
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms)):
            # Other elements of the recurrent matrix are zeroed in every window (Merity et al. 2018).
            recurrent = F.dropout(layer.weight_hh_l0, self.weight_drop, self.training)
            weights = [layer.weight_ih_l0, recurrent, layer.bias_ih_l0, layer.bias_hh_l0]
            y, h = torch._VF.gru(x, state[index], weights, True, 1, 0.0, self.training, False, True)
            last.append(h.detach())
            x = norm(y) + x if index > 0 else norm(y)
            if self.training:
                # One mask for the whole window (Gal and Ghahramani 2016).
                x = x * (torch.rand(x.shape[0], 1, self.hidden) >= self.dropout) / (1 - self.dropout)
        return self.readout(x), last


def evaluate(model, ids, window):
    model.eval()
    length = (len(ids) - 1) // STREAMS
    inputs = ids[: length * STREAMS].view(STREAMS, length)
    targets = ids[1 : length * STREAMS + 1].view(STREAMS, length)
    state, total = model.zero_state(STREAMS), 0.0
    with torch.no_grad():
        for at in range(0, length, window):
            logits, state = model(inputs[:, at : at + window], state)
            total += F.cross_entropy(
                logits.flatten(0, 1), targets[:, at : at + window].flatten(), reduction="sum"
            ).item()
    return total / (length * STREAMS)


def rate(training, step):
    """The learning rate: a rise over 100 steps, then a cosine to a hundredth."""
    warmup = 100
    if step < warmup:
        return training["lr"] * (step + 1) / warmup
    done = (step - warmup) / (training["steps"] - warmup)
    return training["lr"] * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def main():
    parser = argparse.ArgumentParser(description="time that PyTorch takes to a validation loss")
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("run", type=pathlib.Path, help="a run of chargru on this text")
    parser.add_argument("--loss", type=float, default=1.5, help="nats per character")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    config = json.loads((args.run / "last" / "config.json").read_text())
    sizes, training, corpus = config["model"], config["training"], config["corpus"]
    needed = {
        "cell": (sizes["cell"], "gru"),
        "residual": (sizes["residual"], True),
        "documents": (corpus["documents"], "off"),
        "schedule": (training["schedule"], "cosine"),
        "steps": (training["steps"] is not None, True),
    }
    for name, (has, wanted) in needed.items():
        if has != wanted:
            sys.exit(f"the run's {name} is not what this program trains: take a run of the default settings")

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    begun = time.perf_counter()
    text = args.text.read_text(encoding="utf-8")
    ids_of = {character: id_ for id_, character in enumerate(sorted(set(text)))}
    ids = torch.tensor([ids_of[character] for character in text])
    cut = len(ids) - int(len(ids) * corpus["val_fraction"])
    train, validation = ids[:cut], ids[cut:]

    names = ("embedding", "hidden", "layers", "dropout")
    new = lambda: CharRnn(len(ids_of), *(sizes[name] for name in names), training["weight_drop"])
    model, average = new(), new()
    average.load_state_dict(model.state_dict())
    matrices = [p for name, p in model.named_parameters() if p.dim() > 1 and not name.startswith("embedding")]
    others = [p for p in model.parameters() if all(p is not matrix for matrix in matrices)]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": training["weight_decay"]}, {"params": others, "weight_decay": 0.0}],
        training["lr"],
        betas=(0.9, 0.99),
        fused=True,
    )
    parameters = sum(p.numel() for p in model.parameters())
    print(f"pytorch {torch.__version__}, {parameters} parameters, {args.threads} threads")

    batch, window = training["batch"], training["seq_len"]
    length = (len(train) - 1) // batch
    inputs = train[: length * batch].view(batch, length)
    targets = train[1 : length * batch + 1].view(batch, length)
    step, loss = 0, math.inf
    while loss > args.loss and step < training["steps"]:
        state = model.zero_state(batch)
        model.train()
        for at in range(0, length - window + 1, window):
            for group in optimizer.param_groups:
                group["lr"] = rate(training, step)
            logits, state = model(inputs[:, at : at + window], state)
            F.cross_entropy(logits.flatten(0, 1), targets[:, at : at + window].flatten()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), training["clip"])
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            share = 1 - min(training["average"], step / (step + 9))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), share)
        loss = evaluate(average, validation, window)
        print(f"step {step}: {loss:.4f} after {time.perf_counter() - begun:.1f} s", flush=True)

    lines = [json.loads(line) for line in (args.run / "metrics.jsonl").read_text().splitlines()]
    ours = next((line for line in lines if (line["val_loss"] or math.inf) <= args.loss), None)
    if ours is None:
        sys.exit(f"the run did not come to {args.loss}: raise --loss")
    print(f"chargru: {ours['val_loss']:.4f} after {ours['elapsed_seconds']:.1f} s, step {ours['step']}")


if __name__ == "__main__":
    main()
