-- Migration: Snapshots of streams
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: The state of long streams at a version, and the position of a point in time
-- Standard: §3.2 Event Store Schema

-- migrate:up
CREATE TABLE event_snapshots (
    tenant_id uuid NOT NULL,
    aggregate_id uuid NOT NULL,
    event_version integer NOT NULL,
    schema_version integer NOT NULL,
    subject_id uuid,
    state jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_event_snapshots PRIMARY KEY (tenant_id, aggregate_id),
    CONSTRAINT chk_event_snapshots_event_version_positive CHECK (event_version > 0),
    CONSTRAINT chk_event_snapshots_schema_version_positive CHECK (schema_version > 0)
);
CREATE INDEX idx_event_snapshots_subject_id ON event_snapshots (tenant_id, subject_id) WHERE subject_id IS NOT NULL;
COMMENT ON TABLE event_snapshots IS 'Newest folded state of a stream: a shortcut, which may be dropped at any time';
COMMENT ON COLUMN event_snapshots.tenant_id IS 'Tenant that owns the aggregate';
COMMENT ON COLUMN event_snapshots.aggregate_id IS 'ID of the aggregate root';
COMMENT ON COLUMN event_snapshots.event_version IS 'Version of the last event in the state';
COMMENT ON COLUMN event_snapshots.schema_version IS 'Version of the form of the state; a reader of another version folds anew';
COMMENT ON COLUMN event_snapshots.subject_id IS 'Person whose data the state holds, sealed with their key; erasing the person drops it';
COMMENT ON COLUMN event_snapshots.state IS 'What the events up to here amount to';
COMMENT ON COLUMN event_snapshots.created_at IS 'When the first snapshot of the stream was taken';
COMMENT ON COLUMN event_snapshots.updated_at IS 'When this one was taken';
SELECT protect_table('event_snapshots', 'true', 'INSERT, UPDATE, DELETE');
CREATE TRIGGER trg_event_snapshots_updated_at BEFORE UPDATE ON event_snapshots
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- Positions and times grow together, so the primary key answers: some thirty look-ups, and no index on created_at that
-- every append would have to write. Two events of the same moment may stand the other way round: ask some seconds early.
CREATE FUNCTION event_position_at(p_time timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_low bigint := 0;
    v_high bigint;
    v_middle bigint;
    v_found timestamp with time zone;
BEGIN
    SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END INTO v_high FROM event_position s;
    WHILE v_low < v_high LOOP
        v_middle := (v_low + v_high) / 2;
        SELECT e.created_at INTO v_found FROM events e
        WHERE e.event_position > v_middle ORDER BY e.event_position LIMIT 1;
        IF v_found < p_time THEN
            v_low := v_middle + 1;
        ELSE
            v_high := v_middle;
        END IF;
    END LOOP;
    RETURN v_low;
END
$$;
COMMENT ON FUNCTION event_position_at(timestamp with time zone) IS
    'Position behind which the events since a point in time stand; for the platform, which sees every event';
REVOKE EXECUTE ON FUNCTION event_position_at(timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_position_at(timestamp with time zone) TO platform_worker;

-- migrate:down
DROP FUNCTION event_position_at(timestamp with time zone);
DROP TABLE event_snapshots;
