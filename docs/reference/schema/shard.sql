--
-- PostgreSQL database dump
--

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: cloudlab; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA cloudlab;

--
-- Name: shop; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA shop;

--
-- Name: pg_stat_statements; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS pg_stat_statements WITH SCHEMA public;

--
-- Name: EXTENSION pg_stat_statements; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON EXTENSION pg_stat_statements IS 'track planning and execution statistics of all SQL statements executed';

--
-- Name: order_status; Type: TYPE; Schema: shop; Owner: -
--

CREATE TYPE shop.order_status AS ENUM (
    'draft',
    'pending_payment',
    'paid',
    'processing',
    'shipped',
    'delivered',
    'cancelled',
    'refunded'
);

--
-- Name: TYPE order_status; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TYPE shop.order_status IS 'States of an order; trg_orders_transition says which may follow which';

--
-- Name: payment_method; Type: TYPE; Schema: shop; Owner: -
--

CREATE TYPE shop.payment_method AS ENUM (
    'credit_card',
    'debit_card',
    'paypal',
    'apple_pay',
    'google_pay',
    'bank_transfer',
    'cryptocurrency'
);

--
-- Name: TYPE payment_method; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TYPE shop.payment_method IS 'Ways to pay';

--
-- Name: user_role; Type: TYPE; Schema: shop; Owner: -
--

CREATE TYPE shop.user_role AS ENUM (
    'customer',
    'vendor',
    'admin',
    'support'
);

--
-- Name: TYPE user_role; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TYPE shop.user_role IS 'What a user account may do';

--
-- Name: advance_lane(character varying, integer, uuid, bigint, bigint, integer); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.advance_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_upto bigint, p_epoch integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION advance_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_upto bigint, p_epoch integer); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.advance_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_upto bigint, p_epoch integer) IS 'Moves a checkpoint, in the transaction of what was applied, unless the lane has gone to another worker';

--
-- Name: append_events(character varying, uuid, integer, character varying[], jsonb[], jsonb); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.append_events(p_aggregate_type character varying, p_aggregate_id uuid, p_expected_version integer, p_event_types character varying[], p_event_data jsonb[], p_metadata jsonb, OUT last_version integer, OUT last_position bigint, OUT positions bigint[], OUT recorded_at timestamp with time zone) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    v_tenant constant uuid := current_tenant();
    v_count constant integer := cardinality(p_event_types);
    v_found integer;
    v_fenced boolean;
BEGIN
    IF p_expected_version = 0 THEN
        INSERT INTO event_streams AS s (tenant_id, aggregate_id, aggregate_type, event_version)
        VALUES (v_tenant, p_aggregate_id, p_aggregate_type, v_count)
        ON CONFLICT DO NOTHING
        RETURNING s.event_version INTO last_version;
    ELSE
        UPDATE event_streams s SET event_version = s.event_version + v_count
        WHERE s.tenant_id = v_tenant AND s.aggregate_id = p_aggregate_id
          AND (p_expected_version IS NULL OR s.event_version = p_expected_version)
        RETURNING s.event_version INTO last_version;
        IF last_version IS NULL AND p_expected_version IS NULL THEN
            INSERT INTO event_streams AS s (tenant_id, aggregate_id, aggregate_type, event_version)
            VALUES (v_tenant, p_aggregate_id, p_aggregate_type, v_count)
            ON CONFLICT (tenant_id, aggregate_id) DO UPDATE SET event_version = s.event_version + v_count
            RETURNING s.event_version INTO last_version;
        END IF;
    END IF;
    IF last_version IS NULL THEN
        SELECT s.event_version INTO v_found FROM event_streams s
        WHERE s.tenant_id = v_tenant AND s.aggregate_id = p_aggregate_id;
        RAISE EXCEPTION '% % is at version %, not %', p_aggregate_type, p_aggregate_id, coalesce(v_found, 0), p_expected_version
            USING ERRCODE = 'CL501';
    END IF;
    -- The fence: from this mark on, this transaction may still add events. It stands before any position is drawn.
    v_fenced := pg_advisory_xact_lock_shared(
        (20542::bigint << 48) | coalesce(pg_sequence_last_value('event_position'), 0)) IS NOT NULL;
    recorded_at := clock_timestamp();
    IF v_count = 1 THEN
        last_position := nextval('event_position');
        positions := ARRAY[last_position];
        INSERT INTO events (tenant_id, event_position, aggregate_id, aggregate_type, event_type, event_version,
                            event_data, metadata, created_at)
        VALUES (v_tenant, last_position, p_aggregate_id, p_aggregate_type, p_event_types[1], last_version,
                p_event_data[1], p_metadata, recorded_at);
        RETURN;
    END IF;
    FOR i IN 1..v_count LOOP
        last_position := nextval('event_position');
        positions[i] := last_position;
    END LOOP;
    INSERT INTO events (tenant_id, event_position, aggregate_id, aggregate_type, event_type, event_version,
                        event_data, metadata, created_at)
    SELECT v_tenant, n.event_position, p_aggregate_id, p_aggregate_type, n.event_type,
           last_version - v_count + n.ordinal::integer, n.event_data, p_metadata, recorded_at
    FROM unnest(p_event_types, p_event_data, positions)
        WITH ORDINALITY AS n (event_type, event_data, event_position, ordinal);
END
$$;

--
-- Name: FUNCTION append_events(p_aggregate_type character varying, p_aggregate_id uuid, p_expected_version integer, p_event_types character varying[], p_event_data jsonb[], p_metadata jsonb, OUT last_version integer, OUT last_position bigint, OUT positions bigint[], OUT recorded_at timestamp with time zone); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.append_events(p_aggregate_type character varying, p_aggregate_id uuid, p_expected_version integer, p_event_types character varying[], p_event_data jsonb[], p_metadata jsonb, OUT last_version integer, OUT last_position bigint, OUT positions bigint[], OUT recorded_at timestamp with time zone) IS 'Appends to one stream of the current tenant, all or none; expected version 0 = new, NULL = any';

--
-- Name: append_streams(character varying[], uuid[], integer[], integer[], character varying[], jsonb[], jsonb[]); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.append_streams(p_aggregate_types character varying[], p_aggregate_ids uuid[], p_expected_versions integer[], p_event_counts integer[], p_event_types character varying[], p_event_data jsonb[], p_metadata jsonb[], OUT last_versions integer[], OUT found_versions integer[], OUT positions bigint[], OUT recorded_at timestamp with time zone) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    v_tenant constant uuid := current_tenant();
    v_order integer[];
    v_stream integer;
    v_version integer;
    v_ids uuid[];
    v_types varchar[];
    v_versions integer[];
    v_all bigint[];
    v_event integer := 0;
    v_fenced boolean;
BEGIN
    -- Sorted, so that two calls never wait for each other in a circle. Nobody is refused by an exception: it would undo
    -- the others' work too. One statement for each stream: its plan is by the key whatever is known of the table, and
    -- costs no more than its share of one for all.
    SELECT array_agg(w.ordinal ORDER BY w.aggregate_id) INTO v_order
    FROM unnest(p_aggregate_ids) WITH ORDINALITY AS w (aggregate_id, ordinal);
    FOREACH v_stream IN ARRAY v_order LOOP
        v_version := NULL;
        IF p_expected_versions[v_stream] = 0 THEN
            INSERT INTO event_streams AS s (tenant_id, aggregate_id, aggregate_type, event_version)
            VALUES (v_tenant, p_aggregate_ids[v_stream], p_aggregate_types[v_stream], p_event_counts[v_stream])
            ON CONFLICT DO NOTHING
            RETURNING s.event_version INTO v_version;
        ELSE
            UPDATE event_streams s SET event_version = s.event_version + p_event_counts[v_stream]
            WHERE s.tenant_id = v_tenant AND s.aggregate_id = p_aggregate_ids[v_stream]
              AND (p_expected_versions[v_stream] IS NULL OR s.event_version = p_expected_versions[v_stream])
            RETURNING s.event_version INTO v_version;
            IF v_version IS NULL AND p_expected_versions[v_stream] IS NULL THEN
                INSERT INTO event_streams AS s (tenant_id, aggregate_id, aggregate_type, event_version)
                VALUES (v_tenant, p_aggregate_ids[v_stream], p_aggregate_types[v_stream], p_event_counts[v_stream])
                ON CONFLICT (tenant_id, aggregate_id) DO UPDATE SET event_version = s.event_version + excluded.event_version
                RETURNING s.event_version INTO v_version;
            END IF;
        END IF;
        last_versions[v_stream] := v_version;
    END LOOP;
    IF array_position(last_versions, NULL) IS NOT NULL THEN
        SELECT array_agg(coalesce(s.event_version, 0) ORDER BY w.ordinal) INTO found_versions
        FROM unnest(p_aggregate_ids) WITH ORDINALITY AS w (aggregate_id, ordinal)
        LEFT JOIN event_streams s ON s.tenant_id = v_tenant AND s.aggregate_id = w.aggregate_id;
    END IF;
    -- The fence: from this mark on, this transaction may still add events (see append_events). Then the positions, in
    -- order; a refused event gets none.
    v_fenced := pg_advisory_xact_lock_shared(
        (20542::bigint << 48) | coalesce(pg_sequence_last_value('event_position'), 0)) IS NOT NULL;
    recorded_at := clock_timestamp();
    FOR i IN 1..cardinality(p_aggregate_ids) LOOP
        FOR n IN 1..p_event_counts[i] LOOP
            v_event := v_event + 1;
            v_ids[v_event] := p_aggregate_ids[i];
            v_types[v_event] := p_aggregate_types[i];
            v_versions[v_event] := last_versions[i] - p_event_counts[i] + n;
            v_all[v_event] := CASE WHEN last_versions[i] IS NOT NULL THEN nextval('event_position') END;
        END LOOP;
    END LOOP;
    INSERT INTO events (tenant_id, event_position, aggregate_id, aggregate_type, event_type, event_version, event_data,
                        metadata, created_at)
    SELECT v_tenant, e.event_position, e.aggregate_id, e.aggregate_type, e.event_type, e.event_version, e.event_data,
           e.metadata, recorded_at
    FROM unnest(v_all, v_ids, v_types, v_versions, p_event_types, p_event_data, p_metadata)
        AS e (event_position, aggregate_id, aggregate_type, event_version, event_type, event_data, metadata)
    WHERE e.event_position IS NOT NULL;
    positions := array_remove(v_all, NULL);
END
$$;

--
-- Name: FUNCTION append_streams(p_aggregate_types character varying[], p_aggregate_ids uuid[], p_expected_versions integer[], p_event_counts integer[], p_event_types character varying[], p_event_data jsonb[], p_metadata jsonb[], OUT last_versions integer[], OUT found_versions integer[], OUT positions bigint[], OUT recorded_at timestamp with time zone); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.append_streams(p_aggregate_types character varying[], p_aggregate_ids uuid[], p_expected_versions integer[], p_event_counts integer[], p_event_types character varying[], p_event_data jsonb[], p_metadata jsonb[], OUT last_versions integer[], OUT found_versions integer[], OUT positions bigint[], OUT recorded_at timestamp with time zone) IS 'Appends to many different streams of the current tenant; a conflict is a NULL among last_versions and fails nobody else';

--
-- Name: append_streams_all(character varying[], uuid[], integer[], integer[], character varying[], jsonb[], jsonb[]); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.append_streams_all(p_aggregate_types character varying[], p_aggregate_ids uuid[], p_expected_versions integer[], p_event_counts integer[], p_event_types character varying[], p_event_data jsonb[], p_metadata jsonb[], OUT last_versions integer[], OUT found_versions integer[], OUT positions bigint[], OUT recorded_at timestamp with time zone) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_at integer;
BEGIN
    SELECT a.last_versions, a.found_versions, a.positions, a.recorded_at
    INTO last_versions, found_versions, positions, recorded_at
    FROM append_streams(p_aggregate_types, p_aggregate_ids, p_expected_versions, p_event_counts, p_event_types,
                        p_event_data, p_metadata) a;
    v_at := array_position(last_versions, NULL);
    IF v_at IS NOT NULL THEN
        RAISE EXCEPTION '% % is at version %, not %', p_aggregate_types[v_at], p_aggregate_ids[v_at],
            found_versions[v_at], p_expected_versions[v_at] USING ERRCODE = 'CL501';
    END IF;
END
$$;

--
-- Name: FUNCTION append_streams_all(p_aggregate_types character varying[], p_aggregate_ids uuid[], p_expected_versions integer[], p_event_counts integer[], p_event_types character varying[], p_event_data jsonb[], p_metadata jsonb[], OUT last_versions integer[], OUT found_versions integer[], OUT positions bigint[], OUT recorded_at timestamp with time zone); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.append_streams_all(p_aggregate_types character varying[], p_aggregate_ids uuid[], p_expected_versions integer[], p_event_counts integer[], p_event_types character varying[], p_event_data jsonb[], p_metadata jsonb[], OUT last_versions integer[], OUT found_versions integer[], OUT positions bigint[], OUT recorded_at timestamp with time zone) IS 'Appends to many different streams of the current tenant, all or none';

--
-- Name: archive_sagas(timestamp with time zone, uuid, uuid, integer); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.archive_sagas(p_before timestamp with time zone, p_after_tenant uuid, p_after_saga uuid, p_limit integer, OUT archived integer, OUT last_tenant uuid, OUT last_saga uuid) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION archive_sagas(p_before timestamp with time zone, p_after_tenant uuid, p_after_saga uuid, p_limit integer, OUT archived integer, OUT last_tenant uuid, OUT last_saga uuid); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.archive_sagas(p_before timestamp with time zone, p_after_tenant uuid, p_after_saga uuid, p_limit integer, OUT archived integer, OUT last_tenant uuid, OUT last_saga uuid) IS 'Moves sagas that ended well before a time to the archive, of so many behind a key; returns how many, and the last key';

--
-- Name: archived_through(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.archived_through() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
BEGIN
    PERFORM FROM event_archives LIMIT 0;
    -- Below 0 stands the history of tenants that have moved here, so the bottom of nothing is lower.
    RETURN (SELECT coalesce(max(a.last_position) FILTER (WHERE a.event_count > 0), '-9223372036854775808')
            FROM event_archives a);
END
$$;

--
-- Name: FUNCTION archived_through(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.archived_through() IS 'Highest position in the archive: the feed behind it needs no archive; true until the end of the transaction';

--
-- Name: batch_events(bigint, bigint, integer, integer, character varying[], bigint[]); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.batch_events(p_after bigint, p_upto bigint, p_lane integer, p_lanes integer, p_types character varying[], p_waiting bigint[]) RETURNS TABLE(event_position bigint, event_id uuid, tenant_id uuid, aggregate_type character varying, aggregate_id uuid, event_type character varying, event_version integer, event_data jsonb, metadata jsonb, created_at timestamp with time zone)
    LANGUAGE sql STABLE
    AS $$
    SELECT e.event_position, e.event_id, e.tenant_id, e.aggregate_type, e.aggregate_id, e.event_type, e.event_version,
           e.event_data, e.metadata, e.created_at
    FROM cloudlab.events e
    WHERE e.event_position > p_after AND e.event_position <= p_upto AND e.tenant_id = cloudlab.current_tenant()
      AND cloudlab.lane_of(e.aggregate_id, p_lanes) = p_lane AND e.event_type = ANY (p_types)
      AND e.event_position <> ALL (p_waiting)
$$;

--
-- Name: FUNCTION batch_events(p_after bigint, p_upto bigint, p_lane integer, p_lanes integer, p_types character varying[], p_waiting bigint[]); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.batch_events(p_after bigint, p_upto bigint, p_lane integer, p_lanes integer, p_types character varying[], p_waiting bigint[]) IS 'The current tenant''s events of one lane and some types between two positions, without those that must wait';

--
-- Name: begin_event_archive(date, bigint, numeric, bigint); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.begin_event_archive(p_month date, p_count bigint, p_hash numeric, p_last_position bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION begin_event_archive(p_month date, p_count bigint, p_hash numeric, p_last_position bigint); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.begin_event_archive(p_month date, p_count bigint, p_hash numeric, p_last_position bigint) IS 'First step of an archiving: from now on the month is read from its own table';

--
-- Name: begin_import(uuid, uuid, bigint, bigint, bigint); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.begin_import(p_tenant_id uuid, p_move_id uuid, p_native_last bigint, p_imported_first bigint, p_imported_last bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_floor bigint;
    v_room constant bigint := p_native_last + 4294967296;
    v_native bigint;
BEGIN
    LOCK TABLE tenant_transfers IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM tenant_transfers t WHERE t.tenant_id = p_tenant_id AND t.move_id = p_move_id
               AND t.direction = 'in') THEN
        RETURN;
    END IF;
    v_floor := least(0, (SELECT min(t.lowest_position) FROM tenant_transfers t));
    v_native := v_floor - v_room - 1;
    INSERT INTO tenant_transfers (tenant_id, move_id, direction, lowest_position, native_shift, imported_shift)
    VALUES (p_tenant_id, p_move_id, 'in', v_native - (p_imported_last - p_imported_first) - 1, v_native,
            v_native - p_imported_last);
END
$$;

--
-- Name: FUNCTION begin_import(p_tenant_id uuid, p_move_id uuid, p_native_last bigint, p_imported_first bigint, p_imported_last bigint); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.begin_import(p_tenant_id uuid, p_move_id uuid, p_native_last bigint, p_imported_first bigint, p_imported_last bigint) IS 'Gives the events of a tenant that comes here a block of positions of their own';

--
-- Name: begin_lane(character varying, integer, uuid, bigint, integer, character varying[], boolean); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.begin_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_size integer, p_types character varying[], p_beyond_horizon boolean, OUT after bigint, OUT upto bigint, OUT epoch integer, OUT failed_attempts integer, OUT lane_count integer, OUT waiting bigint[]) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION begin_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_size integer, p_types character varying[], p_beyond_horizon boolean, OUT after bigint, OUT upto bigint, OUT epoch integer, OUT failed_attempts integer, OUT lane_count integer, OUT waiting bigint[]); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.begin_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_size integer, p_types character varying[], p_beyond_horizon boolean, OUT after bigint, OUT upto bigint, OUT epoch integer, OUT failed_attempts integer, OUT lane_count integer, OUT waiting bigint[]) IS 'From where to where the next batch of a lane goes, for the worker that has it, and which of its events must wait';

--
-- Name: begin_rebuild(character varying, text[], integer); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.begin_rebuild(p_name character varying, p_tables text[], p_lanes integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_schema text;
    v_copy text;
    v_table text;
    v_reader text;
BEGIN
    -- A move counts on the tables and checkpoints that are there: the two exclude each other.
    PERFORM refuse_while_moving();
    PERFORM register_projection(p_name || '@rebuild', p_lanes);
    FOR v_schema IN SELECT s FROM tenant_schemas() AS s WHERE cardinality(p_tables) > 0 LOOP
        v_copy := shadow_schema(v_schema, p_name);
        EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', v_copy);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO platform_worker', v_copy);
        FOREACH v_table IN ARRAY p_tables LOOP
            IF to_regclass(format('%I.%I', v_schema, v_table)) IS NULL THEN
                RAISE EXCEPTION 'there is no table %.%', v_schema, v_table USING ERRCODE = 'CL200';
            END IF;
            SELECT d.what INTO v_reader FROM (
                SELECT 'view ' || r.ev_class::regclass AS what FROM pg_depend p JOIN pg_rewrite r ON r.oid = p.objid
                WHERE p.classid = 'pg_rewrite'::regclass AND p.refobjid = format('%I.%I', v_schema, v_table)::regclass
                UNION ALL
                SELECT 'foreign key ' || c.conname FROM pg_constraint c
                WHERE c.contype = 'f' AND c.confrelid = format('%I.%I', v_schema, v_table)::regclass) AS d LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION '%.% cannot be swapped: % would keep the old one', v_schema, v_table, v_reader
                    USING ERRCODE = 'CL400', HINT = 'Drop what refers to it, rebuild, and make it again.';
            END IF;
            IF to_regclass(format('%I.%I', v_copy, v_table)) IS NULL THEN
                PERFORM copy_table_shape(v_schema, v_table, v_copy);
            END IF;
        END LOOP;
    END LOOP;
END
$$;

--
-- Name: FUNCTION begin_rebuild(p_name character varying, p_tables text[], p_lanes integer); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.begin_rebuild(p_name character varying, p_tables text[], p_lanes integer) IS 'Makes the copies of a projection''s tables that are not there yet, and the checkpoints of the copy';

--
-- Name: claim_lanes(character varying, uuid, interval, character varying[]); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.claim_lanes(p_name character varying, p_worker uuid, p_lease interval, p_types character varying[]) RETURNS TABLE(lane integer, lease_epoch bigint, event_position bigint, is_surplus boolean)
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION claim_lanes(p_name character varying, p_worker uuid, p_lease interval, p_types character varying[]); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.claim_lanes(p_name character varying, p_worker uuid, p_lease interval, p_types character varying[]) IS 'The lanes a worker has after asking; surplus ones it should give back, for there are more workers now';

--
-- Name: claim_sagas(uuid, interval, character varying[], integer[], integer, uuid[], integer[]); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.claim_sagas(p_worker uuid, p_lease interval, p_types character varying[], p_versions integer[], p_slots integer, p_busy_tenants uuid[], p_busy_counts integer[]) RETURNS TABLE(tenant_id uuid, saga_id uuid, saga_type character varying, definition_version integer, status character varying, saga_data text, epoch integer, deadline_at timestamp with time zone, resumed_at timestamp with time zone, correlation_id uuid, causation_id uuid, started_by character varying, journal text)
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
DECLARE
    v_free integer := p_slots - coalesce((SELECT sum(b.running) FROM unnest(p_busy_counts) AS b (running)), 0);
    v_due record;
    v_take integer;
    v_got integer;
BEGIN
    -- A claim that a crash of the server loses was never written under: whatever is, is flushed behind it.
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR v_due IN
        WITH RECURSIVE live AS (
            SELECT d.saga_type, d.version, (
                SELECT i.tenant_id FROM saga_instances i
                WHERE i.saga_type = d.saga_type AND i.definition_version = d.version AND i.next_at IS NOT NULL
                ORDER BY i.tenant_id LIMIT 1) AS tenant_id
            FROM unnest(p_types, p_versions) AS d (saga_type, version)
            UNION ALL
            SELECT l.saga_type, l.version, (
                SELECT i.tenant_id FROM saga_instances i
                WHERE i.saga_type = l.saga_type AND i.definition_version = l.version AND i.next_at IS NOT NULL
                  AND i.tenant_id > l.tenant_id
                ORDER BY i.tenant_id LIMIT 1)
            FROM live l WHERE l.tenant_id IS NOT NULL),
        due AS MATERIALIZED (
            SELECT l.saga_type, l.version, l.tenant_id
            FROM live l JOIN tenant_local t ON t.tenant_id = l.tenant_id AND t.state = 'open'
            WHERE EXISTS (SELECT FROM saga_instances i
                          WHERE i.saga_type = l.saga_type AND i.definition_version = l.version
                            AND i.tenant_id = l.tenant_id AND i.next_at <= clock_timestamp()))
        SELECT d.saga_type, d.version, d.tenant_id, coalesce(b.running, 0) AS running,
               p_slots / ((SELECT count(*) FROM (SELECT d2.tenant_id FROM due d2
                                                 UNION SELECT u.tenant_id FROM unnest(p_busy_tenants) AS u (tenant_id))
                           AS all_of_them) + 1) AS share
        FROM due d LEFT JOIN unnest(p_busy_tenants, p_busy_counts) AS b (tenant_id, running)
          ON b.tenant_id = d.tenant_id
        ORDER BY random()
    LOOP
        EXIT WHEN v_free <= 0;
        v_take := least(v_free, greatest(v_due.share, 1) - v_due.running);
        CONTINUE WHEN v_take <= 0;
        RETURN QUERY
            UPDATE saga_instances s
            SET lease_owner = p_worker, epoch = s.epoch + 1, next_at = clock_timestamp() + p_lease
            WHERE s.ctid = ANY (ARRAY(
                SELECT i.ctid FROM saga_instances i
                WHERE i.saga_type = v_due.saga_type AND i.definition_version = v_due.version
                  AND i.tenant_id = v_due.tenant_id AND i.next_at <= clock_timestamp()
                ORDER BY i.next_at LIMIT v_take
                FOR UPDATE SKIP LOCKED))
            RETURNING s.tenant_id, s.saga_id, s.saga_type, s.definition_version, s.status, s.saga_data::text, s.epoch,
                      s.deadline_at, s.resumed_at, s.correlation_id, s.causation_id, s.started_by,
                      CASE WHEN s.epoch > 1 THEN (
                          SELECT jsonb_agg(jsonb_build_array(
                              j.step_number, j.step_type, j.direction, j.attempt, j.status, j.started_at,
                              j.completed_at, j.result) ORDER BY j.attempt)::text
                          FROM saga_steps j WHERE j.tenant_id = s.tenant_id AND j.saga_id = s.saga_id) END;
        GET DIAGNOSTICS v_got = ROW_COUNT;
        v_free := v_free - v_got;
    END LOOP;
END
$$;

--
-- Name: FUNCTION claim_sagas(p_worker uuid, p_lease interval, p_types character varying[], p_versions integer[], p_slots integer, p_busy_tenants uuid[], p_busy_counts integer[]); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.claim_sagas(p_worker uuid, p_lease interval, p_types character varying[], p_versions integer[], p_slots integer, p_busy_tenants uuid[], p_busy_counts integer[]) IS 'Due sagas of these definitions for one worker, under a lease, by turns of their tenants, each with its journal';

--
-- Name: clear_rebuild(character varying); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.clear_rebuild(p_name character varying) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_schema text;
BEGIN
    FOR v_schema IN SELECT s FROM tenant_schemas() AS s LOOP
        EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', shadow_schema(v_schema, p_name) || '_old');
        EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', shadow_schema(v_schema, p_name));
    END LOOP;
    DELETE FROM projections p WHERE p.projection_name = p_name || '@rebuild';
END
$$;

--
-- Name: FUNCTION clear_rebuild(p_name character varying); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.clear_rebuild(p_name character varying) IS 'Drops what a rebuild has replaced, and what is left of its copies';

--
-- Name: copy_table_shape(text, text, text); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.copy_table_shape(p_schema text, p_table text, p_copy_schema text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_live regclass := format('%I.%I', p_schema, p_table)::regclass;
    v_on text := format(' ON %I.%I ', p_schema, p_table);
    v_copy text := format('%I.%I', p_copy_schema, p_table);
    v_each record;
BEGIN
    EXECUTE format('CREATE TABLE %s (LIKE %I.%I INCLUDING ALL EXCLUDING INDEXES)', v_copy, p_schema, p_table);
    FOR v_each IN SELECT c.conname, pg_get_constraintdef(c.oid) AS definition FROM pg_constraint c
        WHERE c.conrelid = v_live AND c.contype IN ('p', 'u', 'x', 'f') ORDER BY c.contype = 'f'
    LOOP
        EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I %s', v_copy, v_each.conname, v_each.definition);
    END LOOP;
    FOR v_each IN SELECT replace(pg_get_indexdef(i.indexrelid), v_on, format(' ON %s ', v_copy)) AS definition
        FROM pg_index i WHERE i.indrelid = v_live
          AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = v_live)
    LOOP
        EXECUTE v_each.definition;
    END LOOP;
    FOR v_each IN SELECT replace(pg_get_triggerdef(t.oid), v_on, format(' ON %s ', v_copy)) AS definition
        FROM pg_trigger t WHERE t.tgrelid = v_live AND NOT t.tgisinternal
    LOOP
        EXECUTE v_each.definition;
    END LOOP;
    FOR v_each IN SELECT p.policyname, p.permissive, p.cmd, p.qual, p.with_check,
            (SELECT string_agg(quote_ident(r), ', ') FROM unnest(p.roles) AS r) AS roles
        FROM pg_policies p WHERE p.schemaname = p_schema AND p.tablename = p_table
    LOOP
        EXECUTE format('CREATE POLICY %I ON %s AS %s FOR %s TO %s %s %s', v_each.policyname, v_copy, v_each.permissive,
            v_each.cmd, v_each.roles, 'USING (' || v_each.qual || ')', 'WITH CHECK (' || v_each.with_check || ')');
    END LOOP;
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', v_copy);
    FOR v_each IN SELECT a.privilege_type, a.grantee::regrole AS grantee FROM pg_class c, aclexplode(c.relacl) AS a
        WHERE c.oid = v_live AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT %s ON %s TO %s', v_each.privilege_type, v_copy, v_each.grantee);
    END LOOP;
END
$$;

--
-- Name: FUNCTION copy_table_shape(p_schema text, p_table text, p_copy_schema text); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.copy_table_shape(p_schema text, p_table text, p_copy_schema text) IS 'Makes an empty table like another in a second schema: columns, constraints, indexes, triggers, policies, grants, comments';

