//! The statements that must answer a tenant the same, whatever another tenant stored.
//!
//! Rows come in a fixed order, and nothing is selected that differs between two servers anyway: the time of receipt and
//! the number of the request in the log.

/// Answered for the tenant, and refused for the other one because of its own rows. If foreign rows were looked at, even
/// to be dropped later, the tenant would see the error.
pub(super) const ORACLES: [&str; 26] = [
    "SELECT sum(1 / (value_int - 100)) FROM metrics",
    "SELECT count(*) FROM metrics WHERE 1 / (value_int - 100) < 5",
    "SELECT name, sum(1 / (value_int - 100)) FROM metrics GROUP BY name ORDER BY name",
    "SELECT name FROM metrics GROUP BY name HAVING sum(1 / (value_int - 100)) < 5 ORDER BY name",
    "SELECT value_int FROM metrics ORDER BY 1 / (value_int - 100), value_int",
    "SELECT value_int, sum(1 / (value_int - 100)) OVER (ORDER BY value_int) FROM metrics ORDER BY value_int",
    "SELECT max(CASE WHEN 1 / (value_int - 100) > 0 THEN 1 ELSE 0 END) FROM metrics",
    "SELECT CAST(body AS BIGINT) AS n FROM logs ORDER BY n",
    "SELECT count(*) FROM logs WHERE CAST(body AS BIGINT) > 3",
    "SELECT sum(CAST(attributes->>'n' AS BIGINT)) FROM metrics",
    "SELECT CAST(value_int AS SMALLINT) AS n FROM metrics ORDER BY n",
    "SELECT sum(CAST(value AS DECIMAL(5, 2))) FROM metrics",
    "SELECT count(*) FROM metrics m JOIN logs l ON CAST(l.body AS BIGINT) = m.value_int",
    "SELECT count(*) FROM metrics m JOIN metrics n ON 1 / (m.value_int - 100) = 1 / (n.value_int - 100)",
    "SELECT count(*) FROM metrics m LEFT JOIN logs l ON l.body = CAST(1 / (m.value_int - 100) AS TEXT)",
    "SELECT count(*) FROM logs l CROSS JOIN metrics m WHERE CAST(l.body AS BIGINT) + m.value_int > 10",
    "WITH c AS (SELECT 1 / (value_int - 100) AS q FROM metrics) SELECT sum(a.q + b.q) FROM c a CROSS JOIN c b",
    "WITH RECURSIVE r AS (SELECT max(1 / (value_int - 100)) + 1 AS n FROM metrics UNION ALL \
     SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r ORDER BY n",
    "SELECT (SELECT body FROM logs WHERE body = '5') AS five",
    "SELECT count(*) FROM traces t WHERE EXISTS (SELECT 1 FROM logs l WHERE l.trace_id = t.trace_id \
     AND CAST(l.body AS BIGINT) > 0)",
    "SELECT count(*) FROM metrics WHERE value_int IN (SELECT CAST(body AS BIGINT) FROM logs)",
    "SELECT count(*) FROM metrics WHERE value_int NOT IN (SELECT CAST(body AS BIGINT) FROM logs)",
    "SELECT n FROM (SELECT CAST(body AS BIGINT) AS n FROM logs UNION SELECT value_int FROM metrics) ORDER BY n",
    "SELECT n FROM (SELECT CAST(body AS BIGINT) AS n FROM logs INTERSECT SELECT value_int FROM metrics) ORDER BY n",
    "SELECT n FROM (SELECT value_int AS n FROM metrics EXCEPT SELECT CAST(body AS BIGINT) FROM logs) ORDER BY n",
    "SELECT l.body, s.q FROM logs l JOIN LATERAL (SELECT max(1 / (m.value_int - 100)) AS q FROM metrics m \
     WHERE m.service_name = l.service_name) s ON true ORDER BY l.body",
];

