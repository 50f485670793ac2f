"""Two processes and one data directory."""

from harness import START_LIMIT_S, wait_for
from ledger import Senders, check
from outcome import last_words
from readers import stored

ANSWER_LIMIT_S = 30


def test_of_two_processes_on_one_directory_the_second_refuses(case, counts):
    """Scenario: two processes are started at the same moment on one directory, and a third when one of them runs: five
    times, each after the winner was killed.
    Guarantees: one answers; each of the others ends with an exit code and one line that says who has the directory. The
    one that answers has all that was acknowledged, and nothing twice."""
    servers = [case.server() for _ in range(3)]
    for server in servers[1:]:
        server.data_dir = servers[0].data_dir
    ledgers = case.new_ledgers("sender")
    for race in range(counts.races):
        for server in servers[:2]:
            server.launch()
        wait_for("a winner and a loser", START_LIMIT_S, lambda: is_decided(servers[:2]))
        winner, loser = sorted(servers[:2], key=lambda server: server.process.poll() is not None)
        winner.is_ready()
        servers[2].launch()
        for refused in (loser, servers[2]):
            words = last_words(refused)
            assert str(winner.data_dir) in words and f"process {winner.process.pid}" in words, words
        send_some(winner, ledgers, f"{case.seed}-{race}")
        check(f"in race {race + 1}", winner, ledgers, stored(winner, winner.token()))
        winner.kill()


def is_decided(servers):
    """Whether one answers and the other has ended."""
    ended = [server for server in servers if server.process.poll() is not None]
    assert len(ended) < 2, "both have ended"
    return ended and any(server.ready_file.exists() for server in servers if server not in ended)


def send_some(server, ledgers, seed):
    """One more batch of every signal at least."""
    before = {signal: len(ledger.acknowledged) for signal, ledger in ledgers.items()}

    def is_enough():
        return all(len(ledger.acknowledged) > before[signal] for signal, ledger in ledgers.items())

    senders = Senders(server.address, server.token(), ledgers, seed, per_signal=1)
    wait_for("a batch of every signal", ANSWER_LIMIT_S, is_enough)
    senders.stop()
