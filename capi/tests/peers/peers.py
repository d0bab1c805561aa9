"""PyTorch and ONNX Runtime: their functions on NumPy arrays of any element type."""

import functools

import ml_dtypes
import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper

ONNX_TYPES = {
    np.dtype(np.float16): TensorProto.FLOAT16,
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float64): TensorProto.DOUBLE,
    np.dtype(np.int64): TensorProto.INT64,
}


def tensor(x, dtype=torch.float64):
    """The same numbers, exactly if the type has them."""
    x = torch.from_numpy(np.asarray(x, np.float64))
    return x.to(dtype)


def array(x):
    """A tensor's numbers."""
    x = x.detach().contiguous()
    if x.dtype == torch.bfloat16:
        return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return x.numpy()


def lacks(error):
    """Whether the message says that there is no such function of a type."""
    text = str(error).lower()
    return "not implemented" in text or "not_implemented" in text or "invalid_graph" in text


def attempt(report, name, function):
    """What a peer gives, as pairs of its name and the result; nothing where it lacks the function, which the report notes."""
    try:
        result = function()
    except Exception as error:  # what it raises is the peer's own
        if not lacks(error):
            raise
        report.missing.add(f"{name}: {str(error).splitlines()[0][:110]}")
        return None
    return result


@functools.cache
def session(operator, types, attributes, threads):
    names = [f"i{n}" for n in range(len(types))]
    values = [helper.make_tensor_value_info(name, type, None) for name, type in zip(names, types)]
    node = helper.make_node(operator, names, ["y"], **dict(attributes))
    graph = helper.make_graph([node], operator, values, [helper.make_tensor_value_info("y", types[0], None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_session(operator, dtypes, threads=1, **attributes):
    """One operator of opset 13. Its first input has the type of its result."""
    types = tuple(ONNX_TYPES[np.dtype(dtype)] for dtype in dtypes)
    return session(operator, types, tuple(sorted(attributes.items())), threads)


def onnx(operator, *inputs, **attributes):
    run = onnx_session(operator, [x.dtype for x in inputs], **attributes)
    return run.run(None, {f"i{n}": x for n, x in enumerate(inputs)})[0]


def both(report, element, x, torch_function, operator, **attributes):
    """The peers' results in an element type and in float64, of an operation that both have: pairs for the former, a dictionary for the latter."""
    doubles = {"PyTorch in float64": array(torch_function(tensor(x)))}
    doubles["ONNX Runtime in double"] = onnx(operator, x.astype(np.float64), **attributes)
    found = attempt(report, f"PyTorch, {operator}, {element.name}", lambda: array(torch_function(tensor(x, element.torch))))
    pairs = [] if found is None else [("PyTorch", found)]
    if x.dtype in ONNX_TYPES:
        pairs.append(("ONNX Runtime", onnx(operator, x, **attributes)))
    else:
        report.missing.add(f"ONNX Runtime: nothing of {element.name}")
    return pairs, doubles
