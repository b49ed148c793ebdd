-- Migration: People
-- Author: CloudLab
-- Date: 2026-11-22
-- Description: Users, their profiles and their payment methods, and the value sets of the domain
-- Standard: §2.2 Standard Data Types, §2.2 Column Constraints, §8.2 Soft Deletion, §9.1 Encryption at Rest

-- migrate:up
DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM PUBLIC', current_schema());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO application_readonly, application_readwrite, application_admin, platform_worker',
        current_schema());
END
$$;

CREATE TYPE order_status AS ENUM
    ('draft', 'pending_payment', 'paid', 'processing', 'shipped', 'delivered', 'cancelled', 'refunded');
CREATE TYPE payment_method AS ENUM
    ('credit_card', 'debit_card', 'paypal', 'apple_pay', 'google_pay', 'bank_transfer', 'cryptocurrency');
CREATE TYPE user_role AS ENUM ('customer', 'vendor', 'admin', 'support');
COMMENT ON TYPE order_status IS 'States of an order; trg_orders_transition says which may follow which';
COMMENT ON TYPE payment_method IS 'Ways to pay';
COMMENT ON TYPE user_role IS 'What a user account may do';

CREATE TABLE users (
    tenant_id uuid NOT NULL,
    user_id uuid DEFAULT uuidv7() NOT NULL,
    email bytea,
    email_index bytea,
    password_hash varchar(255) DEFAULT '!' NOT NULL,
    role user_role DEFAULT 'customer' NOT NULL,
    first_name bytea,
    last_name bytea,
    phone_number bytea,
    phone_number_index bytea,
    date_of_birth bytea,
    is_active boolean DEFAULT true NOT NULL,
    email_verified boolean DEFAULT false NOT NULL,
    user_version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT pk_users PRIMARY KEY (tenant_id, user_id),
    -- What is sealed the database cannot read: shop.user_fields keeps the formats. It refuses what is not sealed; the
    -- bounds are those of 5 to 255 and of 1 to 100 characters of at most 4 bytes, and 33 bytes around them.
    CONSTRAINT chk_users_email_sealed CHECK (octet_length(email) BETWEEN 38 AND 1053),
    CONSTRAINT chk_users_email_indexed CHECK (octet_length(email_index) = 20 AND substring(email_index FROM 1 FOR 4) = '\x00000000'),
    CONSTRAINT chk_users_first_name_sealed CHECK (octet_length(first_name) BETWEEN 34 AND 433),
    CONSTRAINT chk_users_last_name_sealed CHECK (octet_length(last_name) BETWEEN 34 AND 433),
    CONSTRAINT chk_users_known_or_erased CHECK
        (num_nulls(email, email_index, first_name, last_name) IN (0, 4) AND (email IS NOT NULL OR deleted_at IS NOT NULL)),
    CONSTRAINT chk_users_phone_number_sealed CHECK (octet_length(phone_number) >= 34),
    CONSTRAINT chk_users_phone_number_indexed CHECK
        ((phone_number IS NULL) = (phone_number_index IS NULL) AND octet_length(phone_number_index) = 20),
    CONSTRAINT chk_users_date_of_birth_sealed CHECK (octet_length(date_of_birth) = 43)
);
CREATE UNIQUE INDEX uq_users_email ON users (tenant_id, email_index) WHERE deleted_at IS NULL;
CREATE INDEX idx_users_phone_number_index ON users (tenant_id, phone_number_index) WHERE phone_number_index IS NOT NULL;
COMMENT ON TABLE users IS 'User accounts for customers, vendors, and administrators';
COMMENT ON COLUMN users.tenant_id IS 'Tenant the account belongs to';
COMMENT ON COLUMN users.user_id IS 'Unique identifier for the user account';
COMMENT ON COLUMN users.email IS 'User email address, unique in its tenant whatever its case; sealed with a key of the tenant, NULL once the person was erased';
COMMENT ON COLUMN users.email_index IS 'Blind index of the address in lower case, by a key that is never rotated: equal addresses are equal always';
COMMENT ON COLUMN users.password_hash IS 'Salted scrypt hash, never plain text; ! means that nobody can log in';
COMMENT ON COLUMN users.role IS 'What the account may do';
COMMENT ON COLUMN users.first_name IS 'Given name, sealed with a key of the tenant; NULL once the person was erased';
COMMENT ON COLUMN users.last_name IS 'Family name, sealed with a key of the tenant; NULL once the person was erased';
COMMENT ON COLUMN users.phone_number IS 'Telephone number in E.164 form, sealed with a key of the tenant';
COMMENT ON COLUMN users.phone_number_index IS 'Blind index of the telephone number: finds equal ones without reading them';
COMMENT ON COLUMN users.date_of_birth IS 'Date of birth, at least 13 years before registration; sealed with a key of the tenant';
COMMENT ON COLUMN users.is_active IS 'Whether the user account is active and can log in';
COMMENT ON COLUMN users.email_verified IS 'Whether the user has verified their email address';
COMMENT ON COLUMN users.user_version IS 'Version of the account, equal to that of its event stream';
COMMENT ON COLUMN users.created_at IS 'When the account was registered';
COMMENT ON COLUMN users.updated_at IS 'When this row last changed';
COMMENT ON COLUMN users.deleted_at IS 'When the account was deleted softly, NULL while it exists';

