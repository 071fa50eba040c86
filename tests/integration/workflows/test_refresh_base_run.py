"""The scheduled refresh of the base, from end to end: a signed stream on one server, the pull request on another."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ci.host.repository import ROOT
from tests.integration.workflows.conftest import MakeScene
from tests.support.fault_server import FaultServer
from tests.support.mirror import NEW, OLD, Mirror
from tests.support.signing import Signer
from tests.support.workflows.language import Language
from tests.support.workflows.model import Result, Run
from tests.support.workflows.scene import LIGHT, Scene, replaced

pytestmark = pytest.mark.integration

WORKFLOW, PATH = "refresh-base", "build/images/jammy.toml"
OTHER = "build/images/noble.toml"  # follows the publisher, who is not asked here
STREAMS = re.compile(r"^\[base\.streams\]\n(?:.+\n)+", re.MULTILINE)
LOOK = "Look for a newer base"


def without_stream(text: str) -> str:
    """A definition that follows nobody."""
    text, times = STREAMS.subn("", text)
    assert times == 1
    return text


@dataclass(frozen=True, kw_only=True)
class Followed:
    """A repository that follows a mirror."""

    made: Scene
    mirror: Mirror

    def run(self, *, workflows: Path | None = None, **inputs: str | bool) -> Run:
        """As scheduled, or by hand where there are inputs."""
        made = self.made
        event = made.dispatch("refs/heads/main", WORKFLOW, **inputs) if inputs else made.schedule(WORKFLOW)
        return made.run(event, workflows=workflows)


@pytest.fixture
def follow(make_scene: MakeScene, publisher: Signer) -> Iterator[Callable[..., Followed]]:
    with FaultServer() as server:
        mirror = Mirror(server, publisher)
        mirror.publish(OLD, NEW)

        def follow(**settings: Mapping[str, str]) -> Followed:
            edits = LIGHT | {PATH: lambda _: mirror.definition(), OTHER: without_stream}
            made = make_scene(edits=edits, **settings)
            made.server.commit(made.repository, {PATH: mirror.definition()})
            return Followed(made=made, mirror=mirror)

        yield follow


def test_every_week_a_newer_base_is_proposed_once(
    follow: Callable[..., Followed], with_app: dict[str, Mapping[str, str]]
) -> None:
    followed = follow(**with_app)
    run = followed.run()
    assert run.results() == {"refresh": "success"}, run.log
    (pull,) = followed.made.server.pulls(followed.made.repository)
    assert (pull["title"], pull["state"]) == (f"Refresh the base of jammy to {NEW}", "open")
    assert f"`{NEW}` instead of `{OLD}`" in run.summary
    assert "No app is configured" not in run.summary
    assert [repository for repository, _ in followed.made.side.tokens] == [followed.made.repository]
    again = followed.run()
    assert "Pull request as it should be already" in again.summary
    assert followed.made.server.pulls(followed.made.repository) == [pull]


def test_without_an_app_the_workflows_own_token_does_and_the_page_says_so(follow: Callable[..., Followed]) -> None:
    followed = follow()
    run = followed.run()
    assert run.result is Result.SUCCESS, run.log
    assert len(followed.made.server.pulls(followed.made.repository)) == 1
    assert "**No app is configured**" in run.summary
    assert followed.made.side.tokens == []


def test_by_hand_it_can_show_only_and_propose_again_what_was_closed(follow: Callable[..., Followed]) -> None:
    followed = follow()
    server, repository = followed.made.server, followed.made.repository
    shown = followed.run(dry_run=True)
    assert f"Would propose `{NEW}`" in shown.summary
    assert f'+url    = "{followed.mirror.image_url(NEW)}"' in shown.log
    assert server.pulls(repository) == []
    followed.run(image="jammy")
    server.close_pull(repository, 1)
    assert "was closed, and stays so" in followed.run().summary
    assert followed.run(reopen=True).result is Result.SUCCESS
    assert [pull["state"] for pull in server.pulls(repository)] == ["open"]


def test_where_there_is_nothing_to_do_the_page_says_why(follow: Callable[..., Followed]) -> None:
    followed = follow()
    followed.mirror.publish(OLD)
    run = followed.run()
    assert run.result is Result.SUCCESS, run.log
    assert f"Nothing to do: `{OLD} is the newest serial" in run.summary


def test_a_stream_that_is_not_believed_fails_the_run_and_the_page_says_why(follow: Callable[..., Followed]) -> None:
    followed = follow()
    followed.mirror.publish_checksums(NEW, "2" * 64)
    run = followed.run()
    assert run.jobs["refresh"].step(LOOK).outcome is Result.FAILURE
    assert "both are signed" in run.summary
    assert followed.made.server.pulls(followed.made.repository) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pull-requests: write # for", "pull-requests: read # for"),
        ("contents: write # for", "contents: read # for"),
        ("GITHUB_TOKEN:", "TOKEN:"),
        ("ci.refresh_base ", "ci.refresh_bases "),
        ("permission-contents: write", "permission-contents: read"),
        ("          permission-pull-requests: write\n", ""),
    ],
)
def test_a_workflow_that_is_broken_in_one_place_does_not_propose(
    follow: Callable[..., Followed], with_app: dict[str, Mapping[str, str]], tmp_path: Path, old: str, new: str
) -> None:
    followed = follow(**with_app if "permission-" in old else {})
    path = tmp_path / f".github/workflows/{WORKFLOW}.yml"
    path.parent.mkdir(parents=True)
    path.write_text(replaced(old, new)((ROOT / f".github/workflows/{WORKFLOW}.yml").read_text()))
    (tmp_path / ".github/actions").symlink_to(ROOT / ".github/actions")
    assert followed.run(workflows=tmp_path).result is not Result.SUCCESS
    assert followed.made.server.pulls(followed.made.repository) == []


def test_two_refreshes_do_not_run_at_a_time_and_none_is_cancelled(language: Language) -> None:
    definition = language.parse(ROOT, f".github/workflows/{WORKFLOW}.yml")
    assert language.value(definition["concurrency"], {}) == {"group": WORKFLOW, "cancel-in-progress": False}
    assert definition["permissions"] == {}
