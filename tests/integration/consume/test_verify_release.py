"""A published release, verified from outside: as it is, and after somebody changed something."""

import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from ci import verify_release
from ci.host.errors import FetchError, InputError, ToolsmithError, VerificationError
from ci.rehearsal.server import GitHubServer
from tests.support.quiet import quiet_reporter
from tests.support.releasing import TAG
from tests.support.stage import FILES, QUICK, Stage

pytestmark = pytest.mark.integration

COMPARED = ["release record", "checksum file", "image", "SBOM", "ensure-vm.pyz"]


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHubServer]:
    with GitHubServer.start(tmp_path_factory.mktemp("github")) as server:
        yield server


@pytest.fixture
def stage(github: GitHubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A repository with a published release."""
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("TOOLSMITH_CACHE", os.fspath(tmp_path / "cache"))
    repository = github.create_repository(tmp_path.name.replace("_", "-"), FILES)
    environ = {
        "GITHUB_API_URL": github.url,
        "GITHUB_SERVER_URL": github.url,
        "GITHUB_REPOSITORY": repository,
        "GITHUB_TOKEN": github.token,
    }
    result = Stage(server=github, repository=repository, folder=tmp_path, environ=environ)
    result.build()
    assert result.publish().code == 0
    return result


def asset(stage: Stage, ending: str) -> dict[str, Any]:
    assets: list[dict[str, Any]] = stage.releases()[0]["assets"]
    return next(one for one in assets if one["name"].endswith(ending))


def manifest(stage: Stage, **changes: object) -> Path:
    image = stage.record().image
    fields = {
        "name": image.name,
        "tarball": "",
        "sha256": "",
        "qcow2": image.qcow2.url,
        "qcow2_sha256": image.qcow2.sha256,
        "version": TAG,
        "size": image.qcow2.size,
    }
    path = stage.folder / "tools.json"
    path.write_text(json.dumps({"image": fields | changes, "tools": {}, "operations": []}))
    return path


class Verification:
    """What the command came to: its error, if any, and what it found."""

    def __init__(self, stage: Stage, *flags: str) -> None:
        self.error: ToolsmithError | None = None
        options = verify_release.arguments().parse_args(["--json", *flags])
        environ = {"GITHUB_SERVER_URL": stage.server.url, "GITHUB_REPOSITORY": stage.repository}
        with redirect_stdout(io.StringIO()) as printed:
            try:
                verify_release.main(options, quiet_reporter(), environ=environ, patience=QUICK)
            except ToolsmithError as error:
                self.error = error
        self.found = json.loads(printed.getvalue() or '{"findings": []}')["findings"]

    def outcomes(self) -> dict[str, str]:
        return {finding["subject"]: finding["outcome"] for finding in self.found}


def test_a_release_is_what_its_manifest_promises(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(stage.folder))  # without gh
    for flags in (["--manifest", str(manifest(stage))], ["--tag", TAG]):
        verification = Verification(stage, *flags)
        assert verification.error is None
        assert verification.outcomes() == dict.fromkeys(COMPARED, "agrees") | {"provenance": "skipped"}
    assert [path.name for path in (stage.folder / "cache" / "verify").iterdir()] == [".work-lock"]


def replace_bytes(stage: Stage, ending: str, content: bytes) -> None:
    """Let an asset have other bytes, as many as before."""
    path = stage.server.asset_bytes(asset(stage, ending)["id"])
    path.write_bytes(content.ljust(path.stat().st_size))


# What is changed, and what is found to differ then; without a record there is nothing to compare its files with.
CHANGES = {
    ".qcow2": ("image", b"x", {}),
    ".qcow2.sha256": ("checksum file", b"0" * 64, {}),
    ".cdx.json": ("SBOM", b"{}", {}),
    "ensure-vm.pyz": ("ensure-vm.pyz", b"import os", {}),
    "release.json": ("release record", b"{}", {"SBOM": "skipped", "ensure-vm.pyz": "skipped"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_is_found_and_the_rest_still_compared(stage: Stage, change: str) -> None:
    path = manifest(stage)
    subject, content, follows = CHANGES[change]
    replace_bytes(stage, change, content)
    verification = Verification(stage, "--manifest", str(path))
    assert isinstance(verification.error, VerificationError)
    outcomes = verification.outcomes()
    assert {name: outcomes[name] for name in COMPARED} == dict.fromkeys(COMPARED, "agrees") | follows | {
        subject: "differs"
    }


@pytest.mark.parametrize(
    ("changes", "subjects"),
    [
        ({"qcow2_sha256": "a" * 64}, {"release record", "checksum file", "image", "SBOM"}),
        ({"size": 7}, {"release record", "image"}),
        ({"version": "v2026.11.24"}, {"release record"}),
    ],
)
def test_a_manifest_that_promises_something_else_is_found(
    stage: Stage, changes: dict[str, object], subjects: set[str]
) -> None:
    verification = Verification(stage, "--manifest", str(manifest(stage, **changes)))
    assert isinstance(verification.error, VerificationError)
    assert {subject for subject, outcome in verification.outcomes().items() if outcome == "differs"} == subjects


def test_a_file_that_is_gone_is_no_difference_but_not_well_either(stage: Stage) -> None:
    path = manifest(stage)
    release = stage.releases()[0]
    image = asset(stage, ".qcow2")
    stage.api("DELETE", f"/releases/assets/{image['id']}")
    assert release["id"]
    verification = Verification(stage, "--manifest", str(path))
    assert isinstance(verification.error, FetchError)
    assert verification.outcomes()["image"] == "unreachable"
    assert verification.outcomes()["checksum file"] == "agrees"


GH = """#!/bin/sh
echo "$@" >> "$0.asked"
echo "$GH_TOKEN" >> "$0.asked"
echo "no attestations found" >&2
exit {code}
"""


@pytest.mark.parametrize(("code", "outcome"), [(0, "agrees"), (1, "differs"), (4, "skipped")])
def test_gh_is_asked_about_the_provenance_where_it_is_there(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, code: int, outcome: str
) -> None:
    gh = stage.folder / "gh"
    gh.write_text(GH.format(code=code))
    gh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stage.folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GH_TOKEN", "for gh alone")
    verification = Verification(stage, "--tag", TAG)
    assert verification.outcomes()["provenance"] == outcome
    asked = (stage.folder / "gh.asked").read_text()
    assert asked.startswith("attestation verify ")
    assert f"--repo {stage.repository}\nfor gh alone\n" in asked
    assert isinstance(verification.error, VerificationError) == (outcome == "differs")


@pytest.mark.parametrize("attested", [False, True])
def test_gh_is_asked_about_the_sbom_where_the_record_says_that_it_is_attested(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, *, attested: bool
) -> None:
    tag = f"{TAG}.1"
    stage.build(tag, folder=stage.folder / tag)
    publish = stage.publish_attested if attested else stage.publish
    assert publish(dist=stage.folder / tag).code == 0
    gh = stage.folder / "gh"
    gh.write_text(GH.format(code=0))
    gh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stage.folder}{os.pathsep}{os.environ['PATH']}")
    assert Verification(stage, "--tag", tag).error is None
    asked = (stage.folder / "gh.asked").read_text()
    assert ("--predicate-type https://cyclonedx.org/bom" in asked) == attested


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (["--tag", "latest"], InputError),
        (["--tag", "v2026.11.22"], FetchError),
        (["--tag", TAG, "--repository", "nobody"], InputError),
    ],
)
def test_what_does_not_exist_is_no_finding(stage: Stage, flags: list[str], kind: type[ToolsmithError]) -> None:
    verification = Verification(stage, *flags)
    assert isinstance(verification.error, kind)
    assert verification.found == []


def test_a_manifest_that_leads_to_no_release_cannot_be_verified(stage: Stage) -> None:
    assert isinstance(Verification(stage, "--manifest", str(manifest(stage, qcow2="image.qcow2"))).error, InputError)
