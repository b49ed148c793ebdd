-- Migration: Placing orders
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Placing in one server call, one order or many, each with an outcome of its own
-- Standard: §3.1 Strong Consistency (CP from CAP)

-- migrate:up
-- A lateral join with a LIMIT or an OFFSET, and `= ANY`, look up each row by its whole key, always: a plan that is made
-- while the tables are empty would otherwise read all rows of the tenant a minute later.
CREATE FUNCTION known_orders(p_idempotency_keys varchar[], p_request_fingerprints bytea[], p_order_ids uuid[])
    RETURNS TABLE (place integer, resource_id uuid, outcome varchar)
    LANGUAGE plpgsql ROWS 1
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
BEGIN
    RETURN QUERY
        SELECT w.place::integer, k.resource_id,
               CASE WHEN k.request_fingerprint = w.request_fingerprint THEN 'replayed' ELSE 'key_reused' END::varchar
        FROM unnest(p_idempotency_keys, p_request_fingerprints, p_order_ids) WITH ORDINALITY
            AS w (idempotency_key, request_fingerprint, order_id, place)
        CROSS JOIN LATERAL (
            SELECT k.resource_id, k.request_fingerprint FROM idempotency_keys k
            WHERE k.tenant_id = v_tenant AND k.idempotency_key = w.idempotency_key LIMIT 1) AS k
        WHERE k.resource_id <> w.order_id;
END
$$;
COMMENT ON FUNCTION known_orders(varchar[], bytea[], uuid[]) IS
    'Which of these idempotency keys belong to something else already: to what, and whether by the same request';

CREATE FUNCTION deal_stock(
    p_order_count integer, p_places integer[], p_stocks integer[], p_quantities bigint[], p_available bigint[],
    OUT short_entries integer[], OUT short_available bigint[])
    LANGUAGE plpgsql IMMUTABLE
    SET search_path FROM CURRENT
    AS $$
DECLARE
    v_left bigint[] := p_available;
    v_count integer := coalesce(cardinality(p_places), 0);
    v_first integer := 1;
BEGIN
    short_entries := array_fill(NULL::integer, ARRAY[p_order_count]);
    short_available := array_fill(NULL::bigint, ARRAY[p_order_count]);
    FOR i IN 1..v_count LOOP
        IF short_entries[p_places[i]] IS NULL AND p_quantities[i] > v_left[p_stocks[i]] THEN
            short_entries[p_places[i]] := i;
            short_available[p_places[i]] := v_left[p_stocks[i]];
        END IF;
        -- The order's last entry: what it takes is gone for those behind it.
        IF i = v_count OR p_places[i + 1] <> p_places[i] THEN
            FOR j IN v_first..i LOOP
                EXIT WHEN short_entries[p_places[i]] IS NOT NULL;
                v_left[p_stocks[j]] := v_left[p_stocks[j]] - p_quantities[j];
            END LOOP;
            v_first := i + 1;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION deal_stock(integer, integer[], integer[], bigint[], bigint[]) IS
    'Deals stock out to orders in their turn: for each order NULL, or which of its entries was too much and what was left';

