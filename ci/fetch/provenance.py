"""Where was a file made? GitHub signed it; `gh attestation verify` checks that, and its result is compared again here.

There are three answers, and none is ever taken for another: proven, contradicted (VerificationError), and not to be
told on this machine, by this gh, with this token (UnprovenError).
https://cli.github.com/manual/gh_attestation_verify
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from ci.fetch.github_access import GitHubAccess
from ci.host.errors import ToolTimeoutError, UnprovenError, VerificationError
from ci.host.files import sha256_file
from ci.host.process import find_tool, run

WORKFLOW = ".github/workflows/release.yml"
PROVENANCE = "https://slsa.dev/provenance/v1"
# The first with --source-digest (https://github.com/cli/cli/pull/10308), and so none of those that end with 0 where
# there is no attestation (https://github.com/cli/cli/issues/10418, up to 2.66.1).
NEEDED = "2.68.0"
SECONDS = 300

# What decides, without the attestations themselves: an SBOM may have 16 MiB.
QUERY = (
    "[.[].verificationResult | {certificate: .signature.certificate, "
    "statement: {predicateType: .statement.predicateType, subject: .statement.subject}}]"
)
# https://cli.github.com/manual/gh_help_exit-codes
_NOT_LOGGED_IN = 4
# https://github.com/cli/cli/blob/trunk/pkg/cmd/attestation/verification/sigstore.go: the signature, the digest or the
# workflow; .../extensions.go: a field of the certificate. Nothing else may follow, such as why gh could not tell.
_CONTRADICTION = re.compile(r'Error: (verifying with issuer "[^"\n]*"|expected \w+ to be \S*, got \S*)')
_TOO_OLD = re.compile(r'unknown flag: --|unknown command "attestation"')
# As of the API for no attestation, and for a repository that the token may not see.
_ABSENT = re.compile(r"HTTP 404\b|no attestations found", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a file is to come from: the release workflow of `repository`, run for `tag`, which is on `commit`.

    `repository` is the name it had then. The number that GitHub gives a repository stays the same when it is renamed.
    """

    repository: str
    tag: str
    commit: str
    default_branch: str
    repository_id: int

    @property
    def refs(self) -> tuple[str, str]:
        """What the workflow ran on: by hand, that is the default branch."""
        return f"refs/tags/{self.tag}", f"refs/heads/{self.default_branch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An attestation whose signature gh has checked: of which bytes, what it says, and the fields of its certificate.

    https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
    """

    sha256: frozenset[str]
    predicate: str
    certificate: Mapping[str, object]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """From gh's answer to QUERY; raises KeyError, TypeError, ValueError or AttributeError where it is another."""
        statement = found["statement"]
        digests = frozenset(str(subject["digest"].get("sha256")) for subject in statement["subject"])
        return cls(sha256=digests, predicate=statement["predicateType"], certificate=dict(found["certificate"]))

    @property
    def ref(self) -> str:
        """What the workflow ran on."""
        return str(self.certificate.get("sourceRepositoryRef"))


def prove(path: Path, origin: Origin, access: GitHubAccess) -> str:
    """The page of the workflow run that had the file signed; raises VerificationError or UnprovenError."""
    if find_tool("gh") is None:
        raise UnprovenError(path.name, "gh is not installed", hint="https://cli.github.com; then `gh auth login`.")
    try:
        done = run(
            question(path, origin, access.server_url), timeout=SECONDS, env=_environment(access), ok=range(-64, 256)
        )
    except ToolTimeoutError as error:
        raise UnprovenError(path.name, error.message, hint=error.hint) from error
    found, sha256 = answer(path.name, origin, done.returncode, done.stdout, done.stderr), sha256_file(path)
    return judge(path.name, found, origin, access.server_url, sha256)


def judge(name: str, found: Sequence[Claim], origin: Origin, server: str, sha256: str) -> str:
    """What `prove` returns or raises, for what gh found of the file `name`: one claim that proves it is enough."""
    differences = [difference(claim, origin, server, sha256) for claim in found]
    agreeing = [claim for claim, fault in zip(found, differences, strict=True) if fault is None]
    for claim in agreeing:
        if claim.ref in origin.refs:
            return str(claim.certificate.get("runInvocationURI", ""))
    if not agreeing:
        raise _contradicted(name, origin, differences[0] or "")
    raise UnprovenError(
        name,
        f"it was signed on {agreeing[0].ref}, and the default branch is {origin.default_branch}",
        hint="Whoever may push a branch can have a file signed there. It proves something only to who knows that the "
        "default branch was called so then.",
    )


