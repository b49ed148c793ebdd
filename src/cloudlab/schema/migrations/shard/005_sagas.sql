-- Migration: Sagas
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: State of each saga, the journal of its steps, who runs it, and what operators did to it
-- Standard: §3.3 Saga State Management

-- migrate:up
CREATE TABLE saga_instances (
    tenant_id uuid NOT NULL,
    saga_id uuid DEFAULT uuidv7() NOT NULL,
    saga_type varchar(100) NOT NULL,
    definition_version integer DEFAULT 1 NOT NULL,
    saga_key varchar(200),
    status varchar(50) DEFAULT 'running' NOT NULL,
    current_step integer DEFAULT 0 NOT NULL,
    pivot_step integer,
    saga_data jsonb NOT NULL,
    compensation_data jsonb,
    lease_owner uuid,
    epoch integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT now(),
    deadline_at timestamp with time zone,
    resumed_at timestamp with time zone,
    waiting_for varchar(100),
    waiting_on uuid,
    correlation_id uuid DEFAULT uuidv7() NOT NULL,
    causation_id uuid,
    started_by varchar(200),
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_saga_instances PRIMARY KEY (tenant_id, saga_id),
    -- The tenant stands last: a plan made before there are statistics must not take this for the way to a saga by its id.
    CONSTRAINT uq_saga_instances_saga_key UNIQUE (saga_key, saga_type, tenant_id),
    CONSTRAINT chk_saga_status CHECK (status IN ('running', 'completed', 'compensating', 'compensated', 'failed')),
    CONSTRAINT chk_saga_ended CHECK ((next_at IS NULL) = (status IN ('completed', 'compensated', 'failed'))),
    CONSTRAINT chk_saga_waiting CHECK ((waiting_for IS NULL) = (waiting_on IS NULL)),
    CONSTRAINT chk_definition_version_positive CHECK (definition_version > 0),
    CONSTRAINT chk_current_step_positive CHECK (current_step >= 0)
) WITH (fillfactor = 50);
-- All that a worker asks when it looks for work; what has ended is not in it.
CREATE INDEX idx_saga_instances_live ON saga_instances (saga_type, definition_version, tenant_id, next_at)
    WHERE next_at IS NOT NULL;
CREATE INDEX idx_saga_instances_waiting_on ON saga_instances (tenant_id, waiting_on) WHERE waiting_on IS NOT NULL;
CREATE INDEX idx_saga_instances_failed ON saga_instances (tenant_id, saga_id) WHERE status = 'failed';
COMMENT ON TABLE saga_instances IS 'Sagas: long transactions of several steps, each with its compensation';
COMMENT ON COLUMN saga_instances.tenant_id IS 'Tenant the saga works for';
COMMENT ON COLUMN saga_instances.saga_id IS 'Unique identifier of the saga';
COMMENT ON COLUMN saga_instances.saga_type IS 'Name of its definition';
COMMENT ON COLUMN saga_instances.definition_version IS 'Version of the definition it was started with, and ends with';
COMMENT ON COLUMN saga_instances.saga_key IS 'Key chosen by the starter: one saga of a name for each key, however often it is started';
COMMENT ON COLUMN saga_instances.status IS 'running, compensating, or ended: completed, compensated, failed (needs a human)';
COMMENT ON COLUMN saga_instances.current_step IS 'Step it has reached, counted from 0';
COMMENT ON COLUMN saga_instances.pivot_step IS 'Step behind which there is only forward';
COMMENT ON COLUMN saga_instances.saga_data IS 'What it was started with';
COMMENT ON COLUMN saga_instances.compensation_data IS 'Why it is compensated: the step that failed and its error, or who asked';
COMMENT ON COLUMN saga_instances.lease_owner IS 'Worker that runs it now';
COMMENT ON COLUMN saga_instances.epoch IS 'Rises with every claim and every action of an operator; who holds an older one cannot write any more';
COMMENT ON COLUMN saga_instances.next_at IS
    'When it is due: new, retry, timer, time limit, or the end of its lease; NULL when nothing is to be done any more';
COMMENT ON COLUMN saga_instances.deadline_at IS 'When it must have passed its pivot or ended, or is compensated';
COMMENT ON COLUMN saga_instances.resumed_at IS 'When an operator let it go on; attempts are counted from then';
COMMENT ON COLUMN saga_instances.waiting_for IS 'Type of the event it waits for';
COMMENT ON COLUMN saga_instances.waiting_on IS 'Aggregate whose event it waits for';
COMMENT ON COLUMN saga_instances.correlation_id IS 'Of the command that started it; the events of its steps carry it too';
COMMENT ON COLUMN saga_instances.causation_id IS 'Event because of which it was started';
COMMENT ON COLUMN saga_instances.started_by IS 'Who started it';
COMMENT ON COLUMN saga_instances.created_at IS 'When it was started';
COMMENT ON COLUMN saga_instances.updated_at IS 'When this row last changed';

