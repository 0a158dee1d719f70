import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastapi")

from integrations.reference.case import Family  # noqa: E402 -- needs torch
from integrations.reference.endpoint import Endpoint, parity  # noqa: E402
from integrations.reference.errors import PortUnavailableError  # noqa: E402
from integrations.reference.evaluate import predict  # noqa: E402
from integrations.reference.models import build  # noqa: E402

pytestmark = pytest.mark.torch

IMAGES = np.random.default_rng(1).random((12, 1, 8, 8), dtype=np.float32)


def _export(model: torch.nn.Module, file: Path) -> Path:
    batch = {0: torch.export.Dim.AUTO}
    torch.export.save(torch.export.export(model, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=[batch]), file)
    return file


@pytest.fixture(scope="module")
def models() -> list[torch.nn.Module]:
    torch.manual_seed(3)
    return [build(Family.LINEAR).eval() for _ in range(2)]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory, models: list[torch.nn.Module]) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("serving")
    with Endpoint(folder) as running:
        assert not running.healthy()  # it listens before it has a model, and says so
        running.load(_export(models[0], folder / "one.pt2"), "1")
        yield running
    assert running.process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(running.process.pid, 0)


def test_served_probabilities_are_those_of_the_trained_module(endpoint: Endpoint, models) -> None:
    before = endpoint.logged()
    traffic = endpoint.send(IMAGES)
    assert len(traffic.answered) == len(IMAGES)
    assert all(reply.latency_ms > 0 for reply in traffic.replies)
    assert parity(traffic.answered, predict(models[0], IMAGES)) < 1e-6
    assert parity(traffic.answered, predict(models[1], IMAGES)) > 1e-3
    assert traffic.metrics()["ops/availability"] == 1.0
    assert traffic.metrics()["ops/error_rate"] == 0.0
    assert endpoint.logged() - before == len(IMAGES)
    line = json.loads(endpoint.log.read_text().splitlines()[-1])
    assert (line["version"], line["label"]) == ("1", traffic.replies[-1].label)


@pytest.mark.parametrize(
    ("body", "status"),
    [("{}", 422), ('{"images": [[1.0]]}', 422), (json.dumps({"images": [[2.0] * 64]}), 422), ("no json", 422)],
)
def test_a_malformed_request_is_refused_and_the_next_one_answered(endpoint: Endpoint, body: str, status: int) -> None:
    connection = endpoint.connect()
    connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
    assert connection.getresponse().status == status
    connection.close()
    assert endpoint.ask(IMAGES[0]).answered


def test_a_benchmark_orders_its_percentiles_and_counts_its_requests(endpoint: Endpoint) -> None:
    measured = endpoint.benchmark(IMAGES, requests=30, seconds=0.1)
    assert 0 < measured.latency_p50_ms <= measured.latency_p95_ms
    assert measured.requests == 30
    assert measured.throughput_rps > 10


def test_another_version_is_swapped_in_and_a_bad_file_leaves_the_old_one(
    endpoint: Endpoint, models, tmp_path: Path
) -> None:
    endpoint.load(_export(models[1], tmp_path / "two.pt2"), "2")
    assert endpoint.ask(IMAGES[0]).version == "2"
    bad = tmp_path / "bad.pt2"
    bad.write_bytes(b"nothing")
    with pytest.raises(RuntimeError, match="version 3 could not be loaded"):
        endpoint.load(bad, "3")
    assert endpoint.ask(IMAGES[0]).version == "2"


def test_an_address_that_cannot_be_bound_is_told_in_one_sentence(tmp_path: Path) -> None:
    with Endpoint(tmp_path, host="192.0.2.1") as nowhere, pytest.raises(PortUnavailableError, match=r"no port: 192\.0"):
        nowhere.await_port()
    assert nowhere.process.returncode == 3


def test_a_server_that_died_gives_failed_replies_and_stopping_it_is_no_error(tmp_path: Path) -> None:
    with Endpoint(tmp_path) as dying:
        dying.await_port()
        dying.process.kill()
        dying.process.wait()
        traffic = dying.send(IMAGES[:2])
        assert traffic.metrics() == {"ops/requests": 2, "ops/error_rate": 1.0, "ops/availability": 0.0}
        with pytest.raises(PortUnavailableError):
            dying.load(tmp_path / "any.pt2", "1")