/// Answered for both.
pub(super) const ANSWERED: [&str; 50] = [
    "SELECT * EXCLUDE (ingested_at, ingest_seq) FROM metrics ORDER BY name, timestamp",
    "SELECT * EXCLUDE (ingested_at, ingest_seq) FROM logs ORDER BY timestamp",
    "SELECT * EXCLUDE (ingested_at, ingest_seq) FROM traces ORDER BY timestamp",
    "SELECT count(*) FROM metrics",
    "SELECT count(*), count(value), count(DISTINCT name), count(DISTINCT tenant_id) FROM metrics",
    "SELECT min(value), max(value), min(timestamp), max(timestamp), min(name), max(name) FROM metrics",
    "SELECT min(trace_id), max(trace_id), min(duration_ns), max(duration_ns) FROM traces",
    "SELECT approx_distinct(value_int), median(value_int), round(stddev(value), 9) FROM metrics",
    "SELECT DISTINCT service_name FROM logs ORDER BY service_name",
    "SELECT DISTINCT tenant_id FROM traces",
    "SELECT count(*) FROM metrics WHERE tenant_id = 'bravo'",
    "SELECT count(*) FROM metrics WHERE tenant_id <> 'alpha'",
    "SELECT count(*) FROM metrics WHERE tenant_id = 'bravo' OR true",
    "SELECT count(*) FROM metrics WHERE NOT (tenant_id = 'alpha')",
    "SELECT count(*) FROM metrics WHERE tenant_id IS NULL OR tenant_id LIKE '%'",
    "SELECT count(*) FROM logs WHERE trace_id = '01010101010101010101010101010101'",
    "SELECT body FROM logs WHERE trace_id IN ('01010101010101010101010101010101', \
     '02020202020202020202020202020202') ORDER BY body",
    "SELECT t.name, l.body FROM traces t JOIN logs l ON l.trace_id = t.trace_id ORDER BY t.name, l.body",
    "SELECT a.name, b.name AS other FROM traces a JOIN traces b ON a.trace_id = b.trace_id ORDER BY a.name, b.name",
    "SELECT count(*) FROM metrics a CROSS JOIN metrics b",
    "SELECT count(*) FROM metrics a FULL JOIN logs b ON a.service_name = b.service_name",
    "SELECT m.name FROM metrics m RIGHT JOIN logs l ON m.service_name = l.service_name GROUP BY m.name ORDER BY m.name",
    "SELECT count(*) FROM metrics NATURAL JOIN logs",
    "SELECT count(*) FROM logs l LEFT SEMI JOIN traces t ON l.trace_id = t.trace_id",
    "SELECT count(*) FROM logs l LEFT ANTI JOIN traces t ON l.trace_id = t.trace_id",
    "WITH c AS (SELECT service_name, count(*) AS n FROM logs GROUP BY service_name) SELECT * FROM c ORDER BY 1",
    "WITH metrics AS (SELECT * FROM public.metrics) SELECT count(*) FROM metrics",
    "WITH RECURSIVE r AS (SELECT count(*) AS n FROM metrics UNION ALL SELECT n - 1 FROM r WHERE n > 0) \
     SELECT count(*) FROM r",
    "SELECT (SELECT count(*) FROM logs) AS l, (SELECT max(value_int) FROM metrics) AS m, (SELECT min(name) FROM traces) AS t",
    "SELECT name FROM traces t WHERE EXISTS (SELECT 1 FROM logs l WHERE l.trace_id = t.trace_id) ORDER BY name",
    "SELECT name FROM traces t WHERE NOT EXISTS (SELECT 1 FROM logs l WHERE l.trace_id = t.trace_id) ORDER BY name",
    "SELECT count(*) FROM logs WHERE trace_id IN (SELECT trace_id FROM traces)",
    "SELECT count(*) FROM logs WHERE trace_id NOT IN (SELECT trace_id FROM traces WHERE trace_id IS NOT NULL)",
    "SELECT body FROM logs WHERE CAST(length(body) AS BIGINT) < ALL (SELECT duration_ns FROM traces) ORDER BY body",
    "SELECT service_name FROM logs UNION SELECT service_name FROM metrics UNION SELECT service_name FROM traces ORDER BY 1",
    "SELECT count(*) FROM (SELECT body FROM logs UNION ALL SELECT name FROM metrics)",
    "SELECT service_name FROM logs INTERSECT SELECT service_name FROM traces ORDER BY 1",
    "SELECT service_name FROM metrics EXCEPT SELECT service_name FROM logs ORDER BY 1",
    "SELECT body, row_number() OVER (ORDER BY body) AS r, count(*) OVER () AS n, lag(body) OVER (ORDER BY body) AS b \
     FROM logs ORDER BY body",
    "SELECT v.n, count(m.name) FROM (VALUES (1), (2), (100)) AS v(n) LEFT JOIN metrics m ON m.value_int = v.n \
     GROUP BY v.n ORDER BY v.n",
    "SELECT service_name, name, count(*) FROM metrics GROUP BY ROLLUP (service_name, name) ORDER BY 1, 2",
    "SELECT array_agg(DISTINCT service_name ORDER BY service_name) FROM logs",
    "SELECT string_agg(body, ',' ORDER BY body) FROM logs",
    "SELECT series_id FROM metrics WHERE name = 'cpu' ORDER BY timestamp LIMIT 3",
    "SELECT name FROM metrics ORDER BY value DESC NULLS LAST, name LIMIT 5",
    "SELECT json_object_keys(attributes) AS k FROM metrics ORDER BY timestamp, name LIMIT 5",
    "SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables ORDER BY 1, 2, 3",
    "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns ORDER BY 1, ordinal_position",
    "EXPLAIN SELECT m.name FROM metrics m WHERE m.value_int > 100 AND EXISTS (SELECT 1 FROM logs l WHERE l.body = m.name)",
    "SELECT (SELECT count(*) FROM information_schema.df_settings) + (SELECT count(*) FROM information_schema.schemata)",
];

/// Refused for the tenant because of its own rows or its own mistake, in the same words on either server.
pub(super) const REFUSED: [&str; 14] = [
    "SELECT sum(1 / (value_int - 7)) FROM metrics",
    "SELECT count(*) FROM metrics WHERE 1 / (value_int - 7) < 5",
    "SELECT CAST(name AS BIGINT) FROM traces WHERE name = 'GET /a'",
    "SELECT CAST(service_name AS BIGINT) FROM logs WHERE service_name = 'alpha-api'",
    "SELECT (SELECT body FROM logs) AS one",
    "SELECT nothing FROM metrics",
    "SELECT m.nothing FROM metrics m JOIN logs l ON m.name = l.body",
    "SELECT * FROM bravo.public.metrics",
    "SELECT * FROM bravo.metrics",
    "SELECT * FROM metric",
    "SELECT FROM WHERE",
    "SELECT name, count(*) FROM metrics",
    "SELECT nothing(body) FROM logs",
    "EXPLAIN ANALYZE SELECT * FROM metrics",
];
