-- One row for each object of the user's: kind, name, and a text that differs if anything of it differs.
-- By name and never by oid: two builds of the same sources have the same fingerprint.
-- Subscriptions are left out: they belong to the server, and CREATE DATABASE does not copy them.
WITH schemas AS (
    SELECT oid, nspname, nspowner, nspacl FROM pg_namespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'pg_realstack') AND nspname !~ '^pg_(toast_)?temp_'
), relations AS (
    SELECT c.*, format('%I.%I', s.nspname, c.relname) AS shown
    FROM pg_class c JOIN schemas s ON s.oid = c.relnamespace WHERE c.relpersistence <> 't'
)
SELECT 'schema' AS kind, nspname::text AS name, concat_ws(' ', nspowner::regrole, nspacl::text) AS definition FROM schemas
UNION ALL
SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence'
       WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'composite type' ELSE 'index' END,
       shown,
       concat_ws(' ', relkind, relowner::regrole, relpersistence, relacl::text, reloptions::text, relrowsecurity,
           relforcerowsecurity, relreplident, relispopulated, pg_get_expr(relpartbound, r.oid), reltablespace <> 0,
           CASE WHEN relkind = 'p' THEN pg_get_partkeydef(r.oid) END,
           CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END,
           CASE WHEN relkind IN ('i', 'I') THEN (
               SELECT concat_ws(' ', pg_get_indexdef(indexrelid), indisvalid, indisready, indisclustered, indisreplident)
               FROM pg_index WHERE indexrelid = r.oid) END,
           CASE WHEN relkind = 'S' THEN (
               SELECT concat_ws(' ', seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle)
               FROM pg_sequence WHERE seqrelid = r.oid) END,
           (SELECT string_agg(inhparent::regclass::text, ',' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = r.oid),
           CASE WHEN relkind IN ('r', 'p') THEN (
               SELECT string_agg(concat(tgenabled, tgfoid::regproc), ',' ORDER BY tgenabled, tgfoid::regproc::text)
               FROM pg_trigger JOIN pg_proc p ON p.oid = tgfoid
               WHERE tgrelid = r.oid AND tgisinternal AND p.pronamespace = 'pg_catalog'::regnamespace) END)
FROM relations r
UNION ALL
SELECT 'column', format('%s.%I', shown, attname),
       concat_ws(' ', attnum, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, attstorage,
           attcompression, attcollation::regcollation, attacl::text, attoptions::text, attislocal, attinhcount,
           pg_get_expr(d.adbin, d.adrelid))
FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
UNION ALL
SELECT 'constraint', concat_ws('.', coalesce(conrelid::regclass::text, contypid::regtype::text), quote_ident(conname)),
       concat_ws(' ', pg_get_constraintdef(c.oid), convalidated, condeferrable, condeferred, conislocal)
FROM pg_constraint c JOIN schemas s ON s.oid = c.connamespace WHERE conrelid = 0 OR conrelid IN (SELECT oid FROM relations)
UNION ALL
SELECT 'trigger', format('%s.%I', shown, tgname), concat_ws(' ', pg_get_triggerdef(t.oid), tgenabled)
FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid WHERE NOT tgisinternal
UNION ALL
SELECT 'rule', format('%s.%I', shown, rulename), concat_ws(' ', pg_get_ruledef(u.oid), ev_enabled)
FROM pg_rewrite u JOIN relations r ON r.oid = u.ev_class WHERE rulename <> '_RETURN'
UNION ALL
SELECT 'policy', format('%s.%I', shown, polname),
       concat_ws(' ', polcmd, polpermissive, polroles::regrole[]::text, pg_get_expr(polqual, polrelid),
           pg_get_expr(polwithcheck, polrelid))
FROM pg_policy p JOIN relations r ON r.oid = p.polrelid
UNION ALL
SELECT 'function', p.oid::regprocedure::text,
       concat_ws(' ', prokind, proowner::regrole, l.lanname, provolatile, proparallel, prosecdef, proleakproof, proisstrict,
           procost, prorows, proacl::text, proconfig::text, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
           md5(prosrc), probin, pg_get_function_sqlbody(p.oid),
           (SELECT concat_ws(' ', aggkind, aggnumdirectargs, aggtransfn, aggfinalfn, aggcombinefn, aggtranstype::regtype, agginitval,
                aggmtransfn, aggminvtransfn, aggmfinalfn, aggmtranstype::regtype, aggminitval, aggsortop::regoperator)
            FROM pg_aggregate WHERE aggfnoid = p.oid))
FROM pg_proc p JOIN schemas s ON s.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
UNION ALL
SELECT 'type', t.oid::regtype::text,
       concat_ws(' ', typtype, typowner::regrole, typacl::text, typnotnull, typdefault, typcollation::regcollation,
           CASE WHEN typbasetype <> 0 THEN format_type(typbasetype, typtypmod) END,
           (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
           (SELECT rngsubtype::regtype::text FROM pg_range WHERE rngtypid = t.oid))
FROM pg_type t JOIN schemas s ON s.oid = t.typnamespace
WHERE t.typrelid = 0 AND t.typcategory <> 'A'
UNION ALL
SELECT 'extension', extname, concat_ws(' ', extversion, extnamespace::regnamespace, extowner::regrole) FROM pg_extension
UNION ALL
SELECT 'default privileges', concat_ws(' ', defaclrole::regrole, nullif(defaclnamespace, 0)::regnamespace, defaclobjtype),
       defaclacl::text
FROM pg_default_acl
UNION ALL
SELECT 'event trigger', evtname, concat_ws(' ', evtevent, evtenabled, evtfoid::regproc, evttags::text, evtowner::regrole)
FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
WHERE p.pronamespace::regnamespace::text <> 'pg_realstack'
UNION ALL
SELECT 'publication', pubname, concat_ws(' ', pubowner::regrole, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate,
           to_jsonb(p) ->> 'pubviaroot', to_jsonb(p) ->> 'pubgencols',
           -- Its tables and, where the server has them, schemas, columns and row filters.
           (SELECT string_agg(i.identity, ',' ORDER BY i.identity)
            FROM pg_depend d CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) AS i
            WHERE d.refclassid = 'pg_publication'::regclass AND d.refobjid = p.oid),
           CASE WHEN NOT puballtables THEN (
               SELECT string_agg(to_jsonb(t)::text, ',' ORDER BY to_jsonb(t)::text)
               FROM pg_publication_tables t WHERE t.pubname = p.pubname) END)
FROM pg_publication p
UNION ALL
SELECT 'foreign server', srvname, concat_ws(' ', srvowner::regrole, srvoptions::text, srvacl::text) FROM pg_foreign_server
UNION ALL
SELECT 'options of foreign table', shown, concat_ws(' ', quote_ident(srvname), ftoptions::text)
FROM pg_foreign_table t JOIN relations r ON r.oid = t.ftrelid JOIN pg_foreign_server f ON f.oid = t.ftserver
UNION ALL
SELECT 'map of text search', format('%I.%I', s.nspname, cfgname),
       (SELECT string_agg(concat_ws(' ', maptokentype, mapseqno, mapdict::regdictionary), ',' ORDER BY maptokentype, mapseqno)
        FROM pg_ts_config_map WHERE mapcfg = c.oid)
FROM pg_ts_config c JOIN schemas s ON s.oid = c.cfgnamespace
UNION ALL
SELECT 'options of text search', format('%I.%I', s.nspname, dictname),
       concat_ws(' ', dictowner::regrole, (SELECT tmplname FROM pg_ts_template WHERE oid = dicttemplate), dictinitoption)
FROM pg_ts_dict d JOIN schemas s ON s.oid = d.dictnamespace
UNION ALL
SELECT 'statistics', format('%s.%I', stxrelid::regclass, stxname), pg_get_statisticsobjdef(x.oid)
FROM pg_statistic_ext x JOIN schemas s ON s.oid = x.stxnamespace
UNION ALL
SELECT found.kind, i.identity, i.type
FROM (
    SELECT 'cast' AS kind, 'pg_cast'::regclass AS class, oid FROM pg_cast WHERE oid >= 16384
    UNION ALL SELECT 'operator', 'pg_operator'::regclass, oid FROM pg_operator WHERE oid >= 16384
    UNION ALL SELECT 'operator class', 'pg_opclass'::regclass, oid FROM pg_opclass WHERE oid >= 16384
    UNION ALL SELECT 'operator family', 'pg_opfamily'::regclass, oid FROM pg_opfamily WHERE oid >= 16384
    UNION ALL SELECT 'collation', 'pg_collation'::regclass, oid FROM pg_collation WHERE oid >= 16384
    UNION ALL SELECT 'conversion', 'pg_conversion'::regclass, oid FROM pg_conversion WHERE oid >= 16384
    UNION ALL SELECT 'text search configuration', 'pg_ts_config'::regclass, oid FROM pg_ts_config WHERE oid >= 16384
    UNION ALL SELECT 'text search dictionary', 'pg_ts_dict'::regclass, oid FROM pg_ts_dict WHERE oid >= 16384
    UNION ALL SELECT 'language', 'pg_language'::regclass, oid FROM pg_language WHERE oid >= 16384
    UNION ALL SELECT 'access method', 'pg_am'::regclass, oid FROM pg_am WHERE oid >= 16384
    UNION ALL SELECT 'foreign-data wrapper', 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'user mapping', 'pg_user_mapping'::regclass, umid FROM pg_user_mappings
    UNION ALL SELECT 'transform', 'pg_transform'::regclass, oid FROM pg_transform
) AS found CROSS JOIN LATERAL pg_identify_object(found.class, found.oid, 0) AS i
UNION ALL
SELECT 'comment', concat_ws(' ', i.type, i.identity), d.description
FROM pg_description d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i
WHERE d.objoid >= 16384 AND i.identity IS NOT NULL
UNION ALL
SELECT 'security label', concat_ws(' ', i.type, i.identity, 'by', d.provider), d.label
FROM pg_seclabel d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i
UNION ALL
SELECT 'large object', m.oid::text,
       -- By function: the table may be read by superusers only.
       concat_ws(' ', m.lomowner::regrole, m.lomacl::text, md5(lo_get(m.oid)))
FROM pg_largeobject_metadata m
UNION ALL
SELECT 'settings of the database', coalesce(nullif(setrole, 0)::regrole::text, 'all roles'), setconfig::text
FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
