"""The engine on its own: ``python -m maturity check|verify|score|explain|unpack|write``.

Needs no Django, no database and no network. Exit status: 0 all well, 1 the answer is no, 2 the input is unusable.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from maturity import pack
from maturity.gaps import gaps
from maturity.reader import ModelError
from maturity.schema import BUNDLED, load_model
from maturity.telling import first_steps, gap_lines, level_lines, practice_lines


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except ModelError as error:
        print(f"{len(error.faults)} fault(s) in the model:\n{error}", file=sys.stderr)
        return 1
    except (pack.PackError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m maturity", description="Check models and evidence packs offline.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        sub.add_argument("--language", choices=("en", "zh"), default="en", help="language of the output")
        return sub

    command("check", _check, "Validate a model folder; every fault is listed with file and key.").add_argument(
        "folder", type=Path, nargs="?", default=BUNDLED
    )
    verify = command("verify", _verify, "Compute a pack's result again and compare it byte for byte.")
    verify.add_argument("pack", type=Path)
    verify.add_argument("--id", help="the pack id printed in the report")
    command("score", _score, "Print the levels and gaps of a pack, computed now.").add_argument("pack", type=Path)
    explain = command("explain", _explain, "Show how one practice got its rating.")
    explain.add_argument("pack", type=Path)
    explain.add_argument("practice")
    unpack = command("unpack", _unpack, "Write a pack's members into a folder.")
    unpack.add_argument("pack", type=Path)
    unpack.add_argument("folder", type=Path)
    write = command("write", _write, "Write a pack from a folder laid out like an unpacked one.")
    write.add_argument("folder", type=Path)
    write.add_argument("pack", type=Path)
    return parser


def _check(options: argparse.Namespace) -> int:
    model = load_model(options.folder.resolve())
    measured = sum(indicator.measure is not None for indicator in model.indicators.values())
    print(
        f"{model.name.in_(options.language)} {model.version}: {len(model.capabilities)} capabilities, "
        f"{len(model.practices)} practices, {len(model.indicators)} indicators ({measured} measured). No fault."
    )
    print(f"digest {model.digest}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    result = pack.verify(options.pack.read_bytes(), expected_id=options.id)
    if not result.ok:
        for fault in result.faults:
            print(f"NOT VERIFIED: {fault}", file=sys.stderr)
        return 1
    print(f"Verified: the result follows from the pack, byte for byte.\npack id {result.pack_id}")
    return 0


def _score(options: argparse.Namespace) -> int:
    inputs, _ = pack.read(options.pack.read_bytes())
    scorecard = pack.compute(inputs)
    for line in level_lines(inputs.model, scorecard, options.language):
        print(line)
    for line in gap_lines(inputs.model, first_steps(gaps(inputs.model, scorecard), 10), options.language):
        print(line)
    return 0


def _explain(options: argparse.Namespace) -> int:
    inputs, scorecard = pack.read(options.pack.read_bytes())
    if options.practice not in inputs.model.practices:
        print(f"error: the model has no practice {options.practice}", file=sys.stderr)
        return 2
    for line in practice_lines(inputs.model, scorecard, options.practice, options.language):
        print(line)
    return 0


def _unpack(options: argparse.Namespace) -> int:
    if options.folder.exists() and any(options.folder.iterdir()):
        print(f"error: {options.folder} is not empty", file=sys.stderr)
        return 2
    pack.unpack(options.pack.read_bytes(), options.folder)
    print(f"unpacked into {options.folder}")
    return 0


def _write(options: argparse.Namespace) -> int:
    content = pack.from_folder(options.folder)
    options.pack.write_bytes(content)
    print(f"written {options.pack}\npack id {pack.pack_id(content)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
