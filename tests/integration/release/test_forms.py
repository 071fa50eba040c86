"""The roll-out to FountainKit: which form the image takes, which file it goes to, and where there is none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.consume.bundle import NAME as ENSURE_VM_NAME
from ci.host.errors import InputError
from ci.host.process import run
from ci.records import artifacts
from ci.records.manifest_rules import NO_IMAGE
from ci.release.targets import CONSUMER_MANIFEST
from tests.support import consumer_model
from tests.support.consuming import Consumer
from tests.support.releasing import TAG
from tests.support.stage import FILES, MANIFEST, NEWER, Stage, assert_changes, assert_proposed, sha256

pytestmark = pytest.mark.integration

BRANCH = f"toolsmith-image/{TAG}"
# As a consumer may have it, with what an earlier image left in it.
TEXT = f"""\
{{ "image": {{
     "qcow2_url": "https://example.org/older.qcow2", "name": "unpublished", "tarball": "", "sha256": "",
     "qcow2": "unpublished.qcow2", "qcow2_sha256": "{"0" * 64}" }},
   "tools": {{"swift": "5.10"}}, "operations": [ "build" ], "ours": 1 }}
"""


@pytest.fixture
def published(new_stage: Callable[..., Stage]) -> Stage:
    stage = new_stage()
    stage.build()
    assert stage.publish().code == 0
    return stage


def propose(published: Stage, consumer: Stage, **settings: str) -> str:
    """What a roll-out says, that ends well, with ours proposed."""
    ran = published.with_consumer(consumer).with_environ(**settings).roll_out()
    assert ran.code == 0, ran.said
    assert_proposed(published)
    return ran.said


@pytest.mark.parametrize("form", ["", "url", "file"])
@pytest.mark.parametrize("path", [CONSUMER_MANIFEST, "tools.json"])
def test_only_the_image_changes_and_what_an_earlier_one_left_goes(
    published: Stage, new_stage: Callable[..., Stage], form: str, path: str
) -> None:
    consumer = new_stage({path: TEXT})
    propose(published, consumer, FOUNTAINKIT_FORM=form, FOUNTAINKIT_MANIFEST=path)
    assert_changes(consumer, BRANCH, {path})
    image, qcow2 = published.record().image, published.record().image.qcow2
    expected = TEXT.replace('"unpublished"', f'"{image.name}"').replace("0" * 64, qcow2.sha256)
    if form == "file":
        expected = expected.replace("https://example.org/older.qcow2", qcow2.url)
        expected = expected.replace("unpublished.qcow2", qcow2.name)
    else:
        expected = expected.replace('"qcow2_url": "https://example.org/older.qcow2", ', "")
        expected = expected.replace("unpublished.qcow2", qcow2.url)
    assert consumer.read(path, BRANCH) == expected
    both = published.with_consumer(consumer).with_environ(FOUNTAINKIT_FORM=form, FOUNTAINKIT_MANIFEST=path)
    assert both.roll_out().writes == []
    (pull,) = consumer.pulls()
    consumer.server.merge_pull(consumer.repository, pull["number"])
    assert both.roll_out().writes == []
    words = f"python3 {ENSURE_VM_NAME}"
    words += " --manifest tools.json" if path == "tools.json" else ""
    words += "" if form == "file" else " --localize"
    assert f"{words}\n" in pull["body"].replace("\r\n", "\n")


def test_the_other_form_of_the_same_release_is_no_reason_to_change_it_again(
    published: Stage, new_stage: Callable[..., Stage]
) -> None:
    consumer = new_stage({CONSUMER_MANIFEST: TEXT})
    propose(published, consumer, FOUNTAINKIT_FORM="file")
    consumer.server.merge_pull(consumer.repository, consumer.pulls()[0]["number"])
    assert "points to this release already" in propose(published, consumer)


def test_a_form_follows_the_other_at_the_next_release(published: Stage, new_stage: Callable[..., Stage]) -> None:
    consumer = new_stage({CONSUMER_MANIFEST: TEXT})
    propose(published, consumer, FOUNTAINKIT_FORM="file")
    consumer.server.merge_pull(consumer.repository, consumer.pulls()[0]["number"])
    published.server.merge_pull(published.repository, published.pulls()[0]["number"])
    assert published.publish(dist=published.build(NEWER, folder=published.folder / "newer")).code == 0
    assert published.with_consumer(consumer).roll_out(tag=NEWER).code == 0
    image = json.loads(consumer.read(CONSUMER_MANIFEST, f"toolsmith-image/{NEWER}") or "")["image"]
    assert image["qcow2"] == published.record(NEWER).image.qcow2.url
    assert "qcow2_url" not in image


@pytest.mark.parametrize("form", ["url", "file"])
def test_where_the_path_is_set_the_file_is_made(
    published: Stage, new_stage: Callable[..., Stage], form: str, tmp_path: Path
) -> None:
    consumer = new_stage({"README.md": "No tools here.\n"})
    propose(published, consumer, FOUNTAINKIT_FORM=form, FOUNTAINKIT_MANIFEST="tools.json")
    assert_changes(consumer, BRANCH, {"tools.json"})
    assert "Makes `tools.json`" in consumer.pulls()[0]["body"]
    text = consumer.read("tools.json", BRANCH) or ""
    workspace = Consumer(tmp_path)
    (tmp_path / "tools.json").write_text(text)
    workspace.run("--manifest", str(tmp_path / "tools.json"), *(["--localize"] if form == "url" else []))
    image = published.record().image.qcow2
    assert sha256(consumer_model.Toolsmith(tmp_path).hydrate().read_bytes()) == image.sha256
    assert ((tmp_path / "tools.json").read_text() == text) == (form == "file")
    if form == "file":
        assert text == published.asset(artifacts.SNIPPET).decode()


@pytest.mark.parametrize("files", [{"README.md": "x"}, {"tools.json": TEXT}, {".toolsmith/other.json": TEXT}])
def test_a_repository_without_a_manifest_makes_no_release_fail(
    published: Stage, new_stage: Callable[..., Stage], files: dict[str, str]
) -> None:
    consumer = new_stage(files)
    before = consumer.state()
    said = propose(published, consumer, FOUNTAINKIT_FORM="file")
    assert said.count("nothing to roll out to") == 1
    assert consumer.state() == before


@pytest.mark.parametrize(("name", "value"), [("FOUNTAINKIT_FORM", "oci"), ("FOUNTAINKIT_MANIFEST", "../tools.json")])
def test_a_setting_that_is_none_is_refused_before_anything_is_done(
    published: Stage, new_stage: Callable[..., Stage], name: str, value: str
) -> None:
    consumer = new_stage({CONSUMER_MANIFEST: TEXT})
    ran = published.with_consumer(consumer).with_environ(**{name: value}).roll_out()
    assert ran.code == InputError.exit_code, ran.said
    assert name in ran.said
    assert (ran.writes, published.pulls(), consumer.pulls()) == ([], [], [])


def test_with_the_form_file_a_working_copy_stays_clean(
    published: Stage, new_stage: Callable[..., Stage], tmp_path: Path
) -> None:
    consumer = new_stage({CONSUMER_MANIFEST: TEXT})
    propose(published, consumer, FOUNTAINKIT_FORM="file")
    workspace = Consumer(tmp_path)
    workspace.write((consumer.read(CONSUMER_MANIFEST, BRANCH) or "").encode())
    git = ("git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message", "x")):
        run([*git, *command], timeout=60)
    with pytest.raises(consumer_model.SourceMissingError):
        consumer_model.hydrate(tmp_path)
    for flags in ([], ["--localize"]):
        workspace.run(*flags)
        consumer_model.hydrate(tmp_path)
        assert run([*git, "status", "--porcelain"], timeout=60).stdout == ""


def test_our_own_manifest_loses_what_a_localized_one_left(new_stage: Callable[..., Stage]) -> None:
    left = {"image": {"qcow2_url": "/srv/older.qcow2", **NO_IMAGE}, "tools": {}, "operations": []}
    stage = new_stage(FILES | {MANIFEST: json.dumps(left, indent=2)})
    stage.build()
    assert stage.publish().code == 0
    assert stage.with_environ(FOUNTAINKIT_FORM="file").roll_out().code == 0
    image = json.loads(stage.read(MANIFEST, f"rollout/{TAG}") or "")["image"]
    assert list(image) == list(NO_IMAGE)
    assert image["qcow2"] == stage.record().image.qcow2.url
