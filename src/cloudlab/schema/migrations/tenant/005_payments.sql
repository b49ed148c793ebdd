-- Migration: Payments
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Payments and what the provider did, refunds, credit notes, shipments and vendor commissions
-- Standard: §2.2 Standard Data Types, §3.1 Strong Consistency (CP from CAP)

-- migrate:up
CREATE TABLE payments (
    tenant_id uuid NOT NULL,
    payment_id uuid DEFAULT uuidv7() NOT NULL,
    order_id uuid NOT NULL,
    payment_method payment_method NOT NULL,
    provider varchar(50) NOT NULL,
    status varchar(20) NOT NULL,
    currency char(3) NOT NULL,
    amount numeric(19,4) NOT NULL,
    captured_amount numeric(19,4) DEFAULT 0 NOT NULL,
    refunded_amount numeric(19,4) DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_payments PRIMARY KEY (tenant_id, payment_id),
    CONSTRAINT fk_payments_order_id FOREIGN KEY (tenant_id, order_id)
        REFERENCES orders (tenant_id, order_id) ON DELETE RESTRICT,
    CONSTRAINT chk_payments_status CHECK
        (status IN ('created', 'authorized', 'captured', 'partially_refunded', 'refunded', 'voided', 'failed', 'unknown')),
    CONSTRAINT chk_payments_currency_format CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT chk_payments_amount_not_negative CHECK (amount >= 0),
    CONSTRAINT chk_payments_captured_within_amount CHECK (captured_amount BETWEEN 0 AND amount),
    CONSTRAINT chk_payments_refunded_within_captured CHECK (refunded_amount BETWEEN 0 AND captured_amount)
);
CREATE INDEX idx_payments_order_id_status ON payments (tenant_id, order_id, status);
COMMENT ON TABLE payments IS 'Payments of orders';
COMMENT ON COLUMN payments.tenant_id IS 'Tenant that is paid';
COMMENT ON COLUMN payments.payment_id IS 'Unique identifier of the payment';
COMMENT ON COLUMN payments.order_id IS 'Order it pays for';
COMMENT ON COLUMN payments.payment_method IS 'Way it is paid';
COMMENT ON COLUMN payments.provider IS 'Who moves the money, by its short name';
COMMENT ON COLUMN payments.status IS 'What has become of it, as its transactions say: created, authorized, captured, partially_refunded, refunded, voided, failed or unknown';
COMMENT ON COLUMN payments.currency IS 'ISO 4217 currency of its amounts';
COMMENT ON COLUMN payments.amount IS 'Amount asked for';
COMMENT ON COLUMN payments.captured_amount IS 'Amount received';
COMMENT ON COLUMN payments.refunded_amount IS 'Amount given back';
COMMENT ON COLUMN payments.created_at IS 'When the payment began';
COMMENT ON COLUMN payments.updated_at IS 'When this row last changed';

CREATE TABLE payment_transactions (
    tenant_id uuid NOT NULL,
    transaction_id uuid DEFAULT uuidv7() NOT NULL,
    payment_id uuid NOT NULL,
    transaction_type varchar(20) NOT NULL,
    status varchar(20) NOT NULL,
    amount numeric(19,4) NOT NULL,
    currency char(3) NOT NULL,
    provider_reference varchar(255),
    idempotency_key varchar(200) NOT NULL,
    return_id uuid,
    reason varchar(255),
    failure varchar(255),
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_payment_transactions PRIMARY KEY (tenant_id, transaction_id),
    CONSTRAINT uq_payment_transactions_idempotency_key UNIQUE (tenant_id, idempotency_key),
    CONSTRAINT fk_payment_transactions_payment_id FOREIGN KEY (tenant_id, payment_id)
        REFERENCES payments (tenant_id, payment_id) ON DELETE RESTRICT,
    CONSTRAINT chk_payment_transactions_type CHECK (transaction_type IN ('authorize', 'capture', 'void', 'refund', 'chargeback')),
    CONSTRAINT chk_payment_transactions_status CHECK (status IN ('pending', 'succeeded', 'failed', 'unknown')),
    CONSTRAINT chk_payment_transactions_amount_not_negative CHECK (amount >= 0),
    CONSTRAINT chk_payment_transactions_success_has_reference
        CHECK (status <> 'succeeded' OR provider_reference IS NOT NULL)
);
CREATE INDEX idx_payment_transactions_payment_id ON payment_transactions (tenant_id, payment_id);
-- Few at any time, so what nobody knows the end of is found at once.
CREATE INDEX idx_payment_transactions_open ON payment_transactions (tenant_id, created_at)
    WHERE status IN ('pending', 'unknown');
