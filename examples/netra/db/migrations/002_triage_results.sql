-- One row per finished run of the triage agent, and a daily count that dashboards read.

CREATE TABLE triage_results (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organisation_id  text NOT NULL,
    user_id          text NOT NULL,
    message          text NOT NULL CHECK (message <> ''),
    severity         text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    category         text NOT NULL
                     CHECK (category IN ('performance', 'availability', 'security', 'billing', 'data', 'other')),
    summary          text NOT NULL CHECK (summary <> ''),
    degraded         boolean NOT NULL DEFAULT false,
    model            text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (organisation_id, user_id) REFERENCES users (organisation_id, id) ON DELETE CASCADE
);

CREATE INDEX triage_results_newest ON triage_results (organisation_id, created_at DESC);

-- What the person on call looks at first.
CREATE INDEX triage_results_urgent ON triage_results (created_at DESC) WHERE severity = 'critical' OR degraded;

CREATE TABLE triage_daily (
    organisation_id  text NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    day              date NOT NULL,
    severity         text NOT NULL,
    runs             integer NOT NULL CHECK (runs > 0),
    PRIMARY KEY (organisation_id, day, severity)
);

CREATE FUNCTION count_triage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO triage_daily (organisation_id, day, severity, runs)
    VALUES (NEW.organisation_id, (NEW.created_at AT TIME ZONE 'UTC')::date, NEW.severity, 1)
    ON CONFLICT (organisation_id, day, severity) DO UPDATE SET runs = triage_daily.runs + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER triage_results_counted AFTER INSERT ON triage_results
    FOR EACH ROW EXECUTE FUNCTION count_triage();
