"""From a published release to what Toolsmith boots: the consumer's model accepts every state on the way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.rehearsal.server import GitHubServer
from ci.rehearse import CONSUMER_EXAMPLE
from ci.release.targets import CONSUMER_MANIFEST, MANIFEST
from tests.support import consumer_model
from tests.support.consuming import Consumer
from tests.support.releasing import TAG
from tests.support.stage import FILES, Stage, sha256

pytestmark = pytest.mark.integration

OLDER = b"QFI\xfb an older image"
NEWER = b"QFI\xfb a newer image"


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setenv("NO_PROXY", "localhost")
    with GitHubServer.start(tmp_path / "github") as server:
        repository = server.create_repository("image", FILES)
        environ = {
            "GITHUB_API_URL": server.url,
            "GITHUB_SERVER_URL": server.url,
            "GITHUB_REPOSITORY": repository,
            "GITHUB_TOKEN": server.token,
            "FOUNTAINKIT_REPOSITORY": server.create_repository("consumer", {CONSUMER_MANIFEST: CONSUMER_EXAMPLE}),
            "FOUNTAINKIT_TOKEN": server.token,
        }
        yield Stage(server=server, repository=repository, folder=tmp_path, environ=environ)


def manifests(stage: Stage, branch: str | None = None) -> list[bytes]:
    """Ours and FountainKit's, in the default branch or in those that propose a tag."""
    pairs = (
        (stage.repository, MANIFEST, "rollout"),
        (stage.environ["FOUNTAINKIT_REPOSITORY"], CONSUMER_MANIFEST, "toolsmith-image"),
    )
    texts = [
        stage.server.read(repository, path, ref=f"{prefix}/{branch}" if branch else "main")
        for repository, path, prefix in pairs
    ]
    return [text.encode() for text in texts if text is not None]


def release(stage: Stage, tag: str, image: bytes) -> None:
    assert stage.publish(dist=stage.build(tag, image=image, folder=stage.folder / tag)).code == 0
    assert stage.roll_out(tag=tag).code == 0
    for data in manifests(stage, tag):
        assert consumer_model.decode(data).image.qcow2_sha256 == sha256(image)
    for repository in (stage.repository, stage.environ["FOUNTAINKIT_REPOSITORY"]):
        stage.server.merge_pull(repository, stage.server.pulls(repository)[-1]["number"])


def test_each_release_leads_a_consumer_to_its_image(stage: Stage, tmp_path: Path) -> None:
    for data in manifests(stage):
        consumer_model.decode(data)
    consumers = [Consumer(tmp_path / name) for name in ("as published", "with tools of its own")]
    for tag, image in ((TAG, OLDER), ("v2026.11.24", NEWER)):
        release(stage, tag, image)
        for consumer, data in zip(consumers, manifests(stage), strict=True):
            consumer.write(data)
            with pytest.raises(consumer_model.HydrationError):
                consumer_model.hydrate(consumer.workspace)
            consumer.run("--localize", "--prune")
            assert consumer_model.hydrate(consumer.workspace).read_bytes() == image
            assert len(consumer.files()) == 2  # the manifest and the one image
            local = consumer_model.decode(consumer.manifest.read_bytes())
            assert (local.tools, local.operations) == (
                consumer_model.decode(data).tools,
                consumer_model.decode(data).operations,
            )


def test_a_localized_manifest_can_be_rolled_forward(stage: Stage, tmp_path: Path) -> None:
    consumer = Consumer(tmp_path / "workspace")
    release(stage, TAG, OLDER)
    consumer.write(manifests(stage)[1])
    consumer.run("--localize")
    # A consumer who commits the localized form gets the URL again with the next roll-out, and the name again with ours.
    stage.server.commit(stage.environ["FOUNTAINKIT_REPOSITORY"], {CONSUMER_MANIFEST: consumer.manifest.read_text()})
    release(stage, "v2026.11.24", NEWER)
    rolled = manifests(stage)[1]
    assert consumer_model.decode(rolled).image.qcow2.startswith("http")
    consumer.write(rolled)
    consumer.run("--localize")
    assert consumer_model.hydrate(consumer.workspace).read_bytes() == NEWER
    consumer_model.hydrate(consumer.workspace).unlink()
    consumer.run()  # and it remembers the new URL, not the old one
    assert consumer_model.hydrate(consumer.workspace).read_bytes() == NEWER