COMMENT ON TABLE payment_transactions IS 'What was asked of the provider and what it answered; entered before it is asked, answered once';
COMMENT ON COLUMN payment_transactions.tenant_id IS 'Tenant that is paid';
COMMENT ON COLUMN payment_transactions.transaction_id IS 'Unique identifier of the transaction';
COMMENT ON COLUMN payment_transactions.payment_id IS 'Payment it belongs to';
COMMENT ON COLUMN payment_transactions.transaction_type IS 'authorize, capture, void, refund or chargeback';
COMMENT ON COLUMN payment_transactions.status IS 'pending while it is asked, then succeeded, failed, or unknown when it did not answer';
COMMENT ON COLUMN payment_transactions.amount IS 'Amount moved';
COMMENT ON COLUMN payment_transactions.currency IS 'ISO 4217 currency of the amount';
COMMENT ON COLUMN payment_transactions.provider_reference IS 'How the provider calls it, NULL until it has answered';
COMMENT ON COLUMN payment_transactions.idempotency_key IS 'Key under which the provider was asked';
COMMENT ON COLUMN payment_transactions.return_id IS 'Goods that a refund is for, NULL for none';
COMMENT ON COLUMN payment_transactions.reason IS 'Why money is given back';
COMMENT ON COLUMN payment_transactions.failure IS 'Why the provider refused';
COMMENT ON COLUMN payment_transactions.created_at IS 'When it was recorded';

CREATE TABLE payment_webhooks (
    tenant_id uuid NOT NULL,
    provider varchar(50) NOT NULL,
    event_id varchar(255) NOT NULL,
    transaction_type varchar(20) NOT NULL,
    status varchar(20) NOT NULL,
    provider_reference varchar(255) NOT NULL,
    idempotency_key varchar(200),
    amount numeric(19,4) NOT NULL,
    currency char(3) NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_payment_webhooks PRIMARY KEY (tenant_id, provider, event_id),
    CONSTRAINT chk_payment_webhooks_type CHECK (transaction_type IN ('authorize', 'capture', 'void', 'refund', 'chargeback')),
    CONSTRAINT chk_payment_webhooks_status CHECK (status IN ('pending', 'succeeded', 'failed', 'unknown'))
);
COMMENT ON TABLE payment_webhooks IS 'What providers said of their own accord, each message once, append-only';
COMMENT ON COLUMN payment_webhooks.tenant_id IS 'Tenant that is paid';
COMMENT ON COLUMN payment_webhooks.provider IS 'Who sent the message, by its short name';
COMMENT ON COLUMN payment_webhooks.event_id IS 'How the provider calls the message; the same when it sends it again';
COMMENT ON COLUMN payment_webhooks.transaction_type IS 'authorize, capture, void, refund or chargeback';
COMMENT ON COLUMN payment_webhooks.status IS 'pending, succeeded, failed or unknown';
COMMENT ON COLUMN payment_webhooks.provider_reference IS 'How the provider calls what it did';
COMMENT ON COLUMN payment_webhooks.idempotency_key IS 'Key under which we had asked, NULL when nobody of ours did';
COMMENT ON COLUMN payment_webhooks.amount IS 'Amount moved';
COMMENT ON COLUMN payment_webhooks.currency IS 'ISO 4217 currency of the amount';
COMMENT ON COLUMN payment_webhooks.occurred_at IS 'When it happened, by the provider''s clock';
COMMENT ON COLUMN payment_webhooks.received_at IS 'When it arrived here';

