"""Quantiles, merges and changes of series, against values computed here with exact arithmetic and by simulation.

Nothing here is made like the server's code: quantiles are rational (or decimal) numbers, merges are counts of exact bucket edges,
and a counter is simulated event by event, so that its increase is counted and not subtracted.
"""

import math
import random
from collections import Counter
from decimal import Decimal, localcontext
from fractions import Fraction

import otlp
import pytest
from harness import Server, query
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)

START_NS = 1_735_689_600_000_000_000
SECOND_NS = 1_000_000_000
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
# Their products with whole counts are exact, so that a rank at an edge is at the same edge everywhere.
SHARES = [k / 64 for k in (0, 1, 7, 16, 31, 32, 33, 48, 57, 63, 64)]
EXPONENTIAL_COLUMNS = (
    "scale, zero_count, zero_threshold, positive_offset, positive_bucket_counts, "
    "negative_offset, negative_bucket_counts"
)


def request(service, metrics):
    scope = ScopeMetrics(scope=otlp.SCOPE, metrics=metrics)
    return otlp.ExportMetricsServiceRequest(
        resource_metrics=[ResourceMetrics(resource=otlp.resource(service), scope_metrics=[scope])]
    )


def numbered(number, **more):
    return otlp.attribute_list({"number": number, **more})


# Histograms with explicit bounds.


class Explicit:
    def __init__(self, bounds, counts, extremes):
        self.bounds, self.counts, self.extremes = bounds, counts, extremes

    @classmethod
    def draw(cls, draw):
        bounds = sorted(draw.sample([k / 8 for k in range(-40, 400)], draw.randrange(0, 20)))
        counts = [draw.choice([0, 0, 1, draw.randrange(1000), draw.randrange(10**9)]) for _ in range(len(bounds) + 1)]
        extremes = None
        populated = [i for i, count in enumerate(counts) if count]
        if populated and draw.random() < 0.5:
            extremes = [draw.uniform(*cls.inside(bounds, populated[i])) for i in (0, -1)]
            extremes.sort()
        return cls(bounds, counts, extremes)

    @staticmethod
    def inside(bounds, bucket):
        lower = bounds[bucket - 1] if bucket > 0 else (bounds[0] - 10 if bounds else 0)
        upper = bounds[bucket] if bucket < len(bounds) else lower + 10
        return math.nextafter(lower, math.inf), upper

    def point(self, number, group):
        extremes = {} if self.extremes is None else {"min": self.extremes[0], "max": self.extremes[1]}
        return HistogramDataPoint(
            start_time_unix_nano=START_NS,
            time_unix_nano=START_NS + number + 1,
            attributes=numbered(number, group=group),
            explicit_bounds=self.bounds,
            bucket_counts=self.counts,
            count=sum(self.counts),
            **extremes,
        )

    def quantile(self, q, extremes=None):
        total = sum(self.counts)
        rank = Fraction(q) * total
        below = 0
        for bucket, count in enumerate(self.counts):
            if count and below + count >= rank:
                lower = Fraction(self.bounds[bucket - 1]) if bucket > 0 else None
                upper = Fraction(self.bounds[bucket]) if bucket < len(self.bounds) else None
                if extremes is not None:
                    # Drawn so that they lie in the first and in the last populated bucket.
                    populated = [i for i, count in enumerate(self.counts) if count]
                    lower = Fraction(extremes[0]) if bucket == populated[0] else lower
                    upper = Fraction(extremes[1]) if bucket == populated[-1] else upper
                if lower is None and upper is None:
                    return None
                if upper is None:
                    return float(lower)
                if lower is None:
                    lower = min(Fraction(0), upper) if upper > 0 else upper
                return float(lower + (upper - lower) * (rank - below) / count)
            below += count
        return None


def sum_of_explicit(histograms):
    """What lies at or below each common bound, and from that the buckets."""
    common = sorted(set.intersection(*(set(histogram.bounds) for histogram in histograms)))
    below = [
        sum(sum(h.counts[: h.bounds.index(bound) + 1]) for h in histograms)
        for bound in common
    ]
    total = sum(sum(h.counts) for h in histograms)
    edges = [0, *below, total]
    return common, [upper - lower for lower, upper in zip(edges, edges[1:])]


