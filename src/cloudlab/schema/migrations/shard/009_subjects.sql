-- Migration: Keys of persons and of tenants
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: One key for each person whose data stands in events, destroyed to erase the person from history; the keys
-- that seal fields of a tenant's rows
-- Standard: §9.1 Encryption at Rest

-- migrate:up
CREATE TABLE subject_keys (
    tenant_id uuid NOT NULL,
    subject_id uuid NOT NULL,
    wrapped_key bytea,
    key_version integer,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    erased_at timestamp with time zone,
    CONSTRAINT pk_subject_keys PRIMARY KEY (tenant_id, subject_id),
    CONSTRAINT chk_subject_keys_key_or_erased CHECK
        ((wrapped_key IS NULL) = (erased_at IS NOT NULL) AND (wrapped_key IS NULL) = (key_version IS NULL)),
    CONSTRAINT chk_subject_keys_key_version_positive CHECK (key_version > 0)
);
COMMENT ON TABLE subject_keys IS 'Keys that seal what events say of a person; a row without a key is the record of an erasure';
COMMENT ON COLUMN subject_keys.tenant_id IS 'Tenant that knows the person';
COMMENT ON COLUMN subject_keys.subject_id IS 'The person';
COMMENT ON COLUMN subject_keys.wrapped_key IS 'The key, wrapped by a master key; NULL once the person was erased';
COMMENT ON COLUMN subject_keys.key_version IS 'Version of the master key that wraps it';
COMMENT ON COLUMN subject_keys.created_at IS 'When the key was made';
COMMENT ON COLUMN subject_keys.updated_at IS 'When this row last changed';
COMMENT ON COLUMN subject_keys.erased_at IS 'When the person was erased';

-- The row stays after an erasure: an append that runs at the same time finds it and cannot make a second key.
SELECT protect_table('subject_keys', 'subject_id = (SELECT cloudlab.current_user_id())', 'INSERT, UPDATE');
CREATE POLICY rotation_policy ON subject_keys AS PERMISSIVE FOR UPDATE TO platform_worker USING (true) WITH CHECK (true);
GRANT UPDATE (wrapped_key, key_version, updated_at) ON subject_keys TO platform_worker;
CREATE TRIGGER trg_subject_keys_updated_at BEFORE UPDATE ON subject_keys
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE FUNCTION refuse_new_key() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    IF NEW.wrapped_key IS NOT NULL THEN
        RAISE EXCEPTION 'subject % was erased: it cannot have a key again',
            coalesce(to_jsonb(OLD) ->> 'subject_id', OLD.tenant_id::text) USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION refuse_new_key() IS 'Makes an erasure final, whoever asks';
CREATE TRIGGER trg_subject_keys_erasure_is_final BEFORE UPDATE ON subject_keys
    FOR EACH ROW WHEN (OLD.erased_at IS NOT NULL) EXECUTE FUNCTION refuse_new_key();

CREATE TABLE tenant_keys (
    tenant_id uuid NOT NULL,
    key_number integer NOT NULL,
    wrapped_key bytea,
    key_version integer,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    settled_at timestamp with time zone,
    erased_at timestamp with time zone,
    CONSTRAINT pk_tenant_keys PRIMARY KEY (tenant_id, key_number),
    CONSTRAINT chk_tenant_keys_key_number_not_negative CHECK (key_number >= 0),
    CONSTRAINT chk_tenant_keys_key_or_erased CHECK
        ((wrapped_key IS NULL) = (erased_at IS NOT NULL) AND (wrapped_key IS NULL) = (key_version IS NULL)),
    CONSTRAINT chk_tenant_keys_key_version_positive CHECK (key_version > 0)
);
COMMENT ON TABLE tenant_keys IS 'Keys that seal fields of a tenant''s rows: the highest number seals, all of them open; 0 makes unique blind indexes';
COMMENT ON COLUMN tenant_keys.tenant_id IS 'Tenant whose fields it seals';
COMMENT ON COLUMN tenant_keys.key_number IS 'Which key a sealed value or a blind index names in its first four bytes';
COMMENT ON COLUMN tenant_keys.wrapped_key IS 'The key, wrapped by a master key; NULL once it was erased';
COMMENT ON COLUMN tenant_keys.key_version IS 'Version of the master key that wraps it';
COMMENT ON COLUMN tenant_keys.created_at IS 'When the key was made';
COMMENT ON COLUMN tenant_keys.updated_at IS 'When this row last changed';
COMMENT ON COLUMN tenant_keys.settled_at IS 'When everything sealed before had been sealed anew with it; NULL while that is under way';
COMMENT ON COLUMN tenant_keys.erased_at IS 'When it was erased, and with it what it sealed';
SELECT protect_table('tenant_keys', 'true', 'INSERT, UPDATE');
CREATE POLICY rotation_policy ON tenant_keys AS PERMISSIVE FOR UPDATE TO platform_worker USING (true) WITH CHECK (true);
GRANT UPDATE (wrapped_key, key_version, updated_at) ON tenant_keys TO platform_worker;
CREATE TRIGGER trg_tenant_keys_updated_at BEFORE UPDATE ON tenant_keys
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER trg_tenant_keys_erasure_is_final BEFORE UPDATE ON tenant_keys
    FOR EACH ROW WHEN (OLD.erased_at IS NOT NULL) EXECUTE FUNCTION refuse_new_key();

-- migrate:down
DROP TABLE tenant_keys;
DROP TABLE subject_keys;
DROP FUNCTION refuse_new_key();
