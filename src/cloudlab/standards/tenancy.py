"""What the rules about tenants ask of a table and its policies.

Standard: §4.1 Tenant Isolation Strategies
"""

from collections.abc import Iterator

from google.protobuf.message import Message

from cloudlab.standards.catalog import Catalog, Policy, Table
from cloudlab.standards.expressions import calls, columns, function_name

COLUMN = "tenant_id"
_REGISTRIES = {"tenant", "tenants"}


def is_shared(table: Table) -> bool:
    """Whether rows of several tenants stand in a table: it has tenant_id and is not the list of tenants itself."""
    return COLUMN in table.columns and not is_registry(table) and not table.is_temporary


def is_registry(table: Table) -> bool:
    """Whether a table is the list of tenants: one row for each, and no other list that it refers to."""
    key = table.primary_key
    refers = any(COLUMN in one.columns for one in table.of_kind("f"))
    return table.name in _REGISTRIES or bool(key and key.columns == (COLUMN,) and not refers)


def shared_tables(catalog: Catalog) -> Iterator[Table]:
    """Yield the tables that several tenants share, as far as it is known how they are protected."""
    return (table for table in catalog.real_tables() if is_shared(table) and not table.is_opaque)


def conditions(policy: Policy) -> Iterator[Message]:
    """Yield the conditions of a policy that are understood."""
    for condition in (policy.using, policy.with_check):
        if condition and condition.tree:
            yield condition.tree


def asks_for_tenant(policy: Policy) -> bool:
    """Whether a policy looks at the tenant: at its column, or by a function or a setting named for it."""
    return any(
        COLUMN in columns(tree) or any("tenant" in function_name(call) for call in calls(tree))
        for tree in conditions(policy)
    )


def is_always_true(policy: Policy) -> bool:
    """Whether a policy lets everything through, read or written."""
    texts = [one.text.strip("() ").lower() for one in (policy.using, policy.with_check) if one]
    return bool(texts) and all(text == "true" for text in texts)


def overlap(one: Policy, other: Policy) -> bool:
    """Whether two policies speak of the same command for the same role."""
    commands = {one.command, other.command}
    roles = set(one.roles) & set(other.roles) or "public" in (*one.roles, *other.roles)
    return bool(roles) and ("all" in commands or len(commands) == 1)
