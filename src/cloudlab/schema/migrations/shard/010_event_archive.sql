-- Migration: Archive of events
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Closed months of events, out of the way of appends and of the feed, and readable as before
-- Standard: §7.1 Time-Based Partitioning

-- migrate:up
CREATE TABLE events_archive (
    LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS,
    CONSTRAINT pk_events_archive PRIMARY KEY (event_position, created_at),
    CONSTRAINT uq_events_archive_tenant_id_aggregate_id_event_version
        UNIQUE (tenant_id, aggregate_id, event_version, created_at)
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE events_archive IS 'Closed months of events; no reader comes here unless it asks for them';
SELECT protect_table('events_archive', 'true', 'SELECT');
CREATE TRIGGER trg_events_archive_append_only BEFORE UPDATE OR DELETE ON events_archive
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- A reader of the archive reads this table first and so holds a lock on it until its transaction ends; every change of
-- a state excludes such readers. What a reader found here therefore stays true for the statements that follow.
CREATE TABLE event_archives (
    month date NOT NULL,
    partition_name varchar(63) NOT NULL,
    state varchar(20) DEFAULT 'moving' NOT NULL,
    event_count bigint NOT NULL,
    event_hash numeric(40,0) NOT NULL,
    last_position bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_event_archives PRIMARY KEY (month),
    CONSTRAINT chk_event_archives_state CHECK (state IN ('moving', 'archived')),
    CONSTRAINT chk_event_archives_first_of_month CHECK (extract(day FROM month) = 1)
);
COMMENT ON TABLE event_archives IS 'Months of events that are in the archive or on their way to it';
COMMENT ON COLUMN event_archives.month IS 'First day of the month, UTC';
COMMENT ON COLUMN event_archives.partition_name IS 'Table that holds its events';
COMMENT ON COLUMN event_archives.state IS 'moving: in events, in the archive or in neither; archived: in the archive';
COMMENT ON COLUMN event_archives.event_count IS 'How many events it had before it was moved';
COMMENT ON COLUMN event_archives.event_hash IS 'Sum of the hashes of its events before it was moved';
COMMENT ON COLUMN event_archives.last_position IS 'Highest position in it, 0 when it is empty';
COMMENT ON COLUMN event_archives.created_at IS 'When its move began';
COMMENT ON COLUMN event_archives.updated_at IS 'When its state last changed';
CREATE TRIGGER trg_event_archives_updated_at BEFORE UPDATE ON event_archives
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
GRANT SELECT (month, partition_name, state, last_position) ON event_archives
    TO application_readonly, application_readwrite, application_admin;
GRANT SELECT ON event_archives TO platform_worker;

-- Events of a month that is moving are read from its own table and from nowhere else, wherever it stands: while it is
-- being detached neither parent shows it. The first statement only takes the lock; the next one sees what is true then.
CREATE FUNCTION event_sources() RETURNS text
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    PERFORM FROM event_archives LIMIT 0;
    RETURN (
        WITH moving AS (
            SELECT m.partition_name, m.month::timestamp AT TIME ZONE 'UTC' AS since,
                   (m.month + interval '1 month') AT TIME ZONE 'UTC' AS until
            FROM event_archives m WHERE m.state = 'moving'),
        elsewhere AS (
            SELECT coalesce(string_agg(format(' AND (e.created_at < %L OR e.created_at >= %L)', m.since, m.until), ''), '')
                AS condition
            FROM moving m),
        tables AS (
            SELECT t.name, c.condition FROM elsewhere c, (VALUES ('events'), ('events_archive')) AS t (name)
            UNION ALL
            SELECT m.partition_name, '' FROM moving m)
        SELECT string_agg(format(
            'SELECT e.event_position, e.event_id, e.tenant_id, e.aggregate_type, e.aggregate_id, e.event_type,'
            ' e.event_version, e.event_data, e.metadata, e.created_at FROM cloudlab.%I AS e WHERE true%s',
            t.name, t.condition), ' UNION ALL ')
        FROM tables t);
END
$$;
COMMENT ON FUNCTION event_sources() IS
    'A query for all events, archived or not; true until the end of the transaction that asked';

CREATE FUNCTION archived_through() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    PERFORM FROM event_archives LIMIT 0;
    -- Below 0 stands the history of tenants that have moved here, so the bottom of nothing is lower.
    RETURN (SELECT coalesce(max(a.last_position) FILTER (WHERE a.event_count > 0), '-9223372036854775808')
            FROM event_archives a);
END
$$;
COMMENT ON FUNCTION archived_through() IS
    'Highest position in the archive: the feed behind it needs no archive; true until the end of the transaction';

CREATE FUNCTION read_feed_history(p_after bigint, p_limit integer)
    RETURNS TABLE (event_position bigint, event_id uuid, tenant_id uuid, aggregate_type varchar, aggregate_id uuid,
                   event_type varchar, event_version integer, event_data jsonb, metadata jsonb,
                   created_at timestamp with time zone)
    LANGUAGE plpgsql ROWS 1000
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_horizon bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the feed is read in READ COMMITTED only' USING ERRCODE = '25001',
            HINT = 'An older snapshot would hide events below the horizon.';
    END IF;
    v_horizon := feed_horizon();
    RETURN QUERY EXECUTE format(
        'SELECT f.event_position, f.event_id, f.tenant_id, f.aggregate_type, f.aggregate_id, f.event_type, f.event_version,'
        ' f.event_data, f.metadata, f.created_at FROM (%s) AS f WHERE f.event_position > $1 AND f.event_position <= $2'
        ' ORDER BY f.event_position LIMIT $3', event_sources())
        USING p_after, v_horizon, p_limit;
END
$$;
COMMENT ON FUNCTION read_feed_history(bigint, integer) IS 'The next events in order as read_feed gives them, archived ones too';

CREATE FUNCTION read_stream_history(
    p_aggregate_type varchar, p_aggregate_id uuid, p_after_version integer, p_limit integer, p_backward boolean DEFAULT false)
    RETURNS TABLE (event_position bigint, event_id uuid, tenant_id uuid, aggregate_type varchar, aggregate_id uuid,
                   event_type varchar, event_version integer, event_data jsonb, metadata jsonb,
                   created_at timestamp with time zone)
    LANGUAGE plpgsql ROWS 100
    SET search_path FROM CURRENT
    AS $$
BEGIN
    -- Whoever waits for a stream's next event asks behind its head; that must not open the archive.
    IF NOT EXISTS (SELECT FROM event_streams s WHERE s.tenant_id = current_tenant() AND s.aggregate_id = p_aggregate_id
                   AND s.aggregate_type = p_aggregate_type AND (p_backward OR s.event_version > p_after_version)) THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT f.event_position, f.event_id, f.tenant_id, f.aggregate_type, f.aggregate_id, f.event_type, f.event_version,'
        ' f.event_data, f.metadata, f.created_at FROM (%s) AS f WHERE f.tenant_id = $1 AND f.aggregate_id = $2'
        ' AND f.aggregate_type = $3 AND f.event_version %s LIMIT $5', event_sources(),
        CASE WHEN p_backward THEN '< $4 ORDER BY f.event_version DESC' ELSE '> $4 ORDER BY f.event_version' END)
        USING current_tenant(), p_aggregate_id, p_aggregate_type, p_after_version, p_limit;
