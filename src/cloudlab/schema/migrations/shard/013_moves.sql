-- Migration: Moves of tenants
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: What a shard knows of tenants that come and go, the wait for its readers, and the flip
-- Standard: §7.2 Tenant-Based Sharding

-- migrate:up
CREATE TABLE tenant_transfers (
    tenant_id uuid NOT NULL,
    move_id uuid NOT NULL,
    direction varchar(10) NOT NULL,
    state varchar(20) DEFAULT 'open' NOT NULL,
    progress jsonb DEFAULT '{}' NOT NULL,
    lowest_position bigint,
    native_shift bigint,
    imported_shift bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_tenant_transfers PRIMARY KEY (tenant_id, move_id, direction),
    CONSTRAINT chk_tenant_transfers_direction CHECK (direction IN ('in', 'out')),
    CONSTRAINT chk_tenant_transfers_state CHECK (state IN ('open', 'closed')),
    CONSTRAINT chk_tenant_transfers_lowest_negative CHECK (lowest_position < 0)
);
CREATE INDEX idx_tenant_transfers_open ON tenant_transfers (tenant_id) WHERE state = 'open';
COMMENT ON TABLE tenant_transfers IS 'Tenants that come to this shard or leave it, and which block of positions their history got';
COMMENT ON COLUMN tenant_transfers.tenant_id IS 'Tenant that comes or goes';
COMMENT ON COLUMN tenant_transfers.move_id IS 'The move, as the control database knows it';
COMMENT ON COLUMN tenant_transfers.direction IS 'Whether it comes (in) or goes (out)';
COMMENT ON COLUMN tenant_transfers.state IS 'open while the move is under way here, then closed';
COMMENT ON COLUMN tenant_transfers.progress IS 'For each table how far it was copied: the last key, rows, and whether that is all';
COMMENT ON COLUMN tenant_transfers.lowest_position IS 'Lowest position of the block that its imported events have here';
COMMENT ON COLUMN tenant_transfers.native_shift IS 'What is added to a position of the source''s own to have the one here';
COMMENT ON COLUMN tenant_transfers.imported_shift IS 'What is added to a position that the source had imported itself';
COMMENT ON COLUMN tenant_transfers.created_at IS 'When the move began here';
COMMENT ON COLUMN tenant_transfers.updated_at IS 'When this row last changed';
CREATE TRIGGER trg_tenant_transfers_updated_at BEFORE UPDATE ON tenant_transfers
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
ALTER TABLE tenant_transfers ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_transfers FORCE ROW LEVEL SECURITY;
CREATE POLICY directory_policy ON tenant_transfers FOR ALL TO CURRENT_ROLE USING (true) WITH CHECK (true);
CREATE POLICY tenant_isolation_policy ON tenant_transfers AS RESTRICTIVE FOR ALL
    TO application_readonly, application_readwrite, application_admin
    USING (tenant_id = (SELECT cloudlab.current_tenant())) WITH CHECK (tenant_id = (SELECT cloudlab.current_tenant()));

-- A move counts on the tables, the partitions and the checkpoints that are there when it begins.
CREATE FUNCTION refuse_while_moving() RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    LOCK TABLE tenant_transfers IN SHARE MODE;
    IF EXISTS (SELECT FROM tenant_transfers t WHERE t.state = 'open') THEN
        RAISE EXCEPTION 'a tenant is moving to or from this shard' USING ERRCODE = 'CL500',
            HINT = 'Wait for its move to end, or abort it: cloudlab shard list';
    END IF;
END
$$;
COMMENT ON FUNCTION refuse_while_moving() IS 'Excludes moves until the end of the transaction; refused while one is under way';
REVOKE EXECUTE ON FUNCTION refuse_while_moving() FROM PUBLIC;

