"""Bodies of HTTP requests and replies: chunks, compression, forms.

The standard library's server leaves chunked bodies and content codings to its user; lz4 (in frames) and zstd are what
ClickHouse's clients prefer.
"""

import importlib
import sys
import zlib
from collections.abc import Callable, Iterator
from email.message import Message
from io import BufferedIOBase
from typing import Protocol, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PIECE_BYTES = 1 << 20
CODINGS = ("lz4", "zstd", "gzip", "deflate")


# The package brings no types and no stubs; what is used of it is spelt out by the protocols below.
_lz4 = importlib.import_module("lz4.frame")


class BadBody(Exception):
    """The body of a request cannot be read: broken chunks, coding or form."""


class _Decoder(Protocol):
    eof: bool

    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _Encoder(Protocol):
    def begin(self) -> bytes: ...
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def raw_chunks(stream: BufferedIOBase, headers: Message) -> Iterator[bytes]:
    """Yield the body of a request in pieces of at most 1 MiB, whether sent with a length or in chunks."""
    if "chunked" not in headers.get("Transfer-Encoding", "").lower():
        yield from _exactly(stream, _number(headers.get("Content-Length", "0"), 10))
        return
    while size := _number(stream.readline(1026).partition(b";")[0].decode("latin-1"), 16):
        yield from _exactly(stream, size)
        if stream.readline(3) not in (b"\r\n", b"\n"):
            raise BadBody("a chunk does not end where it said")
    while stream.readline(65537) not in (b"\r\n", b"\n", b""):
        pass


def _number(text: str, base: int) -> int:
    try:
        value = int(text.strip(), base)
    except ValueError:
        raise BadBody(f"{text!r} is not the length of a chunk or body") from None
    if value < 0:
        raise BadBody(f"{text!r} is not a length")
    return value


def _exactly(stream: BufferedIOBase, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, _PIECE_BYTES))
        if not piece:
            raise BadBody(f"the connection ended {size} bytes early")
        size -= len(piece)
        yield piece


def decoded(chunks: Iterator[bytes], coding: str) -> Iterator[bytes]:
    """Undo the Content-Encoding of a body; several frames may follow one another."""
    if coding in ("", "identity"):
        yield from chunks
        return
    decoder = _decoder(coding)
    for chunk in chunks:
        while chunk:
            try:
                if decoder.eof:
                    decoder = _decoder(coding)
                data = decoder.decompress(chunk)
            except (RuntimeError, zstd.ZstdError, zlib.error) as error:
                raise BadBody(f"the body is not {coding}: {error}") from error
            if data:
                yield data
            chunk = (decoder.unused_data or b"") if decoder.eof else b""


def _decoder(coding: str) -> _Decoder:
    make: dict[str, Callable[[], object]] = {
        "lz4": _lz4.LZ4FrameDecompressor,
        "zstd": zstd.ZstdDecompressor,
        "gzip": lambda: zlib.decompressobj(31),
        "deflate": lambda: zlib.decompressobj(15),
    }
    if coding not in make:
        raise BadBody(f"Content-Encoding {coding!r} is not one of {', '.join(make)}")
    return cast(_Decoder, make[coding]())


def chosen_coding(accepted: str) -> str:
    """Return the first coding of an Accept-Encoding header that we speak, or nothing."""
    names = [name.partition(";")[0].strip().lower() for name in accepted.split(",")]
    return next((name for name in names if name in CODINGS), "")


def encoded(chunks: Iterator[bytes], coding: str) -> Iterator[bytes]:
    """Apply a Content-Encoding to a body, piece by piece."""
    if not coding:
        yield from chunks
        return
    compress: Callable[[bytes], bytes]
    flush: Callable[[], bytes]
    if coding == "lz4":
        frame = cast(_Encoder, _lz4.LZ4FrameCompressor())
        yield frame.begin()
        compress, flush = frame.compress, frame.flush
    elif coding == "zstd":
        stream = zstd.ZstdCompressor(level=1)
        compress, flush = stream.compress, stream.flush
    else:
        deflate = zlib.compressobj(1, wbits=31 if coding == "gzip" else 15)
        compress, flush = deflate.compress, deflate.flush
    for chunk in chunks:
        if data := compress(chunk):
            yield data
    yield flush()


def form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """Read the fields of a multipart form; a file (external data) is refused."""
    head = Message()
    head["Content-Type"] = content_type
    boundary = head.get_boundary()
    if not boundary:
        raise BadBody("the form has no boundary")
    fields: dict[str, str] = {}
    for part in body.split(b"--" + boundary.encode("latin-1"))[1:-1]:
        lines, _, value = part.partition(b"\r\n\r\n")
        disposition = Message()
        for line in lines.decode("utf-8").strip().splitlines():
            name, _, text = line.partition(":")
            disposition[name] = text.strip()
        name = disposition.get_param("name", header="Content-Disposition")
        if not isinstance(name, str):
            raise BadBody("a part of the form has no name")
        if disposition.get_filename() is not None:
            raise BadBody(f"external data ({name}) is not supported; insert it into a temporary table of a session")
        fields[name] = value.removesuffix(b"\r\n").decode("utf-8")
    return fields
