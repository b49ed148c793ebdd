"""All that belongs to a table besides its rows, as the statements that make it again on another.

`LIKE … INCLUDING ALL` and a rename forget foreign keys, triggers, grants, policies, row security, publications and the
views; here each is read from the catalog. Every name is written in full, because the search path is empty meanwhile.

Standard: §6.2 Schema Changes
"""

from dataclasses import dataclass

from psycopg import sql

from cloudlab.errors import MigrationError
from cloudlab.schema.online_catalog import Table, lines
from cloudlab.schema.online_steps import Place, compose, raw
from cloudlab.schema.online_tables import grants


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key to or from a table: who has it, its name, and both ways as statements."""

    table: str
    other: str
    name: str
    definition: str
    partitioned: bool

    @property
    def drop(self) -> str:
        """The statement that drops it."""
        return f"ALTER TABLE {self.table} DROP CONSTRAINT IF EXISTS {_quoted(self.name)}"

    @property
    def validate(self) -> str:
        """The statement that checks all rows."""
        return f"ALTER TABLE {self.table} VALIDATE CONSTRAINT {_quoted(self.name)}"

    def add(self, table: str | None = None, *, valid: bool = False) -> str:
        """Return the statement that adds it."""
        how = "" if valid else " NOT VALID"
        return f"ALTER TABLE {table or self.table} ADD CONSTRAINT {_quoted(self.name)} {self.definition}{how}"


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string(None)


async def foreign_keys(place: Place, table: Table) -> list[ForeignKey]:
    """Return the foreign keys of a table and those to it, by table and name."""
    rows = await place.conn.execute(
        """
        SELECT /* online_anatomy.foreign_keys */ k.conrelid::regclass::text, k.confrelid::regclass::text,
            k.conname, pg_get_constraintdef(k.oid), c.relkind = 'p'
        FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid
        WHERE k.contype = 'f' AND k.conparentid = 0 AND %(table)s IN (k.conrelid, k.confrelid)
        ORDER BY 1, 3
        """,
        {"table": table.oid},
    )
    return [
        ForeignKey(str(row[0]), str(row[1]), str(row[2]), str(row[3]), bool(row[4])) for row in await rows.fetchall()
    ]


async def refuse_what_cannot_follow(place: Place, table: Table) -> None:
    """Raise MigrationError for what would stay with the old table, and could not be made on the new one."""
    found = await lines(
        place,
        """
        SELECT /* online_anatomy.refuse_what_cannot_follow */ 'it is a partition' FROM pg_class
        WHERE oid = %(table)s AND relispartition
        UNION ALL SELECT 'it inherits or is inherited from' FROM pg_inherits
        WHERE %(table)s IN (inhparent, inhrelid) AND NOT (SELECT relispartition FROM pg_class WHERE oid = %(table)s)
        UNION ALL SELECT 'the constraint ' || conname || ' is not valid' FROM pg_constraint
        WHERE %(table)s IN (conrelid, confrelid) AND NOT convalidated
        UNION ALL SELECT 'the materialized view ' || c.oid::regclass || ' reads it' FROM pg_depend AS d
        JOIN pg_rewrite AS r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_class AS c ON c.oid = r.ev_class AND c.relkind = 'm' WHERE d.refobjid = %(table)s
        UNION ALL SELECT 'it has the rule ' || rulename FROM pg_rewrite WHERE ev_class = %(table)s
        UNION ALL SELECT 'the function ' || p.oid::regprocedure || ' has its row type' FROM pg_depend AS d
        JOIN pg_proc AS p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass
        JOIN pg_class AS c ON c.reltype = d.refobjid AND d.refclassid = 'pg_type'::regclass WHERE c.oid = %(table)s
        UNION ALL SELECT 'the publication ' || p.pubname || ' has some of its columns' FROM pg_publication_rel AS r
        JOIN pg_publication AS p ON p.oid = r.prpubid WHERE r.prrelid = %(table)s AND r.prattrs IS NOT NULL
        UNION ALL SELECT 'row security hides rows from ' || current_user WHERE row_security_active(%(table)s::oid)
        """,
        table=table.oid,
    )
    if table.partitioned:
        found.append("it is partitioned")
    if found:
        raise MigrationError(
            f"{table.text} cannot be rewritten online: {'; '.join(found)}", hint="Change that, then run this again."
        )


async def body(place: Place, table: Table, new: sql.Identifier, *, key: bool) -> list[str]:
    """Return what makes keys, indexes, settings, statistics targets, policies, grants and comments on a new table.

    Args:
        place: Where.
        table: The model.
        new: The table that gets them.
        key: Whether the primary key is among them.
    """
    on = new.as_string(None)
    named = {"table": table.oid, "on": on, "old": table.text}
    made = await lines(
        place,
        """
        SELECT /* online_anatomy.body */
            format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', %(on)s::text, conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE conrelid = %(table)s AND contype IN ('p', 'u', 'x') AND (contype <> 'p' OR %(key)s)
        ORDER BY contype, conname
        """,
        **named,
        key=key,
    )
    made += await lines(
        place,
        """
        SELECT /* online_anatomy.body */ replace(
            replace(pg_get_indexdef(i.indexrelid), ' ON ' || %(old)s::text || ' USING ', ' ON ' || %(on)s || ' USING '),
            ' ON ONLY ' || %(old)s || ' USING ', ' ON ' || %(on)s || ' USING ')
        FROM pg_index AS i WHERE i.indrelid = %(table)s AND i.indisvalid AND NOT EXISTS (
            SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
        ORDER BY i.indexrelid
        """,
        **named,
    )
    made += await lines(
        place,
        """
        SELECT /* online_anatomy.body */ format('ALTER TABLE %%s SET (%%s)', %(on)s::text,
            array_to_string(reloptions, ', '))
        FROM pg_class WHERE oid = %(table)s AND reloptions IS NOT NULL
        UNION ALL SELECT format('ALTER TABLE %%s ALTER COLUMN %%I SET STATISTICS %%s', %(on)s, attname, attstattarget)
        FROM pg_attribute WHERE attrelid = %(table)s AND attnum > 0 AND NOT attisdropped AND attstattarget >= 0
        UNION ALL SELECT format('COMMENT ON TABLE %%s IS %%L', %(on)s, obj_description(%(table)s::oid, 'pg_class'))
        WHERE obj_description(%(table)s::oid, 'pg_class') IS NOT NULL
        UNION ALL SELECT format('ALTER TABLE %%s REPLICA IDENTITY %%s', %(on)s,
            CASE relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE 'USING INDEX ' || (
                SELECT quote_ident(x.relname) FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid
                WHERE i.indrelid = %(table)s AND i.indisreplident) END)
        FROM pg_class WHERE oid = %(table)s AND relreplident <> 'd'
        UNION ALL SELECT format('ALTER TABLE %%s CLUSTER ON %%I', %(on)s, x.relname) FROM pg_index AS i
        JOIN pg_class AS x ON x.oid = i.indexrelid WHERE i.indrelid = %(table)s AND i.indisclustered
        UNION ALL SELECT format('ALTER TABLE %%s OWNER TO %%s', %(on)s, relowner::regrole) FROM pg_class
        WHERE oid = %(table)s AND relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
        """,
        **named,
    )
    return [*made, *await _policies(place, table, on), *await grants(place, table, on)]


async def _policies(place: Place, table: Table, on: str) -> list[str]:
    return await lines(
        place,
        """
        SELECT /* online_anatomy.policies */ format('CREATE POLICY %%I ON %%s AS %%s FOR %%s TO %%s%%s%%s', p.polname,
            %(on)s::text, CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
            CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                ELSE 'ALL' END,
            (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE r::regrole::text END, ', ')
             FROM unnest(p.polroles) AS r),
            ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
            ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
        FROM pg_policy AS p WHERE p.polrelid = %(table)s
        UNION ALL SELECT format('COMMENT ON POLICY %%I ON %%s IS %%L', p.polname, %(on)s,
            obj_description(p.oid, 'pg_policy'))
        FROM pg_policy AS p WHERE p.polrelid = %(table)s AND obj_description(p.oid, 'pg_policy') IS NOT NULL
        ORDER BY 1 DESC
        """,
        table=table.oid,
        on=on,
    )


@dataclass(frozen=True, slots=True)
class Following:
    """What changes hands in the moment of the swap, as statements that name the table by its usual name."""

    triggers: list[str]
    trigger_drops: list[str]
    trigger_states: list[str]
    row_security: list[str]
    views: list[str]
    comments: list[str]
    publish: list[str]
    unpublish: list[str]


async def following(place: Place, table: Table) -> Following:
    """Read triggers, row security, views, comments on indexes and constraints, and publications."""
    named = {"table": table.oid, "on": table.text}
    states = (
        "SELECT /* online_anatomy.following */ format('ALTER TABLE %%s %%s TRIGGER %%I', %(on)s::text,"
        " CASE tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS'"
        " ELSE 'ENABLE' END, tgname) FROM pg_trigger WHERE tgrelid = %(table)s AND NOT tgisinternal ORDER BY tgname"
    )
    triggers = """
        SELECT /* online_anatomy.following */ pg_get_triggerdef(oid) FROM pg_trigger
        WHERE tgrelid = %(table)s AND NOT tgisinternal
        UNION ALL SELECT format('COMMENT ON TRIGGER %%I ON %%s IS %%L', tgname, %(on)s::text,
            obj_description(oid, 'pg_trigger'))
        FROM pg_trigger WHERE tgrelid = %(table)s AND NOT tgisinternal
            AND obj_description(oid, 'pg_trigger') IS NOT NULL
        ORDER BY 1 DESC
    """
    drops = """
        SELECT /* online_anatomy.following */ format('DROP TRIGGER %%I ON %%s', tgname, %(on)s::text) FROM pg_trigger
        WHERE tgrelid = %(table)s AND NOT tgisinternal
    """
    security = """
        SELECT /* online_anatomy.following */ format('ALTER TABLE %%s ENABLE ROW LEVEL SECURITY', %(on)s::text)
        FROM pg_class WHERE oid = %(table)s AND relrowsecurity
        UNION ALL SELECT format('ALTER TABLE %%s FORCE ROW LEVEL SECURITY', %(on)s) FROM pg_class
        WHERE oid = %(table)s AND relforcerowsecurity
    """
    views = """
        SELECT /* online_anatomy.following */ DISTINCT format('CREATE OR REPLACE VIEW %%s%%s AS %%s', c.oid::regclass,
            ' WITH (' || array_to_string(c.reloptions, ', ') || ')', rtrim(pg_get_viewdef(c.oid), ';'))
        FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_class AS c ON c.oid = r.ev_class AND c.relkind = 'v'
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %(table)s AND %(on)s::text <> ''
    """
    comments = """
        SELECT /* online_anatomy.following */ format('COMMENT ON INDEX %%s IS %%L', i.indexrelid::regclass,
            obj_description(i.indexrelid, 'pg_class'))
        FROM pg_index AS i WHERE i.indrelid = %(table)s AND obj_description(i.indexrelid, 'pg_class') IS NOT NULL
        UNION ALL SELECT format('COMMENT ON CONSTRAINT %%I ON %%s IS %%L', k.conname, k.conrelid::regclass,
            obj_description(k.oid, 'pg_constraint'))
        FROM pg_constraint AS k
        WHERE (k.conrelid = %(table)s OR k.confrelid = %(table)s) AND k.conparentid = 0 AND %(on)s::text <> ''
            AND obj_description(k.oid, 'pg_constraint') IS NOT NULL
    """
    publish = """
        SELECT /* online_anatomy.following */ format('ALTER PUBLICATION %%I ADD TABLE %%s%%s', p.pubname, %(on)s::text,
            ' WHERE (' || pg_get_expr(r.prqual, r.prrelid) || ')')
        FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid WHERE r.prrelid = %(table)s
    """
    unpublish = """
        SELECT /* online_anatomy.following */ format('ALTER PUBLICATION %%I DROP TABLE %%s', p.pubname, %(on)s::text)
        FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid WHERE r.prrelid = %(table)s
    """
    return Following(
        triggers=await lines(place, triggers, **named),
        trigger_drops=await lines(place, drops, **named),
        trigger_states=await lines(place, states, **named),
        row_security=await lines(place, security, **named),
        views=await lines(place, views, **named),
        comments=await lines(place, comments, **named),
        publish=await lines(place, publish, **named),
        unpublish=await lines(place, unpublish, **named),
    )


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence that a column of the table owns: by identity, or by its default only (serial)."""

    schema: str
    name: str
    column: str
    identity: bool
    grants: str

    @property
    def id(self) -> sql.Identifier:
        """Its quoted name."""
        return sql.Identifier(self.schema, self.name)


async def sequences(place: Place, table: Table) -> list[Sequence]:
    """Return the sequences that columns of a table own."""
    rows = await place.conn.execute(
        """
        SELECT /* online_anatomy.sequences */ n.nspname, c.relname, a.attname, d.deptype = 'i',
            coalesce((SELECT string_agg(format('GRANT %%s ON SEQUENCE %%s TO %%s', x.privilege_type, '%%s',
                CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END), ';')
             FROM aclexplode(c.relacl) AS x WHERE x.grantee <> c.relowner), '')
        FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_class'::regclass AND d.refobjid = %(table)s AND d.deptype IN ('a', 'i') ORDER BY 2
        """,
        {"table": table.oid},
    )
    return [Sequence(str(r[0]), str(r[1]), str(r[2]), bool(r[3]), str(r[4])) for r in await rows.fetchall()]


def keep_counting(source: sql.Identifier, target: sql.Identifier) -> str:
    """Return the statement that lets a sequence go on where another one is."""
    return compose(
        "SELECT setval({target}, last_value, is_called) FROM {source}",
        target=sql.Literal(target.as_string(None)),
        source=source,
    )


def granted(sequence: Sequence, on: str) -> list[str]:
    """Return the grants of a sequence for another one."""
    return [raw(grant.replace("%s", on)).as_string(None) for grant in sequence.grants.split(";") if grant]


async def statistics(place: Place, table: Table) -> list[tuple[str, str]]:
    """Return name and definition of the extended statistics of a table."""
    rows = await place.conn.execute(
        """
        SELECT /* online_anatomy.statistics */ s.stxname, pg_get_statisticsobjdef(s.oid)
        FROM pg_statistic_ext AS s JOIN pg_namespace AS n ON n.oid = s.stxnamespace AND n.nspname = %(schema)s
        WHERE s.stxrelid = %(table)s ORDER BY 1
        """,
        {"table": table.oid, "schema": table.schema},
    )
    return [(str(row[0]), str(row[1])) for row in await rows.fetchall()]
