-- Migration: Sagas
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: State of each saga and the journal of its steps
-- Standard: §3.3 Saga State Management

-- migrate:up
CREATE TABLE saga_instances (
    tenant_id uuid NOT NULL,
    saga_id uuid DEFAULT uuidv7() NOT NULL,
    saga_type varchar(100) NOT NULL,
    status varchar(50) DEFAULT 'started' NOT NULL,
    current_step integer DEFAULT 0 NOT NULL,
    saga_data jsonb NOT NULL,
    compensation_data jsonb,
    lease_owner varchar(100),
    lease_until timestamp with time zone,
    epoch integer DEFAULT 0 NOT NULL,
    next_retry_at timestamp with time zone,
    deadline_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_saga_instances PRIMARY KEY (tenant_id, saga_id),
    CONSTRAINT chk_saga_status CHECK (status IN ('started', 'completed', 'compensating', 'compensated', 'failed')),
    CONSTRAINT chk_current_step_positive CHECK (current_step >= 0)
);
CREATE INDEX idx_saga_instances_type_status ON saga_instances (tenant_id, saga_type, status);
COMMENT ON TABLE saga_instances IS 'Sagas: long transactions of several steps, each with its compensation';
COMMENT ON COLUMN saga_instances.tenant_id IS 'Tenant the saga works for';
COMMENT ON COLUMN saga_instances.saga_id IS 'Unique identifier of the saga';
COMMENT ON COLUMN saga_instances.saga_type IS 'Name of its definition';
COMMENT ON COLUMN saga_instances.status IS 'started, compensating, or ended: completed, compensated, failed (needs a human)';
COMMENT ON COLUMN saga_instances.current_step IS 'Step it has reached';
COMMENT ON COLUMN saga_instances.saga_data IS 'Input and what the steps have handed on';
COMMENT ON COLUMN saga_instances.compensation_data IS 'What the compensations need';
COMMENT ON COLUMN saga_instances.lease_owner IS 'Worker that runs it now';
COMMENT ON COLUMN saga_instances.lease_until IS 'When another worker may take it over';
COMMENT ON COLUMN saga_instances.epoch IS 'Rises with every take-over, so that a hung worker cannot write late';
COMMENT ON COLUMN saga_instances.next_retry_at IS 'When the next attempt is due';
COMMENT ON COLUMN saga_instances.deadline_at IS 'When it must have ended, or is compensated';
COMMENT ON COLUMN saga_instances.created_at IS 'When it was started';
COMMENT ON COLUMN saga_instances.updated_at IS 'When this row last changed';

CREATE TABLE saga_steps (
    tenant_id uuid NOT NULL,
    step_id uuid DEFAULT uuidv7() NOT NULL,
    saga_id uuid NOT NULL,
    step_number integer NOT NULL,
    step_type varchar(100) NOT NULL,
    attempt integer DEFAULT 1 NOT NULL,
    status varchar(50) DEFAULT 'pending' NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    error_message text,
    retry_count integer DEFAULT 0 NOT NULL,
    CONSTRAINT pk_saga_steps PRIMARY KEY (tenant_id, step_id),
    CONSTRAINT uq_saga_steps_saga_id_step_number_attempt UNIQUE (tenant_id, saga_id, step_number, attempt),
    CONSTRAINT fk_saga_steps_saga_id FOREIGN KEY (tenant_id, saga_id)
        REFERENCES saga_instances (tenant_id, saga_id) ON DELETE CASCADE,
    CONSTRAINT chk_step_status CHECK (status IN ('pending', 'running', 'completed', 'failed', 'compensated')),
    CONSTRAINT chk_step_number_positive CHECK (step_number >= 0),
    CONSTRAINT chk_attempt_positive CHECK (attempt > 0),
    CONSTRAINT chk_retry_count_positive CHECK (retry_count >= 0)
);
COMMENT ON TABLE saga_steps IS 'Journal of saga steps, one row for each attempt';
COMMENT ON COLUMN saga_steps.tenant_id IS 'Tenant the saga works for';
COMMENT ON COLUMN saga_steps.step_id IS 'Unique identifier of the attempt';
COMMENT ON COLUMN saga_steps.saga_id IS 'Saga it belongs to';
COMMENT ON COLUMN saga_steps.step_number IS 'Place of the step in the definition';
COMMENT ON COLUMN saga_steps.step_type IS 'Name of the step';
COMMENT ON COLUMN saga_steps.attempt IS 'Which attempt at the step, from 1';
COMMENT ON COLUMN saga_steps.status IS 'pending, running, completed, failed or compensated';
COMMENT ON COLUMN saga_steps.started_at IS 'When the attempt began';
COMMENT ON COLUMN saga_steps.completed_at IS 'When the attempt ended';
COMMENT ON COLUMN saga_steps.error_message IS 'Why it failed';
COMMENT ON COLUMN saga_steps.retry_count IS 'Attempts that failed before this one';

SELECT protect_table('saga_instances', 'true', 'INSERT, UPDATE');
SELECT protect_table('saga_steps', 'true', 'INSERT, UPDATE');
CREATE TRIGGER trg_saga_instances_updated_at BEFORE UPDATE ON saga_instances
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- migrate:down
DROP TABLE saga_steps;
DROP TABLE saga_instances;
