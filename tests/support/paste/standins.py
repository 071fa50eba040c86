"""Programs that would take long, need a token or leave this machine: they check what they are asked, and do nothing.

Run as NAME ARGUMENT...; in FOLDER, `asked` gets the command lines of ours. Each knows what the documentation uses, and
refuses all else: whoever documents more makes sure of it first, and adds it here.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

FOLDER = Path(os.environ.get("PASTE_FOLDER", ""))


class RefusedByStandinError(Exception):
    """The real program would fail, or nobody knows that it would not."""


def _known(word: str, known: Collection[str]) -> None:
    if word not in known:
        raise RefusedByStandinError(f"{word!r} is not known")


def _there(path: str) -> None:
    if not Path(path).exists():
        raise RefusedByStandinError(f"there is no {path}")


def _record(program: str, argv: Sequence[str]) -> None:
    with (FOLDER / "asked").open("a") as file:
        file.write(json.dumps([program, *argv]) + "\n")


def python(argv: Sequence[str]) -> None:
    """The environment's: the one command's, and nothing else's."""
    if list(argv[:3]) != ["-P", "-m", "ci"]:
        raise RefusedByStandinError("the environment's Python is the one command's")
    _record("toolsmith-image", argv[3:])


def python3(argv: Sequence[str]) -> None:
    """The reader's own, which runs the consumer's file."""
    _there(argv[0])
    if not argv[0].endswith("ensure-vm.pyz"):
        raise RefusedByStandinError("only ensure-vm.pyz is known")
    _record("ensure-vm", argv[1:])
    sys.stdout.write(f"{Path.cwd()}/image.qcow2\n")
    Path("image.qcow2").touch()


def make(argv: Sequence[str]) -> None:
    """The real one: it knows its targets, and says what it would do."""
    subprocess.run(["/usr/bin/make", "--dry-run", *argv], check=True, stdout=subprocess.DEVNULL)


def git(argv: Sequence[str]) -> None:
    """The real one, in a repository with a remote on this machine; a clone is the folder that is there."""
    if argv[0] == "clone":
        if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", argv[1]):
            raise RefusedByStandinError(f"{argv[1]} is no repository's address")
        Path(argv[-1].rpartition("/")[2]).symlink_to(os.environ["PASTE_CLONE"])
        return
    subprocess.run(["/usr/bin/git", *argv], check=True)


# https://curl.se/docs/manpage.html
def curl(argv: Sequence[str]) -> None:
    words = iter(argv)
    name = url = ""
    for word in words:
        if word in {"--output", "-o"}:
            name = next(words)
        elif word.startswith("-"):
            _known(word, {"--fail", "--location", "--remote-name", "--silent", "--show-error"})
        elif url or not word.startswith("https://"):
            raise RefusedByStandinError(f"{word} is not the one https address")
        else:
            url = word
    name = name or (url.rpartition("/")[2] if "--remote-name" in argv else "")
    if name:
        Path(name).write_text("bytes")


# https://www.qemu.org/docs/master/system/invocation.html
QEMU_ALONE = {"-enable-kvm", "-nographic", "-no-reboot"}
QEMU_WITH = {
    "-accel": r"tcg|kvm",
    "-m": r"\d+[MG]?",
    "-smp": r"\d+",
    "-drive": r"file=(?P<file>.+?),if=virtio(,snapshot=on)?(,format=(qcow2|raw))?(,readonly=on)?",
    "-netdev": r"user,id=\w+(,hostfwd=tcp:[\d.]*:\d+-:\d+)*",
    "-device": r"virtio-net-pci,netdev=\w+|virtio-serial-pci|virtserialport,chardev=\w+,name=[\w.]+",
    "-virtfs": r"local,path=(?P<file>.+?),mount_tag=\w+,security_model=none(,readonly(=on)?)?",
    "-chardev": r"socket,id=\w+,path=[^,]+,server=on,wait=off",
}


def qemu(argv: Sequence[str]) -> None:
    words = iter(argv)
    for word in words:
        if word in QEMU_ALONE:
            continue
        _known(word, QEMU_WITH)
        value = next(words, "")
        found = re.fullmatch(QEMU_WITH[word], value)
        if found is None:
            raise RefusedByStandinError(f"{word} {value}")
        if "(?P<file>" in QEMU_WITH[word]:
            _there(found["file"].replace(",,", ","))


