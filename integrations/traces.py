"""Traces of good practice in a few lines: one file, to be copied next to a training script.

    import traces
    with traces.run("churn", "train", "gradient boosting, all features"):
        traces.pin(seed=7)
        traces.use("customers", rows, "training", source="warehouse.customers", schema={"age": "int64"})
        traces.check_data({"no age is missing": all(row["age"] is not None for row in rows)})
        ...  # your training, as it is

Needs the standard library and the MLflow client that the script has already. Run functions write to the active run;
version functions to the registry. Each docstring names the practices that it serves and, in brackets, the indicators
or reports that show them. Nothing is logged that was not measured: every function takes what your code found out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import random
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

ALIAS = "production"
"""The alias that names the version in service."""
BINS, FLOOR = 10, 1e-3
"""Bins of a drift index, and the smallest share of one, so that an empty bin gives a large number, not an infinite."""
PSI_LIMIT = 0.25
"""Above it an index is read as a marked change."""


class TracesError(Exception):
    """Something is missing or not allowed; the message says what to do."""


class DataCheckFailed(TracesError):
    """The training data broke expectations, so the training must not go on."""


class GateFailed(TracesError):
    """A version may not go into service."""


# Runs.


@contextlib.contextmanager
def run(
    project: str,
    stage: str,
    name: str,
    *,
    role: str = "",
    trigger: str = "manual",
    pipeline: str = "",
    user: str = "",
    tags: Mapping[str, str] | None = None,
) -> Iterator[Any]:
    """A run that says whose it is, what it is for and, if it fails, why; gives MLflow's active run.

    ``stage``: train, retrain, evaluate, monitor, trial …; ``role``: baseline or control; ``trigger``: schedule, data,
    drift, ci or manual; ``pipeline``: what started it. A run inside another becomes its child.

    Serves MD1.3.2 (EXP-05, EXP-06), DO6.2.2 (DEL-03), DO5.1.1 and DO5.2.1 (CT-01), DO5.3.1 (CT-02).
    """
    mlflow = _mlflow()
    given = {"dlemm.project": project, "dlemm.stage": stage, "dlemm.trigger": trigger}
    given |= {"dlemm.role": role, "dlemm.pipeline": pipeline, "mlflow.user": user, **(tags or {})}
    given = {key: value for key, value in given.items() if value}
    with mlflow.start_run(run_name=name, tags=given, nested=mlflow.active_run() is not None) as active:
        try:
            yield active
        except BaseException as error:
            with contextlib.suppress(Exception):  # the reason must not hide the error itself
                mlflow.set_tag("dlemm.failure_reason", f"{type(error).__name__}: {error}"[:500])
            raise


def pin(seed: int, *, device: str = "", folder: str = ".") -> None:
    """Set the seed of Python, NumPy and torch (those in use) and log it with packages, commit and device.

    Serves MD1.3.1 (EXP-03), MD1.2.2 (EXP-02), MD3.1.1 (OPT-07).
    """
    mlflow = _mlflow()
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    _active()
    mlflow.log_param("seed", seed)
    mlflow.set_tag("device", device or _device())
    mlflow.set_tags(_commit(folder))
    listed = {f"{found.metadata['Name']}=={found.version}" for found in metadata.distributions()}
    mlflow.log_text("".join(f"{line}\n" for line in sorted(listed, key=str.lower)), "requirements.txt")


def _device() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"cpu, {os.cpu_count()} cores"


def _commit(folder: str) -> dict[str, str]:
    """Commit of the folder and whether anything in it is uncommitted; nothing where there is no repository."""
    told = []
    for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")):
        try:
            done = subprocess.run(  # noqa: S603 - fixed arguments
                ["git", "-C", folder, *arguments],  # noqa: S607 - the system's git
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return {}
        if done.returncode:
            return {}
        told.append(done.stdout.strip())
    return {"dlemm.git.commit": told[0], "mlflow.source.git.dirty": "true" if told[1] else "false"}


# Data.


def digest(rows: Iterable[Any]) -> str:
    """A digest of rows in their order: equal rows, equal digest. Rows are arrays, bytes, or anything with a fixed repr.

    Serves DG1.3.1 (DAT-02).
    """
    whole = hashlib.sha256()
    for row in rows:
        whole.update(hashlib.sha256(_bytes(row)).digest())
    return whole.hexdigest()[:32]


def _bytes(row: Any) -> bytes:
    if isinstance(row, bytes):
        return row
    return bytes(row.tobytes()) if hasattr(row, "tobytes") else repr(row).encode()


def use(name: str, rows: Iterable[Any], context: str, *, source: str, schema: Mapping[str, Any] | None = None) -> str:
    """Log a dataset as an input of the run; gives its digest. ``context``: training, validation, test or eval.

    Serves DG1.1.1 (DAT-01), DG1.2.1 (DAT-02), DG1.3.2 (DAT-04), DG2.2.1 (DAT-05, with ``schema``), DG2.2.2 (DAT-03).
    """
    mlflow = _mlflow()
    from mlflow.entities import Dataset, DatasetInput, InputTag

    found = digest(rows)
    where = json.dumps({"uri": source})
    dataset = Dataset(name, found, "local", where, schema=json.dumps(schema) if schema else None)
    given = DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
    mlflow.MlflowClient().log_inputs(_active(), [given])
    return found


def overlap(training: Iterable[Any], evaluation: Iterable[Any], *, stop: bool = True) -> int:
    """Count rows that both splits have and log the number; raises ``DataCheckFailed`` when there are any.

    Serves DG2.2.2 (DAT-08).
    """
    seen = {hashlib.sha256(_bytes(row)).digest() for row in training}
    count = sum(hashlib.sha256(_bytes(row)).digest() in seen for row in evaluation)
    _log({"dq/train_eval_overlap": float(count)})
    if count and stop:
        raise DataCheckFailed(f"{count} evaluation rows are also training rows")
    return count


def check_data(
    expectations: Mapping[str, bool | Callable[[], bool]], *, waived: Sequence[str] = (), stop: bool = True
) -> list[str]:
    """Check the training data before training; gives the broken expectations, by name.

    An expectation is a yes or no, or a function that gives one; one that raises is broken. Raises ``DataCheckFailed``
    unless all broken ones are ``waived`` or ``stop`` is off.

    Serves DG2.3.1 (DAT-06), DG2.4.1 (DAT-07).
    """
    broken = [name for name, held in expectations.items() if not _holds(held)]
    blocking = [name for name in broken if name not in waived]
    status = "blocked" if blocking else "waived" if broken else "passed"
    _log(
        {"dq/expectations_passed": float(len(expectations) - len(broken)), "dq/expectations_failed": float(len(broken))}
    )
    _mlflow().set_tags({"dlemm.dq.status": status, **({"dlemm.dq.broken": "; ".join(broken)[:500]} if broken else {})})
    if blocking and stop:
        raise DataCheckFailed(f"the training data breaks {len(blocking)} expectations: {'; '.join(blocking)}")
    return broken


def _holds(held: bool | Callable[[], bool]) -> bool:
    try:
        return bool(held() if callable(held) else held)
    except Exception:  # an expectation that cannot be judged is not met
        return False


def subgroups(members: Mapping[str, int], total: int) -> float:
    """Log the share of the smallest declared subgroup of the training set; ``members``: rows of each subgroup.

    Serves DG2.3.2 (DAT-09).
    """
    smallest = min(members.values()) / total
    _log({"dq/subgroup_min_share": smallest, **{f"dq/subgroup/{name}": n / total for name, n in members.items()}})
    return smallest


# Evaluation and release.


def evaluation(
    primary: str,
    correct: Sequence[float],
    *,
    slices: Mapping[str, Sequence[float]] | None = None,
    stresses: Mapping[str, float] | None = None,
    greater_is_better: bool = True,
) -> tuple[float, float, float]:
    """Log the primary metric as the mean of scores a row, with a 95 % bootstrap interval; gives mean, low and high.

    ``primary`` such as ``eval/accuracy``; ``slices``: scores a row by slice, three or more; ``stresses``: the metric
    under each stress test, two or more. Log the evaluation data by ``use(…, "test", …)``. A run with the role baseline
    that is evaluated in the same way is what a release must beat.

    Serves MD2.2.1 (ARC-02), MD4.1.1 and MD4.2.1 (EVAL-01), MD4.2.2 (EVAL-02), MD4.3.2 (EVAL-04), MD4.4.1 (EVAL-03).
    """
    mean, low, high = _interval(correct)
    name = primary.rpartition("/")[2]
    found = {
        primary: mean,
        "eval/primary_ci_low": low,
        "eval/primary_ci_high": high,
        "eval/samples": float(len(correct)),
    }
    found |= {f"eval/slice/{key}/{name}": _mean(rows) for key, rows in (slices or {}).items() if len(rows)}
    found |= {f"eval/robust/{key}": value for key, value in (stresses or {}).items()}
    _log(found)
    better = str(greater_is_better).lower()
    _mlflow().set_tags({"dlemm.primary_metric": primary, "dlemm.primary_metric.greater_is_better": better})
    if slices:
        report("slices", rows=[{"slice": key, "n": len(rows)} for key, rows in slices.items()])
    return mean, low, high


def _mean(rows: Sequence[float]) -> float:
    return math.fsum(float(value) for value in rows) / len(rows)


def _interval(values: Sequence[float], resamples: int = 1000) -> tuple[float, float, float]:
    """Mean and percentile bootstrap interval (Efron 1979) under a fixed seed, drawn apart from the run's own seed."""
    rows = [float(value) for value in values]
    draw, n = random.Random(0), len(rows)
    means = sorted(math.fsum(draw.choices(rows, k=n)) / n for _ in range(resamples))
    return math.fsum(rows) / n, means[round(0.025 * resamples)], means[round(0.975 * resamples) - 1]


