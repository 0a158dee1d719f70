from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")

from integrations.connectors.mlflow_models import read_model_file, requirements_pinned  # noqa: E402
from integrations.reference import export  # noqa: E402
from integrations.reference.ladder.packages import check_elsewhere  # noqa: E402

X = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype(np.float32)
MADE_AT = "2026-01-01T00:00:00.000Z"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(64, 3)).eval()


@pytest.fixture(scope="module")
def program(network) -> bytes:
    return export.to_program(network, X)


def _trained(network):
    def predict(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(rows)).numpy()

    return predict


def _write(files: dict[str, bytes], folder: Path) -> str:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return str(folder)


def test_the_program_answers_any_number_of_rows_as_the_network_does(network, program: bytes) -> None:
    stored = export.load_program(program)

    assert [stored(X[:count]).shape for count in (2, 7, 40)] == [(2, 3), (7, 3), (40, 3)]
    assert export.parity(_trained(network), stored, X).max_abs_diff == 0.0


def test_one_example_row_is_not_enough_to_keep_the_batch_free(network) -> None:
    with pytest.raises(ValueError, match="two example rows"):
        export.to_program(network, X[:1])


def test_the_served_file_gives_what_was_trained(network) -> None:
    served = export.load_onnx(export.to_onnx(network, X))

    found = export.parity(_trained(network), served, X)
    assert (found.samples, served(X[:1]).shape) == (40, (1, 3))
    assert 0 <= found.max_abs_diff < 1e-4


def test_parity_sees_another_network(network, program: bytes) -> None:
    assert export.parity(lambda rows: _trained(network)(rows) + 0.5, export.load_program(program), X).max_abs_diff > 0.4


def test_mlflow_loads_the_package_in_both_of_its_ways(network, program: bytes, tmp_path: Path) -> None:
    mlflow_pytorch, pyfunc = pytest.importorskip("mlflow.pytorch"), pytest.importorskip("mlflow.pyfunc")
    folder = _write(export.model_folder(program, X, 3, described=True, made_at=MADE_AT), tmp_path)

    loaded = mlflow_pytorch.load_model(folder)
    assert torch.equal(loaded(torch.from_numpy(X)), network(torch.from_numpy(X)))
    general = pyfunc.load_model(folder)
    assert np.allclose(general.predict(X), _trained(network)(X))
    assert general.metadata.signature.inputs.inputs[0].shape == (-1, 1, 6, 6)


def test_a_package_tells_its_signature_only_when_somebody_described_it(program: bytes) -> None:
    full = export.model_folder(program, X, 3, described=True, made_at=MADE_AT)
    bare = export.model_folder(program, X, 3, described=False, made_at=MADE_AT)

    told, untold = read_model_file(full["MLmodel"]), read_model_file(bare["MLmodel"])
    assert told is not None
    assert untold is not None
    assert (told.flavors, told.has_signature, told.has_example) == (("python_function", "pytorch"), True, True)
    assert (untold.flavors, untold.has_signature, untold.has_example) == (told.flavors, False, False)
    assert requirements_pinned(full["requirements.txt"])
    assert not requirements_pinned(bare["requirements.txt"])


def test_a_clean_process_loads_the_package(network, program: bytes) -> None:
    files = export.model_folder(program, X, 3, described=True, made_at=MADE_AT)

    seen = check_elsewhere(files, X, _trained(network)(X))

    assert (seen["clean"], seen["loaded"], seen["predictions"]) == (True, True, 40)
    assert seen["max_abs_diff"] < 1e-5
    assert not seen["training_code_in_reach"]