--
-- Name: current_tenant(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.current_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(pg_catalog.current_setting('app.current_tenant_id', true), '')::uuid $$;

--
-- Name: FUNCTION current_tenant(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.current_tenant() IS 'Tenant of this transaction, NULL when none is set: no tenant, no rows';

--
-- Name: current_user_id(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.current_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(pg_catalog.current_setting('app.current_user_id', true), '')::uuid $$;

--
-- Name: FUNCTION current_user_id(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.current_user_id() IS 'User this transaction acts for, NULL when it acts for the whole tenant';

--
-- Name: ensure_event_partitions(integer, timestamp with time zone); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.ensure_event_partitions(p_months_ahead integer DEFAULT 3, as_of timestamp with time zone DEFAULT now()) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_month date;
    v_name text;
    v_made integer := 0;
BEGIN
    FOR i IN 0..p_months_ahead LOOP
        v_month := (date_trunc('month', as_of AT TIME ZONE 'UTC') + make_interval(months => i))::date;
        v_name := 'events_' || to_char(v_month, 'YYYY_MM');
        CONTINUE WHEN to_regclass('cloudlab.' || v_name) IS NOT NULL;
        EXECUTE format('CREATE TABLE cloudlab.%I (LIKE cloudlab.events INCLUDING DEFAULTS'
            ' INCLUDING CONSTRAINTS INCLUDING COMMENTS)', v_name);
        EXECUTE format('ALTER TABLE cloudlab.%I ENABLE ROW LEVEL SECURITY', v_name);
        EXECUTE format('ALTER TABLE cloudlab.%I FORCE ROW LEVEL SECURITY', v_name);
        EXECUTE format('COMMENT ON TABLE cloudlab.%I IS %L', v_name, 'Events of ' || to_char(v_month, 'YYYY-MM'));
        EXECUTE format('ALTER TABLE cloudlab.events ATTACH PARTITION cloudlab.%I FOR VALUES FROM (%L) TO (%L)',
            v_name, v_month::timestamp AT TIME ZONE 'UTC', (v_month + interval '1 month') AT TIME ZONE 'UTC');
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END
$$;

--
-- Name: FUNCTION ensure_event_partitions(p_months_ahead integer, as_of timestamp with time zone); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.ensure_event_partitions(p_months_ahead integer, as_of timestamp with time zone) IS 'Makes the monthly partitions from this month to so many months ahead; returns how many were missing';

--
-- Name: enter_read_model(uuid); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.enter_read_model(p_tenant_id uuid) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION enter_read_model(p_tenant_id uuid); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.enter_read_model(p_tenant_id uuid) IS 'Binds this transaction of a worker to one tenant; returns its schema, NULL when it is not served here any more';

--
-- Name: enter_tenant(uuid, uuid, integer); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.enter_tenant(p_tenant_id uuid, p_user_id uuid, p_epoch integer) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_local record;
BEGIN
    -- A move takes this lock exclusively; waiting for it is bounded by lock_timeout.
    PERFORM pg_advisory_xact_lock_shared(20541, hashtext(p_tenant_id::text));
    SELECT t.schema_name, t.state, t.epoch, t.moved_to, t.leaving_for INTO v_local FROM tenant_local t WHERE t.tenant_id = p_tenant_id;
    IF NOT FOUND OR v_local.state IN ('importing', 'moved') OR v_local.epoch <> p_epoch THEN
        RAISE EXCEPTION 'tenant % is not served by this shard at epoch %', p_tenant_id, p_epoch
            USING ERRCODE = 'CL001', DETAIL = CASE
                WHEN v_local.state = 'moved' THEN format('%s %s', v_local.moved_to, v_local.epoch)
                WHEN v_local.state IN ('open', 'suspended') THEN format('%s %s %s',
                    (SELECT i.shard_name FROM shard_identity i), v_local.schema_name, v_local.epoch)
                ELSE '' END;
    ELSIF v_local.state = 'suspended' THEN
        RAISE EXCEPTION 'tenant % is suspended', p_tenant_id USING ERRCODE = 'CL002';
    ELSIF v_local.leaving_for IS NOT NULL THEN
        RAISE NOTICE 'the tenant is about to move' USING ERRCODE = 'CL004', DETAIL = v_local.leaving_for;
    END IF;
    PERFORM set_config('app.current_tenant_id', p_tenant_id::text, true),
            set_config('app.current_user_id', coalesce(p_user_id::text, ''), true);
    RETURN quote_ident(v_local.schema_name) || ', cloudlab, pg_temp';
END
$$;

--
-- Name: FUNCTION enter_tenant(p_tenant_id uuid, p_user_id uuid, p_epoch integer); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.enter_tenant(p_tenant_id uuid, p_user_id uuid, p_epoch integer) IS 'Binds this transaction to one tenant that the shard serves; returns the search path to set';

--
-- Name: event_position_at(timestamp with time zone); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.event_position_at(p_time timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION event_position_at(p_time timestamp with time zone); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.event_position_at(p_time timestamp with time zone) IS 'Position behind which the events since a point in time stand; for the platform, which sees every event';

--
-- Name: event_sources(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.event_sources() RETURNS text
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION event_sources(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.event_sources() IS 'A query for all events, archived or not; true until the end of the transaction that asked';

--
-- Name: feed_beginning(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.feed_beginning() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$ SELECT least(0, (SELECT min(t.lowest_position) - 1 FROM cloudlab.tenant_transfers t)) $$;

--
-- Name: FUNCTION feed_beginning(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.feed_beginning() IS 'Position below all events, imported history included: where a new reader begins';

--
-- Name: feed_horizon(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.feed_horizon() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_last bigint;
    v_open bigint;
BEGIN
    -- The order matters: whoever drew a position up to v_last holds its lock already, or has ended.
    SELECT CASE WHEN s.is_called THEN s.last_value ELSE 0 END INTO v_last FROM event_position s;
    SELECT min(((l.classid::bigint & 65535) << 32) | l.objid::bigint) INTO v_open
    FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND (l.classid::bigint >> 16) = 20542 AND l.granted
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
    RETURN least(v_last, coalesce(v_open, v_last));
END
$$;

--
-- Name: FUNCTION feed_horizon(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.feed_horizon() IS 'Highest position below which no open transaction can still add an event';

--
-- Name: feed_news(bigint); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.feed_news(p_after bigint) RETURNS TABLE(horizon bigint, lane integer, event_type character varying)
    LANGUAGE plpgsql ROWS 10
    SET search_path TO 'cloudlab', 'pg_temp'
    SET enable_seqscan TO 'off'
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

--
-- Name: FUNCTION feed_news(p_after bigint); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.feed_news(p_after bigint) IS 'How far the feed can be read (lane -1), and which of 256 lanes and types have events behind a position; lane NULL: too many to look at';

--
-- Name: feed_window(bigint, integer, boolean); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.feed_window(p_after bigint, p_size integer, p_beyond_horizon boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION feed_window(p_after bigint, p_size integer, p_beyond_horizon boolean); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.feed_window(p_after bigint, p_size integer, p_beyond_horizon boolean) IS 'Up to which position the next batch behind a position goes; that position itself when there is nothing';

--
-- Name: finish_event_archive(date); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.finish_event_archive(p_month date) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION finish_event_archive(p_month date); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.finish_event_archive(p_month date) IS 'Last step of an archiving: the detached month joins the archive';

--
-- Name: finish_rebuild(character varying, text[], boolean); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.finish_rebuild(p_name character varying, p_tables text[], p_inline boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_copy_name constant varchar := p_name || '@rebuild';
    v_state varchar;
    v_schema text;
    v_copy text;
    v_table text;
BEGIN
    FOR v_schema IN SELECT s FROM tenant_schemas() AS s WHERE cardinality(p_tables) > 0 LOOP
        v_copy := shadow_schema(v_schema, p_name);
        CONTINUE WHEN to_regnamespace(quote_ident(v_copy)) IS NULL;
        EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', v_copy || '_old');
        EXECUTE format('CREATE SCHEMA %I', v_copy || '_old');
        FOREACH v_table IN ARRAY p_tables LOOP
            EXECUTE format('ALTER TABLE %I.%I SET SCHEMA %I', v_schema, v_table, v_copy || '_old');
            EXECUTE format('ALTER TABLE %I.%I SET SCHEMA %I', v_copy, v_table, v_schema);
        END LOOP;
    END LOOP;
    IF NOT p_inline THEN
        CREATE TEMPORARY TABLE rebuilt ON COMMIT DROP AS
            SELECT c.lane, c.epoch, c.event_position,
                   (SELECT coalesce(max(l.lease_epoch), 0) + 1 FROM projection_checkpoints l
                    WHERE l.projection_name IN (p_name, v_copy_name)) AS lease_epoch
            FROM projection_checkpoints c WHERE c.projection_name = v_copy_name;
        DELETE FROM projections p WHERE p.projection_name = p_name RETURNING p.state INTO v_state;
        INSERT INTO projections (projection_name, lane_count, is_external, state)
        SELECT p_name, p.lane_count, p.is_external, coalesce(v_state, 'live') FROM projections p WHERE p.projection_name = v_copy_name;
        INSERT INTO projection_checkpoints (projection_name, lane, epoch, event_position, lease_epoch)
        SELECT p_name, r.lane, r.epoch, r.event_position, r.lease_epoch FROM rebuilt r;
        UPDATE parked_events k SET projection_name = p_name WHERE k.projection_name = v_copy_name;
    END IF;
    DELETE FROM projections p WHERE p.projection_name = v_copy_name;
END
$$;

--
-- Name: FUNCTION finish_rebuild(p_name character varying, p_tables text[], p_inline boolean); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.finish_rebuild(p_name character varying, p_tables text[], p_inline boolean) IS 'Puts the copies in the place of the live tables, and their checkpoints in the place of the projection''s';

--
-- Name: flip_tenant(uuid, uuid, integer, text, text, boolean); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.flip_tenant(p_tenant_id uuid, p_move_id uuid, p_epoch integer, p_shard text, p_schema text, p_leaves boolean, OUT state character varying, OUT last_position bigint) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
BEGIN
    last_position := coalesce(pg_sequence_last_value('cloudlab.event_position'), 0);
    SELECT t.state INTO state FROM tenant_local t
    WHERE t.tenant_id = p_tenant_id AND t.epoch = p_epoch - 1 AND t.state IN ('open', 'suspended') FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'tenant % is not served by this shard at epoch %', p_tenant_id, p_epoch - 1 USING ERRCODE = 'CL500',
            HINT = 'Abort the move; begin anew.';
    END IF;
    IF p_leaves THEN
        UPDATE tenant_local t SET epoch = p_epoch, state = 'moved', moved_to = p_shard || ' ' || p_schema, leaving_for = NULL
        WHERE t.tenant_id = p_tenant_id;
    ELSE
        UPDATE tenant_local t SET epoch = p_epoch, schema_name = p_schema WHERE t.tenant_id = p_tenant_id;
    END IF;
    UPDATE tenant_transfers t SET progress = jsonb_build_object('state', flip_tenant.state, 'last_position', last_position)
    WHERE t.tenant_id = p_tenant_id AND t.move_id = p_move_id AND t.direction = 'out';
END
$$;

--
-- Name: FUNCTION flip_tenant(p_tenant_id uuid, p_move_id uuid, p_epoch integer, p_shard text, p_schema text, p_leaves boolean, OUT state character varying, OUT last_position bigint); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.flip_tenant(p_tenant_id uuid, p_move_id uuid, p_epoch integer, p_shard text, p_schema text, p_leaves boolean, OUT state character varying, OUT last_position bigint) IS 'The point of no return: this shard says that the tenant lives elsewhere; returns its state and the last position';

--
-- Name: hold_feed(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.hold_feed() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_mark constant bigint := (20542::bigint << 48) | coalesce(pg_sequence_last_value('cloudlab.event_position'), 0);
BEGIN
    PERFORM pg_advisory_lock_shared(v_mark);
    RETURN v_mark;
END
$$;

--
-- Name: FUNCTION hold_feed(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.hold_feed() IS 'Lets readers go no further than what is there, until the session gives the lock back';

--
-- Name: journal_sagas(uuid[], integer[], integer[], character varying[], double precision[], jsonb[], character varying[], uuid[], uuid[], integer[], character varying[], character varying[], integer[], character varying[], timestamp with time zone[], timestamp with time zone[], jsonb[], text[]); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.journal_sagas(p_saga_ids uuid[], p_epochs integer[], p_current_steps integer[], p_statuses character varying[], p_wakes double precision[], p_compensations jsonb[], p_waiting_for character varying[], p_waiting_on uuid[], p_step_saga_ids uuid[], p_step_numbers integer[], p_step_types character varying[], p_directions character varying[], p_attempts integer[], p_step_statuses character varying[], p_started timestamp with time zone[], p_completed timestamp with time zone[], p_results jsonb[], p_errors text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_tenant constant uuid := current_tenant();
BEGIN
    -- One by one: a join is planned before there are statistics, and then reads all sagas of the tenant.
    FOR n IN 1 .. cardinality(p_saga_ids) LOOP
        UPDATE saga_instances s
        SET current_step = p_current_steps[n], status = coalesce(p_statuses[n], s.status),
            next_at = CASE WHEN p_wakes[n] IS NULL THEN s.next_at
                           WHEN p_wakes[n] < 0 THEN NULL
                           WHEN p_wakes[n] = 'infinity' THEN 'infinity'
                           ELSE clock_timestamp() + make_interval(secs => p_wakes[n]) END,
            lease_owner = CASE WHEN p_wakes[n] IS NULL THEN s.lease_owner END,
            compensation_data = coalesce(p_compensations[n], s.compensation_data),
            waiting_for = p_waiting_for[n], waiting_on = p_waiting_on[n]
        WHERE s.tenant_id = v_tenant AND s.saga_id = p_saga_ids[n] AND s.epoch = p_epochs[n] AND s.next_at IS NOT NULL;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'saga % has another owner now', p_saga_ids[n] USING ERRCODE = 'CL003',
                HINT = 'Nothing of this step was kept; the other owner runs it.';
        END IF;
    END LOOP;
    INSERT INTO saga_steps (tenant_id, saga_id, step_number, step_type, direction, attempt, status, started_at,
                            completed_at, result, error_message)
    SELECT v_tenant, j.saga_id, j.step_number, j.step_type, j.direction, j.attempt, j.status, j.started_at,
           j.completed_at, j.result, j.error
    FROM unnest(p_step_saga_ids, p_step_numbers, p_step_types, p_directions, p_attempts, p_step_statuses, p_started,
                p_completed, p_results, p_errors)
        AS j (saga_id, step_number, step_type, direction, attempt, status, started_at, completed_at, result, error)
    ON CONFLICT (tenant_id, saga_id, step_type, direction, attempt) DO UPDATE
    SET status = excluded.status, completed_at = excluded.completed_at, result = excluded.result,
        error_message = excluded.error_message;
END
$$;

--
-- Name: FUNCTION journal_sagas(p_saga_ids uuid[], p_epochs integer[], p_current_steps integer[], p_statuses character varying[], p_wakes double precision[], p_compensations jsonb[], p_waiting_for character varying[], p_waiting_on uuid[], p_step_saga_ids uuid[], p_step_numbers integer[], p_step_types character varying[], p_directions character varying[], p_attempts integer[], p_step_statuses character varying[], p_started timestamp with time zone[], p_completed timestamp with time zone[], p_results jsonb[], p_errors text[]); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.journal_sagas(p_saga_ids uuid[], p_epochs integer[], p_current_steps integer[], p_statuses character varying[], p_wakes double precision[], p_compensations jsonb[], p_waiting_for character varying[], p_waiting_on uuid[], p_step_saga_ids uuid[], p_step_numbers integer[], p_step_types character varying[], p_directions character varying[], p_attempts integer[], p_step_statuses character varying[], p_started timestamp with time zone[], p_completed timestamp with time zone[], p_results jsonb[], p_errors text[]) IS 'Writes what several sagas of this tenant have come to, all or none: refused when one of them has another owner now';

--
-- Name: lane_of(uuid, integer); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.lane_of(p_aggregate_id uuid, p_lanes integer) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT pg_catalog.get_byte(pg_catalog.uuid_send(p_aggregate_id), 15) & (p_lanes - 1) $$;

--
-- Name: FUNCTION lane_of(p_aggregate_id uuid, p_lanes integer); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.lane_of(p_aggregate_id uuid, p_lanes integer) IS 'The lane of a stream among so many lanes';

--
-- Name: lock_live_tables(text[]); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.lock_live_tables(p_tables text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_all text;
BEGIN
    SELECT string_agg(format('%I.%I', s, t), ', ' ORDER BY s, t) INTO v_all
    FROM tenant_schemas() AS s, unnest(p_tables) AS t;
    IF v_all IS NOT NULL THEN
        EXECUTE 'LOCK TABLE ' || v_all || ' IN ACCESS EXCLUSIVE MODE';
    END IF;
END
$$;

--
-- Name: FUNCTION lock_live_tables(p_tables text[]); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.lock_live_tables(p_tables text[]) IS 'Keeps everybody from a projection''s tables until the swap is committed';

--
-- Name: measure_lane(character varying, integer, uuid, bigint, integer, character varying[], boolean); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.measure_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_size integer, p_types character varying[], p_beyond_horizon boolean DEFAULT false, OUT after bigint, OUT upto bigint, OUT epoch integer, OUT failed_attempts integer, OUT waiting bigint[], OUT tenant_ids uuid[], OUT event_count integer) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION measure_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_size integer, p_types character varying[], p_beyond_horizon boolean, OUT after bigint, OUT upto bigint, OUT epoch integer, OUT failed_attempts integer, OUT waiting bigint[], OUT tenant_ids uuid[], OUT event_count integer); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.measure_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_size integer, p_types character varying[], p_beyond_horizon boolean, OUT after bigint, OUT upto bigint, OUT epoch integer, OUT failed_attempts integer, OUT waiting bigint[], OUT tenant_ids uuid[], OUT event_count integer) IS 'As read_lane, without the events: whose they are and how many';

--
-- Name: minor_digits(text); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.minor_digits(p_currency text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT CASE
        WHEN p_currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
        WHEN p_currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'VND', 'VUV',
                            'XAF', 'XOF', 'XPF') THEN 0
        ELSE 2
    END
$$;

--
-- Name: FUNCTION minor_digits(p_currency text); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.minor_digits(p_currency text) IS 'Decimals a payment in this currency has';

--
-- Name: month_fingerprint(date); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.month_fingerprint(p_month date, OUT event_count bigint, OUT event_hash numeric, OUT last_position bigint) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $_$
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
$_$;

--
-- Name: FUNCTION month_fingerprint(p_month date, OUT event_count bigint, OUT event_hash numeric, OUT last_position bigint); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.month_fingerprint(p_month date, OUT event_count bigint, OUT event_hash numeric, OUT last_position bigint) IS 'Count, hash and last position of a month of events, wherever it is';

--
-- Name: moving_tenant(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.moving_tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(pg_catalog.current_setting('app.moving_tenant_id', true), '')::uuid $$;

--
-- Name: FUNCTION moving_tenant(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.moving_tenant() IS 'Tenant whose rows the owner moves or drops, NULL when none: then it sees no rows';

--
-- Name: open_tenant(uuid, integer, character varying, bigint); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.open_tenant(p_tenant_id uuid, p_epoch integer, p_state character varying, p_last_position bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
BEGIN
    PERFORM raise_event_position(p_last_position);
    PERFORM hold_feed();
    UPDATE tenant_local t SET state = p_state
    WHERE t.tenant_id = p_tenant_id AND t.epoch = p_epoch AND t.state = 'importing';
END
$$;

--
-- Name: FUNCTION open_tenant(p_tenant_id uuid, p_epoch integer, p_state character varying, p_last_position bigint); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.open_tenant(p_tenant_id uuid, p_epoch integer, p_state character varying, p_last_position bigint) IS 'Lets a tenant that has come be served here; readers see its new events once hold_feed is given back';

--
-- Name: protect_read_model(regclass, text); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.protect_read_model(p_table regclass, p_visible_to_user text) RETURNS void
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

--
-- Name: FUNCTION protect_read_model(p_table regclass, p_visible_to_user text); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.protect_read_model(p_table regclass, p_visible_to_user text) IS 'As protect_table, for a table that a projection writes: the worker may write the rows of the tenant it is bound to';

--
-- Name: protect_table(regclass, text, text); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.protect_table(p_table regclass, p_visible_to_user text, p_write_grants text) RETURNS void
    LANGUAGE plpgsql
    AS $_$
DECLARE
    v_tenant constant text := 'tenant_id = (SELECT cloudlab.current_tenant())';
    v_user constant text := '(SELECT cloudlab.current_user_id()) IS NULL OR ';
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', p_table);
    EXECUTE format(
        'CREATE POLICY tenant_isolation_policy ON %s AS RESTRICTIVE FOR ALL'
        ' TO application_readonly, application_readwrite, application_admin USING (%s) WITH CHECK (%2$s)',
        p_table, v_tenant);
    EXECUTE format(
        'CREATE POLICY user_data_policy ON %s AS PERMISSIVE FOR ALL'
        ' TO application_readonly, application_readwrite, application_admin USING (%s) WITH CHECK (%2$s)',
        p_table, CASE WHEN p_visible_to_user = 'true' THEN 'true' ELSE v_user || p_visible_to_user END);
    EXECUTE format('CREATE POLICY platform_policy ON %s AS PERMISSIVE FOR SELECT TO platform_worker USING (true)', p_table);
    EXECUTE format('CREATE POLICY move_policy ON %s AS PERMISSIVE FOR ALL TO CURRENT_ROLE USING (tenant_id ='
        ' (SELECT cloudlab.moving_tenant())) WITH CHECK (tenant_id = (SELECT cloudlab.moving_tenant()))', p_table);
    EXECUTE format('GRANT SELECT ON %s TO application_readonly, application_readwrite, application_admin, platform_worker',
        p_table);
    EXECUTE format('GRANT %s ON %s TO application_readwrite, application_admin', p_write_grants, p_table);
END
$_$;

--
-- Name: FUNCTION protect_table(p_table regclass, p_visible_to_user text, p_write_grants text); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.protect_table(p_table regclass, p_visible_to_user text, p_write_grants text) IS 'Enables and forces RLS, adds the restrictive tenant policy and the permissive user policy, and grants';

--
-- Name: raise_event_position(bigint); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.raise_event_position(p_above bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
BEGIN
    -- Far ahead, so that whoever draws a number at this moment cannot have passed it.
    IF coalesce(pg_sequence_last_value('cloudlab.event_position'), 0) < p_above THEN
        PERFORM setval('cloudlab.event_position', p_above + 1000000);
    END IF;
END
$$;

--
-- Name: FUNCTION raise_event_position(p_above bigint); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.raise_event_position(p_above bigint) IS 'Lets the positions of this shard go on above those of another';

--
-- Name: read_feed(bigint, integer); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.read_feed(p_after bigint, p_limit integer) RETURNS TABLE(event_position bigint, event_id uuid, tenant_id uuid, aggregate_type character varying, aggregate_id uuid, event_type character varying, event_version integer, event_data jsonb, metadata jsonb, created_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_horizon bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the feed is read in READ COMMITTED only' USING ERRCODE = '25001',
            HINT = 'An older snapshot would hide events below the horizon.';
    END IF;
    v_horizon := feed_horizon();
    -- A new statement, so a new snapshot: it sees everything that ended before the horizon was taken.
    RETURN QUERY
        SELECT e.event_position, e.event_id, e.tenant_id, e.aggregate_type, e.aggregate_id, e.event_type,
               e.event_version, e.event_data, e.metadata, e.created_at
        FROM events e
        WHERE e.event_position > p_after AND e.event_position <= v_horizon
        ORDER BY e.event_position
        LIMIT p_limit;
END
$$;

--
-- Name: FUNCTION read_feed(p_after bigint, p_limit integer); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.read_feed(p_after bigint, p_limit integer) IS 'The next events in order, none skipped and none that could still be overtaken';

--
-- Name: read_feed_history(bigint, integer); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.read_feed_history(p_after bigint, p_limit integer) RETURNS TABLE(event_position bigint, event_id uuid, tenant_id uuid, aggregate_type character varying, aggregate_id uuid, event_type character varying, event_version integer, event_data jsonb, metadata jsonb, created_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $_$
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
$_$;

--
-- Name: FUNCTION read_feed_history(p_after bigint, p_limit integer); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.read_feed_history(p_after bigint, p_limit integer) IS 'The next events in order as read_feed gives them, archived ones too';

--
-- Name: read_lane(character varying, integer, uuid, bigint, integer, character varying[], boolean); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.read_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_size integer, p_types character varying[], p_beyond_horizon boolean DEFAULT false) RETURNS TABLE(after bigint, upto bigint, epoch integer, failed_attempts integer, waiting bigint[], event_position bigint, event_id uuid, tenant_id uuid, aggregate_type character varying, aggregate_id uuid, event_type character varying, event_version integer, event_data jsonb, metadata jsonb, created_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION read_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_size integer, p_types character varying[], p_beyond_horizon boolean); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.read_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint, p_size integer, p_types character varying[], p_beyond_horizon boolean) IS 'The next batch of a lane for the worker that has it; at least one row, which says how far the batch goes';

--
-- Name: read_stream_history(character varying, uuid, integer, integer, boolean); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.read_stream_history(p_aggregate_type character varying, p_aggregate_id uuid, p_after_version integer, p_limit integer, p_backward boolean DEFAULT false) RETURNS TABLE(event_position bigint, event_id uuid, tenant_id uuid, aggregate_type character varying, aggregate_id uuid, event_type character varying, event_version integer, event_data jsonb, metadata jsonb, created_at timestamp with time zone)
    LANGUAGE plpgsql ROWS 100
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $_$
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
$_$;

--
-- Name: FUNCTION read_stream_history(p_aggregate_type character varying, p_aggregate_id uuid, p_after_version integer, p_limit integer, p_backward boolean); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.read_stream_history(p_aggregate_type character varying, p_aggregate_id uuid, p_after_version integer, p_limit integer, p_backward boolean) IS 'The events of one stream of the current tenant above a version, or backward below it, archived ones too';

--
-- Name: readers_in_the_way(uuid, bigint); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.readers_in_the_way(p_tenant_id uuid, p_upto bigint) RETURNS TABLE(projection_name character varying, reason text, is_external boolean)
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
        SELECT p.projection_name, CASE WHEN p.projection_name LIKE '%@rebuild' THEN 'rebuilding' ELSE p.state::text END,
               p.is_external
        FROM projections p WHERE p.state = 'paused' OR p.projection_name LIKE '%@rebuild'
        UNION ALL
        SELECT DISTINCT k.projection_name, 'parked', false FROM parked_events k WHERE k.tenant_id = p_tenant_id
        UNION ALL
        SELECT DISTINCT c.projection_name, 'behind', p.is_external
        FROM projection_checkpoints c JOIN projections p ON p.projection_name = c.projection_name
        WHERE p.state = 'live' AND p.projection_name NOT LIKE '%@rebuild'
          AND EXISTS (SELECT FROM events e WHERE e.event_position > c.event_position AND e.event_position <= p_upto
                      AND e.tenant_id = p_tenant_id
                      AND lane_of(e.aggregate_id, p.lane_count) = c.lane
                      -- A checkpoint rests while there is nothing for its lane. Without workers nobody knows the types.
                      AND (e.event_type IN (SELECT unnest(w.event_types) FROM projection_workers w
                                            WHERE w.projection_name = c.projection_name)
                           OR NOT EXISTS (SELECT FROM projection_workers w
                                          WHERE w.projection_name = c.projection_name)));
END
$$;

--
-- Name: FUNCTION readers_in_the_way(p_tenant_id uuid, p_upto bigint); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.readers_in_the_way(p_tenant_id uuid, p_upto bigint) IS 'Projections that have not applied the events of a tenant up to a position, and why: behind, paused, parked or rebuilding';

--
-- Name: refuse_change(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = '42501', HINT = 'Record a correction as a new row.';
END
$$;

--
-- Name: FUNCTION refuse_change(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.refuse_change() IS 'Keeps history from being rewritten, whoever asks';

--
-- Name: refuse_new_key(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.refuse_new_key() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
BEGIN
    IF NEW.wrapped_key IS NOT NULL THEN
        RAISE EXCEPTION 'subject % was erased: it cannot have a key again',
            coalesce(to_jsonb(OLD) ->> 'subject_id', OLD.tenant_id::text) USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$$;

--
-- Name: FUNCTION refuse_new_key(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.refuse_new_key() IS 'Makes an erasure final, whoever asks';

--
-- Name: refuse_while_moving(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.refuse_while_moving() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
BEGIN
    LOCK TABLE tenant_transfers IN SHARE MODE;
    IF EXISTS (SELECT FROM tenant_transfers t WHERE t.state = 'open') THEN
        RAISE EXCEPTION 'a tenant is moving to or from this shard' USING ERRCODE = 'CL500',
            HINT = 'Wait for its move to end, or abort it: cloudlab shard list';
    END IF;
END
$$;

--
-- Name: FUNCTION refuse_while_moving(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.refuse_while_moving() IS 'Excludes moves until the end of the transaction; refused while one is under way';

--
-- Name: register_projection(character varying, integer, boolean); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.register_projection(p_name character varying, p_lanes integer, p_is_external boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION register_projection(p_name character varying, p_lanes integer, p_is_external boolean); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.register_projection(p_name character varying, p_lanes integer, p_is_external boolean) IS 'Makes a projection known with its lanes, once';

--
-- Name: release_lane(character varying, integer, uuid, bigint); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.release_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint) RETURNS void
    LANGUAGE sql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
    UPDATE projection_checkpoints SET owner_id = NULL, leased_until = NULL
    WHERE projection_name = p_name AND lane = p_lane AND owner_id = p_worker AND lease_epoch = p_lease_epoch
$$;

--
-- Name: FUNCTION release_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.release_lane(p_name character varying, p_lane integer, p_worker uuid, p_lease_epoch bigint) IS 'Gives a lane back, for any worker to take';

--
-- Name: release_worker(character varying, uuid); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.release_worker(p_name character varying, p_worker uuid) RETURNS void
    LANGUAGE sql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
    UPDATE projection_checkpoints SET owner_id = NULL, leased_until = NULL
    WHERE projection_name = p_name AND owner_id = p_worker;
    DELETE FROM projection_workers
    WHERE projection_name = p_name AND (worker_id = p_worker OR seen_at < clock_timestamp() - interval '1 day')
$$;

--
-- Name: FUNCTION release_worker(p_name character varying, p_worker uuid); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.release_worker(p_name character varying, p_worker uuid) IS 'A worker leaves: its lanes are free at once';

--
-- Name: renew_sagas(uuid, interval, uuid[], uuid[], integer[]); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.renew_sagas(p_worker uuid, p_lease interval, p_tenant_ids uuid[], p_saga_ids uuid[], p_epochs integer[]) RETURNS uuid[]
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_lost uuid[] := '{}';
BEGIN
    FOR n IN 1 .. cardinality(p_saga_ids) LOOP
        -- What is being written now is left for the next time: waiting for it here could make two wait for each other.
        UPDATE saga_instances s SET next_at = clock_timestamp() + p_lease
        WHERE s.tenant_id = p_tenant_ids[n] AND s.saga_id = (
            SELECT i.saga_id FROM saga_instances i
            WHERE i.tenant_id = p_tenant_ids[n] AND i.saga_id = p_saga_ids[n] AND i.epoch = p_epochs[n]
              AND i.lease_owner = p_worker AND i.next_at IS NOT NULL
            FOR UPDATE SKIP LOCKED);
        IF NOT FOUND AND EXISTS (
            SELECT FROM saga_instances i
            WHERE i.tenant_id = p_tenant_ids[n] AND i.saga_id = p_saga_ids[n] AND i.epoch <> p_epochs[n])
        THEN
            v_lost := v_lost || p_saga_ids[n];
        END IF;
    END LOOP;
    RETURN v_lost;
END
$$;

--
-- Name: FUNCTION renew_sagas(p_worker uuid, p_lease interval, p_tenant_ids uuid[], p_saga_ids uuid[], p_epochs integer[]); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.renew_sagas(p_worker uuid, p_lease interval, p_tenant_ids uuid[], p_saga_ids uuid[], p_epochs integer[]) IS 'Extends the leases of a worker; returns the sagas that somebody else has now';

--
-- Name: restore_event_archive(date); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.restore_event_archive(p_month date) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
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

--
-- Name: FUNCTION restore_event_archive(p_month date); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.restore_event_archive(p_month date) IS 'Brings a month back from the archive, in one transaction';

--
-- Name: retire_sagas(uuid); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.retire_sagas(p_tenant_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
DECLARE
    v_live record;
BEGIN
    FOR v_live IN
        WITH RECURSIVE live AS (
            (SELECT i.saga_type, i.definition_version FROM saga_instances i WHERE i.next_at IS NOT NULL
             ORDER BY i.saga_type, i.definition_version LIMIT 1)
            UNION ALL
            SELECT n.saga_type, n.definition_version FROM live l, LATERAL (
                SELECT i.saga_type, i.definition_version FROM saga_instances i WHERE i.next_at IS NOT NULL
                  AND (i.saga_type, i.definition_version) > (l.saga_type, l.definition_version)
                ORDER BY i.saga_type, i.definition_version LIMIT 1) AS n)
        SELECT l.saga_type, l.definition_version FROM live l
    LOOP
        UPDATE saga_instances s SET next_at = 'infinity', lease_owner = NULL
        WHERE s.saga_type = v_live.saga_type AND s.definition_version = v_live.definition_version
          AND s.tenant_id = p_tenant_id AND s.next_at IS NOT NULL;
    END LOOP;
END
$$;

--
-- Name: FUNCTION retire_sagas(p_tenant_id uuid); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.retire_sagas(p_tenant_id uuid) IS 'Keeps workers of this shard from the sagas of a tenant that leaves it';

--
-- Name: shadow_schema(text, character varying); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.shadow_schema(p_schema text, p_name character varying) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT pg_catalog.left(p_schema, 40) || '__' || pg_catalog.left(pg_catalog.md5(p_name), 8) $$;

--
-- Name: FUNCTION shadow_schema(p_schema text, p_name character varying); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.shadow_schema(p_schema text, p_name character varying) IS 'Schema in which a projection''s tables of another schema are rebuilt';

--
-- Name: start_saga(uuid, character varying, integer, character varying, integer, jsonb, interval, uuid, uuid, character varying, uuid, interval); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.start_saga(p_saga_id uuid, p_type character varying, p_version integer, p_key character varying, p_pivot integer, p_data jsonb, p_deadline interval, p_correlation_id uuid, p_causation_id uuid, p_actor character varying, p_worker uuid, p_lease interval) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_tenant constant uuid := current_tenant();
    v_found record;
BEGIN
    INSERT INTO saga_instances (tenant_id, saga_id, saga_type, definition_version, saga_key, pivot_step, saga_data,
                                deadline_at, correlation_id, causation_id, started_by, lease_owner, epoch, next_at)
    VALUES (v_tenant, p_saga_id, p_type, p_version, p_key, p_pivot, p_data, now() + p_deadline,
            p_correlation_id, p_causation_id, p_actor, p_worker, CASE WHEN p_worker IS NULL THEN 0 ELSE 1 END,
            CASE WHEN p_worker IS NULL THEN now() ELSE clock_timestamp() + p_lease END)
    ON CONFLICT (saga_key, saga_type, tenant_id) DO NOTHING;
    IF FOUND THEN
        RETURN p_saga_id;
    END IF;
    SELECT s.saga_id, s.saga_data INTO v_found FROM saga_instances s
    WHERE s.tenant_id = v_tenant AND s.saga_type = p_type AND s.saga_key = p_key;
    IF v_found.saga_data <> p_data THEN
        RAISE EXCEPTION 'saga % was started under the key % with other data', p_type, p_key USING ERRCODE = 'CL505';
    END IF;
    RETURN v_found.saga_id;
END
$$;

--
-- Name: FUNCTION start_saga(p_saga_id uuid, p_type character varying, p_version integer, p_key character varying, p_pivot integer, p_data jsonb, p_deadline interval, p_correlation_id uuid, p_causation_id uuid, p_actor character varying, p_worker uuid, p_lease interval); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.start_saga(p_saga_id uuid, p_type character varying, p_version integer, p_key character varying, p_pivot integer, p_data jsonb, p_deadline interval, p_correlation_id uuid, p_causation_id uuid, p_actor character varying, p_worker uuid, p_lease interval) IS 'Starts a saga, claimed already for a worker that goes on with it; or returns the one of the same key and data';

--
-- Name: steer_saga(uuid, character varying, character varying, integer, character varying, text); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.steer_saga(p_saga_id uuid, p_action character varying, p_step character varying, p_version integer, p_actor character varying, p_reason text) RETURNS character varying
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_tenant constant uuid := current_tenant();
    v_saga record;
    v_status varchar;
    v_why jsonb;
BEGIN
    SELECT s.status, s.compensation_data, s.pivot_step INTO v_saga FROM saga_instances s
    WHERE s.tenant_id = v_tenant AND s.saga_id = p_saga_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no saga %', p_saga_id USING ERRCODE = 'CL200';
    ELSIF v_saga.status IN ('completed', 'compensated') THEN
        RAISE EXCEPTION 'saga % is % already', p_saga_id, v_saga.status USING ERRCODE = 'CL503',
            HINT = 'What has ended stays as it is.';
    END IF;
    v_status := CASE WHEN v_saga.status = 'compensating' OR v_saga.compensation_data IS NOT NULL
                     THEN 'compensating' ELSE 'running' END;
    IF p_action IN ('undo', 'cancel') THEN
        IF v_status = 'compensating' AND v_saga.status <> 'failed' THEN
            RAISE EXCEPTION 'saga % is being compensated already', p_saga_id USING ERRCODE = 'CL503', HINT = '';
        ELSIF p_action = 'cancel' AND EXISTS (
            SELECT FROM saga_steps j
            WHERE j.tenant_id = v_tenant AND j.saga_id = p_saga_id AND j.step_number >= v_saga.pivot_step
              AND j.direction = 'do' AND j.status IN ('completed', 'skipped'))
        THEN
            RAISE EXCEPTION 'saga % has passed its pivot', p_saga_id USING ERRCODE = 'CL503',
                HINT = 'To compensate it nevertheless: cloudlab saga undo.';
        END IF;
        v_status := 'compensating';
        v_why := jsonb_build_object('action', p_action, 'actor', p_actor, 'reason', p_reason);
    ELSIF p_action = 'skip' THEN
        INSERT INTO saga_steps (tenant_id, saga_id, step_number, step_type, direction, attempt, status, started_at,
                                completed_at, error_message)
        SELECT v_tenant, p_saga_id, j.step_number, p_step, j.direction, j.attempt + 1, 'skipped', clock_timestamp(),
               clock_timestamp(), 'skipped by ' || p_actor || ': ' || p_reason
        FROM saga_steps j
        WHERE j.tenant_id = v_tenant AND j.saga_id = p_saga_id AND j.step_type = p_step
          AND j.direction = CASE v_status WHEN 'running' THEN 'do' ELSE 'undo' END
        ORDER BY j.attempt DESC LIMIT 1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'saga % has not come to a step %', p_saga_id, p_step USING ERRCODE = 'CL200',
                HINT = 'cloudlab saga show names its steps.';
        END IF;
    END IF;
    UPDATE saga_instances s
    SET status = v_status, compensation_data = coalesce(v_why, s.compensation_data), epoch = s.epoch + 1,
        lease_owner = NULL, next_at = clock_timestamp(), resumed_at = clock_timestamp(),
        definition_version = coalesce(p_version, s.definition_version), waiting_for = NULL, waiting_on = NULL
    WHERE s.tenant_id = v_tenant AND s.saga_id = p_saga_id;
    INSERT INTO saga_actions (tenant_id, saga_id, action, step_type, actor, reason)
    VALUES (v_tenant, p_saga_id, p_action, p_step, p_actor, p_reason);
    RETURN v_status;
END
$$;

--
-- Name: FUNCTION steer_saga(p_saga_id uuid, p_action character varying, p_step character varying, p_version integer, p_actor character varying, p_reason text); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.steer_saga(p_saga_id uuid, p_action character varying, p_step character varying, p_version integer, p_actor character varying, p_reason text) IS 'What an operator does to a saga, on record with who and why; whoever runs it now cannot write any more';

--
-- Name: tenant_schemas(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.tenant_schemas() RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
    SELECT DISTINCT t.schema_name::text FROM tenant_local t WHERE t.state IN ('open', 'suspended') ORDER BY 1
$$;

--
-- Name: FUNCTION tenant_schemas(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.tenant_schemas() IS 'Schemas that hold tables of tenants served here';

--
-- Name: touch_updated_at(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

--
-- Name: FUNCTION touch_updated_at(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.touch_updated_at() IS 'Keeps updated_at true whoever writes the row';

--
-- Name: uuidv7(); Type: FUNCTION; Schema: cloudlab; Owner: -
--

CREATE FUNCTION cloudlab.uuidv7() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    SET search_path TO 'cloudlab', 'pg_temp'
    AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

--
-- Name: FUNCTION uuidv7(); Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON FUNCTION cloudlab.uuidv7() IS 'UUID version 7 for servers before PostgreSQL 18, whose own function takes precedence';

--
-- Name: advance_orders(shop.order_status, uuid[], timestamp with time zone[], integer[], character varying[]); Type: FUNCTION; Schema: shop; Owner: -
--

CREATE FUNCTION shop.advance_orders(p_to shop.order_status, p_order_ids uuid[], p_at timestamp with time zone[], p_expected_versions integer[], p_receipt_keys character varying[]) RETURNS TABLE(order_id uuid, order_number character varying, user_id uuid, status shop.order_status, currency character varying, total_amount numeric, line_count integer, order_version integer, placed_at timestamp with time zone, created_at timestamp with time zone, is_changed boolean)
    LANGUAGE plpgsql
    SET search_path TO 'shop', 'cloudlab', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
    v_found record;
BEGIN
    -- The caller sorts them, so that two calls never wait for each other in a circle. One UPDATE for each: what one for all
    -- of them saves is little, and its plan would depend on statistics.
    FOR i IN 1..cardinality(p_order_ids) LOOP
        IF p_receipt_keys IS NOT NULL THEN
            -- Locked before the receipt is looked for: a twin that brings the same one is waited for here.
            PERFORM FROM orders o WHERE o.tenant_id = v_tenant AND o.order_id = p_order_ids[i] FOR NO KEY UPDATE;
        END IF;
        RETURN QUERY
            UPDATE orders o
            SET status = p_to, order_version = o.order_version + 1,
                paid_at = CASE WHEN p_to = 'paid' THEN p_at[i] ELSE o.paid_at END,
                processing_at = CASE WHEN p_to = 'processing' THEN p_at[i] ELSE o.processing_at END,
                shipped_at = CASE WHEN p_to = 'shipped' THEN p_at[i] ELSE o.shipped_at END,
                delivered_at = CASE WHEN p_to = 'delivered' THEN p_at[i] ELSE o.delivered_at END,
                cancelled_at = CASE WHEN p_to = 'cancelled' THEN p_at[i] ELSE o.cancelled_at END,
                refunded_at = CASE WHEN p_to = 'refunded' THEN p_at[i] ELSE o.refunded_at END
            WHERE o.tenant_id = v_tenant AND o.order_id = p_order_ids[i]
              AND (p_expected_versions[i] IS NULL OR o.order_version = p_expected_versions[i])
              AND (p_receipt_keys[i] IS NULL OR NOT EXISTS (
                  SELECT FROM payment_transactions t
                  WHERE t.tenant_id = v_tenant AND t.idempotency_key = p_receipt_keys[i]))
            RETURNING o.order_id, o.order_number, o.user_id, o.status, o.currency::varchar, o.total_amount, o.line_count,
                      o.order_version, o.placed_at, o.created_at, true;
        CONTINUE WHEN FOUND;
        SELECT o.order_number, o.order_version INTO v_found FROM orders o
        WHERE o.tenant_id = v_tenant AND o.order_id = p_order_ids[i];
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no order %', p_order_ids[i] USING ERRCODE = 'CL200';
        ELSIF v_found.order_version <> p_expected_versions[i] THEN
            RAISE EXCEPTION 'order % is at version %, not %', v_found.order_number, v_found.order_version,
                p_expected_versions[i] USING ERRCODE = 'CL501';
        END IF;
        RETURN QUERY
            SELECT o.order_id, o.order_number, o.user_id, o.status, o.currency::varchar, o.total_amount, o.line_count,
                      o.order_version, o.placed_at, o.created_at, false
            FROM orders o WHERE o.tenant_id = v_tenant AND o.order_id = p_order_ids[i];
    END LOOP;
END
$$;

--
-- Name: FUNCTION advance_orders(p_to shop.order_status, p_order_ids uuid[], p_at timestamp with time zone[], p_expected_versions integer[], p_receipt_keys character varying[]); Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON FUNCTION shop.advance_orders(p_to shop.order_status, p_order_ids uuid[], p_at timestamp with time zone[], p_expected_versions integer[], p_receipt_keys character varying[]) IS 'Brings orders, given sorted, into another state, all or none; one whose receipt is on record already stays as it is';

--
-- Name: check_order_transition(); Type: FUNCTION; Schema: shop; Owner: -
--

CREATE FUNCTION shop.check_order_transition() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'shop', 'cloudlab', 'pg_temp'
    AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('draft', 'pending_payment'), ('draft', 'cancelled'),
        ('pending_payment', 'paid'), ('pending_payment', 'cancelled'),
        ('paid', 'processing'), ('paid', 'refunded'),
        ('processing', 'shipped'), ('processing', 'refunded'),
        ('shipped', 'delivered'), ('shipped', 'refunded'),
        ('delivered', 'refunded'))
    THEN
        RAISE EXCEPTION 'order % cannot go from % to %', OLD.order_number, OLD.status, NEW.status USING ERRCODE = 'CL503';
    END IF;
    IF NEW.order_version <> OLD.order_version + 1 THEN
        RAISE EXCEPTION 'order %: a change of state raises order_version by one', OLD.order_number USING ERRCODE = 'CL503';
    END IF;
    RETURN NEW;
END
$$;

--
-- Name: FUNCTION check_order_transition(); Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON FUNCTION shop.check_order_transition() IS 'Refuses an illegal change of state, whoever asks';

--
-- Name: deal_stock(integer, integer[], integer[], bigint[], bigint[]); Type: FUNCTION; Schema: shop; Owner: -
--

CREATE FUNCTION shop.deal_stock(p_order_count integer, p_places integer[], p_stocks integer[], p_quantities bigint[], p_available bigint[], OUT short_entries integer[], OUT short_available bigint[]) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'shop', 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_left bigint[] := p_available;
    v_count integer := coalesce(cardinality(p_places), 0);
    v_first integer := 1;
BEGIN
    short_entries := array_fill(NULL::integer, ARRAY[p_order_count]);
    short_available := array_fill(NULL::bigint, ARRAY[p_order_count]);
    FOR i IN 1..v_count LOOP
        IF short_entries[p_places[i]] IS NULL AND p_quantities[i] > v_left[p_stocks[i]] THEN
            short_entries[p_places[i]] := i;
            short_available[p_places[i]] := v_left[p_stocks[i]];
        END IF;
        -- The order's last entry: what it takes is gone for those behind it.
        IF i = v_count OR p_places[i + 1] <> p_places[i] THEN
            FOR j IN v_first..i LOOP
                EXIT WHEN short_entries[p_places[i]] IS NOT NULL;
                v_left[p_stocks[j]] := v_left[p_stocks[j]] - p_quantities[j];
            END LOOP;
            v_first := i + 1;
        END IF;
    END LOOP;
END
$$;

--
-- Name: FUNCTION deal_stock(p_order_count integer, p_places integer[], p_stocks integer[], p_quantities bigint[], p_available bigint[], OUT short_entries integer[], OUT short_available bigint[]); Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON FUNCTION shop.deal_stock(p_order_count integer, p_places integer[], p_stocks integer[], p_quantities bigint[], p_available bigint[], OUT short_entries integer[], OUT short_available bigint[]) IS 'Deals stock out to orders in their turn: for each order NULL, or which of its entries was too much and what was left';

--
-- Name: gather_stock(uuid, integer); Type: FUNCTION; Schema: shop; Owner: -
--

CREATE FUNCTION shop.gather_stock(p_product_id uuid, p_bucket_number integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'shop', 'cloudlab', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
    v_units bigint;
BEGIN
    PERFORM FROM inventory n
    WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id AND n.bucket_number = 0 FOR NO KEY UPDATE;
    SELECT sum(n.available_quantity) INTO v_units
    FROM (SELECT n.available_quantity FROM inventory n
          WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id
          ORDER BY n.bucket_number FOR NO KEY UPDATE) AS n;
    UPDATE inventory n
    SET available_quantity = CASE WHEN n.bucket_number = p_bucket_number THEN v_units ELSE 0 END
    WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id
      AND n.available_quantity <> CASE WHEN n.bucket_number = p_bucket_number THEN v_units ELSE 0 END;
    RETURN v_units;
END
$$;

--
-- Name: FUNCTION gather_stock(p_product_id uuid, p_bucket_number integer); Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON FUNCTION shop.gather_stock(p_product_id uuid, p_bucket_number integer) IS 'Brings the available units of a product together in one bucket, all locked: how many';

--
-- Name: known_orders(character varying[], bytea[], uuid[]); Type: FUNCTION; Schema: shop; Owner: -
--

CREATE FUNCTION shop.known_orders(p_idempotency_keys character varying[], p_request_fingerprints bytea[], p_order_ids uuid[]) RETURNS TABLE(place integer, resource_id uuid, outcome character varying)
    LANGUAGE plpgsql ROWS 1
    SET search_path TO 'shop', 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
BEGIN
    RETURN QUERY
        SELECT w.place::integer, k.resource_id,
               CASE WHEN k.request_fingerprint = w.request_fingerprint THEN 'replayed' ELSE 'key_reused' END::varchar
        FROM unnest(p_idempotency_keys, p_request_fingerprints, p_order_ids) WITH ORDINALITY
            AS w (idempotency_key, request_fingerprint, order_id, place)
        CROSS JOIN LATERAL (
            SELECT k.resource_id, k.request_fingerprint FROM idempotency_keys k
            WHERE k.tenant_id = v_tenant AND k.idempotency_key = w.idempotency_key LIMIT 1) AS k
        WHERE k.resource_id <> w.order_id;
END
$$;

--
-- Name: FUNCTION known_orders(p_idempotency_keys character varying[], p_request_fingerprints bytea[], p_order_ids uuid[]); Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON FUNCTION shop.known_orders(p_idempotency_keys character varying[], p_request_fingerprints bytea[], p_order_ids uuid[]) IS 'Which of these idempotency keys belong to something else already: to what, and whether by the same request';

--
-- Name: level_stock(uuid); Type: FUNCTION; Schema: shop; Owner: -
--

CREATE FUNCTION shop.level_stock(p_product_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'shop', 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
    v_units bigint := gather_stock(p_product_id, 0);
    v_count bigint;
BEGIN
    SELECT count(*) INTO v_count FROM inventory n WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id;
    UPDATE inventory n
    SET available_quantity = v_units / v_count + CASE WHEN n.bucket_number < v_units % v_count THEN 1 ELSE 0 END
    WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id AND v_units > 0;
END
$$;

--
-- Name: FUNCTION level_stock(p_product_id uuid); Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON FUNCTION shop.level_stock(p_product_id uuid) IS 'Deals the available units of a product out to its buckets anew, the same to each';

--
-- Name: lock_stock(uuid[], bigint[]); Type: FUNCTION; Schema: shop; Owner: -
--

CREATE FUNCTION shop.lock_stock(p_product_ids uuid[], p_quantities bigint[]) RETURNS TABLE(available bigint, bucket_number smallint, was_gathered boolean)
    LANGUAGE plpgsql
    SET search_path TO 'shop', 'cloudlab', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
BEGIN
    FOR i IN 1..coalesce(cardinality(p_product_ids), 0) LOOP
        -- Any bucket that has enough and that nobody is at.
        SELECT n.available_quantity, n.bucket_number, false INTO available, bucket_number, was_gathered
        FROM inventory n
        WHERE n.tenant_id = v_tenant AND n.product_id = p_product_ids[i] AND n.available_quantity >= p_quantities[i]
        ORDER BY random() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            available := gather_stock(p_product_ids[i], 0);
            bucket_number := 0;
            was_gathered := true;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

--
-- Name: FUNCTION lock_stock(p_product_ids uuid[], p_quantities bigint[]); Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON FUNCTION shop.lock_stock(p_product_ids uuid[], p_quantities bigint[]) IS 'Locks a bucket of each product, given sorted: one with enough and free, else all, gathered in bucket 0; what is in it';

--
-- Name: move_order_stock(uuid[], integer, integer, character varying); Type: FUNCTION; Schema: shop; Owner: -
--

CREATE FUNCTION shop.move_order_stock(p_order_ids uuid[], p_available integer, p_reserved integer, p_reason character varying) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'shop', 'cloudlab', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
    v_moved record;
    v_totals record;
BEGIN
    SELECT array_agg(w.order_id) AS order_ids, array_agg(w.product_id) AS product_ids, array_agg(w.quantity) AS quantities,
           array_agg(w.bucket_number) AS buckets
    INTO v_moved
    FROM (SELECT w.order_id, i.product_id, i.bucket_number, sum(i.quantity)::integer AS quantity
          FROM unnest(p_order_ids) AS w (order_id)
          CROSS JOIN LATERAL (
              SELECT i.product_id, i.bucket_number, i.quantity FROM order_items i
              WHERE i.tenant_id = v_tenant AND i.order_id = w.order_id ORDER BY i.line_number OFFSET 0) AS i
          GROUP BY w.order_id, i.product_id, i.bucket_number) AS w;
    INSERT INTO inventory_updates (tenant_id, product_id, order_id, delta_available, delta_reserved, reason)
    SELECT v_tenant, w.product_id, w.order_id, p_available * w.quantity, p_reserved * w.quantity, p_reason
    FROM unnest(v_moved.order_ids, v_moved.product_ids, v_moved.quantities) AS w (order_id, product_id, quantity);
    SELECT array_agg(w.product_id) AS product_ids, array_agg(w.bucket_number) AS buckets, array_agg(w.quantity) AS quantities
    INTO v_totals
    FROM (SELECT w.product_id, w.bucket_number, sum(w.quantity)::integer AS quantity
          FROM unnest(v_moved.product_ids, v_moved.buckets, v_moved.quantities) AS w (product_id, bucket_number, quantity)
          GROUP BY w.product_id, w.bucket_number) AS w;
    -- Last, so that others wait for the stock as briefly as can be; locked in sorted order, so that two calls never wait
    -- for each other in a circle. One UPDATE for all of them: a statement for each product costs three times as much.
    PERFORM FROM inventory n
    WHERE n.tenant_id = v_tenant AND n.product_id = ANY (v_totals.product_ids) AND n.bucket_number = ANY (v_totals.buckets)
    ORDER BY n.product_id, n.bucket_number FOR NO KEY UPDATE;
    UPDATE inventory n
    SET available_quantity = n.available_quantity + p_available * w.quantity,
        reserved_quantity = n.reserved_quantity + p_reserved * w.quantity
    FROM unnest(v_totals.product_ids, v_totals.buckets, v_totals.quantities) AS w (product_id, bucket_number, quantity)
    WHERE n.tenant_id = v_tenant AND n.product_id = w.product_id AND n.bucket_number = w.bucket_number;
END
$$;

--
-- Name: FUNCTION move_order_stock(p_order_ids uuid[], p_available integer, p_reserved integer, p_reason character varying); Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON FUNCTION shop.move_order_stock(p_order_ids uuid[], p_available integer, p_reserved integer, p_reason character varying) IS 'Adds so many times the ordered quantities to the available and the reserved stock, and enters it in the ledger';

--
-- Name: place_orders(uuid[], character varying[], uuid[], character varying[], timestamp with time zone[], character varying[], bytea[], interval[], jsonb[], integer[], integer[], uuid[], integer[], numeric[]); Type: FUNCTION; Schema: shop; Owner: -
--

CREATE FUNCTION shop.place_orders(p_order_ids uuid[], p_order_numbers character varying[], p_user_ids uuid[], p_currencies character varying[], p_placed_at timestamp with time zone[], p_idempotency_keys character varying[], p_request_fingerprints bytea[], p_holds interval[], p_metadata jsonb[], p_places integer[], p_line_numbers integer[], p_product_ids uuid[], p_quantities integer[], p_prices numeric[]) RETURNS TABLE(outcome character varying, order_id uuid, facts jsonb, event_position bigint, recorded_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'shop', 'cloudlab', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
    v_count integer := cardinality(p_order_ids);
    v_currencies varchar[] := p_currencies;
    v_outcomes varchar[] := array_fill('placed'::varchar, ARRAY[v_count]);
    v_is_open boolean[] := array_fill(true, ARRAY[v_count]);
    v_ids uuid[] := p_order_ids;
    v_facts jsonb[] := array_fill(NULL::jsonb, ARRAY[v_count]);
    v_positions bigint[];
    v_recorded_at timestamp with time zone;
    v_open_count integer;
    v_row_count integer;
    v_is_tight boolean;
    v_is_spread boolean;
    v_found record;
    v_lines record;
    v_orders record;
    v_wanted record;
    v_totals record;
    v_stock record;
    v_short record;
BEGIN
    IF array_position(p_currencies, NULL) IS NOT NULL THEN
        SELECT array_agg(coalesce(p_currencies[l.place], p.currency) ORDER BY l.place) INTO v_currencies
        FROM unnest(p_places, p_line_numbers, p_product_ids) AS l (place, line_number, product_id)
        LEFT JOIN products p ON p.tenant_id = v_tenant AND p.product_id = l.product_id
        WHERE l.line_number = 1;
    END IF;

    -- What is bought, as the catalogue describes it now; a repeated product stays a line of its own.
    SELECT array_agg(l.place) AS places, array_agg(l.line_number) AS numbers, array_agg(l.product_id) AS product_ids,
           array_agg(l.vendor_id) AS vendor_ids, array_agg(l.sku) AS skus, array_agg(l.name) AS names,
           array_agg(l.quantity) AS quantities, array_agg(l.price) AS prices
    INTO v_lines
    FROM (SELECT l.place, l.line_number, l.product_id, l.quantity, p.vendor_id, p.sku, p.name,
                 coalesce(l.price, p.price)::numeric(19,4) AS price
          FROM unnest(p_places, p_line_numbers, p_product_ids, p_quantities, p_prices)
              AS l (place, line_number, product_id, quantity, price)
          LEFT JOIN LATERAL (
              SELECT p.vendor_id, p.sku, p.name, p.price FROM products p
              WHERE p.tenant_id = v_tenant AND p.product_id = l.product_id AND p.status = 'active'
                AND p.deleted_at IS NULL AND p.currency = v_currencies[l.place] LIMIT 1) AS p ON true
          ORDER BY l.place, l.line_number) AS l;
    FOR v_found IN SELECT l.place, jsonb_agg(DISTINCT l.product_id) AS product_ids
                   FROM unnest(v_lines.places, v_lines.product_ids, v_lines.vendor_ids) AS l (place, product_id, vendor_id)
                   WHERE l.vendor_id IS NULL
                   GROUP BY l.place LOOP
        v_outcomes[v_found.place] := 'not_for_sale';
        v_facts[v_found.place] :=
            jsonb_build_object('currency', v_currencies[v_found.place], 'product_ids', v_found.product_ids);
        v_is_open[v_found.place] := false;
    END LOOP;

    -- Merged, so that a repeated product is counted once. The look at the stock takes no lock: it turns away at once who
    -- comes too late, and accepts nobody.
    SELECT array_agg(w.place) AS places, array_agg(w.product_id) AS product_ids, array_agg(w.quantity) AS quantities,
           array_agg(w.available) AS available, coalesce(bool_or(w.is_spread), false) AS is_spread
    INTO v_wanted
    FROM (SELECT w.place, w.product_id, w.quantity, coalesce(n.available, 0) AS available, n.is_spread
          FROM (SELECT l.place, l.product_id, sum(l.quantity) AS quantity
                FROM unnest(v_lines.places, v_lines.product_ids, v_lines.quantities) AS l (place, product_id, quantity)
                WHERE v_is_open[l.place]
                GROUP BY l.place, l.product_id) AS w
          LEFT JOIN LATERAL (
              SELECT sum(n.available_quantity) AS available, count(*) > 1 AS is_spread FROM inventory n
              WHERE n.tenant_id = v_tenant AND n.product_id = w.product_id) AS n ON true
          ORDER BY w.place, w.product_id) AS w;
    v_is_spread := v_wanted.is_spread;
    FOR v_found IN SELECT w.place, w.product_id, w.quantity, w.available
                   FROM unnest(v_wanted.places, v_wanted.product_ids, v_wanted.quantities, v_wanted.available)
                       AS w (place, product_id, quantity, available)
                   WHERE w.quantity > w.available LOOP
        CONTINUE WHEN NOT v_is_open[v_found.place];
        v_outcomes[v_found.place] := 'out_of_stock';
        v_facts[v_found.place] := jsonb_build_object('product_id', v_found.product_id,
            'sku', v_lines.skus[array_position(v_lines.product_ids, v_found.product_id)],
            'wanted', v_found.quantity, 'available', v_found.available);
        v_is_open[v_found.place] := false;
    END LOOP;
    -- A used key comes before everything else. It is looked up after the stock, because a twin that took the last piece
    -- meanwhile has left its key with it.
    FOR v_found IN SELECT k.place, k.resource_id, k.outcome
                   FROM known_orders(p_idempotency_keys, p_request_fingerprints, p_order_ids) k LOOP
        v_outcomes[v_found.place] := v_found.outcome;
        v_ids[v_found.place] := v_found.resource_id;
        v_facts[v_found.place] := NULL;
        v_is_open[v_found.place] := false;
    END LOOP;
    SELECT array_agg(w.product_id) AS product_ids, array_agg(w.quantity) AS quantities INTO v_totals
    FROM (SELECT w.product_id, sum(w.quantity)::bigint AS quantity
          FROM unnest(v_wanted.places, v_wanted.product_ids, v_wanted.quantities) AS w (place, product_id, quantity)
          WHERE v_is_open[w.place]
          GROUP BY w.product_id ORDER BY w.product_id) AS w;

    -- Everything that can be made ready is made ready before the lock.
    SELECT array_agg(o.place) AS places, array_agg(o.subtotal) AS subtotals, array_agg(o.total) AS totals,
           array_agg(o.line_count) AS line_counts, array_agg(o.placed_at) AS placed_at,
           array_agg(jsonb_build_object('order_id', v_ids[o.place], 'order_number', p_order_numbers[o.place],
               'user_id', p_user_ids[o.place], 'status', 'pending_payment', 'currency', v_currencies[o.place],
               'total_amount', o.total::text, 'line_count', o.line_count, 'placed_at', o.placed_at, 'lines', o.items)) AS facts
    INTO v_orders
    FROM (SELECT l.place, sum(l.quantity * l.price) AS subtotal, count(*)::integer AS line_count,
                 round(sum(l.quantity * l.price), minor_digits(v_currencies[l.place]))::numeric(19,4) AS total,
                 coalesce(p_placed_at[l.place], now()) AS placed_at,
                 jsonb_agg(jsonb_build_object('line', l.line_number, 'product_id', l.product_id, 'vendor_id', l.vendor_id,
                     'sku', l.sku, 'quantity', l.quantity, 'price', l.price::text) ORDER BY l.line_number) AS items
          FROM unnest(v_lines.places, v_lines.numbers, v_lines.product_ids, v_lines.vendor_ids, v_lines.skus,
                      v_lines.quantities, v_lines.prices)
              AS l (place, line_number, product_id, vendor_id, sku, quantity, price)
          WHERE v_is_open[l.place]
          GROUP BY l.place ORDER BY l.place) AS o;

    -- Locked in sorted order, stock before keys before order numbers, so that two calls never wait for each other in a
    -- circle. A twin in flight is waited for here: it wants the same products.
    IF v_is_spread THEN
        SELECT array_agg(n.available) AS available, array_agg(n.bucket_number) AS buckets,
               array_agg(n.was_gathered) AS gathered
        INTO v_stock
        FROM lock_stock(v_totals.product_ids, v_totals.quantities) n;
    ELSE
        SELECT array_agg(n.available_quantity::bigint) AS available, NULL::smallint[] AS buckets, NULL::boolean[] AS gathered
        INTO v_stock
        FROM (SELECT n.available_quantity FROM inventory n
              WHERE n.tenant_id = v_tenant AND n.product_id = ANY (v_totals.product_ids) AND n.bucket_number = 0
              ORDER BY n.product_id FOR NO KEY UPDATE) AS n;
    END IF;
    v_is_tight := EXISTS (SELECT FROM unnest(v_totals.quantities, v_stock.available) AS w (quantity, available)
                          WHERE w.quantity > w.available);
    FOR v_found IN SELECT k.place, k.resource_id, k.outcome
                   FROM known_orders(p_idempotency_keys, p_request_fingerprints, p_order_ids) k
                   WHERE v_is_open[k.place] LOOP
        v_outcomes[v_found.place] := v_found.outcome;
        v_ids[v_found.place] := v_found.resource_id;
        v_is_open[v_found.place] := false;
        v_is_tight := true;
    END LOOP;
    IF v_is_tight AND NOT v_is_spread AND EXISTS (
        SELECT FROM inventory n
        WHERE n.tenant_id = v_tenant AND n.product_id = ANY (v_totals.product_ids) AND n.bucket_number > 0) THEN
        RAISE EXCEPTION 'the stock was spread over buckets just now' USING ERRCODE = '40001', HINT = 'Repeat it.';
    END IF;
    IF v_is_tight THEN
        -- Not everybody can have what they want: first come, first served, in the order given.
        SELECT array_agg(w.place) AS places, array_agg(w.product_id) AS product_ids, array_agg(w.quantity) AS quantities,
               array_agg(w.stock) AS stocks
        INTO v_wanted
        FROM (SELECT w.place, w.product_id, w.quantity, t.stock::integer AS stock
              FROM unnest(v_wanted.places, v_wanted.product_ids, v_wanted.quantities) AS w (place, product_id, quantity)
              JOIN unnest(v_totals.product_ids) WITH ORDINALITY AS t (product_id, stock) ON t.product_id = w.product_id
              WHERE v_is_open[w.place]
              ORDER BY w.place, w.product_id) AS w;
        SELECT d.short_entries AS entries, d.short_available AS available INTO v_short
        FROM deal_stock(v_count, v_wanted.places, v_wanted.stocks, v_wanted.quantities, v_stock.available) d;
        FOR i IN 1..v_count LOOP
            CONTINUE WHEN v_short.entries[i] IS NULL;
            v_outcomes[i] := 'out_of_stock';
            v_facts[i] := jsonb_build_object('product_id', v_wanted.product_ids[v_short.entries[i]],
                'sku', v_lines.skus[array_position(v_lines.product_ids, v_wanted.product_ids[v_short.entries[i]])],
                'wanted', v_wanted.quantities[v_short.entries[i]], 'available', v_short.available[i]);
            v_is_open[i] := false;
        END LOOP;
    END IF;
    v_open_count := cardinality(array_positions(v_is_open, true));
    IF v_open_count > 0 THEN
        INSERT INTO idempotency_keys (tenant_id, idempotency_key, request_fingerprint, resource_id)
        SELECT v_tenant, w.idempotency_key, w.request_fingerprint, w.order_id
        FROM unnest(p_idempotency_keys, p_request_fingerprints, p_order_ids, v_is_open)
            AS w (idempotency_key, request_fingerprint, order_id, is_open)
        WHERE w.is_open
        ORDER BY w.idempotency_key
        ON CONFLICT ON CONSTRAINT pk_idempotency_keys DO NOTHING;
        GET DIAGNOSTICS v_row_count = ROW_COUNT;
        -- Some other order, of other products, was placed under one of the keys while the stock was waited for.
        IF v_row_count < v_open_count THEN
            FOR v_found IN SELECT k.place, k.resource_id, k.outcome
                           FROM known_orders(p_idempotency_keys, p_request_fingerprints, p_order_ids) k
                           WHERE v_is_open[k.place] LOOP
                v_outcomes[v_found.place] := v_found.outcome;
                v_ids[v_found.place] := v_found.resource_id;
                v_is_open[v_found.place] := false;
                v_open_count := v_open_count - 1;
            END LOOP;
        END IF;
    END IF;
    IF v_open_count = 0 THEN
        RETURN QUERY SELECT w.outcome, w.order_id, w.facts, NULL::bigint, NULL::timestamp with time zone
                     FROM unnest(v_outcomes, v_ids, v_facts) AS w (outcome, order_id, facts);
        RETURN;
    END IF;

    IF v_open_count < cardinality(v_orders.places) THEN
        SELECT array_agg(o.place) AS places, array_agg(o.subtotal) AS subtotals, array_agg(o.total) AS totals,
               array_agg(o.line_count) AS line_counts, array_agg(o.placed_at) AS placed_at, array_agg(o.facts) AS facts
        INTO v_orders
        FROM unnest(v_orders.places, v_orders.subtotals, v_orders.totals, v_orders.line_counts, v_orders.placed_at,
                    v_orders.facts) AS o (place, subtotal, total, line_count, placed_at, facts)
        WHERE v_is_open[o.place];
    END IF;
    INSERT INTO orders (tenant_id, order_id, user_id, order_number, status, currency, subtotal_amount, rounding_amount,
                        total_amount, line_count, placed_at, created_at)
    SELECT v_tenant, v_ids[o.place], p_user_ids[o.place], p_order_numbers[o.place], 'pending_payment',
           v_currencies[o.place], o.subtotal, o.total - o.subtotal, o.total, o.line_count, o.placed_at, o.placed_at
    FROM unnest(v_orders.places, v_orders.subtotals, v_orders.totals, v_orders.line_counts, v_orders.placed_at)
        AS o (place, subtotal, total, line_count, placed_at)
    ORDER BY p_order_numbers[o.place];
    INSERT INTO order_items (tenant_id, order_id, line_number, product_id, vendor_id, sku, name, quantity, price, bucket_number)
    SELECT v_tenant, v_ids[l.place], l.line_number, l.product_id, l.vendor_id, l.sku, l.name, l.quantity, l.price,
           CASE WHEN v_is_spread THEN v_stock.buckets[array_position(v_totals.product_ids, l.product_id)] ELSE 0 END
    FROM unnest(v_lines.places, v_lines.numbers, v_lines.product_ids, v_lines.vendor_ids, v_lines.skus, v_lines.names,
                v_lines.quantities, v_lines.prices)
        AS l (place, line_number, product_id, vendor_id, sku, name, quantity, price)
    WHERE v_is_open[l.place];
    INSERT INTO inventory_updates (tenant_id, product_id, order_id, delta_available, delta_reserved, reason)
    SELECT v_tenant, w.product_id, v_ids[w.place], -w.quantity, w.quantity, 'order'
    FROM unnest(v_wanted.places, v_wanted.product_ids, v_wanted.quantities) AS w (place, product_id, quantity)
    WHERE v_is_open[w.place];
    INSERT INTO inventory_reservations (tenant_id, order_id, expires_at)
    SELECT v_tenant, v_ids[o.place], clock_timestamp() + p_holds[o.place] FROM unnest(v_orders.places) AS o (place);
    UPDATE inventory n
    SET available_quantity = n.available_quantity - w.quantity, reserved_quantity = n.reserved_quantity + w.quantity
    FROM (SELECT w.product_id, sum(w.quantity)::integer AS quantity,
                 CASE WHEN v_is_spread THEN v_stock.buckets[array_position(v_totals.product_ids, w.product_id)] ELSE 0
                 END AS bucket_number
          FROM unnest(v_wanted.places, v_wanted.product_ids, v_wanted.quantities) AS w (place, product_id, quantity)
          WHERE v_is_open[w.place]
          GROUP BY w.product_id) AS w
    WHERE n.tenant_id = v_tenant AND n.product_id = w.product_id AND n.bucket_number = w.bucket_number;
    IF true = ANY (v_stock.gathered) THEN
        PERFORM level_stock(w.product_id)
        FROM unnest(v_totals.product_ids, v_stock.gathered) AS w (product_id, was_gathered) WHERE w.was_gathered;
    END IF;
    IF v_open_count = 1 THEN
        SELECT a.positions, a.recorded_at INTO v_positions, v_recorded_at
        FROM append_events('Order', v_ids[v_orders.places[1]], 0, ARRAY['OrderPlaced']::varchar[], v_orders.facts,
                           p_metadata[v_orders.places[1]]) a;
    ELSE
        SELECT a.positions, a.recorded_at INTO v_positions, v_recorded_at
        FROM append_streams_all(
            array_fill('Order'::varchar, ARRAY[v_open_count]), ARRAY(SELECT v_ids[o.place] FROM unnest(v_orders.places) AS o (place)),
            array_fill(0, ARRAY[v_open_count]), array_fill(1, ARRAY[v_open_count]),
            array_fill('OrderPlaced'::varchar, ARRAY[v_open_count]), v_orders.facts,
            ARRAY(SELECT p_metadata[o.place] FROM unnest(v_orders.places) AS o (place))) a;
    END IF;
    RETURN QUERY SELECT w.outcome, w.order_id, coalesce(o.facts, w.facts), o.event_position, v_recorded_at
                 FROM unnest(v_outcomes, v_ids, v_facts) WITH ORDINALITY AS w (outcome, order_id, facts, place)
                 LEFT JOIN unnest(v_orders.places, v_orders.facts, v_positions) AS o (place, facts, event_position)
                     ON o.place = w.place
                 ORDER BY w.place;
END
$$;

--
-- Name: FUNCTION place_orders(p_order_ids uuid[], p_order_numbers character varying[], p_user_ids uuid[], p_currencies character varying[], p_placed_at timestamp with time zone[], p_idempotency_keys character varying[], p_request_fingerprints bytea[], p_holds interval[], p_metadata jsonb[], p_places integer[], p_line_numbers integer[], p_product_ids uuid[], p_quantities integer[], p_prices numeric[]); Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON FUNCTION shop.place_orders(p_order_ids uuid[], p_order_numbers character varying[], p_user_ids uuid[], p_currencies character varying[], p_placed_at timestamp with time zone[], p_idempotency_keys character varying[], p_request_fingerprints bytea[], p_holds interval[], p_metadata jsonb[], p_places integer[], p_line_numbers integer[], p_product_ids uuid[], p_quantities integer[], p_prices numeric[]) IS 'Places orders, each whole or not at all: stock, order, items, ledger, reservation, event and idempotency key';

--
-- Name: refuse_released_stock(); Type: FUNCTION; Schema: shop; Owner: -
--

CREATE FUNCTION shop.refuse_released_stock() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'shop', 'cloudlab', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION 'the stock of order % was released: it must be held again first', OLD.order_id USING ERRCODE = 'CL503';
END
$$;

--
-- Name: FUNCTION refuse_released_stock(); Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON FUNCTION shop.refuse_released_stock() IS 'Refuses to sell what is no longer held, whoever asks';

--
-- Name: soft_delete_user(uuid); Type: FUNCTION; Schema: shop; Owner: -
--

CREATE FUNCTION shop.soft_delete_user(user_uuid uuid) RETURNS void
    LANGUAGE sql
    SET search_path TO 'shop', 'cloudlab', 'pg_temp'
    AS $$
    UPDATE users
    SET deleted_at = now(), is_active = false, user_version = user_version + 1
    WHERE tenant_id = current_tenant() AND user_id = user_uuid AND deleted_at IS NULL
$$;

--
-- Name: FUNCTION soft_delete_user(user_uuid uuid); Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON FUNCTION shop.soft_delete_user(user_uuid uuid) IS 'Marks a user as deleted; a second call changes nothing';

--
-- Name: spread_stock(uuid, integer); Type: FUNCTION; Schema: shop; Owner: -
--

CREATE FUNCTION shop.spread_stock(p_product_id uuid, p_bucket_count integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'shop', 'cloudlab', 'pg_temp'
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
BEGIN
    PERFORM FROM inventory n
    WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id AND n.bucket_number = 0 FOR NO KEY UPDATE;
    IF FOUND THEN
        INSERT INTO inventory (tenant_id, product_id, bucket_number)
        SELECT v_tenant, p_product_id, b.bucket_number FROM generate_series(1, p_bucket_count - 1) AS b (bucket_number)
        ON CONFLICT ON CONSTRAINT pk_inventory DO NOTHING;
        PERFORM level_stock(p_product_id);
    END IF;
    RETURN (SELECT count(*) FROM inventory n WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id);
END
$$;

--
-- Name: FUNCTION spread_stock(p_product_id uuid, p_bucket_count integer); Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON FUNCTION shop.spread_stock(p_product_id uuid, p_bucket_count integer) IS 'Spreads the stock of a product over at least so many buckets; how many it has then, 0 when there is no such product';

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: event_archives; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.event_archives (
    month date NOT NULL,
    partition_name character varying(63) NOT NULL,
    state character varying(20) DEFAULT 'moving'::character varying NOT NULL,
    event_count bigint NOT NULL,
    event_hash numeric(40,0) NOT NULL,
    last_position bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_event_archives_first_of_month CHECK ((EXTRACT(day FROM month) = (1)::numeric)),
    CONSTRAINT chk_event_archives_state CHECK (((state)::text = ANY ((ARRAY['moving'::character varying, 'archived'::character varying])::text[])))
);

--
-- Name: TABLE event_archives; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.event_archives IS 'Months of events that are in the archive or on their way to it';

--
-- Name: COLUMN event_archives.month; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_archives.month IS 'First day of the month, UTC';

--
-- Name: COLUMN event_archives.partition_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_archives.partition_name IS 'Table that holds its events';

--
-- Name: COLUMN event_archives.state; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_archives.state IS 'moving: in events, in the archive or in neither; archived: in the archive';

--
-- Name: COLUMN event_archives.event_count; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_archives.event_count IS 'How many events it had before it was moved';

--
-- Name: COLUMN event_archives.event_hash; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_archives.event_hash IS 'Sum of the hashes of its events before it was moved';

--
-- Name: COLUMN event_archives.last_position; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_archives.last_position IS 'Highest position in it, 0 when it is empty';

--
-- Name: COLUMN event_archives.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_archives.created_at IS 'When its move began';

--
-- Name: COLUMN event_archives.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_archives.updated_at IS 'When its state last changed';

--
-- Name: event_position; Type: SEQUENCE; Schema: cloudlab; Owner: -
--

CREATE SEQUENCE cloudlab.event_position
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

--
-- Name: SEQUENCE event_position; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON SEQUENCE cloudlab.event_position IS 'Order of all events of this shard; numbers of rolled back appends stay unused';

--
-- Name: event_snapshots; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.event_snapshots (
    tenant_id uuid NOT NULL,
    aggregate_id uuid NOT NULL,
    event_version integer NOT NULL,
    schema_version integer NOT NULL,
    subject_id uuid,
    state jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_event_snapshots_event_version_positive CHECK ((event_version > 0)),
    CONSTRAINT chk_event_snapshots_schema_version_positive CHECK ((schema_version > 0))
);

ALTER TABLE ONLY cloudlab.event_snapshots FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE event_snapshots; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.event_snapshots IS 'Newest folded state of a stream: a shortcut, which may be dropped at any time';

--
-- Name: COLUMN event_snapshots.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_snapshots.tenant_id IS 'Tenant that owns the aggregate';

--
-- Name: COLUMN event_snapshots.aggregate_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_snapshots.aggregate_id IS 'ID of the aggregate root';

--
-- Name: COLUMN event_snapshots.event_version; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_snapshots.event_version IS 'Version of the last event in the state';

--
-- Name: COLUMN event_snapshots.schema_version; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_snapshots.schema_version IS 'Version of the form of the state; a reader of another version folds anew';

--
-- Name: COLUMN event_snapshots.subject_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_snapshots.subject_id IS 'Person whose data the state holds, sealed with their key; erasing the person drops it';

--
-- Name: COLUMN event_snapshots.state; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_snapshots.state IS 'What the events up to here amount to';

--
-- Name: COLUMN event_snapshots.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_snapshots.created_at IS 'When the first snapshot of the stream was taken';

--
-- Name: COLUMN event_snapshots.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_snapshots.updated_at IS 'When this one was taken';

--
-- Name: event_streams; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.event_streams (
    tenant_id uuid NOT NULL,
    aggregate_id uuid NOT NULL,
    aggregate_type character varying(100) NOT NULL,
    event_version integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_event_streams_version_positive CHECK ((event_version > 0))
)
WITH (fillfactor='80');

ALTER TABLE ONLY cloudlab.event_streams FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE event_streams; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.event_streams IS 'One row for each aggregate: its version, moved by compare-and-set, keeps versions unique for ever';

--
-- Name: COLUMN event_streams.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_streams.tenant_id IS 'Tenant that owns the aggregate';

--
-- Name: COLUMN event_streams.aggregate_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_streams.aggregate_id IS 'ID of the aggregate root';

--
-- Name: COLUMN event_streams.aggregate_type; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_streams.aggregate_type IS 'Type of the aggregate (Order, User, Product, …)';

--
-- Name: COLUMN event_streams.event_version; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_streams.event_version IS 'Version of its last event';

--
-- Name: COLUMN event_streams.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.event_streams.created_at IS 'When the stream began';

--
-- Name: events; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.events (
    event_id uuid DEFAULT uuidv7() NOT NULL,
    tenant_id uuid NOT NULL,
    event_position bigint NOT NULL,
    aggregate_id uuid NOT NULL,
    aggregate_type character varying(100) NOT NULL,
    event_type character varying(100) NOT NULL,
    event_version integer NOT NULL,
    event_data jsonb NOT NULL,
    metadata jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_event_version_positive CHECK ((event_version > 0))
)
PARTITION BY RANGE (created_at);

ALTER TABLE ONLY cloudlab.events FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE events; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.events IS 'Event store for event sourcing and audit trails, append-only';

--
-- Name: COLUMN events.event_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events.event_id IS 'Unique identifier of the event';

--
-- Name: COLUMN events.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events.tenant_id IS 'Tenant whose event it is';

--
-- Name: COLUMN events.event_position; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events.event_position IS 'Place in the order of all events of this shard';

--
-- Name: COLUMN events.aggregate_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events.aggregate_id IS 'ID of the aggregate root this event belongs to';

--
-- Name: COLUMN events.aggregate_type; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events.aggregate_type IS 'Type of aggregate (Order, User, Product, …)';

--
-- Name: COLUMN events.event_type; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events.event_type IS 'Type of event (OrderPlaced, OrderPaid, …)';

--
-- Name: COLUMN events.event_version; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events.event_version IS 'Place in its stream, 1 to n without a gap';

--
-- Name: COLUMN events.event_data; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events.event_data IS 'JSON payload; amounts are decimal strings';

--
-- Name: COLUMN events.metadata; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events.metadata IS 'Who and why: actor, correlation, causation, trace';

--
-- Name: COLUMN events.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events.created_at IS 'When the server recorded it; decides its partition';

--
-- Name: events_archive; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.events_archive (
    event_id uuid DEFAULT uuidv7() CONSTRAINT events_event_id_not_null NOT NULL,
    tenant_id uuid CONSTRAINT events_tenant_id_not_null NOT NULL,
    event_position bigint CONSTRAINT events_event_position_not_null NOT NULL,
    aggregate_id uuid CONSTRAINT events_aggregate_id_not_null NOT NULL,
    aggregate_type character varying(100) CONSTRAINT events_aggregate_type_not_null NOT NULL,
    event_type character varying(100) CONSTRAINT events_event_type_not_null NOT NULL,
    event_version integer CONSTRAINT events_event_version_not_null NOT NULL,
    event_data jsonb CONSTRAINT events_event_data_not_null NOT NULL,
    metadata jsonb,
    created_at timestamp with time zone DEFAULT now() CONSTRAINT events_created_at_not_null NOT NULL,
    CONSTRAINT chk_event_version_positive CHECK ((event_version > 0))
)
PARTITION BY RANGE (created_at);

ALTER TABLE ONLY cloudlab.events_archive FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE events_archive; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.events_archive IS 'Closed months of events; no reader comes here unless it asks for them';

--
-- Name: COLUMN events_archive.event_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events_archive.event_id IS 'Unique identifier of the event';

--
-- Name: COLUMN events_archive.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events_archive.tenant_id IS 'Tenant whose event it is';

--
-- Name: COLUMN events_archive.event_position; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events_archive.event_position IS 'Place in the order of all events of this shard';

--
-- Name: COLUMN events_archive.aggregate_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events_archive.aggregate_id IS 'ID of the aggregate root this event belongs to';

--
-- Name: COLUMN events_archive.aggregate_type; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events_archive.aggregate_type IS 'Type of aggregate (Order, User, Product, …)';

--
-- Name: COLUMN events_archive.event_type; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events_archive.event_type IS 'Type of event (OrderPlaced, OrderPaid, …)';

--
-- Name: COLUMN events_archive.event_version; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events_archive.event_version IS 'Place in its stream, 1 to n without a gap';

--
-- Name: COLUMN events_archive.event_data; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events_archive.event_data IS 'JSON payload; amounts are decimal strings';

--
-- Name: COLUMN events_archive.metadata; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events_archive.metadata IS 'Who and why: actor, correlation, causation, trace';

--
-- Name: COLUMN events_archive.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.events_archive.created_at IS 'When the server recorded it; decides its partition';

--
-- Name: idempotency_keys; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.idempotency_keys (
    tenant_id uuid NOT NULL,
    idempotency_key character varying(200) NOT NULL,
    request_fingerprint bytea NOT NULL,
    resource_id uuid NOT NULL,
    answer jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_idempotency_keys_key_not_empty CHECK (((idempotency_key)::text <> ''::text))
);

ALTER TABLE ONLY cloudlab.idempotency_keys FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE idempotency_keys; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.idempotency_keys IS 'Commands that moved stock or money: a repeated key finds the first effect instead of a second one';

--
-- Name: COLUMN idempotency_keys.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.idempotency_keys.tenant_id IS 'Tenant whose command it was';

--
-- Name: COLUMN idempotency_keys.idempotency_key; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.idempotency_keys.idempotency_key IS 'Key chosen by the caller';

--
-- Name: COLUMN idempotency_keys.request_fingerprint; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.idempotency_keys.request_fingerprint IS 'SHA-256 of the request, so that another request under the same key is refused';

--
-- Name: COLUMN idempotency_keys.resource_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.idempotency_keys.resource_id IS 'What the command made';

--
-- Name: COLUMN idempotency_keys.answer; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.idempotency_keys.answer IS 'First answer, given again to the same request; NULL where it is read from what the command made';

--
-- Name: COLUMN idempotency_keys.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.idempotency_keys.created_at IS 'When it was carried out';

--
-- Name: parked_events; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.parked_events (
    projection_name character varying(100) NOT NULL,
    event_position bigint NOT NULL,
    tenant_id uuid NOT NULL,
    aggregate_id uuid NOT NULL,
    event_type character varying(100) NOT NULL,
    failed_attempts integer NOT NULL,
    last_error text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_parked_events_attempts_not_negative CHECK ((failed_attempts >= 0))
);

ALTER TABLE ONLY cloudlab.parked_events FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE parked_events; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.parked_events IS 'Events a projection could not apply, and those behind them in the same stream; never skipped, waiting for somebody';

--
-- Name: COLUMN parked_events.projection_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.parked_events.projection_name IS 'Projection that could not apply it';

--
-- Name: COLUMN parked_events.event_position; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.parked_events.event_position IS 'Position of what could not be applied';

--
-- Name: COLUMN parked_events.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.parked_events.tenant_id IS 'Tenant whose event it is';

--
-- Name: COLUMN parked_events.aggregate_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.parked_events.aggregate_id IS 'Its stream, which waits as a whole to keep its order';

--
-- Name: COLUMN parked_events.event_type; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.parked_events.event_type IS 'What had happened, as in events';

--
-- Name: COLUMN parked_events.failed_attempts; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.parked_events.failed_attempts IS 'How often it was tried; 0 when it only waits behind another';

--
-- Name: COLUMN parked_events.last_error; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.parked_events.last_error IS 'What the last attempt said';

--
-- Name: COLUMN parked_events.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.parked_events.created_at IS 'When it was parked';

--
-- Name: COLUMN parked_events.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.parked_events.updated_at IS 'When it was last tried';

--
-- Name: projection_checkpoints; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.projection_checkpoints (
    projection_name character varying(100) NOT NULL,
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
    CONSTRAINT chk_projection_checkpoints_attempts_not_negative CHECK ((failed_attempts >= 0)),
    CONSTRAINT chk_projection_checkpoints_lane_not_negative CHECK ((lane >= 0))
)
WITH (fillfactor='50');

--
-- Name: TABLE projection_checkpoints; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.projection_checkpoints IS 'How far each lane of each projection has read the feed, and which worker has it';

--
-- Name: COLUMN projection_checkpoints.projection_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_checkpoints.projection_name IS 'As the code registers it';

--
-- Name: COLUMN projection_checkpoints.lane; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_checkpoints.lane IS 'Which streams: those whose id ends in these bits';

--
-- Name: COLUMN projection_checkpoints.epoch; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_checkpoints.epoch IS 'Epoch of the shard in which the position was reached';

--
-- Name: COLUMN projection_checkpoints.event_position; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_checkpoints.event_position IS 'Position up to which everything of the lane has been applied';

--
-- Name: COLUMN projection_checkpoints.owner_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_checkpoints.owner_id IS 'Worker that has the lane';

--
-- Name: COLUMN projection_checkpoints.lease_epoch; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_checkpoints.lease_epoch IS 'Rises with every new owner; who holds an older one cannot advance the lane any more';

--
-- Name: COLUMN projection_checkpoints.leased_until; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_checkpoints.leased_until IS 'When another worker may take the lane, unless the lease is renewed';

--
-- Name: COLUMN projection_checkpoints.failed_attempts; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_checkpoints.failed_attempts IS 'Attempts at the next batch that failed in a row';

--
-- Name: COLUMN projection_checkpoints.last_error; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_checkpoints.last_error IS 'What the last failed attempt said';

--
-- Name: COLUMN projection_checkpoints.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_checkpoints.created_at IS 'When the lane first ran here';

--
-- Name: COLUMN projection_checkpoints.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_checkpoints.updated_at IS 'When it last advanced, failed or changed hands';

--
-- Name: projection_workers; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.projection_workers (
    projection_name character varying(100) NOT NULL,
    worker_id uuid NOT NULL,
    event_types character varying(100)[] NOT NULL,
    seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

--
-- Name: TABLE projection_workers; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.projection_workers IS 'Workers that share a projection: the lanes are divided among those seen of late';

--
-- Name: COLUMN projection_workers.projection_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_workers.projection_name IS 'Which one the worker runs, as the code registers it';

--
-- Name: COLUMN projection_workers.worker_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_workers.worker_id IS 'The worker, a new id for each process';

--
-- Name: COLUMN projection_workers.event_types; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_workers.event_types IS 'What its code reads: a worker of another release may read more or less';

--
-- Name: COLUMN projection_workers.seen_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projection_workers.seen_at IS 'When it last asked for lanes';

--
-- Name: projections; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.projections (
    projection_name character varying(100) NOT NULL,
    lane_count integer NOT NULL,
    state character varying(20) DEFAULT 'live'::character varying NOT NULL,
    is_external boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_projections_lane_count_power_of_two CHECK ((((lane_count >= 1) AND (lane_count <= 256)) AND ((lane_count & (lane_count - 1)) = 0))),
    CONSTRAINT chk_projections_state CHECK (((state)::text = ANY ((ARRAY['live'::character varying, 'paused'::character varying, 'swapping'::character varying])::text[])))
);

--
-- Name: TABLE projections; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.projections IS 'Readers of the feed of this shard';

--
-- Name: COLUMN projections.projection_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projections.projection_name IS 'Name of the projection; with @rebuild behind it, the copy that is being built beside it';

--
-- Name: COLUMN projections.lane_count; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projections.lane_count IS 'Into how many lanes its streams are divided; a power of two';

--
-- Name: COLUMN projections.state; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projections.state IS 'Whether its workers go on (live), stand still (paused), or do so for a rebuild''s swap only (swapping)';

--
-- Name: COLUMN projections.is_external; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projections.is_external IS 'Whether it writes outside of this database: then its effect does not move with a tenant''s rows';

--
-- Name: COLUMN projections.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projections.created_at IS 'When it first ran here';

--
-- Name: COLUMN projections.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.projections.updated_at IS 'When this row last changed';

--
-- Name: saga_actions; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.saga_actions (
    tenant_id uuid NOT NULL,
    action_id uuid DEFAULT uuidv7() NOT NULL,
    saga_id uuid NOT NULL,
    action character varying(20) NOT NULL,
    step_type character varying(120),
    actor character varying(200) NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_saga_action CHECK (((action)::text = ANY ((ARRAY['retry'::character varying, 'undo'::character varying, 'skip'::character varying, 'cancel'::character varying, 'migrate'::character varying])::text[])))
);

ALTER TABLE ONLY cloudlab.saga_actions FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE saga_actions; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.saga_actions IS 'What operators did to sagas, and why';

--
-- Name: COLUMN saga_actions.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions.tenant_id IS 'Tenant the saga works for';

--
-- Name: COLUMN saga_actions.action_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions.action_id IS 'Unique identifier of the action';

--
-- Name: COLUMN saga_actions.saga_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions.saga_id IS 'Saga it was done to';

--
-- Name: COLUMN saga_actions.action; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions.action IS 'retry, undo, skip, cancel or migrate';

--
-- Name: COLUMN saga_actions.step_type; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions.step_type IS 'Step that was skipped';

--
-- Name: COLUMN saga_actions.actor; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions.actor IS 'Who did it';

--
-- Name: COLUMN saga_actions.reason; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions.reason IS 'Why';

--
-- Name: COLUMN saga_actions.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions.created_at IS 'When';

--
-- Name: saga_actions_archive; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.saga_actions_archive (
    tenant_id uuid CONSTRAINT saga_actions_tenant_id_not_null NOT NULL,
    action_id uuid DEFAULT uuidv7() CONSTRAINT saga_actions_action_id_not_null NOT NULL,
    saga_id uuid CONSTRAINT saga_actions_saga_id_not_null NOT NULL,
    action character varying(20) CONSTRAINT saga_actions_action_not_null NOT NULL,
    step_type character varying(120),
    actor character varying(200) CONSTRAINT saga_actions_actor_not_null NOT NULL,
    reason text CONSTRAINT saga_actions_reason_not_null NOT NULL,
    created_at timestamp with time zone DEFAULT now() CONSTRAINT saga_actions_created_at_not_null NOT NULL
);

ALTER TABLE ONLY cloudlab.saga_actions_archive FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE saga_actions_archive; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.saga_actions_archive IS 'What operators did to the archived sagas';

--
-- Name: COLUMN saga_actions_archive.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions_archive.tenant_id IS 'Tenant the saga works for';

--
-- Name: COLUMN saga_actions_archive.action_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions_archive.action_id IS 'Unique identifier of the action';

--
-- Name: COLUMN saga_actions_archive.saga_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions_archive.saga_id IS 'Saga it was done to';

--
-- Name: COLUMN saga_actions_archive.action; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions_archive.action IS 'retry, undo, skip, cancel or migrate';

--
-- Name: COLUMN saga_actions_archive.step_type; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions_archive.step_type IS 'Step that was skipped';

--
-- Name: COLUMN saga_actions_archive.actor; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions_archive.actor IS 'Who did it';

--
-- Name: COLUMN saga_actions_archive.reason; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions_archive.reason IS 'Why';

--
-- Name: COLUMN saga_actions_archive.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_actions_archive.created_at IS 'When';

--
-- Name: saga_instances; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.saga_instances (
    tenant_id uuid NOT NULL,
    saga_id uuid DEFAULT uuidv7() NOT NULL,
    saga_type character varying(100) NOT NULL,
    definition_version integer DEFAULT 1 NOT NULL,
    saga_key character varying(200),
    status character varying(50) DEFAULT 'running'::character varying NOT NULL,
    current_step integer DEFAULT 0 NOT NULL,
    pivot_step integer,
    saga_data jsonb NOT NULL,
    compensation_data jsonb,
    lease_owner uuid,
    epoch integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT now(),
    deadline_at timestamp with time zone,
    resumed_at timestamp with time zone,
    waiting_for character varying(100),
    waiting_on uuid,
    correlation_id uuid DEFAULT uuidv7() NOT NULL,
    causation_id uuid,
    started_by character varying(200),
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_current_step_positive CHECK ((current_step >= 0)),
    CONSTRAINT chk_definition_version_positive CHECK ((definition_version > 0)),
    CONSTRAINT chk_saga_ended CHECK (((next_at IS NULL) = ((status)::text = ANY ((ARRAY['completed'::character varying, 'compensated'::character varying, 'failed'::character varying])::text[])))),
    CONSTRAINT chk_saga_status CHECK (((status)::text = ANY ((ARRAY['running'::character varying, 'completed'::character varying, 'compensating'::character varying, 'compensated'::character varying, 'failed'::character varying])::text[]))),
    CONSTRAINT chk_saga_waiting CHECK (((waiting_for IS NULL) = (waiting_on IS NULL)))
)
WITH (fillfactor='50');

ALTER TABLE ONLY cloudlab.saga_instances FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE saga_instances; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.saga_instances IS 'Sagas: long transactions of several steps, each with its compensation';

--
-- Name: COLUMN saga_instances.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.tenant_id IS 'Tenant the saga works for';

--
-- Name: COLUMN saga_instances.saga_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.saga_id IS 'Unique identifier of the saga';

--
-- Name: COLUMN saga_instances.saga_type; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.saga_type IS 'Name of its definition';

--
-- Name: COLUMN saga_instances.definition_version; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.definition_version IS 'Version of the definition it was started with, and ends with';

--
-- Name: COLUMN saga_instances.saga_key; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.saga_key IS 'Key chosen by the starter: one saga of a name for each key, however often it is started';

--
-- Name: COLUMN saga_instances.status; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.status IS 'running, compensating, or ended: completed, compensated, failed (needs a human)';

--
-- Name: COLUMN saga_instances.current_step; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.current_step IS 'Step it has reached, counted from 0';

--
-- Name: COLUMN saga_instances.pivot_step; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.pivot_step IS 'Step behind which there is only forward';

--
-- Name: COLUMN saga_instances.saga_data; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.saga_data IS 'What it was started with';

--
-- Name: COLUMN saga_instances.compensation_data; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.compensation_data IS 'Why it is compensated: the step that failed and its error, or who asked';

--
-- Name: COLUMN saga_instances.lease_owner; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.lease_owner IS 'Worker that runs it now';

--
-- Name: COLUMN saga_instances.epoch; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.epoch IS 'Rises with every claim and every action of an operator; who holds an older one cannot write any more';

--
-- Name: COLUMN saga_instances.next_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.next_at IS 'When it is due: new, retry, timer, time limit, or the end of its lease; NULL when nothing is to be done any more';

--
-- Name: COLUMN saga_instances.deadline_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.deadline_at IS 'When it must have passed its pivot or ended, or is compensated';

--
-- Name: COLUMN saga_instances.resumed_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.resumed_at IS 'When an operator let it go on; attempts are counted from then';

--
-- Name: COLUMN saga_instances.waiting_for; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.waiting_for IS 'Type of the event it waits for';

--
-- Name: COLUMN saga_instances.waiting_on; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.waiting_on IS 'Aggregate whose event it waits for';

--
-- Name: COLUMN saga_instances.correlation_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.correlation_id IS 'Of the command that started it; the events of its steps carry it too';

--
-- Name: COLUMN saga_instances.causation_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.causation_id IS 'Event because of which it was started';

--
-- Name: COLUMN saga_instances.started_by; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.started_by IS 'Who started it';

--
-- Name: COLUMN saga_instances.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.created_at IS 'When it was started';

--
-- Name: COLUMN saga_instances.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances.updated_at IS 'When this row last changed';

--
-- Name: saga_instances_archive; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.saga_instances_archive (
    tenant_id uuid CONSTRAINT saga_instances_tenant_id_not_null NOT NULL,
    saga_id uuid DEFAULT uuidv7() CONSTRAINT saga_instances_saga_id_not_null NOT NULL,
    saga_type character varying(100) CONSTRAINT saga_instances_saga_type_not_null NOT NULL,
    definition_version integer DEFAULT 1 CONSTRAINT saga_instances_definition_version_not_null NOT NULL,
    saga_key character varying(200),
    status character varying(50) DEFAULT 'running'::character varying CONSTRAINT saga_instances_status_not_null NOT NULL,
    current_step integer DEFAULT 0 CONSTRAINT saga_instances_current_step_not_null NOT NULL,
    pivot_step integer,
    saga_data jsonb CONSTRAINT saga_instances_saga_data_not_null NOT NULL,
    compensation_data jsonb,
    lease_owner uuid,
    epoch integer DEFAULT 0 CONSTRAINT saga_instances_epoch_not_null NOT NULL,
    next_at timestamp with time zone DEFAULT now(),
    deadline_at timestamp with time zone,
    resumed_at timestamp with time zone,
    waiting_for character varying(100),
    waiting_on uuid,
    correlation_id uuid DEFAULT uuidv7() CONSTRAINT saga_instances_correlation_id_not_null NOT NULL,
    causation_id uuid,
    started_by character varying(200),
    created_at timestamp with time zone DEFAULT now() CONSTRAINT saga_instances_created_at_not_null NOT NULL,
    updated_at timestamp with time zone DEFAULT now() CONSTRAINT saga_instances_updated_at_not_null NOT NULL,
    CONSTRAINT chk_saga_archive_ended CHECK (((status)::text = ANY ((ARRAY['completed'::character varying, 'compensated'::character varying])::text[])))
);

ALTER TABLE ONLY cloudlab.saga_instances_archive FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE saga_instances_archive; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.saga_instances_archive IS 'Sagas that have ended well, long ago';

--
-- Name: COLUMN saga_instances_archive.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.tenant_id IS 'Tenant the saga works for';

--
-- Name: COLUMN saga_instances_archive.saga_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.saga_id IS 'Unique identifier of the saga';

--
-- Name: COLUMN saga_instances_archive.saga_type; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.saga_type IS 'Name of its definition';

--
-- Name: COLUMN saga_instances_archive.definition_version; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.definition_version IS 'Version of the definition it was started with, and ends with';

--
-- Name: COLUMN saga_instances_archive.saga_key; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.saga_key IS 'Key chosen by the starter: one saga of a name for each key, however often it is started';

--
-- Name: COLUMN saga_instances_archive.status; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.status IS 'running, compensating, or ended: completed, compensated, failed (needs a human)';

--
-- Name: COLUMN saga_instances_archive.current_step; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.current_step IS 'Step it has reached, counted from 0';

--
-- Name: COLUMN saga_instances_archive.pivot_step; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.pivot_step IS 'Step behind which there is only forward';

--
-- Name: COLUMN saga_instances_archive.saga_data; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.saga_data IS 'What it was started with';

--
-- Name: COLUMN saga_instances_archive.compensation_data; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.compensation_data IS 'Why it is compensated: the step that failed and its error, or who asked';

--
-- Name: COLUMN saga_instances_archive.lease_owner; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.lease_owner IS 'Worker that runs it now';

--
-- Name: COLUMN saga_instances_archive.epoch; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.epoch IS 'Rises with every claim and every action of an operator; who holds an older one cannot write any more';

--
-- Name: COLUMN saga_instances_archive.next_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.next_at IS 'When it is due: new, retry, timer, time limit, or the end of its lease; NULL when nothing is to be done any more';

--
-- Name: COLUMN saga_instances_archive.deadline_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.deadline_at IS 'When it must have passed its pivot or ended, or is compensated';

--
-- Name: COLUMN saga_instances_archive.resumed_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.resumed_at IS 'When an operator let it go on; attempts are counted from then';

--
-- Name: COLUMN saga_instances_archive.waiting_for; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.waiting_for IS 'Type of the event it waits for';

--
-- Name: COLUMN saga_instances_archive.waiting_on; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.waiting_on IS 'Aggregate whose event it waits for';

--
-- Name: COLUMN saga_instances_archive.correlation_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.correlation_id IS 'Of the command that started it; the events of its steps carry it too';

--
-- Name: COLUMN saga_instances_archive.causation_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.causation_id IS 'Event because of which it was started';

--
-- Name: COLUMN saga_instances_archive.started_by; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.started_by IS 'Who started it';

--
-- Name: COLUMN saga_instances_archive.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.created_at IS 'When it was started';

--
-- Name: COLUMN saga_instances_archive.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_instances_archive.updated_at IS 'When this row last changed';

--
-- Name: saga_steps; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.saga_steps (
    tenant_id uuid NOT NULL,
    saga_id uuid NOT NULL,
    step_number integer NOT NULL,
    step_type character varying(120) NOT NULL,
    direction character varying(10) DEFAULT 'do'::character varying NOT NULL,
    attempt integer DEFAULT 1 NOT NULL,
    status character varying(50) DEFAULT 'pending'::character varying NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    result jsonb,
    error_message text,
    CONSTRAINT chk_attempt_positive CHECK ((attempt > 0)),
    CONSTRAINT chk_step_direction CHECK (((direction)::text = ANY ((ARRAY['do'::character varying, 'undo'::character varying])::text[]))),
    CONSTRAINT chk_step_number_positive CHECK ((step_number >= 0)),
    CONSTRAINT chk_step_status CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'running'::character varying, 'completed'::character varying, 'failed'::character varying, 'unknown'::character varying, 'skipped'::character varying, 'compensated'::character varying])::text[])))
);

ALTER TABLE ONLY cloudlab.saga_steps FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE saga_steps; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.saga_steps IS 'Journal of saga steps, one row for each attempt';

--
-- Name: COLUMN saga_steps.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps.tenant_id IS 'Tenant the saga works for';

--
-- Name: COLUMN saga_steps.saga_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps.saga_id IS 'Saga it belongs to';

--
-- Name: COLUMN saga_steps.step_number; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps.step_number IS 'Place of the step in the definition; parallel steps share one';

--
-- Name: COLUMN saga_steps.step_type; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps.step_type IS 'Name of the step, unique in its saga';

--
-- Name: COLUMN saga_steps.direction; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps.direction IS 'do, or undo: its compensation';

--
-- Name: COLUMN saga_steps.attempt; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps.attempt IS 'Which attempt, from 1';

--
-- Name: COLUMN saga_steps.status; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps.status IS 'pending, running, completed, failed, unknown (it may have happened), skipped by an operator, or compensated';

--
-- Name: COLUMN saga_steps.started_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps.started_at IS 'When the attempt began';

--
-- Name: COLUMN saga_steps.completed_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps.completed_at IS 'When the attempt ended';

--
-- Name: COLUMN saga_steps.result; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps.result IS 'What the step handed on';

--
-- Name: COLUMN saga_steps.error_message; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps.error_message IS 'Why it failed';

--
-- Name: saga_steps_archive; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.saga_steps_archive (
    tenant_id uuid CONSTRAINT saga_steps_tenant_id_not_null NOT NULL,
    saga_id uuid CONSTRAINT saga_steps_saga_id_not_null NOT NULL,
    step_number integer CONSTRAINT saga_steps_step_number_not_null NOT NULL,
    step_type character varying(120) CONSTRAINT saga_steps_step_type_not_null NOT NULL,
    direction character varying(10) DEFAULT 'do'::character varying CONSTRAINT saga_steps_direction_not_null NOT NULL,
    attempt integer DEFAULT 1 CONSTRAINT saga_steps_attempt_not_null NOT NULL,
    status character varying(50) DEFAULT 'pending'::character varying CONSTRAINT saga_steps_status_not_null NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    result jsonb,
    error_message text,
    CONSTRAINT chk_saga_steps_archive_status CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'running'::character varying, 'completed'::character varying, 'failed'::character varying, 'unknown'::character varying, 'skipped'::character varying, 'compensated'::character varying])::text[])))
);

ALTER TABLE ONLY cloudlab.saga_steps_archive FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE saga_steps_archive; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.saga_steps_archive IS 'Journal of the archived sagas';

--
-- Name: COLUMN saga_steps_archive.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps_archive.tenant_id IS 'Tenant the saga works for';

--
-- Name: COLUMN saga_steps_archive.saga_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps_archive.saga_id IS 'Saga it belongs to';

--
-- Name: COLUMN saga_steps_archive.step_number; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps_archive.step_number IS 'Place of the step in the definition; parallel steps share one';

--
-- Name: COLUMN saga_steps_archive.step_type; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps_archive.step_type IS 'Name of the step, unique in its saga';

--
-- Name: COLUMN saga_steps_archive.direction; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps_archive.direction IS 'do, or undo: its compensation';

--
-- Name: COLUMN saga_steps_archive.attempt; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps_archive.attempt IS 'Which attempt, from 1';

--
-- Name: COLUMN saga_steps_archive.status; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps_archive.status IS 'pending, running, completed, failed, unknown (it may have happened), skipped by an operator, or compensated';

--
-- Name: COLUMN saga_steps_archive.started_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps_archive.started_at IS 'When the attempt began';

--
-- Name: COLUMN saga_steps_archive.completed_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps_archive.completed_at IS 'When the attempt ended';

--
-- Name: COLUMN saga_steps_archive.result; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps_archive.result IS 'What the step handed on';

--
-- Name: COLUMN saga_steps_archive.error_message; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.saga_steps_archive.error_message IS 'Why it failed';

--
-- Name: schema_migrations; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.schema_migrations (
    version character varying(255) NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    checksum character varying(64) NOT NULL,
    description text,
    direction character varying(4) DEFAULT 'up'::character varying NOT NULL,
    running_statement integer,
    unsafe_reason text,
    CONSTRAINT chk_schema_migrations_direction CHECK (((direction)::text = ANY ((ARRAY['up'::character varying, 'down'::character varying])::text[]))),
    CONSTRAINT chk_schema_migrations_running_statement_positive CHECK ((running_statement > 0))
);

--
-- Name: TABLE schema_migrations; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.schema_migrations IS 'Tracks applied database migrations';

--
-- Name: COLUMN schema_migrations.version; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.schema_migrations.version IS 'Migration version identifier';

--
-- Name: COLUMN schema_migrations.applied_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.schema_migrations.applied_at IS 'When the migration was applied';

--
-- Name: COLUMN schema_migrations.checksum; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.schema_migrations.checksum IS 'SHA256 checksum of migration file';

--
-- Name: COLUMN schema_migrations.description; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.schema_migrations.description IS 'Title of the migration';

--
-- Name: COLUMN schema_migrations.direction; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.schema_migrations.direction IS 'Which section ran last or is running: up or down';

--
-- Name: COLUMN schema_migrations.running_statement; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.schema_migrations.running_statement IS 'Statement a section without transaction has reached, counted from 1; NULL when the migration is whole';

--
-- Name: COLUMN schema_migrations.unsafe_reason; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.schema_migrations.unsafe_reason IS 'Why it was run although the check found it dangerous; NULL for safe ones';

--
-- Name: shard_identity; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.shard_identity (
    shard_name character varying(63) NOT NULL,
    region character varying(63) NOT NULL,
    epoch integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_shard_identity_epoch_positive CHECK ((epoch > 0))
);

--
-- Name: TABLE shard_identity; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.shard_identity IS 'Who this shard is: one row';

--
-- Name: COLUMN shard_identity.shard_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.shard_identity.shard_name IS 'Name of this shard in the directory';

--
-- Name: COLUMN shard_identity.region; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.shard_identity.region IS 'Region whose data it may hold';

--
-- Name: COLUMN shard_identity.epoch; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.shard_identity.epoch IS 'Rises when the shard is restored to an earlier time, so that readers which ran ahead notice';

--
-- Name: COLUMN shard_identity.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.shard_identity.created_at IS 'When the shard was set up';

--
-- Name: COLUMN shard_identity.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.shard_identity.updated_at IS 'When this row last changed';

--
-- Name: subject_keys; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.subject_keys (
    tenant_id uuid NOT NULL,
    subject_id uuid NOT NULL,
    wrapped_key bytea,
    key_version integer,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    erased_at timestamp with time zone,
    CONSTRAINT chk_subject_keys_key_or_erased CHECK ((((wrapped_key IS NULL) = (erased_at IS NOT NULL)) AND ((wrapped_key IS NULL) = (key_version IS NULL)))),
    CONSTRAINT chk_subject_keys_key_version_positive CHECK ((key_version > 0))
);

ALTER TABLE ONLY cloudlab.subject_keys FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE subject_keys; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.subject_keys IS 'Keys that seal what events say of a person; a row without a key is the record of an erasure';

--
-- Name: COLUMN subject_keys.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.subject_keys.tenant_id IS 'Tenant that knows the person';

--
-- Name: COLUMN subject_keys.subject_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.subject_keys.subject_id IS 'The person';

--
-- Name: COLUMN subject_keys.wrapped_key; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.subject_keys.wrapped_key IS 'The key, wrapped by a master key; NULL once the person was erased';

--
-- Name: COLUMN subject_keys.key_version; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.subject_keys.key_version IS 'Version of the master key that wraps it';

--
-- Name: COLUMN subject_keys.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.subject_keys.created_at IS 'When the key was made';

--
-- Name: COLUMN subject_keys.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.subject_keys.updated_at IS 'When this row last changed';

--
-- Name: COLUMN subject_keys.erased_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.subject_keys.erased_at IS 'When the person was erased';

--
-- Name: tenant_keys; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.tenant_keys (
    tenant_id uuid NOT NULL,
    key_number integer NOT NULL,
    wrapped_key bytea,
    key_version integer,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    settled_at timestamp with time zone,
    erased_at timestamp with time zone,
    CONSTRAINT chk_tenant_keys_key_number_not_negative CHECK ((key_number >= 0)),
    CONSTRAINT chk_tenant_keys_key_or_erased CHECK ((((wrapped_key IS NULL) = (erased_at IS NOT NULL)) AND ((wrapped_key IS NULL) = (key_version IS NULL)))),
    CONSTRAINT chk_tenant_keys_key_version_positive CHECK ((key_version > 0))
);

ALTER TABLE ONLY cloudlab.tenant_keys FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE tenant_keys; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.tenant_keys IS 'Keys that seal fields of a tenant''s rows: the highest number seals, all of them open; 0 makes unique blind indexes';

--
-- Name: COLUMN tenant_keys.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_keys.tenant_id IS 'Tenant whose fields it seals';

--
-- Name: COLUMN tenant_keys.key_number; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_keys.key_number IS 'Which key a sealed value or a blind index names in its first four bytes';

--
-- Name: COLUMN tenant_keys.wrapped_key; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_keys.wrapped_key IS 'The key, wrapped by a master key; NULL once it was erased';

--
-- Name: COLUMN tenant_keys.key_version; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_keys.key_version IS 'Version of the master key that wraps it';

--
-- Name: COLUMN tenant_keys.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_keys.created_at IS 'When the key was made';

--
-- Name: COLUMN tenant_keys.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_keys.updated_at IS 'When this row last changed';

--
-- Name: COLUMN tenant_keys.settled_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_keys.settled_at IS 'When everything sealed before had been sealed anew with it; NULL while that is under way';

--
-- Name: COLUMN tenant_keys.erased_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_keys.erased_at IS 'When it was erased, and with it what it sealed';

--
-- Name: tenant_local; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.tenant_local (
    tenant_id uuid NOT NULL,
    tenant_name character varying(255) NOT NULL,
    schema_name character varying(63) NOT NULL,
    state character varying(20) DEFAULT 'open'::character varying NOT NULL,
    epoch integer DEFAULT 1 NOT NULL,
    moved_to character varying(127),
    leaving_for character varying(127),
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_tenant_local_schema_name_format CHECK (((schema_name)::text ~ '^[a-z][a-z0-9_]*$'::text)),
    CONSTRAINT chk_tenant_local_state CHECK (((state)::text = ANY ((ARRAY['importing'::character varying, 'open'::character varying, 'suspended'::character varying, 'moved'::character varying])::text[])))
);

ALTER TABLE ONLY cloudlab.tenant_local FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE tenant_local; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.tenant_local IS 'Tenants this shard serves: the truth that routers are held to';

--
-- Name: COLUMN tenant_local.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_local.tenant_id IS 'Tenant that lives on this shard';

--
-- Name: COLUMN tenant_local.tenant_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_local.tenant_name IS 'Its name, for people';

--
-- Name: COLUMN tenant_local.schema_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_local.schema_name IS 'Schema that holds its tables';

--
-- Name: COLUMN tenant_local.state; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_local.state IS 'Whether it is served here: importing, open, suspended or moved';

--
-- Name: COLUMN tenant_local.epoch; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_local.epoch IS 'Epoch of the placement this shard knows';

--
-- Name: COLUMN tenant_local.moved_to; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_local.moved_to IS 'Shard and schema at which it is served now at that epoch, where it was moved from here';

--
-- Name: COLUMN tenant_local.leaving_for; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_local.leaving_for IS 'Shard and schema it is about to move to: whoever works in it is told, to make ready there';

--
-- Name: COLUMN tenant_local.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_local.created_at IS 'When the tenant came to this shard';

--
-- Name: COLUMN tenant_local.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_local.updated_at IS 'When this row last changed';

--
-- Name: tenant_transfers; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.tenant_transfers (
    tenant_id uuid NOT NULL,
    move_id uuid NOT NULL,
    direction character varying(10) NOT NULL,
    state character varying(20) DEFAULT 'open'::character varying NOT NULL,
    progress jsonb DEFAULT '{}'::jsonb NOT NULL,
    lowest_position bigint,
    native_shift bigint,
    imported_shift bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_tenant_transfers_direction CHECK (((direction)::text = ANY ((ARRAY['in'::character varying, 'out'::character varying])::text[]))),
    CONSTRAINT chk_tenant_transfers_lowest_negative CHECK ((lowest_position < 0)),
    CONSTRAINT chk_tenant_transfers_state CHECK (((state)::text = ANY ((ARRAY['open'::character varying, 'closed'::character varying])::text[])))
);

ALTER TABLE ONLY cloudlab.tenant_transfers FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE tenant_transfers; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.tenant_transfers IS 'Tenants that come to this shard or leave it, and which block of positions their history got';

--
-- Name: COLUMN tenant_transfers.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_transfers.tenant_id IS 'Tenant that comes or goes';

--
-- Name: COLUMN tenant_transfers.move_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_transfers.move_id IS 'The move, as the control database knows it';

--
-- Name: COLUMN tenant_transfers.direction; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_transfers.direction IS 'Whether it comes (in) or goes (out)';

--
-- Name: COLUMN tenant_transfers.state; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_transfers.state IS 'open while the move is under way here, then closed';

--
-- Name: COLUMN tenant_transfers.progress; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_transfers.progress IS 'For each table how far it was copied: the last key, rows, and whether that is all';

--
-- Name: COLUMN tenant_transfers.lowest_position; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_transfers.lowest_position IS 'Lowest position of the block that its imported events have here';

--
-- Name: COLUMN tenant_transfers.native_shift; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_transfers.native_shift IS 'What is added to a position of the source''s own to have the one here';

--
-- Name: COLUMN tenant_transfers.imported_shift; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_transfers.imported_shift IS 'What is added to a position that the source had imported itself';

--
-- Name: COLUMN tenant_transfers.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_transfers.created_at IS 'When the move began here';

--
-- Name: COLUMN tenant_transfers.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_transfers.updated_at IS 'When this row last changed';

--
-- Name: analytics_events; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.analytics_events (
    tenant_id uuid NOT NULL,
    analytics_event_id uuid DEFAULT uuidv7() NOT NULL,
    user_id uuid,
    session_id character varying(100) NOT NULL,
    event_name character varying(100) NOT NULL,
    properties jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY shop.analytics_events FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE analytics_events; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.analytics_events IS 'What customers did in the shop; kept two years';

--
-- Name: COLUMN analytics_events.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.analytics_events.tenant_id IS 'Tenant whose shop it was';

--
-- Name: COLUMN analytics_events.analytics_event_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.analytics_events.analytics_event_id IS 'Unique identifier of the record';

--
-- Name: COLUMN analytics_events.user_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.analytics_events.user_id IS 'Customer, NULL when not logged in; no foreign key, the record outlives the account';

--
-- Name: COLUMN analytics_events.session_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.analytics_events.session_id IS 'Visit it belongs to';

--
-- Name: COLUMN analytics_events.event_name; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.analytics_events.event_name IS 'What was done (product_view, add_to_cart, …)';

--
-- Name: COLUMN analytics_events.properties; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.analytics_events.properties IS 'Details by name';

--
-- Name: COLUMN analytics_events.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.analytics_events.created_at IS 'When it was done';

--
-- Name: application_logs; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.application_logs (
    tenant_id uuid NOT NULL,
    log_id uuid DEFAULT uuidv7() NOT NULL,
    level character varying(10) NOT NULL,
    logger character varying(200) NOT NULL,
    message text NOT NULL,
    context jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_application_logs_level CHECK (((level)::text = ANY ((ARRAY['DEBUG'::character varying, 'INFO'::character varying, 'WARNING'::character varying, 'ERROR'::character varying, 'CRITICAL'::character varying])::text[])))
);

ALTER TABLE ONLY shop.application_logs FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE application_logs; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.application_logs IS 'Log lines that belong to a tenant; kept one year';

--
-- Name: COLUMN application_logs.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.application_logs.tenant_id IS 'Tenant it is about';

--
-- Name: COLUMN application_logs.log_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.application_logs.log_id IS 'Unique identifier of the line';

--
-- Name: COLUMN application_logs.level; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.application_logs.level IS 'DEBUG, INFO, WARNING, ERROR or CRITICAL';

--
-- Name: COLUMN application_logs.logger; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.application_logs.logger IS 'Module that wrote it';

--
-- Name: COLUMN application_logs.message; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.application_logs.message IS 'Constant message';

--
-- Name: COLUMN application_logs.context; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.application_logs.context IS 'Values by name, without personal data';

--
-- Name: COLUMN application_logs.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.application_logs.created_at IS 'When it was written';

--
-- Name: categories; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.categories (
    tenant_id uuid NOT NULL,
    category_id uuid DEFAULT uuidv7() NOT NULL,
    parent_category_id uuid,
    category_name character varying(255) NOT NULL,
    slug character varying(100) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_categories_slug_format CHECK (((slug)::text ~ '^[a-z0-9]+(-[a-z0-9]+)*$'::text))
);

ALTER TABLE ONLY shop.categories FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE categories; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.categories IS 'Tree of product categories';

--
-- Name: COLUMN categories.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.categories.tenant_id IS 'Tenant whose catalogue it is';

--
-- Name: COLUMN categories.category_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.categories.category_id IS 'Unique identifier of the category';

--
-- Name: COLUMN categories.parent_category_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.categories.parent_category_id IS 'Category above it, NULL at the top';

--
-- Name: COLUMN categories.category_name; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.categories.category_name IS 'Name shown to customers';

--
-- Name: COLUMN categories.slug; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.categories.slug IS 'Name used in addresses';

--
-- Name: COLUMN categories.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.categories.created_at IS 'When the category was made';

--
-- Name: COLUMN categories.updated_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.categories.updated_at IS 'When this row last changed';

--
-- Name: credit_notes; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.credit_notes (
    tenant_id uuid NOT NULL,
    credit_note_number character varying(50) NOT NULL,
    line_number integer NOT NULL,
    user_id uuid,
    product_id uuid,
    sku character varying(64) NOT NULL,
    quantity integer NOT NULL,
    price numeric(19,4) NOT NULL,
    line_total numeric(19,4) GENERATED ALWAYS AS (((quantity)::numeric * price)) STORED NOT NULL,
    currency character(3) NOT NULL,
    credited_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_credit_notes_price_not_negative CHECK ((price >= (0)::numeric)),
    CONSTRAINT chk_credit_notes_quantity_negative CHECK ((quantity < 0))
);

ALTER TABLE ONLY shop.credit_notes FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE credit_notes; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.credit_notes IS 'Lines of credit notes that name no order, as older systems hand them over; quantities are negative';

--
-- Name: COLUMN credit_notes.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.credit_notes.tenant_id IS 'Tenant that gives the credit';

--
-- Name: COLUMN credit_notes.credit_note_number; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.credit_notes.credit_note_number IS 'Number shown to people';

--
-- Name: COLUMN credit_notes.line_number; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.credit_notes.line_number IS 'Place of the line in the credit note, from 1';

--
-- Name: COLUMN credit_notes.user_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.credit_notes.user_id IS 'Customer, NULL for a guest';

--
-- Name: COLUMN credit_notes.product_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.credit_notes.product_id IS 'Product returned, NULL for discounts and corrections';

--
-- Name: COLUMN credit_notes.sku; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.credit_notes.sku IS 'SKU or code on the line';

--
-- Name: COLUMN credit_notes.quantity; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.credit_notes.quantity IS 'Units, negative';

--
-- Name: COLUMN credit_notes.price; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.credit_notes.price IS 'Price of one unit';

--
-- Name: COLUMN credit_notes.line_total; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.credit_notes.line_total IS 'Quantity times price, negative';

--
-- Name: COLUMN credit_notes.currency; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.credit_notes.currency IS 'ISO 4217 currency of the price';

--
-- Name: COLUMN credit_notes.credited_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.credit_notes.credited_at IS 'When the credit was given';

--
-- Name: COLUMN credit_notes.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.credit_notes.created_at IS 'When it was recorded here';

--
-- Name: inventory; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.inventory (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    bucket_number smallint DEFAULT 0 NOT NULL,
    available_quantity integer DEFAULT 0 NOT NULL,
    reserved_quantity integer DEFAULT 0 NOT NULL,
    CONSTRAINT chk_inventory_available_not_negative CHECK ((available_quantity >= 0)),
    CONSTRAINT chk_inventory_bucket_number CHECK (((bucket_number >= 0) AND (bucket_number <= 63))),
    CONSTRAINT chk_inventory_reserved_not_negative CHECK ((reserved_quantity >= 0))
)
WITH (fillfactor='50');

ALTER TABLE ONLY shop.inventory FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE inventory; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.inventory IS 'Stock of each product, the sum of its buckets; the database refuses a negative one whatever the code does';

--
-- Name: COLUMN inventory.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory.tenant_id IS 'Tenant whose stock it is';

--
-- Name: COLUMN inventory.product_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory.product_id IS 'What is in stock';

--
-- Name: COLUMN inventory.bucket_number; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory.bucket_number IS '0, or one of the further rows over which the stock of a contended product is spread';

--
-- Name: COLUMN inventory.available_quantity; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory.available_quantity IS 'Units that may be sold';

--
-- Name: COLUMN inventory.reserved_quantity; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory.reserved_quantity IS 'Units sold and not yet shipped';

--
-- Name: inventory_reservations; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.inventory_reservations (
    tenant_id uuid NOT NULL,
    order_id uuid NOT NULL,
    status character varying(20) DEFAULT 'held'::character varying NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_inventory_reservations_status CHECK (((status)::text = ANY ((ARRAY['held'::character varying, 'claimed'::character varying, 'released'::character varying, 'shipped'::character varying])::text[])))
);

ALTER TABLE ONLY shop.inventory_reservations FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE inventory_reservations; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.inventory_reservations IS 'Stock held for an order: its items say which and how many';

--
-- Name: COLUMN inventory_reservations.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_reservations.tenant_id IS 'Tenant whose stock it is';

--
-- Name: COLUMN inventory_reservations.order_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_reservations.order_id IS 'Order it is held for';

--
-- Name: COLUMN inventory_reservations.status; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_reservations.status IS 'held until paid, claimed until shipped; or released';

--
-- Name: COLUMN inventory_reservations.expires_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_reservations.expires_at IS 'Until when it is held without a payment';

--
-- Name: COLUMN inventory_reservations.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_reservations.created_at IS 'When it was made';

--
-- Name: inventory_updates; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.inventory_updates (
    tenant_id uuid NOT NULL,
    update_id uuid DEFAULT uuidv7() NOT NULL,
    product_id uuid NOT NULL,
    order_id uuid,
    delta_available integer NOT NULL,
    delta_reserved integer NOT NULL,
    reason character varying(20) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_inventory_updates_changes_something CHECK (((delta_available <> 0) OR (delta_reserved <> 0))),
    CONSTRAINT chk_inventory_updates_reason CHECK (((reason)::text = ANY ((ARRAY['receipt'::character varying, 'order'::character varying, 'shipment'::character varying, 'cancellation'::character varying, 'return'::character varying, 'correction'::character varying])::text[])))
);

ALTER TABLE ONLY shop.inventory_updates FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE inventory_updates; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.inventory_updates IS 'Ledger of stock, append-only: its sums are the inventory';

--
-- Name: COLUMN inventory_updates.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_updates.tenant_id IS 'Tenant whose stock it is';

--
-- Name: COLUMN inventory_updates.update_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_updates.update_id IS 'Unique identifier of the entry';

--
-- Name: COLUMN inventory_updates.product_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_updates.product_id IS 'Whose stock changed';

--
-- Name: COLUMN inventory_updates.order_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_updates.order_id IS 'Order that caused it, NULL for receipts and corrections';

--
-- Name: COLUMN inventory_updates.delta_available; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_updates.delta_available IS 'Change of the available quantity';

--
-- Name: COLUMN inventory_updates.delta_reserved; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_updates.delta_reserved IS 'Change of the reserved quantity';

--
-- Name: COLUMN inventory_updates.reason; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_updates.reason IS 'receipt, order, shipment, cancellation, return or correction';

--
-- Name: COLUMN inventory_updates.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.inventory_updates.created_at IS 'When it was entered';

--
-- Name: order_items; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.order_items (
    tenant_id uuid NOT NULL,
    order_id uuid NOT NULL,
    line_number integer NOT NULL,
    product_id uuid NOT NULL,
    vendor_id uuid NOT NULL,
    sku character varying(64) NOT NULL,
    name character varying(255) NOT NULL,
    quantity integer NOT NULL,
    price numeric(19,4) NOT NULL,
    line_total numeric(19,4) GENERATED ALWAYS AS (((quantity)::numeric * price)) STORED NOT NULL,
    bucket_number smallint DEFAULT 0 NOT NULL,
    CONSTRAINT chk_order_items_price_not_negative CHECK ((price >= (0)::numeric)),
    CONSTRAINT chk_order_items_quantity_positive CHECK ((quantity > 0))
);

ALTER TABLE ONLY shop.order_items FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE order_items; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.order_items IS 'Lines of an order, with what the product was called and cost when it was placed';

--
-- Name: COLUMN order_items.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.order_items.tenant_id IS 'Tenant in whose shop it was placed';

--
-- Name: COLUMN order_items.order_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.order_items.order_id IS 'Order that this is a line of';

--
-- Name: COLUMN order_items.line_number; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.order_items.line_number IS 'Place of the line in the order, from 1';

--
-- Name: COLUMN order_items.product_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.order_items.product_id IS 'Product bought';

--
-- Name: COLUMN order_items.vendor_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.order_items.vendor_id IS 'Vendor who sold it then';

--
-- Name: COLUMN order_items.sku; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.order_items.sku IS 'SKU of the product then';

--
-- Name: COLUMN order_items.name; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.order_items.name IS 'Name of the product then';

--
-- Name: COLUMN order_items.quantity; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.order_items.quantity IS 'Units bought';

--
-- Name: COLUMN order_items.price; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.order_items.price IS 'Price of one unit then';

--
-- Name: COLUMN order_items.line_total; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.order_items.line_total IS 'Quantity times price, exact';

--
-- Name: COLUMN order_items.bucket_number; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.order_items.bucket_number IS 'Bucket of the inventory it was taken from, and goes back to; the same for all lines of a product';

--
-- Name: orders; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.orders (
    tenant_id uuid NOT NULL,
    order_id uuid DEFAULT uuidv7() NOT NULL,
    user_id uuid,
    order_number character varying(50) NOT NULL,
    status shop.order_status DEFAULT 'draft'::shop.order_status NOT NULL,
    currency character(3) NOT NULL,
    subtotal_amount numeric(19,4) NOT NULL,
    discount_amount numeric(19,4) DEFAULT 0 NOT NULL,
    tax_amount numeric(19,4) DEFAULT 0 NOT NULL,
    shipping_amount numeric(19,4) DEFAULT 0 NOT NULL,
    rounding_amount numeric(19,4) DEFAULT 0 NOT NULL,
    total_amount numeric(19,4) NOT NULL,
    line_count integer NOT NULL,
    order_version integer DEFAULT 1 NOT NULL,
    placed_at timestamp with time zone,
    paid_at timestamp with time zone,
    processing_at timestamp with time zone,
    shipped_at timestamp with time zone,
    delivered_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    refunded_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_orders_currency_format CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT chk_orders_line_count_positive CHECK ((line_count > 0)),
    CONSTRAINT chk_orders_rounding_is_small CHECK ((abs(rounding_amount) <= 0.5)),
    CONSTRAINT chk_orders_total_is_sum_of_parts CHECK ((total_amount = ((((subtotal_amount - discount_amount) + tax_amount) + shipping_amount) + rounding_amount))),
    CONSTRAINT chk_orders_total_not_negative CHECK ((total_amount >= (0)::numeric)),
    CONSTRAINT chk_orders_version_positive CHECK ((order_version > 0))
)
WITH (fillfactor='90');

ALTER TABLE ONLY shop.orders FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE orders; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.orders IS 'Orders of customers';

--
-- Name: COLUMN orders.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.tenant_id IS 'Tenant in whose shop it was placed';

--
-- Name: COLUMN orders.order_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.order_id IS 'Unique identifier of the order';

--
-- Name: COLUMN orders.user_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.user_id IS 'Customer, NULL for a guest';

--
-- Name: COLUMN orders.order_number; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.order_number IS 'Number shown to people, unique in its tenant';

--
-- Name: COLUMN orders.status; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.status IS 'State; trg_orders_transition refuses an illegal change';

--
-- Name: COLUMN orders.currency; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.currency IS 'ISO 4217 currency of all its amounts';

--
-- Name: COLUMN orders.subtotal_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.subtotal_amount IS 'Exact sum of its lines';

--
-- Name: COLUMN orders.discount_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.discount_amount IS 'Taken off the subtotal';

--
-- Name: COLUMN orders.tax_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.tax_amount IS 'Tax on top';

--
-- Name: COLUMN orders.shipping_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.shipping_amount IS 'Shipping on top';

--
-- Name: COLUMN orders.rounding_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.rounding_amount IS 'What brings the sum to an amount that can be paid';

--
-- Name: COLUMN orders.total_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.total_amount IS 'What the customer pays';

--
-- Name: COLUMN orders.line_count; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.line_count IS 'How many lines it has';

--
-- Name: COLUMN orders.order_version; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.order_version IS 'Version for compare-and-set, equal to that of its event stream';

--
-- Name: COLUMN orders.placed_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.placed_at IS 'When the customer placed it';

--
-- Name: COLUMN orders.paid_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.paid_at IS 'When it was paid';

--
-- Name: COLUMN orders.processing_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.processing_at IS 'When it went to the warehouse';

--
-- Name: COLUMN orders.shipped_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.shipped_at IS 'When it left the warehouse';

--
-- Name: COLUMN orders.delivered_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.delivered_at IS 'When it reached the customer';

--
-- Name: COLUMN orders.cancelled_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.cancelled_at IS 'When it was cancelled';

--
-- Name: COLUMN orders.refunded_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.refunded_at IS 'When it was refunded in full';

--
-- Name: COLUMN orders.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.created_at IS 'When the order came into being; its place in listings';

--
-- Name: COLUMN orders.updated_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.orders.updated_at IS 'When this row last changed';

--
-- Name: payment_transactions; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.payment_transactions (
    tenant_id uuid NOT NULL,
    transaction_id uuid DEFAULT uuidv7() NOT NULL,
    payment_id uuid NOT NULL,
    transaction_type character varying(20) NOT NULL,
    status character varying(20) NOT NULL,
    amount numeric(19,4) NOT NULL,
    currency character(3) NOT NULL,
    provider_reference character varying(255),
    idempotency_key character varying(200) NOT NULL,
    return_id uuid,
    reason character varying(255),
    failure character varying(255),
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_payment_transactions_amount_not_negative CHECK ((amount >= (0)::numeric)),
    CONSTRAINT chk_payment_transactions_status CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'succeeded'::character varying, 'failed'::character varying, 'unknown'::character varying])::text[]))),
    CONSTRAINT chk_payment_transactions_success_has_reference CHECK ((((status)::text <> 'succeeded'::text) OR (provider_reference IS NOT NULL))),
    CONSTRAINT chk_payment_transactions_type CHECK (((transaction_type)::text = ANY ((ARRAY['authorize'::character varying, 'capture'::character varying, 'void'::character varying, 'refund'::character varying, 'chargeback'::character varying])::text[])))
);

ALTER TABLE ONLY shop.payment_transactions FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE payment_transactions; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.payment_transactions IS 'What was asked of the provider and what it answered; entered before it is asked, answered once';

--
-- Name: COLUMN payment_transactions.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.tenant_id IS 'Tenant that is paid';

--
-- Name: COLUMN payment_transactions.transaction_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.transaction_id IS 'Unique identifier of the transaction';

--
-- Name: COLUMN payment_transactions.payment_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.payment_id IS 'Payment it belongs to';

--
-- Name: COLUMN payment_transactions.transaction_type; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.transaction_type IS 'authorize, capture, void, refund or chargeback';

--
-- Name: COLUMN payment_transactions.status; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.status IS 'pending while it is asked, then succeeded, failed, or unknown when it did not answer';

--
-- Name: COLUMN payment_transactions.amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.amount IS 'Amount moved';

--
-- Name: COLUMN payment_transactions.currency; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.currency IS 'ISO 4217 currency of the amount';

--
-- Name: COLUMN payment_transactions.provider_reference; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.provider_reference IS 'How the provider calls it, NULL until it has answered';

--
-- Name: COLUMN payment_transactions.idempotency_key; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.idempotency_key IS 'Key under which the provider was asked';

--
-- Name: COLUMN payment_transactions.return_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.return_id IS 'Goods that a refund is for, NULL for none';

--
-- Name: COLUMN payment_transactions.reason; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.reason IS 'Why money is given back';

--
-- Name: COLUMN payment_transactions.failure; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.failure IS 'Why the provider refused';

--
-- Name: COLUMN payment_transactions.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_transactions.created_at IS 'When it was recorded';

--
-- Name: payment_webhooks; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.payment_webhooks (
    tenant_id uuid NOT NULL,
    provider character varying(50) NOT NULL,
    event_id character varying(255) NOT NULL,
    transaction_type character varying(20) NOT NULL,
    status character varying(20) NOT NULL,
    provider_reference character varying(255) NOT NULL,
    idempotency_key character varying(200),
    amount numeric(19,4) NOT NULL,
    currency character(3) NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_payment_webhooks_status CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'succeeded'::character varying, 'failed'::character varying, 'unknown'::character varying])::text[]))),
    CONSTRAINT chk_payment_webhooks_type CHECK (((transaction_type)::text = ANY ((ARRAY['authorize'::character varying, 'capture'::character varying, 'void'::character varying, 'refund'::character varying, 'chargeback'::character varying])::text[])))
);

ALTER TABLE ONLY shop.payment_webhooks FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE payment_webhooks; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.payment_webhooks IS 'What providers said of their own accord, each message once, append-only';

--
-- Name: COLUMN payment_webhooks.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_webhooks.tenant_id IS 'Tenant that is paid';

--
-- Name: COLUMN payment_webhooks.provider; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_webhooks.provider IS 'Who sent the message, by its short name';

--
-- Name: COLUMN payment_webhooks.event_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_webhooks.event_id IS 'How the provider calls the message; the same when it sends it again';

--
-- Name: COLUMN payment_webhooks.transaction_type; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_webhooks.transaction_type IS 'authorize, capture, void, refund or chargeback';

--
-- Name: COLUMN payment_webhooks.status; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_webhooks.status IS 'pending, succeeded, failed or unknown';

--
-- Name: COLUMN payment_webhooks.provider_reference; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_webhooks.provider_reference IS 'How the provider calls what it did';

--
-- Name: COLUMN payment_webhooks.idempotency_key; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_webhooks.idempotency_key IS 'Key under which we had asked, NULL when nobody of ours did';

--
-- Name: COLUMN payment_webhooks.amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_webhooks.amount IS 'Amount moved';

--
-- Name: COLUMN payment_webhooks.currency; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_webhooks.currency IS 'ISO 4217 currency of the amount';

--
-- Name: COLUMN payment_webhooks.occurred_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_webhooks.occurred_at IS 'When it happened, by the provider''s clock';

--
-- Name: COLUMN payment_webhooks.received_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payment_webhooks.received_at IS 'When it arrived here';

--
-- Name: payments; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.payments (
    tenant_id uuid NOT NULL,
    payment_id uuid DEFAULT uuidv7() NOT NULL,
    order_id uuid NOT NULL,
    payment_method shop.payment_method NOT NULL,
    provider character varying(50) NOT NULL,
    status character varying(20) NOT NULL,
    currency character(3) NOT NULL,
    amount numeric(19,4) NOT NULL,
    captured_amount numeric(19,4) DEFAULT 0 NOT NULL,
    refunded_amount numeric(19,4) DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_payments_amount_not_negative CHECK ((amount >= (0)::numeric)),
    CONSTRAINT chk_payments_captured_within_amount CHECK (((captured_amount >= (0)::numeric) AND (captured_amount <= amount))),
    CONSTRAINT chk_payments_currency_format CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT chk_payments_refunded_within_captured CHECK (((refunded_amount >= (0)::numeric) AND (refunded_amount <= captured_amount))),
    CONSTRAINT chk_payments_status CHECK (((status)::text = ANY ((ARRAY['created'::character varying, 'authorized'::character varying, 'captured'::character varying, 'partially_refunded'::character varying, 'refunded'::character varying, 'voided'::character varying, 'failed'::character varying, 'unknown'::character varying])::text[])))
);

ALTER TABLE ONLY shop.payments FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE payments; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.payments IS 'Payments of orders';

--
-- Name: COLUMN payments.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payments.tenant_id IS 'Tenant that is paid';

--
-- Name: COLUMN payments.payment_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payments.payment_id IS 'Unique identifier of the payment';

--
-- Name: COLUMN payments.order_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payments.order_id IS 'Order it pays for';

--
-- Name: COLUMN payments.payment_method; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payments.payment_method IS 'Way it is paid';

--
-- Name: COLUMN payments.provider; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payments.provider IS 'Who moves the money, by its short name';

--
-- Name: COLUMN payments.status; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payments.status IS 'What has become of it, as its transactions say: created, authorized, captured, partially_refunded, refunded, voided, failed or unknown';

--
-- Name: COLUMN payments.currency; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payments.currency IS 'ISO 4217 currency of its amounts';

--
-- Name: COLUMN payments.amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payments.amount IS 'Amount asked for';

--
-- Name: COLUMN payments.captured_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payments.captured_amount IS 'Amount received';

--
-- Name: COLUMN payments.refunded_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payments.refunded_amount IS 'Amount given back';

--
-- Name: COLUMN payments.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payments.created_at IS 'When the payment began';

--
-- Name: COLUMN payments.updated_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.payments.updated_at IS 'When this row last changed';

--
-- Name: product_sales; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.product_sales (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    sold_on date NOT NULL,
    currency character(3) NOT NULL,
    order_count integer NOT NULL,
    unit_count bigint NOT NULL,
    revenue_amount numeric(19,4) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_product_sales_order_count_positive CHECK ((order_count > 0)),
    CONSTRAINT chk_product_sales_unit_count_positive CHECK ((unit_count > 0))
)
WITH (fillfactor='80');

ALTER TABLE ONLY shop.product_sales FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE product_sales; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.product_sales IS 'What was ordered of each product on each day (UTC), a little behind the orders themselves';

--
-- Name: COLUMN product_sales.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.product_sales.tenant_id IS 'Tenant that sells';

--
-- Name: COLUMN product_sales.product_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.product_sales.product_id IS 'Product that was ordered';

--
-- Name: COLUMN product_sales.sold_on; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.product_sales.sold_on IS 'Day on which the orders were placed';

--
-- Name: COLUMN product_sales.currency; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.product_sales.currency IS 'ISO 4217 code of the currency of the amount';

--
-- Name: COLUMN product_sales.order_count; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.product_sales.order_count IS 'Orders with this product';

--
-- Name: COLUMN product_sales.unit_count; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.product_sales.unit_count IS 'Units ordered';

--
-- Name: COLUMN product_sales.revenue_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.product_sales.revenue_amount IS 'What they came to, cancelled and refunded ones included';

--
-- Name: COLUMN product_sales.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.product_sales.created_at IS 'When the first order of that day arrived here';

--
-- Name: COLUMN product_sales.updated_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.product_sales.updated_at IS 'When the last one did';

--
-- Name: products; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.products (
    tenant_id uuid NOT NULL,
    product_id uuid DEFAULT uuidv7() NOT NULL,
    vendor_id uuid NOT NULL,
    category_id uuid,
    sku character varying(64) NOT NULL,
    name character varying(255) NOT NULL,
    description text,
    status character varying(20) DEFAULT 'active'::character varying NOT NULL,
    price numeric(19,4) NOT NULL,
    currency character(3) NOT NULL,
    weight numeric(8,3),
    rating numeric(3,2),
    attributes jsonb DEFAULT '{}'::jsonb NOT NULL,
    product_version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT chk_products_currency_format CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT chk_products_price_not_negative CHECK ((price >= (0)::numeric)),
    CONSTRAINT chk_products_rating_range CHECK (((rating >= (0)::numeric) AND (rating <= (5)::numeric))),
    CONSTRAINT chk_products_sku_not_empty CHECK (((sku)::text <> ''::text)),
    CONSTRAINT chk_products_status CHECK (((status)::text = ANY ((ARRAY['draft'::character varying, 'active'::character varying, 'retired'::character varying])::text[]))),
    CONSTRAINT chk_products_weight_not_negative CHECK ((weight >= (0)::numeric))
);

ALTER TABLE ONLY shop.products FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE products; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.products IS 'Catalogue: what may be bought at what price; how many there are stands in inventory';

--
-- Name: COLUMN products.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.tenant_id IS 'Tenant whose catalogue it is';

--
-- Name: COLUMN products.product_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.product_id IS 'Unique identifier of the product';

--
-- Name: COLUMN products.vendor_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.vendor_id IS 'Vendor who sells it';

--
-- Name: COLUMN products.category_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.category_id IS 'Category it is listed in';

--
-- Name: COLUMN products.sku; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.sku IS 'Stock keeping unit, unique in its tenant for ever';

--
-- Name: COLUMN products.name; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.name IS 'Name shown to customers';

--
-- Name: COLUMN products.description; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.description IS 'Text shown to customers';

--
-- Name: COLUMN products.status; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.status IS 'draft, active or retired';

--
-- Name: COLUMN products.price; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.price IS 'Price of one unit';

--
-- Name: COLUMN products.currency; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.currency IS 'ISO 4217 currency of the price';

--
-- Name: COLUMN products.weight; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.weight IS 'Weight in kilograms';

--
-- Name: COLUMN products.rating; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.rating IS 'Average rating, 0.00 to 5.00';

--
-- Name: COLUMN products.attributes; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.attributes IS 'Further properties by name';

--
-- Name: COLUMN products.product_version; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.product_version IS 'Version of the product, equal to that of its event stream; orders cached copies';

--
-- Name: COLUMN products.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.created_at IS 'When the product was added';

--
-- Name: COLUMN products.updated_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.updated_at IS 'When this row last changed';

--
-- Name: COLUMN products.deleted_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.products.deleted_at IS 'When the product was deleted softly, NULL while it exists';

--
-- Name: refunds; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.refunds (
    tenant_id uuid NOT NULL,
    refund_id uuid DEFAULT uuidv7() NOT NULL,
    payment_id uuid NOT NULL,
    order_id uuid NOT NULL,
    amount numeric(19,4) NOT NULL,
    currency character(3) NOT NULL,
    reason character varying(255) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_refunds_amount_positive CHECK ((amount > (0)::numeric))
);

ALTER TABLE ONLY shop.refunds FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE refunds; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.refunds IS 'Money given back on a payment';

--
-- Name: COLUMN refunds.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.refunds.tenant_id IS 'Tenant that pays back';

--
-- Name: COLUMN refunds.refund_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.refunds.refund_id IS 'Unique identifier of the refund';

--
-- Name: COLUMN refunds.payment_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.refunds.payment_id IS 'Payment it is taken from';

--
-- Name: COLUMN refunds.order_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.refunds.order_id IS 'Order it is for';

--
-- Name: COLUMN refunds.amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.refunds.amount IS 'Amount given back';

--
-- Name: COLUMN refunds.currency; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.refunds.currency IS 'ISO 4217 currency of the amount';

--
-- Name: COLUMN refunds.reason; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.refunds.reason IS 'Why';

--
-- Name: COLUMN refunds.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.refunds.created_at IS 'When it was made';

--
-- Name: return_lines; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.return_lines (
    tenant_id uuid NOT NULL,
    order_id uuid NOT NULL,
    line_number integer NOT NULL,
    return_id uuid NOT NULL,
    quantity integer NOT NULL,
    is_restocked boolean NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_return_lines_quantity_positive CHECK ((quantity > 0))
);

ALTER TABLE ONLY shop.return_lines FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE return_lines; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.return_lines IS 'Goods that refunds are for';

--
-- Name: COLUMN return_lines.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.return_lines.tenant_id IS 'Tenant that pays back';

--
-- Name: COLUMN return_lines.order_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.return_lines.order_id IS 'Order they belong to';

--
-- Name: COLUMN return_lines.line_number; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.return_lines.line_number IS 'Line of the order';

--
-- Name: COLUMN return_lines.return_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.return_lines.return_id IS 'Unique identifier of the return';

--
-- Name: COLUMN return_lines.quantity; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.return_lines.quantity IS 'Units';

--
-- Name: COLUMN return_lines.is_restocked; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.return_lines.is_restocked IS 'Whether they came back and may be sold again';

--
-- Name: COLUMN return_lines.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.return_lines.created_at IS 'When it was entered';

--
-- Name: schema_migrations; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.schema_migrations (
    version character varying(255) NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL,
    checksum character varying(64) NOT NULL,
    description text,
    direction character varying(4) DEFAULT 'up'::character varying NOT NULL,
    running_statement integer,
    unsafe_reason text,
    CONSTRAINT chk_schema_migrations_direction CHECK (((direction)::text = ANY ((ARRAY['up'::character varying, 'down'::character varying])::text[]))),
    CONSTRAINT chk_schema_migrations_running_statement_positive CHECK ((running_statement > 0))
);

--
-- Name: TABLE schema_migrations; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.schema_migrations IS 'Tracks applied database migrations';

--
-- Name: COLUMN schema_migrations.version; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.schema_migrations.version IS 'Migration version identifier';

--
-- Name: COLUMN schema_migrations.applied_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.schema_migrations.applied_at IS 'When the migration was applied';

--
-- Name: COLUMN schema_migrations.checksum; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.schema_migrations.checksum IS 'SHA256 checksum of migration file';

--
-- Name: COLUMN schema_migrations.description; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.schema_migrations.description IS 'Title of the migration';

--
-- Name: COLUMN schema_migrations.direction; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.schema_migrations.direction IS 'Which section ran last or is running: up or down';

--
-- Name: COLUMN schema_migrations.running_statement; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.schema_migrations.running_statement IS 'Statement a section without transaction has reached, counted from 1; NULL when the migration is whole';

--
-- Name: COLUMN schema_migrations.unsafe_reason; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.schema_migrations.unsafe_reason IS 'Why it was run although the check found it dangerous; NULL for safe ones';

--
-- Name: shipments; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.shipments (
    tenant_id uuid NOT NULL,
    shipment_id uuid DEFAULT uuidv7() NOT NULL,
    order_id uuid NOT NULL,
    vendor_id uuid,
    carrier character varying(100),
    tracking_number character varying(100),
    shipped_at timestamp with time zone NOT NULL,
    delivered_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_shipments_delivered_after_shipped CHECK ((delivered_at >= shipped_at))
);

ALTER TABLE ONLY shop.shipments FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE shipments; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.shipments IS 'Parcels sent for an order';

--
-- Name: COLUMN shipments.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.shipments.tenant_id IS 'Tenant that ships';

--
-- Name: COLUMN shipments.shipment_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.shipments.shipment_id IS 'Unique identifier of the shipment';

--
-- Name: COLUMN shipments.order_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.shipments.order_id IS 'Order it belongs to';

--
-- Name: COLUMN shipments.vendor_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.shipments.vendor_id IS 'Vendor whose part of the order it is, NULL for the whole order in one parcel';

--
-- Name: COLUMN shipments.carrier; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.shipments.carrier IS 'Who carries it';

--
-- Name: COLUMN shipments.tracking_number; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.shipments.tracking_number IS 'Number of the carrier';

--
-- Name: COLUMN shipments.shipped_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.shipments.shipped_at IS 'When it left';

--
-- Name: COLUMN shipments.delivered_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.shipments.delivered_at IS 'When it arrived';

--
-- Name: COLUMN shipments.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.shipments.created_at IS 'When it was recorded';

--
-- Name: COLUMN shipments.updated_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.shipments.updated_at IS 'When this row last changed';

--
-- Name: user_order_summaries; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.user_order_summaries (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    currency character(3) NOT NULL,
    order_count integer DEFAULT 0 NOT NULL,
    placed_amount numeric(19,4) DEFAULT 0 NOT NULL,
    last_placed_at timestamp with time zone NOT NULL,
    CONSTRAINT chk_user_order_summaries_order_count_not_negative CHECK ((order_count >= 0))
);

ALTER TABLE ONLY shop.user_order_summaries FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE user_order_summaries; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.user_order_summaries IS 'Read model: what each customer has ordered, kept in the transaction of the order';

--
-- Name: COLUMN user_order_summaries.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_order_summaries.tenant_id IS 'Tenant in whose shop';

--
-- Name: COLUMN user_order_summaries.user_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_order_summaries.user_id IS 'The customer';

--
-- Name: COLUMN user_order_summaries.currency; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_order_summaries.currency IS 'ISO 4217 currency of the amount';

--
-- Name: COLUMN user_order_summaries.order_count; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_order_summaries.order_count IS 'Orders placed';

--
-- Name: COLUMN user_order_summaries.placed_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_order_summaries.placed_amount IS 'Sum of their totals';

--
-- Name: COLUMN user_order_summaries.last_placed_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_order_summaries.last_placed_at IS 'When the latest was placed';

--
-- Name: user_payment_methods; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.user_payment_methods (
    tenant_id uuid NOT NULL,
    payment_method_id uuid DEFAULT uuidv7() NOT NULL,
    user_id uuid NOT NULL,
    payment_method shop.payment_method NOT NULL,
    provider character varying(50) NOT NULL,
    provider_token character varying(255) NOT NULL,
    card_last_four character varying(4) NOT NULL,
    card_type character varying(50) NOT NULL,
    holder_name bytea,
    billing_address bytea,
    expiry_month integer NOT NULL,
    expiry_year integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_user_payment_methods_billing_address_sealed CHECK ((octet_length(billing_address) >= 34)),
    CONSTRAINT chk_user_payment_methods_expiry_month CHECK (((expiry_month >= 1) AND (expiry_month <= 12))),
    CONSTRAINT chk_user_payment_methods_expiry_year CHECK (((expiry_year >= 2000) AND (expiry_year <= 2199))),
    CONSTRAINT chk_user_payment_methods_holder_name_sealed CHECK ((octet_length(holder_name) >= 34)),
    CONSTRAINT chk_user_payment_methods_last_four CHECK (((card_last_four)::text ~ '^\d{4}$'::text)),
    CONSTRAINT chk_user_payment_methods_token_is_no_card CHECK (((provider_token)::text !~ '^\d{12,19}$'::text))
);

ALTER TABLE ONLY shop.user_payment_methods FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE user_payment_methods; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.user_payment_methods IS 'Payment methods as the provider knows them; no card number is ever stored';

--
-- Name: COLUMN user_payment_methods.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.tenant_id IS 'Tenant the user belongs to';

--
-- Name: COLUMN user_payment_methods.payment_method_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.payment_method_id IS 'Unique identifier of the payment method';

--
-- Name: COLUMN user_payment_methods.user_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.user_id IS 'User who owns it';

--
-- Name: COLUMN user_payment_methods.payment_method; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.payment_method IS 'Way to pay';

--
-- Name: COLUMN user_payment_methods.provider; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.provider IS 'Payment provider that issued the token';

--
-- Name: COLUMN user_payment_methods.provider_token; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.provider_token IS 'Token of the provider, worthless to anybody else';

--
-- Name: COLUMN user_payment_methods.card_last_four; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.card_last_four IS 'Last four digits, for display';

--
-- Name: COLUMN user_payment_methods.card_type; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.card_type IS 'Brand of the card, for display';

--
-- Name: COLUMN user_payment_methods.holder_name; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.holder_name IS 'Name on the card, sealed with a key of the tenant';

--
-- Name: COLUMN user_payment_methods.billing_address; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.billing_address IS 'Address of the bill, sealed with a key of the tenant';

--
-- Name: COLUMN user_payment_methods.expiry_month; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.expiry_month IS 'Month in which it expires';

--
-- Name: COLUMN user_payment_methods.expiry_year; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.expiry_year IS 'Year in which it expires';

--
-- Name: COLUMN user_payment_methods.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.created_at IS 'When it was added';

--
-- Name: COLUMN user_payment_methods.updated_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_payment_methods.updated_at IS 'When this row last changed';

--
-- Name: user_profiles; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.user_profiles (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    country character(2),
    locale character varying(35),
    preferences jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_user_profiles_country_format CHECK ((country ~ '^[A-Z]{2}$'::text))
);

ALTER TABLE ONLY shop.user_profiles FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE user_profiles; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.user_profiles IS 'What a user prefers; may lag, never decides about stock or money';

--
-- Name: COLUMN user_profiles.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_profiles.tenant_id IS 'Tenant the user belongs to';

--
-- Name: COLUMN user_profiles.user_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_profiles.user_id IS 'Whose profile this is';

--
-- Name: COLUMN user_profiles.country; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_profiles.country IS 'ISO 3166 country code';

--
-- Name: COLUMN user_profiles.locale; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_profiles.locale IS 'BCP 47 language tag';

--
-- Name: COLUMN user_profiles.preferences; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_profiles.preferences IS 'Preferences by name';

--
-- Name: COLUMN user_profiles.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_profiles.created_at IS 'When the profile was made';

--
-- Name: COLUMN user_profiles.updated_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.user_profiles.updated_at IS 'When this row last changed';

--
-- Name: users; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.users (
    tenant_id uuid NOT NULL,
    user_id uuid DEFAULT uuidv7() NOT NULL,
    email bytea,
    email_index bytea,
    password_hash character varying(255) DEFAULT '!'::character varying NOT NULL,
    role shop.user_role DEFAULT 'customer'::shop.user_role NOT NULL,
    first_name bytea,
    last_name bytea,
    phone_number bytea,
    phone_number_index bytea,
    date_of_birth bytea,
    is_active boolean DEFAULT true NOT NULL,
    email_verified boolean DEFAULT false NOT NULL,
    user_version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT chk_users_date_of_birth_sealed CHECK ((octet_length(date_of_birth) = 43)),
    CONSTRAINT chk_users_email_indexed CHECK (((octet_length(email_index) = 20) AND (SUBSTRING(email_index FROM 1 FOR 4) = '\x00000000'::bytea))),
    CONSTRAINT chk_users_email_sealed CHECK (((octet_length(email) >= 38) AND (octet_length(email) <= 1053))),
    CONSTRAINT chk_users_first_name_sealed CHECK (((octet_length(first_name) >= 34) AND (octet_length(first_name) <= 433))),
    CONSTRAINT chk_users_known_or_erased CHECK (((num_nulls(email, email_index, first_name, last_name) = ANY (ARRAY[0, 4])) AND ((email IS NOT NULL) OR (deleted_at IS NOT NULL)))),
    CONSTRAINT chk_users_last_name_sealed CHECK (((octet_length(last_name) >= 34) AND (octet_length(last_name) <= 433))),
    CONSTRAINT chk_users_phone_number_indexed CHECK ((((phone_number IS NULL) = (phone_number_index IS NULL)) AND (octet_length(phone_number_index) = 20))),
    CONSTRAINT chk_users_phone_number_sealed CHECK ((octet_length(phone_number) >= 34))
);

ALTER TABLE ONLY shop.users FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE users; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.users IS 'User accounts for customers, vendors, and administrators';

--
-- Name: COLUMN users.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.tenant_id IS 'Tenant the account belongs to';

--
-- Name: COLUMN users.user_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.user_id IS 'Unique identifier for the user account';

--
-- Name: COLUMN users.email; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.email IS 'User email address, unique in its tenant whatever its case; sealed with a key of the tenant, NULL once the person was erased';

--
-- Name: COLUMN users.email_index; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.email_index IS 'Blind index of the address in lower case, by a key that is never rotated: equal addresses are equal always';

--
-- Name: COLUMN users.password_hash; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.password_hash IS 'Salted scrypt hash, never plain text; ! means that nobody can log in';

--
-- Name: COLUMN users.role; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.role IS 'What the account may do';

--
-- Name: COLUMN users.first_name; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.first_name IS 'Given name, sealed with a key of the tenant; NULL once the person was erased';

--
-- Name: COLUMN users.last_name; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.last_name IS 'Family name, sealed with a key of the tenant; NULL once the person was erased';

--
-- Name: COLUMN users.phone_number; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.phone_number IS 'Telephone number in E.164 form, sealed with a key of the tenant';

--
-- Name: COLUMN users.phone_number_index; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.phone_number_index IS 'Blind index of the telephone number: finds equal ones without reading them';

--
-- Name: COLUMN users.date_of_birth; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.date_of_birth IS 'Date of birth, at least 13 years before registration; sealed with a key of the tenant';

--
-- Name: COLUMN users.is_active; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.is_active IS 'Whether the user account is active and can log in';

--
-- Name: COLUMN users.email_verified; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.email_verified IS 'Whether the user has verified their email address';

--
-- Name: COLUMN users.user_version; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.user_version IS 'Version of the account, equal to that of its event stream';

--
-- Name: COLUMN users.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.created_at IS 'When the account was registered';

--
-- Name: COLUMN users.updated_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.updated_at IS 'When this row last changed';

--
-- Name: COLUMN users.deleted_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.users.deleted_at IS 'When the account was deleted softly, NULL while it exists';

--
-- Name: vendor_commissions; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.vendor_commissions (
    tenant_id uuid NOT NULL,
    commission_id uuid DEFAULT uuidv7() NOT NULL,
    vendor_id uuid NOT NULL,
    order_id uuid NOT NULL,
    refund_id uuid,
    currency character(3) NOT NULL,
    gross_amount numeric(19,4) NOT NULL,
    commission_rate numeric(5,4) NOT NULL,
    commission_amount numeric(19,4) NOT NULL,
    net_amount numeric(19,4) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_vendor_commissions_gross_is_sum CHECK ((gross_amount = (commission_amount + net_amount)))
);

ALTER TABLE ONLY shop.vendor_commissions FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE vendor_commissions; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.vendor_commissions IS 'Ledger of what each vendor earned on each order; a refund adds a negative row';

--
-- Name: COLUMN vendor_commissions.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendor_commissions.tenant_id IS 'Tenant that keeps the commission';

--
-- Name: COLUMN vendor_commissions.commission_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendor_commissions.commission_id IS 'Unique identifier of the entry';

--
-- Name: COLUMN vendor_commissions.vendor_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendor_commissions.vendor_id IS 'Vendor who earned it';

--
-- Name: COLUMN vendor_commissions.order_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendor_commissions.order_id IS 'Order it was earned on';

--
-- Name: COLUMN vendor_commissions.refund_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendor_commissions.refund_id IS 'Refund that takes it back, NULL for a sale';

--
-- Name: COLUMN vendor_commissions.currency; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendor_commissions.currency IS 'ISO 4217 currency of its amounts';

--
-- Name: COLUMN vendor_commissions.gross_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendor_commissions.gross_amount IS 'What the customer paid for the vendor''s lines';

--
-- Name: COLUMN vendor_commissions.commission_rate; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendor_commissions.commission_rate IS 'Share the shop keeps';

--
-- Name: COLUMN vendor_commissions.commission_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendor_commissions.commission_amount IS 'What the shop keeps';

--
-- Name: COLUMN vendor_commissions.net_amount; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendor_commissions.net_amount IS 'What the vendor gets';

--
-- Name: COLUMN vendor_commissions.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendor_commissions.created_at IS 'When it was entered';

--
-- Name: vendors; Type: TABLE; Schema: shop; Owner: -
--

CREATE TABLE shop.vendors (
    tenant_id uuid NOT NULL,
    vendor_id uuid DEFAULT uuidv7() NOT NULL,
    vendor_name character varying(255) NOT NULL,
    status character varying(20) DEFAULT 'active'::character varying NOT NULL,
    commission_rate numeric(5,4) DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_vendors_commission_rate CHECK (((commission_rate >= (0)::numeric) AND (commission_rate <= (1)::numeric))),
    CONSTRAINT chk_vendors_status CHECK (((status)::text = ANY ((ARRAY['active'::character varying, 'suspended'::character varying, 'closed'::character varying])::text[])))
);

ALTER TABLE ONLY shop.vendors FORCE ROW LEVEL SECURITY;

--
-- Name: TABLE vendors; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON TABLE shop.vendors IS 'Sellers whose products the shop offers; the shop itself is the vendor named house';

--
-- Name: COLUMN vendors.tenant_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendors.tenant_id IS 'Tenant the vendor sells in';

--
-- Name: COLUMN vendors.vendor_id; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendors.vendor_id IS 'Unique identifier of the vendor';

--
-- Name: COLUMN vendors.vendor_name; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendors.vendor_name IS 'Under which customers know who sells';

--
-- Name: COLUMN vendors.status; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendors.status IS 'active, suspended or closed';

--
-- Name: COLUMN vendors.commission_rate; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendors.commission_rate IS 'Share of each sale that the shop keeps, 0 to 1';

--
-- Name: COLUMN vendors.created_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendors.created_at IS 'When the vendor joined';

--
-- Name: COLUMN vendors.updated_at; Type: COMMENT; Schema: shop; Owner: -
--

COMMENT ON COLUMN shop.vendors.updated_at IS 'When this row last changed';

--
-- Name: event_archives pk_event_archives; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.event_archives
    ADD CONSTRAINT pk_event_archives PRIMARY KEY (month);

--
-- Name: event_snapshots pk_event_snapshots; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.event_snapshots
    ADD CONSTRAINT pk_event_snapshots PRIMARY KEY (tenant_id, aggregate_id);

--
-- Name: event_streams pk_event_streams; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.event_streams
    ADD CONSTRAINT pk_event_streams PRIMARY KEY (tenant_id, aggregate_id);

--
-- Name: events pk_events; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.events
    ADD CONSTRAINT pk_events PRIMARY KEY (event_position, created_at);

--
-- Name: events_archive pk_events_archive; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.events_archive
    ADD CONSTRAINT pk_events_archive PRIMARY KEY (event_position, created_at);

--
-- Name: idempotency_keys pk_idempotency_keys; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.idempotency_keys
    ADD CONSTRAINT pk_idempotency_keys PRIMARY KEY (tenant_id, idempotency_key);

--
-- Name: parked_events pk_parked_events; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.parked_events
    ADD CONSTRAINT pk_parked_events PRIMARY KEY (projection_name, event_position);

--
-- Name: projection_checkpoints pk_projection_checkpoints; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.projection_checkpoints
    ADD CONSTRAINT pk_projection_checkpoints PRIMARY KEY (projection_name, lane);

--
-- Name: projection_workers pk_projection_workers; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.projection_workers
    ADD CONSTRAINT pk_projection_workers PRIMARY KEY (projection_name, worker_id);

--
-- Name: projections pk_projections; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.projections
    ADD CONSTRAINT pk_projections PRIMARY KEY (projection_name);

--
-- Name: saga_actions pk_saga_actions; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.saga_actions
    ADD CONSTRAINT pk_saga_actions PRIMARY KEY (tenant_id, action_id);

--
-- Name: saga_actions_archive pk_saga_actions_archive; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.saga_actions_archive
    ADD CONSTRAINT pk_saga_actions_archive PRIMARY KEY (tenant_id, action_id);

--
-- Name: saga_instances pk_saga_instances; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.saga_instances
    ADD CONSTRAINT pk_saga_instances PRIMARY KEY (tenant_id, saga_id);

--
-- Name: saga_instances_archive pk_saga_instances_archive; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.saga_instances_archive
    ADD CONSTRAINT pk_saga_instances_archive PRIMARY KEY (tenant_id, saga_id);

--
-- Name: saga_steps pk_saga_steps; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.saga_steps
    ADD CONSTRAINT pk_saga_steps PRIMARY KEY (tenant_id, saga_id, step_type, direction, attempt);

--
-- Name: saga_steps_archive pk_saga_steps_archive; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.saga_steps_archive
    ADD CONSTRAINT pk_saga_steps_archive PRIMARY KEY (tenant_id, saga_id, step_type, direction, attempt);

--
-- Name: schema_migrations pk_schema_migrations; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.schema_migrations
    ADD CONSTRAINT pk_schema_migrations PRIMARY KEY (version);

--
-- Name: shard_identity pk_shard_identity; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.shard_identity
    ADD CONSTRAINT pk_shard_identity PRIMARY KEY (shard_name);

--
-- Name: subject_keys pk_subject_keys; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.subject_keys
    ADD CONSTRAINT pk_subject_keys PRIMARY KEY (tenant_id, subject_id);

--
-- Name: tenant_keys pk_tenant_keys; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.tenant_keys
    ADD CONSTRAINT pk_tenant_keys PRIMARY KEY (tenant_id, key_number);

--
-- Name: tenant_local pk_tenant_local; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.tenant_local
    ADD CONSTRAINT pk_tenant_local PRIMARY KEY (tenant_id);

--
-- Name: tenant_transfers pk_tenant_transfers; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.tenant_transfers
    ADD CONSTRAINT pk_tenant_transfers PRIMARY KEY (tenant_id, move_id, direction);

--
-- Name: events_archive uq_events_archive_tenant_id_aggregate_id_event_version; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.events_archive
    ADD CONSTRAINT uq_events_archive_tenant_id_aggregate_id_event_version UNIQUE (tenant_id, aggregate_id, event_version, created_at);

--
-- Name: events uq_events_tenant_id_aggregate_id_event_version; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.events
    ADD CONSTRAINT uq_events_tenant_id_aggregate_id_event_version UNIQUE (tenant_id, aggregate_id, event_version, created_at);

--
-- Name: saga_instances uq_saga_instances_saga_key; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.saga_instances
    ADD CONSTRAINT uq_saga_instances_saga_key UNIQUE (saga_key, saga_type, tenant_id);

--
-- Name: analytics_events pk_analytics_events; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.analytics_events
    ADD CONSTRAINT pk_analytics_events PRIMARY KEY (tenant_id, analytics_event_id);

--
-- Name: application_logs pk_application_logs; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.application_logs
    ADD CONSTRAINT pk_application_logs PRIMARY KEY (tenant_id, log_id);

--
-- Name: categories pk_categories; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.categories
    ADD CONSTRAINT pk_categories PRIMARY KEY (tenant_id, category_id);

--
-- Name: credit_notes pk_credit_notes; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.credit_notes
    ADD CONSTRAINT pk_credit_notes PRIMARY KEY (tenant_id, credit_note_number, line_number);

--
-- Name: inventory pk_inventory; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.inventory
    ADD CONSTRAINT pk_inventory PRIMARY KEY (tenant_id, product_id, bucket_number);

--
-- Name: inventory_reservations pk_inventory_reservations; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.inventory_reservations
    ADD CONSTRAINT pk_inventory_reservations PRIMARY KEY (tenant_id, order_id);

--
-- Name: inventory_updates pk_inventory_updates; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.inventory_updates
    ADD CONSTRAINT pk_inventory_updates PRIMARY KEY (tenant_id, product_id, update_id) INCLUDE (delta_available, delta_reserved);

--
-- Name: order_items pk_order_items; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.order_items
    ADD CONSTRAINT pk_order_items PRIMARY KEY (tenant_id, order_id, line_number);

--
-- Name: orders pk_orders; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.orders
    ADD CONSTRAINT pk_orders PRIMARY KEY (tenant_id, order_id);

--
-- Name: payment_transactions pk_payment_transactions; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.payment_transactions
    ADD CONSTRAINT pk_payment_transactions PRIMARY KEY (tenant_id, transaction_id);

--
-- Name: payment_webhooks pk_payment_webhooks; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.payment_webhooks
    ADD CONSTRAINT pk_payment_webhooks PRIMARY KEY (tenant_id, provider, event_id);

--
-- Name: payments pk_payments; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.payments
    ADD CONSTRAINT pk_payments PRIMARY KEY (tenant_id, payment_id);

--
-- Name: product_sales pk_product_sales; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.product_sales
    ADD CONSTRAINT pk_product_sales PRIMARY KEY (tenant_id, sold_on, product_id, currency);

--
-- Name: products pk_products; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.products
    ADD CONSTRAINT pk_products PRIMARY KEY (tenant_id, product_id);

--
-- Name: refunds pk_refunds; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.refunds
    ADD CONSTRAINT pk_refunds PRIMARY KEY (tenant_id, refund_id);

--
-- Name: return_lines pk_return_lines; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.return_lines
    ADD CONSTRAINT pk_return_lines PRIMARY KEY (tenant_id, order_id, line_number, return_id);

--
-- Name: schema_migrations pk_schema_migrations; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.schema_migrations
    ADD CONSTRAINT pk_schema_migrations PRIMARY KEY (version);

--
-- Name: shipments pk_shipments; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.shipments
    ADD CONSTRAINT pk_shipments PRIMARY KEY (tenant_id, shipment_id);

--
-- Name: user_order_summaries pk_user_order_summaries; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.user_order_summaries
    ADD CONSTRAINT pk_user_order_summaries PRIMARY KEY (tenant_id, user_id, currency);

--
-- Name: user_payment_methods pk_user_payment_methods; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.user_payment_methods
    ADD CONSTRAINT pk_user_payment_methods PRIMARY KEY (tenant_id, payment_method_id);

--
-- Name: user_profiles pk_user_profiles; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.user_profiles
    ADD CONSTRAINT pk_user_profiles PRIMARY KEY (tenant_id, user_id);

--
-- Name: users pk_users; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.users
    ADD CONSTRAINT pk_users PRIMARY KEY (tenant_id, user_id);

--
-- Name: vendor_commissions pk_vendor_commissions; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.vendor_commissions
    ADD CONSTRAINT pk_vendor_commissions PRIMARY KEY (tenant_id, commission_id);

--
-- Name: vendors pk_vendors; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.vendors
    ADD CONSTRAINT pk_vendors PRIMARY KEY (tenant_id, vendor_id);

--
-- Name: categories uq_categories_slug; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.categories
    ADD CONSTRAINT uq_categories_slug UNIQUE (tenant_id, slug);

--
-- Name: orders uq_orders_order_number; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.orders
    ADD CONSTRAINT uq_orders_order_number UNIQUE (tenant_id, order_number);

--
-- Name: payment_transactions uq_payment_transactions_idempotency_key; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.payment_transactions
    ADD CONSTRAINT uq_payment_transactions_idempotency_key UNIQUE (tenant_id, idempotency_key);

--
-- Name: products uq_products_sku; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.products
    ADD CONSTRAINT uq_products_sku UNIQUE (tenant_id, sku);

--
-- Name: shipments uq_shipments_order_id_vendor_id; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.shipments
    ADD CONSTRAINT uq_shipments_order_id_vendor_id UNIQUE (tenant_id, order_id, vendor_id);

--
-- Name: vendors uq_vendors_vendor_name; Type: CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.vendors
    ADD CONSTRAINT uq_vendors_vendor_name UNIQUE (tenant_id, vendor_name);

--
-- Name: idx_event_snapshots_subject_id; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_event_snapshots_subject_id ON cloudlab.event_snapshots USING btree (tenant_id, subject_id) WHERE (subject_id IS NOT NULL);

--
-- Name: idx_parked_events_projection_name_aggregate_id; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_parked_events_projection_name_aggregate_id ON cloudlab.parked_events USING btree (projection_name, aggregate_id);

--
-- Name: idx_saga_actions_archive_saga_id; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_saga_actions_archive_saga_id ON cloudlab.saga_actions_archive USING btree (tenant_id, saga_id);

--
-- Name: idx_saga_actions_saga_id; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_saga_actions_saga_id ON cloudlab.saga_actions USING btree (tenant_id, saga_id);

--
-- Name: idx_saga_instances_failed; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_saga_instances_failed ON cloudlab.saga_instances USING btree (tenant_id, saga_id) WHERE ((status)::text = 'failed'::text);

--
-- Name: idx_saga_instances_live; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_saga_instances_live ON cloudlab.saga_instances USING btree (saga_type, definition_version, tenant_id, next_at) WHERE (next_at IS NOT NULL);

--
-- Name: idx_saga_instances_waiting_on; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_saga_instances_waiting_on ON cloudlab.saga_instances USING btree (tenant_id, waiting_on) WHERE (waiting_on IS NOT NULL);

--
-- Name: idx_tenant_transfers_open; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_tenant_transfers_open ON cloudlab.tenant_transfers USING btree (tenant_id) WHERE ((state)::text = 'open'::text);

--
-- Name: uq_shard_identity_single_row; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE UNIQUE INDEX uq_shard_identity_single_row ON cloudlab.shard_identity USING btree ((true));

--
-- Name: idx_analytics_events_created_at; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_analytics_events_created_at ON shop.analytics_events USING btree (tenant_id, created_at);

--
-- Name: idx_application_logs_created_at; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_application_logs_created_at ON shop.application_logs USING btree (tenant_id, created_at);

--
-- Name: idx_categories_parent_category_id; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_categories_parent_category_id ON shop.categories USING btree (tenant_id, parent_category_id);

--
-- Name: idx_credit_notes_product_id; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_credit_notes_product_id ON shop.credit_notes USING btree (tenant_id, product_id);

--
-- Name: idx_credit_notes_user_id; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_credit_notes_user_id ON shop.credit_notes USING btree (tenant_id, user_id);

--
-- Name: idx_inventory_reservations_expires_at; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_inventory_reservations_expires_at ON shop.inventory_reservations USING btree (tenant_id, expires_at) WHERE ((status)::text = 'held'::text);

--
-- Name: idx_order_items_product_id; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_order_items_product_id ON shop.order_items USING btree (tenant_id, product_id);

--
-- Name: idx_orders_created_at; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_orders_created_at ON shop.orders USING btree (tenant_id, created_at DESC, order_id DESC);

--
-- Name: idx_orders_status_created_at; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_orders_status_created_at ON shop.orders USING btree (tenant_id, status, created_at) WHERE (status = ANY (ARRAY['pending_payment'::shop.order_status, 'paid'::shop.order_status, 'processing'::shop.order_status, 'shipped'::shop.order_status]));

--
-- Name: idx_orders_user_id_created_at; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_orders_user_id_created_at ON shop.orders USING btree (tenant_id, user_id, created_at DESC, order_id DESC);

--
-- Name: idx_payment_transactions_open; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_payment_transactions_open ON shop.payment_transactions USING btree (tenant_id, created_at) WHERE ((status)::text = ANY ((ARRAY['pending'::character varying, 'unknown'::character varying])::text[]));

--
-- Name: idx_payment_transactions_payment_id; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_payment_transactions_payment_id ON shop.payment_transactions USING btree (tenant_id, payment_id);

--
-- Name: idx_payments_order_id_status; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_payments_order_id_status ON shop.payments USING btree (tenant_id, order_id, status);

--
-- Name: idx_products_category_id; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_products_category_id ON shop.products USING btree (tenant_id, category_id);

--
-- Name: idx_products_vendor_id_status; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_products_vendor_id_status ON shop.products USING btree (tenant_id, vendor_id, status);

--
-- Name: idx_refunds_order_id; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_refunds_order_id ON shop.refunds USING btree (tenant_id, order_id);

--
-- Name: idx_refunds_payment_id; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_refunds_payment_id ON shop.refunds USING btree (tenant_id, payment_id);

--
-- Name: idx_user_payment_methods_user_id; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_user_payment_methods_user_id ON shop.user_payment_methods USING btree (tenant_id, user_id);

--
-- Name: idx_users_phone_number_index; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_users_phone_number_index ON shop.users USING btree (tenant_id, phone_number_index) WHERE (phone_number_index IS NOT NULL);

--
-- Name: idx_vendor_commissions_order_id; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_vendor_commissions_order_id ON shop.vendor_commissions USING btree (tenant_id, order_id);

--
-- Name: idx_vendor_commissions_refund_id; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_vendor_commissions_refund_id ON shop.vendor_commissions USING btree (tenant_id, refund_id) WHERE (refund_id IS NOT NULL);

--
-- Name: idx_vendor_commissions_vendor_id; Type: INDEX; Schema: shop; Owner: -
--

CREATE INDEX idx_vendor_commissions_vendor_id ON shop.vendor_commissions USING btree (tenant_id, vendor_id, created_at);

--
-- Name: uq_users_email; Type: INDEX; Schema: shop; Owner: -
--

CREATE UNIQUE INDEX uq_users_email ON shop.users USING btree (tenant_id, email_index) WHERE (deleted_at IS NULL);

--
-- Name: event_archives trg_event_archives_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_event_archives_updated_at BEFORE UPDATE ON cloudlab.event_archives FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: event_snapshots trg_event_snapshots_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_event_snapshots_updated_at BEFORE UPDATE ON cloudlab.event_snapshots FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: events trg_events_append_only; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_events_append_only BEFORE DELETE OR UPDATE ON cloudlab.events FOR EACH ROW EXECUTE FUNCTION cloudlab.refuse_change();

--
-- Name: events_archive trg_events_archive_append_only; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_events_archive_append_only BEFORE DELETE OR UPDATE ON cloudlab.events_archive FOR EACH ROW EXECUTE FUNCTION cloudlab.refuse_change();

--
-- Name: parked_events trg_parked_events_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_parked_events_updated_at BEFORE UPDATE ON cloudlab.parked_events FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: projection_checkpoints trg_projection_checkpoints_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_projection_checkpoints_updated_at BEFORE UPDATE ON cloudlab.projection_checkpoints FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: projections trg_projections_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_projections_updated_at BEFORE UPDATE ON cloudlab.projections FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: saga_instances trg_saga_instances_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_saga_instances_updated_at BEFORE UPDATE ON cloudlab.saga_instances FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: shard_identity trg_shard_identity_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_shard_identity_updated_at BEFORE UPDATE ON cloudlab.shard_identity FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: subject_keys trg_subject_keys_erasure_is_final; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_subject_keys_erasure_is_final BEFORE UPDATE ON cloudlab.subject_keys FOR EACH ROW WHEN ((old.erased_at IS NOT NULL)) EXECUTE FUNCTION cloudlab.refuse_new_key();

--
-- Name: subject_keys trg_subject_keys_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_subject_keys_updated_at BEFORE UPDATE ON cloudlab.subject_keys FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: tenant_keys trg_tenant_keys_erasure_is_final; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_tenant_keys_erasure_is_final BEFORE UPDATE ON cloudlab.tenant_keys FOR EACH ROW WHEN ((old.erased_at IS NOT NULL)) EXECUTE FUNCTION cloudlab.refuse_new_key();

--
-- Name: tenant_keys trg_tenant_keys_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_tenant_keys_updated_at BEFORE UPDATE ON cloudlab.tenant_keys FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: tenant_local trg_tenant_local_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_tenant_local_updated_at BEFORE UPDATE ON cloudlab.tenant_local FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: tenant_transfers trg_tenant_transfers_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_tenant_transfers_updated_at BEFORE UPDATE ON cloudlab.tenant_transfers FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: categories trg_categories_updated_at; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_categories_updated_at BEFORE UPDATE ON shop.categories FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: inventory_reservations trg_inventory_reservations_released; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_inventory_reservations_released BEFORE UPDATE ON shop.inventory_reservations FOR EACH ROW WHEN ((((old.status)::text = 'released'::text) AND ((new.status)::text = ANY ((ARRAY['claimed'::character varying, 'shipped'::character varying])::text[])))) EXECUTE FUNCTION shop.refuse_released_stock();

--
-- Name: inventory_updates trg_inventory_updates_append_only; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_inventory_updates_append_only BEFORE DELETE OR UPDATE ON shop.inventory_updates FOR EACH ROW EXECUTE FUNCTION cloudlab.refuse_change();

--
-- Name: orders trg_orders_transition; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_orders_transition BEFORE UPDATE OF status ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.check_order_transition();

--
-- Name: orders trg_orders_updated_at; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_orders_updated_at BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: payment_transactions trg_payment_transactions_answer_once; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_payment_transactions_answer_once BEFORE UPDATE ON shop.payment_transactions FOR EACH ROW WHEN ((((old.status)::text = 'succeeded'::text) OR (((old.status)::text = 'failed'::text) AND ((new.status)::text <> 'succeeded'::text)) OR ((old.payment_id <> new.payment_id) OR ((old.transaction_type)::text <> (new.transaction_type)::text) OR (old.amount <> new.amount) OR (old.currency <> new.currency) OR ((old.idempotency_key)::text <> (new.idempotency_key)::text)))) EXECUTE FUNCTION cloudlab.refuse_change();

--
-- Name: payment_transactions trg_payment_transactions_kept; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_payment_transactions_kept BEFORE DELETE ON shop.payment_transactions FOR EACH ROW EXECUTE FUNCTION cloudlab.refuse_change();

--
-- Name: payment_webhooks trg_payment_webhooks_append_only; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_payment_webhooks_append_only BEFORE DELETE OR UPDATE ON shop.payment_webhooks FOR EACH ROW EXECUTE FUNCTION cloudlab.refuse_change();

--
-- Name: payments trg_payments_updated_at; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_payments_updated_at BEFORE UPDATE ON shop.payments FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: product_sales trg_product_sales_updated_at; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_product_sales_updated_at BEFORE UPDATE ON shop.product_sales FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: products trg_products_updated_at; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_products_updated_at BEFORE UPDATE ON shop.products FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: shipments trg_shipments_updated_at; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_shipments_updated_at BEFORE UPDATE ON shop.shipments FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: user_payment_methods trg_user_payment_methods_updated_at; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_user_payment_methods_updated_at BEFORE UPDATE ON shop.user_payment_methods FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: user_profiles trg_user_profiles_updated_at; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_user_profiles_updated_at BEFORE UPDATE ON shop.user_profiles FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: users trg_users_updated_at; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_users_updated_at BEFORE UPDATE ON shop.users FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: vendor_commissions trg_vendor_commissions_append_only; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_vendor_commissions_append_only BEFORE DELETE OR UPDATE ON shop.vendor_commissions FOR EACH ROW EXECUTE FUNCTION cloudlab.refuse_change();

--
-- Name: vendors trg_vendors_updated_at; Type: TRIGGER; Schema: shop; Owner: -
--

CREATE TRIGGER trg_vendors_updated_at BEFORE UPDATE ON shop.vendors FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: parked_events fk_parked_events_projection_name; Type: FK CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.parked_events
    ADD CONSTRAINT fk_parked_events_projection_name FOREIGN KEY (projection_name) REFERENCES cloudlab.projections(projection_name) ON DELETE CASCADE;

--
-- Name: projection_checkpoints fk_projection_checkpoints_projection_name; Type: FK CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.projection_checkpoints
    ADD CONSTRAINT fk_projection_checkpoints_projection_name FOREIGN KEY (projection_name) REFERENCES cloudlab.projections(projection_name) ON DELETE CASCADE;

--
-- Name: projection_workers fk_projection_workers_projection_name; Type: FK CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.projection_workers
    ADD CONSTRAINT fk_projection_workers_projection_name FOREIGN KEY (projection_name) REFERENCES cloudlab.projections(projection_name) ON DELETE CASCADE;

--
-- Name: saga_actions_archive fk_saga_actions_archive_saga_id; Type: FK CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.saga_actions_archive
    ADD CONSTRAINT fk_saga_actions_archive_saga_id FOREIGN KEY (tenant_id, saga_id) REFERENCES cloudlab.saga_instances_archive(tenant_id, saga_id) ON DELETE CASCADE;

--
-- Name: saga_actions fk_saga_actions_saga_id; Type: FK CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.saga_actions
    ADD CONSTRAINT fk_saga_actions_saga_id FOREIGN KEY (tenant_id, saga_id) REFERENCES cloudlab.saga_instances(tenant_id, saga_id) ON DELETE CASCADE;

--
-- Name: saga_steps_archive fk_saga_steps_archive_saga_id; Type: FK CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.saga_steps_archive
    ADD CONSTRAINT fk_saga_steps_archive_saga_id FOREIGN KEY (tenant_id, saga_id) REFERENCES cloudlab.saga_instances_archive(tenant_id, saga_id) ON DELETE CASCADE;

--
-- Name: saga_steps fk_saga_steps_saga_id; Type: FK CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.saga_steps
    ADD CONSTRAINT fk_saga_steps_saga_id FOREIGN KEY (tenant_id, saga_id) REFERENCES cloudlab.saga_instances(tenant_id, saga_id) ON DELETE CASCADE;

--
-- Name: categories fk_categories_parent_category_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.categories
    ADD CONSTRAINT fk_categories_parent_category_id FOREIGN KEY (tenant_id, parent_category_id) REFERENCES shop.categories(tenant_id, category_id) ON DELETE SET NULL (parent_category_id);

--
-- Name: credit_notes fk_credit_notes_product_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.credit_notes
    ADD CONSTRAINT fk_credit_notes_product_id FOREIGN KEY (tenant_id, product_id) REFERENCES shop.products(tenant_id, product_id) ON DELETE RESTRICT;

--
-- Name: credit_notes fk_credit_notes_user_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.credit_notes
    ADD CONSTRAINT fk_credit_notes_user_id FOREIGN KEY (tenant_id, user_id) REFERENCES shop.users(tenant_id, user_id) ON DELETE RESTRICT;

--
-- Name: inventory fk_inventory_product_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.inventory
    ADD CONSTRAINT fk_inventory_product_id FOREIGN KEY (tenant_id, product_id) REFERENCES shop.products(tenant_id, product_id) ON DELETE RESTRICT;

--
-- Name: inventory_reservations fk_inventory_reservations_order_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.inventory_reservations
    ADD CONSTRAINT fk_inventory_reservations_order_id FOREIGN KEY (tenant_id, order_id) REFERENCES shop.orders(tenant_id, order_id) ON DELETE CASCADE;

--
-- Name: order_items fk_order_items_order_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.order_items
    ADD CONSTRAINT fk_order_items_order_id FOREIGN KEY (tenant_id, order_id) REFERENCES shop.orders(tenant_id, order_id) ON DELETE CASCADE;

--
-- Name: order_items fk_order_items_product_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.order_items
    ADD CONSTRAINT fk_order_items_product_id FOREIGN KEY (tenant_id, product_id) REFERENCES shop.products(tenant_id, product_id) ON DELETE RESTRICT;

--
-- Name: orders fk_orders_user_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.orders
    ADD CONSTRAINT fk_orders_user_id FOREIGN KEY (tenant_id, user_id) REFERENCES shop.users(tenant_id, user_id) ON DELETE RESTRICT;

--
-- Name: payment_transactions fk_payment_transactions_payment_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.payment_transactions
    ADD CONSTRAINT fk_payment_transactions_payment_id FOREIGN KEY (tenant_id, payment_id) REFERENCES shop.payments(tenant_id, payment_id) ON DELETE RESTRICT;

--
-- Name: payments fk_payments_order_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.payments
    ADD CONSTRAINT fk_payments_order_id FOREIGN KEY (tenant_id, order_id) REFERENCES shop.orders(tenant_id, order_id) ON DELETE RESTRICT;

--
-- Name: products fk_products_category_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.products
    ADD CONSTRAINT fk_products_category_id FOREIGN KEY (tenant_id, category_id) REFERENCES shop.categories(tenant_id, category_id) ON DELETE SET NULL (category_id);

--
-- Name: products fk_products_vendor_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.products
    ADD CONSTRAINT fk_products_vendor_id FOREIGN KEY (tenant_id, vendor_id) REFERENCES shop.vendors(tenant_id, vendor_id) ON DELETE RESTRICT;

--
-- Name: refunds fk_refunds_order_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.refunds
    ADD CONSTRAINT fk_refunds_order_id FOREIGN KEY (tenant_id, order_id) REFERENCES shop.orders(tenant_id, order_id) ON DELETE RESTRICT;

--
-- Name: refunds fk_refunds_payment_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.refunds
    ADD CONSTRAINT fk_refunds_payment_id FOREIGN KEY (tenant_id, payment_id) REFERENCES shop.payments(tenant_id, payment_id) ON DELETE RESTRICT;

--
-- Name: return_lines fk_return_lines_order_item; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.return_lines
    ADD CONSTRAINT fk_return_lines_order_item FOREIGN KEY (tenant_id, order_id, line_number) REFERENCES shop.order_items(tenant_id, order_id, line_number) ON DELETE CASCADE;

--
-- Name: shipments fk_shipments_order_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.shipments
    ADD CONSTRAINT fk_shipments_order_id FOREIGN KEY (tenant_id, order_id) REFERENCES shop.orders(tenant_id, order_id) ON DELETE RESTRICT;

--
-- Name: user_order_summaries fk_user_order_summaries_user_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.user_order_summaries
    ADD CONSTRAINT fk_user_order_summaries_user_id FOREIGN KEY (tenant_id, user_id) REFERENCES shop.users(tenant_id, user_id) ON DELETE CASCADE;

--
-- Name: user_payment_methods fk_user_payment_methods_user_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.user_payment_methods
    ADD CONSTRAINT fk_user_payment_methods_user_id FOREIGN KEY (tenant_id, user_id) REFERENCES shop.users(tenant_id, user_id) ON DELETE CASCADE;

--
-- Name: user_profiles fk_user_profiles_user_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.user_profiles
    ADD CONSTRAINT fk_user_profiles_user_id FOREIGN KEY (tenant_id, user_id) REFERENCES shop.users(tenant_id, user_id) ON DELETE CASCADE;

--
-- Name: vendor_commissions fk_vendor_commissions_order_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.vendor_commissions
    ADD CONSTRAINT fk_vendor_commissions_order_id FOREIGN KEY (tenant_id, order_id) REFERENCES shop.orders(tenant_id, order_id) ON DELETE RESTRICT;

--
-- Name: vendor_commissions fk_vendor_commissions_refund_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.vendor_commissions
    ADD CONSTRAINT fk_vendor_commissions_refund_id FOREIGN KEY (tenant_id, refund_id) REFERENCES shop.refunds(tenant_id, refund_id) ON DELETE RESTRICT;

--
-- Name: vendor_commissions fk_vendor_commissions_vendor_id; Type: FK CONSTRAINT; Schema: shop; Owner: -
--

ALTER TABLE ONLY shop.vendor_commissions
    ADD CONSTRAINT fk_vendor_commissions_vendor_id FOREIGN KEY (tenant_id, vendor_id) REFERENCES shop.vendors(tenant_id, vendor_id) ON DELETE RESTRICT;

--
-- Name: saga_actions archiver_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY archiver_policy ON cloudlab.saga_actions FOR DELETE TO platform_worker USING (true);

--
-- Name: saga_actions_archive archiver_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY archiver_policy ON cloudlab.saga_actions_archive FOR INSERT TO platform_worker WITH CHECK (true);

--
-- Name: saga_instances archiver_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY archiver_policy ON cloudlab.saga_instances FOR DELETE TO platform_worker USING ((next_at IS NULL));

--
-- Name: saga_instances_archive archiver_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY archiver_policy ON cloudlab.saga_instances_archive FOR INSERT TO platform_worker WITH CHECK (true);

--
-- Name: saga_steps archiver_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY archiver_policy ON cloudlab.saga_steps FOR DELETE TO platform_worker USING (true);

--
-- Name: saga_steps_archive archiver_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY archiver_policy ON cloudlab.saga_steps_archive FOR INSERT TO platform_worker WITH CHECK (true);

--
-- Name: tenant_local directory_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY directory_policy ON cloudlab.tenant_local TO cloudlab_owner USING (true) WITH CHECK (true);

--
-- Name: tenant_transfers directory_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY directory_policy ON cloudlab.tenant_transfers TO cloudlab_owner USING (true) WITH CHECK (true);

--
-- Name: event_snapshots; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.event_snapshots ENABLE ROW LEVEL SECURITY;

--
-- Name: event_streams; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.event_streams ENABLE ROW LEVEL SECURITY;

--
-- Name: events; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.events ENABLE ROW LEVEL SECURITY;

--
-- Name: events_archive; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.events_archive ENABLE ROW LEVEL SECURITY;

--
-- Name: idempotency_keys; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.idempotency_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: event_snapshots move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.event_snapshots TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: event_streams move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.event_streams TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: events move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.events TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: events_archive move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.events_archive TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: idempotency_keys move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.idempotency_keys TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: parked_events move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.parked_events TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: saga_actions move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.saga_actions TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: saga_actions_archive move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.saga_actions_archive TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: saga_instances move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.saga_instances TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: saga_instances_archive move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.saga_instances_archive TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: saga_steps move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.saga_steps TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: saga_steps_archive move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.saga_steps_archive TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: subject_keys move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.subject_keys TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: tenant_keys move_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY move_policy ON cloudlab.tenant_keys TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: parked_events; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.parked_events ENABLE ROW LEVEL SECURITY;

--
-- Name: event_snapshots platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.event_snapshots FOR SELECT TO platform_worker USING (true);

--
-- Name: event_streams platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.event_streams FOR SELECT TO platform_worker USING (true);

--
-- Name: events platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.events FOR SELECT TO platform_worker USING (true);

--
-- Name: events_archive platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.events_archive FOR SELECT TO platform_worker USING (true);

--
-- Name: idempotency_keys platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.idempotency_keys FOR SELECT TO platform_worker USING (true);

--
-- Name: parked_events platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.parked_events FOR SELECT TO platform_worker USING (true);

--
-- Name: saga_actions platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.saga_actions FOR SELECT TO platform_worker USING (true);

--
-- Name: saga_actions_archive platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.saga_actions_archive FOR SELECT TO platform_worker USING (true);

--
-- Name: saga_instances platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.saga_instances FOR SELECT TO platform_worker USING (true);

--
-- Name: saga_instances_archive platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.saga_instances_archive FOR SELECT TO platform_worker USING (true);

--
-- Name: saga_steps platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.saga_steps FOR SELECT TO platform_worker USING (true);

--
-- Name: saga_steps_archive platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.saga_steps_archive FOR SELECT TO platform_worker USING (true);

--
-- Name: subject_keys platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.subject_keys FOR SELECT TO platform_worker USING (true);

--
-- Name: tenant_keys platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.tenant_keys FOR SELECT TO platform_worker USING (true);

--
-- Name: tenant_local platform_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY platform_policy ON cloudlab.tenant_local FOR SELECT TO platform_worker USING (true);

--
-- Name: parked_events projection_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY projection_policy ON cloudlab.parked_events TO platform_worker USING (true) WITH CHECK (true);

--
-- Name: parked_events rebuild_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY rebuild_policy ON cloudlab.parked_events TO cloudlab_owner USING (true) WITH CHECK (true);

--
-- Name: subject_keys rotation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY rotation_policy ON cloudlab.subject_keys FOR UPDATE TO platform_worker USING (true) WITH CHECK (true);

--
-- Name: tenant_keys rotation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY rotation_policy ON cloudlab.tenant_keys FOR UPDATE TO platform_worker USING (true) WITH CHECK (true);

--
-- Name: saga_instances runner_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY runner_policy ON cloudlab.saga_instances FOR UPDATE TO platform_worker USING (true) WITH CHECK (true);

--
-- Name: saga_actions; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.saga_actions ENABLE ROW LEVEL SECURITY;

--
-- Name: saga_actions_archive; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.saga_actions_archive ENABLE ROW LEVEL SECURITY;

--
-- Name: saga_instances; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.saga_instances ENABLE ROW LEVEL SECURITY;

--
-- Name: saga_instances_archive; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.saga_instances_archive ENABLE ROW LEVEL SECURITY;

--
-- Name: saga_steps; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.saga_steps ENABLE ROW LEVEL SECURITY;

--
-- Name: saga_steps_archive; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.saga_steps_archive ENABLE ROW LEVEL SECURITY;

--
-- Name: subject_keys; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.subject_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: event_snapshots tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.event_snapshots AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: event_streams tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.event_streams AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: events tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.events AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: events_archive tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.events_archive AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: idempotency_keys tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.idempotency_keys AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: parked_events tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.parked_events AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: saga_actions tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.saga_actions AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: saga_actions_archive tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.saga_actions_archive AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: saga_instances tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.saga_instances AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: saga_instances_archive tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.saga_instances_archive AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: saga_steps tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.saga_steps AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: saga_steps_archive tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.saga_steps_archive AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: subject_keys tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.subject_keys AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: tenant_keys tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.tenant_keys AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: tenant_local tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.tenant_local FOR SELECT TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: tenant_transfers tenant_isolation_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY tenant_isolation_policy ON cloudlab.tenant_transfers AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: tenant_keys; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.tenant_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: tenant_local; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.tenant_local ENABLE ROW LEVEL SECURITY;

--
-- Name: tenant_transfers; Type: ROW SECURITY; Schema: cloudlab; Owner: -
--

ALTER TABLE cloudlab.tenant_transfers ENABLE ROW LEVEL SECURITY;

--
-- Name: event_snapshots user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.event_snapshots TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: event_streams user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.event_streams TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: events user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.events TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: events_archive user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.events_archive TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: idempotency_keys user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.idempotency_keys TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: parked_events user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.parked_events TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: saga_actions user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.saga_actions TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: saga_actions_archive user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.saga_actions_archive TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: saga_instances user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.saga_instances TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: saga_instances_archive user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.saga_instances_archive TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: saga_steps user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.saga_steps TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: saga_steps_archive user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.saga_steps_archive TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: subject_keys user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.subject_keys TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (subject_id = ( SELECT cloudlab.current_user_id() AS current_user_id)))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (subject_id = ( SELECT cloudlab.current_user_id() AS current_user_id))));

--
-- Name: tenant_keys user_data_policy; Type: POLICY; Schema: cloudlab; Owner: -
--

CREATE POLICY user_data_policy ON cloudlab.tenant_keys TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: analytics_events; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.analytics_events ENABLE ROW LEVEL SECURITY;

--
-- Name: application_logs; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.application_logs ENABLE ROW LEVEL SECURITY;

--
-- Name: categories; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.categories ENABLE ROW LEVEL SECURITY;

--
-- Name: credit_notes; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.credit_notes ENABLE ROW LEVEL SECURITY;

--
-- Name: inventory; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.inventory ENABLE ROW LEVEL SECURITY;

--
-- Name: inventory_reservations; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.inventory_reservations ENABLE ROW LEVEL SECURITY;

--
-- Name: inventory_updates; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.inventory_updates ENABLE ROW LEVEL SECURITY;

--
-- Name: analytics_events move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.analytics_events TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: application_logs move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.application_logs TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: categories move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.categories TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: credit_notes move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.credit_notes TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: inventory move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.inventory TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: inventory_reservations move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.inventory_reservations TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: inventory_updates move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.inventory_updates TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: order_items move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.order_items TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: orders move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.orders TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: payment_transactions move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.payment_transactions TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: payment_webhooks move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.payment_webhooks TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: payments move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.payments TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: product_sales move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.product_sales TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: products move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.products TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: refunds move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.refunds TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: return_lines move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.return_lines TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: shipments move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.shipments TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: user_order_summaries move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.user_order_summaries TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: user_payment_methods move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.user_payment_methods TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: user_profiles move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.user_profiles TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: users move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.users TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: vendor_commissions move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.vendor_commissions TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: vendors move_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY move_policy ON shop.vendors TO cloudlab_owner USING ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.moving_tenant() AS moving_tenant)));

--
-- Name: order_items; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.order_items ENABLE ROW LEVEL SECURITY;

--
-- Name: orders; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY;

--
-- Name: payment_transactions; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.payment_transactions ENABLE ROW LEVEL SECURITY;

--
-- Name: payment_webhooks; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.payment_webhooks ENABLE ROW LEVEL SECURITY;

--
-- Name: payments; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.payments ENABLE ROW LEVEL SECURITY;

--
-- Name: analytics_events platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.analytics_events FOR SELECT TO platform_worker USING (true);

--
-- Name: application_logs platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.application_logs FOR SELECT TO platform_worker USING (true);

--
-- Name: categories platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.categories FOR SELECT TO platform_worker USING (true);

--
-- Name: credit_notes platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.credit_notes FOR SELECT TO platform_worker USING (true);

--
-- Name: inventory platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.inventory FOR SELECT TO platform_worker USING (true);

--
-- Name: inventory_reservations platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.inventory_reservations FOR SELECT TO platform_worker USING (true);

--
-- Name: inventory_updates platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.inventory_updates FOR SELECT TO platform_worker USING (true);

--
-- Name: order_items platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.order_items FOR SELECT TO platform_worker USING (true);

--
-- Name: orders platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.orders FOR SELECT TO platform_worker USING (true);

--
-- Name: payment_transactions platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.payment_transactions FOR SELECT TO platform_worker USING (true);

--
-- Name: payment_webhooks platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.payment_webhooks FOR SELECT TO platform_worker USING (true);

--
-- Name: payments platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.payments FOR SELECT TO platform_worker USING (true);

--
-- Name: product_sales platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.product_sales FOR SELECT TO platform_worker USING (true);

--
-- Name: products platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.products FOR SELECT TO platform_worker USING (true);

--
-- Name: refunds platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.refunds FOR SELECT TO platform_worker USING (true);

--
-- Name: return_lines platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.return_lines FOR SELECT TO platform_worker USING (true);

--
-- Name: shipments platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.shipments FOR SELECT TO platform_worker USING (true);

--
-- Name: user_order_summaries platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.user_order_summaries FOR SELECT TO platform_worker USING (true);

--
-- Name: user_payment_methods platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.user_payment_methods FOR SELECT TO platform_worker USING (true);

--
-- Name: user_profiles platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.user_profiles FOR SELECT TO platform_worker USING (true);

--
-- Name: users platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.users FOR SELECT TO platform_worker USING (true);

--
-- Name: vendor_commissions platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.vendor_commissions FOR SELECT TO platform_worker USING (true);

--
-- Name: vendors platform_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY platform_policy ON shop.vendors FOR SELECT TO platform_worker USING (true);

--
-- Name: product_sales; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.product_sales ENABLE ROW LEVEL SECURITY;

--
-- Name: products; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.products ENABLE ROW LEVEL SECURITY;

--
-- Name: product_sales projection_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY projection_policy ON shop.product_sales TO platform_worker USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: user_order_summaries projection_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY projection_policy ON shop.user_order_summaries TO platform_worker USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: refunds; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.refunds ENABLE ROW LEVEL SECURITY;

--
-- Name: return_lines; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.return_lines ENABLE ROW LEVEL SECURITY;

--
-- Name: shipments; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.shipments ENABLE ROW LEVEL SECURITY;

--
-- Name: analytics_events tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.analytics_events AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: application_logs tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.application_logs AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: categories tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.categories AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: credit_notes tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.credit_notes AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: inventory tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.inventory AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: inventory_reservations tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.inventory_reservations AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: inventory_updates tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.inventory_updates AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: order_items tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.order_items AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: orders tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.orders AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: payment_transactions tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.payment_transactions AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: payment_webhooks tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.payment_webhooks AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: payments tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.payments AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: product_sales tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.product_sales AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: products tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.products AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: refunds tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.refunds AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: return_lines tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.return_lines AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: shipments tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.shipments AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: user_order_summaries tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.user_order_summaries AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: user_payment_methods tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.user_payment_methods AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: user_profiles tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.user_profiles AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: users tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.users AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: vendor_commissions tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.vendor_commissions AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: vendors tenant_isolation_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY tenant_isolation_policy ON shop.vendors AS RESTRICTIVE TO application_readonly, application_readwrite, application_admin USING ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant))) WITH CHECK ((tenant_id = ( SELECT cloudlab.current_tenant() AS current_tenant)));

--
-- Name: analytics_events user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.analytics_events TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id)))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id))));

