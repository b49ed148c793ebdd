-- Migration: Projections
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Readers of the feed: their lanes, who works on which, how far each has come, what was set aside
-- Standard: §3.1 Eventual Consistency (AP from CAP)

-- migrate:up
CREATE TABLE projections (
    projection_name varchar(100) NOT NULL,
    lane_count integer NOT NULL,
    state varchar(20) DEFAULT 'live' NOT NULL,
    is_external boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_projections PRIMARY KEY (projection_name),
    CONSTRAINT chk_projections_lane_count_power_of_two CHECK (lane_count BETWEEN 1 AND 256 AND lane_count & (lane_count - 1) = 0),
    CONSTRAINT chk_projections_state CHECK (state IN ('live', 'paused', 'swapping'))
);
COMMENT ON TABLE projections IS 'Readers of the feed of this shard';
COMMENT ON COLUMN projections.projection_name IS 'Name of the projection; with @rebuild behind it, the copy that is being built beside it';
COMMENT ON COLUMN projections.lane_count IS 'Into how many lanes its streams are divided; a power of two';
COMMENT ON COLUMN projections.state IS 'Whether its workers go on (live), stand still (paused), or do so for a rebuild''s swap only (swapping)';
COMMENT ON COLUMN projections.is_external IS 'Whether it writes outside of this database: then its effect does not move with a tenant''s rows';
COMMENT ON COLUMN projections.created_at IS 'When it first ran here';
COMMENT ON COLUMN projections.updated_at IS 'When this row last changed';
CREATE TRIGGER trg_projections_updated_at BEFORE UPDATE ON projections
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE projection_checkpoints (
    projection_name varchar(100) NOT NULL,
    lane integer NOT NULL,
    epoch integer DEFAULT 1 NOT NULL,
    event_position bigint DEFAULT 0 NOT NULL,
    owner_id uuid,
    lease_epoch bigint DEFAULT 0 NOT NULL,
    leased_until timestamp with time zone,
    failed_attempts integer DEFAULT 0 NOT NULL,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_projection_checkpoints PRIMARY KEY (projection_name, lane),
    CONSTRAINT fk_projection_checkpoints_projection_name FOREIGN KEY (projection_name)
        REFERENCES projections (projection_name) ON DELETE CASCADE,
    CONSTRAINT chk_projection_checkpoints_lane_not_negative CHECK (lane >= 0),
    CONSTRAINT chk_projection_checkpoints_attempts_not_negative CHECK (failed_attempts >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE projection_checkpoints IS 'How far each lane of each projection has read the feed, and which worker has it';
COMMENT ON COLUMN projection_checkpoints.projection_name IS 'As the code registers it';
COMMENT ON COLUMN projection_checkpoints.lane IS 'Which streams: those whose id ends in these bits';
COMMENT ON COLUMN projection_checkpoints.epoch IS 'Epoch of the shard in which the position was reached';
COMMENT ON COLUMN projection_checkpoints.event_position IS 'Position up to which everything of the lane has been applied';
COMMENT ON COLUMN projection_checkpoints.owner_id IS 'Worker that has the lane';
COMMENT ON COLUMN projection_checkpoints.lease_epoch IS 'Rises with every new owner; who holds an older one cannot advance the lane any more';
COMMENT ON COLUMN projection_checkpoints.leased_until IS 'When another worker may take the lane, unless the lease is renewed';
COMMENT ON COLUMN projection_checkpoints.failed_attempts IS 'Attempts at the next batch that failed in a row';
COMMENT ON COLUMN projection_checkpoints.last_error IS 'What the last failed attempt said';
COMMENT ON COLUMN projection_checkpoints.created_at IS 'When the lane first ran here';
COMMENT ON COLUMN projection_checkpoints.updated_at IS 'When it last advanced, failed or changed hands';
CREATE TRIGGER trg_projection_checkpoints_updated_at BEFORE UPDATE ON projection_checkpoints
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE TABLE projection_workers (
    projection_name varchar(100) NOT NULL,
    worker_id uuid NOT NULL,
    event_types varchar(100)[] NOT NULL,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_projection_workers PRIMARY KEY (projection_name, worker_id),
    CONSTRAINT fk_projection_workers_projection_name FOREIGN KEY (projection_name)
        REFERENCES projections (projection_name) ON DELETE CASCADE
);
COMMENT ON TABLE projection_workers IS 'Workers that share a projection: the lanes are divided among those seen of late';
COMMENT ON COLUMN projection_workers.projection_name IS 'Which one the worker runs, as the code registers it';
COMMENT ON COLUMN projection_workers.worker_id IS 'The worker, a new id for each process';
COMMENT ON COLUMN projection_workers.event_types IS 'What its code reads: a worker of another release may read more or less';
COMMENT ON COLUMN projection_workers.seen_at IS 'When it last asked for lanes';

CREATE TABLE parked_events (
    projection_name varchar(100) NOT NULL,
    event_position bigint NOT NULL,
    tenant_id uuid NOT NULL,
    aggregate_id uuid NOT NULL,
    event_type varchar(100) NOT NULL,
    failed_attempts integer NOT NULL,
    last_error text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_parked_events PRIMARY KEY (projection_name, event_position),
    CONSTRAINT fk_parked_events_projection_name FOREIGN KEY (projection_name)
        REFERENCES projections (projection_name) ON DELETE CASCADE,
    CONSTRAINT chk_parked_events_attempts_not_negative CHECK (failed_attempts >= 0)
);
CREATE INDEX idx_parked_events_projection_name_aggregate_id ON parked_events (projection_name, aggregate_id);
COMMENT ON TABLE parked_events IS 'Events a projection could not apply, and those behind them in the same stream; never skipped, waiting for somebody';
COMMENT ON COLUMN parked_events.projection_name IS 'Projection that could not apply it';
COMMENT ON COLUMN parked_events.event_position IS 'Position of what could not be applied';
COMMENT ON COLUMN parked_events.tenant_id IS 'Tenant whose event it is';
COMMENT ON COLUMN parked_events.aggregate_id IS 'Its stream, which waits as a whole to keep its order';
COMMENT ON COLUMN parked_events.event_type IS 'What had happened, as in events';
COMMENT ON COLUMN parked_events.failed_attempts IS 'How often it was tried; 0 when it only waits behind another';
COMMENT ON COLUMN parked_events.last_error IS 'What the last attempt said';
COMMENT ON COLUMN parked_events.created_at IS 'When it was parked';
COMMENT ON COLUMN parked_events.updated_at IS 'When it was last tried';
CREATE TRIGGER trg_parked_events_updated_at BEFORE UPDATE ON parked_events
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

SELECT protect_table('parked_events', 'true', 'SELECT');
CREATE POLICY projection_policy ON parked_events FOR ALL TO platform_worker USING (true) WITH CHECK (true);
CREATE POLICY rebuild_policy ON parked_events FOR ALL TO CURRENT_ROLE USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON projections, projection_checkpoints, projection_workers, parked_events
    TO platform_worker;

-- Plain arithmetic on the random end of the id: the same in every version of PostgreSQL and in any other language.
CREATE FUNCTION lane_of(p_aggregate_id uuid, p_lanes integer) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT pg_catalog.get_byte(pg_catalog.uuid_send(p_aggregate_id), 15) & (p_lanes - 1) $$;
COMMENT ON FUNCTION lane_of(uuid, integer) IS 'The lane of a stream among so many lanes';

CREATE FUNCTION register_projection(p_name varchar, p_lanes integer, p_is_external boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_lanes integer;
    v_is_external boolean := p_is_external;
BEGIN
    SELECT p.lane_count, p.is_external INTO v_lanes, v_is_external FROM projections p WHERE p.projection_name = p_name;
    IF NOT FOUND THEN
        INSERT INTO projections (projection_name, lane_count, is_external) VALUES (p_name, p_lanes, p_is_external) ON CONFLICT DO NOTHING;
        SELECT p.lane_count INTO v_lanes FROM projections p WHERE p.projection_name = p_name;
        -- Below 0 stands the history of tenants that have moved here.
        INSERT INTO projection_checkpoints (projection_name, lane, event_position)
        SELECT p_name, n, feed_beginning() FROM generate_series(0, v_lanes - 1) AS n ON CONFLICT DO NOTHING;
    END IF;
    IF v_is_external <> p_is_external THEN
        UPDATE projections p SET is_external = p_is_external WHERE p.projection_name = p_name;
    END IF;
    IF v_lanes <> p_lanes THEN
        RAISE EXCEPTION 'projection % has % lanes here, not %', p_name, v_lanes, p_lanes
            USING ERRCODE = 'CL400', HINT = 'Rebuild it to change its lanes: cloudlab projection rebuild';
    END IF;
END
$$;
COMMENT ON FUNCTION register_projection(varchar, integer, boolean) IS 'Makes a projection known with its lanes, once';

-- Every worker asks again within the lease. Lanes are divided evenly among those who asked of late, so a worker that
-- joins finds lanes given up for it, and the lanes of one that is gone or hangs fall to the others when the lease ends.
CREATE FUNCTION claim_lanes(p_name varchar, p_worker uuid, p_lease interval, p_types varchar[])
    RETURNS TABLE (lane integer, lease_epoch bigint, event_position bigint, is_surplus boolean)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_now timestamp with time zone := clock_timestamp();
    v_lanes integer;
    v_workers integer;
    v_rank integer;
    v_share integer;
BEGIN
    SELECT p.lane_count INTO v_lanes FROM projections p WHERE p.projection_name = p_name AND p.state = 'live';
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO projection_workers AS w (projection_name, worker_id, event_types, seen_at)
    VALUES (p_name, p_worker, p_types, v_now)
    ON CONFLICT (projection_name, worker_id) DO UPDATE SET seen_at = excluded.seen_at, event_types = excluded.event_types;
    SELECT count(*), count(*) FILTER (WHERE w.worker_id < p_worker) INTO v_workers, v_rank
    FROM projection_workers w WHERE w.projection_name = p_name AND w.seen_at > v_now - p_lease;
    v_share := v_lanes / v_workers + (v_rank < v_lanes % v_workers)::integer;

    UPDATE projection_checkpoints c SET leased_until = v_now + p_lease
    WHERE c.projection_name = p_name AND c.owner_id = p_worker;
    UPDATE projection_checkpoints c
    SET owner_id = p_worker, lease_epoch = c.lease_epoch + 1, leased_until = v_now + p_lease
    WHERE c.projection_name = p_name AND c.lane IN (
        SELECT f.lane FROM projection_checkpoints f
        WHERE f.projection_name = p_name AND (f.owner_id IS NULL OR (f.owner_id <> p_worker AND f.leased_until < v_now))
        ORDER BY f.lane
        LIMIT greatest(v_share - (SELECT count(*) FROM projection_checkpoints m
                                  WHERE m.projection_name = p_name AND m.owner_id = p_worker), 0)
        FOR UPDATE SKIP LOCKED);
    RETURN QUERY
        SELECT c.lane, c.lease_epoch, c.event_position, row_number() OVER (ORDER BY c.lane) > v_share
        FROM projection_checkpoints c WHERE c.projection_name = p_name AND c.owner_id = p_worker ORDER BY c.lane;
END
$$;
COMMENT ON FUNCTION claim_lanes(varchar, uuid, interval, varchar[]) IS
    'The lanes a worker has after asking; surplus ones it should give back, for there are more workers now';

CREATE FUNCTION release_lane(p_name varchar, p_lane integer, p_worker uuid, p_lease_epoch bigint) RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
    AS $$
    UPDATE projection_checkpoints SET owner_id = NULL, leased_until = NULL
    WHERE projection_name = p_name AND lane = p_lane AND owner_id = p_worker AND lease_epoch = p_lease_epoch
$$;
COMMENT ON FUNCTION release_lane(varchar, integer, uuid, bigint) IS 'Gives a lane back, for any worker to take';

CREATE FUNCTION release_worker(p_name varchar, p_worker uuid) RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
    AS $$
    UPDATE projection_checkpoints SET owner_id = NULL, leased_until = NULL
    WHERE projection_name = p_name AND owner_id = p_worker;
    DELETE FROM projection_workers
    WHERE projection_name = p_name AND (worker_id = p_worker OR seen_at < clock_timestamp() - interval '1 day')
$$;
COMMENT ON FUNCTION release_worker(varchar, uuid) IS 'A worker leaves: its lanes are free at once';

-- A worker is told which of its lanes have anything to read: most commits matter to few of them.
CREATE FUNCTION feed_news(p_after bigint)
    RETURNS TABLE (horizon bigint, lane integer, event_type varchar)
    LANGUAGE plpgsql ROWS 10
    SET search_path FROM CURRENT
    SET enable_seqscan = off -- a plan that is made while a month is empty would read all of it later
    AS $$
DECLARE
    v_horizon constant bigint := feed_horizon();
BEGIN
    IF v_horizon - p_after NOT BETWEEN 0 AND 10000 THEN
        RETURN QUERY SELECT v_horizon, NULL::integer, NULL::varchar;
        RETURN;
    END IF;
    -- A new statement, so a new snapshot: it sees everything that ended before the horizon was taken.
    RETURN QUERY
        SELECT DISTINCT v_horizon, lane_of(e.aggregate_id, 256), e.event_type
        FROM events e WHERE e.event_position > p_after AND e.event_position <= v_horizon
        UNION ALL
        SELECT v_horizon, -1, '';
END
$$;
COMMENT ON FUNCTION feed_news(bigint) IS
    'How far the feed can be read (lane -1), and which of 256 lanes and types have events behind a position; lane NULL: too many to look at';

-- Windows end at fixed multiples, so a batch that comes again after a crash is cut as it was before. The window ends at
-- an event that was seen, never at the horizon itself: after a crash of the server a sequence may jump.
CREATE FUNCTION feed_window(p_after bigint, p_size integer, p_beyond_horizon boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_first bigint;
    v_end bigint := CASE WHEN p_beyond_horizon THEN 9223372036854775807 ELSE feed_horizon() END;
BEGIN
    SELECT e.event_position INTO v_first FROM events e
    WHERE e.event_position > p_after AND e.event_position <= v_end ORDER BY e.event_position LIMIT 1;
    IF NOT FOUND THEN
        RETURN p_after;
    END IF;
    v_end := least(v_end, (v_first + p_size - 1) / p_size * p_size);
    RETURN (SELECT e.event_position FROM events e
            WHERE e.event_position >= v_first AND e.event_position <= v_end ORDER BY e.event_position DESC LIMIT 1);
END
$$;
COMMENT ON FUNCTION feed_window(bigint, integer, boolean) IS
    'Up to which position the next batch behind a position goes; that position itself when there is nothing';

-- No fixed search_path here: it would keep the function from being inlined, and it names everything in full.
CREATE FUNCTION batch_events(
    p_after bigint, p_upto bigint, p_lane integer, p_lanes integer, p_types varchar[], p_waiting bigint[])
    RETURNS TABLE (event_position bigint, event_id uuid, tenant_id uuid, aggregate_type varchar, aggregate_id uuid,
                   event_type varchar, event_version integer, event_data jsonb, metadata jsonb,
                   created_at timestamp with time zone)
    LANGUAGE sql STABLE ROWS 1000
    AS $$
    SELECT e.event_position, e.event_id, e.tenant_id, e.aggregate_type, e.aggregate_id, e.event_type, e.event_version,
           e.event_data, e.metadata, e.created_at
    FROM cloudlab.events e
    WHERE e.event_position > p_after AND e.event_position <= p_upto AND e.tenant_id = cloudlab.current_tenant()
      AND cloudlab.lane_of(e.aggregate_id, p_lanes) = p_lane AND e.event_type = ANY (p_types)
      AND e.event_position <> ALL (p_waiting)
$$;
COMMENT ON FUNCTION batch_events(bigint, bigint, integer, integer, varchar[], bigint[]) IS
    'The current tenant''s events of one lane and some types between two positions, without those that must wait';

CREATE FUNCTION shadow_schema(p_schema text, p_name varchar) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT pg_catalog.left(p_schema, 40) || '__' || pg_catalog.left(pg_catalog.md5(p_name), 8) $$;
COMMENT ON FUNCTION shadow_schema(text, varchar) IS 'Schema in which a projection''s tables of another schema are rebuilt';

-- Which events wait behind a parked one is decided once, here: whatever is parked or freed meanwhile, each event of the
-- batch is either applied or parked.
CREATE FUNCTION begin_lane(
    p_name varchar, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_size integer, p_types varchar[],
    p_beyond_horizon boolean,
    OUT after bigint, OUT upto bigint, OUT epoch integer, OUT failed_attempts integer, OUT lane_count integer,
    OUT waiting bigint[])
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_has_parked boolean;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the feed is read in READ COMMITTED only' USING ERRCODE = '25001',
            HINT = 'An older snapshot would hide events below the horizon.';
    END IF;
    SELECT c.event_position, coalesce((SELECT i.epoch FROM shard_identity i), 1), c.failed_attempts, p.lane_count,
           EXISTS (SELECT FROM parked_events k WHERE k.projection_name = p_name)
    INTO after, epoch, failed_attempts, lane_count, v_has_parked
    FROM projection_checkpoints c
    JOIN projections p ON p.projection_name = c.projection_name
    WHERE c.projection_name = p_name AND c.lane = p_lane AND c.owner_id = p_worker AND c.lease_epoch = p_lease_epoch;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lane % of % has another owner now', p_lane, p_name USING ERRCODE = 'CL003';
    END IF;
    IF after < archived_through() THEN
        RAISE EXCEPTION 'events behind position % are archived, up to %', after, archived_through() USING ERRCODE = 'CL400',
            HINT = 'Bring their months back first: cloudlab partition list, cloudlab partition restore MONTH';
    END IF;
    upto := feed_window(after, p_size, p_beyond_horizon);
    waiting := '{}';
    IF v_has_parked THEN
        SELECT coalesce(array_agg(e.event_position), '{}') INTO waiting
        FROM events e
        WHERE e.event_position > after AND e.event_position <= upto AND lane_of(e.aggregate_id, lane_count) = p_lane
          AND e.event_type = ANY (p_types)
          AND EXISTS (SELECT FROM parked_events k WHERE k.projection_name = p_name AND k.aggregate_id = e.aggregate_id);
    END IF;
END
$$;
COMMENT ON FUNCTION begin_lane(varchar, integer, uuid, bigint, integer, varchar[], boolean) IS
    'From where to where the next batch of a lane goes, for the worker that has it, and which of its events must wait';

CREATE FUNCTION read_lane(
    p_name varchar, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_size integer, p_types varchar[],
    p_beyond_horizon boolean DEFAULT false)
    RETURNS TABLE (after bigint, upto bigint, epoch integer, failed_attempts integer, waiting bigint[],
                   event_position bigint, event_id uuid, tenant_id uuid, aggregate_type varchar, aggregate_id uuid,
                   event_type varchar, event_version integer, event_data jsonb, metadata jsonb,
                   created_at timestamp with time zone)
    LANGUAGE plpgsql ROWS 1000
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_lane record;
BEGIN
    v_lane := begin_lane(p_name, p_lane, p_worker, p_lease_epoch, p_size, p_types, p_beyond_horizon);
    -- A new statement, so a new snapshot: it sees everything that ended before the horizon was taken.
    RETURN QUERY
        SELECT v_lane.after, v_lane.upto, v_lane.epoch, v_lane.failed_attempts, v_lane.waiting,
               e.event_position, e.event_id, e.tenant_id, e.aggregate_type, e.aggregate_id, e.event_type, e.event_version,
               e.event_data, e.metadata, e.created_at
        FROM events e
        WHERE e.event_position > v_lane.after AND e.event_position <= v_lane.upto
          AND lane_of(e.aggregate_id, v_lane.lane_count) = p_lane AND e.event_type = ANY (p_types)
          AND e.event_position <> ALL (v_lane.waiting)
        ORDER BY e.event_position;
    IF NOT FOUND THEN
        RETURN QUERY SELECT v_lane.after, v_lane.upto, v_lane.epoch, v_lane.failed_attempts, v_lane.waiting,
            NULL::bigint, NULL::uuid, NULL::uuid, NULL::varchar, NULL::uuid, NULL::varchar, NULL::integer, NULL::jsonb,
            NULL::jsonb, NULL::timestamp with time zone;
    END IF;
END
$$;
COMMENT ON FUNCTION read_lane(varchar, integer, uuid, bigint, integer, varchar[], boolean) IS
    'The next batch of a lane for the worker that has it; at least one row, which says how far the batch goes';

CREATE FUNCTION measure_lane(
    p_name varchar, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_size integer, p_types varchar[],
    p_beyond_horizon boolean DEFAULT false,
    OUT after bigint, OUT upto bigint, OUT epoch integer, OUT failed_attempts integer, OUT waiting bigint[],
    OUT tenant_ids uuid[], OUT event_count integer)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_lane record;
BEGIN
    v_lane := begin_lane(p_name, p_lane, p_worker, p_lease_epoch, p_size, p_types, p_beyond_horizon);
    after := v_lane.after;
    upto := v_lane.upto;
    epoch := v_lane.epoch;
    failed_attempts := v_lane.failed_attempts;
    waiting := v_lane.waiting;
    SELECT array_agg(t.tenant_id), coalesce(sum(t.events), 0) INTO tenant_ids, event_count
    FROM (SELECT e.tenant_id, count(*) AS events FROM events e
          WHERE e.event_position > v_lane.after AND e.event_position <= v_lane.upto
            AND lane_of(e.aggregate_id, v_lane.lane_count) = p_lane AND e.event_type = ANY (p_types)
            AND e.event_position <> ALL (v_lane.waiting)
          GROUP BY e.tenant_id ORDER BY e.tenant_id) AS t;
END
$$;
COMMENT ON FUNCTION measure_lane(varchar, integer, uuid, bigint, integer, varchar[], boolean) IS
    'As read_lane, without the events: whose they are and how many';

CREATE FUNCTION advance_lane(
    p_name varchar, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_upto bigint, p_epoch integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    -- What a crash of the server takes of this it takes as a whole, checkpoint and rows, and it is applied again; the
    -- events themselves are flushed. Stores elsewhere know a batch by its positions.
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE projection_checkpoints c
    SET event_position = p_upto, epoch = p_epoch, failed_attempts = 0, last_error = NULL
    WHERE c.projection_name = p_name AND c.lane = p_lane AND c.owner_id = p_worker AND c.lease_epoch = p_lease_epoch
      AND c.event_position <= p_upto;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lane % of % has another owner now', p_lane, p_name USING ERRCODE = 'CL003';
    END IF;
END
$$;
COMMENT ON FUNCTION advance_lane(varchar, integer, uuid, bigint, bigint, integer) IS
    'Moves a checkpoint, in the transaction of what was applied, unless the lane has gone to another worker';

-- A read model is written by the worker, for one tenant at a time, and only there: see protect_read_model.
CREATE FUNCTION enter_read_model(p_tenant_id uuid) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = cloudlab, pg_temp
    AS $$
DECLARE
    v_schema text;
BEGIN
    -- Not the lock of the sessions: a move stops those first, and then waits for the readers.
    PERFORM pg_advisory_xact_lock_shared(20544, hashtext(p_tenant_id::text));
    SELECT t.schema_name INTO v_schema FROM tenant_local t
    WHERE t.tenant_id = p_tenant_id AND t.state IN ('open', 'suspended');
    PERFORM set_config('app.current_tenant_id', CASE WHEN FOUND THEN p_tenant_id::text ELSE '' END, true),
            set_config('app.current_user_id', '', true);
    RETURN v_schema;
END
$$;
COMMENT ON FUNCTION enter_read_model(uuid) IS
    'Binds this transaction of a worker to one tenant; returns its schema, NULL when it is not served here any more';
REVOKE EXECUTE ON FUNCTION enter_read_model(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION enter_read_model(uuid) TO platform_worker;

CREATE FUNCTION protect_read_model(p_table regclass, p_visible_to_user text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM cloudlab.protect_table(p_table, p_visible_to_user, 'INSERT, UPDATE, DELETE');
    EXECUTE format('CREATE POLICY projection_policy ON %s AS PERMISSIVE FOR ALL TO platform_worker'
        ' USING (tenant_id = (SELECT cloudlab.current_tenant())) WITH CHECK (tenant_id = (SELECT cloudlab.current_tenant()))',
        p_table);
    EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %s TO platform_worker', p_table);
END
$$;
COMMENT ON FUNCTION protect_read_model(regclass, text) IS
    'As protect_table, for a table that a projection writes: the worker may write the rows of the tenant it is bound to';
REVOKE EXECUTE ON FUNCTION protect_read_model(regclass, text) FROM PUBLIC;

-- migrate:down
DROP FUNCTION protect_read_model(regclass, text);
DROP FUNCTION enter_read_model(uuid);
DROP FUNCTION advance_lane(varchar, integer, uuid, bigint, bigint, integer);
DROP FUNCTION read_lane(varchar, integer, uuid, bigint, integer, varchar[], boolean);
DROP FUNCTION measure_lane(varchar, integer, uuid, bigint, integer, varchar[], boolean);
DROP FUNCTION begin_lane(varchar, integer, uuid, bigint, integer, varchar[], boolean);
DROP FUNCTION shadow_schema(text, varchar);
DROP FUNCTION batch_events(bigint, bigint, integer, integer, varchar[], bigint[]);
DROP FUNCTION feed_window(bigint, integer, boolean);
DROP FUNCTION feed_news(bigint);
DROP FUNCTION release_worker(varchar, uuid);
DROP FUNCTION release_lane(varchar, integer, uuid, bigint);
DROP FUNCTION claim_lanes(varchar, uuid, interval, varchar[]);
DROP FUNCTION register_projection(varchar, integer, boolean);
DROP FUNCTION lane_of(uuid, integer);
DROP TABLE parked_events;
DROP TABLE projection_workers;
DROP TABLE projection_checkpoints;
DROP TABLE projections;
