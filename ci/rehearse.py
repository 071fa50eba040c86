"""Rehearse a release: publish the real dist/ and roll it out, against a GitHub-compatible server on this machine.

The upload of the image is cut off on the way, and everything is then run again until it is done, and once more to see
that nothing is left to do. Needs no token, and leaves nothing behind but, with --keep, all texts.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ci.comparison import pull_request
from ci.consume import bundle
from ci.ensure_vm import EnsureVmRequest, ensure_vm
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.github.context import chosen_tag
from ci.host import cli
from ci.host.errors import RefusedError, RemoteError, ToolsmithError, VerificationError
from ci.host.files import sha256_file, write_atomic
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.host.workspace import cache_folder, work_folder
from ci.image.definition import RELEASE_IMAGE
from ci.propose_rollout import FOUNTAINKIT_REPOSITORY, FOUNTAINKIT_TOKEN, ProposeRolloutRequest, propose_rollout
from ci.publish_release import PublishReleaseRequest, publish_release
from ci.records import artifacts
from ci.records.manifest_rules import NO_DIGEST, NO_FILE, NO_IMAGE, read_manifest
from ci.records.version import Version
from ci.rehearsal.faults import Effect, Fault, Moment
from ci.rehearsal.server import GitHubServer
from ci.rehearsal.tokens import WRITES
from ci.release.dist import TestedImage, read_dist
from ci.release.proposal import primary_first
from ci.release.targets import CHANGELOG, CONSUMER_MANIFEST, MANIFEST

REPOSITORY = "fountainkit-toolsmith-image"
CONSUMER = "FountainKit"
ATTEMPTS = 3
# Nobody else uses this server: nothing to be patient for.
PATIENCE = Patience(
    attempts=ATTEMPTS, seconds_between_requests=0, seconds_between_writes=0, sleep=lambda _seconds: None
)
CUT_OFF = Fault(effect=Effect.RESET, moment=Moment.MIDWAY, method="POST", path="^/api/uploads", times=ATTEMPTS)
COLUMNS = ("what", "result", "seconds", "API calls")

# As before any release, whatever has been released since: a rehearsal's version may be older.
FIRST_MANIFEST = json.dumps({"image": NO_IMAGE, "tools": {}, "operations": []}, indent=2) + "\n"

# What a consumer's own manifest may hold beside the image; a roll-out must leave it as it is.
CONSUMER_EXAMPLE = f"""\
{{
    "tools": {{ "jq": "1.7" }},
    "image": {{
        "name": "fountainkit-toolsmith", "tarball": "", "sha256": "",
        "qcow2": "{NO_FILE}", "qcow2_sha256": "{NO_DIGEST}"
    }},
    "operations": [ "format", "lint" ],
    "owner": "the infrastructure team"
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearseRequest:
    """The images in `dist` of the version `tag`, or of the only one there; the manifest points to that of `image`.

    `keep` is a folder for the texts that came out.
    """

    dist: Path
    tag: Version | None
    image: str
    keep: Path | None = None


def arguments() -> argparse.ArgumentParser:
    result = cli.parser("toolsmith-image rehearse", __doc__)
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument("--tag", help="vYYYY.MM.DD[.N] [the version in dist]")
    result.add_argument(
        "--image", default=RELEASE_IMAGE, metavar="NAME", help="the one the manifest points to, of several"
    )
    result.add_argument("--keep", type=Path, metavar="FOLDER", help="leave all texts there; a new or an empty folder")
    return result


def request(options: argparse.Namespace) -> RehearseRequest:
    return cli.filled(RehearseRequest, options, tag=chosen_tag(options.tag, {}))


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    rehearse(request(options), reporter)


def rehearse(wanted: RehearseRequest, reporter: Reporter) -> None:
    """Raises what the two commands raise, and VerificationError where the outcome is not as it must be.

    Raises RefusedError, before anything is done, where there is something in the folder for the texts.
    """
    if wanted.keep is not None:
        require_empty(wanted.keep)
    with reporter.step("Reading what was built and tested"):
        images = read_dist(wanted.dist, version=wanted.tag, allow_dirty=True)
    image = primary_first(images, wanted.image)[0]
    rows = []
    with work_folder(cache_folder() / "rehearsal") as folder, GitHubServer.start(folder) as server:
        rehearsal = _Rehearsal(server, image, wanted, folder, reporter)
        for title, act in rehearsal.acts().items():
            started, before = time.monotonic(), len(server.exchanges)
            result = act()
            rows.append((title, result, f"{time.monotonic() - started:.1f}", str(len(server.exchanges) - before)))
        if wanted.keep is not None:
            keep(wanted.keep, rehearsal.texts())
            reporter.note(f"The texts are in {wanted.keep}.")
    reporter.table(f"Rehearsal of {image.build.version}", COLUMNS, rows)


def require_empty(folder: Path) -> None:
    """Raise RefusedError unless there is no such folder yet, or nothing in it."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise RefusedError(f"{folder} is there, and is not an empty folder", hint="Name a new one with --keep.")


def keep(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the texts, as their bytes are, by the names of their files; none in the place of another file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        try:
            with (folder / name).open("xb") as file:
                file.write(text.encode())
        except FileExistsError as error:
            raise RefusedError(f"{folder / name} came meanwhile", hint="Name a new folder with --keep.") from error


class _Rehearsal:
    """A server with a repository and a consumer's, what is done there, and what must be seen afterwards."""

    def __init__(
        self, server: GitHubServer, image: TestedImage, wanted: RehearseRequest, folder: Path, reporter: Reporter
    ) -> None:
        self.server, self.image, self.wanted, self.folder, self.reporter = server, image, wanted, folder, reporter
        self.version = Version.parse(image.build.version)
        self.record_sha256 = ""  # until it is published
        files = {path: (ROOT / path).read_text(encoding="utf-8") for path in ("README.md", CHANGELOG)}
        self.repository = server.create_repository(REPOSITORY, files | {MANIFEST: FIRST_MANIFEST})
        server.show_head_as(self.repository, image.build.commit)
        self.consumer = server.create_repository(CONSUMER, {CONSUMER_MANIFEST: CONSUMER_EXAMPLE})
        self.environ = {
            "GITHUB_API_URL": server.url,
            "GITHUB_SERVER_URL": server.url,
            "GITHUB_REPOSITORY": self.repository,
            "GITHUB_TOKEN": server.job_token(self.repository, **WRITES).secret,
            FOUNTAINKIT_REPOSITORY: self.consumer,
            FOUNTAINKIT_TOKEN: server.app_token(self.consumer, **WRITES).secret,
        }
        server.allow_pulls_of_actions(self.repository)

    def acts(self) -> dict[str, Callable[[], str]]:
        """In their order; each tells what it came to."""
        return {
            "publish, cut off in the image's upload": self.cut_off,
            "publish, run again": self.publish,
            "publish, once more": lambda: self.unchanged(self.publish),
            "roll out": self.roll_out,
            "roll out, once more": lambda: self.unchanged(self.roll_out),
            "merge, and fetch as a consumer": self.merge_and_fetch,
            "roll out, after the merge": lambda: self.unchanged(self.roll_out),
        }

    def _publish(self) -> None:
        wanted = PublishReleaseRequest(
            dist=self.wanted.dist, tag=self.version, image=self.wanted.image, allow_dirty=True
        )
        publish_release(wanted, self.reporter, environ=self.environ, patience=PATIENCE)

    def cut_off(self) -> str:
        """Publish, with each attempt to upload the image cut off."""
        self.server.faults.arm(CUT_OFF)
        try:
            self._publish()
        except RemoteError as failure:
            self.reporter.note(f"cut off, as planned: {failure}")
        finally:
            self.server.faults.clear()
        releases = self.server.releases(self.repository)
        if not all(release["draft"] for release in releases):
            raise _wrong("a release became visible before it was whole")
        return f"{len(releases)} draft, nothing public"

    def publish(self) -> str:
        """Publish; then there is one release, with exactly what was built."""
        self._publish()
        releases = self.server.releases(self.repository)
        if [(release["tag_name"], release["draft"]) for release in releases] != [(self.image.build.version, False)]:
            raise _wrong(f"there are releases that must not be there: {releases}")
        digests = {asset["name"]: asset["digest"] for asset in releases[0]["assets"]}
        wanted = {file.name: file.sha256 for file in self.image.files}
        wanted[bundle.NAME] = hashlib.sha256(bundle.archive(ROOT)).hexdigest()
        if missing := [name for name, sha256 in wanted.items() if digests.get(name) != f"sha256:{sha256}"]:
            raise _wrong(f"assets are missing or wrong: {', '.join(missing)}")
        self.record_sha256 = digests[artifacts.RELEASE].removeprefix("sha256:")
        return f"1 release, {len(digests)} assets"

    def roll_out(self) -> str:
        """Propose the roll-out; then there is one pull request in each repository."""
        wanted = ProposeRolloutRequest(tag=self.version, record_sha256=self.record_sha256)
        propose_rollout(wanted, self.reporter, environ=self.environ, patience=PATIENCE)
        numbers = [len(self.server.pulls(repository)) for repository in (self.repository, self.consumer)]
        if numbers != [1, 1]:
            raise _wrong(f"there are {numbers} pull requests instead of one in each repository")
        return "1 pull request here, 1 in FountainKit"

    def unchanged(self, act: Callable[[], str]) -> str:
        """Run something that has nothing left to do; a write would show that it does not know so."""
        before = len(self.server.exchanges)
        act()
        if writes := [f"{one.method} {one.path}" for one in self.server.exchanges[before:] if one.method != "GET"]:
            raise _wrong(f"a run with nothing to do wrote: {', '.join(writes)}")
        return "nothing to do"

    def merge_and_fetch(self) -> str:
        """Merge both; then a consumer who follows the manifest, from an empty folder, gets the tested bytes."""
        for repository in (self.repository, self.consumer):
            self.server.merge_pull(repository, self.server.pulls(repository)[0]["number"])
        ours = read_manifest(self._read(self.repository, MANIFEST), MANIFEST)
        text = self._read(self.consumer, CONSUMER_MANIFEST)
        theirs = read_manifest(text, CONSUMER_MANIFEST)
        if theirs["image"]["qcow2"] != ours["image"]["qcow2"] or "owner" not in theirs:
            raise _wrong("FountainKit's manifest is not as it must be")
        workspace = self.folder / "workspace"
        write_atomic(workspace / CONSUMER_MANIFEST, text)
        found = ensure_vm(EnsureVmRequest(workspace=workspace, localize=True), self.reporter, Client())
        path = Path(str(found["path"]))
        local = read_manifest((workspace / CONSUMER_MANIFEST).read_bytes(), CONSUMER_MANIFEST)["image"]
        # Where Toolsmith looks: docs/consuming.md.
        expected = workspace / ".toolsmith" / "cache" / local["name"] / local["qcow2_sha256"] / local["qcow2"]
        if path != expected or sha256_file(path) != self.image.build.image.sha256:
            raise _wrong("the manifest leads to another image, or to another place")
        return "the tested bytes, where Toolsmith looks"

    def texts(self) -> dict[str, str]:
        """All that people and programs would read, by the names of files."""
        tag = self.image.build.version
        ours, theirs = (self.server.pulls(repository)[0] for repository in (self.repository, self.consumer))
        evidence = pull_request.read_evidence(self.wanted.dist)
        kept = {MANIFEST: "tools.json", CHANGELOG: "changelog.md", f"releases/{tag}.md": "page.md"}
        return {
            "notes.md": self.server.releases(self.repository)[0]["body"],
            "release.json": self._read(self.repository, f"releases/{tag}.json").decode(),
            **{name: self._read(self.repository, path).decode() for path, name in kept.items()},
            "pull-request.md": f"{ours['title']}\n\n{ours['body']}",
            "consumer-pull-request.md": f"{theirs['title']}\n\n{theirs['body']}",
            "consumer-tools.json": self._read(self.consumer, CONSUMER_MANIFEST).decode(),
            "comment.md": pull_request.render(sorted(evidence), evidence, {}, good=True, run=None),
        }

    def _read(self, repository: str, path: str) -> bytes:
        return (self.server.read(repository, path) or "").encode()


def _wrong(what: str) -> ToolsmithError:
    return VerificationError(f"the rehearsal went wrong: {what}", hint="This is a bug; please report it with the log.")


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