# Exponential histograms.


def power_of_2(exponent):
    with localcontext(prec=50, Emin=-(10**9), Emax=10**9):
        return Decimal(2) ** (Decimal(exponent.numerator) / Decimal(exponent.denominator))


class Exponential:
    def __init__(self, scale, zero_count, zero_threshold, positive, negative):
        self.scale, self.zero_count, self.zero_threshold = scale, zero_count, zero_threshold
        # Each is None or (offset, counts).
        self.positive, self.negative = positive, negative

    @classmethod
    def draw(cls, draw):
        scale = draw.randrange(-2, 7)
        # No bucket lies beyond the doubles.
        reach = min(300, int(1000 * 2.0**scale) - 30)

        def side():
            counts = [draw.choice([0, 0, 1, draw.randrange(1000)]) for _ in range(draw.randrange(1, 30))]
            return draw.choice([None, (draw.randrange(-reach, reach), counts)])

        # Powers of two are edges at every scale from 0 on; the others are inside of buckets.
        threshold = draw.choice([0.0, 0.0, 2.0 ** draw.randrange(-4, 3), draw.uniform(0.001, 2)])
        return cls(scale, draw.choice([0, draw.randrange(50)]), threshold, side(), side())

    def point(self, number, group):
        point = ExponentialHistogramDataPoint(
            start_time_unix_nano=START_NS,
            time_unix_nano=START_NS + number + 1,
            attributes=numbered(number, group=group),
            scale=self.scale,
            zero_count=self.zero_count,
            zero_threshold=self.zero_threshold,
            count=self.total(),
        )
        for name in ("positive", "negative"):
            side = getattr(self, name)
            if side is not None:
                buckets = getattr(point, name)
                buckets.offset = side[0]
                buckets.bucket_counts.extend(side[1])
        return point

    def buckets(self, side):
        """(exponent of the lower edge, of the upper edge, count), exact, without empty ones."""
        offset, counts = getattr(self, side) or (0, [])
        width = Fraction(2) ** -self.scale
        return [((offset + i) * width, (offset + i + 1) * width, n) for i, n in enumerate(counts) if n]

    def total(self):
        return self.zero_count + sum(n for side in ("positive", "negative") for _, _, n in self.buckets(side))

    def quantile(self, q):
        rank = Fraction(q) * self.total()
        places = [("negative", *bucket) for bucket in reversed(self.buckets("negative"))]
        places += [("zero", None, None, self.zero_count)] if self.zero_count else []
        places += [("positive", *bucket) for bucket in self.buckets("positive")]
        below = 0
        for side, lower, upper, count in places:
            if below + count >= rank:
                share = (rank - below) / count
                if side == "zero":
                    return self.in_zero_bucket(share)
                return self.magnitude(lower, upper, share) if side == "positive" else -self.magnitude(lower, upper, 1 - share)
            below += count
        return None

    def in_zero_bucket(self, share):
        lower, upper = -Fraction(self.zero_threshold), Fraction(self.zero_threshold)
        if self.buckets("positive") and not self.buckets("negative"):
            lower = Fraction(0)
        if self.buckets("negative") and not self.buckets("positive"):
            upper = Fraction(0)
        return float(lower + (upper - lower) * share)

    def magnitude(self, lower, upper, share):
        with localcontext(prec=50):
            zero = Decimal(self.zero_threshold)
            # By the logarithms of the edges, of which the zero bucket may cover some.
            logs = [Decimal(edge.numerator) / edge.denominator for edge in (lower, upper)]
            if zero > 0:
                logs = [max(log, zero.ln() / Decimal(2).ln()) for log in logs]
            share = Decimal(share.numerator) / share.denominator
            return float(Decimal(2) ** (logs[0] + (logs[1] - logs[0]) * share))


