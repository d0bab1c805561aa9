"""How fast softlane, PyTorch and ONNX Runtime are, by turns in one process: softmax, and loss with gradient, of every element type."""

import ctypes
import random
import time

import numpy as np
import torch
import torch.nn.functional as F

import inputs
from peers import ONNX_TYPES, onnx_session
from softlane import Place

SHAPES = [(20_000, 10), (1024, 64), (64, 1000), (1024, 1000), (16, 4096), (256, 32_768), (1, 128_256)]


def medians(work, seconds, order):
    """Seconds of each function: the median of rounds, in each of which they come in another order."""
    times = {name: [] for name in work}
    end = time.perf_counter() + seconds * len(work)
    for rounds in range(1_000_000):
        if rounds >= 7 and time.perf_counter() > end:
            break
        names = list(work)
        order.shuffle(names)
        for name in names:
            start = time.perf_counter()
            work[name]()
            if rounds >= 2:
                times[name].append(time.perf_counter() - start)
    return {name: float(np.median(found)) for name, found in times.items()}


def tensor_of(place, element):
    """A tensor in the same memory."""
    return torch.from_numpy(place.array.view(f"i{element.dtype.itemsize}")).view(element.torch)


def works(library, element, shape, threads, rng):
    """Softmax, and loss with gradient, as pairs of a name and the functions that compute it, all on the same arrays."""
    ours = {name: getattr(library.lib, f"softlane_{name}_{element.name}") for name in ("softmax", "cross_entropy")}
    x = Place(shape, element.dtype, 0, inputs.logits(rng, "normal", shape, element) * element.dtype.type(3))
    y, loss = Place(shape, element.dtype), Place((1,), element.real)
    targets = rng.integers(0, shape[1], shape[0])
    logits, probabilities, classes = tensor_of(x, element), tensor_of(y, element), torch.from_numpy(targets)
    leaf = logits.detach().requires_grad_()
    softmax_arguments = (x.pointer, y.pointer, *shape)
    gradient_arguments = (x.pointer, targets.ctypes.data, *shape, None, loss.pointer, y.pointer)
    library.checked(ours["softmax"](*softmax_arguments))
    library.checked(ours["cross_entropy"](*gradient_arguments))

    def copy():
        ctypes.memmove(y.pointer, x.pointer, x.array.nbytes)

    def eager():
        leaf.grad = None
        F.cross_entropy(leaf, classes).backward()

    softmax = {
        "copy": copy,
        "softlane": lambda: ours["softmax"](*softmax_arguments),
        "PyTorch": lambda: torch.softmax(logits, -1, out=probabilities),
    }
    if element.dtype in ONNX_TYPES:
        session = onnx_session("Softmax", [element.dtype], threads, axis=-1)
        binding = session.io_binding()
        binding.bind_input("i0", "cpu", 0, element.dtype.type, shape, x.pointer)
        binding.bind_output("y", "cpu", 0, element.dtype.type, shape, y.pointer)
        softmax["ONNX Runtime"] = lambda: session.run_with_iobinding(binding)
    gradient = {
        "copy": copy,
        "softlane": lambda: ours["cross_entropy"](*gradient_arguments),
        "PyTorch": eager,
    }
    return [("softmax", softmax), ("loss and gradient", gradient)]


def run(library, elements, threads, seconds):
    """Prints a table, in Markdown."""
    torch.set_num_threads(threads)
    library.checked(library.lib.softlane_set_num_threads(threads))
    names = ["copy", "softlane", "PyTorch", "ONNX Runtime"]
    print(f"Nanoseconds per element on {threads} thread(s); in brackets, times the time of softlane.\n")
    print(f"| operation | type | rows x classes | {' | '.join(names)} |\n| {' | '.join(['---'] * 7)} |")
    rng, order = np.random.default_rng(1), random.Random(1)
    for element in elements:
        for shape in SHAPES:
            for operation, work in works(library, element, shape, threads, rng):
                found = medians(work, seconds, order)
                cells = []
                for name in names:
                    each = found.get(name, 0) / (shape[0] * shape[1]) * 1e9
                    more = "" if name in ("copy", "softlane") else f" ({found[name] / found['softlane']:.1f})" if name in found else ""
                    cells.append(f"{each:.2f}{more}" if name in found else "")
                print(f"| {operation} | {element.name} | {shape[0]} x {shape[1]} | {' | '.join(cells)} |", flush=True)
