"""CloudLab: the data platform of a distributed, multi-tenant shop.

async with Platform.open() as platform:
    acme = await platform.create_tenant("acme")
    async with platform.session(acme) as s:
        ...
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudlab.config import Config
    from cloudlab.errors import CloudLabError
    from cloudlab.events.projections import InlineProjection, Projection, Stores
    from cloudlab.platform import Platform
    from cloudlab.session import Session
    from cloudlab.tenancy.tenants import Placement, Tenant
    from cloudlab.values import Event, Money, NewEvent, Page, Stream
    from cloudlab.worker import Worker

__all__ = [
    "CloudLabError",
    "Config",
    "Event",
    "InlineProjection",
    "Money",
    "NewEvent",
    "Page",
    "Placement",
    "Platform",
    "Projection",
    "Session",
    "Stores",
    "Stream",
    "Tenant",
    "Worker",
]

# Loaded when it is asked for: `cloudlab check` needs none of it, and an editor runs that at every save.
_HOMES = {
    "CloudLabError": "cloudlab.errors",
    "Config": "cloudlab.config",
    "Event": "cloudlab.values",
    "InlineProjection": "cloudlab.events.projections",
    "Money": "cloudlab.values",
    "NewEvent": "cloudlab.values",
    "Page": "cloudlab.values",
    "Placement": "cloudlab.tenancy.tenants",
    "Platform": "cloudlab.platform",
    "Projection": "cloudlab.events.projections",
    "Session": "cloudlab.session",
    "Stores": "cloudlab.events.projections",
    "Stream": "cloudlab.values",
    "Tenant": "cloudlab.tenancy.tenants",
    "Worker": "cloudlab.worker",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
