"""What a server says of itself: settings, roles, and how its tables and sequences do.

Standard: §11 Best Practices
"""

from typing import Any, LiteralString

from psycopg import AsyncConnection

from cloudlab.standards.rule import Server

_FACTS: dict[str, LiteralString] = {
    "roles": """
        SELECT /* reading_server.roles */ r.rolname AS role, r.rolsuper AS superuser, r.rolbypassrls AS bypasses,
               r.rolcanlogin AS can_login,
               r.rolname = current_user AS is_ours
        FROM pg_roles AS r WHERE r.rolname !~ '^pg_'
    """,
    "sequences": """
        SELECT /* reading_server.sequences */ s.schemaname || '.' || s.sequencename AS sequence, s.last_value,
               s.max_value, s.cycle
        FROM pg_sequences AS s WHERE s.last_value IS NOT NULL
    """,
    "unused_indexes": """
        SELECT /* reading_server.unused_indexes */ s.schemaname || '.' || s.relname AS table,
               quote_ident(s.schemaname) || '.' || quote_ident(s.indexrelname) AS index,
               pg_relation_size(s.indexrelid) AS size, t.idx_scan AS used_others,
               extract(epoch FROM now() - greatest(d.stats_reset, pg_postmaster_start_time()))::float8 / 86400 AS days
        FROM pg_stat_user_indexes AS s
        JOIN pg_stat_user_tables AS t ON t.relid = s.relid
        JOIN pg_stat_database AS d ON d.datname = current_database()
        JOIN pg_index AS i ON i.indexrelid = s.indexrelid
        WHERE s.idx_scan = 0 AND NOT i.indisunique AND NOT i.indisexclusion AND i.indisvalid
          AND NOT EXISTS (SELECT FROM pg_constraint AS o
                          WHERE o.contype = 'f' AND o.conrelid = i.indrelid
                            AND o.conkey[1] = ANY (i.indkey::smallint[]))
    """,
    "tables": """
        SELECT /* reading_server.tables */ s.schemaname || '.' || s.relname AS name, s.n_live_tup AS live,
               s.n_dead_tup AS dead, s.seq_scan, s.idx_scan,
               greatest(s.last_analyze, s.last_autoanalyze) AS analyzed, s.n_mod_since_analyze AS changed,
               CASE WHEN c.relkind = 'p' THEN 0 ELSE age(c.relfrozenxid) END AS xid_age, c.reloptions AS options
        FROM pg_stat_user_tables AS s JOIN pg_class AS c ON c.oid = s.relid
    """,
    "databases": """
        SELECT /* reading_server.databases */ d.datname AS name, age(d.datfrozenxid) AS xid_age,
               s.stats_reset AS since
        FROM pg_database AS d LEFT JOIN pg_stat_database AS s ON s.datid = d.oid WHERE d.datname = current_database()
    """,
    "extensions": """
        SELECT /* reading_server.extensions */ e.extname AS name, e.extversion AS version FROM pg_extension AS e
    """,
    "connections": """
        SELECT /* reading_server.connections */ coalesce(s.ssl, false) AS ssl, a.client_addr IS NOT NULL AS is_remote,
               a.usename AS role
        FROM pg_stat_activity AS a LEFT JOIN pg_stat_ssl AS s ON s.pid = a.pid
        WHERE a.backend_type = 'client backend' AND a.datname = current_database()
    """,
}
# What only a superuser may see, and who may not gets no row.
_GUARDED: dict[str, tuple[LiteralString, LiteralString]] = {
    "hba": (
        "SELECT /* reading_server.may_hba */ has_function_privilege('pg_hba_file_rules()', 'execute') AS may",
        """
        SELECT /* reading_server.hba */ h.line_number AS line, h.type, h.address, h.auth_method AS method
        FROM pg_hba_file_rules AS h WHERE h.auth_method IS NOT NULL
        """,
    ),
    "passwords": (
        "SELECT /* reading_server.may_passwords */ has_table_privilege('pg_authid', 'select') AS may",
        """
        SELECT /* reading_server.passwords */ a.rolname AS role, left(a.rolpassword, 3) AS kind
        FROM pg_authid AS a WHERE a.rolcanlogin AND a.rolpassword IS NOT NULL
        """,
    ),
}


async def read_server(conn: AsyncConnection[dict[str, Any]]) -> Server:
    """Return a server's settings and facts; what this login may not see is left out. Cost: about ten queries."""
    rows = await (
        await conn.execute("SELECT /* reading_server.settings */ s.name, s.setting FROM pg_settings AS s")
    ).fetchall()
    facts = {name: await (await conn.execute(query)).fetchall() for name, query in _FACTS.items()}
    for name, (may, query) in _GUARDED.items():
        allowed = await (await conn.execute(may)).fetchone()
        if allowed and allowed["may"]:
            facts[name] = await (await conn.execute(query)).fetchall()
    return Server(conn.info.server_version // 10000, {row["name"]: row["setting"] for row in rows}, facts)
