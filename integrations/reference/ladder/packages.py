"""What is made of a trained network once: its program, its serving file and its compressed form, kept in the workshop.

Every act that loads a model, serves it or compares its forms takes it from here, so that all speak of the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from integrations.reference import compress, export
from integrations.reference.engine import Fitted, fit
from integrations.reference.ladder.book import Package
from integrations.reference.ladder.scene import Campaign, Scene
from integrations.reference.stories.base import Rows

PRUNED_SHARE = 0.125
"""Share of the outputs of every hidden layer that the compressed form does without."""
TOLERANCE = 0.01
"""Largest loss of the primary metric by compression, as a share of it."""
HELD_BACK = 0.5
"""Share of the tolerance that a form may use up on the validation rows; the rest is for the rows nobody chose by."""
_CHILD = Path(__file__).with_name("load_check.py")
_CHILD_LIMIT_S = 120.0


def digest_of(fitted: Fitted) -> str:
    """What tells one set of weights from another."""
    content = hashlib.sha256()
    for name, value in fitted.model.state_dict().items():
        content.update(name.encode() + value.detach().cpu().numpy().tobytes())
    return content.hexdigest()[:16]


def program(scene: Scene, fitted: Fitted) -> bytes:
    """The stored program of a network."""
    made: bytes = scene.work.once(
        f"program/{digest_of(fitted)}", lambda: export.to_program(fitted.model, scene.test.x[:2])
    )
    return made


def serving(scene: Scene, fitted: Fitted) -> bytes:
    """The ONNX file of a network that is served."""
    made: bytes = scene.work.once(
        f"serving/{digest_of(fitted)}", lambda: export.to_onnx(fitted.model, scene.test.x[:2])
    )
    return made


def package(scene: Scene, fitted: Fitted, *, described: bool, week: float) -> Package:
    """The MLflow model of a network: no pickle, and when ``described`` with signature, example and exact versions."""
    files = export.model_folder(
        program(scene, fitted),
        scene.test.x[:2],
        scene.story.classes,
        described=described,
        made_at=scene.calendar.text(week),
    )
    return Package(files, ("python_function", "pytorch"), described, described, described)


@dataclass(frozen=True, slots=True)
class Compressed:
    """The smallest form that held the tolerance on the validation rows, and how every form tried did there."""

    file: bytes
    technique: str
    tried: dict[str, dict[str, float]]  # technique to bytes and validation_change (a share of the score before)


def compressed(scene: Scene, campaign: Campaign) -> Compressed:
    """Compress a released network: int8 alone against a light prune, four epochs of healing and int8.

    Where no form holds the tolerance, the one that loses least is taken and its loss told.
    """
    kept: dict[str, Any] = scene.work.once(
        f"compressed/{digest_of(campaign.fitted)}", lambda: _compress(scene, campaign)
    )
    return Compressed(**kept)


def _compress(scene: Scene, campaign: Campaign) -> dict[str, Any]:
    validation, score = scene.validation, scene.story.score
    whole = serving(scene, campaign.fitted)
    before = score(validation.y, export.load_onnx(whole)(validation.x))
    files = {"int8": compress.quantised(whole, campaign.training.x)}
    small = compress.pruned(campaign.fitted.model, PRUNED_SHARE)
    if small is not None:
        recipe = replace(campaign.notes["recipe"], epochs=4, patience=4)
        recipe = replace(recipe, learning_rate=recipe.learning_rate / 4)
        data = campaign.training
        healed = fit(recipe, lambda: small, data.x, data.y, validation.x, validation.y)
        files["prune+int8"] = compress.quantised(export.to_onnx(healed.model, scene.test.x[:2]), data.x)
    tried = {}
    for technique, file in files.items():
        change = (score(validation.y, export.load_onnx(file)(validation.x)) - before) / before
        tried[technique] = {"bytes": float(len(file)), "validation_change": change}
    held = [technique for technique in files if tried[technique]["validation_change"] >= -HELD_BACK * TOLERANCE]
    best = (
        min(held, key=lambda technique: tried[technique]["bytes"])
        if held
        else max(tried, key=lambda technique: tried[technique]["validation_change"])
    )
    return {"file": files[best], "technique": best, "tried": tried}


def check_elsewhere(files: dict[str, bytes], rows: Rows, expected: Rows) -> dict[str, Any]:
    """Load a package and predict in a clean process: isolated, in another folder, with an empty environment.

    Gives what the process reported of itself, with ``max_abs_diff`` to the expected logits. Raises
    ``subprocess.SubprocessError`` when it ends badly.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "model.pt2").write_bytes(files[export.PROGRAM])
        np.save(place / "rows.npy", rows)
        (place / "load_check.py").write_bytes(_CHILD.read_bytes())
        done = subprocess.run(
            [sys.executable, "-I", "load_check.py"],
            cwd=folder,
            env={"OMP_NUM_THREADS": "1"} if os.name != "nt" else None,
            check=True,
            capture_output=True,
            text=True,
            timeout=_CHILD_LIMIT_S,
        )
        seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        answer = np.load(place / "logits.npy")
    return {**seen, "max_abs_diff": float(np.abs(answer - expected).max()), "torch": str(torch.__version__)}
