"""Pages of a list, and the Link header that leads from one to the next."""

from collections.abc import Sequence
from typing import TypeVar

from aiohttp import web

ItemT = TypeVar("ItemT")

DEFAULT_PER_PAGE = 30
MAX_PER_PAGE = 100


def page_of(request: web.Request, items: Sequence[ItemT]) -> tuple[Sequence[ItemT], dict[str, str]]:
    """The page that is asked for, and the headers that go with it.

    https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
    """
    size = min(max(_number(request, "per_page", DEFAULT_PER_PAGE), 1), MAX_PER_PAGE)
    page = max(_number(request, "page", 1), 1)
    last = max(-(-len(items) // size), 1)
    places = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    if page >= last:
        places.pop("next"), places.pop("last")
    if page == 1:
        places.pop("prev"), places.pop("first")
    links = [f'<{request.url.update_query(page=str(number))}>; rel="{name}"' for name, number in places.items()]
    return items[(page - 1) * size : page * size], {"Link": ", ".join(links)} if links else {}


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isdecimal() else default
