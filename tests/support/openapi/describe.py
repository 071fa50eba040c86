"""Cut GitHub's own OpenAPI description down to the calls that a release and a roll-out make.

    npm pack @octokit/openapi@23.0.2
    python tests/support/openapi/describe.py octokit-openapi-23.0.2.tgz

What only a reader needs, descriptions and examples, is left out, but for the prose of the upload, which tells what no
schema does.
"""

import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "api"
MEMBER = "package/generated/api.github.com.json"
REPOSITORY = "/repos/{owner}/{repo}"
UPLOAD = f"{REPOSITORY}/releases/{{release_id}}/assets"
CALLS = {
    "/rate_limit": {"get"},
    "/user": {"get"},
    REPOSITORY: {"get"},
    f"{REPOSITORY}/actions/organization-secrets": {"get"},
    f"{REPOSITORY}/actions/organization-variables": {"get"},
    f"{REPOSITORY}/actions/permissions": {"get", "put"},
    f"{REPOSITORY}/actions/permissions/workflow": {"get", "put"},
    f"{REPOSITORY}/actions/secrets": {"get"},
    f"{REPOSITORY}/actions/variables": {"get"},
    f"{REPOSITORY}/branches/{{branch}}": {"get"},
    f"{REPOSITORY}/commits/{{ref}}": {"get"},
    f"{REPOSITORY}/compare/{{basehead}}": {"get"},
    f"{REPOSITORY}/contents/{{path}}": {"get"},
    f"{REPOSITORY}/environments": {"get"},
    f"{REPOSITORY}/environments/{{environment_name}}": {"put"},
    f"{REPOSITORY}/environments/{{environment_name}}/deployment-branch-policies": {"get", "post"},
    f"{REPOSITORY}/environments/{{environment_name}}/secrets": {"get"},
    f"{REPOSITORY}/environments/{{environment_name}}/variables": {"get"},
    f"{REPOSITORY}/git/blobs": {"post"},
    f"{REPOSITORY}/git/blobs/{{file_sha}}": {"get"},
    f"{REPOSITORY}/git/commits": {"post"},
    f"{REPOSITORY}/git/commits/{{commit_sha}}": {"get"},
    f"{REPOSITORY}/git/matching-refs/{{ref}}": {"get"},
    f"{REPOSITORY}/git/ref/{{ref}}": {"get"},
    f"{REPOSITORY}/git/refs": {"post"},
    f"{REPOSITORY}/git/refs/{{ref}}": {"patch", "delete"},
    f"{REPOSITORY}/git/tags/{{tag_sha}}": {"get"},
    f"{REPOSITORY}/git/trees": {"post"},
    f"{REPOSITORY}/git/trees/{{tree_sha}}": {"get"},
    f"{REPOSITORY}/immutable-releases": {"get", "put", "delete"},
    f"{REPOSITORY}/issues/comments/{{comment_id}}": {"get", "patch"},
    f"{REPOSITORY}/issues/{{issue_number}}/comments": {"get", "post"},
    f"{REPOSITORY}/issues/{{issue_number}}/labels": {"get", "post"},
    f"{REPOSITORY}/pages": {"get", "post", "put"},
    f"{REPOSITORY}/pulls": {"get", "post"},
    f"{REPOSITORY}/pulls/{{pull_number}}": {"get", "patch"},
    f"{REPOSITORY}/releases": {"get", "post"},
    f"{REPOSITORY}/releases/assets/{{asset_id}}": {"get", "patch", "delete"},
    f"{REPOSITORY}/releases/generate-notes": {"post"},
    f"{REPOSITORY}/releases/latest": {"get"},
    f"{REPOSITORY}/releases/tags/{{tag}}": {"get"},
    f"{REPOSITORY}/releases/{{release_id}}": {"get", "patch", "delete"},
    UPLOAD: {"get", "post"},
    f"{REPOSITORY}/rules/branches/{{branch}}": {"get"},
    f"{REPOSITORY}/rulesets": {"get", "post"},
    f"{REPOSITORY}/rulesets/{{ruleset_id}}": {"get"},
}
# Schemas of refusals that any call may meet, whether its description says so or not.
ALWAYS = ("schemas/basic-error", "schemas/validation-error")
FOR_READERS = {"description", "example", "examples", "externalDocs", "summary", "tags", "title"}


def cut(description: dict[str, Any]) -> dict[str, Any]:
    """The description of `CALLS`, with the components they need and no others."""
    paths = {path: {method: description["paths"][path][method] for method in sorted(CALLS[path])} for path in CALLS}
    needed = [f"#/components/{name}" for name in ALWAYS]
    wanted: dict[str, dict[str, Any]] = {}
    needed += references(paths)
    while needed:
        kind, name = needed.pop().removeprefix("#/components/").split("/")
        if name not in wanted.setdefault(kind, {}):
            component = wanted[kind][name] = slim(description["components"][kind][name])
            needed += references(component)
    small = slim(paths)
    small[UPLOAD]["post"]["description"] = paths[UPLOAD]["post"]["description"]
    components = {kind: dict(sorted(named.items())) for kind, named in sorted(wanted.items())}
    return {"openapi": description["openapi"], "paths": small, "components": components}


def references(value: object) -> Iterator[str]:
    match value:
        case {"$ref": str(target)}:
            yield target
        case dict():
            for name, part in value.items():
                if name not in {"examples", "example"}:
                    yield from references(part)
        case list():
            for part in value:
                yield from references(part)
        case _:
            pass


def slim(value: Any, *, names: bool = False) -> Any:  # noqa: ANN401 - JSON
    """Without what is for readers, and without extensions; the keys of `properties` are names, and all kept."""
    match value:
        case dict():
            return {
                key: slim(part, names=key == "properties" and not names)
                for key, part in value.items()
                if names or (key not in FOR_READERS and not key.startswith("x-"))
            }
        case list():
            return [slim(part) for part in value]
        case _:
            return value


def main(archive: str) -> None:
    with tarfile.open(archive) as package:
        source = package.extractfile(MEMBER)
        if source is None:
            raise FileNotFoundError(MEMBER)
        whole = json.load(source)
    info = whole["info"]
    head = {
        "info": {
            "title": info["title"],
            "version": info["version"],
            "license": info["license"],
            "x-source": f"npm @octokit/openapi {info['version']}, {MEMBER.removeprefix('package/')}; see LICENSE",
        }
    }
    FOLDER.joinpath("description.json").write_text(json.dumps(head | cut(whole), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
