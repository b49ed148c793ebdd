-- Migration: Rebuilding projections
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: A copy of a projection's tables beside the live ones, and the swap of the two
-- Standard: §3.1 Eventual Consistency (AP from CAP)

-- migrate:up
CREATE FUNCTION copy_table_shape(p_schema text, p_table text, p_copy_schema text) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_live regclass := format('%I.%I', p_schema, p_table)::regclass;
    v_on text := format(' ON %I.%I ', p_schema, p_table);
    v_copy text := format('%I.%I', p_copy_schema, p_table);
    v_each record;
BEGIN
    EXECUTE format('CREATE TABLE %s (LIKE %I.%I INCLUDING ALL EXCLUDING INDEXES)', v_copy, p_schema, p_table);
    FOR v_each IN SELECT c.conname, pg_get_constraintdef(c.oid) AS definition FROM pg_constraint c
        WHERE c.conrelid = v_live AND c.contype IN ('p', 'u', 'x', 'f') ORDER BY c.contype = 'f'
    LOOP
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', v_copy, v_each.conname, v_each.definition);
    END LOOP;
    FOR v_each IN SELECT replace(pg_get_indexdef(i.indexrelid), v_on, format(' ON %s ', v_copy)) AS definition
        FROM pg_index i WHERE i.indrelid = v_live
          AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = v_live)
    LOOP
        EXECUTE v_each.definition;
    END LOOP;
    FOR v_each IN SELECT replace(pg_get_triggerdef(t.oid), v_on, format(' ON %s ', v_copy)) AS definition
        FROM pg_trigger t WHERE t.tgrelid = v_live AND NOT t.tgisinternal
    LOOP
        EXECUTE v_each.definition;
    END LOOP;
    FOR v_each IN SELECT p.policyname, p.permissive, p.cmd, p.qual, p.with_check,
            (SELECT string_agg(quote_ident(r), ', ') FROM unnest(p.roles) AS r) AS roles
        FROM pg_policies p WHERE p.schemaname = p_schema AND p.tablename = p_table
    LOOP
        EXECUTE format('CREATE POLICY %I ON %s AS %s FOR %s TO %s %s %s', v_each.policyname, v_copy, v_each.permissive,
            v_each.cmd, v_each.roles, 'USING (' || v_each.qual || ')', 'WITH CHECK (' || v_each.with_check || ')');
    END LOOP;
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', v_copy);
    FOR v_each IN SELECT a.privilege_type, a.grantee::regrole AS grantee FROM pg_class c, aclexplode(c.relacl) AS a
        WHERE c.oid = v_live AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT %s ON %s TO %s', v_each.privilege_type, v_copy, v_each.grantee);
    END LOOP;
END
$$;
COMMENT ON FUNCTION copy_table_shape(text, text, text) IS
    'Makes an empty table like another in a second schema: columns, constraints, indexes, triggers, policies, grants, comments';
REVOKE EXECUTE ON FUNCTION copy_table_shape(text, text, text) FROM PUBLIC;

CREATE FUNCTION tenant_schemas() RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
    AS $$
    SELECT DISTINCT t.schema_name::text FROM tenant_local t WHERE t.state IN ('open', 'suspended') ORDER BY 1
$$;
COMMENT ON FUNCTION tenant_schemas() IS 'Schemas that hold tables of tenants served here';
REVOKE EXECUTE ON FUNCTION tenant_schemas() FROM PUBLIC;

CREATE FUNCTION begin_rebuild(p_name varchar, p_tables text[], p_lanes integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_schema text;
    v_copy text;
    v_table text;
    v_reader text;
BEGIN
    -- A move counts on the tables and checkpoints that are there: the two exclude each other.
    PERFORM refuse_while_moving();
    PERFORM register_projection(p_name || '@rebuild', p_lanes);
    FOR v_schema IN SELECT s FROM tenant_schemas() AS s WHERE cardinality(p_tables) > 0 LOOP
        v_copy := shadow_schema(v_schema, p_name);
        EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', v_copy);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO platform_worker', v_copy);
        FOREACH v_table IN ARRAY p_tables LOOP
            IF to_regclass(format('%I.%I', v_schema, v_table)) IS NULL THEN
                RAISE EXCEPTION 'there is no table %.%', v_schema, v_table USING ERRCODE = 'CL200';
            END IF;
            SELECT d.what INTO v_reader FROM (
                SELECT 'view ' || r.ev_class::regclass AS what FROM pg_depend p JOIN pg_rewrite r ON r.oid = p.objid
                WHERE p.classid = 'pg_rewrite'::regclass AND p.refobjid = format('%I.%I', v_schema, v_table)::regclass
                UNION ALL
                SELECT 'foreign key ' || c.conname FROM pg_constraint c
                WHERE c.contype = 'f' AND c.confrelid = format('%I.%I', v_schema, v_table)::regclass) AS d LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION '%.% cannot be swapped: % would keep the old one', v_schema, v_table, v_reader
                    USING ERRCODE = 'CL400', HINT = 'Drop what refers to it, rebuild, and make it again.';
            END IF;
            IF to_regclass(format('%I.%I', v_copy, v_table)) IS NULL THEN
                PERFORM copy_table_shape(v_schema, v_table, v_copy);
            END IF;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION begin_rebuild(varchar, text[], integer) IS
    'Makes the copies of a projection''s tables that are not there yet, and the checkpoints of the copy';
