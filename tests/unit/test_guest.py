"""build/ as data: what can be told of the guest's files and the definitions without starting anything."""

import configparser
import fnmatch
import functools
import os
import re
import stat
from pathlib import Path

import pytest

from ci.host.errors import InputError
from ci.host.repository import ROOT
from ci.image import guest_script
from ci.image.authorized_keys import read_authorized_keys
from ci.image.definition import DEMO_IMAGE, RELEASE_IMAGE, Definition, load_definition

BUILD = ROOT / "build"
GUEST = BUILD / "guest"
IMAGES = sorted(path.stem for path in (BUILD / "images").glob("*.toml"))
UNITS = sorted((GUEST / "etc" / "systemd" / "system").glob("*.service"))
FILES = sorted(path for path in GUEST.rglob("*") if path.is_file())
SCRIPT = (BUILD / "provision" / guest_script.SCRIPT).read_text()
NOT_OURS = {".venv", ".git", "dist", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "__pycache__"}
PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----[\r\n]+[A-Za-z0-9+/=]{40,}")


def name(path: Path) -> str:
    return str(path.relative_to(GUEST))


def settings(path: Path) -> list[tuple[str, str]]:
    """The keyword and value of each line that is no comment."""
    lines = (line.split(None, 1) for line in path.read_text().splitlines() if line.strip() and line[0] != "#")
    return [(keyword.lower(), value) for keyword, value in lines]


