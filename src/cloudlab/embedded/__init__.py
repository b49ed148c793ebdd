"""The embedded stack: PostgreSQL, Valkey and ClickHouse on one machine, for development, tests and small installations.

    runtime = await embedded.up(Path(".cloudlab"))     # runtime.config is how to reach them
    await embedded.down(Path(".cloudlab"))

Standard: §1.1 Technology Stack
"""

from cloudlab.embedded.doctor import Diagnosis, doctor
from cloudlab.embedded.runtime import DEFAULT_SHARDS, Runtime, ServerRecord
from cloudlab.embedded.stack import ServerStatus, down, status, up

__all__ = ["DEFAULT_SHARDS", "Diagnosis", "Runtime", "ServerRecord", "ServerStatus", "doctor", "down", "status", "up"]
