"""A repository on the local GitHub, with the commands run in it as a maintainer or a workflow would run them."""

import contextlib
import functools
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

from ci import propose_rollout, publish_release
from ci.consume.bundle import NAME as ENSURE_VM_NAME
from ci.fetch.retry import Patience
from ci.host import cli
from ci.host.repository import ROOT
from ci.records import artifacts
from ci.records.packages import Package
from ci.records.release import ReleaseRecord, whole_manifest
from ci.rehearsal.exchanges import Exchange
from ci.rehearsal.faults import Armed
from ci.rehearsal.server import GitHubServer
from ci.release.state import section
from ci.text.markdown import Markdown
from ci.workflow import prepare_release
from tests.support.calls import Api
from tests.support.releasing import ENSURE_VM, TAG, make_dist, write_ensure_vm

Json = dict[str, Any]

OLDER, NEWER = "v2026.11.22", "v2026.11.24"
OLD_PACKAGES = (
    Package(name="curl", version="7.88.1-9", architecture="amd64", installed_kib=490),
    Package(name="nano", version="7.2-1", architecture="amd64", installed_kib=2800),
)
MANIFEST, CHANGELOG = "manifests/tools.json", "docs/releases.md"
# As in this repository before its first release, among files that a roll-out must leave alone.
FILES = {
    MANIFEST: (ROOT / MANIFEST).read_text(encoding="utf-8"),
    CHANGELOG: (ROOT / CHANGELOG).read_text(encoding="utf-8"),
    "README.md": "# The image\n",
    "build/provision/provision.sh": "#!/bin/sh\n",
    "releases/README.md": "One record per release.\n",
}
QUICK = Patience(
    timeout=20, upload_timeout=20.0, seconds_between_requests=0, seconds_between_writes=0, sleep=lambda _: None
)
READING = {"GET", "HEAD"}
# The consumer's tool is not made for each of many releases; test_ensure_vm.py beside this has the real one.
publishing = functools.partial(publish_release.main, bundle=write_ensure_vm)
preparing = functools.partial(prepare_release.main, bundle=write_ensure_vm)
LOCKS = {".work-lock"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one command came to; `said` is what a person saw, `log` what the log has."""

    code: int
    said: str
    log: str
    exchanges: tuple[Exchange, ...]
    slept: tuple[float, ...]

    @property
    def writes(self) -> list[str]:
        """The requests that could change something: "the generated release notes are not saved anywhere"."""
        sent = [exchange for exchange in self.exchanges if exchange.method not in READING]
        return [f"{one.method} {one.path}" for one in sent if not one.path.endswith("/generate-notes")]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """`environ` is what Actions sets; `folder` takes dist/ and logs; `told` are the records' digests by their tags."""

    server: GitHubServer
    repository: str
    folder: Path
    environ: Mapping[str, str]
    patience: Patience = QUICK
    told: dict[str, str] = field(default_factory=dict)

    def with_environ(self, **changes: str) -> "Stage":
        """The same, with other variables; an empty value is as good as none."""
        return replace(self, environ=dict(self.environ) | changes)

    def with_consumer(self, consumer: "Stage", token: str | None = None) -> "Stage":
        """The same, with FountainKit's repository to roll out to."""
        return self.with_environ(
            FOUNTAINKIT_REPOSITORY=consumer.repository, FOUNTAINKIT_TOKEN=token or consumer.server.tokens.app.secret
        )

    def with_patience(self, **changes: Any) -> "Stage":  # noqa: ANN401 - the fields of Patience
        return replace(self, patience=replace(self.patience, **changes))

    # The commands

    def publish(self, *flags: str, dist: Path | None = None) -> Run:
        argv = ["--dist", os.fspath(dist or self.folder / "dist"), *flags]
        run = self.run(publishing, publish_release.arguments(), argv)
        for release in self.server.releases(self.repository):
            digests = [asset.get("digest") for asset in release["assets"] if asset["name"] == artifacts.RELEASE]
            if not release["draft"] and digests and digests[0]:
                self.told.setdefault(release["tag_name"], digests[0].removeprefix("sha256:"))
        return run

    def prepare(self, *flags: str, dist: Path | None = None) -> Run:
        """Make the record and the tool, to be attested."""
        argv = ["--dist", os.fspath(dist or self.folder / "dist"), *flags]
        return self.run(preparing, prepare_release.arguments(), argv)

    def publish_attested(self, dist: Path | None = None) -> Run:
        """Prepare a release and publish what was prepared, as the jobs of a workflow do."""
        dist = dist or self.folder / "dist"
        assert self.prepare(dist=dist).code == 0
        attested = sha256((dist / artifacts.RELEASE).read_bytes())
        for name in (artifacts.RELEASE, ENSURE_VM_NAME):
            (dist / name).unlink()
        return self.publish("--record-sha256", attested, dist=dist)

    def roll_out(self, *flags: str, tag: str = TAG) -> Run:
        """As a workflow does, which hands on what publishing told."""
        told = ["--record-sha256", self.told[tag]] if tag in self.told else []
        return self.run(propose_rollout.main, propose_rollout.arguments(), ["--tag", tag, *told, *flags])

    def propose(self, *flags: str) -> Run:
        """Roll out with these flags alone."""
        return self.run(propose_rollout.main, propose_rollout.arguments(), flags)

    def run(self, main: Any, arguments: Any, argv: Sequence[str]) -> Run:  # noqa: ANN401 - cli.run's
        slept: list[float] = []
        log, said = self.folder / "log", io.StringIO()
        log.unlink(missing_ok=True)
        before = len(self.server.exchanges)
        patience = replace(self.patience, sleep=slept.append)
        with mock.patch.dict(os.environ, environment(self.environ), clear=True), contextlib.redirect_stderr(said):
            code = cli.run(functools.partial(main, patience=patience), arguments, [*argv, "--log", os.fspath(log)])
        return Run(
            code=code,
            said=said.getvalue(),
            log=log.read_text(encoding="utf-8"),
            exchanges=tuple(self.server.exchanges[before:]),
            slept=tuple(slept),
        )

    # What people do

    def build(self, tag: str = TAG, **changes: Any) -> Path:  # noqa: ANN401 - what make_dist takes
        """A dist/ of the default branch's commit."""
        commit = changes.pop("commit", None) or self.head()
        return make_dist(changes.pop("folder", self.folder / "dist"), tag=tag, commit=commit, **changes)

    def head(self, branch: str = "main") -> str:
        found = self.server.branch_head(self.repository, branch)
        assert found is not None, f"there is no branch {branch}"
        return found

    def api(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        ok: bool = True,
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401 - JSON
        """A request of an administrator's, below the repository."""
        with self._administrator() as calls:
            response = calls.call(method, path, json=body, **options)
        assert response.ok or not ok, response.text
        return response.json() if response.content else None

    def upload(self, release: Json, name: str, data: bytes) -> Json:
        with self._administrator() as calls:
            return calls.uploaded(release, name, data)

    def _administrator(self) -> Api:
        return Api(self.server, self.repository, self.server.tokens.admin)

    def replace_asset(self, name: str, data: bytes | None) -> None:
        """As anybody with a token can where releases are not immutable; without data it is only deleted."""
        (release,) = self.releases()
        asset = next(asset for asset in release["assets"] if asset["name"] == name)
        self.api("DELETE", f"/releases/assets/{asset['id']}")
        if data is not None:
            self.upload(release, name, data)

    def forget_digests(self) -> None:
        """As with assets that were uploaded before June 2025: https://github.com/github/roadmap/issues/1136."""
        for release in self.server._releases.shelf(self.repository).releases.values():
            for asset in release.assets.values():
                asset.digest = None

    def make_release(self, tag: str, files: Mapping[str, bytes], *, draft: bool = False, body: str = "") -> Json:
        """A release as somebody makes it by hand."""
        release: Json = self.api("POST", "/releases", {"tag_name": tag, "name": tag, "body": body, "draft": True})
        for name, data in files.items():
            self.upload(release, name, data)
        change: Json = {} if draft else {"draft": False}
        edited: Json = self.api("PATCH", f"/releases/{release['id']}", change)
        return edited

    def make_draft(self, files: Mapping[str, bytes] | None = None, tag: str = TAG) -> Json:
        """A draft as an earlier run of ours left it."""
        return self.make_release(tag, files or {}, draft=True, body=section(self.head(), Markdown("Notes")))

    def make_tag(self, tag: str, commit: str, *, annotated: bool = False) -> None:
        if annotated:
            made = self.api("POST", "/git/tags", {"tag": tag, "message": tag, "object": commit, "type": "commit"})
            commit = made["sha"]
        self.api("POST", "/git/refs", {"ref": f"refs/tags/{tag}", "sha": commit})

    # What is there

    def releases(self, tag: str = TAG) -> list[Json]:
        return [release for release in self.server.releases(self.repository) if release["tag_name"] == tag]

    def asset(self, name: str, tag: str = TAG) -> bytes:
        release = min(self.releases(tag), key=lambda release: release["draft"])
        found = next(asset for asset in release["assets"] if asset["name"] == name)
        return self.server.asset_bytes(found["id"]).read_bytes()

    def record(self, tag: str = TAG) -> ReleaseRecord:
        return ReleaseRecord.model_validate_json(self.asset(artifacts.RELEASE, tag))

    def pulls(self) -> list[Json]:
        return self.server.pulls(self.repository)

    def branches(self) -> list[str]:
        return sorted(branch["name"] for branch in self.api("GET", "/branches"))

    def read(self, path: str, ref: str = "main") -> str | None:
        return self.server.read(self.repository, path, ref=ref)

    def tree(self, ref: str = "main") -> dict[str, str]:
        """All files of a branch: the digests of their contents by their paths."""
        found = self.api("GET", f"/git/trees/{self.head(ref)}", params={"recursive": "1"})
        return {entry["path"]: entry["sha"] for entry in found["tree"] if entry["type"] == "blob"}

    def state(self) -> Json:
        """Everything that could be changed, to compare."""
        references = {
            reference["ref"]: reference["object"]["sha"]
            for kind in ("heads", "tags")
            for reference in self.api("GET", f"/git/matching-refs/{kind}/")
        }
        pulls = [{key: pull[key] for key in ("number", "state", "title", "body")} for pull in self.pulls()]
        releases = [
            {key: release[key] for key in ("id", "tag_name", "draft", "body", "assets")}
            for release in self.server.releases(self.repository)
        ]
        for release in releases:
            release["assets"] = [(asset["id"], asset["state"], asset["digest"]) for asset in release["assets"]]
        return {"references": references, "pulls": pulls, "releases": releases}


def as_app(stage: Stage) -> Stage:
    """The same, with an app's token."""
    return stage.with_environ(GITHUB_TOKEN=stage.server.tokens.app.secret)


@contextlib.contextmanager
def meanwhile(held: Armed, act: Callable[[], object]) -> Iterator[None]:
    """While the block's command waits in a pause, somebody acts; then it goes on."""

    def wait() -> None:
        if held.reached.wait(60):
            act()
            held.proceed()

    with ThreadPoolExecutor(1) as people:
        acted = people.submit(wait)
        yield
        assert held.reached.is_set(), "the command never came to where it was to pause"
        acted.result()


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what a workflow would have set, and with `changes`."""
    ours = ("GITHUB_", "FOUNTAINKIT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"NO_PROXY": "localhost"} | dict(changes)


def published_files(dist: Path, tag: str = TAG) -> dict[str, str]:
    """What a release must hold besides its record and its snippet: SHA-256 by name."""
    return {name: sha256(data) for name, data in published_bytes(dist, tag).items()}


def published_bytes(dist: Path, tag: str = TAG) -> dict[str, bytes]:
    """The same files' contents."""
    files = {path.name: path.read_bytes() for path in dist.glob(f"*-{tag}.*")}
    return files | {ENSURE_VM_NAME: ENSURE_VM}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def assert_nothing_wrong_is_public(stage: Stage, dist: Path, tag: str = TAG) -> None:
    """Whatever happened: what others can see is whole and right, by its bytes."""
    for release in stage.releases(tag):
        if release["draft"]:
            continue
        found = {}
        for asset in release["assets"]:
            data = stage.server.asset_bytes(asset["id"]).read_bytes()
            assert asset["state"] == "uploaded"
            assert asset["digest"] == f"sha256:{sha256(data)}"
            assert asset["size"] == len(data)
            found[asset["name"]] = sha256(data)
        record = ReleaseRecord.model_validate_json(stage.asset(artifacts.RELEASE, tag))
        snippet = {artifacts.SNIPPET: sha256(whole_manifest(record, "file").encode())}
        assert {asset.name: asset.sha256 for asset in record.assets} == published_files(dist, tag) | snippet
        assert {name: digest for name, digest in found.items() if name != artifacts.RELEASE} == {
            asset.name: asset.sha256 for asset in record.assets
        }


def assert_released(stage: Stage, dist: Path, tag: str = TAG) -> None:
    """There is exactly one release of the tag; it is public, at the right commit, and right."""
    releases = stage.releases(tag)
    assert [release["draft"] for release in releases] == [False]
    assert_nothing_wrong_is_public(stage, dist, tag)
    record = stage.record(tag)
    assert stage.server.tag_commit(stage.repository, tag) == record.commit
    assert {path.name for path in dist.iterdir() if path.name.startswith(".")} <= LOCKS


def assert_proposed(stage: Stage, tag: str = TAG, *, pulls: int = 1, base: str = "main") -> Json:
    """There is one branch and one pull request, and it changes the four files as it should and nothing else."""
    branch = f"rollout/{tag}"
    assert [name for name in stage.branches() if name.startswith("rollout/")] == [branch]
    assert len(stage.pulls()) == pulls
    (pull,) = [pull for pull in stage.pulls() if pull["state"] == "open"]
    assert (pull["head"]["ref"], pull["base"]["ref"]) == (branch, base)
    assert pull["head"]["sha"] == stage.head(branch)
    commit = stage.api("GET", f"/git/commits/{stage.head(branch)}")
    assert [parent["sha"] for parent in commit["parents"]] == [stage.head(base)]
    assert_changes(stage, branch, {MANIFEST, CHANGELOG, f"releases/{tag}.md", f"releases/{tag}.json"}, base)
    assert stage.read(f"releases/{tag}.json", branch) == stage.asset(artifacts.RELEASE, tag).decode()
    return pull


def assert_changes(stage: Stage, branch: str, paths: Iterable[str], base: str = "main") -> None:
    """The branch has the default branch's files, but for these, which it adds or changes."""
    before, after = stage.tree(base), stage.tree(branch)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed == set(paths)
    assert before.keys() <= after.keys()


def release_older(stage: Stage, tag: str = OLDER) -> None:
    """An earlier release, with what is read of it: its record and its packages."""
    folder = stage.folder / f"dist-{tag}"
    dist = stage.build(tag, folder=folder, packages=OLD_PACKAGES, image=b"QFI\xfb an older image")
    assert stage.publish(dist=dist).code == 0