def sum_of_exponential(histograms):
    """Every bucket is put where its exact upper edge lies at the smallest scale, then the zero bucket takes its own."""
    scale = min(histogram.scale for histogram in histograms)
    sides = {side: Counter() for side in ("positive", "negative")}
    for histogram in histograms:
        for side, counter in sides.items():
            for _, upper, count in histogram.buckets(side):
                counter[upper] += count
    while True:
        width = Fraction(2) ** -scale
        indexed = {side: Counter() for side in sides}
        for side, counter in sides.items():
            for upper, count in counter.items():
                indexed[side][math.ceil(upper / width) - 1] += count
        if all(not counter or max(counter) - min(counter) < 1024 for counter in indexed.values()):
            break
        scale -= 1
    zero_count = sum(histogram.zero_count for histogram in histograms)
    threshold = max(Decimal(histogram.zero_threshold) for histogram in histograms)
    grown = True
    while grown:
        grown = False
        for counter in indexed.values():
            for index in sorted(counter):
                if power_of_2(index * width) < threshold * (1 - Decimal(10) ** -12):
                    zero_count += counter.pop(index)
                    threshold = max(threshold, power_of_2((index + 1) * width))
                    grown = True

    def dense(counter):
        return (min(counter), [counter[i] for i in range(min(counter), max(counter) + 1)]) if counter else (0, [])

    return scale, zero_count, float(threshold), dense(indexed["positive"]), dense(indexed["negative"])


# Series.


class Series:
    """A counter, event by event: when each was counted, in which run of the process, and what points were sent of it."""

    def __init__(self, draw, temporality, is_int):
        self.temporality, self.is_int = temporality, is_int
        # Values beyond 2^53, where doubles are not whole numbers any more.
        base = 2**60 if is_int and draw.random() < 0.3 else 0
        self.events, self.points = [], []
        time, run = START_NS + draw.randrange(SECOND_NS), 0
        start, total, since_last_point, last_point = time, base, 0, time
        for _ in range(draw.randrange(3, 40)):
            if draw.random() < 0.15:
                time += draw.randrange(SECOND_NS)
                start, total, since_last_point, run, last_point = time, 0, 0, run + 1, time
            for _ in range(draw.randrange(6)):
                time += draw.randrange(1, SECOND_NS)
                amount = draw.randrange(100) if is_int else draw.randrange(100) / 4
                total, since_last_point = total + amount, since_last_point + amount
                self.events.append((time, run, amount))
            time += draw.randrange(1, SECOND_NS)
            if temporality == DELTA:
                self.points.append((last_point, time, since_last_point, run))
            else:
                self.points.append((start, time, total, run))
            since_last_point, last_point = 0, time
        # Some points never arrive.
        self.points = [point for point in self.points if draw.random() < 0.8] or self.points[:1]
        self.has_base = base > 0

    def data_points(self, number):
        for start, time, value, _ in self.points:
            value = {"as_int": value} if self.is_int else {"as_double": value}
            yield NumberDataPoint(
                start_time_unix_nano=start, time_unix_nano=time, attributes=numbered(number), **value
            )

    def expected(self):
        """(increase, rate), each None if the points do not tell."""
        first, last = self.points[0], self.points[-1]
        if self.temporality == DELTA:
            increase = sum(value for _, _, value, _ in self.points)
            begin = first[0]
        else:
            # An event is told of by a later point of the same run, if it came after the first point of all.
            last_of_run = {run: time for _, time, _, run in self.points}
            increase = sum(
                amount for time, run, amount in self.events if first[1] < time <= last_of_run.get(run, 0)
            )
            begin = first[1]
        if begin == last[1]:
            return None, None
        return float(increase), float(Fraction(increase) / Fraction(last[1] - begin, SECOND_NS))

    def expected_with_window(self):
        """The increase if the window began before the series did."""
        last_of_run = {run: time for _, time, _, run in self.points}
        first_run = self.points[0][3]
        return float(
            sum(amount for time, run, amount in self.events if run >= first_run and time <= last_of_run.get(run, 0))
        )


