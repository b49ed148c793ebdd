-- Migration: Records of behaviour and operation
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Behaviour of customers, log lines worth keeping, and the read model that placing an order keeps
-- Standard: §1.2 Data Domain Mapping, §8.1 Business Rule Compliance

-- migrate:up
CREATE TABLE analytics_events (
    tenant_id uuid NOT NULL,
    analytics_event_id uuid DEFAULT uuidv7() NOT NULL,
    user_id uuid,
    session_id varchar(100) NOT NULL,
    event_name varchar(100) NOT NULL,
    properties jsonb DEFAULT '{}' NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_analytics_events PRIMARY KEY (tenant_id, analytics_event_id)
);
CREATE INDEX idx_analytics_events_created_at ON analytics_events (tenant_id, created_at);
COMMENT ON TABLE analytics_events IS 'What customers did in the shop; kept two years';
COMMENT ON COLUMN analytics_events.tenant_id IS 'Tenant whose shop it was';
COMMENT ON COLUMN analytics_events.analytics_event_id IS 'Unique identifier of the record';
COMMENT ON COLUMN analytics_events.user_id IS 'Customer, NULL when not logged in; no foreign key, the record outlives the account';
COMMENT ON COLUMN analytics_events.session_id IS 'Visit it belongs to';
COMMENT ON COLUMN analytics_events.event_name IS 'What was done (product_view, add_to_cart, …)';
COMMENT ON COLUMN analytics_events.properties IS 'Details by name';
COMMENT ON COLUMN analytics_events.created_at IS 'When it was done';

CREATE TABLE application_logs (
    tenant_id uuid NOT NULL,
    log_id uuid DEFAULT uuidv7() NOT NULL,
    level varchar(10) NOT NULL,
    logger varchar(200) NOT NULL,
    message text NOT NULL,
    context jsonb DEFAULT '{}' NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_application_logs PRIMARY KEY (tenant_id, log_id),
    CONSTRAINT chk_application_logs_level CHECK (level IN ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'))
);
CREATE INDEX idx_application_logs_created_at ON application_logs (tenant_id, created_at);
COMMENT ON TABLE application_logs IS 'Log lines that belong to a tenant; kept one year';
COMMENT ON COLUMN application_logs.tenant_id IS 'Tenant it is about';
COMMENT ON COLUMN application_logs.log_id IS 'Unique identifier of the line';
COMMENT ON COLUMN application_logs.level IS 'DEBUG, INFO, WARNING, ERROR or CRITICAL';
COMMENT ON COLUMN application_logs.logger IS 'Module that wrote it';
COMMENT ON COLUMN application_logs.message IS 'Constant message';
COMMENT ON COLUMN application_logs.context IS 'Values by name, without personal data';
COMMENT ON COLUMN application_logs.created_at IS 'When it was written';

CREATE TABLE user_order_summaries (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    currency char(3) NOT NULL,
    order_count integer DEFAULT 0 NOT NULL,
    placed_amount numeric(19,4) DEFAULT 0 NOT NULL,
    last_placed_at timestamp with time zone NOT NULL,
    CONSTRAINT pk_user_order_summaries PRIMARY KEY (tenant_id, user_id, currency),
    CONSTRAINT fk_user_order_summaries_user_id FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, user_id) ON DELETE CASCADE,
    CONSTRAINT chk_user_order_summaries_order_count_not_negative CHECK (order_count >= 0)
);
COMMENT ON TABLE user_order_summaries IS 'Read model: what each customer has ordered, kept in the transaction of the order';
COMMENT ON COLUMN user_order_summaries.tenant_id IS 'Tenant in whose shop';
COMMENT ON COLUMN user_order_summaries.user_id IS 'The customer';
COMMENT ON COLUMN user_order_summaries.currency IS 'ISO 4217 currency of the amount';
COMMENT ON COLUMN user_order_summaries.order_count IS 'Orders placed';
COMMENT ON COLUMN user_order_summaries.placed_amount IS 'Sum of their totals';
COMMENT ON COLUMN user_order_summaries.last_placed_at IS 'When the latest was placed';

SELECT protect_table('analytics_events', 'user_id = (SELECT cloudlab.current_user_id())', 'INSERT');
SELECT protect_table('application_logs', '(SELECT cloudlab.current_user_id()) IS NULL', 'INSERT');
SELECT protect_read_model('user_order_summaries', 'user_id = (SELECT cloudlab.current_user_id())');

-- migrate:down
DROP TABLE user_order_summaries;
DROP TABLE application_logs;
DROP TABLE analytics_events;
