import re

from ci.host.repository import ROOT
from ci.machine import identity, ssh

GUEST = ROOT / "build" / "guest"

KEY = ("-----BEGIN\nsecret\n-----END\n", "ssh-ed25519 AAAA\n")


def test_all_that_a_machine_is_told_is_new_and_comes_through_its_stdin() -> None:
    drawn = iter([bytes([1]) * 16, bytes([2]) * 16, bytes([3]) * identity.SEED_BYTES])
    text = identity.inputs(KEY, "ssh-ed25519 BBBB run\n", random=lambda _: next(drawn), now=lambda: 5_000_000_007)
    seed, machine, boot, now, login, public, *private = text.decode().split("\n")
    assert seed == "03" * identity.SEED_BYTES
    assert (machine, boot) == ("01010101010141018101010101010101", "02020202-0202-4202-8202-020202020202")
    assert now == "5 7"
    assert (login, public, "\n".join(private)) == ("ssh-ed25519 BBBB run", KEY[1].strip(), KEY[0])


def test_two_machines_are_told_nothing_that_is_the_same() -> None:
    one, other = (identity.inputs(KEY, "key").split(b"\n")[:3] for _ in range(2))
    assert not set(one) & set(other)


def test_nothing_of_a_run_goes_in_before_the_machine_is_another_one() -> None:
    last = identity.SCRIPT.index("clock_settime")
    assert min(map(identity.SCRIPT.index, ("authorized_keys", "mount_tag", "/usr/sbin/sshd"))) > last


def test_shares_are_mounted_as_at_a_start() -> None:
    script = (GUEST / "usr/lib/fountainkit/mount-shares").read_text()
    (options,) = re.findall(r'mount -i -t 9p -o "(.*),msize=\$msize,nosuid,nodev"', script)
    assert f"'{options},msize='" in identity.SCRIPT
    for number in re.findall(r"\$kib > (\d+) \? (\d+) : (\d+)", identity.SCRIPT)[0]:
        assert re.search(rf"(-gt |msize=){number}\b", script)


def test_the_guest_holds_back_the_rest_of_its_start_where_the_channel_is_that_a_command_comes_through() -> None:
    unit = "fountainkit-later.service"
    text = (GUEST / "etc/systemd/system" / unit).read_text()
    assert f"ConditionPathExists=/dev/virtio-ports/{ssh.LOGIN_CHANNEL}\n" in text
    assert f"'/dev/virtio-ports/{ssh.LOGIN_CHANNEL}'" in identity.SCRIPT
    assert unit in (GUEST / "etc/systemd/system/fountainkit-rest.service").read_text()
    assert unit in identity.PREPARE
    assert unit in identity.SCRIPT
    assert unit in identity.GO_ON[-1]
