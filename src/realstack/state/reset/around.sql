-- What is around the tables: the database as the server's catalogue has it, and the server as a whole.

-- What no database of its own protects: roles, settings. A map from what it is to its value.
CREATE FUNCTION pg_realstack.surroundings() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN (
        SELECT jsonb_build_object(
            'settings of this database', (
                SELECT jsonb_agg(jsonb_build_array(setrole, setconfig) ORDER BY setrole)
                FROM pg_catalog.pg_db_role_setting
                WHERE setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())),
            'rights and owner of this database', (
                SELECT jsonb_build_array(datdba, datacl::text, datconnlimit, datallowconn)
                FROM pg_catalog.pg_database WHERE datname = current_database()),
            -- REASSIGN OWNED fires no event trigger. What the superuser who made the cluster owns cannot be reassigned.
            'owners', (
                SELECT jsonb_build_array(count(*), sum(hashtextextended(concat_ws(' ', classid, objid, refobjid, deptype), 0)))
                FROM pg_catalog.pg_shdepend d
                WHERE dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_class c
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = d.objid AND c.relpersistence = 't'))));
END $$;

-- Of databases those that realstack makes are left out, as other workers make and drop them all the time.
CREATE FUNCTION pg_realstack.server_wide() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    rights jsonb;
BEGIN
    IF to_regclass('pg_parameter_acl') IS NOT NULL THEN -- there since PostgreSQL 15
        rights := (SELECT jsonb_object_agg(parname, paracl::text) FROM pg_catalog.pg_parameter_acl);
    END IF;
    RETURN jsonb_build_object(
        'ALTER SYSTEM', pg_read_file('postgresql.auto.conf', 0, 1000000, true),
        'roles', (
            SELECT jsonb_object_agg(rolname, to_jsonb(r) - 'oid' - 'rolpassword') FROM pg_catalog.pg_roles r
            WHERE rolname !~ '^pg_'),
        'passwords', (
            SELECT jsonb_object_agg(rolname, md5(rolpassword)) FROM pg_catalog.pg_authid WHERE rolpassword IS NOT NULL),
        'settings of all roles', (
            SELECT to_jsonb(setconfig) FROM pg_catalog.pg_db_role_setting WHERE setdatabase = 0 AND setrole = 0),
        'memberships', (
            SELECT jsonb_object_agg(who, how) FROM (
                SELECT format('%s in %s', member::regrole, roleid::regrole) AS who,
                       jsonb_agg(to_jsonb(m) - 'oid' ORDER BY grantor) AS how
                FROM pg_catalog.pg_auth_members m GROUP BY 1) AS members),
        'comments', (
            SELECT jsonb_object_agg(concat_ws(' ', i.type, i.identity), md5(description))
            FROM pg_catalog.pg_shdescription d CROSS JOIN LATERAL pg_identify_object(classoid, objoid, 0) AS i
            WHERE classoid <> 'pg_database'::regclass OR objoid NOT IN (SELECT pg_realstack.passing_databases())),
        'security labels', (
            SELECT jsonb_object_agg(concat_ws(' ', i.type, i.identity, 'by', provider), md5(label))
            FROM pg_catalog.pg_shseclabel d CROSS JOIN LATERAL pg_identify_object(classoid, objoid, 0) AS i
            WHERE classoid <> 'pg_database'::regclass OR objoid NOT IN (SELECT pg_realstack.passing_databases())),
        'replication origins', (SELECT jsonb_object_agg(roname, roident) FROM pg_catalog.pg_replication_origin),
        'databases', (
            SELECT jsonb_object_agg(datname, to_jsonb(d) - 'oid' - 'datfrozenxid' - 'datminmxid') FROM pg_catalog.pg_database d
            WHERE datname <> current_database() AND oid NOT IN (SELECT pg_realstack.passing_databases())),
        'tablespaces', (SELECT jsonb_object_agg(spcname, to_jsonb(t) - 'oid') FROM pg_catalog.pg_tablespace t),
        'replication slots', (
            SELECT jsonb_object_agg(slot_name, concat_ws(' ', slot_type, plugin, datoid)) FROM pg_get_replication_slots()
            WHERE NOT temporary),
        'rights on settings', rights);
END $$;

CREATE FUNCTION pg_realstack.passing_databases() RETURNS SETOF oid LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT oid FROM pg_catalog.pg_database WHERE datname LIKE 'rs\_%' AND datname <> current_database();
END $$;

-- What of it changes without a word in the WAL.
CREATE FUNCTION pg_realstack.beside_wal() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT concat('#', string_agg(slot_name, ','), '/', md5(pg_read_file('postgresql.auto.conf', 0, 1000000, true)))
            FROM pg_get_replication_slots() WHERE NOT temporary);
END $$;

-- Changes with it, and costs a tenth; it ends with what is beside the WAL.
CREATE FUNCTION pg_realstack.server_mark() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    rights text;
BEGIN
    IF to_regclass('pg_parameter_acl') IS NOT NULL THEN
        rights := (SELECT concat(count(*), ' ', sum(xmin::text::bigint)) FROM pg_catalog.pg_parameter_acl);
    END IF;
    RETURN (
        SELECT concat_ws('/', rights, count(*), sum(x::text::bigint),
            pg_realstack.beside_wal())
        FROM (
            SELECT xmin FROM pg_catalog.pg_authid
            UNION ALL SELECT xmin FROM pg_catalog.pg_auth_members
            UNION ALL SELECT xmin FROM pg_catalog.pg_db_role_setting WHERE setdatabase = 0
            UNION ALL SELECT xmin FROM pg_catalog.pg_tablespace
            UNION ALL SELECT xmin FROM pg_catalog.pg_replication_origin
            UNION ALL SELECT xmin FROM pg_catalog.pg_database WHERE datname NOT LIKE 'rs\_%'
            UNION ALL SELECT xmin FROM (
                SELECT xmin, classoid, objoid FROM pg_catalog.pg_shdescription
                UNION ALL SELECT xmin, classoid, objoid FROM pg_catalog.pg_shseclabel) AS said
            WHERE classoid <> 'pg_database'::regclass OR objoid NOT IN (
                SELECT oid FROM pg_catalog.pg_database WHERE datname LIKE 'rs\_%' AND datname <> current_database())
        ) AS rows(x));
END $$;
