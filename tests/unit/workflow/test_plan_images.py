import argparse
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ci import build_image
from ci.github.answers import Release
from ci.github.context import Context
from ci.github.conversation import Repository, WorkflowRun
from ci.host.errors import InputError, RefusedError, ToolError
from ci.host.process import Completed
from ci.image.definition import RELEASE_IMAGE, Definition, load_definition
from ci.records.version import Version
from ci.workflow import plan_images
from ci.workflow.plan_images import Purpose
from tests.support.quiet import quiet_reporter

SHA = "c" * 40
OTHER_SHA = "d" * 40
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJvZ3VzYm9ndXNib2d1c2JvZ3VzYm9ndXNib2d1c2Jv a test\n"
URL = "https://images.example/base.img"
VARIABLES = (
    "PURPOSE", "IMAGE_VERSION", "IMAGE", "BASE_IMAGE_URL", "BASE_IMAGE_SHA256", "RESUME", "DEFAULT_BRANCH", "SINCE",
)  # fmt: skip
TAGGED = {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v2026.11.23"}


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a key, in the place of the repository's."""
    file = tmp_path / "keys"
    file.write_text(KEY)
    monkeypatch.setattr(plan_images, "KEYS", file)
    return file


def options(*argv: str) -> argparse.Namespace:
    return plan_images.arguments().parse_args(argv)


def definitions(*checked: str, **releases: bool) -> dict[str, Definition]:
    like = load_definition("bookworm", plan_images.FOLDER)
    return {
        name: like.model_copy(update={"release": release, "check": name in checked})
        for name, release in releases.items()
    }


def outputs(tmp_path: Path, *argv: str, **environ: str) -> dict[str, str]:
    path = tmp_path / "output"
    path.write_text("")
    plan_images.main(options(*argv), quiet_reporter(), environ={"GITHUB_OUTPUT": str(path), **environ})
    lines = path.read_text().splitlines()
    return {lines[at].partition("<<")[0]: lines[at + 1] for at in range(0, len(lines), 3)}


def test_each_input_comes_by_its_variable_because_a_command_line_could_be_broken_out_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = dict(zip(VARIABLES, ("check", "v2026.11.23", "jammy", URL, "a" * 64, "7", "main", SHA), strict=True))
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert options() == argparse.Namespace(
        verbose=False, log=None, purpose="check", version="v2026.11.23", image="jammy", base_url=URL,
        base_sha256="a" * 64, resume="7", default_branch="main", since=SHA,
    )  # fmt: skip


def test_a_check_builds_what_is_released_or_listed_for_it_the_default_one_first(tmp_path: Path) -> None:
    found = outputs(tmp_path, "--purpose", "check", "--version", "v2026.11.23")
    assert found["version"] == "v2026.11.23"
    assert json.loads(found["images"]) == ["jammy", "bookworm"]


@pytest.mark.parametrize(
    ("purpose", "images"),
    [
        (Purpose.CHECK, ["jammy", "checked", "third"]),
        (Purpose.REHEARSAL, ["jammy", "third"]),
        (Purpose.RELEASE, ["jammy", "third"]),
    ],
)
def test_a_release_carries_the_default_and_what_is_listed_for_it(purpose: Purpose, images: list[str]) -> None:
    known = definitions("checked", jammy=False, checked=False, other=False, third=True)
    assert plan_images.planned_images(purpose, None, known) == images


def test_one_definition_may_be_asked_for_but_not_released_against_its_own_word() -> None:
    known = definitions(jammy=True, other=False)
    assert plan_images.planned_images(Purpose.REHEARSAL, "other", known) == ["other"]
    with pytest.raises(InputError, match="'other' is not one that releases carry"):
        plan_images.planned_images(Purpose.RELEASE, "other", known)
    with pytest.raises(InputError, match="there is no image definition 'jamy'; did you mean `jammy`"):
        plan_images.planned_images(Purpose.REHEARSAL, "jamy", known)


@pytest.mark.parametrize("name", ["$(id)", "UPPER", "a b", "-x", "x" * 50, "ä"])
def test_a_name_that_could_mean_something_to_a_shell_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (plan_images.FOLDER / "bookworm.toml").read_text()
    (tmp_path / f"{name}.toml").write_text(text)
    monkeypatch.setattr(plan_images, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="cannot be an image's name"):
        plan_images.read_definitions()


def test_two_definitions_that_would_write_the_same_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(plan_images.FOLDER / "common", tmp_path / "common")
    for name in ("one", "two"):
        shutil.copy(plan_images.FOLDER / "bookworm.toml", tmp_path / f"{name}.toml")
    monkeypatch.setattr(plan_images, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="'one' and 'two' have the distribution 'debian-12' both"):
        plan_images.read_definitions()


def test_the_version_is_the_one_asked_for_the_tag_or_today(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Clock":
            assert tz is UTC
            return cls(2026, 3, 1, 0, 30, tzinfo=UTC)

    monkeypatch.setattr(plan_images, "datetime", Clock)
    assert str(plan_images.planned_version(options("--version", "v2026.01.02.3"), {})) == "v2026.01.02.3"
    assert str(plan_images.planned_version(options(), TAGGED)) == "v2026.11.23"
    assert str(plan_images.planned_version(options("--version", ""), {})) == "v2026.03.01"


@pytest.mark.parametrize("tag", ["v1.0", "v2026.13.01", "v2026.02.30", "vnext"])
def test_a_tag_that_is_no_version_is_refused(tag: str) -> None:
    with pytest.raises(InputError, match=f"'{tag}' is not a version"):
        plan_images.planned_version(options(), {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": tag})


def test_a_tag_and_another_version_are_refused() -> None:
    assert str(plan_images.planned_version(options("--version", "v2026.11.23"), TAGGED)) == "v2026.11.23"
    with pytest.raises(InputError, match=r"the tag v2026\.11\.23, the version asked for is v2026\.11\.24"):
        plan_images.planned_version(options("--version", "v2026.11.24"), TAGGED)


def test_a_run_is_not_resumed_as_whatever_today_is() -> None:
    with pytest.raises(InputError, match="without its version"):
        plan_images.planned_version(options("--resume", "7"), {})
    assert str(plan_images.planned_version(options("--resume", "7"), TAGGED)) == TAGGED["GITHUB_REF_NAME"]


@pytest.mark.parametrize(
    ("argv", "images", "message"),
    [
        (["--base-sha256", "a" * 64], ["jammy"], "a digest of a base, but no URL"),
        (["--base-url", URL], ["jammy", "other"], "one base cannot be that of jammy, other"),
        (["--base-url", URL, "--resume", "7"], ["jammy"], "has its bases already"),
    ],
)
def test_inputs_that_do_not_go_together_are_refused(argv: list[str], images: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_images.refuse_contradictions(options(*argv), images)


@pytest.mark.parametrize("argv", [[], ["--base-url", URL], ["--base-url", URL, "--base-sha256", "a" * 64]])
def test_inputs_that_do_go_together_are_not(argv: list[str]) -> None:
    plan_images.refuse_contradictions(options(*argv), ["jammy"])


@pytest.mark.parametrize(
    "path",
    [
        "build/guest/etc/hosts", "build/images/jammy.toml", "ci/boot/vm/ssh.py", "ci/release/publish.py",
        "scripts/setup.sh", "requirements.lock", ".github/workflows/image.yml",
        ".github/actions/prepare-runner/action.yml", "Makefile", "a-new-folder/file", "docs.txt", "README.md.in",
    ],
)  # fmt: skip
def test_what_may_change_an_image_rebuilds_it(path: str) -> None:
    assert plan_images.is_related(path)


@pytest.mark.parametrize(
    "path", ["manifests/tools.json", "releases/v2026.11.23.md", "docs/releases.md", "README.md", "tests/unit/test_x.py"]
)
def test_a_roll_out_and_texts_do_not(path: str) -> None:
    assert not plan_images.is_related(path)


def test_a_pull_request_that_touches_no_image_builds_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = ["manifests/tools.json", "docs/releases.md"]
    monkeypatch.setattr(plan_images, "changed_files", lambda *_: changed)
    assert outputs(tmp_path, "--purpose", "check")["images"] == "[]"
    changed.append("ci/doctor.py")
    assert json.loads(outputs(tmp_path, "--purpose", "check")["images"]) == ["jammy", "bookworm"]


def test_a_pull_request_is_compared_with_its_base_and_a_merge_queues_with_what_it_merges_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    argvs: list[list[str]] = []

    def git(argv: list[str], **_: object) -> Completed:
        argvs.append(argv)
        return Completed(argv=tuple(argv), returncode=0, stdout="a\0b\0", stderr="", seconds=0.0)

    monkeypatch.setattr(plan_images, "run", git)
    changed = plan_images.changed_files
    assert changed(None, {"GITHUB_EVENT_NAME": "pull_request"}) == ["a", "b"]
    assert changed(SHA, {"GITHUB_EVENT_NAME": "merge_group"}) == ["a", "b"]
    assert [argv[-2:] for argv in argvs] == [["HEAD^1", "HEAD"], [SHA, "HEAD"]]
    assert changed("", {"GITHUB_EVENT_NAME": "merge_group"}) is None
    assert changed(SHA, {"GITHUB_EVENT_NAME": "push"}) is None


def test_a_change_that_cannot_be_told_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*_: object, **__: object) -> Completed:
        raise ToolError("fatal: bad object")

    monkeypatch.setattr(plan_images, "run", git)
    assert plan_images.changed_files(SHA, {"GITHUB_EVENT_NAME": "merge_group"}) is None


@pytest.mark.parametrize("environ", [{}, TAGGED, {"GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "main"}])
def test_a_release_is_made_on_a_tag_or_on_the_default_branch(environ: dict[str, str]) -> None:
    plan_images.require_release_ref("main", environ)


@pytest.mark.parametrize("default", ["main", "", None])
def test_a_release_on_another_branch_is_refused(default: str | None) -> None:
    with pytest.raises(RefusedError, match="this run is on the branch 'feature'"):
        plan_images.require_release_ref(default, {"GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "feature"})


@pytest.mark.parametrize("environ", [{}, TAGGED])
def test_without_a_key_nothing_is_built_and_a_tag_may_be_moved(
    environ: dict[str, str], keys: Path, tmp_path: Path
) -> None:
    keys.write_text("# nobody\n")
    with pytest.raises(InputError, match="nobody could log in") as caught:
        outputs(tmp_path, "--purpose", "rehearsal", **environ)
    assert ("git push --force origin v2026.11.23" in caught.value.hint) is bool(environ)


def test_where_nothing_is_built_there_need_be_no_key(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.unlink()
    monkeypatch.setattr(plan_images, "changed_files", lambda *_: ["docs/releases.md"])
    assert outputs(tmp_path, "--purpose", "check")["images"] == "[]"


def test_a_wrong_definition_lets_a_tag_be_moved_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b.toml").touch()
    monkeypatch.setattr(plan_images, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="cannot be an image's name") as caught:
        outputs(tmp_path, "--purpose", "rehearsal", **TAGGED)
    assert "git tag --force v2026.11.23" in caught.value.hint


@pytest.mark.parametrize("purpose", ["", "publish", "Release"])
def test_an_unknown_purpose_is_refused(purpose: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a purpose"):
        outputs(tmp_path, "--purpose", purpose)


class Asked:
    """What GitHub would say."""

    context = Context(
        api_url="https://api.github.com", server_url="https://github.com", repository="o/r", commit=SHA, token="t" * 20
    )  # fmt: skip

    def __init__(
        self, *, published: Release | None = None, tagged: str | None = None, run: WorkflowRun | None = None
    ) -> None:
        self.published, self.tagged, self.run = published, tagged, run

    def published_release(self, _: str) -> Release | None:
        return self.published

    def tag_commit(self, _: str) -> str | None:
        return self.tagged

    def read(self, *_: object) -> WorkflowRun:
        assert self.run is not None
        return self.run


def look(asked: Asked, resume: str | None = None) -> None:
    plan_images.look_at_github(asked, Version.parse("v2026.11.23"), resume)  # type: ignore[arg-type]


RELEASE = Release(
    id=1, tag_name="v2026.11.23", target_commitish=SHA, draft=False, html_url="https://github.com/r", upload_url="u"
)
RUN = WorkflowRun(
    id=7, html_url="https://github.com/run/7", head_sha=SHA, event="push", path=".github/workflows/release.yml",
    repository=Repository(id=1), head_repository=Repository(id=1),
)  # fmt: skip


def test_what_is_free_may_be_released() -> None:
    look(Asked())
    look(Asked(tagged=SHA))


def test_a_version_that_is_published_is_not_built_again() -> None:
    with pytest.raises(RefusedError, match=r"v2026\.11\.23 is published already: https://github.com/r") as caught:
        look(Asked(published=RELEASE))
    assert "toolsmith-image roll-out --tag" in caught.value.hint


def test_a_tag_on_another_commit_is_found_before_the_build() -> None:
    with pytest.raises(RefusedError, match=f"is on commit {OTHER_SHA}, this run is for {SHA}"):
        look(Asked(tagged=OTHER_SHA))


@pytest.mark.parametrize("path", [".github/workflows/release.yml", ".github/workflows/release.yml@refs/heads/main"])
def test_a_release_of_this_commit_may_be_resumed_even_if_it_is_published(path: str) -> None:
    look(Asked(run=RUN.model_copy(update={"path": path}), published=RELEASE), "7")


@pytest.mark.parametrize(
    "change",
    [
        {"path": ".github/workflows/pull-request.yml"},
        {"path": ".github/workflows/release.yml.other.yml"},
        {"head_repository": Repository(id=2)},
        {"head_repository": None},
        {"head_sha": OTHER_SHA},
    ],
)
def test_images_of_any_other_run_are_not_released(change: dict[str, object]) -> None:
    with pytest.raises(RefusedError):
        look(Asked(run=RUN.model_copy(update=change)), "7")


@pytest.mark.parametrize("run", ["latest", "-1", "7/attempts/1", "\u0667"])
def test_what_is_no_run_is_refused(run: str) -> None:
    with pytest.raises(InputError, match="is not a run"):
        look(Asked(run=RUN), run)


def test_the_default_is_the_builds_own() -> None:
    assert build_image.arguments().get_default("image") == RELEASE_IMAGE
