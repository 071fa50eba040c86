"""What can be wrong on the way to a server, told apart: the way itself, which passes, and what this machine is told."""

import http.client
import re
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from ci.fetch.limits import passes
from ci.fetch.source import TransientError, public_url
from ci.host.errors import FetchError

# What the libraries raise for what a server, or the way to it, does; ValueError is for a name that is no name in DNS.
FAILURES = (
    requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError,
)  # fmt: skip
PASSING = (
    requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.ProtocolError, http.client.HTTPException, ConnectionError,
)  # fmt: skip


def is_proxy(proxy: str) -> bool:
    """Whether it is one that this project can use. SOCKS would be a library more in each consumer's file."""
    try:
        parts = urlsplit(_as_url(proxy))
        return parts.scheme.lower() in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _as_url(proxy: str) -> str:
    return proxy if "://" in proxy else f"http://{proxy}"


def _shown(proxy: str) -> str:
    """Without its password, whatever that has in it."""
    scheme, _, rest = _as_url(proxy).partition("://")
    return public_url(f"{scheme}://{rest.rpartition('@')[2]}")


def proxy_error(url: str, proxy: str, what: str) -> FetchError:
    return FetchError(
        f"the proxy {_shown(proxy)}, which the environment names for {urlsplit(url).scheme}, {what}",
        hint="https_proxy, http_proxy and all_proxy take http://HOST:PORT or http://USER:PASSWORD@HOST:PORT; SOCKS is "
        "not supported. no_proxy lists servers that need none.",
    )


def classified(url: str, error: Exception) -> Exception:
    """What a failure on the way is: TransientError, or FetchError where another attempt would end the same."""
    shown, words = public_url(url), str(error)
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return FetchError(
            f"{shown}: the server's certificate cannot be verified{_reason(words)}",
            hint="Check the machine's clock. Where an authority of your own signs for servers, or for a proxy that "
            "reads along, REQUESTS_CA_BUNDLE names the file with its certificate.",
        )
    if isinstance(error, requests.exceptions.SSLError) and "EOF" not in words:
        return FetchError(
            f"{shown}: no TLS with this server{_reason(words)}",
            hint="Check that the URL, or the proxy, is to be asked by https. REQUESTS_CA_BUNDLE, if it is set, has to "
            "name a file of certificates.",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return _of_proxy(url, error)
    if isinstance(error, PASSING):
        return TransientError(cause(error, "no connection"))
    why = cause(error, "it is no address, or what is there cannot be read")
    return FetchError(f"{shown} cannot be fetched: {why}", hint="Check the URL.")


def _of_proxy(url: str, error: requests.exceptions.ProxyError) -> Exception:
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url)) or ""
    refusal = re.search(r"Tunnel connection failed: (\d{3})", str(error))
    if refusal and not passes(int(refusal[1])):
        return proxy_error(url, proxy, f"refuses this: status {refusal[1]}")
    return TransientError(f"the proxy {_shown(proxy)}: {cause(error, 'no connection')}")


def _reason(words: str) -> str:
    """OpenSSL's word for what is wrong, from the libraries' wrapping."""
    found = re.search(r"certificate verify failed: ([^()]{1,200})", words) or re.search(r"\[\w+: (\w+)\]", words)
    return f" ({found[1].strip()})" if found else ""


def cause(error: BaseException, otherwise: str) -> str:
    """The operating system's words for what went wrong, from deep within the libraries' wrapping."""
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return "the server did not answer in time"
    current: BaseException | None = error
    words = otherwise
    while current:
        if isinstance(current, OSError) and current.strerror:
            words = current.strerror
        current = current.__cause__ or current.__context__
    return words
