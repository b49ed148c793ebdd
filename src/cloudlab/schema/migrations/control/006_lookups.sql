-- Migration: Global look-ups
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Which tenant has this e-mail domain, this order number: by keyed digest, so that no such thing stands here
-- Standard: §4.2 Tenant Configuration, §9.1 Encryption at Rest

-- migrate:up
-- cloudlab: ignore TN01 because it is looked up to learn the tenant; no tenant logs in to this database
CREATE TABLE tenant_lookups (
    kind varchar(20) NOT NULL,
    lookup_digest bytea NOT NULL,
    tenant_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_tenant_lookups PRIMARY KEY (kind, lookup_digest, tenant_id),
    CONSTRAINT fk_tenant_lookups_tenant_id FOREIGN KEY (tenant_id) REFERENCES tenants (tenant_id) ON DELETE CASCADE,
    CONSTRAINT chk_tenant_lookups_kind CHECK (kind IN ('domain', 'order')),
    CONSTRAINT chk_tenant_lookups_digest_length CHECK (octet_length(lookup_digest) = 16)
);
-- A domain has one owner; an order number is unique in its tenant only.
CREATE UNIQUE INDEX uq_tenant_lookups_domain ON tenant_lookups (lookup_digest) WHERE kind = 'domain';
CREATE INDEX idx_tenant_lookups_tenant_id ON tenant_lookups (tenant_id);
COMMENT ON TABLE tenant_lookups IS 'Which tenants a domain or an order number belongs to';
COMMENT ON COLUMN tenant_lookups.kind IS 'What is looked up: domain or order';
COMMENT ON COLUMN tenant_lookups.lookup_digest IS 'HMAC of the domain or number under a key of the installation, first 16 bytes';
COMMENT ON COLUMN tenant_lookups.tenant_id IS 'The tenant that has it';
COMMENT ON COLUMN tenant_lookups.created_at IS 'When it was entered';

-- migrate:down
DROP TABLE tenant_lookups;
