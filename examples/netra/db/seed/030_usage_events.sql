-- Eight days of usage: two acme users on two features with round figures, one globex user on one.

INSERT INTO usage_events (organisation_id, user_id, feature, units, occurred_at)
SELECT 'acme', 'test', 'search', 10 * day, timestamptz '2024-08-01 10:00+00' + (day - 1) * interval '1 day'
FROM generate_series(1, 8) AS day ORDER BY day;

INSERT INTO usage_events (organisation_id, user_id, feature, units, occurred_at)
SELECT 'acme', 'ops', 'export', 5, timestamptz '2024-08-01 16:00+00' + (day - 1) * interval '1 day'
FROM generate_series(1, 8, 2) AS day ORDER BY day;

INSERT INTO usage_events (organisation_id, user_id, feature, units, occurred_at)
SELECT 'globex', 'clinic', 'search', 1000, timestamptz '2024-08-01 12:00+00' + (day - 1) * interval '1 day'
FROM generate_series(1, 3) AS day ORDER BY day;
