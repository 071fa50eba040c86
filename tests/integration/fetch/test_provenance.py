"""A file's origin, asked of a `gh` that is a program: its command line, its environment and each of its answers."""

from pathlib import Path

import pytest

from ci.fetch.github_access import GitHubAccess
from ci.fetch.provenance import Origin, prove
from ci.host.errors import UnprovenError, VerificationError
from tests.support.scripted_gh import ScriptedGh

pytestmark = pytest.mark.integration

DATA, REPOSITORY, COMMIT, TAG = b"an image", "fountain/image", "c" * 40, "v2026.11.23"
REF = f"refs/tags/{TAG}"
ORIGIN = Origin(repository=REPOSITORY, commit=COMMIT, tag=TAG, default_branch="main", repository_id=1)
ACCESS = GitHubAccess(server_url="http://localhost:1", api_url="http://localhost:1", token="for this server")  # noqa: S106


@pytest.fixture
def gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedGh:
    result = ScriptedGh(tmp_path / "bin")
    monkeypatch.setenv("PATH", result.path)
    return result


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "--repo=others=.qcow2"
    path.write_bytes(DATA)
    return path


def attest(gh: ScriptedGh, **changes: object) -> None:
    gh.attest(**({"data": DATA, "repository": REPOSITORY, "commit": COMMIT, "ref": REF} | changes))  # type: ignore[arg-type]


def test_what_the_release_workflow_signed_is_proven_with_the_page_of_its_run(gh: ScriptedGh, image: Path) -> None:
    attest(gh)
    assert prove(image, ORIGIN, ACCESS) == "https://localhost/fountain/image/actions/runs/7/attempts/1"


def test_one_attestation_that_proves_it_is_enough(gh: ScriptedGh, image: Path) -> None:
    """The consumer's tool has the same bytes for many commits, and a job that is run again signs again."""
    attest(gh, commit="d" * 40)
    attest(gh, ref="refs/heads/somebody")
    attest(gh)
    assert prove(image, ORIGIN, ACCESS)


@pytest.mark.parametrize(
    "changes",
    [
        {"commit": "d" * 40},
        {"ref": "refs/tags/v2026.11.24"},
        {"signed": False},
        {"data": b"another image", "linked": DATA},
        {"fields": {"runnerEnvironment": "self-hosted"}},
        {"fields": {"buildSignerURI": f"https://localhost/{REPOSITORY}/.github/workflows/other.yml@{REF}"}},
        {"fields": {"buildSignerURI": f"https://localhost/{REPOSITORY}/.github/workflows/release.yml.x.yml@{REF}"}},
        {"fields": {"sourceRepositoryIdentifier": "2"}},
    ],
)
def test_what_was_signed_elsewhere_is_contradicted(gh: ScriptedGh, image: Path, changes: dict[str, object]) -> None:
    attest(gh, **changes)
    with pytest.raises(VerificationError):
        prove(image, ORIGIN, ACCESS)


def test_what_was_signed_on_another_branch_is_not_proven_and_not_contradicted(gh: ScriptedGh, image: Path) -> None:
    attest(gh, ref="refs/heads/master")
    with pytest.raises(UnprovenError, match="signed on refs/heads/master, and the default branch is main"):
        prove(image, ORIGIN, ACCESS)


def test_a_file_without_an_attestation_is_not_said_to_be_wrong(gh: ScriptedGh, image: Path) -> None:
    attest(gh, data=b"another image")
    attest(gh, repository="fountain/other")
    attest(gh, predicate="https://cyclonedx.org/bom")
    with pytest.raises(UnprovenError, match="shows no attestation"):
        prove(image, ORIGIN, ACCESS)


def test_the_token_of_the_server_is_used_and_no_other(
    gh: ScriptedGh, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attest(gh)
    monkeypatch.setenv("GH_TOKEN", "of another server")
    prove(image, ORIGIN, ACCESS)
    with pytest.raises(UnprovenError, match="not logged in"):
        prove(image, ORIGIN, GitHubAccess(server_url="http://localhost:1", api_url="http://localhost:1", token=None))
    assert [token for _, token in gh.asked()] == ["for this server", None]


def test_without_gh_nothing_can_be_told(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnprovenError, match="gh is not installed"):
        prove(image, ORIGIN, ACCESS)


def test_a_host_that_has_no_attestations_is_told_as_such(gh: ScriptedGh, image: Path) -> None:
    access = GitHubAccess(server_url="https://github.example", api_url="https://github.example/api/v3", token="x")  # noqa: S106
    with pytest.raises(UnprovenError, match="GHES"):
        prove(image, ORIGIN, access)
    assert gh.asked()
