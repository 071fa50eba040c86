from pathlib import Path

from ci.image.root_files import partition_offsets, quote, script

TABLE = """{"partitiontable": {"label": "gpt", "unit": "sectors", "sectorsize": 512, "partitions": [
  {"node": "x14", "start": 2048, "size": 8192}, {"node": "x1", "start": 227328, "size": 4382720},
  {"node": "x15", "start": 10240, "size": 217088}]}}"""


def test_the_largest_partition_comes_first() -> None:
    assert partition_offsets(TABLE) == [227328 * 512, 10240 * 512, 2048 * 512]


def test_files_go_to_their_places_below_the_target() -> None:
    assert script(["/etc/apt", "/var/lib/dpkg/status"], Path("/work/a b")) == (
        'rdump "/etc/apt" "/work/a b/etc"\nrdump "/var/lib/dpkg/status" "/work/a b/var/lib/dpkg"\n'
    )


def test_a_quote_in_a_name_is_doubled() -> None:
    assert quote('a"b') == '"a""b"'