def register(model: str, model_uri: str, *, project: str) -> str:
    """Register a logged model from its run; gives the number of the version.

    Serves MD1.1.1 and MD1.2.1 (EXP-01), DO1.2.1 (REG-02, with ``release``).
    """
    version = _mlflow().register_model(model_uri, model, tags={"dlemm.project": project})
    return str(version.version)


def gate(
    model: str, number: str, metrics: Mapping[str, float], policy: Mapping[str, Any], *, stop: bool = True
) -> bool:
    """Hold a version to thresholds that were set before; verdict, policy and time are written on the version.

    ``policy``: ``{"id": "release", "version": 3, "rules": [{"metric": "eval/accuracy", "at_least": 0.9}]}``; a metric
    that was not measured breaks its rule. Raises ``GateFailed`` when a rule is broken and ``stop`` is on.

    Serves MD4.3.1 and DO1.4.1 (EVAL-06).
    """
    broken = [why for rule in policy["rules"] if (why := _broken(rule, metrics))]
    at = {"dlemm.gate.status": "failed" if broken else "passed", "dlemm.gate.at": _now()}
    at["dlemm.gate.policy"] = f"{policy['id']}/{policy['version']}"
    _tag(model, number, {**at, **({"dlemm.gate.broken": "; ".join(broken)} if broken else {})})
    if broken and stop:
        raise GateFailed(f"{model} {number} breaks {policy['id']}: {'; '.join(broken)}")
    return not broken