--
-- Name: application_logs user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.application_logs TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL)));

--
-- Name: categories user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.categories TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: credit_notes user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.credit_notes TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id)))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id))));

--
-- Name: inventory user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.inventory TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: inventory_reservations user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.inventory_reservations TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = inventory_reservations.tenant_id) AND (o.order_id = inventory_reservations.order_id)))))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = inventory_reservations.tenant_id) AND (o.order_id = inventory_reservations.order_id))))));

--
-- Name: inventory_updates user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.inventory_updates TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: order_items user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.order_items TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = order_items.tenant_id) AND (o.order_id = order_items.order_id)))))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = order_items.tenant_id) AND (o.order_id = order_items.order_id))))));

--
-- Name: orders user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.orders TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id)))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id))));

--
-- Name: payment_transactions user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.payment_transactions TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.payments p
  WHERE ((p.tenant_id = payment_transactions.tenant_id) AND (p.payment_id = payment_transactions.payment_id)))))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.payments p
  WHERE ((p.tenant_id = payment_transactions.tenant_id) AND (p.payment_id = payment_transactions.payment_id))))));

--
-- Name: payment_webhooks user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.payment_webhooks TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL)));

--
-- Name: payments user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.payments TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = payments.tenant_id) AND (o.order_id = payments.order_id)))))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = payments.tenant_id) AND (o.order_id = payments.order_id))))));

