"""Headers that no server should send, each in the answers in which we read it, for `strange_server`."""

from collections.abc import Iterator

import pytest

HUGE = b"9" * 5000
DATES = [
    b"Thu, 99 Nov 99999999999999 25:61:61 +9999", b"Thu, 01 Jan 0000 00:00:00 GMT", b"Thu, 01 Jan 1970 00:00:00 -9999",
    b"Fri, 31 Dec 9999 23:59:59 -2359", b"0 0 0 0:0:0", b"Mon,", b"(((((", b"1 Jan " + HUGE,
]  # fmt: skip
ADDRESSES = [
    b"http://[::1", b"http://\xff\xfe/", b"\xff\xfe\x80", b"http://[fe80::1%25]/", b"//", b"http://", b"http://:80/", b"http://x:y/",
    b"http://x/\x1b[2J", b"http://x\x00y/", b"http:///x", b"?" * 60_000, b"http://" + b"a." * 5000,
    b"http://xn--" + HUGE, b"http://\xd9\xa3\xd9\xa3/", b"http://user:word@[::1", b"\\\\x\\y", b"data:,x",
]  # fmt: skip
ANYTHING = [
    HUGE, b"\xff\xfe\x80", b"nan", b"\x1b[2J\x07", b'"a", "b"', b"x" * 60_000, b"", b" ", b"0",
    b"-1", b"+5", b"1e999", b"nan", b"0x10", b"1_0", b"-" + HUGE, b"\xd9\xa3\xd9\xa3\xd9\xa3",
    b"\xe2\x80\xaegnp", b'"', b'""', b'W/"', b",,,;;;===",
    b"bytes 0-0/0", b"bytes 5-1/*", b"bytes */*", b"bytes " + HUGE + b"-" + HUGE + b"/" + HUGE, b"%00%ff%", b"\\",
]  # fmt: skip
LINKS = [
    b'<http://[::1>; rel="next"',
    b"<",
    b"<>;;;",
    b"<x>; rel",
    b'<?page=%ff>; rel="next"',
    b"<a>;" * 9000,
    b"=,=,=",
]
# How many of them are tried: a part, and all of them where that is asked for.
EVERY = [8, pytest.param(1, marks=pytest.mark.full)]
COOKIES = (b"expires", b"max-age", b"domain", b"path")

READ = {
    b"Content-Length": ((b"200 X", b"206 X"), ANYTHING),
    b"Content-Range": ((b"206 X", b"416 X"), ANYTHING),
    b"Content-Type": ((b"200 X", b"403 X"), [b"text/html;" * 6000, b"x; charset", b"; charset=\xff", *ANYTHING]),
    b"Content-Encoding": ((b"200 X",), [*ANYTHING, b"gzip", b"gzip, " * 900]),
    b"Transfer-Encoding": ((b"200 X",), [*ANYTHING, b"chunked", b"gzip, chunked", b"chunked, chunked"]),
    b"ETag": ((b"200 X", b"206 X"), ANYTHING),
    b"Last-Modified": ((b"200 X", b"206 X"), [*DATES, *ANYTHING]),
    b"Date": ((b"200 X", b"429 X"), [*DATES, *ANYTHING]),
    b"Location": ((b"302 X", b"307 X", b"201 X"), [*ADDRESSES, *ANYTHING]),
    b"Retry-After": ((b"429 X", b"503 X", b"403 X"), [*DATES, *ANYTHING]),
    b"Link": ((b"200 X",), [*LINKS, *ANYTHING]),
    b"X-RateLimit-Remaining": ((b"403 X",), ANYTHING),
    b"X-RateLimit-Reset": ((b"403 X\r\nX-RateLimit-Remaining: 0",), ANYTHING),
    b"X-Accepted-GitHub-Permissions": ((b"403 X",), [*ANYTHING, b"contents=write;" * 4000]),
    b"X-OAuth-Scopes": ((b"403 X",), ANYTHING),
    b"Set-Cookie": ((b"200 X",), [*(b"a=b; " + name + b"=" + HUGE for name in COOKIES), b"=;" * 9000, *ANYTHING]),
}  # fmt: skip


def absurd_answers(body: bytes, every: int = 1) -> Iterator[tuple[str, bytes]]:
    """What each is, and the answer: every header with its first values and each so manieth of the others.

    Each is sent once, and then beside an innocent one.
    """
    for header, (statuses, values) in READ.items():
        for status in statuses:
            for number, value in enumerate([*values[:5], *values[5::every]]):
                for line in (value, value + b"\r\n" + header + b": 7")[: 2 if number % every == 0 else 1]:
                    length = b"" if header == b"Content-Length" else b"Content-Length: %d\r\n" % len(body)
                    head = b"HTTP/1.1 %s\r\n%sConnection: close\r\n%s: %s\r\n\r\n" % (status, length, header, line)
                    yield f"{header.decode()} {status[:3].decode()}: {line[:60]!r}", head + body
