-- What does not depend on the user's tables. Runs once, in the template; every copy has it.
CREATE TABLE pg_realstack.dirty (unit int NOT NULL); -- to be compared as a whole; else its log has what was touched
CREATE TABLE pg_realstack.ddl (tag text, object text, query text, application text);
CREATE TABLE pg_realstack.temporary (pid int, namespace oid);
CREATE TABLE pg_realstack.units (
    unit int PRIMARY KEY, schema text, name text, shown text, blocked text, columns text[], key text[]
);
CREATE TABLE pg_realstack.sequences (
    name text PRIMARY KEY, shown text, last_value bigint, is_called boolean, caches boolean
);
CREATE TABLE pg_realstack.known (name text PRIMARY KEY, value text);

-- Commands that say nothing of what they changed are noted by their tag; CREATE … IF NOT EXISTS of something
-- that is there changes nothing, and what a DROP drops is told by sql_drop.
CREATE FUNCTION pg_realstack.on_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
BEGIN
    IF current_setting('realstack.resetting', true) = 'on' THEN RETURN; END IF;
    IF TG_TAG = 'REINDEX' THEN RETURN; END IF;
    IF NOT EXISTS (SELECT FROM pg_event_trigger_ddl_commands()) THEN
        IF TG_TAG NOT LIKE 'CREATE %' AND (TG_TAG NOT LIKE 'DROP %' OR TG_TAG = 'DROP OWNED') THEN
            INSERT INTO pg_realstack.ddl
            VALUES (TG_TAG, NULL, left(current_query(), 500), current_setting('application_name'));
        END IF;
        RETURN;
    END IF;
    INSERT INTO pg_realstack.ddl
    SELECT c.command_tag, concat_ws(' ', c.object_type, c.object_identity), left(current_query(), 500),
           current_setting('application_name')
    FROM pg_event_trigger_ddl_commands() c
    WHERE c.schema_name IS DISTINCT FROM 'pg_temp';
    INSERT INTO pg_realstack.temporary
    SELECT pg_backend_pid(), pg_my_temp_schema() FROM pg_event_trigger_ddl_commands() c
    WHERE c.schema_name = 'pg_temp' LIMIT 1;
END $$;

CREATE FUNCTION pg_realstack.on_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
BEGIN
    IF current_setting('realstack.resetting', true) = 'on' THEN RETURN; END IF;
    INSERT INTO pg_realstack.ddl
    SELECT TG_TAG, concat_ws(' ', d.object_type, d.object_identity), left(current_query(), 500),
           current_setting('application_name')
    FROM pg_event_trigger_dropped_objects() d WHERE NOT d.is_temporary AND d.original;
END $$;

-- A command that commits half-way leaves something behind where it fails: noted before it begins.
CREATE FUNCTION pg_realstack.on_start() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
BEGIN
    IF current_query() ~* 'concurrently' THEN
        INSERT INTO pg_realstack.ddl
        VALUES (TG_TAG, NULL, left(current_query(), 500), current_setting('application_name'));
    END IF;
END $$;

-- Who empties all tables that pg_tables lists empties ours too, and then nothing is left to be put back.
CREATE FUNCTION pg_realstack.on_meddling() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO pg_realstack.ddl
    VALUES (TG_OP, 'realstack''s own tables (schema pg_realstack, to be left out)', left(current_query(), 500),
            current_setting('application_name'));
    RETURN NULL;
END $$;

CREATE FUNCTION pg_realstack.event_triggers() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (
        SELECT coalesce(string_agg(concat_ws(' ', oid, evtname, evtenabled, evtfoid), ',' ORDER BY oid), '')
        FROM pg_catalog.pg_event_trigger);
END $$;

CREATE FUNCTION pg_realstack.large_objects() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (
        SELECT concat_ws('/',
            (SELECT md5(string_agg(concat_ws(' ', oid, xmin, ctid), ',' ORDER BY oid)) FROM pg_catalog.pg_largeobject_metadata),
            (SELECT md5(string_agg(concat_ws(' ', loid, pageno, xmin, ctid), ',' ORDER BY loid, pageno))
             FROM pg_catalog.pg_largeobject)));
