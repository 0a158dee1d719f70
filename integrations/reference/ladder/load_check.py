"""Loads a package and predicts, knowing nothing of the code that trained it. Runs alone, copied into a bare folder.

Reads ``model.pt2`` and ``rows.npy`` beside it, writes ``logits.npy`` and one line of JSON about itself.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

ALLOWED = {"OMP_NUM_THREADS", "LC_CTYPE"}  # the second is set by Python itself
GIVEN = sorted(set(os.environ) - ALLOWED)  # looked at before torch adds variables of its own

import numpy as np  # noqa: E402
import torch  # noqa: E402

HERE = Path(__file__).parent


def main() -> None:
    """Load, predict, and tell what was in reach."""
    program = torch.export.load(HERE / "model.pt2").module()
    rows = torch.from_numpy(np.load(HERE / "rows.npy"))
    with torch.no_grad():
        logits = program(rows).numpy()
    np.save(HERE / "logits.npy", logits)
    code_in_reach = importlib.util.find_spec("integrations") is not None
    seen = {
        "isolated": bool(sys.flags.isolated),
        "environment": GIVEN,
        "training_code_in_reach": code_in_reach,
        "clean": bool(sys.flags.isolated) and not code_in_reach and not GIVEN,
        "loaded": True,
        "predictions": len(logits),
        "python": sys.version.split()[0],
    }
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main()