def unit_file(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser


@functools.cache
def definitions() -> dict[str, Definition]:
    return {image: load_definition(image, BUILD / "images") for image in IMAGES}


def test_no_private_key_is_anywhere_in_the_repository() -> None:
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [entry for entry in folders if entry not in NOT_OURS]
        paths = [Path(folder) / file for file in files]
        found += [path for path in paths if path.is_file() and PRIVATE.search(path.read_bytes())]
    assert found == []


def test_the_repository_ships_no_key_and_says_how_to_add_one() -> None:
    with pytest.raises(InputError, match="holds no key") as caught:
        read_authorized_keys(BUILD / "authorized_keys")
    assert "ssh-keygen" in caught.value.hint


def test_there_is_an_image_for_releases_and_one_without_an_image_host() -> None:
    assert [image for image, definition in definitions().items() if definition.release] == [RELEASE_IMAGE]
    assert definitions()[DEMO_IMAGE].base.bootstrap is not None


def test_no_two_images_share_their_file_names() -> None:
    names = [definition.distribution for definition in definitions().values()]
    assert len(names) == len(set(names))


def test_what_a_release_is_made_from_is_pinned(subtests: pytest.Subtests) -> None:
    for image, definition in definitions().items():
        with subtests.test(image=image):
            if definition.release:
                assert definition.base.sha256 is not None
                assert str(definition.base.url).startswith("https://")
                # `current` and the like are other bytes tomorrow.
                assert re.search(r"/release-\d{8}/", str(definition.base.url))


def test_every_image_has_what_the_brief_promises(subtests: pytest.Subtests) -> None:
    for image, definition in definitions().items():
        with subtests.test(image=image):
            promised = {
                "curl",
                "git",
                "python3",
                "python3-pip",
                "openssh-server",
                "qemu-guest-agent",
                "sudo",
                "cloud-init",
            }
            assert promised <= set(definition.packages.install)
            assert definition.disk.size_gib == 20


def test_nothing_is_masked_and_enabled(subtests: pytest.Subtests) -> None:
    for image, definition in definitions().items():
        with subtests.test(image=image):
            services = definition.services
            assert not {*services.mask, *services.disable} & set(services.enable)


def test_what_a_person_may_want_is_off_and_never_masked(subtests: pytest.Subtests) -> None:
    wanted = {"cron.service", "rsyslog.service", "systemd-binfmt.service", "systemd-timesyncd.service"}
    for image, definition in definitions().items():
        with subtests.test(image=image):
            assert wanted <= set(definition.services.disable)
            assert not {*wanted, "user@.service"} & set(definition.services.mask)


def test_lists_name_everything_once(subtests: pytest.Subtests) -> None:
    for image, definition in definitions().items():
        with subtests.test(image=image):
            packages, files, services = definition.packages, definition.files, definition.services
            for entries in (
                packages.install,
                packages.purge,
                files.exclude,
                files.include,
                files.plain,
                services.mask,
                services.disable,
                services.enable,
            ):
                assert len(entries) == len(set(entries))


def test_the_network_and_the_login_are_enabled_and_never_masked(subtests: pytest.Subtests) -> None:
    for image, definition in definitions().items():
        with subtests.test(image=image):
            needed = {"systemd-networkd.service", "systemd-resolved.service", "ssh.service"}
            assert needed <= set(definition.services.enable)


def test_what_takes_the_dpkg_lock_is_masked(subtests: pytest.Subtests) -> None:
    for image, definition in definitions().items():
        with subtests.test(image=image):
            lockers = {f"apt-daily{upgrade}.{kind}" for upgrade in ("", "-upgrade") for kind in ("service", "timer")}
            assert lockers <= set(definition.services.mask)
            assert "unattended-upgrades" in definition.packages.purge


def test_nothing_waits_for_the_network(subtests: pytest.Subtests) -> None:
    for image, definition in definitions().items():
        with subtests.test(image=image):
            assert "systemd-networkd-wait-online.service" in definition.services.mask


def test_the_sshd_drop_in_is_read_before_any_other() -> None:
    folder = GUEST / "etc" / "ssh" / "sshd_config.d"
    (ours,) = folder.iterdir()
    for other in ("00-z.conf", "01-a.conf", "50-cloud-init.conf", "60-cloudimg-settings.conf", "a.conf"):
        assert ours.name < other
    # What sorts before it is taken away by the script, whatever its name.
    assert "\n/etc/ssh\n" in SCRIPT


def test_the_main_sshd_file_sets_nothing_before_the_drop_ins() -> None:
    first, *others = settings(GUEST / "etc" / "ssh" / "sshd_config")
    assert first == ("include", "/etc/ssh/sshd_config.d/*.conf")
    assert "match" not in dict(others)


def test_sshd_takes_keys_only() -> None:
    ours = settings(GUEST / "etc" / "ssh" / "sshd_config.d" / "00-fountainkit.conf")
    assert [value for keyword, value in ours if keyword == "port"] == ["22", "3023"]
    single = [keyword for keyword, _ in ours if keyword != "port"]
    assert len(single) == len(set(single))
    assert (
        dict(ours).items()
        >= {
            "authenticationmethods": "publickey",
            "passwordauthentication": "no",
            "kbdinteractiveauthentication": "no",
            "challengeresponseauthentication": "no",  # the same before OpenSSH 8.7
            "permitemptypasswords": "no",
            "permitrootlogin": "no",
            "authorizedkeysfile": ".ssh/authorized_keys",
        }.items()
    )
    assert "match" not in single


def test_a_clients_locale_is_not_taken_and_the_machine_has_one() -> None:
    words = [keyword for path in (GUEST / "etc" / "ssh").rglob("*") if path.is_file() for keyword, _ in settings(path)]
    assert "acceptenv" not in words
    assert (GUEST / "etc" / "default" / "locale").read_text() == "LANG=C.UTF-8\n"


def test_only_where_there_may_be_a_seed_others_than_fountain_log_in() -> None:
    text = (GUEST / "etc" / "systemd" / "system-generators" / "cloud-init-generator").read_text()
    with_seed, _, without = text.partition("\nfi\n\n# What cloud-init's generator leaves")
    assert ("AllowUsers *" in with_seed, "AllowUsers" in without) == (True, False)
    ours = dict(settings(GUEST / "etc" / "ssh" / "sshd_config.d" / "00-fountainkit.conf"))
    assert (ours["allowusers"], ours["include"]) == ("fountain", "/run/fountainkit/sshd.conf")


def test_a_setting_that_an_older_sshd_does_not_know_is_taken_out_for_it() -> None:
    ours = dict(settings(GUEST / "etc" / "ssh" / "sshd_config.d" / "00-fountainkit.conf"))
    assert int(ours["persourcemaxstartups"]) < int(ours["maxstartups"])
    assert "ge 1:8.5 ||\n\t\tsed -i '/^PerSourceMaxStartups /d'" in SCRIPT


def test_sudo_asks_fountain_for_no_password_and_nobody_else_is_let_in() -> None:
    assert (GUEST / "etc" / "sudoers.d" / "90-fountainkit").read_text() == "fountain ALL=(ALL:ALL) NOPASSWD: ALL\n"
    rules = [line for line in (GUEST / "etc" / "sudoers").read_text().splitlines() if line]
    assert [line for line in rules if not line.startswith("Defaults ")] == [
        "root ALL=(ALL:ALL) ALL",
        "@includedir /etc/sudoers.d",
    ]


def test_sudo_reads_the_file_by_its_name() -> None:
    for path in (GUEST / "etc" / "sudoers.d").iterdir():  # sudo passes over names with a dot or a tilde
        assert not re.search(r"[.~]", path.name)


def test_a_unit_runs_what_is_there(subtests: pytest.Subtests) -> None:
    for path in UNITS:
        with subtests.test(path=path):
            program = unit_file(path)["Service"]["ExecStart"].removeprefix("-").split()[0]
            if "fountainkit" in program:
                assert stat.S_IMODE((GUEST / program[1:]).stat().st_mode) & 0o111
            else:
                assert program.startswith("/") or program == "udevadm"


def test_what_ssh_wants_is_there_before_it_and_nothing_else_is_waited_for(subtests: pytest.Subtests) -> None:
    for path in UNITS:
        with subtests.test(path=path):
            unit = unit_file(path)
            before = "ssh.service" in unit["Unit"].get("Before", "").split()
            wanted = unit.get("Install", "WantedBy", fallback="").split()
            assert before == ("ssh.service" in [*wanted, unit.get("Install", "RequiredBy", fallback="")])
            # What is not early comes after SSH, or when a timer says.
            assert unit["Unit"].get("DefaultDependencies") == "no" or wanted in ([], ["multi-user.target"])


def test_a_unit_says_memory_in_bytes_because_systemd_before_252_reads_nothing_else(subtests: pytest.Subtests) -> None:
    for path in UNITS:
        with subtests.test(path=path):
            memory = unit_file(path)["Unit"].get("ConditionMemory", ">=0")
            assert re.fullmatch(r"(<|<=|=|!=|>=|>)\d+", memory)


def test_swap_is_for_machines_with_less_than_768_mib() -> None:
    unit = unit_file(GUEST / "etc" / "systemd" / "system" / "fountainkit-swap.service")
    assert unit["Unit"]["ConditionMemory"] == f"<={768 << 20}"


def test_swap_is_made_without_an_option_that_older_tools_do_not_know() -> None:
    script = (GUEST / "usr" / "lib" / "fountainkit" / "make-swap").read_text()
    (line,) = re.findall(r"^mkswap .*$", script, re.MULTILINE)
    assert line.split() == ["mkswap", '"$target"', ">/dev/null"]


def test_the_guest_agents_channel_is_there_whether_its_driver_is_a_module_or_not() -> None:
    # A module's driver is loaded by the event of `virtio`; one in the kernel has made its port before udev looks.
    text = (GUEST / "etc/systemd/system/systemd-udev-trigger.service.d/fountainkit.conf").read_text()
    (first, *_) = re.findall(r"^ExecStart=-udevadm trigger (.*)$", text, re.MULTILINE)
    assert {"--subsystem-match=virtio", "--subsystem-match=virtio-ports"} <= set(first.split())


def test_ssh_waits_for_nothing_but_what_a_login_needs() -> None:
    unit = unit_file(GUEST / "etc" / "systemd" / "system" / "ssh.service")["Unit"]
    assert unit["DefaultDependencies"] == "no"
    assert unit["After"].split() == ["systemd-remount-fs.service"]


def test_what_goes_on_after_the_first_target_has_the_usual_start_for_its_aim() -> None:
    rest = unit_file(GUEST / "etc" / "systemd" / "system" / "fountainkit-rest.service")
    assert rest["Service"]["ExecStart"].split()[1:] == ["--no-block", "start", "multi-user.target"]
    assert {"ssh.service", "systemd-networkd.service"} <= set(rest["Unit"]["After"].split())
    assert rest["Install"]["WantedBy"] == "fountainkit-first.target"
    assert "systemctl set-default --quiet fountainkit-first.target" in SCRIPT


def test_only_a_start_with_a_seed_begins_with_the_usual_target() -> None:
    text = (GUEST / "etc" / "systemd" / "system-generators" / "cloud-init-generator").read_text()
    with_seed, _, without = text.partition("\nfi\n\n# What cloud-init's generator leaves")
    assert ("multi-user.target" in with_seed, "default.target" in without) == (True, False)


def test_a_unit_of_ours_is_enabled_by_the_script(subtests: pytest.Subtests) -> None:
    (patterns,) = re.findall(r"cd /etc/systemd/system && echo ([^)]+)\)", SCRIPT)
    named = {path.name for path in UNITS if not any(fnmatch.fnmatch(path.name, one) for one in patterns.split())}
    for image, definition in definitions().items():
        with subtests.test(image=image):
            assert named <= set(definition.services.enable)


def test_every_unit_of_ours_that_is_named_anywhere_exists() -> None:
    named = set(re.findall(r"fountainkit-[a-z]+\.service", "\n".join([SCRIPT, *(path.read_text() for path in FILES)])))
    assert named <= {path.name for path in UNITS}


def test_only_programs_are_executable(subtests: pytest.Subtests) -> None:
    for path in FILES:
        with subtests.test(path=path):
            executable = bool(path.stat().st_mode & stat.S_IXUSR)
            assert executable == path.read_bytes().startswith(b"#!")


def test_every_file_ends_its_last_line_and_has_no_others_line_ends(subtests: pytest.Subtests) -> None:
    for path in FILES:
        with subtests.test(path=path):
            content = path.read_bytes()
            assert content.endswith(b"\n")
            assert b"\r" not in content


def test_the_hostname_resolves_without_a_network() -> None:
    hostname = (GUEST / "etc" / "hostname").read_text().strip()
    lines = [line.split() for line in (GUEST / "etc" / "hosts").read_text().splitlines()]
    addresses = {name: address for address, name, *_ in lines}
    assert hostname in addresses
    assert addresses[hostname].startswith("127.")


def test_any_wired_card_gets_an_address() -> None:
    (path,) = (GUEST / "etc" / "systemd" / "network").iterdir()
    network = unit_file(path)
    # systemd 249 knows no Kind=. What a person makes has no path.
    assert dict(network["Match"]) == {"Type": "ether", "Path": "*"}
    assert network["Network"]["DHCP"] == "yes"


def test_cloud_init_looks_for_a_seed_and_stays_off_without_one() -> None:
    text = (GUEST / "etc" / "cloud" / "cloud.cfg.d" / "99-fountainkit.cfg").read_text()
    # ds-identify reads this one line with a shell, and one entry alone would switch cloud-init on for good.
    (line,) = re.findall(r"^datasource_list: \[ (.*) \]$", text, re.MULTILINE)
    assert line.split(", ") == ["NoCloud", "ConfigDrive", "None"]
    assert "notfound=disabled" in (GUEST / "etc" / "cloud" / "ds-identify.cfg").read_text()
    assert re.search(r"^ssh_pwauth: false$", text, re.MULTILINE)
    assert re.search(r"^ +name: fountain$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("table", "numbers"), [("layout.sfdisk", [14, 15, 1]), ("layout-boot.sfdisk", [14, 15, 16, 1])]
)
def test_the_partition_table_of_a_bootstrap_is_ubuntus(table: str, numbers: list[int]) -> None:
    lines = (BUILD / "bootstrap" / table).read_text().splitlines()
    assert "label: gpt" in lines
    partitions = [line for line in lines if " : " in line]
    assert [int(line.split(" : ")[0]) for line in partitions] == numbers
    assert "size=" not in partitions[-1]  # the root takes the rest
