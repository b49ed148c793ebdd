"""Start the owner process without importing the rest of CloudLab.

`python -m cloudlab.embedded.clickhouse_owner` works as well, but first runs `cloudlab/__init__.py` and with it every
driver: 40 MiB and 0.3 s for nothing. Run by its path, this file puts two empty packages in their place.
"""

import runpy
import sys
from pathlib import Path
from types import ModuleType


def _empty_package(name: str, folder: Path) -> None:
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    _empty_package("cloudlab", here.parent)
    _empty_package("cloudlab.embedded", here)
    runpy.run_module("cloudlab.embedded.clickhouse_owner", run_name="__main__", alter_sys=True)