CREATE TABLE saga_steps (
    tenant_id uuid NOT NULL,
    saga_id uuid NOT NULL,
    step_number integer NOT NULL,
    step_type varchar(120) NOT NULL,
    direction varchar(10) DEFAULT 'do' NOT NULL,
    attempt integer DEFAULT 1 NOT NULL,
    status varchar(50) DEFAULT 'pending' NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    result jsonb,
    error_message text,
    CONSTRAINT pk_saga_steps PRIMARY KEY (tenant_id, saga_id, step_type, direction, attempt),
    CONSTRAINT fk_saga_steps_saga_id FOREIGN KEY (tenant_id, saga_id)
        REFERENCES saga_instances (tenant_id, saga_id) ON DELETE CASCADE,
    CONSTRAINT chk_step_direction CHECK (direction IN ('do', 'undo')),
    CONSTRAINT chk_step_status CHECK (
        status IN ('pending', 'running', 'completed', 'failed', 'unknown', 'skipped', 'compensated')),
    CONSTRAINT chk_step_number_positive CHECK (step_number >= 0),
    CONSTRAINT chk_attempt_positive CHECK (attempt > 0)
);
COMMENT ON TABLE saga_steps IS 'Journal of saga steps, one row for each attempt';
COMMENT ON COLUMN saga_steps.tenant_id IS 'Tenant the saga works for';
COMMENT ON COLUMN saga_steps.saga_id IS 'Saga it belongs to';
COMMENT ON COLUMN saga_steps.step_number IS 'Place of the step in the definition; parallel steps share one';
COMMENT ON COLUMN saga_steps.step_type IS 'Name of the step, unique in its saga';
COMMENT ON COLUMN saga_steps.direction IS 'do, or undo: its compensation';
COMMENT ON COLUMN saga_steps.attempt IS 'Which attempt, from 1';
COMMENT ON COLUMN saga_steps.status IS
    'pending, running, completed, failed, unknown (it may have happened), skipped by an operator, or compensated';
COMMENT ON COLUMN saga_steps.started_at IS 'When the attempt began';
COMMENT ON COLUMN saga_steps.completed_at IS 'When the attempt ended';
COMMENT ON COLUMN saga_steps.result IS 'What the step handed on';
COMMENT ON COLUMN saga_steps.error_message IS 'Why it failed';

CREATE TABLE saga_actions (
    tenant_id uuid NOT NULL,
    action_id uuid DEFAULT uuidv7() NOT NULL,
    saga_id uuid NOT NULL,
    action varchar(20) NOT NULL,
    step_type varchar(120),
    actor varchar(200) NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_saga_actions PRIMARY KEY (tenant_id, action_id),
    CONSTRAINT fk_saga_actions_saga_id FOREIGN KEY (tenant_id, saga_id)
        REFERENCES saga_instances (tenant_id, saga_id) ON DELETE CASCADE,
    CONSTRAINT chk_saga_action CHECK (action IN ('retry', 'undo', 'skip', 'cancel', 'migrate'))
);
CREATE INDEX idx_saga_actions_saga_id ON saga_actions (tenant_id, saga_id);
COMMENT ON TABLE saga_actions IS 'What operators did to sagas, and why';
COMMENT ON COLUMN saga_actions.tenant_id IS 'Tenant the saga works for';
COMMENT ON COLUMN saga_actions.action_id IS 'Unique identifier of the action';
COMMENT ON COLUMN saga_actions.saga_id IS 'Saga it was done to';
COMMENT ON COLUMN saga_actions.action IS 'retry, undo, skip, cancel or migrate';
COMMENT ON COLUMN saga_actions.step_type IS 'Step that was skipped';
COMMENT ON COLUMN saga_actions.actor IS 'Who did it';
COMMENT ON COLUMN saga_actions.reason IS 'Why';
COMMENT ON COLUMN saga_actions.created_at IS 'When';

