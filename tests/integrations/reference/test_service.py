import http.client
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("uvicorn")

from integrations.reference.errors import PortUnavailableError  # noqa: E402
from integrations.reference.service import NoAnswerError, PackageRefusedError, Service  # noqa: E402

pytestmark = pytest.mark.torch

ROWS = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)
PRIOR = (0.9, 0.1, 0.0)


def _model(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)).eval()


def _package(seed: int, file: Path) -> Path:
    batch = {0: torch.export.Dim.AUTO}
    torch.export.save(torch.export.export(_model(seed), (torch.zeros(2, 6),), dynamic_shapes=[batch]), file)
    return file


def _trained(seed: int, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return torch.softmax(_model(seed)(torch.from_numpy(rows)), 1).numpy()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _package(1, tmp_path_factory.mktemp("packages") / "one.pt2")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("serving")) as running:
        assert not running.healthy()  # it listens before it has a model, and says so
        with pytest.raises(NoAnswerError, match="503"):
            running.predict(ROWS[:1])
        running.load(package, "1", prior=PRIOR)
        yield running
    assert running.process.returncode == 0


def test_served_probabilities_are_those_of_the_module(service: Service) -> None:
    answer = service.predict(ROWS)
    assert answer.version == "1"
    assert not answer.fallback
    assert np.abs(answer.probabilities - _trained(1, ROWS)).max() < 1e-6
    assert answer.latency_ms > 0
    one = service.predict_one(ROWS[0])
    assert np.abs(one.probabilities - answer.probabilities[:1]).max() < 1e-6
    assert np.abs(service.predict(ROWS[:1]).probabilities - answer.probabilities[:1]).max() < 1e-6


def logged(service: Service, *, rows: int, entries: int) -> list[dict[str, object]]:
    """The newest entries of that many rows; the log is written just after the answer, so it may take a moment."""
    deadline = time.monotonic() + 10
    while len(found := [entry for entry in service.logged() if entry["rows"] == rows]) < entries:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found[-entries:]


def test_every_prediction_is_logged_with_time_version_and_input(service: Service) -> None:
    labels = service.predict(ROWS[:5]).probabilities.argmax(1).tolist()
    service.predict(ROWS[5:10])
    first, second = logged(service, rows=5, entries=2)
    assert (first["version"], first["rows"], first["labels"]) == ("1", 5, labels)
    assert first["input"] != second["input"]
    assert second["at"] >= first["at"] > 1_600_000_000_000


def test_rows_of_another_shape_are_refused_with_the_reason(service: Service) -> None:
    with pytest.raises(NoAnswerError, match=r"400: .*shape \(5,\), not \(6,\)"):
        service.predict(ROWS[:, :5])
    line = http.client.HTTPConnection(service.host, service.port, timeout=10)
    for headers, body in (({"X-Shape": "2,6"}, b"abc"), ({"X-Shape": "x"}, b""), ({}, b"{}"), ({}, b"nonsense")):
        line.request("POST", "/predict", body, headers)
        answer = line.getresponse()
        assert answer.status == 400
        assert json.loads(answer.read())["error"]
    line.close()
    assert service.predict(ROWS[:2]).version == "1"


def test_a_load_test_sends_the_declared_rate_and_counts_what_was_answered(service: Service) -> None:
    seen = service.load_test(ROWS, rate_per_s=1000, seconds=1.0, batch=50)
    assert seen["errors"] == 0
    assert seen["answered"] == 20
    assert seen["sustained_rate_per_s"] == pytest.approx(1000, rel=0.5)
    assert 0 < seen["latency_p50_ms"] <= seen["latency_p95_ms"] <= seen["latency_p99_ms"]
    assert seen["hardware"]


def test_a_damaged_package_is_refused_and_the_old_version_goes_on_answering(service: Service, package: Path) -> None:
    drill = service.refuse_corrupt(package, ROWS[:4])
    assert drill.recovered
    cut = service.folder / "cut.pt2"
    cut.write_bytes(package.read_bytes()[:-500])
    with pytest.raises(PackageRefusedError, match="version 2 was not taken into service"):
        service.load(cut, "2")
    with pytest.raises(PackageRefusedError, match="No such file"):
        service.load(service.folder / "nowhere.pt2", "2")
    assert service.predict(ROWS[:4]).version == service.version == "1"


@pytest.mark.parametrize("kind", ["nan", "error"])
def test_a_model_that_fails_is_replaced_by_the_fallback_answer(service: Service, kind: str) -> None:
    service._command(inject=kind)
    answer = service.predict(ROWS[:3])
    assert (answer.version, answer.fallback) == ("fallback", True)
    assert np.allclose(answer.probabilities, np.tile(PRIOR, (3, 1)))
    service._command(inject="")
    assert service.fall_back(ROWS[:3], kind).recovered
    assert not service.predict(ROWS[:3]).fallback


def test_a_flood_is_shed_and_the_service_answers_afterwards(service: Service) -> None:
    drill = service.flood(ROWS)
    assert drill.recovered
    assert drill.values["shed"] > 0
    assert drill.values["answered"] + drill.values["shed"] == drill.values["requests"]


def test_a_killed_worker_is_replaced_and_serves_the_last_good_version(service: Service, package: Path) -> None:
    drill = service.crash(ROWS[:4])
    assert drill.recovered
    assert drill.values["restarts"] == 1
    assert drill.seconds < 60
    assert service.healthy()


def test_an_occupied_port_is_named(service: Service, tmp_path: Path) -> None:
    with (
        pytest.raises(PortUnavailableError, match=f"{service.port}: Address already in use"),
        Service(tmp_path, port=service.port),
    ):
        pytest.fail("it got a port that was taken")


def test_leaving_the_service_ends_both_processes(tmp_path: Path) -> None:
    with Service(tmp_path) as running:
        worker = running._command(state=True)["worker"]
        supervisor = running.process.pid
    for process in (worker, supervisor):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