def histogram_metric(name, kind, points):
    if kind is Explicit:
        return Metric(name=name, histogram=Histogram(data_points=points, aggregation_temporality=DELTA))
    histogram = ExponentialHistogram(data_points=points, aggregation_temporality=DELTA)
    return Metric(name=name, exponential_histogram=histogram)


class Data:
    def __init__(self):
        draw = random.Random(20250101)
        self.explicit = [Explicit.draw(draw) for _ in range(200)]
        # Histograms of one group share most bounds, as those of one metric do.
        self.explicit_groups = []
        for _ in range(20):
            family = sorted(draw.sample([k / 8 for k in range(1, 200)], 10))
            bounds = [family if draw.random() < 0.5 else [b for b in family if draw.random() < 0.8] for _ in range(6)]
            self.explicit_groups.append(
                [Explicit(b, [draw.randrange(10**6) for _ in range(len(b) + 1)], None) for b in bounds]
            )
        self.exponential = [Exponential.draw(draw) for _ in range(200)]
        self.exponential_groups = [
            [Exponential.draw(draw) for _ in range(draw.randrange(1, 8))] for _ in range(30)
        ]
        # Too wide for 1,024 buckets, so that the scale gives way.
        ends = [(6, 0), (6, 3000), (4, -1200)]
        self.exponential_groups.append([Exponential(s, 0, 0.0, (at, [1, 2, 3]), None) for s, at in ends])
        self.series = [
            Series(draw, temporality, is_int)
            for temporality in (DELTA, CUMULATIVE)
            for is_int in (True, False)
            for _ in range(25)
        ]
        self.levels = [[draw.randrange(-(10**6), 10**6) / 8 for _ in range(draw.randrange(2, 30))] for _ in range(10)]
        self.draw = draw

    def send(self, server, token):
        singles = [
            histogram_metric(f"single.{kind.__name__}", kind, [h.point(i, 0) for i, h in enumerate(histograms)])
            for kind, histograms in ((Explicit, self.explicit), (Exponential, self.exponential))
        ]
        requests = [request("singles", singles)]
        for kind, groups in ((Explicit, self.explicit_groups), (Exponential, self.exponential_groups)):
            for group, histograms in enumerate(groups):
                for number, histogram in enumerate(histograms):
                    metric = histogram_metric(f"group.{kind.__name__}", kind, [histogram.point(number, group)])
                    requests.append(request("groups", [metric]))
        for number, series in enumerate(self.series):
            name = "counter.int" if series.is_int else "counter.double"
            for point in series.data_points(number):
                counter = Sum(data_points=[point], aggregation_temporality=series.temporality, is_monotonic=True)
                requests.append(request("series", [Metric(name=name, sum=counter)]))
        for number, levels in enumerate(self.levels):
            points = [
                NumberDataPoint(
                    time_unix_nano=START_NS + i * SECOND_NS, as_double=level, attributes=numbered(number)
                )
                for i, level in enumerate(levels)
            ]
            self.draw.shuffle(points)
            requests.append(otlp.metrics_request("levels", "level", points))
        # In no order, as they come from many senders.
        self.draw.shuffle(requests)
        with otlp.Client(server.address, token) as client:
            for message in merged(requests, 20):
                client.export("metrics", message)


def merged(requests, size):
    """Several requests in one: fewer round trips, the same points."""
    for first in range(0, len(requests), size):
        together = otlp.ExportMetricsServiceRequest()
        for one in requests[first : first + size]:
            together.MergeFrom(one)
        yield together


@pytest.fixture(scope="module")
def data():
    return Data()


@pytest.fixture(scope="module", params=["memory", "files"])
def connection(request, data, binary, tmp_path_factory):
    server = Server(binary, tmp_path_factory.mktemp(request.param), STORAGE_FLUSH_INTERVAL="24h")
    try:
        server.start()
        token = server.token()
        data.send(server, token)
        assert server.parquet_files() == []
        if request.param == "files":
            server.restart()
            assert server.parquet_files("metrics") != []
        with server.adbc(token) as connection:
            yield connection
    finally:
        server.end()


