-- Migration: Access to the directory
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: The group roles of the platform, and their right to read the directory
-- Standard: §9.2 Role-Based Access

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
GRANT USAGE ON SCHEMA cloudlab TO application_readonly, application_readwrite, application_admin, platform_worker;
GRANT SELECT ON shards, tenants, placements
    TO application_readonly, application_readwrite, application_admin, platform_worker;

-- migrate:down
-- The roles stay: other databases of this server may use them.
REVOKE SELECT ON shards, tenants, placements
    FROM application_readonly, application_readwrite, application_admin, platform_worker;
REVOKE USAGE ON SCHEMA cloudlab FROM application_readonly, application_readwrite, application_admin, platform_worker;