SELECT protect_table('saga_instances', 'true', 'INSERT, UPDATE');
SELECT protect_table('saga_steps', 'true', 'INSERT, UPDATE');
SELECT protect_table('saga_actions', 'true', 'INSERT');
-- A worker hands sagas out; what they do is written in a session of their tenant.
CREATE POLICY runner_policy ON saga_instances FOR UPDATE TO platform_worker USING (true) WITH CHECK (true);
GRANT UPDATE (lease_owner, epoch, next_at, updated_at) ON saga_instances TO platform_worker;
CREATE TRIGGER trg_saga_instances_updated_at BEFORE UPDATE ON saga_instances
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE FUNCTION start_saga(
    p_saga_id uuid, p_type varchar, p_version integer, p_key varchar, p_pivot integer, p_data jsonb,
    p_deadline interval, p_correlation_id uuid, p_causation_id uuid, p_actor varchar, p_worker uuid, p_lease interval)
    RETURNS uuid
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
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
COMMENT ON FUNCTION start_saga(uuid, varchar, integer, varchar, integer, jsonb, interval, uuid, uuid, varchar, uuid,
    interval) IS
    'Starts a saga, claimed already for a worker that goes on with it; or returns the one of the same key and data';

-- A tenant gets as many places as there are for each tenant with work and one more: whoever comes next finds room.
-- Plans are kept for long and must not be made for the size that the table has at the beginning.
CREATE FUNCTION claim_sagas(
    p_worker uuid, p_lease interval, p_types varchar[], p_versions integer[], p_slots integer,
    p_busy_tenants uuid[], p_busy_counts integer[])
    RETURNS TABLE (tenant_id uuid, saga_id uuid, saga_type varchar, definition_version integer, status varchar,
                   saga_data text, epoch integer, deadline_at timestamp with time zone,
                   resumed_at timestamp with time zone, correlation_id uuid, causation_id uuid, started_by varchar,
                   journal text)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_bitmapscan = off
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
COMMENT ON FUNCTION claim_sagas(uuid, interval, varchar[], integer[], integer, uuid[], integer[]) IS
    'Due sagas of these definitions for one worker, under a lease, by turns of their tenants, each with its journal';

CREATE FUNCTION renew_sagas(
    p_worker uuid, p_lease interval, p_tenant_ids uuid[], p_saga_ids uuid[], p_epochs integer[]) RETURNS uuid[]
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
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
COMMENT ON FUNCTION renew_sagas(uuid, interval, uuid[], uuid[], integer[]) IS
    'Extends the leases of a worker; returns the sagas that somebody else has now';

CREATE FUNCTION journal_sagas(
    p_saga_ids uuid[], p_epochs integer[], p_current_steps integer[], p_statuses varchar[], p_wakes float8[],
    p_compensations jsonb[], p_waiting_for varchar[], p_waiting_on uuid[],
    p_step_saga_ids uuid[], p_step_numbers integer[], p_step_types varchar[], p_directions varchar[],
    p_attempts integer[], p_step_statuses varchar[], p_started timestamp with time zone[],
    p_completed timestamp with time zone[], p_results jsonb[], p_errors text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
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
COMMENT ON FUNCTION journal_sagas(uuid[], integer[], integer[], varchar[], float8[], jsonb[], varchar[], uuid[],
    uuid[], integer[], varchar[], varchar[], integer[], varchar[], timestamp with time zone[],
    timestamp with time zone[], jsonb[], text[]) IS
    'Writes what several sagas of this tenant have come to, all or none: refused when one of them has another owner now';

CREATE FUNCTION steer_saga(
    p_saga_id uuid, p_action varchar, p_step varchar, p_version integer, p_actor varchar, p_reason text) RETURNS varchar
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
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
COMMENT ON FUNCTION steer_saga(uuid, varchar, varchar, integer, varchar, text) IS
    'What an operator does to a saga, on record with who and why; whoever runs it now cannot write any more';

-- migrate:down
DROP FUNCTION steer_saga(uuid, varchar, varchar, integer, varchar, text);
DROP FUNCTION journal_sagas(uuid[], integer[], integer[], varchar[], float8[], jsonb[], varchar[], uuid[],
    uuid[], integer[], varchar[], varchar[], integer[], varchar[], timestamp with time zone[],
    timestamp with time zone[], jsonb[], text[]);
DROP FUNCTION renew_sagas(uuid, interval, uuid[], uuid[], integer[]);
DROP FUNCTION claim_sagas(uuid, interval, varchar[], integer[], integer, uuid[], integer[]);
DROP FUNCTION start_saga(uuid, varchar, integer, varchar, integer, jsonb, interval, uuid, uuid, varchar, uuid, interval);
DROP TABLE saga_actions;
DROP TABLE saga_steps;
DROP TABLE saga_instances;
