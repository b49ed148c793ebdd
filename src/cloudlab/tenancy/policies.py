"""What must hold of a shard's catalog for tenants to be separated; each rule is a query that returns the breaches.

The rules read the catalog alone, so they judge a table that nobody has filled or attacked yet; `attacks` tries it.

Standard: §4.1 Row-Level Security (RLS), §9.2 Role-Based Access, §9.2 Row-Level Security
"""

from dataclasses import dataclass
from typing import LiteralString

from cloudlab.schema.postgres import connect


@dataclass(frozen=True, slots=True)
class Breach:
    """Something in the catalog by which tenants could meet: where, what, and how to mend it."""

    rule: str
    place: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """A name, a remedy, and a query of (place, message) for every breach."""

    name: str
    remedy: str
    query: LiteralString


_PROTECT = "Call protect_table(…) in the migration that makes the table."

_RULES = (
    _Rule(
        "forced",
        _PROTECT,
        """
        SELECT /* policies.lint */ c.oid::regclass::text,
            CASE WHEN c.relrowsecurity THEN 'FORCE is missing: the owner sees all tenants'
                 ELSE 'row level security is off: everybody with a grant sees all tenants' END
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
        """,
    ),
    # A partition has no policy and no grant of its own: addressed directly it shows nothing to anybody.
    # tenant_local is written by its owner alone; its tenants see their own row by a permissive policy.
    _Rule(
        "tenant policy",
        _PROTECT,
        """
        SELECT /* policies.lint */ c.oid::regclass::text,
            CASE WHEN p.oid IS NULL THEN 'there is no tenant_isolation_policy'
                 WHEN p.polpermissive THEN 'the tenant policy is permissive: another policy can open what it closes'
                 WHEN p.polcmd IN ('r', 'a', 'w', 'd') THEN 'the tenant policy is not FOR ALL'
                 WHEN p.polqual IS NULL OR pg_get_expr(p.polqual, c.oid) <> x.expression
                     THEN 'USING of the tenant policy is ' || coalesce(pg_get_expr(p.polqual, c.oid), 'missing')
                 WHEN p.polwithcheck IS NULL OR pg_get_expr(p.polwithcheck, c.oid) <> x.expression
                     THEN 'WITH CHECK of the tenant policy is '
                         || coalesce(pg_get_expr(p.polwithcheck, c.oid), 'missing')
                 ELSE 'the tenant policy does not bind every application role' END
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        CROSS JOIN (VALUES ('(tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))')) AS x (expression)
        LEFT JOIN pg_policy AS p ON p.polrelid = c.oid AND p.polname = 'tenant_isolation_policy'
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND c.oid IS DISTINCT FROM to_regclass('cloudlab.tenant_local')
          -- Nobody but the owner, or the worker, who sees all tenants, has anything to do with it: FORCE is enough.
          AND (p.oid IS NOT NULL OR EXISTS (
              SELECT FROM aclexplode(c.relacl) AS g LEFT JOIN pg_roles AS r ON r.oid = g.grantee
              WHERE g.grantee <> c.relowner AND r.rolname IS DISTINCT FROM 'platform_worker'))
          AND (p.oid IS NULL OR p.polpermissive OR p.polcmd IN ('r', 'a', 'w', 'd')
               OR pg_get_expr(p.polqual, c.oid) IS DISTINCT FROM x.expression
               OR pg_get_expr(p.polwithcheck, c.oid) IS DISTINCT FROM x.expression
               OR NOT p.polroles @> ARRAY(SELECT r.oid FROM pg_roles AS r WHERE r.rolname IN
                   ('application_readonly', 'application_readwrite', 'application_admin')))
        """,
    ),
    _Rule(
        "tenant function",
        "Restore current_tenant() as shard/001_access.sql makes it.",
        """
        SELECT /* policies.lint */ 'cloudlab.current_tenant()',
            'it is not nullif(current_setting(…, true), ''''): without a tenant it raises, or returns something'
        WHERE NOT EXISTS (
            SELECT FROM pg_proc AS p
            WHERE p.oid = to_regprocedure('cloudlab.current_tenant()') AND NOT p.prosecdef AND p.provolatile = 's'
              AND btrim(p.prosrc) =
                  'SELECT nullif(pg_catalog.current_setting(''app.current_tenant_id'', true), '''')::uuid')
        """,
    ),
    _Rule(
        "no tenant column",
        "Give the table a tenant_id, first in its keys, and protect it.",
        """
        SELECT /* policies.lint */ c.oid::regclass::text, 'a table among tenants'' tables that has no tenant_id'
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'cloudlab' AND c.relname <> 'schema_migrations'
          AND EXISTS (SELECT FROM pg_class AS m WHERE m.relnamespace = n.oid AND m.relname = 'schema_migrations')
          AND NOT EXISTS (SELECT FROM pg_attribute AS a
                          WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
        """,
    ),
    # event_position is a number of the shard that no tenant chooses: to know that one is taken says nothing.
    _Rule(
        "unique without tenant",
        "Begin the key with tenant_id.",
        """
        SELECT /* policies.lint */ i.indexrelid::regclass::text,
            'a key without tenant_id: a refused value tells one tenant what another one has'
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indrelid AND c.relkind IN ('r', 'p')
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE i.indisunique AND NOT a.attnum = ANY (i.indkey)
          AND NOT EXISTS (SELECT FROM pg_attribute AS e WHERE e.attrelid = c.oid AND e.attname = 'event_position'
                          AND e.attnum = ANY (i.indkey))
        """,
    ),
    _Rule(
        "foreign key without tenant",
        "Refer to (tenant_id, …) by (tenant_id, …).",
        """
        SELECT /* policies.lint */ k.conrelid::regclass::text || '.' || k.conname,
            'a reference that is checked across tenants: it tells one what another one has'
        FROM pg_constraint AS k
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        JOIN pg_attribute AS b ON b.attrelid = k.confrelid AND b.attname = 'tenant_id' AND NOT b.attisdropped
        WHERE k.contype = 'f'
          AND array_position(k.conkey, a.attnum) IS DISTINCT FROM array_position(k.confkey, b.attnum)
           OR k.contype = 'f' AND NOT a.attnum = ANY (k.conkey)
        """,
    ),
    _Rule(
        "view",
        "CREATE VIEW … WITH (security_invoker = true); keep summaries in tables with a policy.",
        """
        SELECT /* policies.lint */ c.oid::regclass::text,
            CASE c.relkind WHEN 'm' THEN 'a materialized view shows all tenants'' rows to whoever may read it'
                 ELSE 'a view that runs with its owner''s rights' END
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND NOT coalesce('security_invoker=true' = ANY (c.reloptions) AND c.relkind = 'v', false)
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
        """,
    ),
    # An SQL function that is STABLE or IMMUTABLE may go without: a fixed path would keep it from being inlined.
    _Rule(
        "search path",
        "Add SET search_path FROM CURRENT, and pg_temp last when it is SECURITY DEFINER.",
        """
        SELECT /* policies.lint */ p.oid::regprocedure::text, 'its search_path is the caller''s: names can be shadowed'
        FROM pg_proc AS p
        JOIN pg_namespace AS n ON n.oid = p.pronamespace
        JOIN pg_language AS l ON l.oid = p.prolang
        LEFT JOIN LATERAL (SELECT o FROM unnest(p.proconfig) AS o WHERE o LIKE 'search_path=%') AS path ON true
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND n.nspname NOT LIKE 'pg\\_temp%'
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
          AND (p.prosecdef AND coalesce(path.o, '') !~ '(^search_path=""$|pg_temp"?$)'
               OR path.o IS NULL AND NOT (l.lanname = 'sql' AND p.provolatile <> 'v')
                  AND (p.proacl IS NULL
                       OR EXISTS (SELECT FROM aclexplode(p.proacl) AS x WHERE x.grantee <> p.proowner)))
        """,
    ),
    _Rule(
        "definer function",
        "REVOKE EXECUTE … FROM PUBLIC, and grant it to whom it is for.",
        """
        SELECT /* policies.lint */ p.oid::regprocedure::text, 'everybody may run it with its owner''s rights'
        FROM pg_proc AS p
        JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
          AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) AS x WHERE x.grantee = 0))
        """,
    ),
    _Rule(
        "grant",
        "Grant to the groups of shard/001_access.sql alone; on parents, never on partitions.",
        """
        SELECT /* policies.lint */ c.oid::regclass::text,
            x.privilege_type || ' is granted to ' || CASE x.grantee WHEN 0 THEN 'everybody' ELSE r.rolname END
                || CASE WHEN c.relispartition THEN ' on a partition' ELSE '' END
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
        CROSS JOIN LATERAL aclexplode(c.relacl) AS x
        LEFT JOIN pg_roles AS r ON r.oid = x.grantee
        WHERE c.relkind IN ('r', 'p') AND x.grantee <> c.relowner
          AND (c.relispartition OR x.privilege_type IN ('TRUNCATE', 'REFERENCES', 'TRIGGER') OR r.rolname IS NULL
               OR r.rolname NOT IN
                   ('application_readonly', 'application_readwrite', 'application_admin', 'platform_worker'))
        """,
    ),
    _Rule(
        "default privileges",
        "ALTER DEFAULT PRIVILEGES … REVOKE …: a table is granted when it is protected, not before.",
        """
        SELECT /* policies.lint */ coalesce(n.nspname, 'every schema'),
            'new tables are granted to ' || CASE x.grantee WHEN 0 THEN 'everybody' ELSE x.grantee::regrole::text END
        FROM pg_default_acl AS d
        LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace
        CROSS JOIN LATERAL aclexplode(d.defaclacl) AS x
        WHERE d.defaclobjtype = 'r' AND x.grantee <> d.defaclrole
        """,
    ),
    _Rule(
        "schema",
        "REVOKE CREATE ON SCHEMA … FROM …: who may make objects can shadow the platform's own.",
        """
        SELECT /* policies.lint */ n.nspname::text,
            'CREATE is granted to ' || CASE x.grantee WHEN 0 THEN 'everybody' ELSE x.grantee::regrole::text END
        FROM pg_namespace AS n
        CROSS JOIN LATERAL aclexplode(n.nspacl) AS x
        WHERE x.privilege_type = 'CREATE' AND n.nspname !~ '^(pg_|information_schema)' AND x.grantee <> n.nspowner
        """,
    ),
    _Rule(
        "login",
        "ALTER ROLE … NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION; never serve as the owner.",
        """
        SELECT /* policies.lint */ r.rolname::text,
            concat_ws(', ',
                CASE WHEN r.rolsuper THEN 'is superuser' END,
                CASE WHEN r.rolbypassrls THEN 'has BYPASSRLS' END,
                CASE WHEN r.rolcreaterole THEN 'has CREATEROLE' END,
                CASE WHEN r.rolreplication THEN 'has REPLICATION' END,
                CASE WHEN o.oid IS NOT NULL THEN 'is a member of the owner ' || o.rolname END)
        FROM pg_roles AS r
        CROSS JOIN (SELECT t.rolname FROM pg_class AS c JOIN pg_roles AS t ON t.oid = c.relowner
                    WHERE c.oid = to_regclass('cloudlab.tenant_local')) AS owned
        LEFT JOIN pg_roles AS o ON o.rolname = owned.rolname AND EXISTS
            (SELECT FROM pg_auth_members AS m WHERE m.member = r.oid AND m.roleid = o.oid)
        WHERE r.rolname <> owned.rolname
          AND EXISTS (SELECT FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.roleid
                      WHERE m.member = r.oid AND g.rolname IN
                          ('application_readonly', 'application_readwrite', 'application_admin', 'platform_worker'))
          AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolreplication OR o.oid IS NOT NULL)
        """,
    ),
)


async def lint(owner_url: str) -> list[Breach]:
    """Return every breach in the catalog of one shard. It changes nothing.

    Args:
        owner_url: The shard's owner login; any login that may connect sees the same catalog.

    Raises:
        Unavailable: The shard cannot be reached.

    Cost: one connection and one query for each rule, about 40 ms for 60 tables.
    """
    found: list[Breach] = []
    async with connect(owner_url) as conn, conn.transaction():
        # Expressions and names are written out with their schema.
        await conn.execute("SELECT /* policies.lint */ set_config('search_path', 'pg_catalog', true)")
        for rule in _RULES:
            rows = await conn.execute(rule.query)
            found += [Breach(rule.name, str(row[0]), str(row[1]), rule.remedy) for row in await rows.fetchall()]
    return found
