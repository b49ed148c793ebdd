-- Migration: Inventory
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Stock of each product in a narrow table of its own, and the ledger of its changes
-- Standard: §3.1 Strong Consistency (CP from CAP), §5.1 Covering Indexes

-- migrate:up
-- Half-empty pages and no secondary index: every change of stock stays on its page (HOT).
CREATE TABLE inventory (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    available_quantity integer DEFAULT 0 NOT NULL,
    reserved_quantity integer DEFAULT 0 NOT NULL,
    CONSTRAINT pk_inventory PRIMARY KEY (tenant_id, product_id),
    CONSTRAINT fk_inventory_product_id FOREIGN KEY (tenant_id, product_id)
        REFERENCES products (tenant_id, product_id) ON DELETE RESTRICT,
    CONSTRAINT chk_inventory_available_not_negative CHECK (available_quantity >= 0),
    CONSTRAINT chk_inventory_reserved_not_negative CHECK (reserved_quantity >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE inventory IS 'Stock of each product; the database refuses a negative one whatever the code does';
COMMENT ON COLUMN inventory.tenant_id IS 'Tenant whose stock it is';
COMMENT ON COLUMN inventory.product_id IS 'What is in stock';
COMMENT ON COLUMN inventory.available_quantity IS 'Units that may be sold';
COMMENT ON COLUMN inventory.reserved_quantity IS 'Units sold and not yet shipped';

CREATE TABLE inventory_updates (
    tenant_id uuid NOT NULL,
    update_id uuid DEFAULT uuidv7() NOT NULL,
    product_id uuid NOT NULL,
    order_id uuid,
    delta_available integer NOT NULL,
    delta_reserved integer NOT NULL,
    reason varchar(20) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    -- It covers what adding up a product reads. No foreign key to products: whoever enters something here changes the
    -- product's row of inventory in the same transaction, which has one and cannot be deleted; checked again for each entry
    -- it was a tenth of what a real order costs.
    CONSTRAINT pk_inventory_updates PRIMARY KEY (tenant_id, product_id, update_id)
        INCLUDE (delta_available, delta_reserved),
    CONSTRAINT chk_inventory_updates_reason
        CHECK (reason IN ('receipt', 'order', 'shipment', 'cancellation', 'return', 'correction')),
    CONSTRAINT chk_inventory_updates_changes_something CHECK (delta_available <> 0 OR delta_reserved <> 0)
);
COMMENT ON TABLE inventory_updates IS 'Ledger of stock, append-only: its sums are the inventory';
COMMENT ON COLUMN inventory_updates.tenant_id IS 'Tenant whose stock it is';
COMMENT ON COLUMN inventory_updates.update_id IS 'Unique identifier of the entry';
COMMENT ON COLUMN inventory_updates.product_id IS 'Whose stock changed';
COMMENT ON COLUMN inventory_updates.order_id IS 'Order that caused it, NULL for receipts and corrections';
COMMENT ON COLUMN inventory_updates.delta_available IS 'Change of the available quantity';
COMMENT ON COLUMN inventory_updates.delta_reserved IS 'Change of the reserved quantity';
COMMENT ON COLUMN inventory_updates.reason IS 'receipt, order, shipment, cancellation, return or correction';
COMMENT ON COLUMN inventory_updates.created_at IS 'When it was entered';

SELECT protect_table('inventory', 'true', 'INSERT, UPDATE');
SELECT protect_table('inventory_updates', 'true', 'INSERT');
CREATE TRIGGER trg_inventory_updates_append_only BEFORE UPDATE OR DELETE ON inventory_updates
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- migrate:down
DROP TABLE inventory_updates;
DROP TABLE inventory;