-- Imported history stands below everything that is here and below 0: readers at work are past it already, for they have
-- brought its effect along, and whoever begins at the beginning meets it in order. A block is never given out twice.
CREATE FUNCTION begin_import(
    p_tenant_id uuid, p_move_id uuid, p_native_last bigint, p_imported_first bigint, p_imported_last bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
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
COMMENT ON FUNCTION begin_import(uuid, uuid, bigint, bigint, bigint) IS
    'Gives the events of a tenant that comes here a block of positions of their own';
REVOKE EXECUTE ON FUNCTION begin_import(uuid, uuid, bigint, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION feed_beginning() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = cloudlab, pg_temp
    AS $$ SELECT least(0, (SELECT min(t.lowest_position) - 1 FROM cloudlab.tenant_transfers t)) $$;
COMMENT ON FUNCTION feed_beginning() IS 'Position below all events, imported history included: where a new reader begins';
REVOKE EXECUTE ON FUNCTION feed_beginning() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION feed_beginning() TO platform_worker;

-- A number that grows from shard to shard: whoever keeps the newest by position keeps the right one after a move too.
CREATE FUNCTION raise_event_position(p_above bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    -- Far ahead, so that whoever draws a number at this moment cannot have passed it.
    IF coalesce(pg_sequence_last_value('cloudlab.event_position'), 0) < p_above THEN
        PERFORM setval('cloudlab.event_position', p_above + 1000000);
    END IF;
END
$$;
COMMENT ON FUNCTION raise_event_position(bigint) IS 'Lets the positions of this shard go on above those of another';
REVOKE EXECUTE ON FUNCTION raise_event_position(bigint) FROM PUBLIC;

-- Readers of this shard see no event that comes now, as if its writer were still open: see feed_horizon.
CREATE FUNCTION hold_feed() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_mark constant bigint := (20542::bigint << 48) | coalesce(pg_sequence_last_value('cloudlab.event_position'), 0);
BEGIN
    PERFORM pg_advisory_lock_shared(v_mark);
    RETURN v_mark;
END
$$;
COMMENT ON FUNCTION hold_feed() IS 'Lets readers go no further than what is there, until the session gives the lock back';
REVOKE EXECUTE ON FUNCTION hold_feed() FROM PUBLIC;

CREATE FUNCTION readers_in_the_way(p_tenant_id uuid, p_upto bigint)
    RETURNS TABLE (projection_name varchar, reason text, is_external boolean)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
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
COMMENT ON FUNCTION readers_in_the_way(uuid, bigint) IS
    'Projections that have not applied the events of a tenant up to a position, and why: behind, paused, parked or rebuilding';
REVOKE EXECUTE ON FUNCTION readers_in_the_way(uuid, bigint) FROM PUBLIC;

-- The rows stay until the grace period is over; no worker may take up a saga that goes on elsewhere.
CREATE FUNCTION retire_sagas(p_tenant_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
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
COMMENT ON FUNCTION retire_sagas(uuid) IS 'Keeps workers of this shard from the sagas of a tenant that leaves it';
REVOKE EXECUTE ON FUNCTION retire_sagas(uuid) FROM PUBLIC;

-- One call each: every statement more is time for which writers wait.
CREATE FUNCTION flip_tenant(p_tenant_id uuid, p_move_id uuid, p_epoch integer, p_shard text, p_schema text, p_leaves boolean,
                            OUT state varchar, OUT last_position bigint)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
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
COMMENT ON FUNCTION flip_tenant(uuid, uuid, integer, text, text, boolean) IS
    'The point of no return: this shard says that the tenant lives elsewhere; returns its state and the last position';
REVOKE EXECUTE ON FUNCTION flip_tenant(uuid, uuid, integer, text, text, boolean) FROM PUBLIC;

CREATE FUNCTION open_tenant(p_tenant_id uuid, p_epoch integer, p_state varchar, p_last_position bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    PERFORM raise_event_position(p_last_position);
    PERFORM hold_feed();
    UPDATE tenant_local t SET state = p_state
    WHERE t.tenant_id = p_tenant_id AND t.epoch = p_epoch AND t.state = 'importing';
END
$$;
COMMENT ON FUNCTION open_tenant(uuid, integer, varchar, bigint) IS
    'Lets a tenant that has come be served here; readers see its new events once hold_feed is given back';
REVOKE EXECUTE ON FUNCTION open_tenant(uuid, integer, varchar, bigint) FROM PUBLIC;

-- migrate:down
DROP FUNCTION open_tenant(uuid, integer, varchar, bigint);
DROP FUNCTION flip_tenant(uuid, uuid, integer, text, text, boolean);
DROP FUNCTION retire_sagas(uuid);
DROP FUNCTION readers_in_the_way(uuid, bigint);
DROP FUNCTION hold_feed();
DROP FUNCTION raise_event_position(bigint);
DROP FUNCTION feed_beginning();
DROP FUNCTION refuse_while_moving();
DROP FUNCTION begin_import(uuid, uuid, bigint, bigint, bigint);
DROP TABLE tenant_transfers;