CREATE FUNCTION place_orders(
    p_order_ids uuid[], p_order_numbers varchar[], p_user_ids uuid[], p_currencies varchar[],
    p_placed_at timestamp with time zone[], p_idempotency_keys varchar[], p_request_fingerprints bytea[],
    p_holds interval[], p_metadata jsonb[],
    p_places integer[], p_line_numbers integer[], p_product_ids uuid[], p_quantities integer[], p_prices numeric[])
    RETURNS TABLE (outcome varchar, order_id uuid, facts jsonb, event_position bigint, recorded_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    v_tenant uuid := current_tenant();
    v_count integer := cardinality(p_order_ids);
    v_currencies varchar[] := p_currencies;
    v_outcomes varchar[] := array_fill('placed'::varchar, ARRAY[v_count]);
    v_is_open boolean[] := array_fill(true, ARRAY[v_count]);
    v_ids uuid[] := p_order_ids;
    v_facts jsonb[] := array_fill(NULL::jsonb, ARRAY[v_count]);
    v_positions bigint[];
    v_recorded_at timestamp with time zone;
    v_open_count integer;
    v_row_count integer;
    v_is_tight boolean;
    v_is_spread boolean;
    v_found record;
    v_lines record;
    v_orders record;
    v_wanted record;
    v_totals record;
    v_stock record;
    v_short record;
BEGIN
    IF array_position(p_currencies, NULL) IS NOT NULL THEN
        SELECT array_agg(coalesce(p_currencies[l.place], p.currency) ORDER BY l.place) INTO v_currencies
        FROM unnest(p_places, p_line_numbers, p_product_ids) AS l (place, line_number, product_id)
        LEFT JOIN products p ON p.tenant_id = v_tenant AND p.product_id = l.product_id
        WHERE l.line_number = 1;
    END IF;

    -- What is bought, as the catalogue describes it now; a repeated product stays a line of its own.
    SELECT array_agg(l.place) AS places, array_agg(l.line_number) AS numbers, array_agg(l.product_id) AS product_ids,
           array_agg(l.vendor_id) AS vendor_ids, array_agg(l.sku) AS skus, array_agg(l.name) AS names,
           array_agg(l.quantity) AS quantities, array_agg(l.price) AS prices
    INTO v_lines
    FROM (SELECT l.place, l.line_number, l.product_id, l.quantity, p.vendor_id, p.sku, p.name,
                 coalesce(l.price, p.price)::numeric(19,4) AS price
          FROM unnest(p_places, p_line_numbers, p_product_ids, p_quantities, p_prices)
              AS l (place, line_number, product_id, quantity, price)
          LEFT JOIN LATERAL (
              SELECT p.vendor_id, p.sku, p.name, p.price FROM products p
              WHERE p.tenant_id = v_tenant AND p.product_id = l.product_id AND p.status = 'active'
                AND p.deleted_at IS NULL AND p.currency = v_currencies[l.place] LIMIT 1) AS p ON true
          ORDER BY l.place, l.line_number) AS l;
    FOR v_found IN SELECT l.place, jsonb_agg(DISTINCT l.product_id) AS product_ids
                   FROM unnest(v_lines.places, v_lines.product_ids, v_lines.vendor_ids) AS l (place, product_id, vendor_id)
                   WHERE l.vendor_id IS NULL
                   GROUP BY l.place LOOP
        v_outcomes[v_found.place] := 'not_for_sale';
        v_facts[v_found.place] :=
            jsonb_build_object('currency', v_currencies[v_found.place], 'product_ids', v_found.product_ids);
        v_is_open[v_found.place] := false;
    END LOOP;

    -- Merged, so that a repeated product is counted once. The look at the stock takes no lock: it turns away at once who
    -- comes too late, and accepts nobody.
    SELECT array_agg(w.place) AS places, array_agg(w.product_id) AS product_ids, array_agg(w.quantity) AS quantities,
           array_agg(w.available) AS available, coalesce(bool_or(w.is_spread), false) AS is_spread
    INTO v_wanted
    FROM (SELECT w.place, w.product_id, w.quantity, coalesce(n.available, 0) AS available, n.is_spread
          FROM (SELECT l.place, l.product_id, sum(l.quantity) AS quantity
                FROM unnest(v_lines.places, v_lines.product_ids, v_lines.quantities) AS l (place, product_id, quantity)
                WHERE v_is_open[l.place]
                GROUP BY l.place, l.product_id) AS w
          LEFT JOIN LATERAL (
              SELECT sum(n.available_quantity) AS available, count(*) > 1 AS is_spread FROM inventory n
              WHERE n.tenant_id = v_tenant AND n.product_id = w.product_id) AS n ON true
          ORDER BY w.place, w.product_id) AS w;
    v_is_spread := v_wanted.is_spread;
    FOR v_found IN SELECT w.place, w.product_id, w.quantity, w.available
                   FROM unnest(v_wanted.places, v_wanted.product_ids, v_wanted.quantities, v_wanted.available)
                       AS w (place, product_id, quantity, available)
                   WHERE w.quantity > w.available LOOP
        CONTINUE WHEN NOT v_is_open[v_found.place];
        v_outcomes[v_found.place] := 'out_of_stock';
        v_facts[v_found.place] := jsonb_build_object('product_id', v_found.product_id,
            'sku', v_lines.skus[array_position(v_lines.product_ids, v_found.product_id)],
            'wanted', v_found.quantity, 'available', v_found.available);
        v_is_open[v_found.place] := false;
    END LOOP;
    -- A used key comes before everything else. It is looked up after the stock, because a twin that took the last piece
    -- meanwhile has left its key with it.
    FOR v_found IN SELECT k.place, k.resource_id, k.outcome
                   FROM known_orders(p_idempotency_keys, p_request_fingerprints, p_order_ids) k LOOP
        v_outcomes[v_found.place] := v_found.outcome;
        v_ids[v_found.place] := v_found.resource_id;
        v_facts[v_found.place] := NULL;
        v_is_open[v_found.place] := false;
    END LOOP;
    SELECT array_agg(w.product_id) AS product_ids, array_agg(w.quantity) AS quantities INTO v_totals
    FROM (SELECT w.product_id, sum(w.quantity)::bigint AS quantity
          FROM unnest(v_wanted.places, v_wanted.product_ids, v_wanted.quantities) AS w (place, product_id, quantity)
          WHERE v_is_open[w.place]
          GROUP BY w.product_id ORDER BY w.product_id) AS w;

    -- Everything that can be made ready is made ready before the lock.
    SELECT array_agg(o.place) AS places, array_agg(o.subtotal) AS subtotals, array_agg(o.total) AS totals,
           array_agg(o.line_count) AS line_counts, array_agg(o.placed_at) AS placed_at,
           array_agg(jsonb_build_object('order_id', v_ids[o.place], 'order_number', p_order_numbers[o.place],
               'user_id', p_user_ids[o.place], 'status', 'pending_payment', 'currency', v_currencies[o.place],
               'total_amount', o.total::text, 'line_count', o.line_count, 'placed_at', o.placed_at, 'lines', o.items)) AS facts
    INTO v_orders
    FROM (SELECT l.place, sum(l.quantity * l.price) AS subtotal, count(*)::integer AS line_count,
                 round(sum(l.quantity * l.price), minor_digits(v_currencies[l.place]))::numeric(19,4) AS total,
                 coalesce(p_placed_at[l.place], now()) AS placed_at,
                 jsonb_agg(jsonb_build_object('line', l.line_number, 'product_id', l.product_id, 'vendor_id', l.vendor_id,
                     'sku', l.sku, 'quantity', l.quantity, 'price', l.price::text) ORDER BY l.line_number) AS items
          FROM unnest(v_lines.places, v_lines.numbers, v_lines.product_ids, v_lines.vendor_ids, v_lines.skus,
                      v_lines.quantities, v_lines.prices)
              AS l (place, line_number, product_id, vendor_id, sku, quantity, price)
          WHERE v_is_open[l.place]
          GROUP BY l.place ORDER BY l.place) AS o;

    -- Locked in sorted order, stock before keys before order numbers, so that two calls never wait for each other in a
    -- circle. A twin in flight is waited for here: it wants the same products.
    IF v_is_spread THEN
        SELECT array_agg(n.available) AS available, array_agg(n.bucket_number) AS buckets,
               array_agg(n.was_gathered) AS gathered
        INTO v_stock
        FROM lock_stock(v_totals.product_ids, v_totals.quantities) n;
    ELSE
        SELECT array_agg(n.available_quantity::bigint) AS available, NULL::smallint[] AS buckets, NULL::boolean[] AS gathered
        INTO v_stock
        FROM (SELECT n.available_quantity FROM inventory n
              WHERE n.tenant_id = v_tenant AND n.product_id = ANY (v_totals.product_ids) AND n.bucket_number = 0
              ORDER BY n.product_id FOR NO KEY UPDATE) AS n;
    END IF;
    v_is_tight := EXISTS (SELECT FROM unnest(v_totals.quantities, v_stock.available) AS w (quantity, available)
                          WHERE w.quantity > w.available);
    FOR v_found IN SELECT k.place, k.resource_id, k.outcome
                   FROM known_orders(p_idempotency_keys, p_request_fingerprints, p_order_ids) k
                   WHERE v_is_open[k.place] LOOP
        v_outcomes[v_found.place] := v_found.outcome;
        v_ids[v_found.place] := v_found.resource_id;
        v_is_open[v_found.place] := false;
        v_is_tight := true;
    END LOOP;
    IF v_is_tight AND NOT v_is_spread AND EXISTS (
        SELECT FROM inventory n
        WHERE n.tenant_id = v_tenant AND n.product_id = ANY (v_totals.product_ids) AND n.bucket_number > 0) THEN
        RAISE EXCEPTION 'the stock was spread over buckets just now' USING ERRCODE = '40001', HINT = 'Repeat it.';
    END IF;
    IF v_is_tight THEN
        -- Not everybody can have what they want: first come, first served, in the order given.
        SELECT array_agg(w.place) AS places, array_agg(w.product_id) AS product_ids, array_agg(w.quantity) AS quantities,
               array_agg(w.stock) AS stocks
        INTO v_wanted
        FROM (SELECT w.place, w.product_id, w.quantity, t.stock::integer AS stock
              FROM unnest(v_wanted.places, v_wanted.product_ids, v_wanted.quantities) AS w (place, product_id, quantity)
              JOIN unnest(v_totals.product_ids) WITH ORDINALITY AS t (product_id, stock) ON t.product_id = w.product_id
              WHERE v_is_open[w.place]
              ORDER BY w.place, w.product_id) AS w;
        SELECT d.short_entries AS entries, d.short_available AS available INTO v_short
        FROM deal_stock(v_count, v_wanted.places, v_wanted.stocks, v_wanted.quantities, v_stock.available) d;
        FOR i IN 1..v_count LOOP
            CONTINUE WHEN v_short.entries[i] IS NULL;
            v_outcomes[i] := 'out_of_stock';
            v_facts[i] := jsonb_build_object('product_id', v_wanted.product_ids[v_short.entries[i]],
                'sku', v_lines.skus[array_position(v_lines.product_ids, v_wanted.product_ids[v_short.entries[i]])],
                'wanted', v_wanted.quantities[v_short.entries[i]], 'available', v_short.available[i]);
            v_is_open[i] := false;
        END LOOP;
    END IF;
    v_open_count := cardinality(array_positions(v_is_open, true));
    IF v_open_count > 0 THEN
        INSERT INTO idempotency_keys (tenant_id, idempotency_key, request_fingerprint, resource_id)
        SELECT v_tenant, w.idempotency_key, w.request_fingerprint, w.order_id
        FROM unnest(p_idempotency_keys, p_request_fingerprints, p_order_ids, v_is_open)
            AS w (idempotency_key, request_fingerprint, order_id, is_open)
        WHERE w.is_open
        ORDER BY w.idempotency_key
        ON CONFLICT ON CONSTRAINT pk_idempotency_keys DO NOTHING;
        GET DIAGNOSTICS v_row_count = ROW_COUNT;
        -- Some other order, of other products, was placed under one of the keys while the stock was waited for.
        IF v_row_count < v_open_count THEN
            FOR v_found IN SELECT k.place, k.resource_id, k.outcome
                           FROM known_orders(p_idempotency_keys, p_request_fingerprints, p_order_ids) k
                           WHERE v_is_open[k.place] LOOP
                v_outcomes[v_found.place] := v_found.outcome;
                v_ids[v_found.place] := v_found.resource_id;
                v_is_open[v_found.place] := false;
                v_open_count := v_open_count - 1;
            END LOOP;
        END IF;
    END IF;
    IF v_open_count = 0 THEN
        RETURN QUERY SELECT w.outcome, w.order_id, w.facts, NULL::bigint, NULL::timestamp with time zone
                     FROM unnest(v_outcomes, v_ids, v_facts) AS w (outcome, order_id, facts);
        RETURN;
    END IF;

    IF v_open_count < cardinality(v_orders.places) THEN
        SELECT array_agg(o.place) AS places, array_agg(o.subtotal) AS subtotals, array_agg(o.total) AS totals,
               array_agg(o.line_count) AS line_counts, array_agg(o.placed_at) AS placed_at, array_agg(o.facts) AS facts
        INTO v_orders
        FROM unnest(v_orders.places, v_orders.subtotals, v_orders.totals, v_orders.line_counts, v_orders.placed_at,
                    v_orders.facts) AS o (place, subtotal, total, line_count, placed_at, facts)
        WHERE v_is_open[o.place];
    END IF;
    INSERT INTO orders (tenant_id, order_id, user_id, order_number, status, currency, subtotal_amount, rounding_amount,
                        total_amount, line_count, placed_at, created_at)
    SELECT v_tenant, v_ids[o.place], p_user_ids[o.place], p_order_numbers[o.place], 'pending_payment',
           v_currencies[o.place], o.subtotal, o.total - o.subtotal, o.total, o.line_count, o.placed_at, o.placed_at
    FROM unnest(v_orders.places, v_orders.subtotals, v_orders.totals, v_orders.line_counts, v_orders.placed_at)
        AS o (place, subtotal, total, line_count, placed_at)
    ORDER BY p_order_numbers[o.place];
    INSERT INTO order_items (tenant_id, order_id, line_number, product_id, vendor_id, sku, name, quantity, price, bucket_number)
    SELECT v_tenant, v_ids[l.place], l.line_number, l.product_id, l.vendor_id, l.sku, l.name, l.quantity, l.price,
           CASE WHEN v_is_spread THEN v_stock.buckets[array_position(v_totals.product_ids, l.product_id)] ELSE 0 END
    FROM unnest(v_lines.places, v_lines.numbers, v_lines.product_ids, v_lines.vendor_ids, v_lines.skus, v_lines.names,
                v_lines.quantities, v_lines.prices)
        AS l (place, line_number, product_id, vendor_id, sku, name, quantity, price)
    WHERE v_is_open[l.place];
    INSERT INTO inventory_updates (tenant_id, product_id, order_id, delta_available, delta_reserved, reason)
    SELECT v_tenant, w.product_id, v_ids[w.place], -w.quantity, w.quantity, 'order'
    FROM unnest(v_wanted.places, v_wanted.product_ids, v_wanted.quantities) AS w (place, product_id, quantity)
    WHERE v_is_open[w.place];
    INSERT INTO inventory_reservations (tenant_id, order_id, expires_at)
    SELECT v_tenant, v_ids[o.place], clock_timestamp() + p_holds[o.place] FROM unnest(v_orders.places) AS o (place);
    UPDATE inventory n
    SET available_quantity = n.available_quantity - w.quantity, reserved_quantity = n.reserved_quantity + w.quantity
    FROM (SELECT w.product_id, sum(w.quantity)::integer AS quantity,
                 CASE WHEN v_is_spread THEN v_stock.buckets[array_position(v_totals.product_ids, w.product_id)] ELSE 0
                 END AS bucket_number
          FROM unnest(v_wanted.places, v_wanted.product_ids, v_wanted.quantities) AS w (place, product_id, quantity)
          WHERE v_is_open[w.place]
          GROUP BY w.product_id) AS w
    WHERE n.tenant_id = v_tenant AND n.product_id = w.product_id AND n.bucket_number = w.bucket_number;
    IF true = ANY (v_stock.gathered) THEN
        PERFORM level_stock(w.product_id)
        FROM unnest(v_totals.product_ids, v_stock.gathered) AS w (product_id, was_gathered) WHERE w.was_gathered;
    END IF;
    IF v_open_count = 1 THEN
        SELECT a.positions, a.recorded_at INTO v_positions, v_recorded_at
        FROM append_events('Order', v_ids[v_orders.places[1]], 0, ARRAY['OrderPlaced']::varchar[], v_orders.facts,
                           p_metadata[v_orders.places[1]]) a;
    ELSE
        SELECT a.positions, a.recorded_at INTO v_positions, v_recorded_at
        FROM append_streams_all(
            array_fill('Order'::varchar, ARRAY[v_open_count]), ARRAY(SELECT v_ids[o.place] FROM unnest(v_orders.places) AS o (place)),
            array_fill(0, ARRAY[v_open_count]), array_fill(1, ARRAY[v_open_count]),
            array_fill('OrderPlaced'::varchar, ARRAY[v_open_count]), v_orders.facts,
            ARRAY(SELECT p_metadata[o.place] FROM unnest(v_orders.places) AS o (place))) a;
    END IF;
    RETURN QUERY SELECT w.outcome, w.order_id, coalesce(o.facts, w.facts), o.event_position, v_recorded_at
                 FROM unnest(v_outcomes, v_ids, v_facts) WITH ORDINALITY AS w (outcome, order_id, facts, place)
                 LEFT JOIN unnest(v_orders.places, v_orders.facts, v_positions) AS o (place, facts, event_position)
                     ON o.place = w.place
                 ORDER BY w.place;
END
$$;
COMMENT ON FUNCTION place_orders(uuid[], varchar[], uuid[], varchar[], timestamp with time zone[], varchar[], bytea[],
    interval[], jsonb[], integer[], integer[], uuid[], integer[], numeric[]) IS
    'Places orders, each whole or not at all: stock, order, items, ledger, reservation, event and idempotency key';

-- migrate:down
DROP FUNCTION place_orders(uuid[], varchar[], uuid[], varchar[], timestamp with time zone[], varchar[], bytea[],
    interval[], jsonb[], integer[], integer[], uuid[], integer[], numeric[]);
DROP FUNCTION deal_stock(integer, integer[], integer[], bigint[], bigint[]);
DROP FUNCTION known_orders(varchar[], bytea[], uuid[]);
