"""The feed of the training loop: what comes, in which order, by whom, and when drawing fails."""

import threading

import pytest

torch = pytest.importorskip("torch")

from integrations.reference.feed import BLOCK, ahead  # noqa: E402 -- needs torch

pytestmark = pytest.mark.torch


def batches(count: int) -> list[torch.Tensor]:
    return [torch.tensor([number]) for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4 * BLOCK + 3])
def test_every_batch_comes_once_and_in_order(count: int) -> None:
    assert [int(x) for x, _ in ahead(lambda rows: (rows, rows), batches(count))] == list(range(count))


def test_random_numbers_fall_as_they_would_without_it() -> None:
    def draw(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.rand(3, generator=generator), rows

    generator = torch.Generator().manual_seed(5)
    alone = [draw(rows)[0] for rows in batches(20)]
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(torch.stack(alone), torch.stack([x for x, _ in ahead(draw, batches(20))]))


def test_one_other_thread_draws_while_the_caller_works() -> None:
    drawn: list[int] = []
    threads = set()

    def draw(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        threads.add(threading.get_ident())
        drawn.append(int(rows))
        later.set() if len(drawn) > 1 else None
        return rows, rows

    later, feed = threading.Event(), ahead(draw, batches(10))
    next(feed)
    assert later.wait(10)
    feed.close()
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert len(drawn) <= 1 + 2 + 4


def test_a_fault_of_drawing_is_raised_when_its_turn_comes() -> None:
    def draw(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if int(rows) == 1:
            raise ValueError("the file is damaged")
        return rows, rows

    feed = ahead(draw, batches(3))
    next(feed)
    with pytest.raises(ValueError, match="the file is damaged"):
        next(feed)
