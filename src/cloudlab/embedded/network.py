"""Free ports of the loopback interface."""

import secrets
import socket
from collections.abc import Collection

# Below the range that systems hand out to outgoing connections, so that a port kept for a server stays free for it.
_FIRST, _LAST = 20_000, 31_999


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(preferred: int | None = None, *, taken: Collection[int] = ()) -> int:
    """Return the preferred port if it is free, else a random free one; `taken` are promised to other servers."""
    if preferred and preferred not in taken and is_free(preferred):
        return preferred
    while True:
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        if port not in taken and is_free(port):
            return port
