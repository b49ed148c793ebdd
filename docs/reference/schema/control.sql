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
-- Name: pg_stat_statements; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS pg_stat_statements WITH SCHEMA public;

--
-- Name: EXTENSION pg_stat_statements; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON EXTENSION pg_stat_statements IS 'track planning and execution statistics of all SQL statements executed';

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

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: erasures; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.erasures (
    tenant_id uuid NOT NULL,
    subject_id uuid NOT NULL,
    requested_at timestamp with time zone DEFAULT now() NOT NULL
);

--
-- Name: TABLE erasures; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.erasures IS 'Ledger of erasures, applied again after a restore; it says who and when, nothing of the person';

--
-- Name: COLUMN erasures.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.erasures.tenant_id IS 'Tenant that knew the person';

--
-- Name: COLUMN erasures.subject_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.erasures.subject_id IS 'The person';

--
-- Name: COLUMN erasures.requested_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.erasures.requested_at IS 'When the erasure was asked for, before anything was erased';

--
-- Name: moves; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.moves (
    move_id uuid DEFAULT uuidv7() NOT NULL,
    tenant_id uuid NOT NULL,
    source_shard_id uuid NOT NULL,
    target_shard_id uuid NOT NULL,
    source_schema character varying(63) NOT NULL,
    target_schema character varying(63) NOT NULL,
    placement character varying(20) NOT NULL,
    epoch integer NOT NULL,
    state character varying(20) DEFAULT 'planned'::character varying NOT NULL,
    row_count bigint DEFAULT 0 NOT NULL,
    size_bytes bigint DEFAULT 0 NOT NULL,
    checked_rows bigint,
    gap_ms numeric(12,3),
    last_error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    flipped_at timestamp with time zone,
    CONSTRAINT chk_moves_epoch_positive CHECK ((epoch > 0)),
    CONSTRAINT chk_moves_goes_somewhere CHECK (((source_shard_id <> target_shard_id) OR ((source_schema)::text <> (target_schema)::text))),
    CONSTRAINT chk_moves_placement CHECK (((placement)::text = ANY ((ARRAY['row'::character varying, 'schema'::character varying, 'database'::character varying])::text[]))),
    CONSTRAINT chk_moves_state CHECK (((state)::text = ANY ((ARRAY['planned'::character varying, 'copying'::character varying, 'following'::character varying, 'flipped'::character varying, 'published'::character varying, 'grace'::character varying, 'finished'::character varying, 'aborted'::character varying])::text[])))
);

--
-- Name: TABLE moves; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.moves IS 'Moves of tenants from shard to shard or from placement to placement; at most one under way for each';

--
-- Name: COLUMN moves.move_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.move_id IS 'Unique identifier of the move';

--
-- Name: COLUMN moves.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.tenant_id IS 'The tenant that moves';

--
-- Name: COLUMN moves.source_shard_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.source_shard_id IS 'Shard it leaves';

--
-- Name: COLUMN moves.target_shard_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.target_shard_id IS 'Shard it goes to; the same when only its placement changes';

--
-- Name: COLUMN moves.source_schema; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.source_schema IS 'Schema it leaves';

--
-- Name: COLUMN moves.target_schema; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.target_schema IS 'Schema it goes to';

--
-- Name: COLUMN moves.placement; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.placement IS 'Placement it gets';

--
-- Name: COLUMN moves.epoch; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.epoch IS 'Epoch of its placement at the target';

--
-- Name: COLUMN moves.state; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.state IS 'planned, copying, following; behind the point of no return flipped, published, grace, finished; or aborted';

--
-- Name: COLUMN moves.row_count; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.row_count IS 'Rows the tenant had when the move began, as the copying counts them';

--
-- Name: COLUMN moves.size_bytes; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.size_bytes IS 'About how large they are';

--
-- Name: COLUMN moves.checked_rows; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.checked_rows IS 'Rows compared between source and target before the flip';

--
-- Name: COLUMN moves.gap_ms; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.gap_ms IS 'For how long the fence kept writers waiting';

--
-- Name: COLUMN moves.last_error; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.last_error IS 'Why it stopped the last time';

--
-- Name: COLUMN moves.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.created_at IS 'When it was begun';

--
-- Name: COLUMN moves.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.updated_at IS 'When its state last changed';

--
-- Name: COLUMN moves.flipped_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.moves.flipped_at IS 'When the target became the tenant''s home; the grace period counts from then';