END $$;

-- CLUSTER fires no event trigger, and is remembered for the next time.
CREATE FUNCTION pg_realstack.clustered() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT coalesce(string_agg(indexrelid::text, ',' ORDER BY indexrelid), '') FROM pg_catalog.pg_index WHERE indisclustered);
END $$;

-- Sessions that go on holding an advisory lock: the next test would wait for it.
CREATE FUNCTION pg_realstack.locking() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN (
        SELECT jsonb_object_agg(pid, held) FROM (
            SELECT pid, string_agg(CASE objsubid WHEN 1 THEN (classid::bigint << 32 | objid::bigint)::text
                                                 ELSE concat_ws(', ', classid::int, objid::int) END, '; ' ORDER BY classid, objid) AS held
            FROM pg_catalog.pg_locks
            WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
              AND pid <> pg_backend_pid()
            GROUP BY pid
        ) AS holders);
END $$;

-- `clean`: where the WAL was when the database was last known to be at the known state; `since`: the time of that look.
CREATE FUNCTION pg_realstack.reset(clean pg_lsn, around jsonb, server text, since timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    looked timestamptz := clock_timestamp();
    database oid := (SELECT oid FROM pg_database WHERE datname = current_database());
    here pg_lsn;
    found jsonb;
    others record;
    locking jsonb;
    moved text[];
    keeping int[];
    unit record;
    call text;
    tables text[] := '{}';
    said jsonb;
BEGIN
    -- Who is here beside us. `busy`: who is in a transaction; one that failed has no start any more. `active`: whether
    -- anybody ran a statement since. `lasting`: sessions whose last statement since then stays with them; nothing else
    -- tells of such a thing, and only its own session can take it back.
    SELECT jsonb_agg(jsonb_build_object('pid', pid, 'state', state, 'query', left(query, 500),
                                        'application', application_name)) FILTER (
               WHERE xact_start IS NOT NULL OR state LIKE 'idle in transaction%') AS busy,
           bool_or(state_change IS NULL OR since IS NULL OR state_change >= since) AS active,
           jsonb_agg(jsonb_build_object('pid', pid, 'query', left(query, 100), 'application', application_name)) FILTER (
               WHERE (since IS NULL OR state_change >= since) AND query ~* '^\s*(listen\M|prepare\M(?!\s+transaction)|set\M(?!\s+(local|transaction|constraints)\M)|declare\M.*\mwith\s+hold\M)') AS lasting
    INTO others FROM pg_stat_get_activity(NULL)
    WHERE datid = database AND pid <> pg_backend_pid() AND backend_type = 'client backend';
    IF others.busy IS NOT NULL THEN RETURN jsonb_build_object('kind', 'busy', 'sessions', others.busy); END IF;

    IF others.active THEN
        locking := pg_realstack.locking();
        PERFORM pg_terminate_backend(pid::int) FROM jsonb_object_keys(locking) AS pid;
    END IF;
    here := pg_current_wal_insert_lsn();
    said := jsonb_build_object('lsn', here, 'looked', looked, 'locking', locking, 'lasting', others.lasting,
                               'server_changed', CASE
                                   WHEN here = clean THEN NOT starts_with(reverse(server), reverse(pg_realstack.beside_wal()))
                                   ELSE pg_realstack.server_mark() <> server END);
    IF here = clean THEN RETURN said || '{"kind": "untouched"}'; END IF;

    found := (SELECT jsonb_agg(gid) FROM pg_prepared_xacts WHERE pg_prepared_xacts.database = current_database());
    IF found IS NOT NULL THEN RETURN said || jsonb_build_object('kind', 'prepared', 'transactions', found); END IF;

    found := pg_realstack.beyond_repair(around);
    IF found IS NOT NULL THEN RETURN said || jsonb_build_object('kind', 'needs_clone', 'reasons', found); END IF;

    FOR unit IN
        SELECT u.unit, u.shown, bool_or(d.whole) AS whole
        FROM (SELECT dirty.unit, true AS whole FROM pg_realstack.dirty
              UNION ALL SELECT pg_realstack.touched(), false) AS d JOIN pg_realstack.units u USING (unit)
        GROUP BY u.unit ORDER BY u.unit
    LOOP
        call := format('SELECT pg_realstack.%I()', CASE WHEN unit.whole THEN 'compare_' ELSE 'restore_' END || unit.unit);
        -- The user's functions in generated columns and constraints may rely on the database's own path.
        PERFORM set_config('search_path', current_setting('realstack.search_path'), true);
        EXECUTE call;
        PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true);
        tables := tables || unit.shown;
    END LOOP;
    IF pg_relation_size('pg_realstack.dirty') > 262144 THEN TRUNCATE pg_realstack.dirty;
    ELSE DELETE FROM pg_realstack.dirty; END IF;

    moved := array(SELECT pg_realstack.put_back(name) FROM pg_realstack.moved() AS name);

    IF EXISTS (SELECT FROM pg_realstack.temporary) THEN
        -- In two steps: the planner may ask a condition of WHERE before those beside it.
        keeping := array(
            SELECT DISTINCT t.pid FROM pg_realstack.temporary t
            JOIN pg_class c ON c.relnamespace = t.namespace AND c.relpersistence = 't'
            JOIN pg_stat_get_activity(NULL) a ON a.pid = t.pid
            WHERE a.datid = database);
        PERFORM pg_terminate_backend(pid) FROM unnest(keeping) AS pid;
        DELETE FROM pg_realstack.temporary;
    END IF;
    RETURN said || jsonb_build_object('kind', CASE WHEN tables = '{}' AND moved = '{}' THEN 'untouched' ELSE 'restored' END,
                                      'tables', tables, 'sequences', moved, 'keeping', keeping);
