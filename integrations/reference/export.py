"""Export: from a trained network to what is stored and what is served.

Takes a network and some example rows; gives a ``torch.export`` program (no pickle, free batch size), the same network
as one ONNX file for serving, the folder that MLflow loads, and the measured difference between any two of them.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import platform
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from torch import nn

Rows = npt.NDArray[np.float32]  # (n, ...)
Predict = Callable[[Rows], Rows]
"""Rows (n, ...) to logits (n, classes)."""

PROGRAM = "data/model.pt2"
"""Where the program lies in an MLflow model folder."""
INPUT, OUTPUT = "rows", "logits"
"""Names of the one input and the one output of an ONNX file."""
OPSET = 20
_NEEDED = ("torch", "numpy")  # what loading and predicting needs besides Python


def to_program(model: nn.Module, rows: Rows) -> bytes:
    """The network as a ``torch.export`` program (.pt2) of free batch size; ``rows`` (2 or more, ...) are examples.

    Raises ``ValueError`` for fewer than two rows, because the batch size would be fixed to one.
    """
    stored = io.BytesIO()
    torch.export.save(_exported(model, rows), stored)
    return stored.getvalue()


def _exported(model: nn.Module, rows: Rows) -> torch.export.ExportedProgram:
    if len(rows) < 2:
        raise ValueError("two example rows are needed to keep the batch size free")
    network = copy.deepcopy(model).cpu().eval()
    batch = torch.export.Dim.AUTO  # type: ignore[attr-defined]
    return torch.export.export(network, (torch.from_numpy(rows[:2].copy()),), dynamic_shapes=({0: batch},))


def load_program(program: bytes) -> Predict:
    """Make a stored program answer. Raises whatever torch raises for bytes that are no program."""
    module = torch.export.load(io.BytesIO(program)).module()

    def predict(rows: Rows) -> Rows:
        with torch.no_grad():
            answer: Rows = module(torch.from_numpy(np.ascontiguousarray(rows))).float().numpy()
        return answer

    return predict


def to_onnx(model: nn.Module, rows: Rows) -> bytes:
    """The network as one self-contained ONNX file with a free batch size, names of layers and traces left out."""
    with _quiet():
        converted = torch.onnx.export(
            _exported(model, rows),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    if converted is None:
        raise RuntimeError("the exporter gave no program")
    return stripped(converted.model_proto.SerializeToString())


def stripped(onnx_file: bytes) -> bytes:
    """An ONNX file without what nobody needs to run it: notes, stack traces, long names and shapes inferred again."""
    import onnx

    model = onnx.load_from_string(onnx_file)
    graph = model.graph
    model.doc_string = ""
    del model.metadata_props[:]
    del graph.value_info[:]
    used = {node.domain for node in graph.node} | {""}
    opsets = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    outside = {part.name for part in (*graph.input, *graph.output)} | {""}
    names: dict[str, str] = {}

    def short(name: str) -> str:
        return name if name in outside else names.setdefault(name, f"{len(names):x}")

    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    for node in graph.node:
        node.name = ""
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
    return bytes(model.SerializeToString())


def load_onnx(onnx_file: bytes, *, threads: int = 1) -> Predict:
    """Make an ONNX file answer on the CPU with so many threads. Raises what onnxruntime raises for other bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(onnx_file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def predict(rows: Rows) -> Rows:
        answer: Rows = session.run(None, {name: np.ascontiguousarray(rows)})[0]
        return answer

    return predict


@dataclass(frozen=True, slots=True)
class Parity:
    """The largest absolute difference between the logits of two forms of one network, and over how many rows."""

    max_abs_diff: float
    samples: int


def parity(one: Predict, other: Predict, rows: Rows) -> Parity:
    """Ask both the same rows."""
    return Parity(float(np.abs(one(rows) - other(rows)).max()), len(rows))


def requirements(names: Iterable[str] = _NEEDED, *, exact: bool = True) -> str:
    """A requirements file of what is installed here, with exact versions or, where nobody pinned them, the names."""
    public = {name: version(name).partition("+")[0] for name in names}
    return "".join(f"{name}=={number}\n" if exact else f"{name}\n" for name, number in public.items())


def model_folder(program: bytes, rows: Rows, classes: int, *, described: bool, made_at: str) -> dict[str, bytes]:
    """The folder of an MLflow model by path, as ``mlflow.pytorch.save_model(serialization_format="pt2")`` lays it out.

    ``described``: with signature, input example and exact requirements; without, what an unpinned export leaves.
    ``made_at`` is ISO 8601. ``mlflow.pytorch.load_model`` and ``mlflow.pyfunc.load_model`` read it.
    """
    python, lines = platform.python_version(), requirements(exact=described)
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": lines.split()}],
    }
    files = {
        PROGRAM: program,
        "requirements.txt": lines.encode(),
        "conda.yaml": _yaml(conda),
        "python_env.yaml": _yaml({"python": python, "dependencies": ["-r requirements.txt"]}),
    }
    described_by = {}
    if described:
        files["input_example.json"] = json.dumps(rows[:2].tolist()).encode()
        files["serving_input_example.json"] = json.dumps({"inputs": rows[:2].tolist()}).encode()
        described_by = _described(rows, classes)
    size = sum(map(len, files.values()))
    files["MLmodel"] = _yaml({**_described_model(program, made_at), **described_by, "model_size_bytes": size})
    return files


def _described_model(program: bytes, made_at: str) -> dict[str, Any]:
    pyfunc = {
        "loader_module": "mlflow.pytorch",
        "data": "data",
        "python_version": platform.python_version(),
        "config": {"device": None},
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
    }
    return {
        "flavors": {
            "python_function": pyfunc,
            "pytorch": {"code": None, "model_data": "data", "pytorch_version": str(torch.__version__)},
        },
        "mlflow_version": version("mlflow"),
        "model_uuid": uuid.uuid5(uuid.NAMESPACE_OID, program.hex()).hex,
        "utc_time_created": made_at.replace("T", " ").removesuffix("Z"),
    }


def _described(rows: Rows, classes: int) -> Mapping[str, Any]:
    def tensor(shape: Iterable[int]) -> str:
        return json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, *shape]}}])

    return {
        "signature": {"inputs": tensor(rows.shape[1:]), "outputs": tensor([classes]), "params": None},
        "saved_input_example_info": {
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            "type": "ndarray",
        },
    }


def _yaml(content: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(content), sort_keys=True).encode()


@contextmanager
def _quiet() -> Any:
    """Keep the exporter's remarks about packages that are not installed to itself."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