--
-- Name: placements; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.placements (
    tenant_id uuid NOT NULL,
    shard_id uuid NOT NULL,
    placement character varying(20) NOT NULL,
    state character varying(20) DEFAULT 'creating'::character varying NOT NULL,
    epoch integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_placements_epoch_positive CHECK ((epoch > 0)),
    CONSTRAINT chk_placements_placement CHECK (((placement)::text = ANY ((ARRAY['row'::character varying, 'schema'::character varying, 'database'::character varying])::text[]))),
    CONSTRAINT chk_placements_state CHECK (((state)::text = ANY ((ARRAY['creating'::character varying, 'open'::character varying, 'dropping'::character varying])::text[])))
);

--
-- Name: TABLE placements; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.placements IS 'Where each tenant lives: a hint to routers, the shard itself holds the truth';

--
-- Name: COLUMN placements.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.placements.tenant_id IS 'The tenant placed';

--
-- Name: COLUMN placements.shard_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.placements.shard_id IS 'The shard that holds it';

--
-- Name: COLUMN placements.placement; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.placements.placement IS 'How it lives there: row of shared tables, own schema, or own database';

--
-- Name: COLUMN placements.state; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.placements.state IS 'creating until the shard is ready, then open; dropping from the moment its deletion cannot be taken back';

--
-- Name: COLUMN placements.epoch; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.placements.epoch IS 'Rises with every move, so that a stale route is recognised';

--
-- Name: COLUMN placements.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.placements.created_at IS 'When the tenant was placed';

--
-- Name: COLUMN placements.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.placements.updated_at IS 'When this row last changed';

--
-- Name: purges; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.purges (
    tenant_id uuid NOT NULL,
    tenant_name character varying(255) NOT NULL,
    shard_name character varying(63) NOT NULL,
    deleted_count bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone
);

--
-- Name: TABLE purges; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.purges IS 'Dropped tenants whose data is being deleted, or was';

--
-- Name: COLUMN purges.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.purges.tenant_id IS 'Tenant that was dropped';

--
-- Name: COLUMN purges.tenant_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.purges.tenant_name IS 'What it was called';

--
-- Name: COLUMN purges.shard_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.purges.shard_name IS 'Shard that held it at the end';

--
-- Name: COLUMN purges.deleted_count; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.purges.deleted_count IS 'Rows deleted one by one so far; those of a schema that was dropped whole are not counted';

--
-- Name: COLUMN purges.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.purges.created_at IS 'When the deletion began; from then on nothing brings the tenant back';

--
-- Name: COLUMN purges.finished_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.purges.finished_at IS 'When nothing was left';

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
-- Name: shards; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.shards (
    shard_id uuid DEFAULT uuidv7() NOT NULL,
    shard_name character varying(63) NOT NULL,
    region character varying(63) NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_shards_shard_name_format CHECK (((shard_name)::text ~ '^[a-z][a-z0-9_]*$'::text))
);

--
-- Name: TABLE shards; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.shards IS 'Databases that hold tenants, each in one region';

--
-- Name: COLUMN shards.shard_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.shards.shard_id IS 'Unique identifier of the shard';

--
-- Name: COLUMN shards.shard_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.shards.shard_name IS 'Name under which the configuration gives its address';

--
-- Name: COLUMN shards.region; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.shards.region IS 'Region whose data this shard may hold';

--
-- Name: COLUMN shards.is_active; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.shards.is_active IS 'Whether new tenants may be placed here';

--
-- Name: COLUMN shards.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.shards.created_at IS 'When the shard was added';

--
-- Name: COLUMN shards.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.shards.updated_at IS 'When this row last changed';

--
-- Name: tenant_lookups; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.tenant_lookups (
    kind character varying(20) NOT NULL,
    lookup_digest bytea NOT NULL,
    tenant_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_tenant_lookups_digest_length CHECK ((octet_length(lookup_digest) = 16)),
    CONSTRAINT chk_tenant_lookups_kind CHECK (((kind)::text = ANY ((ARRAY['domain'::character varying, 'order'::character varying])::text[])))
);

--
-- Name: TABLE tenant_lookups; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.tenant_lookups IS 'Which tenants a domain or an order number belongs to';

--
-- Name: COLUMN tenant_lookups.kind; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_lookups.kind IS 'What is looked up: domain or order';

--
-- Name: COLUMN tenant_lookups.lookup_digest; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_lookups.lookup_digest IS 'HMAC of the domain or number under a key of the installation, first 16 bytes';

--
-- Name: COLUMN tenant_lookups.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_lookups.tenant_id IS 'The tenant that has it';

--
-- Name: COLUMN tenant_lookups.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenant_lookups.created_at IS 'When it was entered';

--
-- Name: tenants; Type: TABLE; Schema: cloudlab; Owner: -
--