def _broken(rule: Mapping[str, Any], metrics: Mapping[str, float]) -> str:
    value = metrics.get(rule["metric"])
    if value is None:
        return f"{rule['metric']} was not measured"
    if not value >= rule.get("at_least", -math.inf):  # a NaN is not at least anything
        return f"{rule['metric']} is {value:.4g}, below {rule['at_least']:g}"
    if not value <= rule.get("at_most", math.inf):
        return f"{rule['metric']} is {value:.4g}, above {rule['at_most']:g}"
    return ""


def approve(model: str, number: str, by: str, *, note: str = "") -> None:
    """Record that a second person approves a version. Raises ``GateFailed`` for whoever trained or registered it.

    Serves DO1.2.2 (REG-03).
    """
    client = _mlflow().MlflowClient()
    version = client.get_model_version(model, number)
    makers = {version.user_id}
    if version.run_id:
        makers.add(client.get_run(version.run_id).data.tags.get("mlflow.user"))
    if not by.strip() or by.strip().casefold() in {str(maker).strip().casefold() for maker in makers if maker}:
        raise GateFailed(f"{by or 'nobody'} made {model} {number}; somebody else must approve it")
    tags = {"dlemm.approved_by": by, "dlemm.approved_at": _now(), "dlemm.approval.note": note}
    _tag(model, number, {key: value for key, value in tags.items() if value})


def release(
    model: str,
    number: str,
    *,
    actor: str,
    pipeline: str = "",
    rollout: str = "",
    comparison: Mapping[str, float] | None = None,
) -> None:
    """Put a version into service by the alias, after its gate and approval; the one before it is retired.

    ``actor``: ``ci`` when no hand is in it, with ``pipeline``, its address or run; ``rollout``: shadow, canary or ab,
    with ``comparison``, the figures measured in it. Raises ``GateFailed``.

    Serves DO1.1.1 (REG-01), DO1.2.1 (REG-02), DO1.3.1 (REG-05), DO1.3.2 (REG-06).
    """
    client = _mlflow().MlflowClient()
    version = client.get_model_version(model, number)
    if version.tags.get("dlemm.gate.status") != "passed" or not version.tags.get("dlemm.approved_by"):
        raise GateFailed(f"{model} {number} needs a passed gate and an approval before it is released")
    at = _now()
    for other in client.search_model_versions(f"name = '{model}'"):
        if (
            "dlemm.deployed_at" in other.tags
            and "dlemm.retired_at" not in other.tags
            and other.version != version.version
        ):
            _tag(model, str(other.version), {"dlemm.retired_at": at})
    given = {"dlemm.deployed_at": at, "dlemm.release.actor": actor, "dlemm.release.pipeline": pipeline}
    _tag(model, number, {key: value for key, value in {**given, "dlemm.rollout": rollout}.items() if value})
    for key, value in (comparison or {}).items():
        client.log_metric(version.run_id, f"rollout/{key}", value)
    client.set_registered_model_alias(model, ALIAS, number)


