"""A `gh` that knows attestations without a network: as strict as the real one, and says where each answer is from.

It takes the flags that the project uses and no others, and compares what the real one compares, in its order, with one
exception: `localhost` is a host with attestations, as github.com is.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ci.fetch.provenance import PROVENANCE, QUERY, WORKFLOW

ISSUER = "https://token.actions.githubusercontent.com"

_SCRIPT = """#!{python}
import hashlib, json, os, pathlib, re, sys
HERE = pathlib.Path(__file__).parent
QUERY = {query!r}
FLAGS = {{"hostname", "repo", "signer-workflow", "source-digest", "predicate-type", "format", "jq"}}

def end(code, text=""):
    sys.stderr.write(text)
    sys.exit(code)

# https://cli.github.com/manual/gh_help_environment
TOKEN = os.environ.get("GH_TOKEN") or os.environ.get("GH_ENTERPRISE_TOKEN")
(HERE / "asked.jsonl").open("a").write(json.dumps([sys.argv[1:], TOKEN]) + "\\n")
answer = json.loads((HERE / "answer.json").read_text())
if answer is not None:
    sys.stdout.write(answer["stdout"])
    end(answer["code"], answer["stderr"])
# https://cobra.dev: flags are read before anything else is looked at
if sys.argv[1:3] != ["attestation", "verify"]:
    end(1, "unknown command\\n")
flags, paths = {{}}, []
for argument in sys.argv[3:]:
    name, _, value = argument.removeprefix("--").partition("=")
    if not argument.startswith("-"):
        paths.append(argument)
    elif name in FLAGS and value or argument == "--deny-self-hosted-runners":
        flags[name] = value
    else:
        end(1, f"unknown flag: --{{name}}\\n\\nUsage:  gh attestation verify [<file-path> | oci://<image-uri>]\\n")
# https://github.com/cli/cli/blob/trunk/pkg/cmd/root/help.go, authHelp
if not TOKEN:
    end(4, "To get started with GitHub CLI, please run:  gh auth login\\n")
if len(paths) != 1:
    end(1, "must specify file path or container image URI, as well as one of --owner or --repo\\n")
# https://github.com/cli/cli/blob/trunk/internal/ghinstance/host.go, HostnameValidator; .../attestation/auth/host.go
host = flags.get("hostname", "github.com")
if "/" in host or ":" in host:
    end(1, "error parsing hostname: invalid hostname\\n")
if host not in ("github.com", "localhost") and not host.endswith(".ghe.com"):
    end(1, "An unsupported host was detected. Note that gh attestation does not currently support GHES\\n")
if flags["repo"].count("/") != 1:
    end(1, f"invalid value provided for repo: {{flags['repo']}}\\n")
try:
    sha256 = hashlib.sha256(pathlib.Path(paths[0]).read_bytes()).hexdigest()
except OSError as error:
    end(1, f"\\nError: failed to open local artifact: open {{paths[0]}}: {{error.strerror}}\\n")
# GitHub answers 404 for a digest without attestations: https://github.com/sharkdp/fd/issues/1936
made = [
    one for one in json.loads((HERE / "attestations.json").read_text())
    if one["repository"].lower() == flags["repo"].lower() and sha256 in one["linked"]
    and one["predicate"] == flags["predicate-type"]
]
if not made:
    end(1, f"\\nError: HTTP 404: Not Found (https://api.github.com/repos/{{flags['repo']}}/attestations/sha256:{{sha256}}"
        f"?per_page=30&predicate_type={{flags['predicate-type']}})\\n")
# https://github.com/cli/cli/blob/trunk/pkg/cmd/attestation/verify/policy.go: the beginning of a regular expression
workflow = re.compile(f"^https://{{host}}/{{flags['signer-workflow']}}")
signed = [
    one for one in made
    if one["signed"] and workflow.search(one["certificate"]["buildSignerURI"]) and sha256 in one["sha256"]
    and ("deny-self-hosted-runners" not in flags or one["certificate"]["runnerEnvironment"] == "github-hosted")
]
if not signed:
    end(1, '\\nError: verifying with issuer "sigstore.dev"\\n')
