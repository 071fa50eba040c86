import re
import shlex
from pathlib import Path

import pytest

from ci.host.errors import BuildError
from ci.host.process import TAIL_LINES
from ci.host.repository import ROOT
from ci.image import guest_script
from ci.image.authorized_keys import AuthorizedKey
from ci.image.definition import Definition
from ci.image.disk.layout import Layout, Partition
from ci.image.packages.transaction import Transaction
from ci.records.build import Driver, PackageStep
from tests.support.scripted_guest import ScriptedGuest

STEPS = [guest_script.PREPARE, guest_script.PACKAGES, guest_script.SETTINGS, guest_script.VERIFY, guest_script.CLEAN]


def partition(uuid: str) -> Partition:
    return Partition(number=1, start=0, size=1, kind="", holds="ext4", uuid=uuid)


BARE: Layout = {"/": partition("4b3a-9c8e")}
PLAN = Transaction(
    request=("dist-upgrade", "--auto-remove", "curl", "vim-"),
    changes=(
        PackageStep(name="curl", before="", after="7.88.1-10"),
        PackageStep(name="git", before="1:2.38", after="1:2.39"),
        PackageStep(name="vim", before="2:9.0", after=""),
    ),
    install=(),
)


def definition() -> Definition:
    return Definition.model_validate(
        {
            "distribution": "debian-12",
            "release": False,
            "base": {"url": "https://example.org/base.img"},
            "os": {"id": "debian", "version_id": "12"},
            "disk": {"size_gib": 20},
            "packages": {"install": ["curl", "git"], "purge": []},
            "files": {
                "exclude": ["/usr/share/man/*"],
                "include": ["/usr/share/man/man1/*"],
                "plain": ["/usr/bin/chsh"],
            },
            "services": {"mask": ["a.timer"], "disable": ["c.mount"], "enable": ["b.service"]},
        }
    )


def test_the_script_gets_a_name_per_line_and_empty_lists_as_empty_files() -> None:
    keys = tuple(AuthorizedKey(line=f"ssh-ed25519 AAAA {name}", fingerprint=name) for name in ("one", "two"))
    assert guest_script.inputs(definition(), keys, PLAN) == {
        "request": "dist-upgrade\n--auto-remove\ncurl\nvim-\n",
        "plan": "curl - 7.88.1-10\ngit 1:2.38 1:2.39\nvim 2:9.0 -\n",
        "exclude": "/usr/share/man/*\n",
        "include": "/usr/share/man/man1/*\n",
        "plain": "/usr/bin/chsh\n",
        "mask": "a.timer\n",
        "disable": "c.mount\n",
        "enable": "b.service\n",
        "authorized_keys": "ssh-ed25519 AAAA one\nssh-ed25519 AAAA two\n",
    }


def test_nothing_to_do_is_told_as_an_empty_plan() -> None:
    nothing = Transaction(request=("dist-upgrade",), changes=(), install=())
    files = guest_script.inputs(definition(), (), nothing)
    assert (files["plan"], files["authorized_keys"]) == ("", "")


@pytest.mark.parametrize("name", [*guest_script.inputs(definition(), (), PLAN), *guest_script.environment(BARE)])
def test_the_script_reads_all_that_it_is_told(name: str) -> None:
    script = (ROOT / "build" / "provision" / guest_script.SCRIPT).read_text()
    assert re.search(rf"\b(list|existing) {name}\b|\$here/{name}\b|\$\{{?{name}\b", script)


@pytest.mark.parametrize(
    ("layout", "uuids"),
    [
        (BARE, ("4b3a-9c8e", "", "")),
        ({"/": partition("1"), "/boot": partition("2"), "/boot/efi": partition("3")}, ("1", "2", "3")),
    ],
)
def test_the_script_is_told_of_the_file_systems(layout: Layout, uuids: tuple[str, str, str]) -> None:
    names = ("ROOT_UUID", "BOOT_UUID", "ESP_UUID")
    assert guest_script.environment(layout) == dict(zip(names, uuids, strict=True))


