-- Migration: Deletion of dropped tenants
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Which dropped tenants were deleted, when, and how much that was
-- Standard: §4.2 Tenant Configuration, §8.2 Soft Deletion

-- migrate:up
CREATE TABLE purges (
    tenant_id uuid NOT NULL,
    tenant_name varchar(255) NOT NULL,
    shard_name varchar(63) NOT NULL,
    deleted_count bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT pk_purges PRIMARY KEY (tenant_id)
);
-- No foreign key: the record outlives the tenant.
COMMENT ON TABLE purges IS 'Dropped tenants whose data is being deleted, or was';
COMMENT ON COLUMN purges.tenant_id IS 'Tenant that was dropped';
COMMENT ON COLUMN purges.tenant_name IS 'What it was called';
COMMENT ON COLUMN purges.shard_name IS 'Shard that held it at the end';
COMMENT ON COLUMN purges.deleted_count IS 'Rows deleted one by one so far; those of a schema that was dropped whole are not counted';
COMMENT ON COLUMN purges.created_at IS 'When the deletion began; from then on nothing brings the tenant back';
COMMENT ON COLUMN purges.finished_at IS 'When nothing was left';
GRANT SELECT ON purges TO application_admin, platform_worker;

-- migrate:down
DROP TABLE purges;
