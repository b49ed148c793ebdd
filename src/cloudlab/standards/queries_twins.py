"""What a server is asked to tell which schemas are alike without sending them.

Whatever the model holds of a schema is in the sum, but for sizes. Expressions are taken as the server keeps them, and
written out only where they name something that is not PostgreSQL's own: the name of the schema is left out then.

Standard: §4.1 Tenant-Specific Schemas
"""

from typing import LiteralString

SUMS: LiteralString = r"""
WITH schemas AS (
    SELECT n.oid, n.nspname::text AS name, '\m' || n.nspname || '\M' AS own
    FROM pg_namespace AS n WHERE n.nspname !~ '^(pg_|information_schema$)' AND n.nspname ~ '^[a-z_][a-z0-9_]*$'
), relations AS (
    SELECT c.oid, c.relname AS name, c.relnamespace AS schema, s.own
    FROM pg_class AS c JOIN schemas AS s ON s.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
), parts AS (
    SELECT r.schema, ROW('table', r.name, c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
                         c.relowner, c.relacl, b.partstrat, b.partattrs,
                         CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END,
                         CASE WHEN c.relispartition AND pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
                              THEN c.reltuples END,
                         CASE WHEN c.relkind IN ('v', 'm')
                              THEN regexp_replace(pg_get_viewdef(c.oid), r.own, '~', 'g') END)::text AS said
    FROM relations AS r JOIN pg_class AS c ON c.oid = r.oid LEFT JOIN pg_partitioned_table AS b ON b.partrelid = c.oid
    UNION ALL
    SELECT r.schema, ROW('parent', r.name, p.relname)::text
    FROM relations AS r JOIN pg_inherits AS i ON i.inhrelid = r.oid JOIN pg_class AS p ON p.oid = i.inhparent
    UNION ALL
    SELECT r.schema, ROW('column', r.name, a.attnum, a.attname, a.atttypmod, a.attnotnull, a.attidentity,
                         a.attgenerated,
                         CASE WHEN a.atttypid < 16384 THEN a.atttypid::text
                              ELSE regexp_replace(format_type(a.atttypid, a.atttypmod), r.own, '~', 'g') END,
                         CASE WHEN d.adbin::text ~ '2205|[1-9][0-9]{4}'
                              THEN regexp_replace(pg_get_expr(d.adbin, d.adrelid), r.own, '~', 'g')
                              ELSE d.adbin::text END)::text
    FROM relations AS r
    JOIN pg_attribute AS a ON a.attrelid = r.oid
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT r.schema, ROW('comment', r.name, d.objsubid, d.description)::text
    FROM relations AS r JOIN pg_description AS d ON d.objoid = r.oid AND d.classoid = 'pg_class'::regclass
    UNION ALL
    SELECT r.schema, ROW('constraint', r.name, o.conname, o.contype, o.conkey, o.confkey, o.confdeltype,
                         o.confdelsetcols, o.convalidated, f.relname, nullif(f.relnamespace, r.schema), d.description,
                         CASE WHEN o.conbin::text ~ '2205|[1-9][0-9]{4}'
                              THEN regexp_replace(pg_get_expr(o.conbin, o.conrelid), r.own, '~', 'g')
                              ELSE o.conbin::text END)::text
    FROM relations AS r
    JOIN pg_constraint AS o ON o.conrelid = r.oid
    LEFT JOIN pg_class AS f ON f.oid = o.confrelid
    LEFT JOIN pg_description AS d ON d.objoid = o.oid AND d.classoid = 'pg_constraint'::regclass
    WHERE o.contype IN ('p', 'u', 'c', 'f', 'x') AND o.conparentid = 0
    UNION ALL
    SELECT r.schema, ROW('index', r.name, x.relname, x.relam, i.indisunique, i.indisvalid, i.indnkeyatts, i.indkey,
                         i.indclass, i.indcollation, i.indoption,
                         CASE WHEN i.indpred::text ~ '2205|[1-9][0-9]{4}'
                              THEN regexp_replace(pg_get_expr(i.indpred, i.indrelid), r.own, '~', 'g')
                              ELSE i.indpred::text END,
                         CASE WHEN i.indexprs::text ~ '2205|[1-9][0-9]{4}'
                              THEN regexp_replace(pg_get_expr(i.indexprs, i.indrelid), r.own, '~', 'g')
                              ELSE i.indexprs::text END)::text
    FROM relations AS r JOIN pg_index AS i ON i.indrelid = r.oid JOIN pg_class AS x ON x.oid = i.indexrelid
    UNION ALL
    SELECT r.schema, ROW('policy', r.name, p.polname, p.polpermissive, p.polcmd, p.polroles,
                         regexp_replace(pg_get_expr(p.polqual, p.polrelid), r.own, '~', 'g'),
                         regexp_replace(pg_get_expr(p.polwithcheck, p.polrelid), r.own, '~', 'g'))::text
    FROM relations AS r JOIN pg_policy AS p ON p.polrelid = r.oid
    UNION ALL
    SELECT r.schema, ROW('trigger', r.name, t.tgname, t.tgtype,
                         regexp_replace(t.tgfoid::regproc::text, r.own, '~', 'g'))::text
    FROM relations AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT s.oid, ROW('enum', t.typname, e.enumlabel, e.enumsortorder, obj_description(t.oid, 'pg_type'))::text
    FROM schemas AS s JOIN pg_type AS t ON t.typnamespace = s.oid JOIN pg_enum AS e ON e.enumtypid = t.oid
    UNION ALL
    SELECT s.oid, ROW('function', p.proname, p.prokind, p.prolang, p.prosecdef, p.provolatile, p.proowner, p.proacl,
                      obj_description(p.oid, 'pg_proc'),
                      regexp_replace(pg_get_function_identity_arguments(p.oid), s.own, '~', 'g'),
                      regexp_replace(p.proconfig::text, s.own, '~', 'g'),
                      regexp_replace(p.prosrc, s.own, '~', 'g'))::text
    FROM schemas AS s JOIN pg_proc AS p ON p.pronamespace = s.oid
)
SELECT /* reading.sums */ s.name, count(p.said) || ' ' || coalesce(sum(hashtextextended(p.said, 0)), 0) AS sum
FROM schemas AS s LEFT JOIN parts AS p ON p.schema = s.oid GROUP BY s.oid, s.name ORDER BY s.oid
"""
# What others refer to, what is cut into pieces over several schemas, and where extensions have put their own.
ALONE: LiteralString = """
SELECT /* reading.alone */ DISTINCT n.nspname::text AS name
FROM (
    SELECT f.relnamespace AS schema
    FROM pg_constraint AS o JOIN pg_class AS f ON f.oid = o.confrelid
    WHERE o.contype = 'f' AND f.relnamespace <> o.connamespace
    UNION
    SELECT b.schema
    FROM pg_inherits AS i
    JOIN pg_class AS c ON c.oid = i.inhrelid
    JOIN pg_class AS p ON p.oid = i.inhparent AND p.relnamespace <> c.relnamespace
    CROSS JOIN unnest(ARRAY[c.relnamespace, p.relnamespace]) AS b (schema)
    UNION
    SELECT t.relnamespace
    FROM pg_depend AS d
    JOIN pg_rewrite AS r ON r.oid = d.objid
    JOIN pg_class AS v ON v.oid = r.ev_class
    JOIN pg_class AS t ON t.oid = d.refobjid AND t.relnamespace <> v.relnamespace
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
    UNION
    SELECT t.typnamespace
    FROM pg_attribute AS a
    JOIN pg_type AS t ON t.oid = a.atttypid
    JOIN pg_class AS c ON c.oid = a.attrelid AND c.relnamespace <> t.typnamespace
    WHERE a.atttypid >= 16384
    UNION
    SELECT c.relnamespace FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.objid
    WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
    UNION
    SELECT p.pronamespace FROM pg_depend AS d JOIN pg_proc AS p ON p.oid = d.objid
    WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
) AS x
JOIN pg_namespace AS n ON n.oid = x.schema
"""
STATISTICS: LiteralString = """
SELECT /* reading.statistics */ n.nspname::text, c.relname::text, c.reltuples::float8,
       c.relpages * current_setting('block_size')::bigint
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^(pg_|information_schema$)'
"""
