"""The feed of the training loop: batches are drawn by a thread of their own while those before are learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

BLOCK = 8
"""Most batches that are drawn at once: handing them over costs little then, and few wait in memory."""

Drawn = tuple[Tensor, Tensor]
"""Rows (b, ...) and classes (b,)."""


def ahead(draw: Callable[[Tensor], Drawn], batches: Sequence[Tensor]) -> Iterator[Drawn]:
    """What ``draw`` gives for each batch of row numbers, in order; the next ones are drawn meanwhile.

    One thread draws them all in their order, so random numbers fall as they would without it. What ``draw`` raises is
    raised when its turn comes.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="feed") as pool:
        waiting: Future[list[Drawn]] | None = None
        for block in _blocks(batches):
            following = pool.submit(_drawn, draw, block)
            if waiting is not None:
                yield from waiting.result()
            waiting = following
        if waiting is not None:
            yield from waiting.result()


def _drawn(draw: Callable[[Tensor], Drawn], block: Sequence[Tensor]) -> list[Drawn]:
    return [draw(batch) for batch in block]


def _blocks(batches: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    """One batch first, since it is waited for, then twice as many each time."""
    begin, size = 0, 1
    while begin < len(batches):
        yield batches[begin : begin + size]
        begin, size = begin + size, min(2 * size, BLOCK)