def by_number(connection, sql):
    """The answer of a statement whose first column is the number of a histogram or a series."""
    rows = [tuple(row.values()) for row in query(connection, sql).to_pylist()]
    answer = {number: row for number, *row in rows}
    assert len(answer) == len(rows)
    return answer


def assert_close(found, expected, about, relative=1e-12):
    if expected is None or found is None:
        assert found is None and expected is None, (about, found, expected)
    else:
        assert math.isclose(found, expected, rel_tol=relative, abs_tol=1e-12), (about, found, expected)


NUMBER = "json_get_int(attributes, 'number')"
GROUP = "json_get_int(attributes, 'group')"


def test_quantiles_of_explicit_histograms(connection, data):
    for q in SHARES:
        sql = (
            f"SELECT {NUMBER}, histogram_quantile({q}, explicit_bounds, bucket_counts), "
            f"histogram_quantile({q}, explicit_bounds, bucket_counts, min, max) "
            "FROM metrics WHERE name = 'single.Explicit'"
        )
        answer = by_number(connection, sql)
        assert len(answer) == len(data.explicit)
        for number, histogram in enumerate(data.explicit):
            plain, within = answer[number]
            assert_close(plain, histogram.quantile(q), (q, number))
            assert_close(within, histogram.quantile(q, histogram.extremes), (q, number, "extremes"))


def test_merged_explicit_histograms(connection, data):
    sql = (
        "SELECT n, m['bounds'], m['counts'], histogram_quantile(0.5, m) "
        f"FROM (SELECT {GROUP} AS n, histogram_merge(explicit_bounds, bucket_counts) AS m FROM metrics "
        "WHERE name = 'group.Explicit' GROUP BY 1)"
    )
    answer = by_number(connection, sql)
    assert len(answer) == len(data.explicit_groups)
    lost = 0
    for group, histograms in enumerate(data.explicit_groups):
        bounds, counts = sum_of_explicit(histograms)
        lost += len(bounds) < max(len(histogram.bounds) for histogram in histograms)
        found_bounds, found_counts, median = answer[group]
        assert (found_bounds, found_counts) == (bounds, counts), group
        assert_close(median, Explicit(bounds, counts, None).quantile(0.5), group)
    assert lost > 5, "hardly any group has different bounds"


def test_quantiles_of_exponential_histograms(connection, data):
    for q in SHARES:
        sql = (
            f"SELECT {NUMBER}, exp_histogram_quantile({q}, {EXPONENTIAL_COLUMNS}) "
            "FROM metrics WHERE name = 'single.Exponential'"
        )
        answer = by_number(connection, sql)
        assert len(answer) == len(data.exponential)
        for number, histogram in enumerate(data.exponential):
            assert_close(answer[number][0], histogram.quantile(q), (q, number, vars(histogram)), 1e-11)


def test_merged_exponential_histograms(connection, data):
    fields = ", ".join(f"m['{name}']" for name in EXPONENTIAL_COLUMNS.split(", "))
    sql = (
        f"SELECT n, {fields}, exp_histogram_quantile(0.75, m) FROM (SELECT {GROUP} AS n, "
        f"exp_histogram_merge({EXPONENTIAL_COLUMNS}) AS m FROM metrics WHERE name = 'group.Exponential' GROUP BY 1)"
    )
    answer = by_number(connection, sql)
    assert len(answer) == len(data.exponential_groups)
    for group, histograms in enumerate(data.exponential_groups):
        scale, zero_count, threshold, positive, negative = sum_of_exponential(histograms)
        found = answer[group]
        assert found[:2] == [scale, zero_count], (group, found)
        assert_close(found[2], threshold, group)
        assert (found[3], found[4]) == positive, group
        assert (found[5], found[6]) == negative, group
        total = zero_count + sum(positive[1]) + sum(negative[1])
        assert total == sum(histogram.total() for histogram in histograms)
        assert_close(found[7], Exponential(scale, zero_count, threshold, positive, negative).quantile(0.75), group, 1e-11)


