import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.host import actions
from ci.text.markdown import Markdown


@given(st.text())
def test_a_message_can_never_start_a_command_of_its_own(message: str) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as stream:
        actions.tell("error", message)
    assert stream.getvalue().startswith("::error::")
    assert stream.getvalue().count("\n") == 1
    assert "\r" not in stream.getvalue()


def test_text_is_escaped_as_actions_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    actions.tell("warning", "100%\na\r\n%0A")
    assert capsys.readouterr().err == "::warning::100%25%0Aa%0D%0A%250A\n"


def test_outputs_are_appended_and_no_value_can_define_another(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.write_text("before=1\n")
    actions.set_outputs({"a": "1\nb<<end\n2\nend", "c": ""}, {"GITHUB_OUTPUT": str(output)})
    assert read_outputs(output.read_text()) == {"before": "1", "a": "1\nb<<end\n2\nend", "c": ""}


def read_outputs(text: str) -> dict[str, str]:
    """The file as GitHub's runner reads it."""
    result: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, here, end = line.partition("<<")
        if here:
            result[name] = "\n".join(iter(lambda: next(lines), end))
        else:
            name, _, result[name] = line.partition("=")
    return result


def test_the_summary_is_appended_with_a_blank_line_between(tmp_path: Path) -> None:
    summary = tmp_path / "summary"
    for text in ("# one\n", "two"):
        actions.append_summary(Markdown(text), {"GITHUB_STEP_SUMMARY": str(summary)})
    assert summary.read_text() == "# one\n\ntwo\n\n"


def test_outside_actions_nothing_is_written() -> None:
    actions.append_summary(Markdown("x"), {})
    actions.set_outputs({"a": "b"}, {})
    assert not actions.in_actions({})
    assert actions.in_actions({"GITHUB_ACTIONS": "true"})
