"""Everything that can go wrong, as one tree.

A class exists where a caller would do something different. Its docstring is the default message; its code, HTTP status,
whether trying again may help, and a hint are class attributes, so the command line, the HTTP API and the documentation
say the same thing.

    CloudLabError
    ├── ConfigError             a setting is missing, unknown or malformed
    ├── NotFound                the thing named does not exist in this tenant
    ├── Forbidden               the caller may not do this
    │   └── TenantSuspended
    ├── InvalidInput            the value given cannot be accepted
    │   ├── BadCursor
    │   └── BadMoney
    ├── Conflict                the state of the data forbids it
    │   ├── VersionConflict     somebody else changed it first
    │   ├── OutOfStock
    │   ├── IllegalTransition
    │   ├── Duplicate
    │   └── KeyReused           an idempotency key with another request
    ├── Unavailable             try again, nothing was changed
    │   ├── SerializationFailed
    │   ├── TimedOut
    │   ├── WrongShard          the tenant does not live where the directory said
    │   └── CommitUnknown       it may or may not have happened: look before trying again
    ├── PaymentFailed           the provider declined
    ├── PaymentUnknown          the provider has not answered: ask again with the same key
    ├── MigrationError
    │   └── ChecksumChanged
    ├── ProjectionFailed        a batch of events could not be applied; it will be tried again
    ├── EmbeddedError           a server of the embedded stack could not be started or stopped
    └── InvariantBroken         a check of the platform's own promises failed

Standard: §2 Constraints are enforced by the database; this module gives their refusals a name.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg


class CloudLabError(Exception):
    """Something went wrong in CloudLab."""

    code = "CL000"
    status = 500
    retryable = False
    hint = ""

    def __init__(self, message: str | None = None, *, hint: str | None = None, details: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.details = details
        if hint is not None:
            self.hint = hint
        super().__init__(self.message)

    def as_dict(self) -> dict[str, str]:
        """Return the four fields of an error body: code, message, details, hint."""
        return {"code": self.code, "message": self.message, "details": self.details, "hint": self.hint}


class ConfigError(CloudLabError):
    """The configuration cannot be used."""

    code = "CL100"
    hint = "Compare cloudlab.toml and the CLOUDLAB_ variables with docs/reference/settings.md."


class NotFound(CloudLabError):
    """No such thing in this tenant."""

    code = "CL200"
    status = 404


class Forbidden(CloudLabError):
    """This is not allowed."""

    code = "CL300"
    status = 403


class TenantSuspended(Forbidden):
    """The tenant is suspended."""

    code = "CL301"
    hint = "An operator can resume the tenant."


class InvalidInput(CloudLabError):
    """The value given cannot be accepted."""

    code = "CL400"
    status = 422


class BadCursor(InvalidInput):
    """This is not a cursor of this listing."""

    code = "CL401"
    hint = "Pass the `next` of the previous page unchanged, or start without a cursor."


class BadMoney(InvalidInput):
    """This is not an amount of money."""

    code = "CL402"
    hint = 'Write amounts as decimal strings with a currency, for example Money("49.99", "EUR").'


class Conflict(CloudLabError):
    """The state of the data forbids it."""

    code = "CL500"
    status = 409


class VersionConflict(Conflict):
    """Another transaction changed it first."""

    code = "CL501"
    hint = "Read it again and decide anew."


class OutOfStock(Conflict):
    """There is not enough stock."""

    code = "CL502"
    hint = "Order less, or wait until stock is received."


class IllegalTransition(Conflict):
    """The order cannot go from its state to that one."""

    code = "CL503"
    hint = "See the order states in docs/explanation/orders.md."


class Duplicate(Conflict):
    """It exists already."""

    code = "CL504"


class KeyReused(Conflict):
    """This idempotency key was used for a different request."""

    code = "CL505"
    status = 422
    hint = "Use a new key for a new request; repeat a request unchanged to get its first answer."


class Unavailable(CloudLabError):
    """The service cannot answer now."""

    code = "CL600"
    status = 503
    retryable = True
    hint = "Try again; nothing was changed."


class SerializationFailed(Unavailable):
    """The transaction lost against a concurrent one."""

    code = "CL601"


class TimedOut(Unavailable):
    """The statement, lock or connection took longer than allowed."""

    code = "CL602"


class WrongShard(Unavailable):
    """The tenant does not live on this shard, or its placement has changed."""

    code = "CL603"
    hint = "Read the tenant's placement again."


class LeaseLost(Unavailable):
    """Another worker has this lane of the projection now."""

    code = "CL605"
    hint = "Nothing of this batch was kept; the other worker applies it."


class CommitUnknown(Unavailable):
    """The connection was lost while committing; the transaction may or may not have happened."""

    code = "CL604"
    retryable = False
    hint = "Repeat the command with the same idempotency key, or read whether it took effect."


class PaymentFailed(CloudLabError):
    """The payment did not go through."""

    code = "CL700"
    status = 402


class PaymentUnknown(CloudLabError):
    """The payment provider has not answered; the money may have moved or not."""

    code = "CL701"
    status = 503
    retryable = True
    hint = "Ask again with the same idempotency key; a new key could charge twice."


class MigrationError(CloudLabError):
    """The migration cannot be applied."""

    code = "CL800"


class ChecksumChanged(MigrationError):
    """A migration that was applied has been changed or removed."""

    code = "CL801"
    hint = "Restore the file as it was applied and write the change as a new migration."


class ProjectionFailed(CloudLabError):
    """A projection could not apply a batch; its checkpoint stands before it."""

    code = "CL850"
    retryable = True
    hint = "The batch is tried again; `last_error` of its checkpoint says what is wrong."


class EmbeddedError(CloudLabError):
    """The embedded stack could not be started or stopped."""

    code = "CL900"
    hint = "Run `cloudlab doctor`."


class InvariantBroken(CloudLabError):
    """A promise of the platform does not hold."""

    code = "CL950"
    hint = "Stop writing, keep the evidence, and restore from a backup if the cause is not found."


def _unique(diag: "psycopg.errors.Diagnostic", text: str) -> CloudLabError:
    return Duplicate(f"{diag.table_name or 'a row'}: {diag.message_detail or text}", details=diag.constraint_name or "")


def _check(diag: "psycopg.errors.Diagnostic", text: str) -> CloudLabError:
    name = diag.constraint_name or ""
    if name in {"chk_inventory_available_not_negative", "chk_inventory_reserved_not_negative"}:
        return OutOfStock(details=diag.message_detail or "")
    return InvalidInput(f"{diag.table_name}: the value breaks {name}", details=diag.message_detail or text)


def _raised(kind: type[CloudLabError]) -> Callable[["psycopg.errors.Diagnostic", str], CloudLabError]:
    def build(diag: "psycopg.errors.Diagnostic", text: str) -> CloudLabError:
        return kind(diag.message_primary or text, details=diag.message_detail or "", hint=diag.message_hint)

    return build


# The CL… states are raised by our own SQL functions; the rest are PostgreSQL's.
_BY_SQLSTATE: dict[str, Callable[["psycopg.errors.Diagnostic", str], CloudLabError]] = {
    "CL001": _raised(WrongShard),
    "CL002": _raised(TenantSuspended),
    "CL003": _raised(LeaseLost),
    "CL200": _raised(NotFound),
    "CL400": _raised(InvalidInput),
    "CL402": _raised(BadMoney),
    "CL500": _raised(Conflict),
    "CL501": _raised(VersionConflict),
    "CL502": _raised(OutOfStock),
    "CL503": _raised(IllegalTransition),
    "CL505": _raised(KeyReused),
    "23505": _unique,
    "23514": _check,
    "23502": _raised(InvalidInput),
    "23503": _raised(InvalidInput),
    "22003": _raised(InvalidInput),
    "22001": _raised(InvalidInput),
    "42501": _raised(Forbidden),
    "40001": _raised(SerializationFailed),
    "40P01": _raised(SerializationFailed),
    "55P03": _raised(TimedOut),
    "57014": _raised(TimedOut),
    "25P03": _raised(TimedOut),
}


def from_postgres(error: "psycopg.Error") -> CloudLabError:
    """Translate what PostgreSQL said, by SQLSTATE and constraint name, into one of ours.

    An SQLSTATE without a meaning for callers becomes a plain CloudLabError; a lost connection becomes Unavailable.
    Raise the result `from` the original, which keeps the statement's own diagnosis.
    """
    import psycopg  # noqa: PLC0415  it is there where one of its errors is, and a check of files needs no driver

    state = error.sqlstate or ""
    text = str(error).strip()
    if build := _BY_SQLSTATE.get(state):
        return build(error.diag, text)
    if isinstance(error, psycopg.OperationalError) or state[:2] in {"08", "53", "57"}:
        return Unavailable(text or None, details=state)
    return CloudLabError(text or None, details=state)
