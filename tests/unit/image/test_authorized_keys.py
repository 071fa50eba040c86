from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.host.errors import InputError
from ci.host.repository import ROOT
from ci.image.authorized_keys import MAX_FILE_BYTES, read_authorized_keys

# Public halves of pairs made for this test; the private halves were never stored.
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def public_line(algorithm: str, comment: str = "somebody@example.org", **options: int) -> str:
    key = asyncssh.generate_private_key(algorithm, comment=comment, **options)
    return key.export_public_key().decode().strip()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "authorized_keys"


def refusal(file: Path, content: str | bytes) -> InputError:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as caught:
        read_authorized_keys(file)
    return caught.value


@pytest.mark.parametrize("algorithm", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384"])
def test_a_key_is_read_with_its_parts(file: Path, algorithm: str) -> None:
    line = public_line(algorithm)
    file.write_text(f"# who\n\n{line}\n")
    (key,) = read_authorized_keys(file)
    assert key.line == line
    assert key.fingerprint == asyncssh.import_public_key(line).get_fingerprint()
    assert key.fingerprint.startswith("SHA256:")


def test_an_rsa_key_of_2048_bits_is_taken(file: Path) -> None:
    file.write_text(public_line("ssh-rsa", key_size=2048))
    assert read_authorized_keys(file)[0].line.startswith("ssh-rsa ")


def test_spaces_tabs_crlf_and_a_byte_order_mark_do_not_matter(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf  " + ED25519.replace(" ", "\t  ").encode() + b"  two words \r\n# end\r\n")
    (key,) = read_authorized_keys(file)
    assert key.line == f"{ED25519} two words"


def test_a_key_without_comment_and_without_final_newline_is_taken(file: Path) -> None:
    file.write_text(ED25519)
    (key,) = read_authorized_keys(file)
    assert key.line == ED25519


def test_the_same_key_twice_counts_once_and_the_order_is_kept(file: Path) -> None:
    other = public_line("ssh-ed25519", comment="other")
    file.write_text(f"{ED25519} first\n{other}\n{ED25519} again\n")
    assert [key.line.split()[2] for key in read_authorized_keys(file)] == ["first", "other"]


def test_a_missing_file_says_how_to_add_a_key(file: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file") as caught:
        read_authorized_keys(file)
    assert "ssh-keygen -t ed25519" in caught.value.hint
    assert "AUTHORIZED_KEYS=" in caught.value.hint
    assert str(file) in caught.value.hint


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n", "   \t\r\n#\n"])
def test_a_file_without_key_says_how_to_add_one(file: Path, content: str) -> None:
    error = refusal(file, content)
    assert "holds no key" in error.message
    assert "ssh-keygen -t ed25519" in error.hint


def test_the_file_in_the_repository_has_no_key() -> None:
    with pytest.raises(InputError, match="holds no key"):
        read_authorized_keys(ROOT / "build/authorized_keys")


@pytest.mark.parametrize("form", ["openssh", "pkcs1-pem", "pkcs8-pem"])
def test_a_private_key_is_called_burnt_and_never_echoed(file: Path, form: str) -> None:
    private = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_private_key(form).decode()
    error = refusal(file, f"{ED25519}\n{private}")
    told = f"{error.message} {error.hint} {error.details}"
    assert f"{file}:2" in error.message
    assert "private key" in error.message
    assert "burnt" in error.hint
    assert not [line for line in private.splitlines() if line in told]


def test_a_private_key_is_found_without_its_first_line_and_in_utf_16(file: Path) -> None:
    private = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    body = "".join(private.splitlines()[1:-1])
    assert "private key" in refusal(file, body).message
    assert "private key" in refusal(file, private.encode("utf-16")).message


def test_a_putty_private_key_is_found(file: Path) -> None:
    assert "private key" in refusal(file, "PuTTY-User-Key-File-3: ssh-ed25519\n").message


def test_a_line_with_options_is_refused_as_such(file: Path, subtests: pytest.Subtests) -> None:
    for options in [
        "command=\"/bin/sh -c 'id'\"",
        'from="10.0.0.0/8"',
        "restrict,pty",
        "no-port-forwarding",
        "cert-authority",
        'environment="A=b c",no-pty',
        "an-option-of-the-future",
    ]:
        with subtests.test(options=options):
            error = refusal(file, f"# keys\n{options} {ED25519}\n")
            assert f"{file}:2" in error.message
            assert "options" in error.message


def test_any_other_line_is_refused_with_its_place(file: Path, subtests: pytest.Subtests) -> None:
    for line, reason in [
        ("hello", "not a public key"),
        ("ssh-ed25519", "damaged"),
        (ED25519[:-6], "damaged"),
        (ED25519 + "AAAA", "damaged"),
        ("ssh-ed25519 !!!!", "damaged"),
        (ED25519.replace("AAAC3", "AAAC!3"), "damaged"),
        (ED25519.replace("ssh-ed25519", "ssh-rsa"), "damaged|another type"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "certificate"),
        ("ssh-dss AAAAB3NzaC1kc3M=", "DSA"),
        ("ssh-ed448 AAAACXNzaC1lZDQ0OA==", "not supported"),
        (f"{ED25519} a\x07bell", "control character"),
        (f"{ED25519} two\rlines", "control character"),
        ("- " + ED25519, "YAML"),
        (f'ssh_authorized_keys: ["{ED25519}"]', "YAML"),
        (f'"{ED25519}"', "quotes"),
        (f"[example.org]:22 {ED25519}", "before the key's type"),
        ("---- BEGIN SSH2 PUBLIC KEY ----", "another form"),
        ("256 SHA256:abc somebody (ED25519)", "fingerprint"),
        ("~/.ssh/id_ed25519.pub", "name of a file"),
        (f"{ED25519} somebody{ED25519}", "second key"),
    ]:
        with subtests.test(line=line):
            error = refusal(file, f"{ED25519}\n\n{line}\n")
            assert f"{file}:3" in error.message
            assert any(part in error.message for part in reason.split("|"))
            assert error.hint


@pytest.mark.parametrize("option", ["from", "verify-required"])
def test_an_option_that_somebody_would_miss_is_named_with_what_its_loss_means(file: Path, option: str) -> None:
    error = refusal(file, f"{option}{'=10.0.0.0/8' * (option == 'from')} {ED25519}\n")
    assert f"`{option}`" in error.message
    assert {"from": "10.0.2.2", "verify-required": "-O verify-required"}[option] in error.hint


# What cannot be seen, or looks like something else: categories Zs, Cf, Lo, So, Mn and Pd.
@pytest.mark.parametrize("strange", "\u00a0\u3000\u200b\u00ad\u202e\ufeff\u3164\u2800\ufe0f\u2011\u0455")
def test_a_character_that_no_key_has_is_named_with_its_place(
    file: Path, strange: str, subtests: pytest.Subtests
) -> None:
    for line in [f"{strange}{ED25519}", ED25519.replace(" ", strange), f"{ED25519[:40]}{strange}{ED25519[40:]} x"]:
        with subtests.test(line=ascii(line)):
            error = refusal(file, f"# keys\n{line}\n")
            assert f"{file}:2: character {line.index(strange) + 1} is U+{ord(strange):04X}" in error.message


def test_a_comment_may_hold_any_printed_character(file: Path) -> None:
    file.write_text(f"{ED25519} naïve\u00a0☃\n", encoding="utf-8")
    assert read_authorized_keys(file)[0].line.endswith("naïve\u00a0☃")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_of_windows_powershell_is_named_from_the_line_on_where_it_begins(file: Path, encoding: str) -> None:
    line = f"{ED25519} somebody\r\n"
    for content, number in [(line.encode(encoding), 1), (f"{line}# keys\n".encode() + line.encode(encoding), 3)]:
        error = refusal(file, content)
        assert f"{file}:{number}: from here on the text is UTF-16" in error.message
        assert "Add-Content -Encoding ascii" in error.hint


def test_a_tilde_that_no_shell_expanded_is_expanded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    file.write_text(ED25519)
    assert len(read_authorized_keys(Path("~") / file.name)) == 1
    with pytest.raises(InputError, match="no home folder of ~nobody-of-this-name"):
        read_authorized_keys(Path("~nobody-of-this-name/key.pub"))


def test_a_short_rsa_key_is_refused(file: Path) -> None:
    error = refusal(file, public_line("ssh-rsa", key_size=1024))
    assert "1024 bits" in error.message
    assert f"{file}:1" in error.message


def test_text_that_is_not_utf_8_is_refused_with_its_line(file: Path) -> None:
    error = refusal(file, ED25519.encode() + b"\n# caf\xe9\n")
    assert f"{file}:2" in error.message
    assert "UTF-8" in error.message


def test_an_over_long_file_is_refused(file: Path) -> None:
    error = refusal(file, "# comment\n" * (MAX_FILE_BYTES // 10 + 1))
    assert "64 KiB" in error.message


@given(st.binary(max_size=200))
def test_no_bytes_make_it_crash(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "authorized_keys"
    file.write_bytes(content)
    with pytest.raises(InputError):
        read_authorized_keys(file)


@given(st.text(max_size=60))
def test_whatever_the_comment_is_the_installed_line_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, comment: str
) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "authorized_keys"
    file.write_text(f"{ED25519} {comment}", encoding="utf-8", errors="replace", newline="")
    try:
        keys = read_authorized_keys(file)
    except InputError:
        return
    assert all(len(key.line.splitlines()) == 1 for key in keys)
