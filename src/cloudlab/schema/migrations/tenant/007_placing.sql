-- Migration: Placing an order
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Placing in one server call, and the one way in which an order moves stock
-- Standard: §3.1 Strong Consistency (CP from CAP)

-- migrate:up
CREATE FUNCTION move_order_stock(p_order_id uuid, p_available integer, p_reserved integer, p_reason varchar) RETURNS void
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
    v_product_ids uuid[];
    v_quantities integer[];
BEGIN
    SELECT array_agg(w.product_id), array_agg(w.quantity) INTO v_product_ids, v_quantities
    FROM (SELECT i.product_id, sum(i.quantity)::integer AS quantity FROM order_items i
          WHERE i.tenant_id = v_tenant AND i.order_id = p_order_id GROUP BY i.product_id ORDER BY i.product_id) AS w;
    INSERT INTO inventory_updates (tenant_id, product_id, order_id, delta_available, delta_reserved, reason)
    SELECT v_tenant, w.product_id, p_order_id, p_available * w.quantity, p_reserved * w.quantity, p_reason
    FROM unnest(v_product_ids, v_quantities) AS w (product_id, quantity);
    -- Last, so that others wait for the stock as briefly as can be; locked in sorted order, so that two orders never wait
    -- for each other in a circle. One UPDATE for all of them: a statement for each product costs three times as much.
    PERFORM FROM inventory n WHERE n.tenant_id = v_tenant AND n.product_id = ANY (v_product_ids)
    ORDER BY n.product_id FOR NO KEY UPDATE;
    UPDATE inventory n
    SET available_quantity = n.available_quantity + p_available * w.quantity,
        reserved_quantity = n.reserved_quantity + p_reserved * w.quantity
    FROM unnest(v_product_ids, v_quantities) AS w (product_id, quantity)
    WHERE n.tenant_id = v_tenant AND n.product_id = w.product_id;
END
$$;
COMMENT ON FUNCTION move_order_stock(uuid, integer, integer, varchar) IS
    'Adds so many times each ordered quantity to the available and the reserved stock, and enters it in the ledger';

