"""Whether libguestfs's appliance starts on this machine, and has the network and the DNS that a build needs."""

import contextlib
import ipaddress
import re
import tempfile
import time
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.host.accelerator import Acceleration
from ci.host.appliance import guestfish
from ci.host.errors import BuildError, InputError, ToolError
from ci.host.prerequisites import Finding, Status
from ci.host.process import find_tool, run

SEPARATOR = "----"

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")

NO_START = (
    "see why: LIBGUESTFS_BACKEND=direct libguestfs-test-tool (without KVM add LIBGUESTFS_BACKEND_SETTINGS=force_tcg)"
)
NO_NETWORK = "install isc-dhcp-client (or dhcpcd-base where there is none), and remove passt"
INCOMPLETE = (
    "libguestfs put it together while packages were being installed: rm -r /var/tmp/.guestfs-$(id -u), and try again"
)
NO_DNS = "check /etc/resolv.conf of this machine and that it can resolve the name itself: getent hosts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplianceAnswer:
    """What the appliance printed, taken apart: its addresses, its name servers, and the addresses of the name.

    `complete`: it has the program that looks names up, which an appliance always has.
    """

    addresses: tuple[str, ...]
    name_servers: tuple[str, ...]
    resolved: tuple[str, ...]
    complete: bool = True


def check_appliance(acceleration: Acceleration, host: str | None) -> list[Finding]:
    """Start the appliance once and ask it; `host` is the name to resolve, None to leave that out.

    Raises AcceleratorError where KVM fails it.
    """
    script = questions(host)
    begun = time.monotonic()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="toolsmith-appliance-") as folder,
            guestfish.appliance(acceleration, Path(folder)) as guest,
        ):
            guest.command("scratch", "16M")  # libguestfs does not start without a disk
            guest.command("set-network", "true")
            guest.start()
            seconds = time.monotonic() - begun
            answer = parse_answer(guest.command("debug", "sh", script))
    except (BuildError, ToolError) as error:
        lines = [line for line in error.details.splitlines() if line.strip()]
        found = lines[-1].removeprefix("libguestfs: error: ") if lines else error.message
        return [Finding(name="appliance starts", found=found, status=Status.MISSING, fix=NO_START)]
    return [Finding(name="appliance starts", found=f"in {seconds:.0f} s"), *judge(answer, host)]


def questions(host: str | None) -> str:
    """A script for the appliance that asks for its addresses, its name servers and `host`."""
    asked = ["ip -4 -o address show scope global", "cat /etc/resolv.conf"]
    if host is not None:
        if not _HOST.fullmatch(host):
            raise InputError(f"{host!r} is not the name of a host")
        asked.append(f"getent hosts {host}")
    return f"; echo {SEPARATOR}; ".join(asked) + "; true"


def parse_answer(output: str) -> ApplianceAnswer:
    """Take apart what the script of `questions` printed."""
    address, resolver, hosts = (*output.split(f"{SEPARATOR}\n"), "", "")[:3]
    return ApplianceAnswer(
        addresses=tuple(re.findall(r"\binet (\S+)", address)),
        name_servers=tuple(re.findall(r"^nameserver\s+(\S+)", resolver, re.MULTILINE)),
        resolved=tuple(words[0] for line in hosts.splitlines() if (words := line.split()) and _is_address(words[0])),
        complete="getent: not found" not in hosts,
    )


def _is_address(word: str) -> bool:
    # A complaint is no answer: the shell in the appliance writes to stdout too.
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(word))
    return False


def judge(answer: ApplianceAnswer, host: str | None) -> list[Finding]:
    """Turn the appliance's answer into findings."""
    if not answer.complete:
        return [Finding(name="appliance is complete", found="getent is missing", status=Status.MISSING, fix=INCOMPLETE)]
    findings = [_required("appliance's network", answer.addresses, "no address", NO_NETWORK)]
    if host is None:
        findings.append(_required("appliance's DNS", answer.name_servers, "no name server", NO_NETWORK))
    elif answer.addresses:
        name, found = f"appliance's DNS: {host}", f"not found by {', '.join(answer.name_servers) or 'no name server'}"
        findings.append(_required(name, answer.resolved, found, f"{NO_DNS} {host}"))
    return findings


def _required(name: str, values: Sequence[str], otherwise: str, fix: str) -> Finding:
    if values:
        return Finding(name=name, found=", ".join(values))
    return Finding(name=name, found=otherwise, status=Status.MISSING, fix=fix)


def archive_host() -> str | None:
    """The host of this machine's first package source, a name the appliance must resolve; None where there is none."""
    if not find_tool("apt-get"):
        return None
    try:
        sites = run(["apt-get", "indextargets", "--format", "$(SITE)"], timeout=30).stdout.split()
    except ToolError:
        return None
    return first_host(sites)


def first_host(urls: Iterable[str]) -> str | None:
    """The host of the first URL that has one."""
    return next((host for url in urls if (host := urllib.parse.urlsplit(url).hostname)), None)
