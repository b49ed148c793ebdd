"""What `cloudlab check` is asked to do: its targets and options, before anything of them is looked at.

Standard: §11.3 Operational Excellence
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """What to check and how to report it.

    Attributes:
        targets: URLs of databases, files, folders, `-` for standard input.
        style: The format of the report.
        select: Ids or families of the rules to ask; empty for the choice of the project.
        ignore: Ids or families not to ask, besides those of the project.
        fail_on: The level from which on the check has failed.
        baseline: A file with findings that are known.
        write_baseline: Write all findings to it.
        since: Report only what stands in files that changed since this commit.
        stdin_name: What standard input is called.
        explain: The id of a rule: show what it looked at and decided.
        fix: A folder for a migration that mends what can be mended, or `-` to print it.
        use_cache: Whether a result may be one that was kept.
    """

    targets: tuple[str, ...]
    style: str = "text"
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: str = "error"
    baseline: str = ""
    write_baseline: bool = False
    since: str = ""
    stdin_name: str = "<stdin>"
    explain: str = ""
    fix: str = ""
    use_cache: bool = True
