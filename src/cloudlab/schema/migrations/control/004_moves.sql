-- Migration: Moves of tenants
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: The state machine of each move, so that whoever repeats a command knows where it stood
-- Standard: §7.2 Tenant-Based Sharding

-- migrate:up
-- cloudlab: ignore FK06 because the record of a move outlives its tenant
-- cloudlab: ignore TN01 because it says where tenants live, before a session is of one of them; no tenant logs in to this database
CREATE TABLE moves (
    move_id uuid DEFAULT uuidv7() NOT NULL,
    tenant_id uuid NOT NULL,
    source_shard_id uuid NOT NULL,
    target_shard_id uuid NOT NULL,
    source_schema varchar(63) NOT NULL,
    target_schema varchar(63) NOT NULL,
    placement varchar(20) NOT NULL,
    epoch integer NOT NULL,
    state varchar(20) DEFAULT 'planned' NOT NULL,
    row_count bigint DEFAULT 0 NOT NULL,
    size_bytes bigint DEFAULT 0 NOT NULL,
    checked_rows bigint,
    gap_ms numeric(12,3),
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    flipped_at timestamp with time zone,
    CONSTRAINT pk_moves PRIMARY KEY (move_id),
    CONSTRAINT fk_moves_source_shard_id FOREIGN KEY (source_shard_id) REFERENCES shards (shard_id) ON DELETE RESTRICT,
    CONSTRAINT fk_moves_target_shard_id FOREIGN KEY (target_shard_id) REFERENCES shards (shard_id) ON DELETE RESTRICT,
    CONSTRAINT chk_moves_placement CHECK (placement IN ('row', 'schema', 'database')),
    CONSTRAINT chk_moves_state CHECK (
        state IN ('planned', 'copying', 'following', 'flipped', 'published', 'grace', 'finished', 'aborted')),
    CONSTRAINT chk_moves_epoch_positive CHECK (epoch > 0),
    CONSTRAINT chk_moves_goes_somewhere CHECK (source_shard_id <> target_shard_id OR source_schema <> target_schema)
);
-- No foreign key to the tenant: what was done to it outlives it.
CREATE UNIQUE INDEX uq_moves_tenant_id_under_way ON moves (tenant_id)
    WHERE state IN ('planned', 'copying', 'following', 'flipped', 'published');
CREATE INDEX idx_moves_tenant_id ON moves (tenant_id, created_at);
CREATE INDEX idx_moves_source_shard_id ON moves (source_shard_id);
CREATE INDEX idx_moves_target_shard_id ON moves (target_shard_id);
COMMENT ON TABLE moves IS 'Moves of tenants from shard to shard or from placement to placement; at most one under way for each';
COMMENT ON COLUMN moves.move_id IS 'Unique identifier of the move';
COMMENT ON COLUMN moves.tenant_id IS 'The tenant that moves';
COMMENT ON COLUMN moves.source_shard_id IS 'Shard it leaves';
COMMENT ON COLUMN moves.target_shard_id IS 'Shard it goes to; the same when only its placement changes';
COMMENT ON COLUMN moves.source_schema IS 'Schema it leaves';
COMMENT ON COLUMN moves.target_schema IS 'Schema it goes to';
COMMENT ON COLUMN moves.placement IS 'Placement it gets';
COMMENT ON COLUMN moves.epoch IS 'Epoch of its placement at the target';
COMMENT ON COLUMN moves.state IS
    'planned, copying, following; behind the point of no return flipped, published, grace, finished; or aborted';
COMMENT ON COLUMN moves.row_count IS 'Rows the tenant had when the move began, as the copying counts them';
COMMENT ON COLUMN moves.size_bytes IS 'About how large they are';
COMMENT ON COLUMN moves.checked_rows IS 'Rows compared between source and target before the flip';
COMMENT ON COLUMN moves.gap_ms IS 'For how long the fence kept writers waiting';
COMMENT ON COLUMN moves.last_error IS 'Why it stopped the last time';
COMMENT ON COLUMN moves.created_at IS 'When it was begun';
COMMENT ON COLUMN moves.updated_at IS 'When its state last changed';
COMMENT ON COLUMN moves.flipped_at IS 'When the target became the tenant''s home; the grace period counts from then';
CREATE TRIGGER trg_moves_updated_at BEFORE UPDATE ON moves FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
GRANT SELECT ON moves TO application_readonly, application_readwrite, application_admin, platform_worker;

-- migrate:down
DROP TABLE moves;