CREATE TABLE cloudlab.tenants (
    tenant_id uuid DEFAULT uuidv7() NOT NULL,
    tenant_name character varying(255) NOT NULL,
    schema_name character varying(63) NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    pending character varying(20),
    drop_after timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT chk_tenants_dropped_is_not_active CHECK (((drop_after IS NULL) OR (NOT is_active))),
    CONSTRAINT chk_tenants_pending CHECK (((pending)::text = ANY ((ARRAY['suspend'::character varying, 'resume'::character varying, 'rename'::character varying, 'drop'::character varying])::text[]))),
    CONSTRAINT chk_tenants_schema_name_format CHECK (((schema_name)::text ~ '^[a-z][a-z0-9_]*$'::text)),
    CONSTRAINT chk_tenants_settings_is_object CHECK ((jsonb_typeof(settings) = 'object'::text)),
    CONSTRAINT chk_tenants_tenant_name_format CHECK (((tenant_name)::text ~ '^[a-z][a-z0-9-]{0,47}$'::text))
);

--
-- Name: TABLE tenants; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON TABLE cloudlab.tenants IS 'Customers of the platform and their configuration';

--
-- Name: COLUMN tenants.tenant_id; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenants.tenant_id IS 'Unique identifier of the tenant, first in every key of its data';

--
-- Name: COLUMN tenants.tenant_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenants.tenant_name IS 'Name by which people and addresses call the tenant';

--
-- Name: COLUMN tenants.schema_name; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenants.schema_name IS 'Schema that holds its tables: the shared one, or its own';

--
-- Name: COLUMN tenants.is_active; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenants.is_active IS 'Whether sessions may be opened for it';

--
-- Name: COLUMN tenants.settings; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenants.settings IS 'Tenant-specific configuration settings';

--
-- Name: COLUMN tenants.pending; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenants.pending IS 'What is intended and not yet done on the shard: suspend, resume, rename or drop; NULL when both agree';

--
-- Name: COLUMN tenants.drop_after; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenants.drop_after IS 'From when on its data may be deleted, NULL when no drop was asked for';

--
-- Name: COLUMN tenants.created_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenants.created_at IS 'When the tenant was created';

--
-- Name: COLUMN tenants.updated_at; Type: COMMENT; Schema: cloudlab; Owner: -
--

COMMENT ON COLUMN cloudlab.tenants.updated_at IS 'When this row last changed';

--
-- Name: erasures pk_erasures; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.erasures
    ADD CONSTRAINT pk_erasures PRIMARY KEY (tenant_id, subject_id);

--
-- Name: moves pk_moves; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.moves
    ADD CONSTRAINT pk_moves PRIMARY KEY (move_id);

--
-- Name: placements pk_placements; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.placements
    ADD CONSTRAINT pk_placements PRIMARY KEY (tenant_id);

--
-- Name: purges pk_purges; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.purges
    ADD CONSTRAINT pk_purges PRIMARY KEY (tenant_id);

--
-- Name: schema_migrations pk_schema_migrations; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.schema_migrations
    ADD CONSTRAINT pk_schema_migrations PRIMARY KEY (version);

--
-- Name: shards pk_shards; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.shards
    ADD CONSTRAINT pk_shards PRIMARY KEY (shard_id);

--
-- Name: tenant_lookups pk_tenant_lookups; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.tenant_lookups
    ADD CONSTRAINT pk_tenant_lookups PRIMARY KEY (kind, lookup_digest, tenant_id);

--
-- Name: tenants pk_tenants; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.tenants
    ADD CONSTRAINT pk_tenants PRIMARY KEY (tenant_id);

--
-- Name: shards uq_shards_shard_name; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.shards
    ADD CONSTRAINT uq_shards_shard_name UNIQUE (shard_name);

--
-- Name: tenants uq_tenants_tenant_name; Type: CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.tenants
    ADD CONSTRAINT uq_tenants_tenant_name UNIQUE (tenant_name);

--
-- Name: idx_moves_source_shard_id; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_moves_source_shard_id ON cloudlab.moves USING btree (source_shard_id);

--
-- Name: idx_moves_target_shard_id; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_moves_target_shard_id ON cloudlab.moves USING btree (target_shard_id);

--
-- Name: idx_moves_tenant_id; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_moves_tenant_id ON cloudlab.moves USING btree (tenant_id, created_at);

--
-- Name: idx_placements_shard_id; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_placements_shard_id ON cloudlab.placements USING btree (shard_id);

--
-- Name: idx_tenant_lookups_tenant_id; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE INDEX idx_tenant_lookups_tenant_id ON cloudlab.tenant_lookups USING btree (tenant_id);

