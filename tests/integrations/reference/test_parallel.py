import json
import math
import os
import socket
import textwrap
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from integrations.reference.errors import ParallelRunError, PortUnavailableError
from integrations.reference.parallel import KINDS, launch, parity

pytestmark = pytest.mark.torch

RESUMING = """
import json, os, sys
from pathlib import Path
import numpy as np
import torch
import torch.distributed as dist
from integrations.reference.engine import Recipe, fit
from integrations.reference.groups import KINDS
from integrations.reference.parallel_worker import Transformer

dist.init_process_group("gloo")
folder = Path(sys.argv[1])
draw = np.random.default_rng(0)
x, y = draw.random((64, 1, 8, 8), dtype=np.float32), np.arange(64) % 10
recipe = Recipe(epochs=3, patience=3, grad_accum_steps=2, clip_norm=0.5)


def stop(row):
    if row["epoch"] == 2:
        raise KeyboardInterrupt


same = {}
for kind, make in KINDS.items():
    def run(**options):
        return fit(recipe, Transformer, x, y, x, y, rank=make(torch.device("cpu")), **options)

    whole = run()
    try:
        run(checkpoints=folder / kind, on_epoch=stop)
    except KeyboardInterrupt:
        pass
    resumed = run(checkpoints=folder / kind)
    pairs = zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True)
    equal = all(torch.equal(left, right) for left, right in pairs)
    same[kind] = [equal, resumed.extra["resumed_from"]]
if dist.get_rank() == 0:
    (folder / "same.json").write_text(json.dumps(same))
dist.barrier()
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a module that the processes can run; gives its name."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(text: str) -> str:
        (tmp_path / "made_up_worker.py").write_text(textwrap.dedent(text))
        return "made_up_worker"

    return write


def test_two_processes_learn_what_one_learns_however_the_work_is_split() -> None:
    rows = {row["technique"]: row for row in parity()}
    assert tuple(rows) == KINDS
    for row in rows.values():
        assert row["loss_diff"] == abs(row["loss_parallel"] - row["loss_single"]) <= row["loss_tolerance"]
        assert row["gradient_diff"] < 1e-5
        assert row["world"] == 2
        numbers = [value for value in row.values() if not isinstance(value, str)]
        assert all(math.isfinite(value) for value in numbers)
        assert row["throughput"] > 0
        assert row["memory"] > 50
    state = rows["ddp"]["state_mb_single"]
    assert rows["ddp"]["state_mb"] == state
    assert rows["fsdp2"]["state_mb"] == pytest.approx(state / 2, rel=0.01)
    assert rows["tp"]["state_mb"] < 0.6 * state  # all but norms, embedding and head


def test_compressed_gradients_differ_and_stay_in_their_own_bound() -> None:
    (row,) = parity(["ddp"], compress=True)
    assert 1e-4 < row["gradient_diff"] < 1e-2  # bfloat16 keeps eight bits
    assert 0 < row["loss_diff"] <= row["loss_tolerance"]


def test_a_split_training_goes_on_to_the_same_weights(tmp_path: Path, module) -> None:
    launch(module(RESUMING), [str(tmp_path)], world=2, limit_s=120)
    assert json.loads((tmp_path / "same.json").read_text()) == {kind: [True, 2] for kind in KINDS}


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_processes_that_do_not_end_in_time_are_ended(tmp_path: Path, module) -> None:
    sleeping = module("""
        import os, pathlib, sys, time
        pathlib.Path(sys.argv[1], "pid-" + os.environ["RANK"]).write_text(str(os.getpid()))
        time.sleep(300)
    """)
    with pytest.raises(ParallelRunError, match=r"The 2 processes did not end within 8 s and were stopped\."):
        launch(sleeping, [str(tmp_path)], world=2, limit_s=8)
    pids = [int(file.read_text()) for file in tmp_path.glob("pid-*")]
    assert len(pids) == 2
    deadline = time.monotonic() + 5
    while any(map(_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_running, pids))


def test_a_failing_process_is_told_by_its_own_error(module) -> None:
    failing = module("""
        import os
        if os.environ["RANK"] == "1":
            raise ValueError("the second process has no data")
    """)
    with pytest.raises(ParallelRunError, match=r"on 2 processes failed: .*ValueError: the second process has no data"):
        launch(failing, [], world=2, limit_s=60)


def test_a_process_that_dies_without_a_word_is_told_by_its_signal(module) -> None:
    dying = module("""
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    with pytest.raises(ParallelRunError, match=r"SIGKILL"):
        launch(dying, [], world=1, limit_s=60)


def test_a_taken_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailableError, match=f"Port {port} is taken"):
            launch("platform", [], world=1, limit_s=60, port=port)


def test_an_unknown_way_to_split_is_refused_by_name() -> None:
    with pytest.raises(ParallelRunError, match="no way 'pipeline'"):
        parity(["pipeline"])
    assert "WORLD_SIZE" not in os.environ
