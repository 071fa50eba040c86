"""What a roll-out writes goes where git has the file: modes stay, links are followed inside the repository."""

import json
from collections.abc import Callable

import pytest

from ci.host.errors import InputError
from ci.release.targets import CONSUMER_MANIFEST
from tests.support.releasing import TAG
from tests.support.stage import CHANGELOG, FILES, MANIFEST, Stage, assert_proposed

pytestmark = pytest.mark.integration

LINK, EXECUTABLE, PLAIN = "120000", "100755", "100644"
BRANCH = f"toolsmith-image/{TAG}"


@pytest.fixture
def consumer(new_stage: Callable[..., Stage]) -> Stage:
    return new_stage({"README.md": "A consumer\n"})


def write(stage: Stage, files: dict[str, tuple[str, str]]) -> None:
    """Commit files with their modes to the default branch."""
    head = stage.api("GET", f"/git/commits/{stage.head()}")
    entries = [{"path": path, "mode": mode, "type": "blob", "content": text} for path, (mode, text) in files.items()]
    tree = stage.api("POST", "/git/trees", {"base_tree": head["tree"]["sha"], "tree": entries})
    made = stage.api("POST", "/git/commits", {"message": "Files", "tree": tree["sha"], "parents": [head["sha"]]})
    stage.api("PATCH", "/git/refs/heads/main", {"sha": made["sha"]})


def modes(stage: Stage, branch: str) -> dict[str, str]:
    found = stage.api("GET", f"/git/trees/{stage.head(branch)}", params={"recursive": "1"})
    return {entry["path"]: entry["mode"] for entry in found["tree"] if entry["type"] == "blob"}


def test_executable_files_stay_so(published: Stage) -> None:
    write(published, {path: (EXECUTABLE, FILES[path]) for path in (MANIFEST, CHANGELOG)})
    assert published.roll_out().code == 0
    assert_proposed(published)
    found = modes(published, f"rollout/{TAG}")
    assert (found[MANIFEST], found[CHANGELOG], found[f"releases/{TAG}.json"]) == (EXECUTABLE, EXECUTABLE, PLAIN)


@pytest.mark.parametrize(
    ("files", "target"),
    [
        ({CONSUMER_MANIFEST: (LINK, "../config/tools.json")}, "config/tools.json"),
        ({CONSUMER_MANIFEST: (LINK, "a.json"), ".toolsmith/a.json": (LINK, "./b.json")}, ".toolsmith/b.json"),
        ({".toolsmith": (LINK, "config")}, "config/tools.json"),
    ],
    ids=["to another folder", "to a link", "as a folder"],
)
def test_a_linked_manifest_is_changed_where_it_is(
    published: Stage, consumer: Stage, files: dict[str, tuple[str, str]], target: str
) -> None:
    write(consumer, {**files, target: (EXECUTABLE, FILES[MANIFEST])})
    before = modes(consumer, "main")
    both = published.with_consumer(consumer)
    run = both.roll_out()
    assert run.code == 0, run.said
    assert modes(consumer, BRANCH) == before
    changed = {path for path, sha in consumer.tree(BRANCH).items() if consumer.tree()[path] != sha}
    assert changed == {target}
    assert json.loads(consumer.read(target, BRANCH) or "")["image"]["version"] == TAG
    assert both.roll_out().writes == []


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({CONSUMER_MANIFEST: (LINK, "../../elsewhere/tools.json")}, "leads out of the repository"),
        ({CONSUMER_MANIFEST: (LINK, "/etc/tools.json")}, "leads out of the repository"),
        ({CONSUMER_MANIFEST: (LINK, "tools.json")}, "the way to it ends at tools.json"),
        ({CONSUMER_MANIFEST: (LINK, "../README.md/tools.json")}, "the way to it ends at README.md"),
        ({CONSUMER_MANIFEST: (LINK, "../none/../README.md")}, "the way to it ends at none"),
        ({CONSUMER_MANIFEST: (LINK, "."), ".toolsmith/x": (PLAIN, "")}, "it is a folder"),
        ({CONSUMER_MANIFEST: (LINK, "none.json")}, f"there is no {CONSUMER_MANIFEST}"),
    ],
)
def test_a_link_that_leads_nowhere_is_refused(
    published: Stage, consumer: Stage, files: dict[str, tuple[str, str]], words: str
) -> None:
    write(consumer, files)
    before = consumer.state()
    run = published.with_consumer(consumer).roll_out()
    assert run.code == InputError.exit_code, run.said
    assert words in run.said
    assert consumer.state() == before
