"""Runs chargru, PyTorch and candle_nn on the same work in turn (A B C A B C ...) and prints the ratios of their medians.

    pip install -r benches/peers/requirements.txt
    cargo build --release --example peer
    python benches/peers/compare.py [--rounds 5] [--only sample] [--chargru target/release/examples/peer]

Prints a markdown table; its last columns are the targets and whether they are met. The machine should have nothing else
to do: a second busy program slows the programs by different factors, so what share of the processors others used is
printed too (Linux). Exits with 1 when a target is missed, 2 when the programs cannot be found.
"""

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEER = HERE.parents[1] / "target/release/examples/peer"
PROGRAM_TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class Program:
    """One program on one piece of work: a column of speeds."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """chargru against the fastest of its peers. A target of None is for information."""

    work: str
    ours: Program
    peers: tuple[Program, ...]
    target: float | None = None


def training(args, cell, hidden, layers, batch, seq_len):
    """chargru, chargru in bf16, PyTorch, PyTorch in bf16 and candle_nn on one shape."""
    shape = ["--cell", cell, "--hidden", hidden, "--layers", layers, "--batch", batch, "--seq-len", seq_len]
    shape = tuple(map(str, [*shape, "--steps", args.steps, "--threads", args.threads]))
    torch = (args.python, str(HERE / "train.py"), *shape)
    return (
        Program("chargru", (args.chargru, "train", *shape)),
        Program("chargru bf16", (args.chargru, "train", *shape, "--precision", "bf16")),
        Program("PyTorch", torch),
        Program("PyTorch bf16", (*torch, "--bf16")),
        Program("candle_nn", (args.chargru, "candle-nn", *shape)),
    )


def sampling(args, hidden, layers):
    """chargru on one thread, PyTorch on one and on two."""
    shape = ("--hidden", str(hidden), "--layers", str(layers), "--threads")
    torch = (args.python, str(HERE / "sample.py"), *shape)
    return (
        Program("chargru", (args.chargru, "sample", *shape, "1")),
        Program("PyTorch, 1 thread", (*torch, "1")),
        Program("PyTorch, 2 threads", (*torch, "2")),
    )


def races(args):
    """Lists of comparisons; the programs of one list run in turn, each once a round however often it is compared."""
    all_races = []

    work = "train gru (512,2,64,128)"
    ours, ours_bf16, torch, torch_bf16, candle = training(args, "gru", 512, 2, 64, 128)
    all_races.append(
        [
            Comparison(work, ours, (torch,), 3.0),
            Comparison(work, ours_bf16, (torch,), 4.0),
            Comparison(work, ours_bf16, (torch_bf16,)),
            Comparison(work, ours, (candle,), 6.0),
        ]
    )
    work = "train gru (128,1,32,64)"
    ours, ours_bf16, torch, _, candle = training(args, "gru", 128, 1, 32, 64)
    all_races.append(
        [
            Comparison(work, ours, (torch,), 5.0),
            Comparison(work, ours_bf16, (torch,)),
            Comparison(work, ours, (candle,)),
        ]
    )
    work = "train gru (1024,2,64,64)"
    ours, ours_bf16, torch, _, _ = training(args, "gru", 1024, 2, 64, 64)
    all_races.append([Comparison(work, ours, (torch,), 2.5), Comparison(work, ours_bf16, (torch,))])

    ours, _, torch, _, _ = training(args, "lstm", 512, 2, 64, 128)
    all_races.append([Comparison("train lstm (512,2,64,128)", ours, (torch,), 1.5)])

    for hidden, layers, target in [(512, 2, 2.5), (128, 1, 5.0)]:
        ours, *torch = sampling(args, hidden, layers)
        all_races.append([Comparison(f"sample gru ({hidden},{layers}), batch 1", ours, tuple(torch), target)])
    return all_races


def measure(program):
    """Characters per second of one run, or why there is none."""
    try:
        run = subprocess.run(program.command, capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"took more than {PROGRAM_TIMEOUT_SECONDS} s"
    if run.returncode != 0:
        return (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
    found = re.search(r"([\d.]+(?:e[+-]?\d+)?) char/s", run.stdout)
    return float(found[1]) if found else f"printed no `<number> char/s` but {run.stdout.strip()!r}"


def run_race(comparisons, rounds, failures):
    """Median characters per second by program. What fails is left out, its reason put into `failures`."""
    programs = list(dict.fromkeys(p for c in comparisons for p in (c.ours, *c.peers)))
    speeds = {program: [] for program in programs}
    for number in range(1, rounds + 1):
        for program in programs:
            if program not in speeds:
                continue
            speed = measure(program)
            print(f"{comparisons[0].work}, round {number} of {rounds}, {program.name}: {speed}", file=sys.stderr)
            if isinstance(speed, float):
                speeds[program].append(speed)
            else:
                del speeds[program]
                failures[f"{comparisons[0].work}, {program.name}"] = speed
    return {program: statistics.median(found) for program, found in speeds.items()}


def row(comparison, speeds):
    """A line of the table, and False when the target is missed."""
    ours = speeds.get(comparison.ours)
    peers = [(speeds[peer], peer.name) for peer in comparison.peers if peer in speeds]
    target = "" if comparison.target is None else f"{comparison.target:g}"
    # A missing peer might have been the fastest.
    if ours is None or len(peers) < len(comparison.peers):
        return f"| {comparison.work} | {comparison.ours.name} | | | | | {target} | not measured |", True
    speed, name = max(peers)
    ratio = ours / speed
    met = comparison.target is None or ratio >= comparison.target
    verdict = "" if comparison.target is None else "yes" if met else "**no**"
    cells = [comparison.work, comparison.ours.name, f"{ours:,.0f}", name, f"{speed:,.0f}", f"{ratio:.2f}", target, verdict]
    return f"| {' | '.join(cells)} |", met


def processor():
    """What the machine calls its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Others:
    """Processor time that other programs used since this was made, from /proc/stat."""

    def __init__(self):
        self.start = self._now()

    @staticmethod
    def _now():
        """Total, busy and own processor seconds, or None where there is no /proc/stat."""
        try:
            line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
        except OSError:
            return None
        seconds = [int(field) / os.sysconf("SC_CLK_TCK") for field in line.split()[1:9]]
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        return sum(seconds), sum(seconds) - seconds[3] - seconds[4], own

    def share(self):
        if self.start is None:
            return "unknown"
        total, busy, own = (now - then for now, then in zip(self._now(), self.start))
        return f"{max(0.0, busy - own) / max(total, 1e-9):.0%}"