END
$$;
COMMENT ON FUNCTION read_stream_history(varchar, uuid, integer, integer, boolean) IS
    'The events of one stream of the current tenant above a version, or backward below it, archived ones too';

CREATE FUNCTION month_fingerprint(p_month date, OUT event_count bigint, OUT event_hash numeric, OUT last_position bigint)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    -- Nothing in it depends on the order of the rows or on a setting of the session.
    EXECUTE format(
        'SELECT count(*), coalesce(sum(hashtextextended(concat_ws(''|'', f.event_position, f.event_id, f.tenant_id,'
        ' f.aggregate_type, f.aggregate_id, f.event_type, f.event_version, f.event_data, f.metadata,'
        ' extract(epoch FROM f.created_at)), 0)::numeric), 0), coalesce(max(f.event_position), 0)'
        ' FROM (%s) AS f WHERE f.created_at >= $1 AND f.created_at < $2', event_sources())
        INTO event_count, event_hash, last_position
        USING p_month::timestamp AT TIME ZONE 'UTC', (p_month + interval '1 month') AT TIME ZONE 'UTC';
END
$$;
COMMENT ON FUNCTION month_fingerprint(date) IS 'Count, hash and last position of a month of events, wherever it is';

CREATE FUNCTION begin_event_archive(p_month date, p_count bigint, p_hash numeric, p_last_position bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_name constant text := 'events_' || to_char(p_month, 'YYYY_MM');
    v_table constant regclass := to_regclass('cloudlab.' || quote_ident(v_name));
BEGIN
    PERFORM refuse_while_moving();
    LOCK TABLE event_archives IN ACCESS EXCLUSIVE MODE;
    -- Between its parents the table stands alone: it must let in whom they let in, and nobody else.
    IF NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = v_table) THEN
        PERFORM protect_table(v_table, 'true', 'SELECT');
    END IF;
    INSERT INTO event_archives (month, partition_name, event_count, event_hash, last_position)
    VALUES (p_month, v_name, p_count, p_hash, p_last_position);
