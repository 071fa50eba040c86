import argparse
import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from ci import refresh_base
from ci.fetch.retry import Patience
from ci.host.errors import AccessError, InputError, ToolsmithError, VerificationError
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.text.markdown import Markdown
from tests.support.quiet import quiet_reporter

ENVIRON = {"GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": "t" * 40}
JAMMY = (ROOT / "build/images/jammy.toml").read_text(encoding="utf-8")


def options(*argv: str) -> argparse.Namespace:
    return refresh_base.arguments().parse_args(argv)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with three images, of which two follow a stream."""
    folder = tmp_path / "build/images"
    shutil.copytree(ROOT / "build/images/common", folder / "common")
    for name in ("one", "two"):
        (folder / f"{name}.toml").write_text(JAMMY)
    (folder / "plain.toml").write_text((ROOT / "build/images/bookworm.toml").read_text())
    monkeypatch.setattr(refresh_base, "ROOT", tmp_path)
    return folder


def test_all_images_that_follow_a_stream_are_looked_at(checkout: Path) -> None:
    assert checkout.is_dir()
    assert refresh_base.followers(None) == ["one", "two"]
    assert refresh_base.followers("two") == ["two"]


@pytest.mark.parametrize(("name", "words"), [("plain", "does not follow a stream"), ("tow", "did you mean `two`")])
def test_an_image_that_cannot_follow_is_refused(checkout: Path, name: str, words: str) -> None:
    assert checkout.is_dir()
    with pytest.raises(InputError, match=words):
        refresh_base.followers(name)


def test_ubuntus_images_follow_a_stream() -> None:
    assert refresh_base.followers(None) == ["jammy", "noble"]


@pytest.mark.parametrize(
    ("argv", "environ", "error"),
    [
        (["--image", "nothing"], {}, InputError),
        (["--repository", "r"], {}, InputError),
        ([], {"GITHUB_TOKEN": ""}, AccessError),
        ([], {"GITHUB_API_URL": "http://api.github.com"}, InputError),
    ],
)
def test_what_nobody_needs_to_be_asked_about(
    argv: list[str], environ: dict[str, str], error: type[ToolsmithError]
) -> None:
    with pytest.raises(error):
        refresh_base.main(options(*argv), quiet_reporter(), environ=ENVIRON | environ)


def test_one_image_that_fails_holds_up_no_other_and_the_run_fails(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "three.toml").write_text(JAMMY)

    def refresh(name: str, *_others: object, **_more: object) -> tuple[Markdown, str]:
        if name != "two":
            raise VerificationError(f"{name} is wrong")
        return Markdown("Proposed."), "https://github.com/o/r/pull/7"

    monkeypatch.setattr(refresh_base, "_refresh", refresh)
    summary, output, said = tmp_path / "summary", tmp_path / "output", io.StringIO()
    environ = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(output)}
    reporter = Reporter(Console(file=said, width=200), in_actions=False)
    with pytest.raises(VerificationError, match="one is wrong"):
        refresh_base.main(options("--dry-run"), reporter, environ=environ, patience=Patience())
    assert summary.read_text() == "### Base of `two`\n\nProposed.\n\n"
    assert "https://github.com/o/r/pull/7" in output.read_text()
    assert "three: three is wrong" in said.getvalue()