CREATE TABLE return_lines (
    tenant_id uuid NOT NULL,
    order_id uuid NOT NULL,
    line_number integer NOT NULL,
    return_id uuid NOT NULL,
    quantity integer NOT NULL,
    is_restocked boolean NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_return_lines PRIMARY KEY (tenant_id, order_id, line_number, return_id),
    CONSTRAINT fk_return_lines_order_item FOREIGN KEY (tenant_id, order_id, line_number)
        REFERENCES order_items (tenant_id, order_id, line_number) ON DELETE CASCADE,
    CONSTRAINT chk_return_lines_quantity_positive CHECK (quantity > 0)
);
COMMENT ON TABLE return_lines IS 'Goods that refunds are for';
COMMENT ON COLUMN return_lines.tenant_id IS 'Tenant that pays back';
COMMENT ON COLUMN return_lines.order_id IS 'Order they belong to';
COMMENT ON COLUMN return_lines.line_number IS 'Line of the order';
COMMENT ON COLUMN return_lines.return_id IS 'Unique identifier of the return';
COMMENT ON COLUMN return_lines.quantity IS 'Units';
COMMENT ON COLUMN return_lines.is_restocked IS 'Whether they came back and may be sold again';
COMMENT ON COLUMN return_lines.created_at IS 'When it was entered';

CREATE TABLE refunds (
    tenant_id uuid NOT NULL,
    refund_id uuid DEFAULT uuidv7() NOT NULL,
    payment_id uuid NOT NULL,
    order_id uuid NOT NULL,
    amount numeric(19,4) NOT NULL,
    currency char(3) NOT NULL,
    reason varchar(255) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_refunds PRIMARY KEY (tenant_id, refund_id),
    CONSTRAINT fk_refunds_payment_id FOREIGN KEY (tenant_id, payment_id)
        REFERENCES payments (tenant_id, payment_id) ON DELETE RESTRICT,
    CONSTRAINT fk_refunds_order_id FOREIGN KEY (tenant_id, order_id)
        REFERENCES orders (tenant_id, order_id) ON DELETE RESTRICT,
    CONSTRAINT chk_refunds_amount_positive CHECK (amount > 0)
);
CREATE INDEX idx_refunds_payment_id ON refunds (tenant_id, payment_id);
CREATE INDEX idx_refunds_order_id ON refunds (tenant_id, order_id);
COMMENT ON TABLE refunds IS 'Money given back on a payment';
COMMENT ON COLUMN refunds.tenant_id IS 'Tenant that pays back';
COMMENT ON COLUMN refunds.refund_id IS 'Unique identifier of the refund';
COMMENT ON COLUMN refunds.payment_id IS 'Payment it is taken from';
COMMENT ON COLUMN refunds.order_id IS 'Order it is for';
COMMENT ON COLUMN refunds.amount IS 'Amount given back';
COMMENT ON COLUMN refunds.currency IS 'ISO 4217 currency of the amount';
COMMENT ON COLUMN refunds.reason IS 'Why';
COMMENT ON COLUMN refunds.created_at IS 'When it was made';

