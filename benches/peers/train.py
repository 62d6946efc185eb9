"""Training throughput of PyTorch's nn.GRU or nn.LSTM on this machine's CPU.

    pip install -r benches/peers/requirements.txt
    python benches/peers/train.py [--cell gru|lstm] [--hidden 512] [--layers 2] [--batch 64] [--seq-len 128] [--bf16]

Prints one line: the median time of a whole training step (embedding, recurrent layers, readout, cross-entropy,
backward, clipping at norm 1, AdamW), the first three steps left out, and characters per second.
"""

import argparse
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

VOCAB = 65
WARMUP_STEPS = 3


class CharRnn(nn.Module):
    def __init__(self, cell, hidden, layers):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, hidden)
        self.rnn = getattr(nn, cell.upper())(hidden, hidden, layers, batch_first=True)
        self.readout = nn.Linear(hidden, VOCAB)

    def forward(self, ids):
        hidden, _ = self.rnn(self.embedding(ids))
        return self.readout(hidden)


def main():
    parser = argparse.ArgumentParser(description="training speed of PyTorch")
    parser.add_argument("--cell", choices=["gru", "lstm"], default="gru")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seq-len", type=int, default=128)
    parser.add_argument("--steps", type=int, default=12, help="the first three are not counted")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    args = parser.parse_args()
    if args.steps <= WARMUP_STEPS:
        parser.error(f"--steps is {args.steps}: give more than the {WARMUP_STEPS} that are not counted")

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = CharRnn(args.cell, args.hidden, args.layers)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, fused=True)
    seconds = []
    for _ in range(args.steps):
        ids = torch.randint(0, VOCAB, (args.batch, args.seq_len))
        targets = torch.randint(0, VOCAB, (args.batch, args.seq_len))
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = F.cross_entropy(model(ids).reshape(-1, VOCAB).float(), targets.reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    counted = sorted(seconds[WARMUP_STEPS:])
    median = counted[len(counted) // 2]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"pytorch {torch.__version__} {args.cell} H={args.hidden} L={args.layers} B={args.batch} T={args.seq_len} "
        f"{'bf16' if args.bf16 else 'float32'} parameters={parameters} threads={args.threads} "
        f"{median * 1e3:.1f} ms/step {args.batch * args.seq_len / median:.0f} char/s"
    )


if __name__ == "__main__":
    main()
