"""The entry point: runs a command, and every error becomes a message and an exit code."""

import gc
import sys
from importlib import import_module

from cloudlab.cli import quick
from cloudlab.errors import CloudLabError

_CHECKS = ("check", "rules")


def main() -> None:
    """Run the command line; a CloudLabError becomes a message, a hint and an exit code.

    The checker runs at every save of a file in an editor: it is started without the rest, which takes a second to load.
    """
    checks = sys.argv[1:2] and sys.argv[1] in _CHECKS
    if checks:
        gc.disable()  # its model lives as long as the process: looking for garbage in it only takes time
    try:
        code = quick.run(sys.argv[2:]) if sys.argv[1:2] == ["check"] else None
        if code is None:
            import_module("cloudlab.cli.check" if checks else "cloudlab.cli.commands").app()
    except CloudLabError as error:
        terminal = import_module("cloudlab.cli.terminal")
        terminal.report(error, as_json="--json" in sys.argv)
        code = terminal.exit_code(error)
    sys.exit(code)
