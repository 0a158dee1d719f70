"""How small the 3-D nodule network gets, and what it costs: ``python -m benchmarks.compression``.

Trains the nodule story's network eight times as wide (about 230,000 weights, so that weights and not the file's frame
decide its size), then compares three forms on the held-out phantoms: int8 alone, a light prune alone, and both. int8
cannot go beyond four times, because a weight takes one byte instead of four and the scales come on top; what lies
beyond is won by the channels that are left out before. The peer is the float32 file.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch

WIDTH = 8.0
SHARES = (0.0625, 0.125)
"""Shares of the outputs of every hidden layer that are pruned."""
WANTED_RATIO, WANTED_LOSS = 4.3, 0.005


def main() -> None:
    """Print size, ratio and area under the curve of every form, and whether the wanted figures are reached."""
    from integrations.reference import compress, export
    from integrations.reference.engine import fit
    from integrations.reference.stories import find_story

    torch.set_num_threads(1)
    story = find_story("nodules")
    training, validation, test = story.training(-11.4), story.validation(), story.test()
    began = time.perf_counter()
    recipe = replace(story.recipe, epochs=10, patience=4)
    whole = fit(recipe, lambda: story.build(width=WIDTH), training.x, training.y, validation.x, validation.y).model
    count = sum(weight.numel() for weight in whole.parameters())
    print(f"network: {count:,} weights, trained on {len(training)} phantoms in {time.perf_counter() - began:.0f} s")
    file = export.to_onnx(whole, test.x[:2])
    forms = {"int8": compress.quantised(file, training.x)}
    healing = replace(recipe, epochs=3, patience=3, learning_rate=recipe.learning_rate / 4)
    for share in SHARES:
        small = compress.pruned(whole, share)
        if small is None:
            raise ValueError("the network cannot be pruned")
        healed = fit(healing, lambda small=small: small, training.x, training.y, validation.x, validation.y).model
        name = f"{share:.1%} fewer channels"
        forms[name] = export.to_onnx(healed, test.x[:2])
        forms[f"{name} + int8"] = compress.quantised(forms[name], training.x)
    before = (file, export.load_onnx(file))
    print(f"{'form':32} {'bytes':>9} {'ratio':>6} {'AUC':>7} {'change':>8}  worst slice")
    print(f"{'float32':32} {len(file):9,} {1:6.2f} {story.score(test.y, before[1](test.x)):7.4f}")
    reached = []
    for name, form in forms.items():
        seen = compress.judge(before, (form, export.load_onnx(form)), test.x, test.y, test.slices, story.score)
        worst = min(seen.slices, key=lambda key: seen.slices[key])
        print(
            f"{name:32} {len(form):9,} {seen.ratio:6.2f} {seen.score_after:7.4f} {seen.change:+8.4f}  "
            f"{worst} {seen.slices[worst]:+.4f}"
        )
        if seen.ratio >= WANTED_RATIO and seen.change >= -WANTED_LOSS:
            reached.append((seen.ratio, name))
    told = f"reached by {min(reached)[1]}: {min(reached)[0]:.2f} times" if reached else "not reached"
    print(f"wanted: at least {WANTED_RATIO} times smaller, AUC loss at most {WANTED_LOSS}: {told}")


if __name__ == "__main__":
    main()
