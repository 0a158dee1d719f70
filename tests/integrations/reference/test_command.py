import json

import pytest

from integrations.reference import __main__ as command
from integrations.reference.errors import MissingLibraryError
from integrations.reference.ladder import command as ladder
from integrations.reference.stories import KEYS

NOWHERE = "http://127.0.0.1:9"


def test_list_names_every_project(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert command.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(KEYS)


def test_explain_shows_a_practice_and_refuses_what_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["explain", "DO1.2.2"]) == 0
    assert "dlemm.approved_by" in capsys.readouterr().out
    assert command.main(["explain", "DO9.9.9"]) == 2
    assert "There is no practice 'DO9.9.9'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "letters", "--tracking-uri", NOWHERE],
        ["ladder", "6", "--tracking-uri", NOWHERE],
        ["ladder", "3", "--tracking-uri", NOWHERE, "--without", "DG9.9.9"],
        ["ladder", "3", "--tracking-uri", NOWHERE, "--experiment-prefix", "a'b"],
        ["ladder", "3"],
    ],
)
def test_what_there_is_not_is_refused_before_anything_runs(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize("arguments", [["ladder", "1"], ["run", "digits", "--step", "2"], ["verify"]])
def test_a_server_that_is_not_there_is_told_in_one_sentence(arguments, tmp_path, capsys) -> None:
    pytest.importorskip("mlflow")
    assert command.main([*arguments, "--tracking-uri", NOWHERE, "--folder", str(tmp_path)]) == 2
    said = capsys.readouterr().err.strip()
    assert NOWHERE in said
    assert "\n" not in said


def test_an_address_that_is_none_is_told_too(tmp_path, capsys) -> None:
    pytest.importorskip("mlflow")
    assert command.main(["ladder", "1", "--tracking-uri", "sqlite:///x.db", "--folder", str(tmp_path)]) == 2
    assert "begins with http(s)://" in capsys.readouterr().err


def test_a_missing_library_is_told_on_the_json_line_too(tmp_path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingLibraryError("torch is not installed; install it with: pip install torch")

    monkeypatch.setattr(ladder, "require_libraries", missing)
    given = ["ladder", "1", "--tracking-uri", NOWHERE, "--folder", str(tmp_path), "--json"]
    assert command.main(given) == 2
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["state"]) == ("end", "failed")
    assert "pip install torch" in line["message"]


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path, capsys) -> None:
    pytest.importorskip("mlflow")
    (tmp_path / "file").write_text("")
    given = ["ladder", "1", "--tracking-uri", NOWHERE, "--folder", str(tmp_path / "file" / "x")]
    assert command.main(given) == 2
    assert "cannot be written to" in capsys.readouterr().err
