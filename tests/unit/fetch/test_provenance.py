"""What gh is asked about an attestation, and what its answers mean: proven, contradicted, or not to be told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ci.fetch.provenance import PROVENANCE, Claim, Origin, answer, difference, judge, question
from ci.host.errors import UnprovenError, VerificationError

SERVER = "https://github.com"
COMMIT, SHA256 = "c0ffee" + "0" * 34, "a" * 64
TAG = "v2026.11.23"
TAG_REF = f"refs/tags/{TAG}"
ORIGIN = Origin(repository="Fountain/Image", tag=TAG, commit=COMMIT, default_branch="main", repository_id=7)
HOME = "https://github.com/Fountain/Image"
CERTIFICATE = {
    "sourceRepositoryURI": HOME,
    "sourceRepositoryDigest": COMMIT,
    "sourceRepositoryRef": TAG_REF,
    "sourceRepositoryIdentifier": "7",
    "buildSignerURI": f"{HOME}/.github/workflows/release.yml@{TAG_REF}",
    "runnerEnvironment": "github-hosted",
}
CLAIM = Claim(sha256=frozenset({SHA256}), predicate=PROVENANCE, certificate=CERTIFICATE)


def found(code: int, stderr: str = "", stdout: str = "") -> list[Claim]:
    return answer("image.qcow2", ORIGIN, code, stdout, stderr)


def fault(**fields: str) -> str | None:
    return difference(replace(CLAIM, certificate=CERTIFICATE | fields), ORIGIN, SERVER, SHA256)


@pytest.mark.parametrize("name", ["-Rothers", "--help", "oci:", "a b", "a=b"])
def test_no_name_of_a_file_is_a_flag_or_an_address(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = question(Path(name), ORIGIN, SERVER)
    assert asked[:4] == ["gh", "attestation", "verify", f"{tmp_path}/{name}"]
    assert all(flag.startswith("--") for flag in asked[4:])


def test_gh_is_asked_for_the_commit_the_workflow_and_a_runner_of_githubs() -> None:
    asked = question(Path("/x"), ORIGIN, SERVER)
    assert {
        "--hostname=github.com",
        "--repo=Fountain/Image",
        "--signer-workflow=Fountain/Image/.github/workflows/release.yml",
        f"--source-digest={COMMIT}",
        "--deny-self-hosted-runners",
    } <= set(asked)


# From public reports of real runs of gh.
CONTRADICTIONS = {
    # https://github.com/aquaproj/aqua/issues/3789
    "the signature, the digest or the workflow": '\nError: verifying with issuer "sigstore.dev"\n',
    # https://github.com/cli/cli/issues/9543: the other issuer
    "of a private repository": '\nError: verifying with issuer "GitHub, Inc."\n',
    # https://github.com/cli/cli/pull/10308
    "another commit": f"\nError: expected SourceRepositoryDigest to be {COMMIT}, got {'1' * 40}\n",
    "another repository": f"\nError: expected SourceRepositoryURI to be {HOME}, got https://github.com/a/b\n",
}


@pytest.mark.parametrize("stderr", CONTRADICTIONS.values(), ids=list(CONTRADICTIONS))
def test_what_is_signed_otherwise_is_contradicted(stderr: str) -> None:
    with pytest.raises(VerificationError, match="contradicts"):
        found(1, stderr)


UNKNOWN = {
    # https://github.com/cli/cli/blob/trunk/pkg/cmd/root/help.go
    "not logged in": (4, "To get started with GitHub CLI, please run:  gh auth login\n", "not logged in"),
    # pflag and cobra, whose words these are: https://github.com/spf13/pflag, https://github.com/spf13/cobra
    "older than its flags": (
        1,
        "unknown flag: --source-digest\n\nUsage:  gh attestation verify\n",
        "older than 2.68.0",
    ),
    # Debian 12 has 2.23, Ubuntu 24.04 2.45
    "older than attestations": (1, 'unknown command "attestation" for "gh"\n', "older than 2.68.0"),
    # https://github.com/sharkdp/fd/issues/1936
    "none there": (
        1,
        (
            f"\nError: HTTP 404: Not Found (https://api.github.com/repos/Fountain/Image/attestations/sha256:{SHA256}"
            "?per_page=30&predicate_type=https://slsa.dev/provenance/v1)\n"
        ),
        "shows no attestation",
    ),
    "a token that does not do": (1, "\nError: HTTP 401: Bad credentials (https://api.github.com/)\n", "401"),
    "the limit": (1, "\nError: HTTP 403: API rate limit exceeded for user ID 1.\n", "rate limit"),
    "GitHub down": (1, "\nError: HTTP 503: Service Unavailable (https://api.github.com/)\n", "503"),
    "offline": (1, "error connecting to api.github.com\ncheck your internet connection\n", "error connecting"),
    # https://github.com/cli/cli/blob/trunk/pkg/cmd/attestation/verification/sigstore.go
    "no trust root": (
        1,
        "\nError: failed to find recognized issuer from bundle content: failed to create GitHub Sigstore verifier\n",
        "recognized issuer",
    ),
    "a contradiction with a reason": (
        1,
        '\nError: verifying with issuer "sigstore.dev"\nfailed to update TUF root\n',
        "TUF root",
    ),
    # https://github.com/cli/cli/blob/trunk/pkg/cmd/attestation/verification/extensions.go
    "an issuer of an enterprise's own": (
        1,
        (
            "\nError: expected Issuer to be https://token.actions.githubusercontent.com, got "
            "https://token.actions.githubusercontent.com/e -- if you have a custom OIDC issuer policy for your "
            "enterprise, use the --cert-oidc-issuer flag with your expected issuer\n"
        ),
        "custom OIDC issuer",
    ),
    "GitHub Enterprise Server": (
        1,
        "An unsupported host was detected. Note that gh attestation does not currently support GHES\n",
        "GHES",
    ),
    "cancelled": (2, "", "ended with 2"),
    "killed": (-9, "", "ended with -9"),
}


@pytest.mark.parametrize(("code", "stderr", "reason"), UNKNOWN.values(), ids=list(UNKNOWN))
def test_what_gh_could_not_find_out_is_neither_proven_nor_wrong(code: int, stderr: str, reason: str) -> None:
    with pytest.raises(UnprovenError, match="could not be checked") as caught:
        found(code, stderr)
    assert reason in caught.value.reason
    assert caught.value.hint


# gh up to 2.66.1 ended with 0 and nothing where there is no attestation: https://github.com/cli/cli/issues/10418
@pytest.mark.parametrize(
    "stdout",
    ["", "[]", "{}", "null", "7", "[null]", "[{}]", '[{"certificate": {}, "statement": {}}]', "[" * 100_000, "<html>"],
)
def test_a_good_end_that_names_no_attestation_proves_nothing(stdout: str) -> None:
    with pytest.raises(UnprovenError):
        found(0, stdout=stdout)


def test_an_answer_is_read_into_what_is_compared() -> None:
    subjects = [{"name": name, "digest": {"sha256": digest}} for name, digest in (("a", SHA256), ("b", "b" * 64))]
    result = {"certificate": CERTIFICATE, "statement": {"predicateType": PROVENANCE, "subject": subjects}}
    assert found(0, stdout=json.dumps([result])) == [replace(CLAIM, sha256=frozenset({SHA256, "b" * 64}))]


def test_only_the_release_workflow_of_this_repository_at_this_commit_is_accepted() -> None:
    assert fault() is None
    other = CERTIFICATE | {
        "sourceRepositoryRef": "refs/heads/main",
        "buildSignerURI": f"{HOME}/.github/workflows/release.yml@refs/heads/main",
    }
    assert fault(**other) is None
    spelled = {"sourceRepositoryURI": HOME.lower(), "buildSignerURI": CERTIFICATE["buildSignerURI"].replace("F", "f")}
    assert fault(**spelled) is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"sourceRepositoryURI": "https://github.com/Fountain/Image2"}, "repository"),
        ({"sourceRepositoryURI": "https://github.com.evil.example/Fountain/Image"}, "repository"),
        # What gh lets pass, for it reads the workflow as the beginning of a regular expression.
        ({"buildSignerURI": f"{HOME}/.github/workflows/release.yml.evil.yml@{TAG_REF}"}, "workflow"),
        ({"buildSignerURI": f"{HOME}/.github/workflows/release_yml@{TAG_REF}"}, "workflow"),
        ({"buildSignerURI": f"{HOME}/.github/workflows/RELEASE.yml@{TAG_REF}"}, "workflow"),
        ({"buildSignerURI": f"{HOME}/.github/workflows/release.yml@refs/heads/evil"}, "workflow"),
        ({"sourceRepositoryRef": "refs/heads/evil"}, "workflow"),
        ({"sourceRepositoryRef": "refs/tags/v2026.11.24"}, "ref"),
        ({"sourceRepositoryRef": "refs/pull/7/merge"}, "ref"),
        ({"sourceRepositoryDigest": "1" * 40}, "commit"),
        ({"runnerEnvironment": "self-hosted"}, "runner"),
        ({"sourceRepositoryIdentifier": "8"}, "repository's id"),
    ],
)
def test_each_field_of_the_certificate_decides(fields: dict[str, str], named: str) -> None:
    assert (fault(**fields) or "").startswith(f"its {named} is ")


def on(ref: str, **fields: str) -> Claim:
    workflow = f"{HOME}/.github/workflows/release.yml@{ref}"
    return replace(CLAIM, certificate=CERTIFICATE | {"sourceRepositoryRef": ref, "buildSignerURI": workflow} | fields)


@pytest.mark.parametrize("ref", ["refs/heads/master", "refs/heads/evil", f"refs/heads/{TAG}"])
def test_another_branch_proves_nothing_and_contradicts_nothing(ref: str) -> None:
    """The default branch may have been called so, or another one may have been it: nobody can tell today."""
    with pytest.raises(UnprovenError, match=f"signed on {ref}, and the default branch is main") as caught:
        judge("image", [on("refs/tags/v2026.11.24"), on(ref)], ORIGIN, SERVER, SHA256)
    assert "Whoever may push a branch" in caught.value.hint
    assert judge("image", [on(ref), on("refs/heads/main")], ORIGIN, SERVER, SHA256) == ""
    with pytest.raises(VerificationError, match="its commit"):
        judge("image", [on(ref, sourceRepositoryDigest="1" * 40)], ORIGIN, SERVER, SHA256)


def test_a_field_that_is_not_there_agrees_with_nothing() -> None:
    for name in CERTIFICATE:
        certificate = {key: value for key, value in CERTIFICATE.items() if key != name}
        assert difference(replace(CLAIM, certificate=certificate), ORIGIN, SERVER, SHA256) is not None


def test_another_predicate_or_other_bytes_are_no_proof() -> None:
    assert difference(replace(CLAIM, predicate="https://cyclonedx.org/bom"), ORIGIN, SERVER, SHA256) is not None
    assert difference(CLAIM, ORIGIN, SERVER, "b" * 64) is not None
