-- Migration: Tenants of this shard
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: The shard's own truth about which tenants it serves, and the one way into a tenant's transaction
-- Standard: §4.1 Row-Level Security (RLS), §4.1 Tenant-Specific Schemas, §7.2 Tenant-Based Sharding

-- migrate:up
CREATE TABLE shard_identity (
    shard_name varchar(63) NOT NULL,
    region varchar(63) NOT NULL,
    epoch integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_shard_identity PRIMARY KEY (shard_name),
    CONSTRAINT chk_shard_identity_epoch_positive CHECK (epoch > 0)
);
CREATE UNIQUE INDEX uq_shard_identity_single_row ON shard_identity ((true));
COMMENT ON TABLE shard_identity IS 'Who this shard is: one row';
COMMENT ON COLUMN shard_identity.shard_name IS 'Name of this shard in the directory';
COMMENT ON COLUMN shard_identity.region IS 'Region whose data it may hold';
COMMENT ON COLUMN shard_identity.epoch IS 'Rises when the shard is restored to an earlier time, so that readers which ran ahead notice';
COMMENT ON COLUMN shard_identity.created_at IS 'When the shard was set up';
COMMENT ON COLUMN shard_identity.updated_at IS 'When this row last changed';
CREATE TRIGGER trg_shard_identity_updated_at BEFORE UPDATE ON shard_identity
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
GRANT SELECT ON shard_identity TO application_readonly, application_readwrite, application_admin, platform_worker;

CREATE TABLE tenant_local (
    tenant_id uuid NOT NULL,
    tenant_name varchar(255) NOT NULL,
    schema_name varchar(63) NOT NULL,
    state varchar(20) DEFAULT 'open' NOT NULL,
    epoch integer DEFAULT 1 NOT NULL,
    moved_to varchar(127),
    leaving_for varchar(127),
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_tenant_local PRIMARY KEY (tenant_id),
    CONSTRAINT chk_tenant_local_state CHECK (state IN ('importing', 'open', 'suspended', 'moved')),
    CONSTRAINT chk_tenant_local_schema_name_format CHECK (schema_name ~ '^[a-z][a-z0-9_]*$')
);
COMMENT ON TABLE tenant_local IS 'Tenants this shard serves: the truth that routers are held to';
COMMENT ON COLUMN tenant_local.tenant_id IS 'Tenant that lives on this shard';
COMMENT ON COLUMN tenant_local.tenant_name IS 'Its name, for people';
COMMENT ON COLUMN tenant_local.schema_name IS 'Schema that holds its tables';
COMMENT ON COLUMN tenant_local.state IS 'Whether it is served here: importing, open, suspended or moved';
COMMENT ON COLUMN tenant_local.epoch IS 'Epoch of the placement this shard knows';
COMMENT ON COLUMN tenant_local.moved_to IS 'Shard and schema at which it is served now at that epoch, where it was moved from here';
COMMENT ON COLUMN tenant_local.leaving_for IS 'Shard and schema it is about to move to: whoever works in it is told, to make ready there';
COMMENT ON COLUMN tenant_local.created_at IS 'When the tenant came to this shard';
COMMENT ON COLUMN tenant_local.updated_at IS 'When this row last changed';
CREATE TRIGGER trg_tenant_local_updated_at BEFORE UPDATE ON tenant_local
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

ALTER TABLE tenant_local ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_local FORCE ROW LEVEL SECURITY;
CREATE POLICY directory_policy ON tenant_local FOR ALL TO CURRENT_ROLE USING (true) WITH CHECK (true);
CREATE POLICY platform_policy ON tenant_local FOR SELECT TO platform_worker USING (true);
CREATE POLICY tenant_isolation_policy ON tenant_local FOR SELECT
    TO application_readonly, application_readwrite, application_admin
    USING (tenant_id = (SELECT cloudlab.current_tenant()));
GRANT SELECT ON tenant_local TO application_readonly, application_readwrite, application_admin, platform_worker;

-- Returns the search path instead of setting it: what a function with a fixed search_path sets ends with the function.
CREATE FUNCTION enter_tenant(p_tenant_id uuid, p_user_id uuid, p_epoch integer) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = cloudlab, pg_temp
    AS $$
DECLARE
    v_local record;
BEGIN
    -- A move takes this lock exclusively; waiting for it is bounded by lock_timeout.
    PERFORM pg_advisory_xact_lock_shared(20541, hashtext(p_tenant_id::text));
    SELECT t.schema_name, t.state, t.epoch, t.moved_to, t.leaving_for INTO v_local FROM tenant_local t WHERE t.tenant_id = p_tenant_id;
    IF NOT FOUND OR v_local.state IN ('importing', 'moved') OR v_local.epoch <> p_epoch THEN
        RAISE EXCEPTION 'tenant % is not served by this shard at epoch %', p_tenant_id, p_epoch
            USING ERRCODE = 'CL001', DETAIL = CASE
                WHEN v_local.state = 'moved' THEN format('%s %s', v_local.moved_to, v_local.epoch)
                WHEN v_local.state IN ('open', 'suspended') THEN format('%s %s %s',
                    (SELECT i.shard_name FROM shard_identity i), v_local.schema_name, v_local.epoch)
                ELSE '' END;
    ELSIF v_local.state = 'suspended' THEN
        RAISE EXCEPTION 'tenant % is suspended', p_tenant_id USING ERRCODE = 'CL002';
    ELSIF v_local.leaving_for IS NOT NULL THEN
        RAISE NOTICE 'the tenant is about to move' USING ERRCODE = 'CL004', DETAIL = v_local.leaving_for;
    END IF;
    PERFORM set_config('app.current_tenant_id', p_tenant_id::text, true),
            set_config('app.current_user_id', coalesce(p_user_id::text, ''), true);
    RETURN quote_ident(v_local.schema_name) || ', cloudlab, pg_temp';
END
$$;
COMMENT ON FUNCTION enter_tenant(uuid, uuid, integer) IS
    'Binds this transaction to one tenant that the shard serves; returns the search path to set';
REVOKE EXECUTE ON FUNCTION enter_tenant(uuid, uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION enter_tenant(uuid, uuid, integer)
    TO application_readonly, application_readwrite, application_admin;

-- migrate:down
DROP FUNCTION enter_tenant(uuid, uuid, integer);
DROP TABLE tenant_local;
DROP TABLE shard_identity;
