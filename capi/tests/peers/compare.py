"""Compares softlane's C library with PyTorch and ONNX Runtime.

    python -m venv target/peers
    target/peers/bin/pip install -r capi/tests/peers/requirements.txt
    cargo build --release -p softlane-capi
    target/peers/bin/python capi/tests/peers/compare.py --lib target/release/libsoftlane.so

Every function of the header is called in all its forms (in place, loss alone, gradient alone), at places of any alignment between
guard bytes. Results are compared with those of PyTorch and ONNX Runtime in float64, and with the documented formula in
more bits than that, which has to agree with them as far as float64 is good. The table has the worst errors in units in the last place (ULP), of what the
documentation counts by and in the type of the result, and what they may be there; beside them those of PyTorch and ONNX Runtime where they compute in
the same type, and give the same to it: of the losses of 16-bit rows, which are float32 here, in ULP of 16-bit floats.
"""

import argparse
import platform
import sys
import time

import numpy as np
import onnxruntime
import torch

import check_binary
import check_edges
import check_errors
import check_layouts
import check_losses
import check_rows
import selftest
import speed
from report import Report, Wide
from softlane import ELEMENTS, Functions, Library, functions_of_the_header

PARTS = [check_rows, check_losses, check_binary, check_layouts, check_edges, check_errors]


def compare(path, elements, parts=PARTS, mutation=None, seed=0):
    """Everything, of some types."""
    library, report = Library(path, mutation), Report()
    for part in parts:
        for element in elements:
            # The same data whatever else runs.
            rng = np.random.default_rng([seed, PARTS.index(part)])
            functions = Functions(library, element, lambda text: report.fail("calls", element, text))
            part.run((report, functions, element, rng))
    if parts == PARTS:
        for name, kind in sorted(functions_of_the_header() - library.called):
            # A type that was not asked for, or a function that no check calls.
            if kind in [element.name for element in elements] or kind not in [element.name for element in ELEMENTS]:
                report.failures.append(f"{name}_{kind} of the header was not called")
    return report


def summary(report, seconds):
    """Prints the table, and what is to be said of it."""
    report.print()
    if report.differences:
        print("\nDocumented differences (softlane | the other):")
        for what, ours, theirs in report.differences:
            print(f"  {what}: {ours} | {theirs}")
    share = report.replaced / max(report.compared, 1)
    print(f"\nOf {report.compared} results with a reference in float64, {report.replaced} ({share:.2%}) were compared with the formula in "
          f"{np.finfo(Wide).nmant + 1} bits: float64")
    print("itself may be off by more than 1/128 ULP of what softlane computes in there (losses near 0, 1 - p, results of terms that cancel).")
    for line in sorted(report.missing):
        print(f"Not there: {line}")
    for failure in report.failures[:60]:
        print(f"FAILED {failure}")
    if len(report.failures) > 60:
        print(f"... and {len(report.failures) - 60} more")
    cases = sum(row.cases for row in report.rows.values())
    print(f"{cases} cases, {len(report.failures)} failures, {seconds:.0f} s")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--lib", required=True, help="the shared library")
    arguments.add_argument("--types", nargs="+", choices=[element.name for element in ELEMENTS], help="element types; all, if not given")
    arguments.add_argument("--seed", type=int, default=0, help="of the data")
    arguments.add_argument("--selftest", action="store_true", help="break results and options on purpose, and fail if that is not noticed")
    arguments.add_argument("--speed", action="store_true", help="compare the speed instead")
    arguments.add_argument("--threads", type=int, default=1, help="threads of --speed")
    arguments.add_argument("--seconds", type=float, default=0.3, help="of each function, with --speed")
    given = arguments.parse_args()
    elements = [element for element in ELEMENTS if given.types is None or element.name in given.types]
    library = Library(given.lib)
    backend = library.text("backend")
    print(f"softlane {library.text('version')} ({backend}), PyTorch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}, "
          f"NumPy {np.__version__}, Python {platform.python_version()}, {platform.machine()}\n")
    if given.speed:
        speed.run(library, elements, given.threads, given.seconds)
        return
    if backend not in ("avx2", "avx512") and platform.machine() in ("x86_64", "AMD64"):
        sys.exit(f"the bounds of the documentation are those of backends with a fused multiply-add, which {backend} is not")
    if np.finfo(Wide).nmant < 63:
        sys.exit("references need a long double of 64 bits of mantissa at least, which NumPy does not have here")
    torch.set_num_threads(1)
    np.seterr(all="ignore")
    if given.selftest:
        unnoticed = selftest.run(lambda types, parts, mutation: compare(given.lib, types, parts, mutation), elements, PARTS)
        for line in unnoticed:
            print(f"NOT NOTICED {line}")
        print(f"{len(unnoticed)} not noticed")
        sys.exit(bool(unnoticed))
    start = time.perf_counter()
    report = compare(given.lib, elements, seed=given.seed)
    summary(report, time.perf_counter() - start)
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()
