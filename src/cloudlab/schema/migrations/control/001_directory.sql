-- Migration: Directory of shards, tenants and placements
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Which tenants exist, which shards exist, and where each tenant lives
-- Standard: §4.2 Tenant Configuration, §7.2 Tenant-Based Sharding, §7.2 Geographic Sharding

-- migrate:up
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

CREATE TABLE shards (
    shard_id uuid DEFAULT uuidv7() NOT NULL,
    shard_name varchar(63) NOT NULL,
    region varchar(63) NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_shards PRIMARY KEY (shard_id),
    CONSTRAINT uq_shards_shard_name UNIQUE (shard_name),
    CONSTRAINT chk_shards_shard_name_format CHECK (shard_name ~ '^[a-z][a-z0-9_]*$')
);
COMMENT ON TABLE shards IS 'Databases that hold tenants, each in one region';
COMMENT ON COLUMN shards.shard_id IS 'Unique identifier of the shard';
COMMENT ON COLUMN shards.shard_name IS 'Name under which the configuration gives its address';
COMMENT ON COLUMN shards.region IS 'Region whose data this shard may hold';
COMMENT ON COLUMN shards.is_active IS 'Whether new tenants may be placed here';
COMMENT ON COLUMN shards.created_at IS 'When the shard was added';
COMMENT ON COLUMN shards.updated_at IS 'When this row last changed';

CREATE TABLE tenants (
    tenant_id uuid DEFAULT uuidv7() NOT NULL,
    tenant_name varchar(255) NOT NULL,
    schema_name varchar(63) NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    settings jsonb DEFAULT '{}' NOT NULL,
    pending varchar(20),
    drop_after timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_tenants PRIMARY KEY (tenant_id),
    CONSTRAINT uq_tenants_tenant_name UNIQUE (tenant_name),
    CONSTRAINT chk_tenants_tenant_name_format CHECK (tenant_name ~ '^[a-z][a-z0-9-]{0,47}$'),
    CONSTRAINT chk_tenants_settings_is_object CHECK (jsonb_typeof(settings) = 'object'),
    CONSTRAINT chk_tenants_pending CHECK (pending IN ('suspend', 'resume', 'rename', 'drop')),
    CONSTRAINT chk_tenants_dropped_is_not_active CHECK (drop_after IS NULL OR NOT is_active),
    CONSTRAINT chk_tenants_schema_name_format CHECK (schema_name ~ '^[a-z][a-z0-9_]*$')
);
COMMENT ON TABLE tenants IS 'Customers of the platform and their configuration';
COMMENT ON COLUMN tenants.tenant_id IS 'Unique identifier of the tenant, first in every key of its data';
COMMENT ON COLUMN tenants.tenant_name IS 'Name by which people and addresses call the tenant';
COMMENT ON COLUMN tenants.schema_name IS 'Schema that holds its tables: the shared one, or its own';
COMMENT ON COLUMN tenants.is_active IS 'Whether sessions may be opened for it';
COMMENT ON COLUMN tenants.settings IS 'Tenant-specific configuration settings';
COMMENT ON COLUMN tenants.pending IS 'What is intended and not yet done on the shard: suspend, resume, rename or drop; NULL when both agree';
COMMENT ON COLUMN tenants.drop_after IS 'From when on its data may be deleted, NULL when no drop was asked for';
COMMENT ON COLUMN tenants.created_at IS 'When the tenant was created';
COMMENT ON COLUMN tenants.updated_at IS 'When this row last changed';

-- cloudlab: ignore TN01 because it says where tenants live, before a session is of one of them; no tenant logs in to this database
CREATE TABLE placements (
    tenant_id uuid NOT NULL,
    shard_id uuid NOT NULL,
    placement varchar(20) NOT NULL,
    state varchar(20) DEFAULT 'creating' NOT NULL,
    epoch integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_placements PRIMARY KEY (tenant_id),
    CONSTRAINT fk_placements_tenant_id FOREIGN KEY (tenant_id) REFERENCES tenants (tenant_id) ON DELETE CASCADE,
    CONSTRAINT fk_placements_shard_id FOREIGN KEY (shard_id) REFERENCES shards (shard_id) ON DELETE RESTRICT,
    CONSTRAINT chk_placements_placement CHECK (placement IN ('row', 'schema', 'database')),
    CONSTRAINT chk_placements_state CHECK (state IN ('creating', 'open', 'dropping')),
    CONSTRAINT chk_placements_epoch_positive CHECK (epoch > 0)
);
CREATE INDEX idx_placements_shard_id ON placements (shard_id);
COMMENT ON TABLE placements IS 'Where each tenant lives: a hint to routers, the shard itself holds the truth';
COMMENT ON COLUMN placements.tenant_id IS 'The tenant placed';
COMMENT ON COLUMN placements.shard_id IS 'The shard that holds it';
COMMENT ON COLUMN placements.placement IS 'How it lives there: row of shared tables, own schema, or own database';
COMMENT ON COLUMN placements.state IS 'creating until the shard is ready, then open; dropping from the moment its deletion cannot be taken back';
COMMENT ON COLUMN placements.epoch IS 'Rises with every move, so that a stale route is recognised';
COMMENT ON COLUMN placements.created_at IS 'When the tenant was placed';
COMMENT ON COLUMN placements.updated_at IS 'When this row last changed';

CREATE TRIGGER trg_shards_updated_at BEFORE UPDATE ON shards FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER trg_tenants_updated_at BEFORE UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER trg_placements_updated_at BEFORE UPDATE ON placements FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- migrate:down
DROP TABLE placements;
DROP TABLE tenants;
DROP TABLE shards;
DROP FUNCTION touch_updated_at();
DROP FUNCTION cloudlab.uuidv7();
