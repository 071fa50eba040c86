"""Bring the image that a manifest names into the cache that Toolsmith looks in, verified.

Prints the image's path. What is there already is verified by reading it once; a broken download is continued.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ci.consume.cache import CachedImage
from ci.consume.localize import edited_by, localize, obstacle
from ci.consume.wanted import MANIFEST, ManifestFile, is_web, read_file, read_manifest_file, wanted_image
from ci.fetch.github_access import access_from
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.host import actions, cli
from ci.host.errors import AccessError, FetchError, HostError, InputError, RefusedError, VerificationError
from ci.host.progress import Reporter, write_json, write_result

SCHEMA = "fountainkit-toolsmith-image/ensure-vm/1"
# What a step of a workflow hands on.
OUTPUTS = ("path", "folder", "sha256", "version", "state")
FAILURES = (InputError, HostError, FetchError, VerificationError, AccessError, RefusedError)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureVmRequest:
    """What to do for which workspace; `manifest` is a path or a URL, None for the workspace's own."""

    workspace: Path = Path()
    manifest: str | None = None
    cache: Path | None = None
    offline: bool = False
    prune: bool = False
    localize: bool = False
    where: bool = False


def arguments(prog: str = "ensure-vm") -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser(prog, __doc__, " ".join(f"{kind.exit_code}: {kind.__doc__}" for kind in FAILURES))
    result.add_argument("--workspace", type=Path, default=Path(), metavar="FOLDER", help="default: this folder")
    result.add_argument("--manifest", metavar="PATH|URL", help=f"default: {MANIFEST} in the workspace")
    result.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="use this folder as the cache, by a link in the cache's place"
    )
    result.add_argument("--offline", action="store_true", help="use no network: only what is in the cache, or a copy")
    result.add_argument("--prune", action="store_true", help="then remove the image's other versions from the cache")
    result.add_argument(
        "--localize", action="store_true", help="then let the workspace's manifest name the file in the cache"
    )
    result.add_argument("--where", action="store_true", help="only tell where the image belongs; do nothing")
    result.add_argument("--json", action="store_true", help="print a JSON object instead of the path")
    return result


def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Do what the flags say; raises what `ensure_vm` raises."""
    client = Client(patience=Patience(sleep=sleep), github=access_from(environ))
    result = ensure_vm(cli.filled(EnsureVmRequest, options), reporter, client)
    if options.json:
        write_json(result)
    else:
        write_result(str(result["path"]), path=True)
    actions.set_outputs({name: str(result[name]) for name in OUTPUTS}, environ)


def ensure_vm(request: EnsureVmRequest, reporter: Reporter, client: Client) -> dict[str, object]:
    """Have the image in its place, and describe that; raises what reading the manifest and hydrating raise."""
    started = time.monotonic()
    workspace = request.workspace
    if not os.access(f"{workspace}/.", os.F_OK):
        raise InputError(
            f"there is no folder {workspace} that can be entered",
            hint="--workspace names the one that has .toolsmith in it.",
        )
    if request.offline and request.manifest and is_web(request.manifest):
        raise InputError("--offline does not go with a manifest from the network", hint="Name a file.")
    manifest = read_manifest_file(request.manifest, workspace, client=client, reporter=reporter)
    wanted = wanted_image(manifest)
    image = CachedImage(workspace=workspace, wanted=wanted, reporter=reporter, elsewhere=request.cache)
    result: dict[str, object] = {
        "schema": SCHEMA,
        "manifest": manifest.where,
        "name": wanted.name,
        "version": wanted.version,
        "sha256": wanted.sha256,
        "size": wanted.size,
        "folder": str(image.path.parent),
        "path": str(image.path),
        "state": "present" if os.access(image.path, os.F_OK) else "absent",
    }
    if request.where:
        return result
    state, size = image.hydrate(client, offline=request.offline)
    standing = manifest
    result |= {"size": size, "state": state.value, "written": None, "removed": []}
    if request.localize or request.prune:
        with image.locked() as cache:
            if request.localize:
                if written := localize(manifest, wanted, size, workspace):
                    reporter.note(f"{written} names the file in the cache now")
                    result["written"] = str(written)
                standing = read_file(edited_by(manifest, workspace))
            if request.prune:
                result["removed"] = [str(path) for path in image.prune(cache)]
    _tell_of_toolsmith(standing, why := obstacle(standing, workspace), reporter)
    return result | {"obstacle": why, "seconds": round(time.monotonic() - started, 2)}


def _tell_of_toolsmith(manifest: ManifestFile, why: str | None, reporter: Reporter) -> None:
    """Whether the consumer of the image will find it."""
    if why:
        reporter.warn(f"today's Toolsmith cannot use {manifest.where} as it stands: {why}")
    else:
        folder = Path(manifest.where).absolute().parent
        reporter.note(f"Toolsmith can use {manifest.where} as it stands, started with imageDirectory {folder}")


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments("toolsmith-image ensure-vm")))
