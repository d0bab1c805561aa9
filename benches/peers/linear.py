#!/usr/bin/env python3
"""The loss of a linear layer and its gradients beside PyTorch's: `linear` then `cross_entropy` (eager), and `linear_cross_entropy` in chunks.

    python3 -m venv target/torch && target/torch/bin/pip install -r capi/tests/peers/requirements.txt
    target/torch/bin/python benches/peers/linear.py [rows x features x classes] [MiB]

Each runs in a process of its own, on all cores, in turn; of two calls the faster counts. Prints medians of the times, the ratio to eager, and the most memory that a
process has held beyond what it held before the call, gradients included for PyTorch, which makes them (their size is printed too).
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZES = ["1024x768x50257", "2048x512x128256"]
BUDGET = 128
ROUNDS = 3
MIB = 1 << 20

TORCH = """
import json, sys, time
import torch
import torch.nn.functional as F

rows, features, classes = map(int, sys.argv[1].split("x"))
way, calls = sys.argv[2], 2
torch.manual_seed(0)
x = torch.rand(rows, features).mul_(2).sub_(1).requires_grad_()
w = torch.rand(classes, features).mul_(0.4).sub_(0.2).requires_grad_()
b = torch.rand(classes).mul_(0.2).sub_(0.1).requires_grad_()
t = torch.arange(rows) * 7919 % classes

def held(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) * 1024

def call():
    if way == "products":
        with torch.no_grad():
            logits = x @ w.T
            return (logits.T @ x).sum().item() + (logits @ w).sum().item()
    if way == "eager":
        loss = F.cross_entropy(F.linear(x, w, b), t)
    else:
        options = torch.nn.LinearCrossEntropyOptions()
        loss = F.linear_cross_entropy(x, w, t, linear_bias=b, options=options)
    loss.backward()
    return loss.item()

times = []
before = held("VmRSS")
for _ in range(calls):
    x.grad = w.grad = b.grad = None
    start = time.perf_counter()
    loss = call()
    times.append(time.perf_counter() - start)
print(json.dumps([min(times), held("VmHWM") - before, loss]))
"""


def bench() -> str:
    """The compiled benchmark."""
    command = ["cargo", "bench", "-p", "softlane", "--bench", "linear", "--no-run", "--message-format=json"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    messages = [json.loads(line) for line in output.splitlines()]
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "linear")


def main() -> None:
    sizes = sys.argv[1:2] or SIZES
    budget = int(sys.argv[2]) if len(sys.argv) > 2 else BUDGET
    executable = bench()
    print("| rows x features x classes | | seconds | of eager | held, MiB | loss |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size in sizes:
        rows, features, classes = map(int, size.split("x"))
        ways = {
            "eager": [sys.executable, "-c", TORCH, size, "eager"],
            "its three products alone": [sys.executable, "-c", TORCH, size, "products"],
            "chunked": [sys.executable, "-c", TORCH, size, "chunked"],
            f"softlane, {budget} MiB": [executable, size, str(budget)],
        }
        results = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, command in ways.items():
                run = subprocess.run(command, check=True, capture_output=True, text=True)
                results[way].append([float(word) for word in run.stdout.replace(",", " ").strip("[]\n").split()])
        eager = statistics.median(seconds for seconds, _, _ in results["eager"])
        for way, runs in results.items():
            seconds = statistics.median(run[0] for run in runs)
            held = max(run[1] for run in runs) / MIB
            loss = "" if "products" in way else f"{runs[0][2]:.4f}"
            print(f"| {size} | {way} | {seconds:.2f} | {seconds / eager:.2f} | {held:.0f} | {loss} |")
        grads = 4 * (rows * features + classes * features + classes) / MIB
        print(f"| {size} | all gradients | | | {grads:.0f} | |")


if __name__ == "__main__":
    main()
