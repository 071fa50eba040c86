"""Rehearse a release: publish the real dist/ and roll it out, against a GitHub-compatible server on this machine.

The upload of the image is cut off on the way, and everything is then run again until it is done, and once more to see
that nothing is left to do. Needs no token and leaves nothing behind.
"""

import argparse
import hashlib
import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from ci import ensure_vm
from ci.consume import bundle
from ci.fetch.retry import Patience
from ci.github.context import chosen_tag
from ci.host import cli
from ci.host.errors import RemoteError, ToolsmithError, VerificationError
from ci.host.files import sha256_file, write_atomic
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.host.workspace import cache_folder, work_folder
from ci.propose_rollout import (
    FOUNTAINKIT_REPOSITORY,
    FOUNTAINKIT_TOKEN,
    ProposeRolloutRequest,
    propose_rollout,
)
from ci.publish_release import PublishReleaseRequest, publish_release
from ci.records.manifest import UNPUBLISHED, Manifest, ManifestImage, parse_manifest
from ci.records.version import Version
from ci.rehearsal.faults import Effect, Fault, Moment
from ci.rehearsal.server import GitHubServer
from ci.release.dist import TestedImage, read_dist
from ci.release.proposal import primary_image
from ci.release.targets import CHANGELOG, CONSUMER_MANIFEST, MANIFEST

REPOSITORY = "fountainkit-toolsmith-image"
CONSUMER = "FountainKit"
ATTEMPTS = 3

# As before any release, whatever has been released since: a rehearsal's version may be older.
FIRST_MANIFEST = Manifest(
    image=ManifestImage(name="", tarball="", sha256="", qcow2="", qcow2_sha256="", version=UNPUBLISHED, size=0),
    tools={},
    operations=[],
)