def ssh(argv: Sequence[str]) -> None:
    """The real one reads its flags and asks nobody; a new machine's host key must not stop it."""
    settings = subprocess.run(["/usr/bin/ssh", "-G", *argv], check=True, capture_output=True, text=True).stdout
    if "-i" in argv:
        _there(argv[argv.index("-i") + 1])
    for needed in ("stricthostkeychecking false", "userknownhostsfile /dev/null"):
        if needed not in settings:
            raise RefusedByStandinError(f"{needed} is not set: the next start of the machine has another host key")


def ssh_keygen(argv: Sequence[str]) -> None:
    """The real one, which is told no passphrase where it would ask."""
    asked = [] if "-N" in argv else ["-q", "-N", ""]
    subprocess.run(["/usr/bin/ssh-keygen", *argv, *asked], check=True, stdin=subprocess.DEVNULL)


# https://cli.github.com/manual/
GH = {
    "api": {"--method", "-X", "--field", "-F", "--raw-field", "-f", "--jq", "--header", "-H", "--input", "--silent",
            "--paginate", "--hostname", "--include", "--template"},
    "attestation verify": {"--repo", "--predicate-type", "--signer-workflow", "--source-digest", "--format", "--jq",
                           "--deny-self-hosted-runners", "--hostname", "--owner", "--bundle"},
    "auth login": {"--hostname", "--scopes", "--web"}, "auth status": {"--hostname"}, "auth token": {"--hostname"},
    "pr create": {"--fill", "--base", "--head", "--title", "--body", "--web", "--repo"},
    "pr merge": {"--merge", "--squash", "--auto", "--repo"},
    "pr view": {"--web", "--repo", "--json", "--jq"}, "pr list": {"--repo", "--json", "--jq", "--head", "--state"},
    "pr checks": {"--watch", "--repo"},
    "release download": {"--repo", "--pattern", "--dir"}, "release list": {"--repo"},
    "release view": {"--repo", "--web", "--json", "--jq"},
    "repo clone": set(), "repo create": {"--public", "--private", "--source", "--push", "--remote"},
    "repo edit": {"--enable-auto-merge", "--delete-branch-on-merge", "--default-branch"}, "repo view": {"--web"},
    "run download": {"--repo", "--name", "--dir"}, "run list": {"--workflow", "--repo", "--limit"},
    "run rerun": {"--failed", "--repo"}, "run view": {"--log-failed", "--log", "--web", "--repo"},
    "run watch": {"--exit-status", "--repo"},
    "secret list": {"--env", "--repo"}, "secret set": {"--env", "--repo", "--body"},
    "variable list": {"--env", "--repo"}, "variable set": {"--env", "--repo", "--body"},
    "workflow run": {"--ref", "--field", "-f", "--repo"},
}  # fmt: skip


def gh(argv: Sequence[str]) -> None:
    command = next((name for name in (argv[0], " ".join(argv[:2])) if name in GH), "")
    if not command:
        raise RefusedByStandinError(f"{' '.join(argv[:2])} is not known")
    for word in argv:
        if word.startswith("-") and word != "-":
            _known(word.partition("=")[0], GH[command])
    if command == "attestation verify":
        _there(argv[2])


def reader(argv: Sequence[str]) -> None:
    """What only reads: its files must be there, or its input."""
    files = [word for word in argv if re.search(r"\.(json|qcow2|img)$", word)]
    for file in files:
        _there(file.removeprefix("sbom:"))
    if not sys.stdin.isatty() and not files:
        sys.stdin.read()


# https://manpages.debian.org/bookworm/cloud-image-utils/cloud-localds.1
def cloud_localds(argv: Sequence[str]) -> None:
    target, *sources = [word for word in argv if not word.startswith("-")][-3:]
    for source in sources:
        _there(source)
    Path(target).touch()


STANDINS: dict[str, Callable[[Sequence[str]], None]] = {
    "cloud-localds": cloud_localds, "curl": curl, "gh": gh, "git": git, "grype": reader, "jq": reader, "make": make,
    "python3": python3, "qemu-system-x86_64": qemu, "socat": reader, "ssh": ssh, "ssh-keygen": ssh_keygen,
    "trivy": reader,
}  # fmt: skip

if __name__ == "__main__":
    try:
        (STANDINS | {"python": python})[sys.argv[1]](sys.argv[2:])
    except (RefusedByStandinError, subprocess.CalledProcessError, IndexError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")