# The watch.


def psi(reference: Sequence[float], current: Sequence[float], bins: int = BINS) -> float:
    """Population stability index over bins that hold equal shares of the reference (Siddiqi 2006).

    Serves DO4.2.1 and DO4.3.1 (MON-01).
    """
    ordered = sorted(reference)
    edges = sorted({ordered[len(ordered) * number // bins] for number in range(1, bins)})
    before, after = (_shares(values, edges) for values in (reference, current))
    return math.fsum((c - r) * math.log(c / r) for r, c in zip(before, after, strict=True))


def _shares(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[bisect_right(edges, value)] += 1
    return [max(count / len(values), FLOOR) for count in counts]


def ks(reference: Sequence[float], current: Sequence[float]) -> float:
    """Kolmogorov-Smirnov statistic: largest distance of the two distribution functions, 0 to 1.

    Serves DO4.2.1 and DO4.3.1 (MON-01).
    """
    left, right = sorted(reference), sorted(current)
    return max(
        abs(bisect_right(left, point) / len(left) - bisect_right(right, point) / len(right))
        for point in {*left, *right}
    )


def drift(
    reference: Mapping[str, Sequence[float]], current: Mapping[str, Sequence[float]], *, limit: float = PSI_LIMIT
) -> list[str]:
    """Log drift of every feature as metrics and as a report; gives the features above the limit.

    Serves DO4.2.1 and DO4.3.1 (MON-01, report drift).
    """
    found = {name: psi(values, current[name]) for name, values in reference.items()}
    _log({f"drift/{name}": value for name, value in found.items()})
    _log({f"drift/{name}/ks": ks(values, current[name]) for name, values in reference.items()})
    moved = [name for name, value in found.items() if value > limit]
    verdicts = {name: "drift" if name in moved else "stable" for name in found}
    report(
        "drift",
        rows=[
            {"feature": name, "statistic": value, "threshold": limit, "verdict": verdicts[name]}
            for name, value in found.items()
        ],
    )
    return moved


@contextlib.contextmanager
def monitor(
    project: str, model: str, number: str, *, owner: str, limit: float = PSI_LIMIT, skew: float | None = None
) -> Iterator[Callable[..., list[str]]]:
    """A run of the watch over a version in service; what it gives logs one look: ``look(reference, current, live)``.

    ``live``: the primary metric on labels that came back, or None; ``skew``: largest difference between a feature in
    training and in serving; ``owner``: who answers the alert.

    Serves DO4.2.1 and DO4.3.1 (MON-01, MON-04, report drift), DO4.2.2 (MON-06), DO4.3.2 (MON-02).
    """
    tags = {"dlemm.model_version": f"{model}/{number}"}
    with run(project, "monitor", f"watch over {model} {number}", tags=tags):
        _mlflow().log_params({"alert.drift.threshold": limit, "alert.drift.owner": owner})

        def look(
            reference: Mapping[str, Sequence[float]], current: Mapping[str, Sequence[float]], live: float | None = None
        ) -> list[str]:
            found = {"live/primary": live, "skew/max": skew}
            _log({key: value for key, value in found.items() if value is not None})
            return drift(reference, current, limit=limit)

        yield look


def report(kind: str, values: Mapping[str, Any] | None = None, rows: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write a report of the published format among the artifacts of the run.

    Serves every check that reads a report of the kind: among others MD6.3.1 (report eval), DG2.1.1 and DG2.3.1 (report
    data_quality), DO3.3.1 (report loadtest).
    """
    whole = {"dlemm_report": "1", "kind": kind, "made_at": _now(), "values": dict(values or {})}
    whole |= {"rows": [dict(row) for row in rows], "run_id": _active()}
    _mlflow().log_text(json.dumps(whole, indent=1, allow_nan=False) + "\n", f"reports/{kind}.json")


def _mlflow() -> Any:
    import mlflow

    return mlflow


def _active() -> str:
    """The id of the active run. Raises ``TracesError`` when there is none."""
    active = _mlflow().active_run()
    if active is None:
        raise TracesError("there is no active run; open one by `with traces.run(project, stage, name):`")
    return str(active.info.run_id)


def _log(values: Mapping[str, float]) -> None:
    _active()
    _mlflow().log_metrics(dict(values))


def _tag(model: str, number: str, tags: Mapping[str, str]) -> None:
    client = _mlflow().MlflowClient()
    for key, value in tags.items():
        client.set_model_version_tag(model, number, key, value)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
