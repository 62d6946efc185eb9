"""Character-by-character sampling speed of PyTorch's nn.GRU on this machine's CPU, at batch 1.

    pip install -r benches/peers/requirements.txt
    python benches/peers/sample.py [--hidden 512] [--layers 2] [--threads 1]

Prints one line: the best of five passes of 400 characters
(embedding, recurrent step, readout, softmax at temperature 0.8, a multinomial draw).
"""

import argparse
import time

import torch
import torch.nn as nn

VOCAB = 65
PASSES, CHARACTERS = 5, 400


def main():
    parser = argparse.ArgumentParser(description="sampling speed of PyTorch")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    embedding = nn.Embedding(VOCAB, args.hidden)
    rnn = nn.GRU(args.hidden, args.hidden, args.layers, batch_first=True)
    readout = nn.Linear(args.hidden, VOCAB)
    state, character, best = None, torch.zeros(1, 1, dtype=torch.long), float("inf")
    with torch.inference_mode():
        for _ in range(PASSES):
            start = time.perf_counter()
            for _ in range(CHARACTERS):
                hidden, state = rnn(embedding(character), state)
                probabilities = torch.softmax(readout(hidden)[0, 0] / 0.8, -1)
                character = torch.multinomial(probabilities, 1).view(1, 1)
            best = min(best, (time.perf_counter() - start) / CHARACTERS)
    print(
        f"pytorch {torch.__version__} gru sample H={args.hidden} L={args.layers} threads={args.threads} "
        f"{1 / best:.0f} char/s"
    )


if __name__ == "__main__":
    main()
