"""CloudLab: the data platform of a distributed, multi-tenant shop.

async with Platform.open() as platform:
    acme = await platform.create_tenant("acme")
    async with platform.session(acme) as s:
        ...
"""

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
