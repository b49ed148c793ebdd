-- Migration: Sales of each product by day
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: A read model that follows the events of orders
-- Standard: §3.1 Eventual Consistency (AP from CAP), §1.2 Data Domain Mapping

-- migrate:up
CREATE TABLE product_sales (
    tenant_id uuid NOT NULL,
    product_id uuid NOT NULL,
    sold_on date NOT NULL,
    currency char(3) NOT NULL,
    order_count integer NOT NULL,
    unit_count bigint NOT NULL,
    revenue_amount numeric(19,4) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_product_sales PRIMARY KEY (tenant_id, sold_on, product_id, currency),
    CONSTRAINT chk_product_sales_order_count_positive CHECK (order_count > 0),
    CONSTRAINT chk_product_sales_unit_count_positive CHECK (unit_count > 0)
) WITH (fillfactor = 80);
COMMENT ON TABLE product_sales IS 'What was ordered of each product on each day (UTC), a little behind the orders themselves';
COMMENT ON COLUMN product_sales.tenant_id IS 'Tenant that sells';
COMMENT ON COLUMN product_sales.product_id IS 'Product that was ordered';
COMMENT ON COLUMN product_sales.sold_on IS 'Day on which the orders were placed';
COMMENT ON COLUMN product_sales.currency IS 'ISO 4217 code of the currency of the amount';
COMMENT ON COLUMN product_sales.order_count IS 'Orders with this product';
COMMENT ON COLUMN product_sales.unit_count IS 'Units ordered';
COMMENT ON COLUMN product_sales.revenue_amount IS 'What they came to, cancelled and refunded ones included';
COMMENT ON COLUMN product_sales.created_at IS 'When the first order of that day arrived here';
COMMENT ON COLUMN product_sales.updated_at IS 'When the last one did';
CREATE TRIGGER trg_product_sales_updated_at BEFORE UPDATE ON product_sales
    FOR EACH ROW EXECUTE FUNCTION cloudlab.touch_updated_at();
SELECT protect_read_model('product_sales', '(SELECT cloudlab.current_user_id()) IS NULL');

-- migrate:down
DROP TABLE product_sales;
