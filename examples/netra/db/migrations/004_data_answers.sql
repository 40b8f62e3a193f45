-- One row per answer of the data agent, with the look-ups that it rests on.

CREATE TABLE data_answers (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organisation_id  text NOT NULL,
    user_id          text NOT NULL,
    question         text NOT NULL CHECK (question <> ''),
    answer           text NOT NULL CHECK (answer <> ''),
    tool_runs        jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(tool_runs) = 'array'),
    degraded         boolean NOT NULL DEFAULT false,
    model            text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (organisation_id, user_id) REFERENCES users (organisation_id, id) ON DELETE CASCADE
);

CREATE INDEX data_answers_newest ON data_answers (organisation_id, created_at DESC);
