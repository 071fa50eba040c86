"""Whether libguestfs's appliance starts on this machine, and has the network and the DNS that a build needs."""

import contextlib
import ipaddress
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ci.host.accelerator import Acceleration
from ci.host.errors import InputError, ToolError
from ci.host.prerequisites import Finding, Status
from ci.host.process import find_tool, run

START_SECONDS = 60
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
    """Start the appliance once and ask it; `host` is the name to resolve, None to leave that out."""
    try:
        completed = run(
            guestfish_argv(host),
            timeout=acceleration.scaled(START_SECONDS),
            env=acceleration.guestfs_environment(),
        )
    except ToolError as error:
        lines = [line for line in error.details.splitlines() if line.strip()]
        found = lines[-1].removeprefix("libguestfs: error: ") if lines else error.message
        return [Finding(name="appliance starts", found=found, status=Status.MISSING, fix=NO_START)]
    started = Finding(name="appliance starts", found=f"in {completed.seconds:.0f} s")
    return [started, *judge(parse_answer(completed.stdout), host)]


def guestfish_argv(host: str | None) -> list[str]:
    """One guestfish run that starts the appliance and asks for its addresses, its name servers and `host`."""
    questions = ["ip -4 -o address show scope global", "cat /etc/resolv.conf"]
    if host is not None:
        if not _HOST.fullmatch(host):
            raise InputError(f"{host!r} is not the name of a host")
        questions.append(f"getent hosts {host}")
    script = f"; echo {SEPARATOR}; ".join(questions) + "; true"
    # libguestfs does not start without a disk.
    return ["guestfish", "scratch", "16M", ":", "set-network", "true", ":", "run", ":", "debug", "sh", script]


def parse_answer(output: str) -> ApplianceAnswer:
    """Take apart what the script of `guestfish_argv` printed."""
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