# https://github.com/cli/cli/blob/trunk/pkg/cmd/attestation/verification/extensions.go
last = None
kept = []
for one in signed:
    for field, wanted in (
        ("SourceRepositoryOwnerURI", f"https://{{host}}/{{flags['repo'].partition('/')[0]}}"),
        ("SourceRepositoryURI", f"https://{{host}}/{{flags['repo']}}"),
        ("SourceRepositoryDigest", flags.get("source-digest", "")),
    ):
        got = one["certificate"][field[0].lower() + field[1:]]
        if wanted and wanted.lower() != got.lower():
            last = f"expected {{field}} to be {{wanted}}, got {{got}}"
            break
    else:
        kept.append(one)
if not kept:
    end(1, f"\\nError: {{last}}\\n")
if flags.get("format") == "json":
    if flags.get("jq") != QUERY:
        end(1, "failed to parse jq expression\\n")
    print(json.dumps([
        {{"certificate": one["certificate"],
          "statement": {{"predicateType": one["predicate"],
                         "subject": [{{"name": "x", "digest": {{"sha256": digest}}}} for digest in one["sha256"]]}}}}
        for one in kept
    ]))
"""


class ScriptedGh:
    """The program `gh` in `folder`, what it knows of attestations, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        program = folder / "gh"
        program.write_text(_SCRIPT.format(python=sys.executable, query=QUERY))
        program.chmod(0o755)
        self._known: list[dict[str, object]] = []
        self._write()
        self.answers(None)

    @property
    def path(self) -> str:
        """PATH with this gh before any other."""
        return f"{self.folder}{os.pathsep}{os.environ['PATH']}"

    def answers(self, stderr: str | None, *, code: int = 1, stdout: str = "") -> None:
        """Let it give this answer whatever it is asked; None: its own."""
        answer = None if stderr is None else {"stderr": stderr, "code": code, "stdout": stdout}
        (self.folder / "answer.json").write_text(json.dumps(answer))

    def attest(
        self,
        data: bytes,
        *,
        repository: str,
        commit: str,
        ref: str,
        predicate: str = PROVENANCE,
        host: str = "localhost",
        signed: bool = True,
        linked: bytes | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        """Have `data` attested as the release workflow would; `fields` are others of its certificate.

        `linked` is a file that GitHub names it for, though it is of `data`; `signed` is whether the signature holds.
        """
        home = f"https://{host}/{repository}"
        certificate = {
            "issuer": ISSUER,
            "sourceRepositoryOwnerURI": home.rpartition("/")[0],
            "sourceRepositoryURI": home,
            "sourceRepositoryDigest": commit,
            "sourceRepositoryRef": ref,
            "sourceRepositoryIdentifier": "1",
            "buildSignerURI": f"{home}/{WORKFLOW}@{ref}",
            "runnerEnvironment": "github-hosted",
            "runInvocationURI": f"{home}/actions/runs/7/attempts/1",
        }
        self._known.append(
            {
                "repository": repository,
                "sha256": [hashlib.sha256(data).hexdigest()],
                "linked": [hashlib.sha256(data if linked is None else linked).hexdigest()],
                "predicate": predicate,
                "signed": signed,
                "certificate": certificate | dict(fields or {}),
            }
        )
        self._write()

    def asked(self) -> list[tuple[list[str], str | None]]:
        """The command lines it was called with, each with the token it was given."""
        log = self.folder / "asked.jsonl"
        return [(argv, token) for argv, token in map(json.loads, log.read_text().splitlines())] if log.exists() else []

    def _write(self) -> None:
        (self.folder / "attestations.json").write_text(json.dumps(self._known))
