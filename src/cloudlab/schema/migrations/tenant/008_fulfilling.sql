-- Migration: Fulfilling orders
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: The one way in which orders change their state, and the one way in which they move stock afterwards
-- Standard: §3.1 Strong Consistency (CP from CAP)

-- migrate:up
-- A lateral join with a LIMIT or an OFFSET, and `= ANY`, look up each row by its whole key, always: a plan that is made
-- while the tables are empty would otherwise read all rows of the tenant a minute later.
CREATE FUNCTION advance_orders(
    p_to order_status, p_order_ids uuid[], p_at timestamp with time zone[], p_expected_versions integer[],
    p_receipt_keys varchar[])
    RETURNS TABLE (order_id uuid, order_number varchar, user_id uuid, status order_status, currency varchar,
                   total_amount numeric, line_count integer, order_version integer, placed_at timestamp with time zone,
                   created_at timestamp with time zone, is_changed boolean)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
    v_found record;
BEGIN
    -- The caller sorts them, so that two calls never wait for each other in a circle. One UPDATE for each: what one for all
    -- of them saves is little, and its plan would depend on statistics.
    FOR i IN 1..cardinality(p_order_ids) LOOP
        IF p_receipt_keys IS NOT NULL THEN
            -- Locked before the receipt is looked for: a twin that brings the same one is waited for here.
            PERFORM FROM orders o WHERE o.tenant_id = v_tenant AND o.order_id = p_order_ids[i] FOR NO KEY UPDATE;
        END IF;
        RETURN QUERY
            UPDATE orders o
            SET status = p_to, order_version = o.order_version + 1,
                paid_at = CASE WHEN p_to = 'paid' THEN p_at[i] ELSE o.paid_at END,
                processing_at = CASE WHEN p_to = 'processing' THEN p_at[i] ELSE o.processing_at END,
                shipped_at = CASE WHEN p_to = 'shipped' THEN p_at[i] ELSE o.shipped_at END,
                delivered_at = CASE WHEN p_to = 'delivered' THEN p_at[i] ELSE o.delivered_at END,
                cancelled_at = CASE WHEN p_to = 'cancelled' THEN p_at[i] ELSE o.cancelled_at END,
                refunded_at = CASE WHEN p_to = 'refunded' THEN p_at[i] ELSE o.refunded_at END
            WHERE o.tenant_id = v_tenant AND o.order_id = p_order_ids[i]
              AND (p_expected_versions[i] IS NULL OR o.order_version = p_expected_versions[i])
              AND (p_receipt_keys[i] IS NULL OR NOT EXISTS (
                  SELECT FROM payment_transactions t
                  WHERE t.tenant_id = v_tenant AND t.idempotency_key = p_receipt_keys[i]))
            RETURNING o.order_id, o.order_number, o.user_id, o.status, o.currency::varchar, o.total_amount, o.line_count,
                      o.order_version, o.placed_at, o.created_at, true;
        CONTINUE WHEN FOUND;
        SELECT o.order_number, o.order_version INTO v_found FROM orders o
        WHERE o.tenant_id = v_tenant AND o.order_id = p_order_ids[i];
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no order %', p_order_ids[i] USING ERRCODE = 'CL200';
        ELSIF v_found.order_version <> p_expected_versions[i] THEN
            RAISE EXCEPTION 'order % is at version %, not %', v_found.order_number, v_found.order_version,
                p_expected_versions[i] USING ERRCODE = 'CL501';
        END IF;
        RETURN QUERY
            SELECT o.order_id, o.order_number, o.user_id, o.status, o.currency::varchar, o.total_amount, o.line_count,
                      o.order_version, o.placed_at, o.created_at, false
            FROM orders o WHERE o.tenant_id = v_tenant AND o.order_id = p_order_ids[i];
    END LOOP;
END
$$;
COMMENT ON FUNCTION advance_orders(order_status, uuid[], timestamp with time zone[], integer[], varchar[]) IS
    'Brings orders, given sorted, into another state, all or none; one whose receipt is on record already stays as it is';

CREATE FUNCTION move_order_stock(p_order_ids uuid[], p_available integer, p_reserved integer, p_reason varchar)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
    v_moved record;
    v_totals record;
BEGIN
    SELECT array_agg(w.order_id) AS order_ids, array_agg(w.product_id) AS product_ids, array_agg(w.quantity) AS quantities,
           array_agg(w.bucket_number) AS buckets
    INTO v_moved
    FROM (SELECT w.order_id, i.product_id, i.bucket_number, sum(i.quantity)::integer AS quantity
          FROM unnest(p_order_ids) AS w (order_id)
          CROSS JOIN LATERAL (
              SELECT i.product_id, i.bucket_number, i.quantity FROM order_items i
              WHERE i.tenant_id = v_tenant AND i.order_id = w.order_id ORDER BY i.line_number OFFSET 0) AS i
          GROUP BY w.order_id, i.product_id, i.bucket_number) AS w;
    INSERT INTO inventory_updates (tenant_id, product_id, order_id, delta_available, delta_reserved, reason)
    SELECT v_tenant, w.product_id, w.order_id, p_available * w.quantity, p_reserved * w.quantity, p_reason
    FROM unnest(v_moved.order_ids, v_moved.product_ids, v_moved.quantities) AS w (order_id, product_id, quantity);
    SELECT array_agg(w.product_id) AS product_ids, array_agg(w.bucket_number) AS buckets, array_agg(w.quantity) AS quantities
    INTO v_totals
    FROM (SELECT w.product_id, w.bucket_number, sum(w.quantity)::integer AS quantity
          FROM unnest(v_moved.product_ids, v_moved.buckets, v_moved.quantities) AS w (product_id, bucket_number, quantity)
          GROUP BY w.product_id, w.bucket_number) AS w;
    -- Last, so that others wait for the stock as briefly as can be; locked in sorted order, so that two calls never wait
    -- for each other in a circle. One UPDATE for all of them: a statement for each product costs three times as much.
    PERFORM FROM inventory n
    WHERE n.tenant_id = v_tenant AND n.product_id = ANY (v_totals.product_ids) AND n.bucket_number = ANY (v_totals.buckets)
    ORDER BY n.product_id, n.bucket_number FOR NO KEY UPDATE;
    UPDATE inventory n
    SET available_quantity = n.available_quantity + p_available * w.quantity,
        reserved_quantity = n.reserved_quantity + p_reserved * w.quantity
    FROM unnest(v_totals.product_ids, v_totals.buckets, v_totals.quantities) AS w (product_id, bucket_number, quantity)
    WHERE n.tenant_id = v_tenant AND n.product_id = w.product_id AND n.bucket_number = w.bucket_number;
END
$$;
COMMENT ON FUNCTION move_order_stock(uuid[], integer, integer, varchar) IS
    'Adds so many times the ordered quantities to the available and the reserved stock, and enters it in the ledger';

-- migrate:down
DROP FUNCTION move_order_stock(uuid[], integer, integer, varchar);
DROP FUNCTION advance_orders(order_status, uuid[], timestamp with time zone[], integer[], varchar[]);