CREATE TABLE user_profiles (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    country char(2),
    locale varchar(35),
    preferences jsonb DEFAULT '{}' NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_user_profiles PRIMARY KEY (tenant_id, user_id),
    CONSTRAINT fk_user_profiles_user_id FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, user_id) ON DELETE CASCADE,
    CONSTRAINT chk_user_profiles_country_format CHECK (country ~ '^[A-Z]{2}$')
);
COMMENT ON TABLE user_profiles IS 'What a user prefers; may lag, never decides about stock or money';
COMMENT ON COLUMN user_profiles.tenant_id IS 'Tenant the user belongs to';
COMMENT ON COLUMN user_profiles.user_id IS 'Whose profile this is';
COMMENT ON COLUMN user_profiles.country IS 'ISO 3166 country code';
COMMENT ON COLUMN user_profiles.locale IS 'BCP 47 language tag';
COMMENT ON COLUMN user_profiles.preferences IS 'Preferences by name';
COMMENT ON COLUMN user_profiles.created_at IS 'When the profile was made';
COMMENT ON COLUMN user_profiles.updated_at IS 'When this row last changed';

CREATE TABLE user_payment_methods (
    tenant_id uuid NOT NULL,
    payment_method_id uuid DEFAULT uuidv7() NOT NULL,
    user_id uuid NOT NULL,
    payment_method payment_method NOT NULL,
    provider varchar(50) NOT NULL,
    provider_token varchar(255) NOT NULL,
    card_last_four varchar(4) NOT NULL,
    card_type varchar(50) NOT NULL,
    holder_name bytea,
    billing_address bytea,
    expiry_month integer NOT NULL,
    expiry_year integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_user_payment_methods PRIMARY KEY (tenant_id, payment_method_id),
    CONSTRAINT fk_user_payment_methods_user_id FOREIGN KEY (tenant_id, user_id)
        REFERENCES users (tenant_id, user_id) ON DELETE CASCADE,
    CONSTRAINT chk_user_payment_methods_last_four CHECK (card_last_four ~ '^\d{4}$'),
    CONSTRAINT chk_user_payment_methods_expiry_month CHECK (expiry_month BETWEEN 1 AND 12),
    CONSTRAINT chk_user_payment_methods_expiry_year CHECK (expiry_year BETWEEN 2000 AND 2199),
    CONSTRAINT chk_user_payment_methods_token_is_no_card CHECK (provider_token !~ '^\d{12,19}$'),
    CONSTRAINT chk_user_payment_methods_holder_name_sealed CHECK (octet_length(holder_name) >= 34),
    CONSTRAINT chk_user_payment_methods_billing_address_sealed CHECK (octet_length(billing_address) >= 34)
);
CREATE INDEX idx_user_payment_methods_user_id ON user_payment_methods (tenant_id, user_id);
COMMENT ON TABLE user_payment_methods IS 'Payment methods as the provider knows them; no card number is ever stored';
COMMENT ON COLUMN user_payment_methods.tenant_id IS 'Tenant the user belongs to';
COMMENT ON COLUMN user_payment_methods.payment_method_id IS 'Unique identifier of the payment method';
COMMENT ON COLUMN user_payment_methods.user_id IS 'User who owns it';
COMMENT ON COLUMN user_payment_methods.payment_method IS 'Way to pay';
COMMENT ON COLUMN user_payment_methods.provider IS 'Payment provider that issued the token';
COMMENT ON COLUMN user_payment_methods.provider_token IS 'Token of the provider, worthless to anybody else';
COMMENT ON COLUMN user_payment_methods.card_last_four IS 'Last four digits, for display';
COMMENT ON COLUMN user_payment_methods.card_type IS 'Brand of the card, for display';
COMMENT ON COLUMN user_payment_methods.holder_name IS 'Name on the card, sealed with a key of the tenant';
COMMENT ON COLUMN user_payment_methods.billing_address IS 'Address of the bill, sealed with a key of the tenant';
COMMENT ON COLUMN user_payment_methods.expiry_month IS 'Month in which it expires';
COMMENT ON COLUMN user_payment_methods.expiry_year IS 'Year in which it expires';
COMMENT ON COLUMN user_payment_methods.created_at IS 'When it was added';
COMMENT ON COLUMN user_payment_methods.updated_at IS 'When this row last changed';

SELECT protect_table('users', 'user_id = (SELECT cloudlab.current_user_id())', 'INSERT, UPDATE');
SELECT protect_table('user_profiles', 'user_id = (SELECT cloudlab.current_user_id())', 'INSERT, UPDATE, DELETE');
SELECT protect_table('user_payment_methods', 'user_id = (SELECT cloudlab.current_user_id())', 'INSERT, UPDATE, DELETE');

CREATE TRIGGER trg_users_updated_at BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER trg_user_profiles_updated_at BEFORE UPDATE ON user_profiles
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER trg_user_payment_methods_updated_at BEFORE UPDATE ON user_payment_methods
    FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE FUNCTION soft_delete_user(user_uuid uuid) RETURNS void
    LANGUAGE sql
    SET search_path FROM CURRENT
    AS $$
    UPDATE users
    SET deleted_at = now(), is_active = false, user_version = user_version + 1
    WHERE tenant_id = current_tenant() AND user_id = user_uuid AND deleted_at IS NULL
$$;
COMMENT ON FUNCTION soft_delete_user(uuid) IS 'Marks a user as deleted; a second call changes nothing';

-- migrate:down
DROP FUNCTION soft_delete_user(uuid);
DROP TABLE user_payment_methods;
DROP TABLE user_profiles;
DROP TABLE users;
DROP TYPE user_role;
DROP TYPE payment_method;
DROP TYPE order_status;
