"""What a check of `cloudlab doctor` has found."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["OK", "WARNING", "CRITICAL", "UNKNOWN"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One check: what was looked at, how it is, and what to do about it. No data is UNKNOWN, never OK."""

    check: str
    level: Level
    message: str
    remedy: str = ""
