"""What can be set for a tenant: each setting has a type and bounds; what is not known is refused by name.

They stand in `tenants.settings` of the control database. The limits keep one tenant from starving the rest.

Standard: §4.2 Tenant Configuration
"""

import difflib
import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from cloudlab.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """The settings of one tenant; None is the default of the installation, for limits: none.

    Attributes:
        sessions_max: Sessions at the same time in one process; more of them wait.
        statement_timeout_seconds: Bound on a statement, if that is less than the installation's.
        rows_per_second: Rows read and written in one process; who has had more waits.
        currency: ISO 4217 currency that applies where none is named.
        time_zone: IANA name of the zone of its days.
        locale: BCP 47 tag of its language.
    """

    sessions_max: int | None = None
    statement_timeout_seconds: float | None = None
    rows_per_second: float | None = None
    currency: str | None = None
    time_zone: str | None = None
    locale: str | None = None


def _whole(value: object) -> int:
    if isinstance(value, bool) or (number := int(str(value))) < 1:
        raise ValueError("a whole number of 1 or more")
    return number


def _positive(value: object) -> float:
    if isinstance(value, bool) or not 0 < (number := float(str(value))) < 1e9:
        raise ValueError("a positive number")
    return number


def _matching(pattern: str, what: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not re.fullmatch(pattern, str(value)):
            raise ValueError(what)
        return str(value)

    return check


def _zone(value: object) -> str:
    if str(value) not in zoneinfo.available_timezones():
        raise ValueError("the IANA name of a time zone, such as Europe/Berlin")
    return str(value)


_CHECKS: dict[str, tuple[Callable[[object], object], str]] = {
    "sessions_max": (_whole, "a whole number of 1 or more"),
    "statement_timeout_seconds": (_positive, "a positive number of seconds"),
    "rows_per_second": (_positive, "a positive number"),
    "currency": (_matching("[A-Z]{3}", ""), "three capitals, such as EUR"),
    "time_zone": (_zone, "the IANA name of a time zone, such as Europe/Berlin"),
    "locale": (_matching(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*", ""), "a BCP 47 tag, such as de-DE"),
}
NAMES = tuple(item.name for item in fields(TenantSettings))


def checked(changes: Mapping[str, object]) -> dict[str, object]:
    """Return settings as they are stored; None, to go back to the default, stays None.

    Raises:
        InvalidInput: A setting is not known, or its value is not of its kind.
    """
    found: dict[str, object] = {}
    for name, value in changes.items():
        if name not in _CHECKS:
            near = difflib.get_close_matches(name, NAMES, 1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(NAMES)}."
            raise InvalidInput(f"there is no setting {name!r}", hint=hint)
        check, what = _CHECKS[name]
        try:
            found[name] = None if value is None else check(value)
        except ValueError:
            raise InvalidInput(f"{name} must be {what}, not {value!r}") from None
    return found


def parse(stored: Mapping[str, object]) -> TenantSettings:
    """Read stored settings; one that a newer version has written is left out."""
    known = checked({name: value for name, value in stored.items() if name in _CHECKS})
    return TenantSettings(**cast(dict[str, Any], known))
