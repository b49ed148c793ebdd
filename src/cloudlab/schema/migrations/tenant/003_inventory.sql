-- Migration: Inventory
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Stock of each product in a narrow table of its own, spread over buckets where many want it, and its ledger
-- Standard: §3.1 Strong Consistency (CP from CAP), §5.1 Covering Indexes

-- migrate:up
-- Half-empty pages and no secondary index: every change of stock stays on its page (HOT).
CREATE TABLE inventory (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    bucket_number smallint DEFAULT 0 NOT NULL,
    available_quantity integer DEFAULT 0 NOT NULL,
    reserved_quantity integer DEFAULT 0 NOT NULL,
    CONSTRAINT pk_inventory PRIMARY KEY (tenant_id, product_id, bucket_number),
    CONSTRAINT fk_inventory_product_id FOREIGN KEY (tenant_id, product_id)
        REFERENCES products (tenant_id, product_id) ON DELETE RESTRICT,
    CONSTRAINT chk_inventory_bucket_number CHECK (bucket_number BETWEEN 0 AND 63),
    CONSTRAINT chk_inventory_available_not_negative CHECK (available_quantity >= 0),
    CONSTRAINT chk_inventory_reserved_not_negative CHECK (reserved_quantity >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE inventory IS 'Stock of each product, the sum of its buckets; the database refuses a negative one whatever the code does';
COMMENT ON COLUMN inventory.tenant_id IS 'Tenant whose stock it is';
COMMENT ON COLUMN inventory.product_id IS 'What is in stock';
COMMENT ON COLUMN inventory.bucket_number IS '0, or one of the further rows over which the stock of a contended product is spread';
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

-- All that lock stock lock it in the order of product and bucket, so that two never wait for each other in a circle. No
-- bucket comes into being but under the lock of bucket 0: who holds that one, sees all of them in its next statement.
CREATE FUNCTION gather_stock(p_product_id uuid, p_bucket_number integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
    v_units bigint;
BEGIN
    PERFORM FROM inventory n
    WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id AND n.bucket_number = 0 FOR NO KEY UPDATE;
    SELECT sum(n.available_quantity) INTO v_units
    FROM (SELECT n.available_quantity FROM inventory n
          WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id
          ORDER BY n.bucket_number FOR NO KEY UPDATE) AS n;
    UPDATE inventory n
    SET available_quantity = CASE WHEN n.bucket_number = p_bucket_number THEN v_units ELSE 0 END
    WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id
      AND n.available_quantity <> CASE WHEN n.bucket_number = p_bucket_number THEN v_units ELSE 0 END;
    RETURN v_units;
END
$$;
COMMENT ON FUNCTION gather_stock(uuid, integer) IS 'Brings the available units of a product together in one bucket, all locked: how many';

CREATE FUNCTION level_stock(p_product_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
    v_units bigint := gather_stock(p_product_id, 0);
    v_count bigint;
BEGIN
    SELECT count(*) INTO v_count FROM inventory n WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id;
    UPDATE inventory n
    SET available_quantity = v_units / v_count + CASE WHEN n.bucket_number < v_units % v_count THEN 1 ELSE 0 END
    WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id AND v_units > 0;
END
$$;
COMMENT ON FUNCTION level_stock(uuid) IS 'Deals the available units of a product out to its buckets anew, the same to each';

CREATE FUNCTION spread_stock(p_product_id uuid, p_bucket_count integer) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
BEGIN
    PERFORM FROM inventory n
    WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id AND n.bucket_number = 0 FOR NO KEY UPDATE;
    IF FOUND THEN
        INSERT INTO inventory (tenant_id, product_id, bucket_number)
        SELECT v_tenant, p_product_id, b.bucket_number FROM generate_series(1, p_bucket_count - 1) AS b (bucket_number)
        ON CONFLICT ON CONSTRAINT pk_inventory DO NOTHING;
        PERFORM level_stock(p_product_id);
    END IF;
    RETURN (SELECT count(*) FROM inventory n WHERE n.tenant_id = v_tenant AND n.product_id = p_product_id);
END
$$;
COMMENT ON FUNCTION spread_stock(uuid, integer) IS
    'Spreads the stock of a product over at least so many buckets; how many it has then, 0 when there is no such product';

CREATE FUNCTION lock_stock(p_product_ids uuid[], p_quantities bigint[])
    RETURNS TABLE (available bigint, bucket_number smallint, was_gathered boolean)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
BEGIN
    FOR i IN 1..coalesce(cardinality(p_product_ids), 0) LOOP
        -- Any bucket that has enough and that nobody is at.
        SELECT n.available_quantity, n.bucket_number, false INTO available, bucket_number, was_gathered
        FROM inventory n
        WHERE n.tenant_id = v_tenant AND n.product_id = p_product_ids[i] AND n.available_quantity >= p_quantities[i]
        ORDER BY random() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            available := gather_stock(p_product_ids[i], 0);
            bucket_number := 0;
            was_gathered := true;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION lock_stock(uuid[], bigint[]) IS
    'Locks a bucket of each product, given sorted: one with enough and free, else all, gathered in bucket 0; what is in it';

-- migrate:down
DROP FUNCTION lock_stock(uuid[], bigint[]);
DROP FUNCTION spread_stock(uuid, integer);
DROP FUNCTION level_stock(uuid);
DROP FUNCTION gather_stock(uuid, integer);
DROP TABLE inventory_updates;
DROP TABLE inventory;
