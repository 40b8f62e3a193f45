-- Organisations, and the people who work in them. Ids are short words chosen by whoever signs up.

CREATE TABLE organisations (
    id          text PRIMARY KEY CHECK (id ~ '^[a-z0-9-]{1,40}$'),
    name        text NOT NULL CHECK (name <> ''),
    plan        text NOT NULL DEFAULT 'free' CHECK (plan IN ('free', 'team', 'enterprise')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    id               text PRIMARY KEY CHECK (id ~ '^[a-z0-9-]{1,40}$'),
    organisation_id  text NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    email            text NOT NULL,
    display_name     text NOT NULL,
    active           boolean NOT NULL DEFAULT true,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    -- Lets other tables refer to a user together with the organisation, so that the two cannot disagree.
    UNIQUE (organisation_id, id)
);

CREATE UNIQUE INDEX users_email_once ON users (lower(email));

CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TRIGGER organisations_updated_at BEFORE UPDATE ON organisations
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER users_updated_at BEFORE UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
