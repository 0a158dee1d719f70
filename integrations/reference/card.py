"""The model card: a page in words and numbers, written from what was measured and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from integrations.reference.case import Case
from integrations.reference.data import DataReport, Splits
from integrations.reference.evaluate import NOISE_SD
from integrations.reference.train import Trained

TEMPLATE = """# {name}

{title}. Pipeline {pipeline}, model {fit}, trained on {device}.

## Intended use

Recognises a single handwritten digit on an image of 8 x 8 pixels, brightness from 0 to 1. It shows how a model is
built, released and watched; it is not meant for decisions about people.

## Data

{source}: {train} images for training, {validation} for choosing, {test} for judging. {checks} expectations were
checked, {failed} failed; {overlap} images are shared by training and held-out data. The smallest class has a share of
{smallest:.1%} of the training images. Digest of the training data: {digest}. The labels come with the data set; how
far annotators agreed on them is not known.

## Metrics

Accuracy on the test images {accuracy:.2%}, 95 % bootstrap interval {low:.2%} to {high:.2%} (n = {test}).
With noise of standard deviation {noise:g}: {noisy:.2%}. Moved by one pixel: {moved:.2%}. At half brightness: {dim:.2%}.

| Digit | Recall | Precision |
|---|---|---|
{slices}

## Size and cost

{parameters:,} parameters, {flops:,} floating-point operations per image, {epochs} epochs in {seconds:.1f} s at
{throughput:,.0f} images/s with one thread, seed {seed}.

## Limits

{limits}
"""


def model_card(
    name: str, case: Case, trained: Trained, metrics: Mapping[str, float], splits: Splits, report: DataReport
) -> str:
    """The card as Markdown, with the headings intended use, data, metrics and limits."""
    return TEMPLATE.format(
        name=name,
        title=case.title,
        pipeline=case.pipeline,
        fit=trained.fit.name,
        device=trained.device,
        source=splits.source,
        train=len(splits.train),
        validation=len(splits.validation),
        test=len(splits.test),
        checks=len(report.expectations),
        failed=len(report.failed),
        overlap=report.train_eval_overlap,
        smallest=report.smallest_class_share,
        digest=splits.train.digest,
        accuracy=metrics["eval/accuracy"],
        low=metrics["eval/primary_ci_low"],
        high=metrics["eval/primary_ci_high"],
        noise=NOISE_SD,
        noisy=metrics["eval/robust/noise_accuracy"],
        moved=metrics["eval/robust/shift_accuracy"],
        dim=metrics["eval/robust/dim_accuracy"],
        slices=_slice_rows(metrics),
        parameters=trained.parameters,
        flops=trained.flops,
        epochs=len(trained.history),
        seconds=trained.cost.duration_s,
        throughput=trained.cost.samples_per_s,
        seed=trained.fit.seed,
        limits=_limits(metrics),
    )


def _slice_rows(metrics: Mapping[str, float]) -> str:
    rows = []
    for digit in range(10):
        values = (metrics.get(f"eval/slice/digit_{digit}/{metric}") for metric in ("recall", "precision"))
        told = " | ".join("not measured" if value is None else f"{value:.1%}" for value in values)
        rows.append(f"| {digit} | {told} |")
    return "\n".join(rows)


def _limits(metrics: Mapping[str, float]) -> str:
    """The weakest digit and the most harmful disturbance, as measured."""
    recalls = {name.split("/")[2][-1]: value for name, value in metrics.items() if name.endswith("/recall")}
    weakest = min(recalls, key=lambda digit: recalls[digit])
    harm = {name.split("/")[-1].removesuffix("_accuracy"): v for name, v in metrics.items() if "/robust/" in name}
    worst = min(harm, key=lambda test: harm[test])
    return (
        f"The digit {weakest} is found least often ({recalls[weakest]:.1%}). Of the disturbances tested, {worst} costs "
        f"most: accuracy falls from {metrics['eval/accuracy']:.1%} to {harm[worst]:.1%}. Other scripts, sizes, colours "
        "and images without a digit were not tested; the model always answers with one of ten digits."
    )