REVOKE EXECUTE ON FUNCTION begin_rebuild(varchar, text[], integer) FROM PUBLIC;

CREATE FUNCTION lock_live_tables(p_tables text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_all text;
BEGIN
    SELECT string_agg(format('%I.%I', s, t), ', ' ORDER BY s, t) INTO v_all
    FROM tenant_schemas() AS s, unnest(p_tables) AS t;
    IF v_all IS NOT NULL THEN
        EXECUTE 'LOCK TABLE ' || v_all || ' IN ACCESS EXCLUSIVE MODE';
    END IF;
END
$$;
COMMENT ON FUNCTION lock_live_tables(text[]) IS 'Keeps everybody from a projection''s tables until the swap is committed';
REVOKE EXECUTE ON FUNCTION lock_live_tables(text[]) FROM PUBLIC;

CREATE FUNCTION finish_rebuild(p_name varchar, p_tables text[], p_inline boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_copy_name constant varchar := p_name || '@rebuild';
    v_state varchar;
    v_schema text;
    v_copy text;
    v_table text;
BEGIN
    FOR v_schema IN SELECT s FROM tenant_schemas() AS s WHERE cardinality(p_tables) > 0 LOOP
        v_copy := shadow_schema(v_schema, p_name);
        CONTINUE WHEN to_regnamespace(quote_ident(v_copy)) IS NULL;
        EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', v_copy || '_old');
        EXECUTE format('CREATE SCHEMA %I', v_copy || '_old');
        FOREACH v_table IN ARRAY p_tables LOOP
            EXECUTE format('ALTER TABLE %I.%I SET SCHEMA %I', v_schema, v_table, v_copy || '_old');
            EXECUTE format('ALTER TABLE %I.%I SET SCHEMA %I', v_copy, v_table, v_schema);
        END LOOP;
    END LOOP;
    IF NOT p_inline THEN
        CREATE TEMPORARY TABLE rebuilt ON COMMIT DROP AS
            SELECT c.lane, c.epoch, c.event_position,
                   (SELECT coalesce(max(l.lease_epoch), 0) + 1 FROM projection_checkpoints l
                    WHERE l.projection_name IN (p_name, v_copy_name)) AS lease_epoch
            FROM projection_checkpoints c WHERE c.projection_name = v_copy_name;
        DELETE FROM projections p WHERE p.projection_name = p_name RETURNING p.state INTO v_state;
        INSERT INTO projections (projection_name, lane_count, is_external, state)
        SELECT p_name, p.lane_count, p.is_external, coalesce(v_state, 'live') FROM projections p WHERE p.projection_name = v_copy_name;
        INSERT INTO projection_checkpoints (projection_name, lane, epoch, event_position, lease_epoch)
        SELECT p_name, r.lane, r.epoch, r.event_position, r.lease_epoch FROM rebuilt r;
        UPDATE parked_events k SET projection_name = p_name WHERE k.projection_name = v_copy_name;
    END IF;
    DELETE FROM projections p WHERE p.projection_name = v_copy_name;
END
$$;
COMMENT ON FUNCTION finish_rebuild(varchar, text[], boolean) IS
    'Puts the copies in the place of the live tables, and their checkpoints in the place of the projection''s';
REVOKE EXECUTE ON FUNCTION finish_rebuild(varchar, text[], boolean) FROM PUBLIC;

CREATE FUNCTION clear_rebuild(p_name varchar) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_schema text;
BEGIN
    FOR v_schema IN SELECT s FROM tenant_schemas() AS s LOOP
        EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', shadow_schema(v_schema, p_name) || '_old');
        EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', shadow_schema(v_schema, p_name));
    END LOOP;
    DELETE FROM projections p WHERE p.projection_name = p_name || '@rebuild';
END
$$;
COMMENT ON FUNCTION clear_rebuild(varchar) IS 'Drops what a rebuild has replaced, and what is left of its copies';
REVOKE EXECUTE ON FUNCTION clear_rebuild(varchar) FROM PUBLIC;

-- migrate:down
DROP FUNCTION clear_rebuild(varchar);
DROP FUNCTION finish_rebuild(varchar, text[], boolean);
DROP FUNCTION lock_live_tables(text[]);
DROP FUNCTION begin_rebuild(varchar, text[], integer);
DROP FUNCTION tenant_schemas();
DROP FUNCTION copy_table_shape(text, text, text);
