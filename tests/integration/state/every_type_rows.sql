insert into everything (n, exact, f, r, b, s, t, v, c, ci, d, ts, tz, ti, ttz, iv, u, bin)
values ('12345678901234567890.1234567890', 1.5, 'NaN', '-Infinity', true, -7,
    E'a "q" ''s'' \\ \t\n: - # é 😀 \u2028\u0085\u007f', 'yes', 'ab', 'CiTe', '0044-03-15 BC', 'infinity',
    '2024-02-29 23:59:59.123456+05:45', '23:59:59.5', '12:00+02', '1 year 2 mons -3 days 04:05:06.7',
    '00000000-0000-0000-0000-00000000000a', '\x00ff');
insert into everything (js, jb, ip, net, mac, bits, vb, m, p, sm, dc, co, sp, ir, mr)
values ('{"a":  1.0, "a": 2, "b": [1e5]}',
    '{"n": 1.10, "big": 123456789012345678901234567890, "s": "\u00e9\u2028 \ud83d\ude00", "deep": [null, {"x": ""}]}',
    '10.1.2.3/8', '10.0.0.0/8', '08:00:2b:01:02:03', '101', '1', 'null', '(1,"x, ""y""")', 999, '{"k": [1, 2]}', 'c0de',
    '[1.5,)', '[1,5)', '{[1,2),[5,)}');
insert into everything (ia, ta, tza, ja, ma, pa, matrix, pt, tv, x, o, ch, nm, mo, rc)
values ('{1,null,3}', '{"a b","null",null,"","x\"y"}', '{"2024-01-01 00:00:00+00"}', array['{"a": 1}'::jsonb, '2'],
    '{sad,"so so"}', array[(1, 'x')::pair, null], '{{1,2},{3,4}}', '(1,2.5)', 'a:1 b:2', null, 7, 'z', 'nm', 12.34,
    'no_key');
insert into everything (n, exact, f, r, b, s, t, v, c, ci, d, ts, tz, ti, ttz, iv, bin, js, jb, ip, net, vb, m, p, sm, dc, co)
values (0, 0.000, '-0', 1e-30, false, 0, '', '', '', '', 'infinity', '1999-01-01', 'epoch', '00:00', '00:00Z', '0', '',
    'null', 'null', '::1', '::/0', '', 'sad', '(,)', 0, '"text"', '');
insert into everything (sp, ir, mr, ia, ta, tza, ja, ma, pa, matrix, tv, o, ch, nm, mo)
values ('empty', 'empty', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '', 0, '', '', 0);
insert into everything (n, f, r, t, v, ci, iv, js, jb, p, dc, sp, ir, ia, ta)
values (1e-20, 0.1, 'Infinity', 'null', '~', 'no', '-00:00:01', '[1, 2]', '[]', '(5,)', '{}', '(,5]', '(,)', '[2:3]={7,8}',
    '{{a},{b}}');
insert into everything (f, t, v, ci, js, jb) values (1e300, '2024-01-01', '12', '1e5', '"a"', '1.50');
insert into everything (t, v, js)
values ('!tag', '&x', '  {}'), ('- a', '*a', '1'), ('{a: b}', 'a: b', '1.0'), ('<<', '=', '0');
insert into "My App"."Odd: name" values (1, null, '=', true), (2, 'x' || chr(9), 'no', false);
insert into no_key values (1, 'x'), (1, 'x'), (null, null);
insert into parted values (2, 'b'), (1, 'a');
insert into parent values (1);
insert into child values (2, 'c');
