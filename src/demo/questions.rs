//! The questions that the demo asks, in the order in which one would find the cause of the incident.

#[derive(Debug)]
pub(super) struct Question {
    pub(super) title: &'static str,
    pub(super) sql: &'static str,
}

pub(super) const QUESTIONS: [Question; 5] = [
    Question {
        title: "How is each service doing?",
        sql: "\
SELECT service_name, count(*) AS spans,
       round(approx_percentile_cont(duration_ns, 0.5) / 1e6, 1) AS p50_ms,
       round(approx_percentile_cont(duration_ns, 0.99) / 1e6, 1) AS p99_ms,
       round(100.0 * count(*) FILTER (WHERE status_code = 'error') / count(*), 2) AS error_percent
FROM traces
WHERE kind = 'server'
GROUP BY service_name
ORDER BY service_name",
    },
    Question {
        title: "Payments are slow at times. In which minutes?",
        sql: "\
SELECT date_bin(INTERVAL '1 minute', timestamp) AS minute, count(*) AS charges,
       count(*) FILTER (WHERE status_code = 'error') AS failed,
       round(max(duration_ns) / 1e6) AS slowest_ms
FROM traces
WHERE service_name = 'payments' AND name = 'POST /charge'
GROUP BY minute
HAVING max(duration_ns) > 500000000
ORDER BY minute",
    },
    Question {
        title: "Which route, which version, which host?",
        sql: "\
SELECT attributes->>'http.route' AS route,
       resource_attributes->>'service.version' AS version,
       resource_attributes->>'host.name' AS host,
       count(*) AS spans,
       count(*) FILTER (WHERE status_code = 'error') AS failed,
       round(approx_percentile_cont(duration_ns, 0.95) / 1e6, 1) AS p95_ms
FROM traces
WHERE service_name = 'payments' AND kind = 'server'
GROUP BY route, version, host
ORDER BY p95_ms DESC",
    },
    Question {
        title: "What do the logs of the slowest payments say?",
        sql: "\
SELECT round(t.duration_ns / 1e6) AS ms, l.service_name, l.severity_text, l.body
FROM traces AS t
JOIN logs AS l ON l.trace_id = t.trace_id
WHERE t.name = 'POST /charge' AND t.duration_ns > 2000000000
ORDER BY t.duration_ns DESC, l.timestamp
LIMIT 8",
    },
    Question {
        title: "Which metrics arrived in the last five minutes?",
        sql: "\
SELECT name, count(*) AS cnt
FROM metrics
WHERE timestamp > now() - INTERVAL '5 minutes'
GROUP BY name
ORDER BY cnt DESC",
    },
];