CREATE TABLE credit_notes (
    tenant_id uuid NOT NULL,
    credit_note_number varchar(50) NOT NULL,
    line_number integer NOT NULL,
    user_id uuid,
    product_id uuid,
    sku varchar(64) NOT NULL,
    quantity integer NOT NULL,
    price numeric(19,4) NOT NULL,
    line_total numeric(19,4) GENERATED ALWAYS AS (quantity * price) STORED NOT NULL,
    currency char(3) NOT NULL,
    credited_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_credit_notes PRIMARY KEY (tenant_id, credit_note_number, line_number),
    CONSTRAINT fk_credit_notes_user_id FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, user_id) ON DELETE RESTRICT,
    CONSTRAINT fk_credit_notes_product_id FOREIGN KEY (tenant_id, product_id)
        REFERENCES products (tenant_id, product_id) ON DELETE RESTRICT,
    CONSTRAINT chk_credit_notes_quantity_negative CHECK (quantity < 0),
    CONSTRAINT chk_credit_notes_price_not_negative CHECK (price >= 0)
);
CREATE INDEX idx_credit_notes_user_id ON credit_notes (tenant_id, user_id);
CREATE INDEX idx_credit_notes_product_id ON credit_notes (tenant_id, product_id);
COMMENT ON TABLE credit_notes IS 'Lines of credit notes that name no order, as older systems hand them over; quantities are negative';
COMMENT ON COLUMN credit_notes.tenant_id IS 'Tenant that gives the credit';
COMMENT ON COLUMN credit_notes.credit_note_number IS 'Number shown to people';
COMMENT ON COLUMN credit_notes.line_number IS 'Place of the line in the credit note, from 1';
COMMENT ON COLUMN credit_notes.user_id IS 'Customer, NULL for a guest';
COMMENT ON COLUMN credit_notes.product_id IS 'Product returned, NULL for discounts and corrections';
COMMENT ON COLUMN credit_notes.sku IS 'SKU or code on the line';
COMMENT ON COLUMN credit_notes.quantity IS 'Units, negative';
COMMENT ON COLUMN credit_notes.price IS 'Price of one unit';
COMMENT ON COLUMN credit_notes.line_total IS 'Quantity times price, negative';
COMMENT ON COLUMN credit_notes.currency IS 'ISO 4217 currency of the price';
COMMENT ON COLUMN credit_notes.credited_at IS 'When the credit was given';
COMMENT ON COLUMN credit_notes.created_at IS 'When it was recorded here';

CREATE TABLE shipments (
    tenant_id uuid NOT NULL,
    shipment_id uuid DEFAULT uuidv7() NOT NULL,
    order_id uuid NOT NULL,
    vendor_id uuid,
    carrier varchar(100),
    tracking_number varchar(100),
    shipped_at timestamp with time zone NOT NULL,
    delivered_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_shipments PRIMARY KEY (tenant_id, shipment_id),
    CONSTRAINT uq_shipments_order_id_vendor_id UNIQUE (tenant_id, order_id, vendor_id),
    CONSTRAINT fk_shipments_order_id FOREIGN KEY (tenant_id, order_id)
        REFERENCES orders (tenant_id, order_id) ON DELETE RESTRICT,
    CONSTRAINT chk_shipments_delivered_after_shipped CHECK (delivered_at >= shipped_at)
);
COMMENT ON TABLE shipments IS 'Parcels sent for an order';
COMMENT ON COLUMN shipments.tenant_id IS 'Tenant that ships';
COMMENT ON COLUMN shipments.shipment_id IS 'Unique identifier of the shipment';
COMMENT ON COLUMN shipments.order_id IS 'Order it belongs to';
COMMENT ON COLUMN shipments.vendor_id IS 'Vendor whose part of the order it is, NULL for the whole order in one parcel';
COMMENT ON COLUMN shipments.carrier IS 'Who carries it';
COMMENT ON COLUMN shipments.tracking_number IS 'Number of the carrier';
COMMENT ON COLUMN shipments.shipped_at IS 'When it left';
COMMENT ON COLUMN shipments.delivered_at IS 'When it arrived';
COMMENT ON COLUMN shipments.created_at IS 'When it was recorded';
COMMENT ON COLUMN shipments.updated_at IS 'When this row last changed';

