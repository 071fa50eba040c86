"""Publishing, while somebody else acts between any two of its requests: the right release, or a refusal without harm.

All acts at all requests: pytest --full.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ci.host.errors import AccessError, RefusedError, RemoteError, ToolsmithError, VerificationError
from ci.publish_release import PublishReleaseRequest, publish_release
from ci.rehearsal.faults import Effect, Fault
from ci.rehearsal.tokens import WRITES
from tests.support import sequence
from tests.support.quiet import quiet_reporter
from tests.support.releasing import TAG, write_ensure_vm
from tests.support.stage import (
    Run,
    Stage,
    assert_nothing_wrong_is_public,
    assert_released,
    meanwhile,
    release_older,
)

pytestmark = pytest.mark.integration

Act = Callable[[Stage], object]

# What ends with exactly the release that was wanted, or is refused by one of these.
REFUSALS = {error.exit_code for error in (AccessError, RefusedError, RemoteError, VerificationError)}
PUBLISHED_BY = len(sequence.PUBLISH) - 1  # the request that publishes; the one after it asks for the tag
PLACES = range(PUBLISHED_BY - 3, PUBLISHED_BY + 2)  # comparison, draft, tag, publishing, tag


def put_tag(stage: Stage, commit: str) -> None:
    if stage.server.tag_commit(stage.repository, TAG) is None:
        stage.make_tag(TAG, commit)
    else:
        stage.api("PATCH", f"/git/refs/tags/{TAG}", {"sha": commit, "force": True})


def move_tag(stage: Stage) -> None:
    put_tag(stage, stage.server.commit(stage.repository, {"elsewhere.txt": "Elsewhere\n"}, branch="elsewhere"))


def delete_tag(stage: Stage) -> None:
    stage.api("DELETE", f"/git/refs/tags/{TAG}", ok=False)


def replace_asset(stage: Stage) -> None:
    for release in stage.releases():
        for asset in release["assets"][:1]:
            stage.api("DELETE", f"/releases/assets/{asset['id']}")
            stage.upload(release, asset["name"], b"x" * asset["size"])


def edit_draft(stage: Stage) -> None:
    for release in stage.releases():
        change = {"body": f"Known problem: none.\n\n{release['body']}", "name": "A name", "prerelease": True}
        stage.api("PATCH", f"/releases/{release['id']}", change)


def edit_our_section(stage: Stage) -> None:
    for release in stage.releases():
        stage.api("PATCH", f"/releases/{release['id']}", {"body": release["body"].replace("boot test", "b00t test", 1)})


def delete_release(stage: Stage) -> None:
    for release in stage.releases():
        stage.api("DELETE", f"/releases/{release['id']}")


def publish_it(stage: Stage) -> None:
    for release in stage.releases():
        stage.api("PATCH", f"/releases/{release['id']}", {"draft": False})


def rename_default_branch(stage: Stage) -> None:
    stage.api("POST", "/git/refs", {"ref": "refs/heads/trunk", "sha": stage.head()})
    stage.server.change(stage.repository, default_branch="trunk")


ACTS: Mapping[str, Act] = {
    "tag moved": move_tag,
    "tag deleted": delete_tag,
    "asset replaced": replace_asset,
    "draft edited": edit_draft,
    "our section edited": edit_our_section,
    "release deleted": delete_release,
    "release published by a person": publish_it,
    "repository archived": lambda stage: stage.server.change(stage.repository, archived=True),
    "repository made private": lambda stage: stage.server.change(stage.repository, private=True),
    "default branch renamed": rename_default_branch,
}
AT_THE_RELEASE = list(ACTS)[:-3]
# What harms a release that is public already is no fault of ours, and nothing that publishing could see.
HARMFUL = {"tag moved", "tag deleted", "asset replaced", "release deleted", "release published by a person"}


def cases() -> list[object]:
    """A tag that was there before makes a difference only where the tag is looked at."""
    return [
        pytest.param(
            number, act, tagged,
            id=f"{number:02} {request}: {act}, {'a' if tagged else 'no'} tag",
            marks=() if number == PUBLISHED_BY or (tagged and number in PLACES and act in AT_THE_RELEASE)
            else (pytest.mark.full,),
        )
        for number, request in enumerate(sequence.PUBLISH, start=1)
        for act in ACTS
        for tagged in (True, False)
    ]  # fmt: skip


def publish_while(stage: Stage, number: int, act: Callable[[], object]) -> Run:
    held = stage.server.faults.arm(Fault(effect=Effect.PAUSE, call=number))
    with meanwhile(held, act):
        return stage.publish()


@pytest.fixture
def ready(stage: Stage) -> Stage:
    """Something to release, on top of an earlier release."""
    release_older(stage)
    stage.build()
    return stage


@pytest.mark.parametrize(("number", "act", "tagged"), cases())
def test_an_act_of_somebody_else(ready: Stage, number: int, act: str, *, tagged: bool) -> None:
    commit, dist = ready.head(), ready.folder / "dist"
    if tagged:
        ready.make_tag(TAG, commit)
    run = publish_while(ready, number, lambda: ACTS[act](ready))
    assert run.code in {0, *REFUSALS}, run.said
    assert "Traceback" not in run.said
    assert "next:" in run.said or run.code == 0
    after = number > PUBLISHED_BY
    public = [release for release in ready.releases() if not release["draft"]]
    if not (after and act in HARMFUL) and act != "release published by a person":
        assert len(public) == (1 if run.code == 0 else 0), run.said
    if public and not (after and act in HARMFUL):
        check_public(ready, dist, act, run)
    if act == "repository archived":
        return
    # Where a person puts right what was wrong, a re-run ends in one right release.
    put_right(ready, commit)
    again = ready.publish()
    # What a person published unfinished, or with another file, stays so: it is never changed.
    assert again.code == 0 or act in {"asset replaced", "our section edited", "release published by a person"}, (
        again.said
    )
    if again.code == 0:
        assert_released(ready, dist)
    assert ready.publish().writes == []


def check_public(stage: Stage, dist: Path, act: str, run: Run) -> None:
    if run.code == 0 or act != "release published by a person":
        assert_nothing_wrong_is_public(stage, dist)
        assert stage.server.tag_commit(stage.repository, TAG) == stage.record().commit
    if act == "draft edited" and "Known problem" in stage.releases()[0]["body"]:
        (release,) = stage.releases()
        assert release["body"].startswith("Known problem: none.\n\n<!-- ")
        assert (release["name"], release["prerelease"]) == ("A name", True)


def put_right(stage: Stage, commit: str) -> None:
    put_tag(stage, commit)
    for release in stage.releases():
        if "b00t test" in (release["body"] or "") and release["draft"]:
            body = release["body"].replace("b00t test", "boot test")
            stage.api("PATCH", f"/releases/{release['id']}", {"body": body})


@pytest.mark.parametrize("number", [*PLACES])
def test_a_repository_that_is_renamed(ready: Stage, number: int) -> None:
    """Its former name still leads there; what is published names the present one, and no draft is left over."""
    names: list[str] = []
    run = publish_while(ready, number, lambda: names.append(ready.server.rename(ready.repository, f"new-{number}")))
    assert run.code in {0, RemoteError.exit_code}, run.said
    renamed = replace(ready, repository=names[0])
    assert_nothing_wrong_is_public(renamed, ready.folder / "dist")
    if run.code:
        assert ready.publish().code == 0
        assert renamed.record().repository == names[0]
    assert_released(renamed, ready.folder / "dist")


def test_a_repository_is_published_to_by_a_former_name(ready: Stage) -> None:
    name = ready.server.rename(ready.repository, "another-name")
    run = ready.publish()
    assert run.code == 0, run.said
    assert f"{ready.repository} is now called {name}" in run.said
    renamed = replace(ready, repository=name)
    assert_released(renamed, ready.folder / "dist")
    assert renamed.record().url == renamed.releases()[0]["html_url"]
    assert ready.publish().writes == []


@pytest.mark.parametrize("number", [*PLACES])
def test_a_token_that_expires(ready: Stage, number: int) -> None:
    token = ready.server.job_token(ready.repository, **WRITES)
    run = publish_while(ready.with_environ(GITHUB_TOKEN=token.secret), number, lambda: ready.server.expire(token))
    assert run.code == AccessError.exit_code, run.said
    assert "does not accept the token" in run.said
    assert [release["draft"] for release in ready.releases()] == [number <= PUBLISHED_BY]
    assert ready.publish().code == 0
    assert_released(ready, ready.folder / "dist")


# A merge that touches a workflow between the build and the release


def merge_workflow(stage: Stage) -> None:
    stage.server.commit(stage.repository, {".github/workflows/release.yml": "name: Another\n"})


def test_a_merge_of_another_workflow_is_no_obstacle_where_the_tag_is_there(ready: Stage) -> None:
    ready.make_tag(TAG, ready.head())
    merge_workflow(ready)
    run = ready.publish()
    assert run.code == 0, run.said
    assert_released(ready, ready.folder / "dist")
    bodies = [one.request_body for one in run.exchanges if one.method in {"POST", "PATCH"}]
    assert not [body for body in bodies if isinstance(body, dict) and "target_commitish" in body]


@pytest.mark.parametrize("number", [1, PUBLISHED_BY])
def test_without_a_tag_the_refusal_says_to_push_it_and_then_it_is_published(ready: Stage, number: int) -> None:
    commit = ready.head()
    run = publish_while(ready, number, lambda: merge_workflow(ready))
    assert run.code == AccessError.exit_code, run.said
    assert "needs the permission `workflows`" in run.said
    assert f"git push origin {commit}:refs/tags/{TAG}" in run.said
    assert not [release for release in ready.releases() if not release["draft"]]
    ready.make_tag(TAG, commit)
    assert ready.publish().code == 0
    assert_released(ready, ready.folder / "dist")


# Two publishers


def copies(stage: Stage) -> list[Path]:
    """The same dist/ in two folders, as two machines have it."""
    dist, other = stage.folder / "dist", stage.folder / "other"
    stage.build()
    shutil.copytree(dist, other)
    return [dist, other]


def fails(stage: Stage, dist: Path) -> ToolsmithError | None:
    """Publish from another folder; what it ends with."""
    request = PublishReleaseRequest(dist=dist)
    try:
        publish_release(
            request, quiet_reporter(), environ=stage.environ, patience=stage.patience, bundle=write_ensure_vm
        )
    except ToolsmithError as error:
        return error
    return None


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, id=request, marks=() if request in sequence.KINDS else (pytest.mark.full,))
        for number, request in enumerate(sequence.PUBLISH, start=1)
    ],
)
def test_another_publisher_that_does_it_all_meanwhile(ready: Stage, number: int) -> None:
    """At whatever request the slow one is overtaken, there is one release, and both say so."""
    dist, other = copies(ready)
    failures: list[ToolsmithError | None] = []
    run = publish_while(ready, number, lambda: failures.append(fails(ready, other)))
    assert (run.code, failures) == (0, [None]), run.said
    assert_released(ready, dist)
    assert ready.publish().writes == []


@pytest.mark.parametrize(
    ("method", "path", "code", "public"),
    [
        ("GET", "/releases/[0-9]+$", RefusedError.exit_code, True),
        # Too late to be seen: what is public is not what this run tested.
        ("PATCH", "/releases/", VerificationError.exit_code, False),
    ],
)
def test_another_publisher_with_other_bytes(stage: Stage, method: str, path: str, code: int, *, public: bool) -> None:
    """The other's release is whole or a draft again, and ours is refused."""
    stage.build()
    other = stage.build(folder=stage.folder / "other", image=b"QFI\xfb another image")
    failures: list[ToolsmithError | None] = []
    held = stage.server.faults.arm(Fault(effect=Effect.PAUSE, method=method, path=path))
    with meanwhile(held, lambda: failures.append(fails(stage, other))):
        run = stage.publish()
    assert (failures, run.code) == ([None], code), run.said
    assert ("is published already, with other assets" if public else "it is a draft again") in run.said
    assert [release["draft"] for release in stage.releases()] == [not public]
    assert fails(stage, other) is None
    assert_released(stage, other)