def main():
    parser = argparse.ArgumentParser(description="chargru beside PyTorch and candle_nn on the same work")
    parser.add_argument("--chargru", default=str(PEER), metavar="PATH", help="the built example `peer`")
    parser.add_argument("--python", default=sys.executable, metavar="PATH", help="a Python that has torch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="training steps a run; the first three are not counted")
    parser.add_argument("--threads", type=int, default=2, help="for training; sampling is at one, PyTorch's also at two")
    parser.add_argument("--only", default="", metavar="TEXT", help="only work whose name contains TEXT")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds is {args.rounds}: give 1 or more")
    if args.steps < 4:
        parser.error(f"--steps is {args.steps}: give 4 or more, the first three are not counted")
    if not os.access(args.chargru, os.X_OK):
        parser.error(f"{args.chargru} is not there: run `cargo build --release --example peer`, or name it by --chargru")
    imported = subprocess.run([args.python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    if imported.returncode != 0:
        parser.error(f"{args.python} has no torch: pip install -r {HERE / 'requirements.txt'}, or give --python")
    chosen = [race for race in races(args) if args.only in race[0].work]
    if not chosen:
        parser.error(f"no work is named like --only {args.only!r}: {[race[0].work for race in races(args)]}")

    others, failures, rows = Others(), {}, []
    for race in chosen:
        speeds = run_race(race, args.rounds, failures)
        rows += [row(comparison, speeds) for comparison in race]

    print(
        f"{date.today()}, {processor()}, {os.cpu_count()} processors, torch {imported.stdout.strip()}, "
        f"medians of {args.rounds} alternating rounds, training on {args.threads} threads; "
        f"other programs used {others.share()} of the processors\n"
    )
    print("Characters per second; shapes are (H, L, B, T).\n")
    print("| work | ours | char/s | peer | char/s | ratio | target | met |")
    print("|---|---|--:|---|--:|--:|--:|---|")
    print("\n".join(line for line, _ in rows))
    for program, reason in failures.items():
        print(f"\nNot measured: {program}: {reason}")
    sys.exit(0 if all(met for _, met in rows) else 1)


if __name__ == "__main__":
    main()
