"""A published release, verified from outside: as it is, and after somebody changed something."""

import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from ci import verify_release
from ci.host.errors import FetchError, InputError, ToolsmithError, UnprovenError, VerificationError
from ci.rehearsal.server import GitHubServer
from tests.support.quiet import quiet_reporter
from tests.support.releasing import TAG
from tests.support.scripted_gh import ScriptedGh
from tests.support.stage import FILES, QUICK, Stage

pytestmark = pytest.mark.integration

COMPARED = ["release record", "checksum file", "image", "SBOM", "ensure-vm.pyz", "tag"]
PROVENANCE = [f"provenance of {what}" for what in ("the image", "the SBOM", "the record", "ensure-vm.pyz")]
ATTESTED = [".qcow2", ".cdx.json", "release.json", "ensure-vm.pyz"]
ALL_AGREE = dict.fromkeys([*COMPARED, *PROVENANCE], "agrees")


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


@pytest.fixture
def gh(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> ScriptedGh:
    """A gh that knows what the release workflow attests."""
    result = ScriptedGh(stage.folder / "bin")
    monkeypatch.setenv("PATH", result.path)
    attest(result, stage)
    return result


def attest(gh: ScriptedGh, stage: Stage, **changes: Any) -> None:  # noqa: ANN401 - what ScriptedGh.attest takes
    identity = {"sourceRepositoryIdentifier": str(stage.api("GET", "")["id"])}
    made = {"repository": stage.repository, "commit": stage.head(), "ref": f"refs/tags/{TAG}", "fields": identity}
    for ending in ATTESTED:
        path = stage.server.asset_bytes(asset(stage, ending)["id"])
        gh.attest(path.read_bytes(), **(made | changes))


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
        environ = {
            "GITHUB_API_URL": stage.server.url,
            "GITHUB_SERVER_URL": stage.server.url,
            "GITHUB_REPOSITORY": stage.repository,
            "GITHUB_TOKEN": stage.server.token,
        }
        with redirect_stdout(io.StringIO()) as printed:
            try:
                verify_release.main(options, quiet_reporter(), environ=environ, patience=QUICK)
            except ToolsmithError as error:
                self.error = error
        self.found = json.loads(printed.getvalue() or '{"findings": []}')["findings"]

    def outcomes(self) -> dict[str, str]:
        return {finding["subject"]: finding["outcome"] for finding in self.found}


def test_a_release_is_what_its_manifest_promises(stage: Stage, gh: ScriptedGh) -> None:
    for flags in (["--manifest", str(manifest(stage))], ["--tag", TAG]):
        verification = Verification(stage, *flags)
        assert (verification.error, verification.outcomes()) == (None, ALL_AGREE)
    assert [path.name for path in (stage.folder / "cache" / "verify").iterdir()] == [".work-lock"]
    assert len(gh.asked()) == 8


def test_without_gh_nothing_is_wrong_and_nothing_is_proven(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(stage.folder))
    verification = Verification(stage, "--tag", TAG)
    assert isinstance(verification.error, UnprovenError)
    assert "gh is not installed" in verification.error.message
    assert verification.outcomes() == dict.fromkeys(COMPARED, "agrees") | dict.fromkeys(PROVENANCE, "unproven")
    assert Verification(stage, "--tag", TAG, "--allow-unproven").error is None


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
    "release.json": ("release record", b"{}", {"SBOM": "skipped", "ensure-vm.pyz": "skipped", "tag": "skipped"}),
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


def test_a_release_that_somebody_made_over_agrees_with_itself_and_is_not_proven(stage: Stage, gh: ScriptedGh) -> None:
    """Who can edit a release can replace image, checksum, SBOM and record together: only the attestations are left."""
    publish_over(stage)
    verification = Verification(stage, "--tag", TAG)
    assert isinstance(verification.error, UnprovenError)
    outcomes = verification.outcomes()
    assert {name: outcomes[name] for name in COMPARED} == dict.fromkeys(COMPARED, "agrees")
    assert outcomes["provenance of the image"] == outcomes["provenance of the record"] == "unproven"
    # One who may also push a branch has them signed there, by this very workflow: that proves nothing.
    attest(gh, stage, ref="refs/heads/theirs")
    verification = Verification(stage, "--tag", TAG)
    assert isinstance(verification.error, UnprovenError)
    assert "signed on refs/heads/theirs" in verification.error.message


def publish_over(stage: Stage) -> None:
    """Replace the release by one that another build made, of the same commit."""
    (release,) = stage.releases()
    stage.api("DELETE", f"/releases/{release['id']}")
    stage.build(folder=stage.folder / "theirs", image=b"theirs" * 100)
    assert stage.publish(dist=stage.folder / "theirs").code == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"commit": "d" * 40},
        {"ref": "refs/tags/v2026.11.24"},
        {"signed": False},
        {"fields": {"runnerEnvironment": "self-hosted"}},
        {"fields": {"sourceRepositoryIdentifier": "77"}},
    ],
)
def test_what_was_signed_for_something_else_is_found(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    gh = ScriptedGh(stage.folder / "bin")
    monkeypatch.setenv("PATH", gh.path)
    attest(gh, stage, **changes)
    verification = Verification(stage, "--tag", TAG)
    assert isinstance(verification.error, VerificationError)
    assert verification.outcomes() == ALL_AGREE | dict.fromkeys(PROVENANCE, "differs")


def test_a_tag_that_was_moved_is_found(stage: Stage, gh: ScriptedGh) -> None:
    stage.server.commit(stage.repository, {"README.md": "moved\n"})
    stage.api("PATCH", f"/git/refs/tags/{TAG}", {"sha": stage.head(), "force": True})
    verification = Verification(stage, "--tag", TAG)
    assert isinstance(verification.error, VerificationError)
    outcomes = verification.outcomes()
    assert outcomes["tag"] == "differs"
    assert [outcomes[part] for part in PROVENANCE] == ["skipped"] * 4
    assert gh.asked() == []


@pytest.mark.usefixtures("gh")
def test_the_records_digest_is_compared_where_it_is_known(stage: Stage) -> None:
    digest = hashlib.sha256(stage.asset("release.json")).hexdigest()
    assert Verification(stage, "--tag", TAG, "--record-sha256", digest).error is None
    verification = Verification(stage, "--tag", TAG, "--record-sha256", "a" * 64)
    assert isinstance(verification.error, VerificationError)
    assert verification.outcomes()["release record"] == "differs"
    assert isinstance(Verification(stage, "--tag", TAG, "--record-sha256", "a").error, InputError)


@pytest.mark.parametrize(
    ("changes", "subjects"),
    [
        ({"qcow2_sha256": "a" * 64}, {"release record", "checksum file", "image", "SBOM"}),
        ({"size": 7}, {"release record", "image"}),
        ({"version": "v2026.11.24"}, {"release record", "tag"}),
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
