-- Migration: Idempotency keys
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Commands already carried out, stored in the transaction of their effect
-- Standard: §3.1 Strong Consistency (CP from CAP)

-- migrate:up
CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL,
    idempotency_key varchar(200) NOT NULL,
    request_fingerprint bytea NOT NULL,
    resource_id uuid NOT NULL,
    answer jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (tenant_id, idempotency_key),
    CONSTRAINT chk_idempotency_keys_key_not_empty CHECK (idempotency_key <> '')
);
COMMENT ON TABLE idempotency_keys IS 'Commands that moved stock or money: a repeated key finds the first effect instead of a second one';
COMMENT ON COLUMN idempotency_keys.tenant_id IS 'Tenant whose command it was';
COMMENT ON COLUMN idempotency_keys.idempotency_key IS 'Key chosen by the caller';
COMMENT ON COLUMN idempotency_keys.request_fingerprint IS 'SHA-256 of the request, so that another request under the same key is refused';
COMMENT ON COLUMN idempotency_keys.resource_id IS 'What the command made';
COMMENT ON COLUMN idempotency_keys.answer IS 'First answer, given again to the same request; NULL where it is read from what the command made';
COMMENT ON COLUMN idempotency_keys.created_at IS 'When it was carried out';
SELECT protect_table('idempotency_keys', 'true', 'INSERT, UPDATE');

-- migrate:down
DROP TABLE idempotency_keys;
