"""What is promised of the property tests themselves."""

import importlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


def drawn() -> list[str]:
    found: list[str] = []

    @given(st.text())
    def draw(text: str) -> None:
        found.append(text)

    draw()
    return found


@pytest.mark.skipif(not settings().derandomize, reason="`make search` draws other examples every time")
def test_the_same_examples_are_drawn_again_whatever_else_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = drawn()
    (tmp_path / "loaded_meanwhile.py").write_text(f"WORDS = {[f'word {number}' for number in range(100)]}\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("loaded_meanwhile")
    assert drawn() == before
    assert len(before) == 100