--
-- Name: product_sales user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.product_sales TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL)));

--
-- Name: products user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.products TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: refunds user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.refunds TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = refunds.tenant_id) AND (o.order_id = refunds.order_id)))))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = refunds.tenant_id) AND (o.order_id = refunds.order_id))))));

--
-- Name: return_lines user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.return_lines TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = return_lines.tenant_id) AND (o.order_id = return_lines.order_id)))))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = return_lines.tenant_id) AND (o.order_id = return_lines.order_id))))));

--
-- Name: shipments user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.shipments TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = shipments.tenant_id) AND (o.order_id = shipments.order_id)))))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = shipments.tenant_id) AND (o.order_id = shipments.order_id))))));

--
-- Name: user_order_summaries user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.user_order_summaries TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id)))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id))));

--
-- Name: user_payment_methods user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.user_payment_methods TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id)))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id))));

--
-- Name: user_profiles user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.user_profiles TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id)))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id))));

--
-- Name: users user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.users TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id)))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (user_id = ( SELECT cloudlab.current_user_id() AS current_user_id))));

--
-- Name: vendor_commissions user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.vendor_commissions TO application_readonly, application_readwrite, application_admin USING (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = vendor_commissions.tenant_id) AND (o.order_id = vendor_commissions.order_id)))))) WITH CHECK (((( SELECT cloudlab.current_user_id() AS current_user_id) IS NULL) OR (EXISTS ( SELECT
   FROM shop.orders o
  WHERE ((o.tenant_id = vendor_commissions.tenant_id) AND (o.order_id = vendor_commissions.order_id))))));

