"""Handwritten digits of scikit-learn: 1797 images of 8 x 8 pixels, bundled with the library, so no download."""

from __future__ import annotations

from dataclasses import replace

from integrations.reference.case import Amp, Augmentation, Case, Disturbance, Family, Fit, case

CNN = Fit(name="cnn-seed-0")


@case
def digits() -> Case:
    """The full story: a baseline, a study of three techniques, three seeds, two releases."""
    return Case(
        key="digits",
        title="Handwritten digits, from data check to rollback drill",
        dataset="sklearn-digits",
        split_seed=20,
        validation_rows=200,
        test_rows=300,
        window_rows=150,
        baseline=Fit(name="linear-baseline", family=Family.LINEAR, learning_rate=1e-2, epochs=20),
        study=(
            CNN,
            replace(CNN, name="cnn-grad-accum", grad_accum_steps=4, technique="grad_accum"),
            replace(CNN, name="cnn-bf16", amp=Amp.BF16, technique="amp"),
        ),
        repeats=(replace(CNN, name="cnn-seed-1", seed=1), replace(CNN, name="cnn-seed-2", seed=2)),
        undertrained=replace(CNN, name="cnn-undertrained", epochs=1, learning_rate=2e-4),
        retrain=replace(CNN, name="cnn-shift-augmented", augmentation=Augmentation.SHIFT, epochs=24, patience=6),
        disturbance=Disturbance(down=1, right=1, brightness=0.9),
        policy_file="policies/digits.yaml",
        benchmark_requests=300,
        throughput_seconds=1.5,
    )


@case
def digits_quick() -> Case:
    """The same story with fewer epochs and one seed: a quick look and a smoke check."""
    full = digits()
    return replace(
        full,
        key="digits-quick",
        title="Handwritten digits, the short version of the same story",
        baseline=replace(full.baseline, epochs=8),
        study=tuple(replace(fit, epochs=8) for fit in full.study),
        repeats=(),
        retrain=replace(full.retrain, epochs=14),
        benchmark_requests=120,
        throughput_seconds=0.5,
    )
