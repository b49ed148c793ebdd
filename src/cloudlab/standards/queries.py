"""What a server is asked about the schema of a database; nothing of PostgreSQL's own or of an extension.

Sizes are those of the last VACUUM or ANALYZE: to ask for the size of 60,000 files takes longer than all else.

Standard: §11 Best Practices
"""

from typing import LiteralString

# How every query names what is not PostgreSQL's own; where some schemas are wanted, this is replaced.
OURS: LiteralString = "n.nspname !~ '^(pg_|information_schema$)'"
SIZES: LiteralString = """
    SELECT /* reading.sizes */ c.relname::text AS name, coalesce(max(
        CASE WHEN c.relkind = 'p' THEN (
                 SELECT sum(pg_relation_size(p.relid)) FROM pg_partition_tree(c.oid) AS p WHERE p.isleaf)
             ELSE pg_relation_size(c.oid) + coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0) END
    ), 0)::bigint AS size
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname = ANY (%s)
    GROUP BY c.relname
"""
TABLES: LiteralString = """
    SELECT /* reading.tables */ c.oid::bigint AS oid, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
           obj_description(c.oid, 'pg_class') AS comment, c.relrowsecurity AS row_security,
           c.relforcerowsecurity AS force_row_security, c.reloptions AS options, p.partstrat::text AS strategy,
           (SELECT array_agg(a.attname::text ORDER BY k.ordinal) FROM unnest(p.partattrs::smallint[]) WITH ORDINALITY
            AS k (number, ordinal) LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.number)
            AS partition_key,
           CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END AS query,
           pg_get_userbyid(c.relowner) AS owner, c.reltuples::float8 AS rows,
           c.relpages * current_setting('block_size')::bigint AS size
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_partitioned_table AS p ON p.partrelid = c.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^(pg_|information_schema$)'
      AND NOT EXISTS (SELECT FROM pg_depend AS x
                      WHERE x.objid = c.oid AND x.classid = 'pg_class'::regclass AND x.deptype = 'e')
"""
PARTITIONS: LiteralString = """
    SELECT /* reading.partitions */ i.inhrelid::bigint AS oid, i.inhparent::bigint AS parent,
           CASE WHEN pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT' THEN 'default'
                ELSE regexp_replace(pg_get_expr(c.relpartbound, c.oid), '^FOR VALUES ', '') END AS bound
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE c.relispartition
"""
COLUMNS: LiteralString = """
    SELECT /* reading.columns */ a.attrelid::bigint AS relation, a.attname::text AS name,
           format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,
           pg_get_expr(d.adbin, d.adrelid) AS default, a.attidentity <> '' AS identity,
           a.attgenerated <> '' AS generated,
           col_description(a.attrelid, a.attnum) AS comment
    FROM pg_attribute AS a
    JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped AND n.nspname !~ '^(pg_|information_schema$)'
    ORDER BY a.attrelid, a.attnum
"""
CONSTRAINTS: LiteralString = """
    SELECT /* reading.constraints */ o.conrelid::bigint AS relation, o.conname::text AS name, o.contype::text AS kind,
           (SELECT array_agg(a.attname::text ORDER BY k.ordinal)
            FROM unnest(o.conkey) WITH ORDINALITY AS k (number, ordinal)
            JOIN pg_attribute AS a ON a.attrelid = o.conrelid AND a.attnum = k.number) AS columns,
           CASE WHEN o.contype = 'c' THEN pg_get_expr(o.conbin, o.conrelid) END AS check,
           rn.nspname AS referenced_schema, r.relname AS referenced_table,
           (SELECT array_agg(a.attname::text ORDER BY k.ordinal)
            FROM unnest(o.confkey) WITH ORDINALITY AS k (number, ordinal)
            JOIN pg_attribute AS a ON a.attrelid = o.confrelid AND a.attnum = k.number) AS referenced_columns,
           o.confdeltype::text AS on_delete,
           (SELECT array_agg(a.attname::text ORDER BY k.ordinal)
            FROM unnest(o.confdelsetcols) WITH ORDINALITY AS k (number, ordinal)
            JOIN pg_attribute AS a ON a.attrelid = o.conrelid AND a.attnum = k.number) AS on_delete_columns,
           o.convalidated AS validated,
           obj_description(o.oid, 'pg_constraint') AS comment
    FROM pg_constraint AS o
    JOIN pg_class AS c ON c.oid = o.conrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_class AS r ON r.oid = o.confrelid
    LEFT JOIN pg_namespace AS rn ON rn.oid = r.relnamespace
    WHERE o.contype IN ('p', 'u', 'c', 'f', 'x') AND o.conparentid = 0 AND n.nspname !~ '^(pg_|information_schema$)'
"""
INDEXES: LiteralString = """
    SELECT /* reading.indexes */ i.indrelid::bigint AS relation, x.relname::text AS name, i.indisunique AS unique,
           i.indisvalid AS valid, i.indnkeyatts AS keys, am.amname AS method,
           (SELECT array_agg(CASE WHEN k.number = 0 THEN NULL ELSE a.attname::text END ORDER BY k.ordinal)
            FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, ordinal)
            LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number) AS columns,
           pg_get_expr(i.indpred, i.indrelid) AS predicate, o.conname::text AS constraint,
           CASE WHEN i.indexprs IS NOT NULL THEN (
               SELECT array_agg(CASE WHEN k.number = 0
                                     THEN pg_get_indexdef(i.indexrelid, k.ordinal::integer, true) END)
               FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, ordinal)) END AS expressions,
           (SELECT array_agg(concat_ws(' ',
                CASE WHEN k.option & 1 = 1 THEN 'desc' END,
                CASE k.option & 3 WHEN 1 THEN 'nulls last' WHEN 2 THEN 'nulls first' END,
                CASE WHEN NOT oc.opcdefault THEN oc.opcname::text END,
                CASE WHEN k.collated NOT IN (0, coalesce(a.attcollation, k.collated))
                     THEN 'collate ' || co.collname END
            ) ORDER BY k.ordinal)
            FROM ROWS FROM (unnest(i.indoption::smallint[]), unnest(i.indclass::oid[]), unnest(i.indcollation::oid[]),
                            unnest(i.indkey::smallint[]))
                WITH ORDINALITY AS k (option, class, collated, number, ordinal)
            JOIN pg_opclass AS oc ON oc.oid = k.class
            LEFT JOIN pg_collation AS co ON co.oid = k.collated
            LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number) AS options,
           pg_stat_get_numscans(i.indexrelid) AS scans, x.relpages * current_setting('block_size')::bigint AS size
    FROM pg_index AS i
    JOIN pg_class AS x ON x.oid = i.indexrelid
    JOIN pg_am AS am ON am.oid = x.relam
    JOIN pg_class AS c ON c.oid = i.indrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_constraint AS o
        ON o.conindid = i.indexrelid AND o.conrelid = i.indrelid AND o.contype IN ('p', 'u', 'x')
    WHERE n.nspname !~ '^(pg_|information_schema$)'
"""
POLICIES: LiteralString = """
    SELECT /* reading.policies */ p.polrelid::bigint AS relation, p.polname::text AS name,
           p.polpermissive AS permissive,
           p.polcmd::text AS command,
           (SELECT array_agg(CASE WHEN r = 0 THEN 'public' ELSE pg_get_userbyid(r)::text END)
            FROM unnest(p.polroles) AS r) AS roles,
           pg_get_expr(p.polqual, p.polrelid) AS using, pg_get_expr(p.polwithcheck, p.polrelid) AS with_check
    FROM pg_policy AS p
    JOIN pg_class AS c ON c.oid = p.polrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^(pg_|information_schema$)'
"""
TRIGGERS: LiteralString = """
    SELECT /* reading.triggers */ t.tgrelid::bigint AS relation, t.tgname::text AS name, t.tgtype AS type,
           t.tgfoid::regproc::text AS function
    FROM pg_trigger AS t
    JOIN pg_class AS c ON c.oid = t.tgrelid
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE NOT t.tgisinternal AND n.nspname !~ '^(pg_|information_schema$)'
"""
GRANTS: LiteralString = """
    SELECT /* reading.grants */ c.oid::bigint AS relation, g.privilege_type AS privilege,
           CASE WHEN g.grantee = 0 THEN 'public' ELSE pg_get_userbyid(g.grantee)::text END AS role
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    CROSS JOIN aclexplode(c.relacl) AS g
    WHERE g.grantee <> c.relowner AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND n.nspname !~ '^(pg_|information_schema$)'
"""
ENUMS: LiteralString = """
    SELECT /* reading.enums */ n.nspname::text AS schema, t.typname::text AS name,
           array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS labels, obj_description(t.oid, 'pg_type') AS comment
    FROM pg_enum AS e
    JOIN pg_type AS t ON t.oid = e.enumtypid
    JOIN pg_namespace AS n ON n.oid = t.typnamespace
    WHERE n.nspname !~ '^(pg_|information_schema$)'
    GROUP BY n.nspname, t.typname, t.oid
"""
FUNCTIONS: LiteralString = """
    SELECT /* reading.functions */ n.nspname::text AS schema, p.proname::text AS name,
           pg_get_function_identity_arguments(p.oid) AS arguments, l.lanname::text AS language,
           p.prosecdef AS security_definer, p.proconfig AS settings, p.provolatile::text AS volatility,
           p.prosrc AS body, obj_description(p.oid, 'pg_proc') AS comment, pg_get_userbyid(p.proowner)::text AS owner,
           p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) AS g WHERE g.grantee = 0) AS public_execute
    FROM pg_proc AS p
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_language AS l ON l.oid = p.prolang
    WHERE n.nspname !~ '^(pg_|information_schema$)' AND p.prokind IN ('f', 'p')
      AND NOT EXISTS (SELECT FROM pg_depend AS x
                      WHERE x.objid = p.oid AND x.classid = 'pg_proc'::regclass AND x.deptype = 'e')
"""
SCHEMAS: LiteralString = """
    SELECT /* reading.schemas */ n.nspname::text AS name, obj_description(n.oid, 'pg_namespace') AS comment
    FROM pg_namespace AS n WHERE n.nspname !~ '^(pg_|information_schema$)'
"""
DEFAULT_PRIVILEGES: LiteralString = """
    SELECT /* reading.default_privileges */ coalesce(n.nspname::text, '') AS schema,
           CASE WHEN g.grantee = 0 THEN 'public' ELSE pg_get_userbyid(g.grantee)::text END AS role
    FROM pg_default_acl AS d
    LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace
    CROSS JOIN aclexplode(d.defaclacl) AS g
    WHERE d.defaclobjtype = 'r'
"""
