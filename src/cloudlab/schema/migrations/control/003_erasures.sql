-- Migration: Ledger of erasures
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Which persons were erased, kept apart from the shards so that it outlives a restore of one
-- Standard: §9.1 Encryption at Rest

-- migrate:up
-- cloudlab: ignore TN01 because it says where tenants live, before a session is of one of them; no tenant logs in to this database
CREATE TABLE erasures (
    tenant_id uuid NOT NULL,
    subject_id uuid NOT NULL,
    requested_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_erasures PRIMARY KEY (tenant_id, subject_id)
);
-- No foreign key: the record of an erasure outlives the tenant.
COMMENT ON TABLE erasures IS 'Ledger of erasures, applied again after a restore; it says who and when, nothing of the person';
COMMENT ON COLUMN erasures.tenant_id IS 'Tenant that knew the person';
COMMENT ON COLUMN erasures.subject_id IS 'The person';
COMMENT ON COLUMN erasures.requested_at IS 'When the erasure was asked for, before anything was erased';
GRANT SELECT, INSERT ON erasures TO application_readwrite, application_admin;

-- migrate:down
DROP TABLE erasures;
