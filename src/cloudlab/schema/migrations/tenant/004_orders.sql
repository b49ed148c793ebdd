-- Migration: Orders
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Orders with their items and the reservations of their stock; the states an order may go through
-- Standard: §2.3 Primary Key Standards, §5.1 Primary Indexes, §5.1 Partial Indexes, §5.2 Pagination, §9.2 Row-Level Security

-- migrate:up
CREATE TABLE orders (
    tenant_id uuid NOT NULL,
    order_id uuid DEFAULT uuidv7() NOT NULL,
    user_id uuid,
    order_number varchar(50) NOT NULL,
    status order_status DEFAULT 'draft' NOT NULL,
    currency char(3) NOT NULL,
    subtotal_amount numeric(19,4) NOT NULL,
    discount_amount numeric(19,4) DEFAULT 0 NOT NULL,
    tax_amount numeric(19,4) DEFAULT 0 NOT NULL,
    shipping_amount numeric(19,4) DEFAULT 0 NOT NULL,
    rounding_amount numeric(19,4) DEFAULT 0 NOT NULL,
    total_amount numeric(19,4) NOT NULL,
    line_count integer NOT NULL,
    order_version integer DEFAULT 1 NOT NULL,
    placed_at timestamp with time zone,
    paid_at timestamp with time zone,
    processing_at timestamp with time zone,
    shipped_at timestamp with time zone,
    delivered_at timestamp with time zone,
    cancelled_at timestamp with time zone,
    refunded_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_orders PRIMARY KEY (tenant_id, order_id),
    CONSTRAINT uq_orders_order_number UNIQUE (tenant_id, order_number),
    CONSTRAINT fk_orders_user_id FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, user_id) ON DELETE RESTRICT,
    CONSTRAINT chk_orders_currency_format CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT chk_orders_total_is_sum_of_parts CHECK (total_amount =
        subtotal_amount - discount_amount + tax_amount + shipping_amount + rounding_amount),
    CONSTRAINT chk_orders_rounding_is_small CHECK (abs(rounding_amount) <= 0.5),
    CONSTRAINT chk_orders_total_not_negative CHECK (total_amount >= 0),
    CONSTRAINT chk_orders_line_count_positive CHECK (line_count > 0),
    CONSTRAINT chk_orders_version_positive CHECK (order_version > 0)
) WITH (fillfactor = 90);
CREATE INDEX idx_orders_user_id_created_at ON orders (tenant_id, user_id, created_at DESC, order_id DESC);
CREATE INDEX idx_orders_created_at ON orders (tenant_id, created_at DESC, order_id DESC);
CREATE INDEX idx_orders_status_created_at ON orders (tenant_id, status, created_at)
    WHERE status IN ('pending_payment', 'paid', 'processing', 'shipped');
COMMENT ON TABLE orders IS 'Orders of customers';
COMMENT ON COLUMN orders.tenant_id IS 'Tenant in whose shop it was placed';
COMMENT ON COLUMN orders.order_id IS 'Unique identifier of the order';
COMMENT ON COLUMN orders.user_id IS 'Customer, NULL for a guest';
COMMENT ON COLUMN orders.order_number IS 'Number shown to people, unique in its tenant';
COMMENT ON COLUMN orders.status IS 'State; trg_orders_transition refuses an illegal change';
COMMENT ON COLUMN orders.currency IS 'ISO 4217 currency of all its amounts';
COMMENT ON COLUMN orders.subtotal_amount IS 'Exact sum of its lines';
COMMENT ON COLUMN orders.discount_amount IS 'Taken off the subtotal';
COMMENT ON COLUMN orders.tax_amount IS 'Tax on top';
COMMENT ON COLUMN orders.shipping_amount IS 'Shipping on top';
COMMENT ON COLUMN orders.rounding_amount IS 'What brings the sum to an amount that can be paid';
COMMENT ON COLUMN orders.total_amount IS 'What the customer pays';
COMMENT ON COLUMN orders.line_count IS 'How many lines it has';
COMMENT ON COLUMN orders.order_version IS 'Version for compare-and-set, equal to that of its event stream';
COMMENT ON COLUMN orders.placed_at IS 'When the customer placed it';
COMMENT ON COLUMN orders.paid_at IS 'When it was paid';
COMMENT ON COLUMN orders.processing_at IS 'When it went to the warehouse';
COMMENT ON COLUMN orders.shipped_at IS 'When it left the warehouse';
COMMENT ON COLUMN orders.delivered_at IS 'When it reached the customer';
COMMENT ON COLUMN orders.cancelled_at IS 'When it was cancelled';
COMMENT ON COLUMN orders.refunded_at IS 'When it was refunded in full';
COMMENT ON COLUMN orders.created_at IS 'When the order came into being; its place in listings';
COMMENT ON COLUMN orders.updated_at IS 'When this row last changed';

