import shlex
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ci.machine import ssh

FOLDER = Path("/run/t%x")


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1, max_size=5))
def test_every_word_arrives_as_it_is(argv: list[str]) -> None:
    head, tail = "cd /mnt/work && { trap : INT QUIT; (exec -- ", "); exit; }"
    line = ssh.remote(argv)
    assert line.startswith(head)
    assert line.endswith(tail)
    assert shlex.split(line.removeprefix(head).removesuffix(tail)) == argv


def test_no_word_means_anything_to_the_shell() -> None:
    assert "'if' 'a=b' '~' ''" in ssh.remote(["if", "a=b", "~", ""])


def test_without_a_command_there_is_a_shell_to_log_in_with() -> None:
    assert ssh.remote([]) == 'cd /mnt/work; exec "$SHELL" -l'


def test_a_command_goes_through_the_open_connection_and_no_other_way() -> None:
    argv = ssh.command(FOLDER, ["true"], terminal=False)
    assert argv[argv.index("-S") + 1] == "/run/t%%x/control"
    assert "ProxyCommand=exit 1" in argv
    assert "-T" in argv
    assert "-t" in ssh.command(FOLDER, [], terminal=True)


def test_neither_settings_nor_keys_of_the_person_are_used() -> None:
    argv = ssh.connect(FOLDER)
    assert argv[1:3] == ["-F", "none"]
    assert {"IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes", "-a", "-x"} <= set(argv)


def test_whoever_serves_the_connection_gives_what_is_exported_to_the_user_first() -> None:
    assert ssh.serve([])[-2:] == ["/usr/sbin/sshd", "-i"]
    assert ssh.serve(["a", "b"])[-1] == "chown fountain: /mnt/a /mnt/b; exec /usr/sbin/sshd -i"


def test_the_channel_has_the_name_that_systemd_gives_it_once_a_backslash_is_gone() -> None:
    (wanted,) = [word for word in ssh.serve([]) if word.startswith("--property=Wants=")]
    assert wanted.replace(r"\\", "\\") == r"--property=Wants=dev-virtio\x2dports-toolsmith.login.device"