--
-- Name: uq_moves_tenant_id_under_way; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE UNIQUE INDEX uq_moves_tenant_id_under_way ON cloudlab.moves USING btree (tenant_id) WHERE ((state)::text = ANY ((ARRAY['planned'::character varying, 'copying'::character varying, 'following'::character varying, 'flipped'::character varying, 'published'::character varying])::text[]));

--
-- Name: uq_tenant_lookups_domain; Type: INDEX; Schema: cloudlab; Owner: -
--

CREATE UNIQUE INDEX uq_tenant_lookups_domain ON cloudlab.tenant_lookups USING btree (lookup_digest) WHERE ((kind)::text = 'domain'::text);

--
-- Name: moves trg_moves_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_moves_updated_at BEFORE UPDATE ON cloudlab.moves FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: placements trg_placements_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_placements_updated_at BEFORE UPDATE ON cloudlab.placements FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: shards trg_shards_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_shards_updated_at BEFORE UPDATE ON cloudlab.shards FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: tenants trg_tenants_updated_at; Type: TRIGGER; Schema: cloudlab; Owner: -
--

CREATE TRIGGER trg_tenants_updated_at BEFORE UPDATE ON cloudlab.tenants FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();

--
-- Name: moves fk_moves_source_shard_id; Type: FK CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.moves
    ADD CONSTRAINT fk_moves_source_shard_id FOREIGN KEY (source_shard_id) REFERENCES cloudlab.shards(shard_id) ON DELETE RESTRICT;

--
-- Name: moves fk_moves_target_shard_id; Type: FK CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.moves
    ADD CONSTRAINT fk_moves_target_shard_id FOREIGN KEY (target_shard_id) REFERENCES cloudlab.shards(shard_id) ON DELETE RESTRICT;

--
-- Name: placements fk_placements_shard_id; Type: FK CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.placements
    ADD CONSTRAINT fk_placements_shard_id FOREIGN KEY (shard_id) REFERENCES cloudlab.shards(shard_id) ON DELETE RESTRICT;

--
-- Name: placements fk_placements_tenant_id; Type: FK CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.placements
    ADD CONSTRAINT fk_placements_tenant_id FOREIGN KEY (tenant_id) REFERENCES cloudlab.tenants(tenant_id) ON DELETE CASCADE;

--
-- Name: tenant_lookups fk_tenant_lookups_tenant_id; Type: FK CONSTRAINT; Schema: cloudlab; Owner: -
--

ALTER TABLE ONLY cloudlab.tenant_lookups
    ADD CONSTRAINT fk_tenant_lookups_tenant_id FOREIGN KEY (tenant_id) REFERENCES cloudlab.tenants(tenant_id) ON DELETE CASCADE;

--
-- Name: SCHEMA cloudlab; Type: ACL; Schema: -; Owner: -
--

GRANT USAGE ON SCHEMA cloudlab TO application_readonly;
GRANT USAGE ON SCHEMA cloudlab TO application_readwrite;
GRANT USAGE ON SCHEMA cloudlab TO application_admin;
GRANT USAGE ON SCHEMA cloudlab TO platform_worker;

--
-- Name: TABLE erasures; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT,INSERT ON TABLE cloudlab.erasures TO application_readwrite;
GRANT SELECT,INSERT ON TABLE cloudlab.erasures TO application_admin;

--
-- Name: TABLE moves; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.moves TO application_readonly;
GRANT SELECT ON TABLE cloudlab.moves TO application_readwrite;
GRANT SELECT ON TABLE cloudlab.moves TO application_admin;
GRANT SELECT ON TABLE cloudlab.moves TO platform_worker;

--
-- Name: TABLE placements; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.placements TO application_readonly;
GRANT SELECT ON TABLE cloudlab.placements TO application_readwrite;
GRANT SELECT ON TABLE cloudlab.placements TO application_admin;
GRANT SELECT ON TABLE cloudlab.placements TO platform_worker;

--
-- Name: TABLE purges; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.purges TO application_admin;
GRANT SELECT ON TABLE cloudlab.purges TO platform_worker;

--
-- Name: TABLE shards; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.shards TO application_readonly;
GRANT SELECT ON TABLE cloudlab.shards TO application_readwrite;
GRANT SELECT ON TABLE cloudlab.shards TO application_admin;
GRANT SELECT ON TABLE cloudlab.shards TO platform_worker;

--
-- Name: TABLE tenants; Type: ACL; Schema: cloudlab; Owner: -
--

GRANT SELECT ON TABLE cloudlab.tenants TO application_readonly;
GRANT SELECT ON TABLE cloudlab.tenants TO application_readwrite;
GRANT SELECT ON TABLE cloudlab.tenants TO application_admin;
GRANT SELECT ON TABLE cloudlab.tenants TO platform_worker;

--
-- PostgreSQL database dump complete
--
