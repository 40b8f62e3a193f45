-- What organisations use, as the product reports it. Append-only.

CREATE TABLE usage_events (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organisation_id  text NOT NULL,
    user_id          text NOT NULL,
    feature          text NOT NULL CHECK (feature <> ''),
    units            integer NOT NULL CHECK (units > 0),
    occurred_at      timestamptz NOT NULL,
    FOREIGN KEY (organisation_id, user_id) REFERENCES users (organisation_id, id) ON DELETE CASCADE
);

CREATE INDEX usage_events_by_time ON usage_events (organisation_id, occurred_at);

CREATE FUNCTION refuse_rewriting_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'usage events are append-only' USING ERRCODE = 'restrict_violation';
END
$$;

CREATE TRIGGER usage_events_append_only BEFORE UPDATE ON usage_events
    FOR EACH ROW EXECUTE FUNCTION refuse_rewriting_usage();
