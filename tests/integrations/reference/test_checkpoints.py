from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from integrations.reference.checkpoints import Checkpoints  # noqa: E402 -- needs torch
from integrations.reference.errors import AlreadyRunningError, CheckpointError, DiskFullError  # noqa: E402
from integrations.reference.meters import PeakMemory, SystemMetrics  # noqa: E402

pytestmark = pytest.mark.torch

IDENTITY = {"seed": "1", "network": "abc"}


def kept(folder: Path, epochs: int = 3) -> Checkpoints:
    """A folder after so many epochs."""
    checkpoints = Checkpoints(folder, IDENTITY)
    with checkpoints:
        for epoch in range(1, epochs + 1):
            checkpoints.save(epoch, {"weights": torch.full((4,), float(epoch)), "epoch": epoch})
    return checkpoints


def test_the_state_of_the_last_epoch_comes_back_and_two_epochs_stay(tmp_path: Path) -> None:
    checkpoints = kept(tmp_path)
    state = checkpoints.load()
    assert state is not None
    assert torch.equal(state["weights"], torch.full((4,), 3.0))
    assert [file.name for file in checkpoints.files()] == ["epoch-000002.pt", "epoch-000003.pt"]


def test_an_empty_folder_has_no_state(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "new", IDENTITY) as checkpoints:
        assert checkpoints.load() is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_and_leaves_the_checkpoints_before_whole(tmp_path: Path) -> None:
    checkpoints = kept(tmp_path)
    (tmp_path / "unfinished.part").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match=r"epoch 4 could not be kept \(epoch-000003.pt is whole\)"):
        checkpoints.save(4, {"weights": torch.zeros(4)})
    assert not (tmp_path / "unfinished.part").is_symlink()
    state = checkpoints.load()
    assert state is not None
    assert state["epoch"] == 3


@pytest.mark.parametrize("damage", [lambda body: body[:-1], lambda body: body[:-400] + b"\0" * 400, lambda body: b""])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_the_way_back(tmp_path: Path, damage) -> None:
    checkpoints = kept(tmp_path)
    newest = checkpoints.files()[-1]
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.raises(CheckpointError, match=r"epoch-000003.pt is damaged; delete it to go on from epoch-000002"):
        checkpoints.load()
    newest.unlink()
    state = checkpoints.load()
    assert state is not None
    assert state["epoch"] == 2


def test_a_checkpoint_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    checkpoints = kept(tmp_path, epochs=0)
    checkpoints.save(1, {"weights": Path("anything that is no plain value")})
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.load()


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    kept(tmp_path)
    with pytest.raises(CheckpointError, match="belongs to another training; it differs in seed"):
        Checkpoints(tmp_path, IDENTITY | {"seed": "2"}).load()


def test_two_trainings_do_not_share_a_folder(tmp_path: Path) -> None:
    second = Checkpoints(tmp_path, IDENTITY)
    with Checkpoints(tmp_path, IDENTITY), pytest.raises(AlreadyRunningError, match="Another process is training"):
        second.__enter__()
    with Checkpoints(tmp_path, IDENTITY):
        pass  # given back


def test_the_peak_of_memory_is_that_of_the_block_alone() -> None:
    before = np.ones(25_000_000)  # 200 MB, gone before the block
    del before
    with PeakMemory(torch.device("cpu")) as small:
        np.ones(1000)
    with PeakMemory(torch.device("cpu")) as large:
        np.ones(12_500_000)  # 100 MB, gone again at once
    if large.kind != "resident set of the process":
        pytest.skip("this system does not forget its peak")
    assert 90e6 < large.peak_bytes - small.peak_bytes < 150e6


def test_the_machine_is_sampled_while_the_block_runs() -> None:
    with SystemMetrics(torch.device("cpu"), every_s=0.02) as system:
        torch.randn(400, 400).matmul(torch.randn(400, 400))
        while len(system.samples) < 2:
            pass
    assert len(system.samples) >= 3
    assert all(0 <= row.get("system/cpu_utilization_percentage", 0.0) <= 100 for row in system.samples)
    assert not any(name.startswith("system/gpu") for row in system.samples for name in row)
    assert [row["at_s"] for row in system.samples] == sorted(row["at_s"] for row in system.samples)