END
$$;
COMMENT ON FUNCTION begin_event_archive(date, bigint, numeric, bigint) IS
    'First step of an archiving: from now on the month is read from its own table';

-- DETACH CONCURRENTLY has left a CHECK of the month on the table, so that attaching it reads nothing.
CREATE FUNCTION finish_event_archive(p_month date) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_name constant text := 'events_' || to_char(p_month, 'YYYY_MM');
BEGIN
    LOCK TABLE event_archives IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('ALTER TABLE cloudlab.events_archive ATTACH PARTITION cloudlab.%I FOR VALUES FROM (%L) TO (%L)',
        v_name, p_month::timestamp AT TIME ZONE 'UTC', (p_month + interval '1 month') AT TIME ZONE 'UTC');
    UPDATE event_archives SET state = 'archived' WHERE month = p_month;
END
$$;
COMMENT ON FUNCTION finish_event_archive(date) IS 'Last step of an archiving: the detached month joins the archive';

CREATE FUNCTION restore_event_archive(p_month date) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_name constant text := 'events_' || to_char(p_month, 'YYYY_MM');
BEGIN
    PERFORM refuse_while_moving();
    LOCK TABLE event_archives IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('ALTER TABLE cloudlab.events_archive DETACH PARTITION cloudlab.%I', v_name);
    EXECUTE format('ALTER TABLE cloudlab.events ATTACH PARTITION cloudlab.%I FOR VALUES FROM (%L) TO (%L)',
        v_name, p_month::timestamp AT TIME ZONE 'UTC', (p_month + interval '1 month') AT TIME ZONE 'UTC');
    DELETE FROM event_archives WHERE month = p_month;
END
$$;
COMMENT ON FUNCTION restore_event_archive(date) IS 'Brings a month back from the archive, in one transaction';
REVOKE EXECUTE ON FUNCTION begin_event_archive(date, bigint, numeric, bigint), finish_event_archive(date),
    restore_event_archive(date), month_fingerprint(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION month_fingerprint(date) TO platform_worker;

-- migrate:down
DROP FUNCTION restore_event_archive(date);
DROP FUNCTION finish_event_archive(date);
DROP FUNCTION begin_event_archive(date, bigint, numeric, bigint);
DROP FUNCTION month_fingerprint(date);
DROP FUNCTION read_stream_history(varchar, uuid, integer, integer, boolean);
DROP FUNCTION read_feed_history(bigint, integer);
DROP FUNCTION archived_through();
DROP FUNCTION event_sources();
DROP TABLE event_archives;
DROP TABLE events_archive;
