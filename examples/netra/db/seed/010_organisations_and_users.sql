-- Every time is written out: two builds of the seed give the same rows to the byte.

INSERT INTO organisations (id, name, plan, created_at, updated_at) VALUES
    ('acme',   'Acme Logistics', 'enterprise', '2024-01-15 09:00+00', '2024-01-15 09:00+00'),
    ('globex', 'Globex Health',  'team',       '2024-03-02 14:30+00', '2024-03-02 14:30+00'),
    ('empty',  'Empty Labs',     'free',       '2024-08-01 08:00+00', '2024-08-01 08:00+00');

INSERT INTO users (id, organisation_id, email, display_name, active, created_at, updated_at) VALUES
    ('test',   'acme',   'test@acme.example',     'Test User',    true,  '2024-01-15 09:05+00', '2024-01-15 09:05+00'),
    ('ops',    'acme',   'ops@acme.example',      'Ops on Call',  true,  '2024-01-16 10:00+00', '2024-01-16 10:00+00'),
    ('former', 'acme',   'former@acme.example',   'Former Staff', false, '2024-01-17 11:00+00', '2024-06-30 17:00+00'),
    ('clinic', 'globex', 'clinic@globex.example', 'Clinic Desk',  true,  '2024-03-02 14:35+00', '2024-03-02 14:35+00'),
    ('new',    'empty',  'new@empty.example',     'New Founder',  true,  '2024-08-01 08:05+00', '2024-08-01 08:05+00');
