import json
from dataclasses import replace

import pytest

from integrations.reference import __main__ as command
from integrations.reference.case import all_cases, case, find_case
from integrations.reference.errors import MissingLibraryError, UnknownCaseError
from integrations.reference.progress import pick_display, telling
from integrations.reference.steps import STEPS, StepKey


def test_list_names_every_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [known.key for known in all_cases()]


def test_explain_tells_every_step_and_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["explain"]) == 0
    told = capsys.readouterr().out
    assert all(step.title in told for step in STEPS)
    assert [step.key for step in STEPS] == list(StepKey)
    assert "dlemm.approved_by" in told


def test_a_change_of_the_configuration_is_another_story() -> None:
    known = find_case("digits")
    assert known.fingerprint() == find_case("digits").fingerprint()
    assert replace(known, split_seed=21).fingerprint() != known.fingerprint()
    assert find_case("digits-quick").fingerprint() != known.fingerprint()


def test_two_cases_cannot_share_a_name() -> None:
    def digits():
        raise AssertionError

    all_cases()
    with pytest.raises(ValueError, match="two cases are called digits"):
        case(digits)


def test_an_unknown_case_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownCaseError, match="digits, digits-quick"):
        find_case("letters")
    assert command.main(["run", "letters", "--tracking-uri", "http://127.0.0.1:9"]) == 2
    assert capsys.readouterr().err.startswith("There is no case 'letters'")


def test_a_missing_library_is_told_on_the_json_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingLibraryError("torch is not installed; install it with: pip install torch")

    monkeypatch.setattr(command, "require_libraries", missing)
    assert command.main(["run", "digits", "--tracking-uri", "http://127.0.0.1:9", "--json"]) == 2
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["state"]) == ("story", "failed")
    assert "pip install torch" in line["message"]


@pytest.mark.parametrize("text", ["a b", "a'b", "", "-x"])
def test_a_project_key_that_could_break_a_query_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["run", "digits", "--tracking-uri", "http://x", f"--project={text}"])
    assert stopped.value.code == 2
    assert "letters, digits" in capsys.readouterr().err


def test_plain_lines_hold_no_control_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with telling(pick_display(as_json=False), StepKey.TRAIN) as step:
        step.say("cnn")
        step.conclude("8 runs")
    out = capsys.readouterr().out
    assert out.startswith("2/10 Train: done, ")
    assert "\x1b" not in out


def test_a_failing_step_is_told_and_its_error_passes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), telling(pick_display(as_json=True), StepKey.GATE):
        raise RuntimeError
    line = json.loads(capsys.readouterr().out)
    assert (line["step"], line["number"], line["of"], line["state"]) == ("gate", 5, len(STEPS), "failed")