# What a consumer's own manifest may hold beside the image; a roll-out must leave it as it is.
CONSUMER_EXAMPLE = """\
{
    "tools": { "jq": "1.7" },
    "image": {
        "name": "fountainkit-toolsmith", "tarball": "", "sha256": "",
        "qcow2": "", "qcow2_sha256": ""
    },
    "operations": [ "format", "lint" ],
    "owner": "the infrastructure team"
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where it is rehearsed: the server, the repositories on it, and the environment a workflow would have."""

    server: GitHubServer
    repository: str
    consumer: str
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that was rehearsed, for the table at the end."""

    title: str
    result: str
    seconds: float
    requests: int


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.rehearse", __doc__)
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument("--tag", help="vYYYY.MM.DD[.N] [the version in dist]")
    result.add_argument("--image", default="jammy", metavar="NAME", help="the one the manifest points to, of several")
    return result


def main(options: argparse.Namespace, reporter: Reporter) -> int:
    """Rehearse; raises what the two commands raise, and VerificationError where the outcome is not as it must be."""
    with reporter.step("Reading what was built and tested"):
        images = read_dist(options.dist, version=chosen_tag(options.tag, {}), allow_dirty=True)
    image, _ = primary_image(images, options.image)
    with work_folder(cache_folder() / "rehearsal") as folder, _stage(folder, image) as stage:
        acts = list(_acts(stage, image, options, folder, reporter))
    columns = ("what", "result", "seconds", "API calls")
    rows = [(act.title, act.result, f"{act.seconds:.1f}", str(act.requests)) for act in acts]
    reporter.table(f"Rehearsal of {image.build.version}", columns, rows)
    return 0


@contextmanager
def _stage(folder: Path, image: TestedImage) -> Iterator[Stage]:
    with GitHubServer.start(folder) as server:
        files = {path: (ROOT / path).read_text(encoding="utf-8") for path in ("README.md", CHANGELOG)}
        repository = server.create_repository(REPOSITORY, files | {MANIFEST: FIRST_MANIFEST.to_json()})
        server.show_head_as(repository, image.build.commit)
        consumer = server.create_repository(CONSUMER, {CONSUMER_MANIFEST: CONSUMER_EXAMPLE})
        environ = {
            "GITHUB_API_URL": server.url,
            "GITHUB_SERVER_URL": server.url,
            "GITHUB_REPOSITORY": repository,
            "GITHUB_TOKEN": server.tokens.workflow.secret,
            FOUNTAINKIT_REPOSITORY: consumer,
            FOUNTAINKIT_TOKEN: server.tokens.workflow.secret,
        }
        yield Stage(server=server, repository=repository, consumer=consumer, environ=environ)


def _acts(
    stage: Stage, image: TestedImage, options: argparse.Namespace, folder: Path, reporter: Reporter
) -> Iterator[Act]:
    server, tag = stage.server, image.build.version
    publish = PublishReleaseRequest(dist=options.dist, tag=Version.parse(tag), image=options.image, allow_dirty=True)
    roll_out = ProposeRolloutRequest(tag=Version.parse(tag))
    # Nobody else uses this server: nothing to be patient for.
    patience = Patience(
        attempts=ATTEMPTS, seconds_between_requests=0, seconds_between_writes=0, sleep=lambda _seconds: None
    )

    def publishing() -> str:
        publish_release(publish, reporter, environ=stage.environ, patience=patience)
        return _published(stage, image)

    def rolling_out() -> str:
        propose_rollout(roll_out, reporter, environ=stage.environ, patience=patience)
        return _proposed(stage)

    def cut_off() -> str:
        server.faults.arm(
            Fault(effect=Effect.RESET, moment=Moment.MIDWAY, method="POST", path="^/api/uploads", times=ATTEMPTS)
        )
        try:
            publish_release(publish, reporter, environ=stage.environ, patience=patience)
        except RemoteError as failure:
            reporter.note(f"cut off, as planned: {failure}")
        finally:
            server.faults.clear()
        return _nothing_visible(stage)

    def merging() -> str:
        for repository in (stage.repository, stage.consumer):
            server.merge_pull(repository, server.pulls(repository)[0]["number"])
        return _hydrated(stage, image, folder, reporter)

    yield _act("publish, cut off in the image's upload", cut_off, server)
    yield _act("publish, run again", publishing, server)
    yield _act("publish, once more", lambda: _unchanged(publishing, server), server)
    yield _act("roll out", rolling_out, server)
    yield _act("roll out, once more", lambda: _unchanged(rolling_out, server), server)
    yield _act("merge, and fetch as a consumer", merging, server)
    yield _act("roll out, after the merge", lambda: _unchanged(rolling_out, server), server)


def _act(title: str, play: Callable[[], str], server: GitHubServer) -> Act:
    started, before = time.monotonic(), len(server.exchanges)
    result = play()
    return Act(title=title, result=result, seconds=time.monotonic() - started, requests=len(server.exchanges) - before)


def _nothing_visible(stage: Stage) -> str:
    releases = stage.server.releases(stage.repository)
    if [release for release in releases if not release["draft"]]:
        raise _wrong("a release became visible before it was whole")
    return f"{len(releases)} draft, nothing public"


def _published(stage: Stage, image: TestedImage) -> str:
    releases = stage.server.releases(stage.repository)
    if [(release["tag_name"], release["draft"]) for release in releases] != [(image.build.version, False)]:
        raise _wrong(f"there are releases that must not be there: {releases}")
    digests = {asset["name"]: asset["digest"] for asset in releases[0]["assets"]}
    wanted = {file.name: file.sha256 for file in image.files} | {
        bundle.NAME: hashlib.sha256(bundle.archive(ROOT)).hexdigest()
    }
    missing = [name for name, sha256 in wanted.items() if digests.get(name) != f"sha256:{sha256}"]
    if missing:
        raise _wrong(f"assets are missing or wrong: {', '.join(missing)}")
    return f"1 release, {len(digests)} assets"


def _proposed(stage: Stage) -> str:
    numbers = [len(stage.server.pulls(repository)) for repository in (stage.repository, stage.consumer)]
    if numbers != [1, 1]:
        raise _wrong(f"there are {numbers} pull requests instead of one in each repository")
    return "1 pull request here, 1 in FountainKit"


def _unchanged(play: Callable[[], str], server: GitHubServer) -> str:
    """Run something that has nothing left to do; a write would show that it does not know so."""
    before = len(server.exchanges)
    play()
    if writes := [f"{one.method} {one.path}" for one in server.exchanges[before:] if one.method != "GET"]:
        raise _wrong(f"a run with nothing to do wrote: {', '.join(writes)}")
    return "nothing to do"


def _hydrated(stage: Stage, image: TestedImage, folder: Path, reporter: Reporter) -> str:
    """What a consumer gets who follows the manifest, from an empty folder."""
    manifest = parse_manifest(_text(stage.server, stage.repository, MANIFEST).encode(), MANIFEST)
    text = _text(stage.server, stage.consumer, CONSUMER_MANIFEST)
    theirs = parse_manifest(text.encode(), CONSUMER_MANIFEST)
    if theirs.image.qcow2 != manifest.image.qcow2 or "owner" not in (theirs.model_extra or {}):
        raise _wrong("FountainKit's manifest is not as it must be")
    workspace = folder / "workspace"
    write_atomic(workspace / CONSUMER_MANIFEST, text)
    fetch = ensure_vm.arguments().parse_args(["--workspace", str(workspace), "--localize"])
    with redirect_stdout(io.StringIO()) as printed:
        ensure_vm.main(fetch, reporter, environ={})
    path = Path(printed.getvalue().strip())
    local = parse_manifest((workspace / CONSUMER_MANIFEST).read_bytes(), CONSUMER_MANIFEST).image
    # Where Toolsmith looks: docs/consuming.md.
    expected = workspace / ".toolsmith" / "cache" / local.name / local.qcow2_sha256 / local.qcow2
    if path != expected or sha256_file(path) != image.build.image.sha256:
        raise _wrong("the manifest leads to another image, or to another place")
    return "the tested bytes, where Toolsmith looks"


def _text(server: GitHubServer, repository: str, path: str) -> str:
    text = server.read(repository, path)
    if text is None:
        raise _wrong(f"{path} is gone")
    return text


def _wrong(what: str) -> ToolsmithError:
    return VerificationError(f"the rehearsal went wrong: {what}", hint="This is a bug; please report it with the log.")


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
