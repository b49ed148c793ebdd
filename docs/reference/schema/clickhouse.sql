CREATE TABLE cloudlab.order_items
(
    `tenant_id` UUID COMMENT 'Tenant in whose shop it was placed',
    `order_id` UUID COMMENT 'The order',
    `line_number` UInt32 COMMENT 'Place of the line in the order',
    `product_id` UUID COMMENT 'Product bought',
    `vendor_id` UUID COMMENT 'Vendor who sold it',
    `sku` String COMMENT 'SKU of the product then',
    `quantity` Int32 COMMENT 'Units bought',
    `price` Decimal(38, 4) COMMENT 'Price of one unit then',
    `currency` LowCardinality(String) COMMENT 'ISO 4217 currency of the price',
    `placed_at` DateTime64(6, 'UTC') COMMENT 'When the customer placed the order',
    `epoch` UInt32 COMMENT 'Epoch of the shard',
    `event_position` Int64 COMMENT 'Event the line comes from'
)
ENGINE = ReplacingMergeTree(event_position)
ORDER BY (tenant_id, order_id, line_number)
SETTINGS index_granularity = 8192
COMMENT 'Lines of orders, one row each after merging';

CREATE TABLE cloudlab.orders
(
    `tenant_id` UUID COMMENT 'Tenant in whose shop it was placed',
    `order_id` UUID COMMENT 'The order',
    `order_number` String COMMENT 'Number shown to people',
    `user_id` Nullable(UUID) COMMENT 'Customer, NULL for a guest',
    `status` LowCardinality(String) COMMENT 'State at this version',
    `currency` LowCardinality(String) COMMENT 'ISO 4217 currency of the amount',
    `total_amount` Decimal(38, 4) COMMENT 'What the customer pays',
    `line_count` UInt32 COMMENT 'How many lines it has',
    `placed_at` DateTime64(6, 'UTC') COMMENT 'When the customer placed it',
    `order_version` UInt32 COMMENT 'Version of the order; the highest is the truth',
    `epoch` UInt32 COMMENT 'Epoch of the shard',
    `event_position` Int64 COMMENT 'Event this version comes from'
)
ENGINE = ReplacingMergeTree(order_version)
ORDER BY (tenant_id, order_id)
SETTINGS index_granularity = 8192
COMMENT 'Orders, one row each after merging';

CREATE TABLE cloudlab.payments
(
    `tenant_id` UUID COMMENT 'Tenant that is paid',
    `payment_id` UUID COMMENT 'The payment',
    `order_id` UUID COMMENT 'Order it pays for',
    `payment_method` LowCardinality(String) COMMENT 'Way it was paid',
    `status` LowCardinality(String) COMMENT 'What has become of it',
    `currency` LowCardinality(String) COMMENT 'ISO 4217 currency of its amounts',
    `captured_amount` Decimal(38, 4) COMMENT 'Amount received',
    `refunded_amount` Decimal(38, 4) COMMENT 'Amount given back',
    `paid_at` DateTime64(6, 'UTC') COMMENT 'When it was captured',
    `epoch` UInt32 COMMENT 'Epoch of the shard',
    `event_position` Int64 COMMENT 'Event this version comes from'
)
ENGINE = ReplacingMergeTree(event_position)
ORDER BY (tenant_id, payment_id)
SETTINGS index_granularity = 8192
COMMENT 'Payments, one row each after merging';

CREATE TABLE cloudlab.schema_migrations
(
    `version` String COMMENT 'Migration version identifier',
    `applied_at` DateTime64(3, 'UTC') COMMENT 'When the migration was applied',
    `checksum` String COMMENT 'SHA256 checksum of migration file',
    `description` String COMMENT 'Title of the migration',
    `direction` String COMMENT 'Which section ran last or is running: up or down',
    `running_statement` UInt32 COMMENT 'Statement reached, counted from 1; 0 when the section ended',
    `revision` UInt64 COMMENT 'Nanoseconds of the clock: the newest row of a version counts'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY version
SETTINGS index_granularity = 8192
COMMENT 'Tracks applied database migrations';
