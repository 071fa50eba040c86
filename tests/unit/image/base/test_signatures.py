import pytest

from ci.host.errors import VerificationError
from ci.image.base.signatures import UnlistedError, digest_of, good_signers

SUBKEY, PRIMARY = "B" * 40, "A" * 40
NEWSIG = "[GNUPG:] NEWSIG\n"
VALIDSIG = f"[GNUPG:] VALIDSIG {SUBKEY} 2026-07-05 1783209600 0 4 0 1 10 00 {PRIMARY}\n"
ONE, TWO = "1" * 64, "2" * 64


def test_the_primary_key_counts_not_the_subkey() -> None:
    assert good_signers(f"{NEWSIG}[GNUPG:] GOODSIG 1A5D UEC Image\n{VALIDSIG}") == [PRIMARY]


@pytest.mark.parametrize("verdict", ["EXPSIG", "EXPKEYSIG", "REVKEYSIG", "ERRSIG", "BADSIG"])
def test_a_valid_signature_by_a_key_that_is_no_longer_good_does_not_count(verdict: str) -> None:
    assert good_signers(f"{NEWSIG}[GNUPG:] {verdict} 1A5D UEC Image\n{VALIDSIG}") == []


def test_one_bad_signature_spoils_a_good_one() -> None:
    assert good_signers(f"[GNUPG:] GOODSIG 1A5D x\n{VALIDSIG}{NEWSIG}[GNUPG:] BADSIG 1A5D x\n") == []


def test_a_name_that_imitates_a_status_line_is_not_one() -> None:
    status = f"[GNUPG:] ERRSIG 1A5D x [GNUPG:] GOODSIG\n{VALIDSIG}gpgv: {VALIDSIG}"
    assert good_signers(status) == []


def test_one_verdict_covers_one_signature() -> None:
    assert good_signers(f"[GNUPG:] GOODSIG 1A5D x\n{VALIDSIG}{VALIDSIG.replace('A', 'C')}") == [PRIMARY]


@pytest.mark.parametrize("line", [f"{ONE} *base.img", f"{ONE}  base.img", f"{'A' * 64} *base.img"])
def test_the_digest_of_a_name_is_found_in_either_notation(line: str) -> None:
    text = f"{TWO} *other.img\n{line}\n{TWO} *base.img.gz\n{TWO} *sub/base.img\nrubbish\n"
    assert digest_of(text, "base.img", source="SHA256SUMS") == line[:64].lower()


def test_the_same_line_twice_is_no_conflict() -> None:
    assert digest_of(f"{ONE} *base.img\n{ONE}  base.img\n", "base.img", source="SHA256SUMS") == ONE


def test_two_digests_for_one_name_are() -> None:
    with pytest.raises(VerificationError, match="2 different digests"):
        digest_of(f"{ONE} *base.img\n{TWO} *base.img\n", "base.img", source="SHA256SUMS")


@pytest.mark.parametrize("text", ["", f"{ONE} *BASE.img", f"{ONE[:40]} *base.img", "base.img"])
def test_a_name_that_is_not_listed_is_an_error(text: str) -> None:
    with pytest.raises(UnlistedError, match=r"no line for base\.img"):
        digest_of(text, "base.img", source="SHA256SUMS")