CREATE TABLE order_items (
    tenant_id uuid NOT NULL,
    order_id uuid NOT NULL,
    line_number integer NOT NULL,
    product_id uuid NOT NULL,
    vendor_id uuid NOT NULL,
    sku varchar(64) NOT NULL,
    name varchar(255) NOT NULL,
    quantity integer NOT NULL,
    price numeric(19,4) NOT NULL,
    line_total numeric(19,4) GENERATED ALWAYS AS (quantity * price) STORED NOT NULL,
    bucket_number smallint DEFAULT 0 NOT NULL,
    CONSTRAINT pk_order_items PRIMARY KEY (tenant_id, order_id, line_number),
    CONSTRAINT fk_order_items_order_id FOREIGN KEY (tenant_id, order_id)
        REFERENCES orders (tenant_id, order_id) ON DELETE CASCADE,
    CONSTRAINT fk_order_items_product_id FOREIGN KEY (tenant_id, product_id)
        REFERENCES products (tenant_id, product_id) ON DELETE RESTRICT,
    CONSTRAINT chk_order_items_quantity_positive CHECK (quantity > 0),
    CONSTRAINT chk_order_items_price_not_negative CHECK (price >= 0)
);
CREATE INDEX idx_order_items_product_id ON order_items (tenant_id, product_id);
COMMENT ON TABLE order_items IS 'Lines of an order, with what the product was called and cost when it was placed';
COMMENT ON COLUMN order_items.tenant_id IS 'Tenant in whose shop it was placed';
COMMENT ON COLUMN order_items.order_id IS 'Order that this is a line of';
COMMENT ON COLUMN order_items.line_number IS 'Place of the line in the order, from 1';
COMMENT ON COLUMN order_items.product_id IS 'Product bought';
COMMENT ON COLUMN order_items.vendor_id IS 'Vendor who sold it then';
COMMENT ON COLUMN order_items.sku IS 'SKU of the product then';
COMMENT ON COLUMN order_items.name IS 'Name of the product then';
COMMENT ON COLUMN order_items.quantity IS 'Units bought';
COMMENT ON COLUMN order_items.price IS 'Price of one unit then';
COMMENT ON COLUMN order_items.line_total IS 'Quantity times price, exact';
COMMENT ON COLUMN order_items.bucket_number IS 'Bucket of the inventory it was taken from, and goes back to; the same for all lines of a product';

CREATE TABLE inventory_reservations (
    tenant_id uuid NOT NULL,
    order_id uuid NOT NULL,
    status varchar(20) DEFAULT 'held' NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_inventory_reservations PRIMARY KEY (tenant_id, order_id),
    CONSTRAINT fk_inventory_reservations_order_id FOREIGN KEY (tenant_id, order_id)
        REFERENCES orders (tenant_id, order_id) ON DELETE CASCADE,
    CONSTRAINT chk_inventory_reservations_status CHECK (status IN ('held', 'claimed', 'released', 'shipped'))
);
CREATE INDEX idx_inventory_reservations_expires_at ON inventory_reservations (tenant_id, expires_at)
    WHERE status = 'held';
COMMENT ON TABLE inventory_reservations IS 'Stock held for an order: its items say which and how many';
COMMENT ON COLUMN inventory_reservations.tenant_id IS 'Tenant whose stock it is';
COMMENT ON COLUMN inventory_reservations.order_id IS 'Order it is held for';
COMMENT ON COLUMN inventory_reservations.status IS 'held until paid, claimed until shipped; or released';
COMMENT ON COLUMN inventory_reservations.expires_at IS 'Until when it is held without a payment';
COMMENT ON COLUMN inventory_reservations.created_at IS 'When it was made';

SELECT protect_table('orders', 'user_id = (SELECT cloudlab.current_user_id())', 'INSERT, UPDATE');
SELECT protect_table('order_items',
    'EXISTS (SELECT FROM orders o WHERE o.tenant_id = order_items.tenant_id AND o.order_id = order_items.order_id)', 'INSERT');
SELECT protect_table('inventory_reservations',
    'EXISTS (SELECT FROM orders o WHERE o.tenant_id = inventory_reservations.tenant_id'
    ' AND o.order_id = inventory_reservations.order_id)', 'INSERT, UPDATE');
CREATE TRIGGER trg_orders_updated_at BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE FUNCTION check_order_transition() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('draft', 'pending_payment'), ('draft', 'cancelled'),
        ('pending_payment', 'paid'), ('pending_payment', 'cancelled'),
        ('paid', 'processing'), ('paid', 'refunded'),
        ('processing', 'shipped'), ('processing', 'refunded'),
        ('shipped', 'delivered'), ('shipped', 'refunded'),
        ('delivered', 'refunded'))
    THEN
        RAISE EXCEPTION 'order % cannot go from % to %', OLD.order_number, OLD.status, NEW.status USING ERRCODE = 'CL503';
    END IF;
    IF NEW.order_version <> OLD.order_version + 1 THEN
        RAISE EXCEPTION 'order %: a change of state raises order_version by one', OLD.order_number USING ERRCODE = 'CL503';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION check_order_transition() IS 'Refuses an illegal change of state, whoever asks';
CREATE TRIGGER trg_orders_transition BEFORE UPDATE OF status ON orders
    FOR EACH ROW EXECUTE FUNCTION check_order_transition();

CREATE FUNCTION refuse_released_stock() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    RAISE EXCEPTION 'the stock of order % was released: it must be held again first', OLD.order_id USING ERRCODE = 'CL503';
END
$$;
COMMENT ON FUNCTION refuse_released_stock() IS 'Refuses to sell what is no longer held, whoever asks';
CREATE TRIGGER trg_inventory_reservations_released BEFORE UPDATE ON inventory_reservations
    FOR EACH ROW WHEN (OLD.status = 'released' AND NEW.status IN ('claimed', 'shipped'))
    EXECUTE FUNCTION refuse_released_stock();

-- migrate:down
DROP TABLE inventory_reservations;
DROP TABLE order_items;
DROP TABLE orders;
DROP FUNCTION check_order_transition();
DROP FUNCTION refuse_released_stock();
