"""What the commands that start a machine share: their flags, the image, and who tells of it."""

import argparse
import os
from pathlib import Path

from ci.consume.cache import CachedImage
from ci.consume.wanted import MANIFEST, read_manifest_file, wanted_image
from ci.fetch.github_access import access_from
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.host.errors import InputError
from ci.host.progress import Reporter, silent
from ci.machine.boot import require_programs
from ci.machine.spec import MEMORY_MIB, Network, SessionSpec, parse_export


def add_machine_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of a machine."""
    parser.add_argument(
        "--workspace", type=Path, default=Path(), metavar="FOLDER",
        help="at /mnt/work, read-only, and where the command runs; default: this folder",
    )  # fmt: skip
    parser.add_argument(
        "--export", action="append", default=[], metavar="DIR:TAG", help="let the command write to DIR, at /mnt/TAG"
    )
    parser.add_argument("--memory", type=int, default=MEMORY_MIB, metavar="MIB", help=f"default: {MEMORY_MIB}")
    parser.add_argument(
        "--network", choices=[network.value for network in Network], default=Network.NONE.value,
        help="what can be reached from the machine; default: nothing",
    )  # fmt: skip
    parser.add_argument(
        "--manifest", metavar="PATH|URL", help=f"which names the image; default: {MANIFEST} in the workspace"
    )
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="use this folder as the cache, by a link in the cache's place"
    )
    parser.add_argument("--image", type=Path, metavar="FILE", help="this image, whatever a manifest says")


def add_command(parser: argparse.ArgumentParser) -> None:
    """The command to run, behind `--`; what it has of flags is its own."""
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")


def command_of(options: argparse.Namespace) -> list[str]:
    """The command; raises InputError where there is none."""
    command: list[str] = options.command[options.command[:1] == ["--"] :]
    if not command:
        raise InputError("there is no command to run", hint="Write it behind the flags and a --.")
    return command


def machine_of(options: argparse.Namespace, reporter: Reporter) -> SessionSpec:
    """The machine that the flags describe, its image in the cache, verified; raises what hydrating raises."""
    require_programs()
    if not os.access(f"{options.workspace}/.", os.F_OK):
        raise InputError(
            f"there is no folder {options.workspace} that can be entered", hint="--workspace names one to work in."
        )
    exports = dict(map(parse_export, options.export))
    if len(exports) < len(options.export):
        raise InputError("two of --export have the same tag", hint="A tag is a place in the machine: /mnt/TAG.")
    return SessionSpec(
        image=(options.image or _hydrated(options, reporter)).absolute(),
        workspace=options.workspace.absolute(),
        exports=exports,
        memory_mib=options.memory,
        network=Network(options.network),
    )


def discreet(options: argparse.Namespace, reporter: Reporter) -> Reporter:
    """Who tells of what goes on: a reporter that says nothing, where stderr is to be the command's alone."""
    return reporter if options.verbose or os.isatty(2) else silent()


def _hydrated(options: argparse.Namespace, reporter: Reporter) -> Path:
    client = Client(patience=Patience(), github=access_from(os.environ))
    manifest = read_manifest_file(options.manifest, options.workspace, client=client, reporter=reporter)
    image = CachedImage(
        workspace=options.workspace, wanted=wanted_image(manifest), reporter=reporter, elsewhere=options.cache
    )
    image.hydrate(client)
    return image.path
