"""OB08: the server can be restored to any time.

Standard: §11.3 Operational Excellence
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Server

_MANAGED = ("rds.", "cloudsql.", "azure.", "neon.", "aurora.", "alloydb.", "supautils.")


def _check(server: Server) -> Iterator[Found]:
    settings = server.settings
    if any(name.startswith(_MANAGED) for name in settings):
        return  # the provider archives by other means
    if settings.get("wal_level") == "minimal":
        yield Found("wal_level is minimal: neither a base backup nor a standby can be made", name="wal_level",
                    remedy="ALTER SYSTEM SET wal_level = 'replica'; and restart.")  # fmt: skip
    elif settings.get("archive_mode") == "off":
        yield Found("archive_mode is off: what came after the last base backup is gone with the disk",
                    name="archive_mode")  # fmt: skip
    elif settings.get("archive_mode") in {"on", "always"}:
        command, library = settings.get("archive_command", ""), settings.get("archive_library", "")
        if not library and command.strip() in {"", "(disabled)", "true", "/bin/true", "exit 0"}:
            yield Found("archive_mode is on and nothing archives: the WAL is thrown away or fills the disk",
                        name="archive_command")  # fmt: skip


RULE = Rule(
    id="OB08",
    title="The server can be restored to any time",
    heading="§11.3 Operational Excellence",
    level=Level.WARNING,
    why="A backup of last night is a day of orders lost. The archived WAL brings back all of them but the last"
    " seconds.",
    remedy="archive_mode = on, and an archive_library or archive_command that copies to another machine.",
    server=_check,
)