def test_the_kernel_is_told_by_what_the_script_says_of_it_among_other_things() -> None:
    output = """\
dumpe2fs 1.46.5 (30-Dec-2021)
kernel 5.15.0-151-generic
driver virtio_blk module
driver virtio_pci built-in
driver crc32c_generic absent
"""
    assert guest_script.parse_kernel(output) == (
        "5.15.0-151-generic",
        {"virtio_blk": Driver.MODULE, "virtio_pci": Driver.BUILT_IN, "crc32c_generic": Driver.ABSENT},
    )


@pytest.mark.parametrize("output", ["", "driver virtio_blk module\n", "kernel 1\nkernel 2\n", "kernel 1\ndriver a b\n"])
def test_a_kernel_that_is_not_told_once_and_in_known_words_is_a_bug(output: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|not a valid"):
        guest_script.parse_kernel(output)


@pytest.mark.parametrize("word", Driver)
def test_the_script_knows_every_word_for_a_driver(word: Driver) -> None:
    script = (ROOT / "build" / "provision" / guest_script.SCRIPT).read_text()
    assert re.search(rf"(?m)^[^#]*(?<![$\w-]){word}(?![\w-])", script)


def test_the_archive_is_in_its_place_only_while_packages_are_installed() -> None:
    guest = ScriptedGuest()
    with guest_script.archive_mounted(guest):
        assert guest.commands[-1] == f"mount-ro /dev/sdb {guest_script.FOLDER}/archive"
    assert guest.commands[-1] == f"umount {guest_script.FOLDER}/archive"


def test_the_script_is_put_into_a_folder_of_its_own() -> None:
    guest = ScriptedGuest()
    guest_script.install_script(guest, Path("provision.sh"), {"install": "curl\n"})
    assert guest.commands[:2] == [f"rm-rf {guest_script.FOLDER}", f"mkdir-mode {guest_script.FOLDER} 0700"]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_is_one_the_script_has(step: guest_script.GuestStep) -> None:
    script = (ROOT / "build" / "provision" / guest_script.SCRIPT).read_text()
    assert f"\n{step.name}() {{\n" in script
    known = next(line for line in script.splitlines() if line.endswith(') "$1" ;;'))
    assert step.name in known.removesuffix(') "$1" ;;').split(" | ")


def test_a_step_that_works_returns_what_it_printed_and_has_time_to_do_so() -> None:
    guest = ScriptedGuest(output="kernel 6.1.0\n")
    assert guest_script.perform(guest, guest_script.VERIFY, {}, timeout=6) == "kernel 6.1.0\n"
    assert guest.timeouts == [6]


@pytest.mark.parametrize("value", ["/dev/sda1", "", "it's", "a b", "$(id)`id`", "a\\b", "x; rm -rf /", '"'])
def test_a_variable_reaches_the_shell_as_it_is(value: str) -> None:
    guest = ScriptedGuest()
    guest_script.perform(guest, guest_script.SETTINGS, {"FIRST": value, "SECOND": "2"}, timeout=1)
    assert shlex.split(guest.commands[0]) == [
        f"FIRST={value}", "SECOND=2", "sh", f"{guest_script.FOLDER}/{guest_script.SCRIPT}", "settings",
    ]  # fmt: skip


def test_a_failure_is_the_builds_and_shows_the_last_lines() -> None:
    output = "".join(f"line {number}\n" for number in range(100)) + "E: Unable to locate package cuurl\n"
    with pytest.raises(BuildError, match="Installing packages failed") as caught:
        guest_script.perform(ScriptedGuest(exit_code=100, output=output), guest_script.PACKAGES, {}, timeout=1)
    assert caught.value.details.splitlines() == output.splitlines()[-TAIL_LINES:]
    assert "`packages` of build/provision/provision.sh" in caught.value.hint