CREATE TABLE vendor_commissions (
    tenant_id uuid NOT NULL,
    commission_id uuid DEFAULT uuidv7() NOT NULL,
    vendor_id uuid NOT NULL,
    order_id uuid NOT NULL,
    refund_id uuid,
    currency char(3) NOT NULL,
    gross_amount numeric(19,4) NOT NULL,
    commission_rate numeric(5,4) NOT NULL,
    commission_amount numeric(19,4) NOT NULL,
    net_amount numeric(19,4) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_vendor_commissions PRIMARY KEY (tenant_id, commission_id),
    CONSTRAINT fk_vendor_commissions_vendor_id FOREIGN KEY (tenant_id, vendor_id)
        REFERENCES vendors (tenant_id, vendor_id) ON DELETE RESTRICT,
    CONSTRAINT fk_vendor_commissions_order_id FOREIGN KEY (tenant_id, order_id)
        REFERENCES orders (tenant_id, order_id) ON DELETE RESTRICT,
    CONSTRAINT fk_vendor_commissions_refund_id FOREIGN KEY (tenant_id, refund_id)
        REFERENCES refunds (tenant_id, refund_id) ON DELETE RESTRICT,
    CONSTRAINT chk_vendor_commissions_gross_is_sum CHECK (gross_amount = commission_amount + net_amount)
);
CREATE INDEX idx_vendor_commissions_vendor_id ON vendor_commissions (tenant_id, vendor_id, created_at);
CREATE INDEX idx_vendor_commissions_order_id ON vendor_commissions (tenant_id, order_id);
CREATE INDEX idx_vendor_commissions_refund_id ON vendor_commissions (tenant_id, refund_id) WHERE refund_id IS NOT NULL;
COMMENT ON TABLE vendor_commissions IS 'Ledger of what each vendor earned on each order; a refund adds a negative row';
COMMENT ON COLUMN vendor_commissions.tenant_id IS 'Tenant that keeps the commission';
COMMENT ON COLUMN vendor_commissions.commission_id IS 'Unique identifier of the entry';
COMMENT ON COLUMN vendor_commissions.vendor_id IS 'Vendor who earned it';
COMMENT ON COLUMN vendor_commissions.order_id IS 'Order it was earned on';
COMMENT ON COLUMN vendor_commissions.refund_id IS 'Refund that takes it back, NULL for a sale';
COMMENT ON COLUMN vendor_commissions.currency IS 'ISO 4217 currency of its amounts';
COMMENT ON COLUMN vendor_commissions.gross_amount IS 'What the customer paid for the vendor''s lines';
COMMENT ON COLUMN vendor_commissions.commission_rate IS 'Share the shop keeps';
COMMENT ON COLUMN vendor_commissions.commission_amount IS 'What the shop keeps';
COMMENT ON COLUMN vendor_commissions.net_amount IS 'What the vendor gets';
COMMENT ON COLUMN vendor_commissions.created_at IS 'When it was entered';

SELECT protect_table(t.name,
    format('EXISTS (SELECT FROM orders o WHERE o.tenant_id = %1$s.tenant_id AND o.order_id = %1$s.order_id)', t.name), t.grants)
FROM (VALUES ('payments', 'INSERT, UPDATE'), ('refunds', 'INSERT'), ('shipments', 'INSERT, UPDATE'),
             ('vendor_commissions', 'INSERT'), ('return_lines', 'INSERT')) AS t (name, grants);
SELECT protect_table('payment_transactions',
    'EXISTS (SELECT FROM payments p WHERE p.tenant_id = payment_transactions.tenant_id'
    ' AND p.payment_id = payment_transactions.payment_id)', 'INSERT, UPDATE');
SELECT protect_table('payment_webhooks', '(SELECT cloudlab.current_user_id()) IS NULL', 'INSERT');
SELECT protect_table('credit_notes', 'user_id = (SELECT cloudlab.current_user_id())', 'INSERT');

CREATE TRIGGER trg_payments_updated_at BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER trg_shipments_updated_at BEFORE UPDATE ON shipments FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER trg_payment_webhooks_append_only BEFORE UPDATE OR DELETE ON payment_webhooks
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
-- An answer is entered once. Only a success may still follow what was held for a failure: the provider has the last word.
CREATE TRIGGER trg_payment_transactions_answer_once BEFORE UPDATE ON payment_transactions
    FOR EACH ROW WHEN (OLD.status = 'succeeded' OR OLD.status = 'failed' AND NEW.status <> 'succeeded'
        OR (OLD.payment_id, OLD.transaction_type, OLD.amount, OLD.currency, OLD.idempotency_key)
            <> (NEW.payment_id, NEW.transaction_type, NEW.amount, NEW.currency, NEW.idempotency_key))
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER trg_payment_transactions_kept BEFORE DELETE ON payment_transactions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER trg_vendor_commissions_append_only BEFORE UPDATE OR DELETE ON vendor_commissions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- migrate:down
DROP TABLE vendor_commissions;
DROP TABLE shipments;
DROP TABLE credit_notes;
DROP TABLE refunds;
DROP TABLE return_lines;
DROP TABLE payment_webhooks;
DROP TABLE payment_transactions;
DROP TABLE payments;