--
-- Name: vendors user_data_policy; Type: POLICY; Schema: shop; Owner: -
--

CREATE POLICY user_data_policy ON shop.vendors TO application_readonly, application_readwrite, application_admin USING (true) WITH CHECK (true);

--
-- Name: user_order_summaries; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.user_order_summaries ENABLE ROW LEVEL SECURITY;

--
-- Name: user_payment_methods; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.user_payment_methods ENABLE ROW LEVEL SECURITY;

--
-- Name: user_profiles; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.user_profiles ENABLE ROW LEVEL SECURITY;

--
-- Name: users; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.users ENABLE ROW LEVEL SECURITY;

--
-- Name: vendor_commissions; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.vendor_commissions ENABLE ROW LEVEL SECURITY;

--
-- Name: vendors; Type: ROW SECURITY; Schema: shop; Owner: -
--

ALTER TABLE shop.vendors ENABLE ROW LEVEL SECURITY;

--
-- Name: SCHEMA cloudlab; Type: ACL; Schema: -; Owner: -
--

GRANT USAGE ON SCHEMA cloudlab TO application_readonly;
GRANT USAGE ON SCHEMA cloudlab TO application_readwrite;
GRANT USAGE ON SCHEMA cloudlab TO application_admin;
GRANT USAGE ON SCHEMA cloudlab TO platform_worker;

