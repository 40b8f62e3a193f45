-- Past runs; the trigger fills triage_daily.

INSERT INTO triage_results
    (id, organisation_id, user_id, message, severity, category, summary, degraded, model, created_at)
VALUES
    ('00000000-0000-4000-8000-000000000001', 'acme', 'ops', 'Nobody can log in since 09:00',
     'critical', 'availability', 'Logins fail for every user since 09:00.', false, 'gpt-4o-mini',
     '2024-08-01 09:10+00'),
    ('00000000-0000-4000-8000-000000000002', 'acme', 'test', 'The invoice shows last year''s address',
     'low', 'billing', 'An invoice carries an outdated address.', false, 'gpt-4o-mini',
     '2024-08-01 15:42+00'),
    ('00000000-0000-4000-8000-000000000003', 'globex', 'clinic', 'Export takes ten minutes',
     'medium', 'performance', 'Export takes ten minutes', true, 'gpt-4o-mini',
     '2024-08-02 07:20+00');
