import numpy as np
import pytest

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
nn = torch.nn

from integrations.reference import compress, export  # noqa: E402

X = np.random.default_rng(0).normal(size=(64, 1, 8, 8)).astype(np.float32)


def _network(*, norm: bool = True):
    torch.manual_seed(0)
    middle = nn.BatchNorm2d(16) if norm else nn.Identity()
    convolutions = [nn.Conv2d(1, 16, 3, padding=1), middle, nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.MaxPool2d(4), nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 3))


def _count(network) -> int:
    return sum(weight.numel() for weight in network.parameters())


def _answers(network) -> np.ndarray:
    with torch.no_grad():
        return network.eval()(torch.from_numpy(X)).numpy()


@pytest.mark.parametrize("norm", [True, False])
def test_a_pruned_network_is_smaller_and_still_answers(norm: bool) -> None:
    network = _network(norm=norm)
    small = compress.pruned(network, 0.25)

    assert _answers(small).shape == (64, 3)
    assert _count(small) < 0.7 * _count(network)


def test_pruning_nothing_changes_nothing() -> None:
    network = _network()
    assert np.array_equal(_answers(compress.pruned(network, 0.0)), _answers(network))


def test_outputs_that_do_nothing_are_pruned_first() -> None:
    network = _network(norm=False)
    with torch.no_grad():
        network[0].weight[[3, 7, 8, 12]] = 0
        network[0].bias[[3, 7, 8, 12]] = 0
    small = compress.pruned(network, 0.25)

    assert small[0].out_channels == 12
    assert not (small[0].weight.abs().sum(dim=(1, 2, 3)) == 0).any()


def test_the_network_itself_stays_as_it_was() -> None:
    network = _network()
    before = _answers(network)
    compress.pruned(network, 0.5)
    assert np.array_equal(_answers(network), before)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(144, 2)),
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(144, 2)),
        nn.TransformerEncoderLayer(8, 2),
    ],
)
def test_a_network_whose_channels_cannot_be_followed_is_left_alone(network) -> None:
    assert compress.pruned(network, 0.25) is None


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_makes_no_sense_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="cannot be removed"):
        compress.pruned(_network(), share)


def test_int8_is_a_third_of_the_size_and_close_in_its_answers() -> None:
    network = _network().eval()
    whole = export.to_onnx(network, X)
    small = compress.quantised(whole, X)

    answers = _answers(network)
    assert len(small) < len(whole) / 3
    assert np.abs(export.load_onnx(small)(X) - answers).max() < 0.1 * np.abs(answers).max()


def test_quantising_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="rows"):
        compress.quantised(b"", X[:0])


def test_the_judgement_tells_sizes_and_every_slice() -> None:
    y = np.arange(64) % 3
    right = np.eye(3, dtype=np.float32)[y]
    wrong = np.where(np.arange(64)[:, None] < 16, 1 - right, right)
    slices = {"first": np.arange(64) < 16, "rest": np.arange(64) >= 16, "none": np.zeros(64, bool)}

    def score(classes: np.ndarray, logits: np.ndarray) -> float:
        return float((logits.argmax(1) == classes).mean())

    seen = compress.judge((b"1234", lambda rows: right), (b"12", lambda rows: wrong), X, y, slices, score)

    assert (seen.ratio, seen.change, seen.relative_change) == (2.0, -0.25, -0.25)
    assert dict(seen.slices) == {"first": -1.0, "rest": 0.0}
    assert dict(seen.rows) == {"first": 16, "rest": 48}
