"""Releases compared as anybody would: by tag and by URL, from a public and from a private repository."""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from ci.compare import CompareRequest, compare
from ci.comparison.difference import Difference
from ci.host.errors import FetchError, InputError, VerificationError
from ci.rehearsal.server import GitHubServer
from tests.support.quiet import quiet_reporter
from tests.support.releasing import TAG
from tests.support.stage import FILES, OLD_PACKAGES, OLDER, QUICK, Stage

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHubServer]:
    with GitHubServer.start(tmp_path_factory.mktemp("github")) as server:
        yield server


@pytest.fixture(params=[False, True], ids=["public", "private"])
def stage(
    github: GitHubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Stage:
    """A repository with two releases."""
    monkeypatch.setenv("NO_PROXY", "localhost")
    repository = github.create_repository(tmp_path.name.replace("_", "-"), FILES, private=request.param)
    environ = {
        "GITHUB_API_URL": github.url,
        "GITHUB_SERVER_URL": github.url,
        "GITHUB_REPOSITORY": repository,
        "GITHUB_TOKEN": github.token,
    }
    result = Stage(server=github, repository=repository, folder=tmp_path, environ=environ)
    older = result.build(tag=OLDER, packages=OLD_PACKAGES, folder=tmp_path / "older", base_sha256="c" * 64)
    assert result.publish(dist=older).code == 0
    result.build()
    assert result.publish().code == 0
    return result


def compared(stage: Stage, old: str, new: str, **changes: str) -> Difference:
    request = CompareRequest(
        old=old,
        new=new,
        output="json",
        dist=stage.folder / "dist",
        releases=stage.folder / "releases",
        repository=stage.repository,
    )
    environ = dict(stage.environ) | changes
    with redirect_stdout(io.StringIO()) as printed:
        compare(request, quiet_reporter(), environ=environ, patience=QUICK)
    return Difference.model_validate_json(printed.getvalue())


def url(stage: Stage, ending: str, tag: str = TAG) -> str:
    found: list[dict[str, Any]] = next(one for one in stage.releases() if one["tag_name"] == tag)["assets"]
    address: str = next(one for one in found if one["name"].endswith(ending))["browser_download_url"]
    return address


def test_two_tags_are_compared_in_everything_a_release_has(stage: Stage) -> None:
    found = compared(stage, OLDER, TAG)
    assert not found.same
    assert found.packages is not None
    assert [package.name for package in found.packages.added] == ["git"]
    assert [package.name for package in found.packages.removed] == ["nano"]
    assert [change.new.name for change in found.packages.upgraded] == ["curl"]
    assert (found.old.base_sha256, found.new.base_sha256) == ("c" * 64, "b" * 64)
    assert found.checks == ()
    assert found.keys is not None
    assert [change.boot for change in found.boots or ()] == ["full", "clone", "consumer", "seed"]


def test_a_release_is_the_same_however_it_is_named(stage: Stage) -> None:
    stem = f"fountainkit-toolsmith-debian-12-{TAG}"
    for name in (TAG, stem, url(stage, "release.json"), url(stage, ".packages.tsv")):
        assert compared(stage, TAG, name).same
        assert not compared(stage, OLDER, name).same


def test_a_record_here_goes_before_the_one_there(stage: Stage) -> None:
    stage.record().write(stage.folder / "releases" / f"{TAG}.json")
    before = len(stage.server.exchanges)
    assert compared(stage, TAG, TAG).same
    asked = {exchange.path.rpartition("/")[2] for exchange in stage.server.exchanges[before:]}
    assert "release.json" not in asked


def test_a_tag_that_was_never_released_is_told(stage: Stage) -> None:
    with pytest.raises(FetchError, match=r"has no release v2026\.01\.01, or one without a release\.json"):
        compared(stage, "v2026.01.01", TAG)


def test_a_release_that_somebody_made_by_hand_has_no_record(stage: Stage) -> None:
    stage.make_release("v2026.11.20", {"image.qcow2": b"x"})
    with pytest.raises(FetchError, match="or one without a release") as caught:
        compared(stage, "v2026.11.20", TAG)
    assert "compare package lists instead" in caught.value.hint


def test_other_things_on_the_network_are_refused(stage: Stage) -> None:
    for ending in (".build.json", ".validation.json", ".qcow2.sha256"):
        with pytest.raises(InputError, match="is neither a build, nor a release"):
            compared(stage, url(stage, ending), TAG)


def test_a_list_that_somebody_replaced_is_noticed(stage: Stage) -> None:
    asset = next(one for one in stage.releases()[0]["assets"] if one["name"].endswith(f"{TAG}.packages.tsv"))
    path = stage.server.asset_bytes(asset["id"])
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(VerificationError, match="is not what was released"):
        compared(stage, OLDER, TAG)


def test_a_private_release_needs_a_token(stage: Stage, request: pytest.FixtureRequest) -> None:
    if "public" in request.node.name:
        assert not compared(stage, OLDER, TAG, GITHUB_TOKEN="").same
        return
    with pytest.raises(FetchError) as caught:
        compared(stage, OLDER, TAG, GITHUB_TOKEN="")
    assert "GITHUB_TOKEN" in caught.value.hint