CREATE FUNCTION place_order(
    p_order_id uuid, p_order_number varchar, p_user_id uuid, p_currency varchar, p_placed_at timestamp with time zone,
    p_product_ids uuid[], p_quantities integer[], p_prices numeric[],
    p_idempotency_key varchar, p_request_fingerprint bytea, p_hold interval, p_metadata jsonb,
    OUT order_id uuid, OUT is_replay boolean, OUT event_data jsonb, OUT event_position bigint,
    OUT recorded_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
    v_placed_at timestamp with time zone := coalesce(p_placed_at, now());
    v_item record;
    v_known record;
    v_lines record;
    v_currency varchar := coalesce(p_currency, (
        SELECT p.currency FROM products p WHERE p.tenant_id = v_tenant AND p.product_id = p_product_ids[1]));
    v_product_ids uuid[];
    v_quantities integer[];
    v_total numeric(19,4);
BEGIN
    -- First, because a twin in flight is waited for here, before anything is locked.
    INSERT INTO idempotency_keys AS k (tenant_id, idempotency_key, request_fingerprint, resource_id)
    VALUES (v_tenant, p_idempotency_key, p_request_fingerprint, p_order_id)
    ON CONFLICT ON CONSTRAINT pk_idempotency_keys DO NOTHING;
    IF NOT FOUND THEN
        SELECT k.request_fingerprint, k.resource_id INTO v_known FROM idempotency_keys k
        WHERE k.tenant_id = v_tenant AND k.idempotency_key = p_idempotency_key;
        IF v_known.request_fingerprint <> p_request_fingerprint THEN
            RAISE EXCEPTION 'the idempotency key % was used for a different order', p_idempotency_key USING ERRCODE = 'CL505';
        END IF;
        order_id := v_known.resource_id;
        is_replay := true;
        RETURN;
    END IF;

    -- What is bought, as the catalogue describes it now; a repeated product stays a line of its own.
    SELECT array_agg(l.ordinal::integer ORDER BY l.ordinal) AS numbers,
           array_agg(p.product_id ORDER BY l.ordinal) AS product_ids,
           array_agg(p.vendor_id ORDER BY l.ordinal) AS vendor_ids,
           array_agg(p.sku ORDER BY l.ordinal) AS skus,
           array_agg(p.name ORDER BY l.ordinal) AS names,
           array_agg(l.quantity ORDER BY l.ordinal) AS quantities,
           array_agg(coalesce(l.price, p.price) ORDER BY l.ordinal) AS prices,
           sum(l.quantity * coalesce(l.price, p.price)) AS subtotal,
           jsonb_agg(jsonb_build_object('line', l.ordinal, 'product_id', p.product_id, 'vendor_id', p.vendor_id,
               'sku', p.sku, 'quantity', l.quantity, 'price', coalesce(l.price, p.price)::numeric(19,4)::text)
               ORDER BY l.ordinal) AS items
    INTO v_lines
    FROM unnest(p_product_ids, p_quantities, p_prices) WITH ORDINALITY AS l (product_id, quantity, price, ordinal)
    JOIN products p ON p.tenant_id = v_tenant AND p.product_id = l.product_id
                   AND p.status = 'active' AND p.deleted_at IS NULL AND p.currency = v_currency;
    IF cardinality(v_lines.numbers) IS DISTINCT FROM cardinality(p_product_ids) THEN
        RAISE EXCEPTION 'not for sale in %: %', coalesce(v_currency, 'any currency'), (
            SELECT string_agg(DISTINCT w.product_id::text, ', ')
            FROM unnest(p_product_ids) AS w (product_id) WHERE w.product_id <> ALL (coalesce(v_lines.product_ids, '{}')))
            USING ERRCODE = 'CL200', HINT = 'Every product must exist, be active, and be priced in the currency of the order.';
    END IF;

    -- Merged, so that a repeated product is counted once.
    SELECT array_agg(w.product_id), array_agg(w.quantity) INTO v_product_ids, v_quantities
    FROM (SELECT l.product_id, sum(l.quantity)::integer AS quantity
          FROM unnest(p_product_ids, p_quantities) AS l (product_id, quantity)
          GROUP BY l.product_id ORDER BY l.product_id) AS w;
    -- A look without a lock turns away at once who comes too late; it decides nothing.
    SELECT w.product_id, w.quantity, n.available_quantity INTO v_item
    FROM unnest(v_product_ids, v_quantities) AS w (product_id, quantity)
    LEFT JOIN inventory n ON n.tenant_id = v_tenant AND n.product_id = w.product_id
    WHERE w.quantity > coalesce(n.available_quantity, 0)
    ORDER BY w.product_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% of % wanted, % in stock', v_item.quantity,
            v_lines.skus[array_position(v_lines.product_ids, v_item.product_id)], coalesce(v_item.available_quantity, 0)
            USING ERRCODE = 'CL502', DETAIL = v_item.product_id::text;
    END IF;

    v_total := round(v_lines.subtotal, minor_digits(v_currency));
    INSERT INTO orders (tenant_id, order_id, user_id, order_number, status, currency, subtotal_amount, rounding_amount,
                        total_amount, line_count, placed_at, created_at)
    VALUES (v_tenant, p_order_id, p_user_id, p_order_number, 'pending_payment', v_currency, v_lines.subtotal,
            v_total - v_lines.subtotal, v_total, cardinality(v_lines.numbers), v_placed_at, v_placed_at);
    INSERT INTO order_items (tenant_id, order_id, line_number, product_id, vendor_id, sku, name, quantity, price)
    SELECT v_tenant, p_order_id, l.line_number, l.product_id, l.vendor_id, l.sku, l.name, l.quantity, l.price
    FROM unnest(v_lines.numbers, v_lines.product_ids, v_lines.vendor_ids, v_lines.skus, v_lines.names, v_lines.quantities,
                v_lines.prices) AS l (line_number, product_id, vendor_id, sku, name, quantity, price);
    INSERT INTO inventory_updates (tenant_id, product_id, order_id, delta_available, delta_reserved, reason)
    SELECT v_tenant, w.product_id, p_order_id, -w.quantity, w.quantity, 'order'
    FROM unnest(v_product_ids, v_quantities) AS w (product_id, quantity);
    INSERT INTO inventory_reservations (tenant_id, order_id, expires_at)
    VALUES (v_tenant, p_order_id, clock_timestamp() + p_hold);

    order_id := p_order_id;
    is_replay := false;
    event_data := jsonb_build_object('order_id', p_order_id, 'order_number', p_order_number, 'user_id', p_user_id,
        'status', 'pending_payment', 'currency', v_currency, 'total_amount', v_total::text,
        'line_count', cardinality(v_lines.numbers), 'placed_at', v_placed_at, 'lines', v_lines.items);
    SELECT a.last_position, a.recorded_at INTO event_position, recorded_at
    FROM append_events('Order', p_order_id, 0, ARRAY['OrderPlaced']::varchar[], ARRAY[event_data], p_metadata) a;

    -- Last, so that others wait for the stock as briefly as can be; locked in sorted order, so that two orders never wait
    -- for each other in a circle.
    PERFORM FROM inventory n WHERE n.tenant_id = v_tenant AND n.product_id = ANY (v_product_ids)
    ORDER BY n.product_id FOR NO KEY UPDATE;
    SELECT w.product_id, w.quantity, n.available_quantity INTO v_item
    FROM unnest(v_product_ids, v_quantities) AS w (product_id, quantity)
    LEFT JOIN inventory n ON n.tenant_id = v_tenant AND n.product_id = w.product_id
    WHERE w.quantity > coalesce(n.available_quantity, 0)
    ORDER BY w.product_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% of % wanted, % in stock', v_item.quantity,
            v_lines.skus[array_position(v_lines.product_ids, v_item.product_id)], coalesce(v_item.available_quantity, 0)
            USING ERRCODE = 'CL502', DETAIL = v_item.product_id::text;
    END IF;
    UPDATE inventory n
    SET available_quantity = n.available_quantity - w.quantity, reserved_quantity = n.reserved_quantity + w.quantity
    FROM unnest(v_product_ids, v_quantities) AS w (product_id, quantity)
    WHERE n.tenant_id = v_tenant AND n.product_id = w.product_id;
END
$$;
COMMENT ON FUNCTION place_order(uuid, varchar, uuid, varchar, timestamp with time zone, uuid[], integer[], numeric[],
    varchar, bytea, interval, jsonb) IS
    'Places an order: stock, order, items, ledger, reservation, event and idempotency key, all or none';

-- migrate:down
DROP FUNCTION place_order(uuid, varchar, uuid, varchar, timestamp with time zone, uuid[], integer[], numeric[],
    varchar, bytea, interval, jsonb);
DROP FUNCTION move_order_stock(uuid, integer, integer, varchar);
