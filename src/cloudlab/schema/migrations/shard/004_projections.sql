-- Migration: Projection checkpoints
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: How far each asynchronous projection has read the feed of this shard
-- Standard: §3.1 Eventual Consistency (AP from CAP)

-- migrate:up
CREATE TABLE projection_checkpoints (
    projection_name varchar(100) NOT NULL,
    epoch integer DEFAULT 1 NOT NULL,
    event_position bigint DEFAULT 0 NOT NULL,
    failed_attempts integer DEFAULT 0 NOT NULL,
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_projection_checkpoints PRIMARY KEY (projection_name),
    CONSTRAINT chk_projection_checkpoints_position_not_negative CHECK (event_position >= 0),
    CONSTRAINT chk_projection_checkpoints_attempts_not_negative CHECK (failed_attempts >= 0)
);
COMMENT ON TABLE projection_checkpoints IS 'Readers of the feed: its row lock is the lease, its position the progress';
COMMENT ON COLUMN projection_checkpoints.projection_name IS 'Name of the projection';
COMMENT ON COLUMN projection_checkpoints.epoch IS 'Epoch of the shard in which the position was reached';
COMMENT ON COLUMN projection_checkpoints.event_position IS 'Position of the last event applied';
COMMENT ON COLUMN projection_checkpoints.failed_attempts IS 'Attempts at the next batch that failed in a row';
COMMENT ON COLUMN projection_checkpoints.last_error IS 'What the last failed attempt said';
COMMENT ON COLUMN projection_checkpoints.created_at IS 'When the projection first ran here';
COMMENT ON COLUMN projection_checkpoints.updated_at IS 'When it last advanced or failed';
CREATE TRIGGER trg_projection_checkpoints_updated_at BEFORE UPDATE ON projection_checkpoints
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
GRANT SELECT, INSERT, UPDATE ON projection_checkpoints TO platform_worker;

-- migrate:down
DROP TABLE projection_checkpoints;
