-- Migration: Catalogue
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Vendors, categories and products
-- Standard: §2.1 Naming Conventions, §2.3 Foreign Key Standards, §5.1 Primary Indexes, §8.2 Soft Deletion

-- migrate:up
CREATE TABLE vendors (
    tenant_id uuid NOT NULL,
    vendor_id uuid DEFAULT uuidv7() NOT NULL,
    vendor_name varchar(255) NOT NULL,
    status varchar(20) DEFAULT 'active' NOT NULL,
    commission_rate numeric(5,4) DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_vendors PRIMARY KEY (tenant_id, vendor_id),
    CONSTRAINT uq_vendors_vendor_name UNIQUE (tenant_id, vendor_name),
    CONSTRAINT chk_vendors_status CHECK (status IN ('active', 'suspended', 'closed')),
    CONSTRAINT chk_vendors_commission_rate CHECK (commission_rate BETWEEN 0 AND 1)
);
COMMENT ON TABLE vendors IS 'Sellers whose products the shop offers; the shop itself is the vendor named house';
COMMENT ON COLUMN vendors.tenant_id IS 'Tenant the vendor sells in';
COMMENT ON COLUMN vendors.vendor_id IS 'Unique identifier of the vendor';
COMMENT ON COLUMN vendors.vendor_name IS 'Under which customers know who sells';
COMMENT ON COLUMN vendors.status IS 'active, suspended or closed';
COMMENT ON COLUMN vendors.commission_rate IS 'Share of each sale that the shop keeps, 0 to 1';
COMMENT ON COLUMN vendors.created_at IS 'When the vendor joined';
COMMENT ON COLUMN vendors.updated_at IS 'When this row last changed';

CREATE TABLE categories (
    tenant_id uuid NOT NULL,
    category_id uuid DEFAULT uuidv7() NOT NULL,
    parent_category_id uuid,
    category_name varchar(255) NOT NULL,
    slug varchar(100) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_categories PRIMARY KEY (tenant_id, category_id),
    CONSTRAINT uq_categories_slug UNIQUE (tenant_id, slug),
    CONSTRAINT fk_categories_parent_category_id FOREIGN KEY (tenant_id, parent_category_id)
        REFERENCES categories (tenant_id, category_id) ON DELETE SET NULL (parent_category_id),
    CONSTRAINT chk_categories_slug_format CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$')
);
CREATE INDEX idx_categories_parent_category_id ON categories (tenant_id, parent_category_id);
COMMENT ON TABLE categories IS 'Tree of product categories';
COMMENT ON COLUMN categories.tenant_id IS 'Tenant whose catalogue it is';
COMMENT ON COLUMN categories.category_id IS 'Unique identifier of the category';
COMMENT ON COLUMN categories.parent_category_id IS 'Category above it, NULL at the top';
COMMENT ON COLUMN categories.category_name IS 'Name shown to customers';
COMMENT ON COLUMN categories.slug IS 'Name used in addresses';
COMMENT ON COLUMN categories.created_at IS 'When the category was made';
COMMENT ON COLUMN categories.updated_at IS 'When this row last changed';

CREATE TABLE products (
    tenant_id uuid NOT NULL,
    product_id uuid DEFAULT uuidv7() NOT NULL,
    vendor_id uuid NOT NULL,
    category_id uuid,
    sku varchar(64) NOT NULL,
    name varchar(255) NOT NULL,
    description text,
    status varchar(20) DEFAULT 'active' NOT NULL,
    price numeric(19,4) NOT NULL,
    currency char(3) NOT NULL,
    weight numeric(8,3),
    rating numeric(3,2),
    attributes jsonb DEFAULT '{}' NOT NULL,
    product_version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT pk_products PRIMARY KEY (tenant_id, product_id),
    -- cloudlab: ignore RT02 because old orders and invoices name the SKU: one that is gone must not mean another product
    CONSTRAINT uq_products_sku UNIQUE (tenant_id, sku),
    CONSTRAINT fk_products_vendor_id FOREIGN KEY (tenant_id, vendor_id)
        REFERENCES vendors (tenant_id, vendor_id) ON DELETE RESTRICT,
    CONSTRAINT fk_products_category_id FOREIGN KEY (tenant_id, category_id)
        REFERENCES categories (tenant_id, category_id) ON DELETE SET NULL (category_id),
    CONSTRAINT chk_products_sku_not_empty CHECK (sku <> ''),
    CONSTRAINT chk_products_status CHECK (status IN ('draft', 'active', 'retired')),
    CONSTRAINT chk_products_price_not_negative CHECK (price >= 0),
    CONSTRAINT chk_products_currency_format CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT chk_products_weight_not_negative CHECK (weight >= 0),
    CONSTRAINT chk_products_rating_range CHECK (rating BETWEEN 0 AND 5)
);
CREATE INDEX idx_products_vendor_id_status ON products (tenant_id, vendor_id, status);
CREATE INDEX idx_products_category_id ON products (tenant_id, category_id);
COMMENT ON TABLE products IS 'Catalogue: what may be bought at what price; how many there are stands in inventory';
COMMENT ON COLUMN products.tenant_id IS 'Tenant whose catalogue it is';
COMMENT ON COLUMN products.product_id IS 'Unique identifier of the product';
COMMENT ON COLUMN products.vendor_id IS 'Vendor who sells it';
COMMENT ON COLUMN products.category_id IS 'Category it is listed in';
COMMENT ON COLUMN products.sku IS 'Stock keeping unit, unique in its tenant for ever';
COMMENT ON COLUMN products.name IS 'Name shown to customers';
COMMENT ON COLUMN products.description IS 'Text shown to customers';
COMMENT ON COLUMN products.status IS 'draft, active or retired';
COMMENT ON COLUMN products.price IS 'Price of one unit';
COMMENT ON COLUMN products.currency IS 'ISO 4217 currency of the price';
COMMENT ON COLUMN products.weight IS 'Weight in kilograms';
COMMENT ON COLUMN products.rating IS 'Average rating, 0.00 to 5.00';
COMMENT ON COLUMN products.attributes IS 'Further properties by name';
COMMENT ON COLUMN products.product_version IS 'Version of the product, equal to that of its event stream; orders cached copies';
COMMENT ON COLUMN products.created_at IS 'When the product was added';
COMMENT ON COLUMN products.updated_at IS 'When this row last changed';
COMMENT ON COLUMN products.deleted_at IS 'When the product was deleted softly, NULL while it exists';

SELECT protect_table('vendors', 'true', 'INSERT, UPDATE');
SELECT protect_table('categories', 'true', 'INSERT, UPDATE, DELETE');
SELECT protect_table('products', 'true', 'INSERT, UPDATE');

CREATE TRIGGER trg_vendors_updated_at BEFORE UPDATE ON vendors FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER trg_categories_updated_at BEFORE UPDATE ON categories FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER trg_products_updated_at BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- migrate:down
DROP TABLE products;
DROP TABLE categories;
DROP TABLE vendors;
