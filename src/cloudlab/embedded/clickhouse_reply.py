"""How ClickHouse answers over HTTP: the status of each error, the headers, the error inside a stream."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping

from cloudlab.embedded.clickhouse_session import Outcome, QueryFailed

_BAD_REQUEST = (6, 26, 27, 33, 36, 38, 39, 40, 41, 43, 53, 62, 69, 70, 72, 117, 130, 131, 321, 427)
_UNKNOWN_NAME = (16, 46, 47, 50, 56, 60, 63, 73, 81, 115, 152, 372)
_STATUS: Mapping[int, int] = (
    dict.fromkeys(_BAD_REQUEST, 400)
    | dict.fromkeys(_UNKNOWN_NAME, 404)
    | {48: 501, 159: 408, 164: 403, 192: 403, 193: 403, 194: 401, 202: 503, 373: 423, 516: 403}
)
_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "JSON": "application/json; charset=UTF-8",
}


def status_of(failed: QueryFailed) -> int:
    """Return the HTTP status that ClickHouse gives this error; most are 500."""
    return _STATUS.get(failed.code, 500)


def common_headers(params: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of every answer."""
    return {
        "X-ClickHouse-Query-Id": params.get("query_id") or str(uuid.uuid4()),
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Server-Display-Name": "cloudlab",
    }


def format_headers(name: str) -> dict[str, str]:
    """Return the headers of an answer with rows in this format."""
    return {"X-ClickHouse-Format": name, "Content-Type": _CONTENT_TYPES.get(name, "application/octet-stream")}


def summary_headers(outcome: Outcome, started_ns: int) -> dict[str, str]:
    """Return X-ClickHouse-Summary, numbers as strings as ClickHouse writes them."""
    summary = {
        "read_rows": outcome.read_rows,
        "read_bytes": outcome.read_bytes,
        "written_rows": outcome.written_rows,
        "written_bytes": outcome.written_bytes,
        "total_rows_to_read": outcome.read_rows,
        "result_rows": outcome.result_rows,
        "result_bytes": len(outcome.body) or outcome.written_bytes,
        "elapsed_ns": time.monotonic_ns() - started_ns,
    }
    texts = {name: str(value) for name, value in summary.items()}
    return {"X-ClickHouse-Summary": json.dumps(texts, separators=(",", ":"))}


def tagged(first: bytes, blocks: Iterator[bytes], tag: str) -> Iterator[bytes]:
    """Yield the blocks of a stream; should one fail, the error follows them between marks that carry the tag."""
    try:
        yield first
        yield from blocks
    except QueryFailed as failed:
        mark, text = tag.encode(), failed.text.encode()
        head = b"\r\n__exception__\r\n" + mark + b"\r\n"
        yield head + text + b"\n%d " % (len(text) + 1) + mark + b"\r\n__exception__\r\n"
