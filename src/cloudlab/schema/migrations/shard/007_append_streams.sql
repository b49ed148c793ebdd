-- Migration: Appending to many streams
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: One call for many streams of a tenant, each with a verdict of its own
-- Standard: §3.2 Event Store Schema

-- migrate:up
CREATE FUNCTION append_streams(
    p_aggregate_types varchar[], p_aggregate_ids uuid[], p_expected_versions integer[], p_event_counts integer[],
    p_event_types varchar[], p_event_data jsonb[], p_metadata jsonb[],
    OUT last_versions integer[], OUT found_versions integer[], OUT positions bigint[],
    OUT recorded_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    v_tenant constant uuid := current_tenant();
    v_ids uuid[];
    v_types varchar[];
    v_versions integer[];
    v_all bigint[];
    v_event integer := 0;
    v_fenced boolean;
BEGIN
    last_versions := array_fill(NULL::integer, ARRAY[cardinality(p_aggregate_ids)]);
    -- Sorted, so that two calls never wait for each other in a circle. Nobody is refused by an exception: it would undo
    -- the others' work too.
    IF cardinality(array_remove(p_expected_versions, 0)) > 0 THEN
        WITH moved AS (
            UPDATE event_streams s SET event_version = s.event_version + w.event_count
            FROM (SELECT u.ordinal, u.aggregate_id, u.expected, u.event_count
                  FROM unnest(p_aggregate_ids, p_expected_versions, p_event_counts) WITH ORDINALITY
                      AS u (aggregate_id, expected, event_count, ordinal)
                  WHERE u.expected IS DISTINCT FROM 0 ORDER BY u.aggregate_id) AS w
            WHERE s.tenant_id = v_tenant AND s.aggregate_id = w.aggregate_id
              AND (w.expected IS NULL OR s.event_version = w.expected)
            RETURNING w.ordinal, s.event_version)
        SELECT array_agg(m.event_version ORDER BY n.ordinal) INTO last_versions
        FROM generate_series(1, cardinality(p_aggregate_ids)) AS n (ordinal)
        LEFT JOIN moved m ON m.ordinal = n.ordinal;
    END IF;
    IF 0 = ANY (p_expected_versions) THEN
        WITH begun AS (
            INSERT INTO event_streams AS s (tenant_id, aggregate_id, aggregate_type, event_version)
            SELECT v_tenant, w.aggregate_id, w.aggregate_type, w.event_count
            FROM unnest(p_aggregate_types, p_aggregate_ids, p_expected_versions, p_event_counts)
                AS w (aggregate_type, aggregate_id, expected, event_count)
            WHERE w.expected = 0 ORDER BY w.aggregate_id
            ON CONFLICT DO NOTHING
            RETURNING s.aggregate_id, s.event_version)
        SELECT array_agg(coalesce(w.last_version, b.event_version) ORDER BY w.ordinal) INTO last_versions
        FROM unnest(p_aggregate_ids, last_versions) WITH ORDINALITY AS w (aggregate_id, last_version, ordinal)
        LEFT JOIN begun b ON b.aggregate_id = w.aggregate_id;
    END IF;
    IF array_position(p_expected_versions, NULL) IS NOT NULL AND array_position(last_versions, NULL) IS NOT NULL THEN
        WITH begun AS (
            INSERT INTO event_streams AS s (tenant_id, aggregate_id, aggregate_type, event_version)
            SELECT v_tenant, w.aggregate_id, w.aggregate_type, w.event_count
            FROM unnest(p_aggregate_types, p_aggregate_ids, p_expected_versions, p_event_counts, last_versions)
                AS w (aggregate_type, aggregate_id, expected, event_count, last_version)
            WHERE w.expected IS NULL AND w.last_version IS NULL ORDER BY w.aggregate_id
            ON CONFLICT (tenant_id, aggregate_id) DO UPDATE SET event_version = s.event_version + excluded.event_version
            RETURNING s.aggregate_id, s.event_version)
        SELECT array_agg(coalesce(w.last_version, b.event_version) ORDER BY w.ordinal) INTO last_versions
        FROM unnest(p_aggregate_ids, last_versions) WITH ORDINALITY AS w (aggregate_id, last_version, ordinal)
        LEFT JOIN begun b ON b.aggregate_id = w.aggregate_id;
    END IF;
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
COMMENT ON FUNCTION append_streams(varchar[], uuid[], integer[], integer[], varchar[], jsonb[], jsonb[]) IS
    'Appends to many different streams of the current tenant; a conflict is a NULL among last_versions and fails nobody else';

CREATE FUNCTION append_streams_all(
    p_aggregate_types varchar[], p_aggregate_ids uuid[], p_expected_versions integer[], p_event_counts integer[],
    p_event_types varchar[], p_event_data jsonb[], p_metadata jsonb[],
    OUT last_versions integer[], OUT found_versions integer[], OUT positions bigint[],
    OUT recorded_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
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
COMMENT ON FUNCTION append_streams_all(varchar[], uuid[], integer[], integer[], varchar[], jsonb[], jsonb[]) IS
    'Appends to many different streams of the current tenant, all or none';

-- migrate:down
DROP FUNCTION append_streams_all(varchar[], uuid[], integer[], integer[], varchar[], jsonb[], jsonb[]);
DROP FUNCTION append_streams(varchar[], uuid[], integer[], integer[], varchar[], jsonb[], jsonb[]);