def test_increase_and_rate_of_simulated_counters(connection, data):
    arguments = "timestamp, {}, start_timestamp, temporality"
    for value, wanted in (("value_int", lambda s: s.is_int), ("value", lambda s: not s.has_base)):
        call = arguments.format(value)
        sql = (
            f"SELECT {NUMBER}, increase({call}), rate({call}), delta({call}) FROM metrics "
            f"WHERE service_name = 'series' AND {value} IS NOT NULL GROUP BY series_id, attributes"
        )
        answer = by_number(connection, sql)
        numbers = [number for number, series in enumerate(data.series) if wanted(series)]
        assert len(numbers) >= 50
        for number in numbers:
            increase, rate = data.series[number].expected()
            about = (value, number, data.series[number].points)
            assert_close(answer[number][0], increase, about)
            assert_close(answer[number][1], rate, about)
            # The starts tell of every restart, so nothing has to be guessed from a fall.
            assert_close(answer[number][2], increase, about)


def test_increase_of_counters_that_began_inside_the_window(connection, data):
    sql = (
        f"SELECT {NUMBER}, increase(timestamp, value, start_timestamp, temporality, TIMESTAMP '2025-01-01T00:00:00Z') "
        "FROM metrics WHERE service_name = 'series' AND temporality = 'cumulative' GROUP BY series_id, attributes"
    )
    answer = by_number(connection, sql)
    checked = 0
    for number, series in enumerate(data.series):
        if series.temporality == CUMULATIVE and not series.has_base:
            assert_close(answer[number][0], series.expected_with_window(), (number, series.points))
            checked += 1
    assert checked > 30


def test_steps_between_points_add_up_to_the_increase(connection, data):
    """Guarantees: over frames of two rows, nothing is counted twice and nothing is left out."""
    call = "timestamp, value, start_timestamp, temporality"
    frame = "PARTITION BY series_id ORDER BY timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW"
    sql = (
        f"SELECT n, sum(step) FROM (SELECT {NUMBER} AS n, increase({call}) OVER ({frame}) AS step FROM metrics "
        "WHERE service_name = 'series' AND temporality = 'cumulative') GROUP BY n"
    )
    answer = by_number(connection, sql)
    for number, series in enumerate(data.series):
        if series.temporality == CUMULATIVE and not series.has_base:
            assert_close(answer[number][0], series.expected()[0], (number, series.points))


def test_delta_of_gauges(connection, data):
    sql = f"SELECT {NUMBER}, delta(timestamp, value) FROM metrics WHERE name = 'level' GROUP BY series_id, attributes"
    answer = by_number(connection, sql)
    assert answer == {number: [levels[-1] - levels[0]] for number, levels in enumerate(data.levels)}


def test_a_quantile_is_as_near_to_that_of_the_observations_as_the_scale_allows(server):
    """Guarantees: not only the formula holds: the estimate lies within one bucket of the true quantile."""
    draw = random.Random(7)
    observations = sorted(draw.lognormvariate(0, 2) for _ in range(20_000))
    token = server.token()
    for scale in (0, 3, 6):
        counts = Counter(math.ceil(math.log2(value) * 2**scale) - 1 for value in observations)
        offset = min(counts)
        dense = [counts[index] for index in range(offset, max(counts) + 1)]
        histogram = Exponential(scale, 0, 0.0, (offset, dense), None)
        message = request("observed", [histogram_metric("observed", Exponential, [histogram.point(scale, 0)])])
        with otlp.Client(server.address, token) as client:
            client.export("metrics", message)
    with server.adbc(token) as connection:
        for q in (0.01, 0.25, 0.5, 0.9, 0.99, 0.999):
            sql = f"SELECT scale, exp_histogram_quantile({q}, {EXPONENTIAL_COLUMNS}) FROM metrics"
            true = observations[math.ceil(q * len(observations)) - 1]
            for scale, (found,) in by_number(connection, sql).items():
                base = 2 ** (2.0**-scale)
                assert true / base <= found <= true * base, (q, scale, found, true)
