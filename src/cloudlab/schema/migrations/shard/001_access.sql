-- Migration: Roles, context and table protection
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: The group roles, the context of a session, and the one shape in which every tenant table is protected
-- Standard: §4.1 Row-Level Security (RLS), §9.2 Role-Based Access, §9.2 Row-Level Security

-- migrate:up
-- Roles belong to the whole server and may be there already, made for another database of it.
DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['application_readonly', 'application_readwrite', 'application_admin', 'platform_worker']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = v_role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
        END IF;
    END LOOP;
END
$$;

REVOKE ALL ON SCHEMA cloudlab FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA cloudlab TO application_readonly, application_readwrite, application_admin, platform_worker;

CREATE FUNCTION cloudlab.uuidv7() RETURNS uuid
    LANGUAGE sql VOLATILE PARALLEL SAFE
    SET search_path FROM CURRENT
    AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;
COMMENT ON FUNCTION cloudlab.uuidv7() IS 'UUID version 7 for servers before PostgreSQL 18, whose own function takes precedence';

CREATE FUNCTION touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION touch_updated_at() IS 'Keeps updated_at true whoever writes the row';

-- No fixed search_path on the next two: it would keep them from being inlined, and they name nothing but pg_catalog.
CREATE FUNCTION current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(pg_catalog.current_setting('app.current_tenant_id', true), '')::uuid $$;
COMMENT ON FUNCTION current_tenant() IS 'Tenant of this transaction, NULL when none is set: no tenant, no rows';

CREATE FUNCTION current_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(pg_catalog.current_setting('app.current_user_id', true), '')::uuid $$;
COMMENT ON FUNCTION current_user_id() IS 'User this transaction acts for, NULL when it acts for the whole tenant';

CREATE FUNCTION minor_digits(p_currency text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE
        WHEN p_currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
        WHEN p_currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'VND', 'VUV',
                            'XAF', 'XOF', 'XPF') THEN 0
        ELSE 2
    END
$$;
COMMENT ON FUNCTION minor_digits(text) IS 'Decimals a payment in this currency has';

CREATE FUNCTION moving_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(pg_catalog.current_setting('app.moving_tenant_id', true), '')::uuid $$;
COMMENT ON FUNCTION moving_tenant() IS 'Tenant whose rows the owner moves or drops, NULL when none: then it sees no rows';

-- No fixed search_path here: the policies name tables of the schema that is being migrated. Only the owner may run it.
CREATE FUNCTION protect_table(p_table regclass, p_visible_to_user text, p_write_grants text) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    v_tenant constant text := 'tenant_id = (SELECT cloudlab.current_tenant())';
    v_user constant text := '(SELECT cloudlab.current_user_id()) IS NULL OR ';
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', p_table);
    EXECUTE format(
        'CREATE POLICY tenant_isolation_policy ON %s AS RESTRICTIVE FOR ALL'
        ' TO application_readonly, application_readwrite, application_admin USING (%s) WITH CHECK (%2$s)',
        p_table, v_tenant);
    EXECUTE format(
        'CREATE POLICY user_data_policy ON %s AS PERMISSIVE FOR ALL'
        ' TO application_readonly, application_readwrite, application_admin USING (%s) WITH CHECK (%2$s)',
        p_table, CASE WHEN p_visible_to_user = 'true' THEN 'true' ELSE v_user || p_visible_to_user END);
    EXECUTE format('CREATE POLICY platform_policy ON %s AS PERMISSIVE FOR SELECT TO platform_worker USING (true)', p_table);
    EXECUTE format('CREATE POLICY move_policy ON %s AS PERMISSIVE FOR ALL TO CURRENT_ROLE USING (tenant_id ='
        ' (SELECT cloudlab.moving_tenant())) WITH CHECK (tenant_id = (SELECT cloudlab.moving_tenant()))', p_table);
    EXECUTE format('GRANT SELECT ON %s TO application_readonly, application_readwrite, application_admin, platform_worker',
        p_table);
    EXECUTE format('GRANT %s ON %s TO application_readwrite, application_admin', p_write_grants, p_table);
END
$$;
COMMENT ON FUNCTION protect_table(regclass, text, text) IS
    'Enables and forces RLS, adds the restrictive tenant policy and the permissive user policy, and grants';
REVOKE EXECUTE ON FUNCTION protect_table(regclass, text, text) FROM PUBLIC;

CREATE FUNCTION refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = '42501', HINT = 'Record a correction as a new row.';
END
$$;
COMMENT ON FUNCTION refuse_change() IS 'Keeps history from being rewritten, whoever asks';

-- migrate:down
DROP FUNCTION refuse_change();
DROP FUNCTION protect_table(regclass, text, text);
DROP FUNCTION moving_tenant();
DROP FUNCTION minor_digits(text);
DROP FUNCTION current_user_id();
DROP FUNCTION current_tenant();
DROP FUNCTION touch_updated_at();
DROP FUNCTION cloudlab.uuidv7();
-- The roles stay: other databases of this server may use them.
REVOKE USAGE ON SCHEMA cloudlab FROM application_readonly, application_readwrite, application_admin, platform_worker;
