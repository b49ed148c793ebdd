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
    v_tenant uuid := current_tenant();
    v_streams integer[];
    v_numbers integer[];
BEGIN
    -- Sorted, so that two calls never wait for each other in a circle. Nobody is refused by an exception: it would undo
    -- the others' work too.
    WITH wanted AS MATERIALIZED (
        SELECT w.ordinal, w.aggregate_type, w.aggregate_id, w.expected, w.event_count
        FROM unnest(p_aggregate_types, p_aggregate_ids, p_expected_versions, p_event_counts) WITH ORDINALITY
            AS w (aggregate_type, aggregate_id, expected, event_count, ordinal)
        ORDER BY w.aggregate_id),
    begun AS (
        INSERT INTO event_streams AS s (tenant_id, aggregate_id, aggregate_type, event_version)
        SELECT v_tenant, w.aggregate_id, w.aggregate_type, w.event_count FROM wanted w WHERE w.expected = 0
        ON CONFLICT DO NOTHING
        RETURNING s.aggregate_id, s.event_version),
    lengthened AS (
        INSERT INTO event_streams AS s (tenant_id, aggregate_id, aggregate_type, event_version)
        SELECT v_tenant, w.aggregate_id, w.aggregate_type, w.event_count FROM wanted w WHERE w.expected IS NULL
        ON CONFLICT (tenant_id, aggregate_id) DO UPDATE SET event_version = s.event_version + excluded.event_version
        RETURNING s.aggregate_id, s.event_version),
    moved AS (
        UPDATE event_streams s SET event_version = s.event_version + w.event_count
        FROM wanted w
        WHERE s.tenant_id = v_tenant AND s.aggregate_id = w.aggregate_id AND s.event_version = w.expected AND w.expected > 0
        RETURNING s.aggregate_id, s.event_version)
    SELECT array_agg(m.event_version ORDER BY w.ordinal) INTO last_versions
    FROM wanted w
    LEFT JOIN (SELECT b.aggregate_id, b.event_version FROM begun b
               UNION ALL SELECT l.aggregate_id, l.event_version FROM lengthened l
               UNION ALL SELECT v.aggregate_id, v.event_version FROM moved v) m ON m.aggregate_id = w.aggregate_id;
    IF array_position(last_versions, NULL) IS NOT NULL THEN
        SELECT array_agg(coalesce(s.event_version, 0) ORDER BY w.ordinal) INTO found_versions
        FROM unnest(p_aggregate_ids) WITH ORDINALITY AS w (aggregate_id, ordinal)
        LEFT JOIN event_streams s ON s.tenant_id = v_tenant AND s.aggregate_id = w.aggregate_id;
    END IF;
    SELECT array_agg(w.ordinal::integer ORDER BY w.ordinal, n), array_agg(n ORDER BY w.ordinal, n) INTO v_streams, v_numbers
    FROM unnest(p_event_counts) WITH ORDINALITY AS w (event_count, ordinal), generate_series(1, w.event_count) AS n;
    -- The fence: from this mark on, this transaction may still add events (see append_events).
    PERFORM pg_advisory_xact_lock_shared((20542::bigint << 48) | CASE WHEN s.is_called THEN s.last_value ELSE 0 END)
    FROM event_position s;
    recorded_at := clock_timestamp();
    WITH added AS (
        INSERT INTO events AS e (tenant_id, event_position, aggregate_id, aggregate_type, event_type, event_version,
                                 event_data, metadata, created_at)
        SELECT v_tenant, nextval('event_position'), p_aggregate_ids[n.stream], p_aggregate_types[n.stream], n.event_type,
               last_versions[n.stream] - p_event_counts[n.stream] + n.number, n.event_data, n.metadata, recorded_at
        FROM unnest(v_streams, v_numbers, p_event_types, p_event_data, p_metadata)
            AS n (stream, number, event_type, event_data, metadata)
        WHERE last_versions[n.stream] IS NOT NULL
        RETURNING e.event_position)
    SELECT array_agg(a.event_position ORDER BY a.event_position) INTO positions FROM added a;
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