--
-- Name: SCHEMA shop; Type: ACL; Schema: -; Owner: -
--

GRANT USAGE ON SCHEMA shop TO application_readonly;
GRANT USAGE ON SCHEMA shop TO application_readwrite;
GRANT USAGE ON SCHEMA shop TO application_admin;
GRANT USAGE ON SCHEMA shop TO platform_worker;

--
-- Name: FUNCTION archive_sagas(p_before timestamp with time zone, p_after_tenant uuid, p_after_saga uuid, p_limit integer, OUT archived integer, OUT last_tenant uuid, OUT last_saga uuid); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.archive_sagas(p_before timestamp with time zone, p_after_tenant uuid, p_after_saga uuid, p_limit integer, OUT archived integer, OUT last_tenant uuid, OUT last_saga uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION cloudlab.archive_sagas(p_before timestamp with time zone, p_after_tenant uuid, p_after_saga uuid, p_limit integer, OUT archived integer, OUT last_tenant uuid, OUT last_saga uuid) TO platform_worker;

--
-- Name: FUNCTION begin_event_archive(p_month date, p_count bigint, p_hash numeric, p_last_position bigint); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.begin_event_archive(p_month date, p_count bigint, p_hash numeric, p_last_position bigint) FROM PUBLIC;

--
-- Name: FUNCTION begin_import(p_tenant_id uuid, p_move_id uuid, p_native_last bigint, p_imported_first bigint, p_imported_last bigint); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.begin_import(p_tenant_id uuid, p_move_id uuid, p_native_last bigint, p_imported_first bigint, p_imported_last bigint) FROM PUBLIC;

--
-- Name: FUNCTION begin_rebuild(p_name character varying, p_tables text[], p_lanes integer); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.begin_rebuild(p_name character varying, p_tables text[], p_lanes integer) FROM PUBLIC;

--
-- Name: FUNCTION clear_rebuild(p_name character varying); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.clear_rebuild(p_name character varying) FROM PUBLIC;

--
-- Name: FUNCTION copy_table_shape(p_schema text, p_table text, p_copy_schema text); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.copy_table_shape(p_schema text, p_table text, p_copy_schema text) FROM PUBLIC;

--
-- Name: FUNCTION ensure_event_partitions(p_months_ahead integer, as_of timestamp with time zone); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.ensure_event_partitions(p_months_ahead integer, as_of timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION cloudlab.ensure_event_partitions(p_months_ahead integer, as_of timestamp with time zone) TO platform_worker;

--
-- Name: FUNCTION enter_read_model(p_tenant_id uuid); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.enter_read_model(p_tenant_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION cloudlab.enter_read_model(p_tenant_id uuid) TO platform_worker;

--
-- Name: FUNCTION enter_tenant(p_tenant_id uuid, p_user_id uuid, p_epoch integer); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.enter_tenant(p_tenant_id uuid, p_user_id uuid, p_epoch integer) FROM PUBLIC;
GRANT ALL ON FUNCTION cloudlab.enter_tenant(p_tenant_id uuid, p_user_id uuid, p_epoch integer) TO application_readonly;
GRANT ALL ON FUNCTION cloudlab.enter_tenant(p_tenant_id uuid, p_user_id uuid, p_epoch integer) TO application_readwrite;
GRANT ALL ON FUNCTION cloudlab.enter_tenant(p_tenant_id uuid, p_user_id uuid, p_epoch integer) TO application_admin;

--
-- Name: FUNCTION event_position_at(p_time timestamp with time zone); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.event_position_at(p_time timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION cloudlab.event_position_at(p_time timestamp with time zone) TO platform_worker;

--
-- Name: FUNCTION feed_beginning(); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.feed_beginning() FROM PUBLIC;
GRANT ALL ON FUNCTION cloudlab.feed_beginning() TO platform_worker;

--
-- Name: FUNCTION finish_event_archive(p_month date); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.finish_event_archive(p_month date) FROM PUBLIC;

--
-- Name: FUNCTION finish_rebuild(p_name character varying, p_tables text[], p_inline boolean); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.finish_rebuild(p_name character varying, p_tables text[], p_inline boolean) FROM PUBLIC;

--
-- Name: FUNCTION flip_tenant(p_tenant_id uuid, p_move_id uuid, p_epoch integer, p_shard text, p_schema text, p_leaves boolean, OUT state character varying, OUT last_position bigint); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.flip_tenant(p_tenant_id uuid, p_move_id uuid, p_epoch integer, p_shard text, p_schema text, p_leaves boolean, OUT state character varying, OUT last_position bigint) FROM PUBLIC;

--
-- Name: FUNCTION hold_feed(); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.hold_feed() FROM PUBLIC;

--
-- Name: FUNCTION lock_live_tables(p_tables text[]); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.lock_live_tables(p_tables text[]) FROM PUBLIC;

--
-- Name: FUNCTION month_fingerprint(p_month date, OUT event_count bigint, OUT event_hash numeric, OUT last_position bigint); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.month_fingerprint(p_month date, OUT event_count bigint, OUT event_hash numeric, OUT last_position bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION cloudlab.month_fingerprint(p_month date, OUT event_count bigint, OUT event_hash numeric, OUT last_position bigint) TO platform_worker;

--
-- Name: FUNCTION open_tenant(p_tenant_id uuid, p_epoch integer, p_state character varying, p_last_position bigint); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.open_tenant(p_tenant_id uuid, p_epoch integer, p_state character varying, p_last_position bigint) FROM PUBLIC;

--
-- Name: FUNCTION protect_read_model(p_table regclass, p_visible_to_user text); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.protect_read_model(p_table regclass, p_visible_to_user text) FROM PUBLIC;

--
-- Name: FUNCTION protect_table(p_table regclass, p_visible_to_user text, p_write_grants text); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.protect_table(p_table regclass, p_visible_to_user text, p_write_grants text) FROM PUBLIC;

--
-- Name: FUNCTION raise_event_position(p_above bigint); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.raise_event_position(p_above bigint) FROM PUBLIC;

--
-- Name: FUNCTION readers_in_the_way(p_tenant_id uuid, p_upto bigint); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.readers_in_the_way(p_tenant_id uuid, p_upto bigint) FROM PUBLIC;

--
-- Name: FUNCTION refuse_while_moving(); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.refuse_while_moving() FROM PUBLIC;

--
-- Name: FUNCTION restore_event_archive(p_month date); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.restore_event_archive(p_month date) FROM PUBLIC;

--
-- Name: FUNCTION retire_sagas(p_tenant_id uuid); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.retire_sagas(p_tenant_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION tenant_schemas(); Type: ACL; Schema: cloudlab; Owner: -
--

REVOKE ALL ON FUNCTION cloudlab.tenant_schemas() FROM PUBLIC;

--
-- Name: TABLE event_archives; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.event_archives TO platform_worker;

--
-- Name: COLUMN event_archives.month; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT(month) ON TABLE cloudlab.event_archives TO application_readonly;
GRANT SELECT(month) ON TABLE cloudlab.event_archives TO application_readwrite;
GRANT SELECT(month) ON TABLE cloudlab.event_archives TO application_admin;

--
-- Name: COLUMN event_archives.partition_name; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT(partition_name) ON TABLE cloudlab.event_archives TO application_readonly;
GRANT SELECT(partition_name) ON TABLE cloudlab.event_archives TO application_readwrite;
GRANT SELECT(partition_name) ON TABLE cloudlab.event_archives TO application_admin;

--
-- Name: COLUMN event_archives.state; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT(state) ON TABLE cloudlab.event_archives TO application_readonly;
GRANT SELECT(state) ON TABLE cloudlab.event_archives TO application_readwrite;
GRANT SELECT(state) ON TABLE cloudlab.event_archives TO application_admin;

--
-- Name: COLUMN event_archives.last_position; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT(last_position) ON TABLE cloudlab.event_archives TO application_readonly;
GRANT SELECT(last_position) ON TABLE cloudlab.event_archives TO application_readwrite;
GRANT SELECT(last_position) ON TABLE cloudlab.event_archives TO application_admin;

--
-- Name: SEQUENCE event_position; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT,USAGE ON SEQUENCE cloudlab.event_position TO application_readwrite;
GRANT SELECT,USAGE ON SEQUENCE cloudlab.event_position TO application_admin;
GRANT SELECT ON SEQUENCE cloudlab.event_position TO platform_worker;
GRANT SELECT ON SEQUENCE cloudlab.event_position TO application_readonly;

--
-- Name: TABLE event_snapshots; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.event_snapshots TO application_readonly;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE cloudlab.event_snapshots TO application_readwrite;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE cloudlab.event_snapshots TO application_admin;
GRANT SELECT ON TABLE cloudlab.event_snapshots TO platform_worker;

--
-- Name: TABLE event_streams; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.event_streams TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE cloudlab.event_streams TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE cloudlab.event_streams TO application_admin;
GRANT SELECT ON TABLE cloudlab.event_streams TO platform_worker;

--
-- Name: TABLE events; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.events TO application_readonly;
GRANT SELECT,INSERT ON TABLE cloudlab.events TO application_readwrite;
GRANT SELECT,INSERT ON TABLE cloudlab.events TO application_admin;
GRANT SELECT ON TABLE cloudlab.events TO platform_worker;

--
-- Name: TABLE events_archive; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.events_archive TO application_readonly;
GRANT SELECT ON TABLE cloudlab.events_archive TO application_readwrite;
GRANT SELECT ON TABLE cloudlab.events_archive TO application_admin;
GRANT SELECT ON TABLE cloudlab.events_archive TO platform_worker;

--
-- Name: TABLE idempotency_keys; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.idempotency_keys TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE cloudlab.idempotency_keys TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE cloudlab.idempotency_keys TO application_admin;
GRANT SELECT ON TABLE cloudlab.idempotency_keys TO platform_worker;

--
-- Name: TABLE parked_events; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.parked_events TO application_readonly;
GRANT SELECT ON TABLE cloudlab.parked_events TO application_readwrite;
GRANT SELECT ON TABLE cloudlab.parked_events TO application_admin;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE cloudlab.parked_events TO platform_worker;

--
-- Name: TABLE projection_checkpoints; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE cloudlab.projection_checkpoints TO platform_worker;

--
-- Name: TABLE projection_workers; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE cloudlab.projection_workers TO platform_worker;

--
-- Name: TABLE projections; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE cloudlab.projections TO platform_worker;

--
-- Name: TABLE saga_actions; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.saga_actions TO application_readonly;
GRANT SELECT,INSERT ON TABLE cloudlab.saga_actions TO application_readwrite;
GRANT SELECT,INSERT ON TABLE cloudlab.saga_actions TO application_admin;
GRANT SELECT,DELETE ON TABLE cloudlab.saga_actions TO platform_worker;

--
-- Name: TABLE saga_actions_archive; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.saga_actions_archive TO application_readonly;
GRANT SELECT ON TABLE cloudlab.saga_actions_archive TO application_readwrite;
GRANT SELECT ON TABLE cloudlab.saga_actions_archive TO application_admin;
GRANT SELECT,INSERT ON TABLE cloudlab.saga_actions_archive TO platform_worker;

--
-- Name: TABLE saga_instances; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.saga_instances TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE cloudlab.saga_instances TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE cloudlab.saga_instances TO application_admin;
GRANT SELECT,DELETE ON TABLE cloudlab.saga_instances TO platform_worker;

--
-- Name: COLUMN saga_instances.lease_owner; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT UPDATE(lease_owner) ON TABLE cloudlab.saga_instances TO platform_worker;

--
-- Name: COLUMN saga_instances.epoch; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT UPDATE(epoch) ON TABLE cloudlab.saga_instances TO platform_worker;

--
-- Name: COLUMN saga_instances.next_at; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT UPDATE(next_at) ON TABLE cloudlab.saga_instances TO platform_worker;

--
-- Name: COLUMN saga_instances.updated_at; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT UPDATE(updated_at) ON TABLE cloudlab.saga_instances TO platform_worker;

--
-- Name: TABLE saga_instances_archive; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.saga_instances_archive TO application_readonly;
GRANT SELECT ON TABLE cloudlab.saga_instances_archive TO application_readwrite;
GRANT SELECT ON TABLE cloudlab.saga_instances_archive TO application_admin;
GRANT SELECT,INSERT ON TABLE cloudlab.saga_instances_archive TO platform_worker;

--
-- Name: TABLE saga_steps; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.saga_steps TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE cloudlab.saga_steps TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE cloudlab.saga_steps TO application_admin;
GRANT SELECT,DELETE ON TABLE cloudlab.saga_steps TO platform_worker;

--
-- Name: TABLE saga_steps_archive; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.saga_steps_archive TO application_readonly;
GRANT SELECT ON TABLE cloudlab.saga_steps_archive TO application_readwrite;
GRANT SELECT ON TABLE cloudlab.saga_steps_archive TO application_admin;
GRANT SELECT,INSERT ON TABLE cloudlab.saga_steps_archive TO platform_worker;

--
-- Name: TABLE shard_identity; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.shard_identity TO application_readonly;
GRANT SELECT ON TABLE cloudlab.shard_identity TO application_readwrite;
GRANT SELECT ON TABLE cloudlab.shard_identity TO application_admin;
GRANT SELECT ON TABLE cloudlab.shard_identity TO platform_worker;

--
-- Name: TABLE subject_keys; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.subject_keys TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE cloudlab.subject_keys TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE cloudlab.subject_keys TO application_admin;
GRANT SELECT ON TABLE cloudlab.subject_keys TO platform_worker;

--
-- Name: COLUMN subject_keys.wrapped_key; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT UPDATE(wrapped_key) ON TABLE cloudlab.subject_keys TO platform_worker;

--
-- Name: COLUMN subject_keys.key_version; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT UPDATE(key_version) ON TABLE cloudlab.subject_keys TO platform_worker;

--
-- Name: COLUMN subject_keys.updated_at; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT UPDATE(updated_at) ON TABLE cloudlab.subject_keys TO platform_worker;

--
-- Name: TABLE tenant_keys; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.tenant_keys TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE cloudlab.tenant_keys TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE cloudlab.tenant_keys TO application_admin;
GRANT SELECT ON TABLE cloudlab.tenant_keys TO platform_worker;

--
-- Name: COLUMN tenant_keys.wrapped_key; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT UPDATE(wrapped_key) ON TABLE cloudlab.tenant_keys TO platform_worker;

--
-- Name: COLUMN tenant_keys.key_version; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT UPDATE(key_version) ON TABLE cloudlab.tenant_keys TO platform_worker;

--
-- Name: COLUMN tenant_keys.updated_at; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT UPDATE(updated_at) ON TABLE cloudlab.tenant_keys TO platform_worker;

--
-- Name: TABLE tenant_local; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.tenant_local TO application_readonly;
GRANT SELECT ON TABLE cloudlab.tenant_local TO application_readwrite;
GRANT SELECT ON TABLE cloudlab.tenant_local TO application_admin;
GRANT SELECT ON TABLE cloudlab.tenant_local TO platform_worker;

--
-- Name: TABLE analytics_events; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.analytics_events TO application_readonly;
GRANT SELECT,INSERT ON TABLE shop.analytics_events TO application_readwrite;
GRANT SELECT,INSERT ON TABLE shop.analytics_events TO application_admin;
GRANT SELECT ON TABLE shop.analytics_events TO platform_worker;

--
-- Name: TABLE application_logs; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.application_logs TO application_readonly;
GRANT SELECT,INSERT ON TABLE shop.application_logs TO application_readwrite;
GRANT SELECT,INSERT ON TABLE shop.application_logs TO application_admin;
GRANT SELECT ON TABLE shop.application_logs TO platform_worker;

--
-- Name: TABLE categories; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.categories TO application_readonly;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE shop.categories TO application_readwrite;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE shop.categories TO application_admin;
GRANT SELECT ON TABLE shop.categories TO platform_worker;

--
-- Name: TABLE credit_notes; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.credit_notes TO application_readonly;
GRANT SELECT,INSERT ON TABLE shop.credit_notes TO application_readwrite;
GRANT SELECT,INSERT ON TABLE shop.credit_notes TO application_admin;
GRANT SELECT ON TABLE shop.credit_notes TO platform_worker;

--
-- Name: TABLE inventory; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.inventory TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.inventory TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.inventory TO application_admin;
GRANT SELECT ON TABLE shop.inventory TO platform_worker;

--
-- Name: TABLE inventory_reservations; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.inventory_reservations TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.inventory_reservations TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.inventory_reservations TO application_admin;
GRANT SELECT ON TABLE shop.inventory_reservations TO platform_worker;

--
-- Name: TABLE inventory_updates; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.inventory_updates TO application_readonly;
GRANT SELECT,INSERT ON TABLE shop.inventory_updates TO application_readwrite;
GRANT SELECT,INSERT ON TABLE shop.inventory_updates TO application_admin;
GRANT SELECT ON TABLE shop.inventory_updates TO platform_worker;

--
-- Name: TABLE order_items; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.order_items TO application_readonly;
GRANT SELECT,INSERT ON TABLE shop.order_items TO application_readwrite;
GRANT SELECT,INSERT ON TABLE shop.order_items TO application_admin;
GRANT SELECT ON TABLE shop.order_items TO platform_worker;

--
-- Name: TABLE orders; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.orders TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.orders TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.orders TO application_admin;
GRANT SELECT ON TABLE shop.orders TO platform_worker;

--
-- Name: TABLE payment_transactions; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.payment_transactions TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.payment_transactions TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.payment_transactions TO application_admin;
GRANT SELECT ON TABLE shop.payment_transactions TO platform_worker;

--
-- Name: TABLE payment_webhooks; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.payment_webhooks TO application_readonly;
GRANT SELECT,INSERT ON TABLE shop.payment_webhooks TO application_readwrite;
GRANT SELECT,INSERT ON TABLE shop.payment_webhooks TO application_admin;
GRANT SELECT ON TABLE shop.payment_webhooks TO platform_worker;

--
-- Name: TABLE payments; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.payments TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.payments TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.payments TO application_admin;
GRANT SELECT ON TABLE shop.payments TO platform_worker;

--
-- Name: TABLE product_sales; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.product_sales TO application_readonly;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE shop.product_sales TO application_readwrite;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE shop.product_sales TO application_admin;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE shop.product_sales TO platform_worker;

--
-- Name: TABLE products; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.products TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.products TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.products TO application_admin;
GRANT SELECT ON TABLE shop.products TO platform_worker;

--
-- Name: TABLE refunds; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.refunds TO application_readonly;
GRANT SELECT,INSERT ON TABLE shop.refunds TO application_readwrite;
GRANT SELECT,INSERT ON TABLE shop.refunds TO application_admin;
GRANT SELECT ON TABLE shop.refunds TO platform_worker;

--
-- Name: TABLE return_lines; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.return_lines TO application_readonly;
GRANT SELECT,INSERT ON TABLE shop.return_lines TO application_readwrite;
GRANT SELECT,INSERT ON TABLE shop.return_lines TO application_admin;
GRANT SELECT ON TABLE shop.return_lines TO platform_worker;

--
-- Name: TABLE shipments; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.shipments TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.shipments TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.shipments TO application_admin;
GRANT SELECT ON TABLE shop.shipments TO platform_worker;

--
-- Name: TABLE user_order_summaries; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.user_order_summaries TO application_readonly;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE shop.user_order_summaries TO application_readwrite;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE shop.user_order_summaries TO application_admin;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE shop.user_order_summaries TO platform_worker;

--
-- Name: TABLE user_payment_methods; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.user_payment_methods TO application_readonly;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE shop.user_payment_methods TO application_readwrite;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE shop.user_payment_methods TO application_admin;
GRANT SELECT ON TABLE shop.user_payment_methods TO platform_worker;

--
-- Name: TABLE user_profiles; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.user_profiles TO application_readonly;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE shop.user_profiles TO application_readwrite;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE shop.user_profiles TO application_admin;
GRANT SELECT ON TABLE shop.user_profiles TO platform_worker;

--
-- Name: TABLE users; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.users TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.users TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.users TO application_admin;
GRANT SELECT ON TABLE shop.users TO platform_worker;

--
-- Name: TABLE vendor_commissions; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.vendor_commissions TO application_readonly;
GRANT SELECT,INSERT ON TABLE shop.vendor_commissions TO application_readwrite;
GRANT SELECT,INSERT ON TABLE shop.vendor_commissions TO application_admin;
GRANT SELECT ON TABLE shop.vendor_commissions TO platform_worker;

--
-- Name: TABLE vendors; Type: ACL; Schema: shop; Owner: -
--

GRANT SELECT ON TABLE shop.vendors TO application_readonly;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.vendors TO application_readwrite;
GRANT SELECT,INSERT,UPDATE ON TABLE shop.vendors TO application_admin;
GRANT SELECT ON TABLE shop.vendors TO platform_worker;

--
-- PostgreSQL database dump complete
--
