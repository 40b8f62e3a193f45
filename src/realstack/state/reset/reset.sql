-- What does not depend on the user's tables. Runs once, in the template; every copy has it.
CREATE TABLE pg_realstack.dirty (unit int NOT NULL, whole boolean NOT NULL);
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

CREATE FUNCTION pg_realstack.event_triggers() RETURNS text LANGUAGE sql AS $$
SELECT coalesce(string_agg(concat_ws(' ', oid, evtname, evtenabled, evtfoid), ',' ORDER BY oid), '')
FROM pg_catalog.pg_event_trigger
$$;

CREATE FUNCTION pg_realstack.large_objects() RETURNS text LANGUAGE sql AS $$
SELECT concat_ws('/',
    (SELECT md5(string_agg(concat_ws(' ', oid, xmin, ctid), ',' ORDER BY oid)) FROM pg_catalog.pg_largeobject_metadata),
    (SELECT md5(string_agg(concat_ws(' ', loid, pageno, xmin, ctid), ',' ORDER BY loid, pageno))
     FROM pg_catalog.pg_largeobject))
$$;

-- What no database of its own protects: roles, settings. A map from what it is to its value.
CREATE FUNCTION pg_realstack.surroundings() RETURNS jsonb LANGUAGE sql AS $$
SELECT jsonb_build_object(
    'settings of this database', (
        SELECT jsonb_agg(jsonb_build_array(setrole, setconfig) ORDER BY setrole)
        FROM pg_catalog.pg_db_role_setting
        WHERE setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())),
    'rights and owner of this database', (
        SELECT jsonb_build_array(datdba, datacl::text, datconnlimit, datallowconn)
        FROM pg_catalog.pg_database WHERE datname = current_database()))
$$;

CREATE FUNCTION pg_realstack.server_wide() RETURNS jsonb LANGUAGE sql AS $$
SELECT jsonb_build_object(
    'ALTER SYSTEM', pg_read_file('postgresql.auto.conf', 0, 1000000, true),
    'roles', (
        SELECT jsonb_object_agg(rolname, to_jsonb(r) - 'oid' - 'rolpassword') FROM pg_catalog.pg_roles r
        WHERE rolname !~ '^pg_'),
    'memberships', (
        SELECT jsonb_agg(jsonb_build_array(roleid, member, admin_option) ORDER BY roleid, member)
        FROM pg_catalog.pg_auth_members WHERE member >= 16384))
$$;

-- Changes with it, and costs a tenth.
CREATE FUNCTION pg_realstack.server_mark() RETURNS text LANGUAGE sql AS $$
SELECT concat_ws('/',
    (SELECT concat(count(*), ' ', sum(xmin::text::bigint)) FROM pg_catalog.pg_authid),
    (SELECT concat(count(*), ' ', sum(xmin::text::bigint)) FROM pg_catalog.pg_auth_members),
    md5(pg_read_file('postgresql.auto.conf', 0, 1000000, true)))
$$;

CREATE FUNCTION pg_realstack.busy() RETURNS jsonb LANGUAGE sql AS $$
SELECT jsonb_agg(jsonb_build_object('pid', pid, 'state', state, 'query', left(query, 500),
                                    'application', application_name))
FROM pg_catalog.pg_stat_get_activity(NULL)
WHERE datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND backend_type = 'client backend'
$$;

CREATE FUNCTION pg_realstack.reset(clean pg_lsn, around jsonb, server text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    here pg_lsn;
    found jsonb;
    reasons jsonb;
    moved text[];
    ended int[];
    unit record;
    tables text[] := '{}';
    server_changed boolean;
BEGIN
    found := pg_realstack.busy();
    IF found IS NOT NULL THEN RETURN jsonb_build_object('kind', 'busy', 'sessions', found); END IF;

    here := pg_current_wal_insert_lsn();
    server_changed := pg_realstack.server_mark() <> server;
    IF here = clean AND NOT server_changed THEN RETURN jsonb_build_object('kind', 'untouched', 'lsn', here); END IF;

    found := (SELECT jsonb_agg(gid) FROM pg_prepared_xacts WHERE database = current_database());
    IF found IS NOT NULL THEN RETURN jsonb_build_object('kind', 'prepared', 'transactions', found); END IF;

    reasons := pg_realstack.beyond_repair(around);
    IF reasons IS NOT NULL THEN RETURN jsonb_build_object(
        'kind', 'needs_clone', 'reasons', reasons, 'server_changed', server_changed); END IF;

    FOR unit IN
        SELECT u.unit, u.shown, bool_or(d.whole) AS whole FROM pg_realstack.dirty d JOIN pg_realstack.units u USING (unit)
        GROUP BY u.unit ORDER BY u.unit
    LOOP
        EXECUTE format('SELECT pg_realstack.%I()', CASE WHEN unit.whole THEN 'compare_' ELSE 'restore_' END || unit.unit);
        tables := tables || unit.shown;
    END LOOP;
    IF tables <> '{}' THEN
        IF pg_relation_size('pg_realstack.dirty') > 262144 THEN TRUNCATE pg_realstack.dirty;
        ELSE DELETE FROM pg_realstack.dirty; END IF;
    END IF;

    moved := array(SELECT pg_realstack.put_back(name) FROM pg_realstack.moved() AS name);

    IF EXISTS (SELECT FROM pg_realstack.temporary) THEN
        -- In two steps: the planner may ask a condition of WHERE before those beside it.
        ended := array(
            SELECT DISTINCT t.pid FROM pg_realstack.temporary t
            JOIN pg_class c ON c.relnamespace = t.namespace AND c.relpersistence = 't'
            JOIN pg_stat_get_activity(NULL) a ON a.pid = t.pid
            WHERE a.datid = (SELECT oid FROM pg_database WHERE datname = current_database()));
        PERFORM pg_terminate_backend(pid) FROM unnest(ended) AS pid;
        DELETE FROM pg_realstack.temporary;
    END IF;

    IF tables = '{}' AND moved = '{}' AND coalesce(ended, '{}') = '{}' THEN
        RETURN jsonb_build_object('kind', 'untouched', 'lsn', here, 'server_changed', server_changed);
    END IF;
    RETURN jsonb_build_object('kind', 'restored', 'tables', tables, 'sequences', moved, 'ended', ended,
                              'server_changed', server_changed);
END $$;

-- Why the database cannot be brought back from inside; NULL if it can.
CREATE FUNCTION pg_realstack.beyond_repair(around jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    reasons text[] := '{}';
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
    IF pg_realstack.surroundings() <> around THEN
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
