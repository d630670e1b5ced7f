-- A stand-in for the extension TimescaleDB, which could not be had: its functions that the store calls, with the
-- signatures of its documentation and of sql/ddl_api.sql (2.27), and what of their behaviour the store relies on. A
-- real TimescaleDB this has not met. It refuses what that refuses and records what it was asked for; rows stay in
-- the one table, and a chunk is the rows of one interval, counted from 1970.
-- Narrower than the real one: times are timestamptz, where drop_chunks takes "any", which only C may; it locks the
-- whole table, not the chunks alone; chunk_sizing_func is not set. Source of the SQLSTATEs: its src/errors.h.

CREATE TABLE stand_in_hypertables (
  relation regclass PRIMARY KEY, time_column name NOT NULL, chunk_time_interval interval NOT NULL,
  default_indexes boolean NOT NULL
);
GRANT SELECT ON stand_in_hypertables TO PUBLIC;

CREATE FUNCTION stand_in_check_owner(relation regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF NOT pg_has_role((SELECT relowner FROM pg_class WHERE oid = relation), 'USAGE') THEN
    RAISE 'must be owner of hypertable "%"', relation USING ERRCODE = 'insufficient_privilege';
  END IF;
END $$;

CREATE FUNCTION create_hypertable(
  relation regclass, time_column_name name, partitioning_column name = NULL, number_partitions integer = NULL,
  associated_schema_name name = NULL, associated_table_prefix name = NULL,
  chunk_time_interval anyelement = NULL::bigint, create_default_indexes boolean = TRUE,
  if_not_exists boolean = FALSE, partitioning_func regproc = NULL, migrate_data boolean = FALSE,
  chunk_target_size text = NULL, chunk_sizing_func regproc = NULL, time_partitioning_func regproc = NULL
) RETURNS TABLE (hypertable_id int, schema_name name, table_name name, created boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  filled boolean;
  attno int2 := (SELECT attnum FROM pg_attribute WHERE attrelid = relation AND attname = time_column_name);
BEGIN
  PERFORM stand_in_check_owner(relation);
  EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', relation);
  IF EXISTS (SELECT FROM stand_in_hypertables AS h WHERE h.relation = $1) THEN
    RAISE 'table "%" is already a hypertable', relation USING ERRCODE = 'TS110';
  END IF;
  IF (SELECT relkind <> 'r' FROM pg_class WHERE oid = relation) THEN
    RAISE 'table "%" is already partitioned', relation USING ERRCODE = 'feature_not_supported';
  END IF;
  IF attno IS NULL THEN
    RAISE 'column "%" does not exist', time_column_name USING ERRCODE = 'undefined_column';
  END IF;
  EXECUTE format('SELECT EXISTS (SELECT FROM %s)', relation) INTO filled;
  IF filled AND NOT migrate_data THEN
    RAISE 'table "%" is not empty', relation USING ERRCODE = 'feature_not_supported';
  END IF;
  IF EXISTS (SELECT FROM pg_index WHERE indrelid = relation AND indisunique AND NOT attno = ANY (indkey::int2[])) THEN
    RAISE 'cannot create a unique index without the column "%" (used in partitioning)', time_column_name
      USING ERRCODE = 'TS103';
  END IF;
  IF create_default_indexes THEN
    EXECUTE format('CREATE INDEX ON %s (%I DESC)', relation, time_column_name);
  END IF;
  INSERT INTO stand_in_hypertables VALUES (relation, time_column_name, chunk_time_interval, create_default_indexes);
  RETURN QUERY SELECT relation::oid::int, n.nspname, c.relname, TRUE
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = relation;
END $$;

-- The newer interface is there so that a call of the older one has to say which of them it means.
CREATE TYPE dimension_info AS (column_name name, partition_interval interval);
CREATE FUNCTION create_hypertable(
  relation regclass, dimension dimension_info, create_default_indexes boolean = TRUE, if_not_exists boolean = FALSE,
  migrate_data boolean = FALSE
) RETURNS TABLE (hypertable_id int, created boolean) LANGUAGE plpgsql AS $$
BEGIN
  RAISE 'not in the stand-in' USING ERRCODE = 'feature_not_supported';
END $$;

CREATE FUNCTION drop_chunks(
  relation regclass, older_than timestamptz = NULL, newer_than timestamptz = NULL, verbose boolean = FALSE,
  created_before timestamptz = NULL, created_after timestamptz = NULL
) RETURNS SETOF text LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
  hypertable stand_in_hypertables;
BEGIN
  PERFORM stand_in_check_owner(relation);
  SELECT * INTO hypertable FROM stand_in_hypertables AS h WHERE h.relation = $1;
  IF NOT FOUND THEN
    RAISE '"%" is not a hypertable or a continuous aggregate', relation USING ERRCODE = 'TS001';
  END IF;
  EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', relation);
  -- A chunk goes when its end is no later than the bound, so when it begins before the bound's own.
  RETURN QUERY EXECUTE format(
    'WITH gone AS (
       DELETE FROM %1$s WHERE date_bin($1, %2$I, ''epoch'') < date_bin($1, $2, ''epoch'')
       RETURNING date_bin($1, %2$I, ''epoch'') AS chunk
     ) SELECT DISTINCT chunk::text FROM gone', relation, hypertable.time_column)
    USING hypertable.chunk_time_interval, older_than;
END $$;