END $$;

-- Why the database cannot be brought back from inside; NULL if it can.
CREATE FUNCTION pg_realstack.beyond_repair(around jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    reasons text[] := '{}';
    now_around jsonb;
BEGIN
    IF EXISTS (SELECT FROM pg_realstack.ddl) THEN
        reasons := array(SELECT DISTINCT concat(tag, ' of ' || object, ': ' || query) FROM pg_realstack.ddl LIMIT 20);
    END IF;
    IF EXISTS (SELECT FROM pg_realstack.dirty) THEN
        reasons := reasons || array(
            SELECT DISTINCT format('rows of %s: %s', shown, blocked) FROM pg_realstack.dirty JOIN pg_realstack.units USING (unit)
            WHERE blocked <> '');
    END IF;
    IF pg_realstack.large_objects() <> (SELECT value FROM pg_realstack.known WHERE name = 'large objects') THEN
        reasons := reasons || 'large objects were written'::text;
    END IF;
    IF pg_realstack.event_triggers() <> (SELECT value FROM pg_realstack.known WHERE name = 'event triggers') THEN
        reasons := reasons || 'event triggers were created, changed or dropped'::text;
    END IF;
    IF pg_realstack.clustered() <> (SELECT value FROM pg_realstack.known WHERE name = 'clustered indexes') THEN
        reasons := reasons || 'CLUSTER: a table has another index to be clustered by'::text;
    END IF;
    now_around := pg_realstack.surroundings();
    IF now_around -> 'owners' <> around -> 'owners' THEN
        reasons := reasons || 'REASSIGN OWNED: owners of objects, or rights on them, were changed'::text;
    END IF;
    IF now_around - 'owners' <> around - 'owners' THEN
        reasons := reasons || 'ALTER DATABASE: its settings, rights or owner were changed'::text;
    END IF;
    RETURN CASE WHEN reasons <> '{}' THEN to_jsonb(reasons) END;
END $$;

-- A session that has numbers of the sequence in its cache drops them only when the sequence's file is a new one.
CREATE FUNCTION pg_realstack.put_back(sequence text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    was record;
BEGIN
    SELECT * INTO was FROM pg_realstack.sequences WHERE name = sequence;
    IF was.caches THEN EXECUTE format('ALTER SEQUENCE %s RESTART', sequence); END IF;
    PERFORM setval(sequence::regclass, was.last_value, was.is_called);
    RETURN was.shown;
END $$;
