"""What the client knows of what it sent and what became of it: an oracle outside the server. And its senders."""

import random
import threading
import time
from collections import Counter

import grpc
import otlp

SENDERS_PER_SIGNAL = 2
LARGEST_BATCH = 20

# Between two attempts to deliver a batch: shorter than the server asks for, so that a test sees soon what changed.
RETRY_PAUSE_S = 0.05

# By the service, a test can tell the records of one load from those of another.
SERVICE = "sender"


class Ledger:
    """Which records were sent, and what became of them. One per signal, shared by its senders."""

    def __init__(self):
        # Guards all that follow: senders run at the same time.
        self.lock = threading.Lock()
        self.sent = 0
        self.acknowledged = set()
        # Batches of which the server's last word is that it did not store them.
        self.refused = []
        # Batches without an answer that counts: each is there whole or not at all.
        self.unanswered = []
        # While it is set, an acknowledgement is no such answer.
        self.is_doubting = False

    def take(self, count):
        with self.lock:
            first = self.sent
            self.sent += count
            return range(first, first + count)

    def note_acknowledged(self, ids):
        with self.lock:
            if self.is_doubting:
                self.unanswered.append(ids)
            else:
                self.acknowledged.update(ids)

    def note_refused(self, ids):
        with self.lock:
            self.refused.append(ids)

    def note_unanswered(self, ids):
        with self.lock:
            self.unanswered.append(ids)

    def judge(self, found, refused_may_be_there=False, may_be_gone=False):
        """What is wrong with the records found in the store, in words; empty if nothing is.

        `refused_may_be_there`: after a fault of the disk the server may be unable to take back what it wrote in part.
        `may_be_gone`: the records are past their retention.
        """
        times = Counter(identity for identity, _ in found)
        mixed = [pair for pair in found if pair[0] != pair[1]]
        open_batches = self.unanswered + (self.refused if refused_may_be_there else [])
        lost = [] if may_be_gone else sorted(self.acknowledged - times.keys())
        doubled = sorted(identity for identity, count in times.items() if count > 1)
        unknown = {identity for batch in open_batches for identity in batch}
        invented = sorted(times.keys() - self.acknowledged - unknown)
        torn = [batch[0] for batch in open_batches if len(times.keys() & set(batch)) not in (0, len(batch))]
        wrong = {
            "acknowledged but lost": lost,
            "there more than once": doubled,
            "there but never sent, or refused": invented,
            "batches there in part": torn,
            "records with values of another": mixed,
        }
        return "; ".join(f"{len(ids)} {what}, such as {ids[:5]}" for what, ids in wrong.items() if ids)

    def history(self):
        """All of it, to be kept with what a failed test leaves behind."""
        with self.lock:
            return {
                "sent": self.sent,
                "acknowledged": sorted(self.acknowledged),
                "refused": [list(batch) for batch in self.refused],
                "unanswered": [list(batch) for batch in self.unanswered],
            }


def new_ledgers():
    return {signal: Ledger() for signal in otlp.SIGNALS}


def check(when, server, ledgers, found, **allowed):
    """`found` has a pair for each record of a signal: its attribute `id`, and its own number."""
    wrong = {signal: ledger.judge(found[signal], **allowed) for signal, ledger in ledgers.items()}
    report = "\n".join(f"{signal}: {text}" for signal, text in wrong.items() if text)
    assert not report, f"{when}:\n{report}\ndata directory: {server.data_dir}\nlog: {server.log_file}"


class Senders:
    """Threads that export until the server is gone or `stop` is called.

    As exporters do, they send a batch again that the server has refused for now.
    """

    def __init__(self, address, token, ledgers, seed, per_signal=SENDERS_PER_SIGNAL, ages_s=(0,), pause_s=0):
        """`ages_s` are the ages of records to choose from; `pause_s` is what a sender waits after a batch."""
        self.failures = []
        # The errors with which batches were refused.
        self.refusals = []
        self.stopping = threading.Event()
        self.ages_s, self.pause_s = ages_s, pause_s
        self.threads = [
            threading.Thread(target=self.send, args=(address, token, signal, ledger, f"{seed}-{sender}"))
            for signal, ledger in ledgers.items()
            for sender in range(per_signal)
        ]
        for thread in self.threads:
            thread.start()

    def send(self, address, token, signal, ledger, seed):
        dice = random.Random(f"{seed}-{signal}")
        try:
            with otlp.Client(address, token) as client:
                while not self.stopping.is_set():
                    ids = ledger.take(dice.randint(1, LARGEST_BATCH))
                    time_ns = time.time_ns() - dice.choice(self.ages_s) * 10**9
                    if not self.deliver(client, signal, ledger, ids, request(signal, ids, time_ns)):
                        return
                    if self.pause_s:
                        self.stopping.wait(self.pause_s)
        except Exception as error:
            self.failures.append(error)

    def deliver(self, client, signal, ledger, ids, message):
        """Whether the batch was acknowledged in the end; if not, the server is gone or the senders are to stop."""
        while True:
            try:
                client.export(signal, message)
            except grpc.RpcError as error:
                if not otlp.is_refusal(error):
                    ledger.note_unanswered(ids)
                    assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                    return False
                self.refusals.append(error)
                if self.stopping.wait(RETRY_PAUSE_S):
                    ledger.note_refused(ids)
                    return False
            else:
                ledger.note_acknowledged(ids)
                return True

    def stop(self):
        self.stopping.set()
        self.join()

    def join(self):
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a sender got no answer and no error"
        assert not self.failures, self.failures


def request(signal, ids, time_ns):
    if signal == "metrics":
        points = [
            otlp.NumberDataPoint(time_unix_nano=time_ns, as_int=identity, attributes=otlp.attributes(id=identity))
            for identity in ids
        ]
        return otlp.metrics_request(SERVICE, "ledger.points", points)
    if signal == "logs":
        records = [
            otlp.LogRecord(
                time_unix_nano=time_ns, body=otlp.any_value(str(identity)), attributes=otlp.attributes(id=identity)
            )
            for identity in ids
        ]
        return otlp.logs_request(SERVICE, records)
    spans = [
        otlp.Span(
            trace_id=(identity + 1).to_bytes(16, "big"),
            span_id=(identity + 1).to_bytes(8, "big"),
            name="ledger",
            start_time_unix_nano=time_ns,
            end_time_unix_nano=time_ns + identity,
            attributes=otlp.attributes(id=identity),
        )
        for identity in ids
    ]
    return otlp.traces_request(SERVICE, spans)
