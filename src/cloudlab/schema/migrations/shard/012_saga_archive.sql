-- Migration: Archive of sagas
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Sagas that have ended well, with their journal, out of the way of those that have not
-- Standard: §3.3 Saga State Management

-- migrate:up
CREATE TABLE saga_instances_archive (
    LIKE saga_instances INCLUDING DEFAULTS INCLUDING COMMENTS,
    CONSTRAINT pk_saga_instances_archive PRIMARY KEY (tenant_id, saga_id),
    CONSTRAINT chk_saga_archive_ended CHECK (status IN ('completed', 'compensated'))
);
COMMENT ON TABLE saga_instances_archive IS 'Sagas that have ended well, long ago';

CREATE TABLE saga_steps_archive (
    LIKE saga_steps INCLUDING DEFAULTS INCLUDING COMMENTS,
    CONSTRAINT pk_saga_steps_archive PRIMARY KEY (tenant_id, saga_id, step_type, direction, attempt),
    CONSTRAINT chk_saga_steps_archive_status CHECK (
        status IN ('pending', 'running', 'completed', 'failed', 'unknown', 'skipped', 'compensated')),
    CONSTRAINT fk_saga_steps_archive_saga_id FOREIGN KEY (tenant_id, saga_id)
        REFERENCES saga_instances_archive (tenant_id, saga_id) ON DELETE CASCADE
);
COMMENT ON TABLE saga_steps_archive IS 'Journal of the archived sagas';

CREATE TABLE saga_actions_archive (
    LIKE saga_actions INCLUDING DEFAULTS INCLUDING COMMENTS,
    CONSTRAINT pk_saga_actions_archive PRIMARY KEY (tenant_id, action_id),
    CONSTRAINT fk_saga_actions_archive_saga_id FOREIGN KEY (tenant_id, saga_id)
        REFERENCES saga_instances_archive (tenant_id, saga_id) ON DELETE CASCADE
);
CREATE INDEX idx_saga_actions_archive_saga_id ON saga_actions_archive (tenant_id, saga_id);
COMMENT ON TABLE saga_actions_archive IS 'What operators did to the archived sagas';

SELECT protect_table('saga_instances_archive', 'true', 'SELECT');
SELECT protect_table('saga_steps_archive', 'true', 'SELECT');
SELECT protect_table('saga_actions_archive', 'true', 'SELECT');
-- A worker moves what has ended, of every tenant; nothing else can be deleted or put into the archive.
CREATE POLICY archiver_policy ON saga_instances FOR DELETE TO platform_worker USING (next_at IS NULL);
CREATE POLICY archiver_policy ON saga_steps FOR DELETE TO platform_worker USING (true);
CREATE POLICY archiver_policy ON saga_actions FOR DELETE TO platform_worker USING (true);
CREATE POLICY archiver_policy ON saga_instances_archive FOR INSERT TO platform_worker WITH CHECK (true);
CREATE POLICY archiver_policy ON saga_steps_archive FOR INSERT TO platform_worker WITH CHECK (true);
CREATE POLICY archiver_policy ON saga_actions_archive FOR INSERT TO platform_worker WITH CHECK (true);
GRANT DELETE ON saga_instances, saga_steps, saga_actions TO platform_worker;
GRANT INSERT ON saga_instances_archive, saga_steps_archive, saga_actions_archive TO platform_worker;

-- One stretch of the primary key at a time: what a batch reads and what it moves are bounded, and no index is needed for it.
CREATE FUNCTION archive_sagas(
    p_before timestamp with time zone, p_after_tenant uuid, p_after_saga uuid, p_limit integer,
    OUT archived integer, OUT last_tenant uuid, OUT last_saga uuid)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_seen record;
BEGIN
    archived := 0;
    FOR v_seen IN
        SELECT s.tenant_id, s.saga_id, s.status IN ('completed', 'compensated') AND s.updated_at < p_before AS is_old
        FROM saga_instances s
        WHERE (s.tenant_id, s.saga_id) > (p_after_tenant, p_after_saga)
        ORDER BY s.tenant_id, s.saga_id LIMIT p_limit
    LOOP
        last_tenant := v_seen.tenant_id;
        last_saga := v_seen.saga_id;
        CONTINUE WHEN NOT v_seen.is_old;
        -- Another worker may be at it: what it has locked or moved is passed over.
        PERFORM FROM saga_instances s
        WHERE s.tenant_id = v_seen.tenant_id AND s.saga_id = v_seen.saga_id FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        INSERT INTO saga_instances_archive SELECT s.* FROM saga_instances s
        WHERE s.tenant_id = v_seen.tenant_id AND s.saga_id = v_seen.saga_id;
        INSERT INTO saga_steps_archive SELECT j.* FROM saga_steps j
        WHERE j.tenant_id = v_seen.tenant_id AND j.saga_id = v_seen.saga_id;
        INSERT INTO saga_actions_archive SELECT a.* FROM saga_actions a
        WHERE a.tenant_id = v_seen.tenant_id AND a.saga_id = v_seen.saga_id;
        DELETE FROM saga_steps j WHERE j.tenant_id = v_seen.tenant_id AND j.saga_id = v_seen.saga_id;
        DELETE FROM saga_actions a WHERE a.tenant_id = v_seen.tenant_id AND a.saga_id = v_seen.saga_id;
        DELETE FROM saga_instances s WHERE s.tenant_id = v_seen.tenant_id AND s.saga_id = v_seen.saga_id;
        archived := archived + 1;
    END LOOP;
END
$$;
COMMENT ON FUNCTION archive_sagas(timestamp with time zone, uuid, uuid, integer) IS
    'Moves sagas that ended well before a time to the archive, of so many behind a key; returns how many, and the last key';
REVOKE EXECUTE ON FUNCTION archive_sagas(timestamp with time zone, uuid, uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION archive_sagas(timestamp with time zone, uuid, uuid, integer) TO platform_worker;

-- migrate:down
DROP FUNCTION archive_sagas(timestamp with time zone, uuid, uuid, integer);
DROP POLICY archiver_policy ON saga_instances;
DROP POLICY archiver_policy ON saga_steps;
DROP POLICY archiver_policy ON saga_actions;
REVOKE DELETE ON saga_instances, saga_steps, saga_actions FROM platform_worker;
DROP TABLE saga_actions_archive;
DROP TABLE saga_steps_archive;
DROP TABLE saga_instances_archive;