def question(path: Path, origin: Origin, server: str) -> list[str]:
    """What gh is asked, on its command line."""
    # A value behind "=" is never a flag, and an absolute path neither that nor the address of a container.
    return [
        "gh",
        "attestation",
        "verify",
        str(path.absolute()),
        f"--hostname={urlsplit(server).hostname}",
        f"--repo={origin.repository}",
        f"--signer-workflow={origin.repository}/{WORKFLOW}",
        f"--source-digest={origin.commit}",
        f"--predicate-type={PROVENANCE}",
        "--deny-self-hosted-runners",
        "--format=json",
        f"--jq={QUERY}",
    ]


def _environment(access: GitHubAccess) -> dict[str, str]:
    """Nothing that changes what gh prints; our token, where there is one, else gh has its own."""
    # https://cli.github.com/manual/gh_help_environment
    quiet = {"GH_DEBUG": "0", "GH_FORCE_TTY": "", "GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1"}
    return quiet | ({access.gh_variable: access.token} if access.token else {})


def answer(name: str, origin: Origin, code: int, stdout: str, stderr: str) -> list[Claim]:
    """What is signed of the file `name`, as gh found it: never nothing. Raises VerificationError or UnprovenError."""
    if code == _NOT_LOGGED_IN:
        raise UnprovenError(name, "gh is not logged in", hint="`gh auth login`, or a token in GH_TOKEN.")
    if code != 0:
        if match := _CONTRADICTION.fullmatch(stderr.strip()):
            raise _contradicted(name, origin, match[1])
        if _TOO_OLD.search(stderr):
            raise UnprovenError(name, f"gh is older than {NEEDED}", hint="Install a newer one: https://cli.github.com.")
        if _ABSENT.search(stderr):
            raise UnprovenError(
                name,
                f"GitHub shows no attestation of it in {origin.repository}",
                hint="It was published without, or is another file; or the token may not see the repository.",
            )
        said = " ".join(stderr.split())[:300]
        raise UnprovenError(name, f"gh ended with {code}: {said}", hint="Run it again; the log has all that it said.")
    try:
        found = [Claim.of(one) for one in json.loads(stdout)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        found = []
    if not found:
        raise UnprovenError(
            name, "gh ended well and told no attestation", hint=f"Is it the GitHub CLI, {NEEDED} or later?"
        )
    return found


def difference(claim: Claim, origin: Origin, server: str, sha256: str) -> str | None:
    """What is not as it must be; None where all is, but for the branch: which one is the default may change.

    gh has compared most of it, but takes the workflow for the beginning of a regular expression, and knows one ref
    only: https://github.com/cli/cli/blob/trunk/pkg/cmd/attestation/verify/policy.go
    """
    signed = claim.certificate
    home = f"https://{urlsplit(server).hostname}/{origin.repository}"
    if sha256 not in claim.sha256:
        return f"it is of other bytes than SHA-256 {sha256}"
    if claim.ref not in origin.refs and not claim.ref.startswith("refs/heads/"):
        return f"its ref is {claim.ref}, not {' or '.join(origin.refs)}"
    expected = [
        ("repository", _same_home(signed.get("sourceRepositoryURI"), home), home),
        ("workflow", _same_home(signed.get("buildSignerURI"), home), f"{home}/{WORKFLOW}@{claim.ref}"),
        ("commit", signed.get("sourceRepositoryDigest"), origin.commit),
        ("runner", signed.get("runnerEnvironment"), "github-hosted"),
        ("repository's id", signed.get("sourceRepositoryIdentifier"), str(origin.repository_id)),
        ("predicate", claim.predicate, PROVENANCE),
    ]
    return next((f"its {what} is {found}, not {wanted}" for what, found, wanted in expected if found != wanted), None)


def _same_home(url: object, home: str) -> object:
    """`url` with the spelling of `home` where it is below it: for GitHub, case makes no difference in names."""
    if not isinstance(url, str):
        return url
    return home + url[len(home) :] if url[: len(home)].lower() == home.lower() else url


def _contradicted(name: str, origin: Origin, difference: str) -> VerificationError:
    return VerificationError(
        f"the attestation of {name} contradicts it: {difference}",
        hint=f"It was not made by the release workflow of {origin.repository} at this release's commit. Do not use it.",
    )
