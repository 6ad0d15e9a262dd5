"""Load while snapshots are replaced and keys revoked: no wrong verdict, a revoked key denied within a second, every request counted once.

KM_SOAK_SECONDS (6), KM_SOAK_KEYS (2000), KM_SOAK_THREADS of the server (2), KM_SOAK_BOUND (2, seconds until a revoked key is denied: a
machine that runs other tests besides is slow). tests/bench/soak runs ten minutes of it, with 100,000 keys and a bound of 1."""

import os
import random
import threading
import time

import gateway
import harness
from gateway import key_text

SECONDS = float(os.environ.get("KM_SOAK_SECONDS", "6"))
KEYS = int(os.environ.get("KM_SOAK_KEYS", "2000"))
BOUND = float(os.environ.get("KM_SOAK_BOUND", "2"))
SERVER_THREADS = os.environ.get("KM_SOAK_THREADS", "2")
WATCHED = 200  # keys that are asked for, and revoked one after the other


class Client(threading.Thread):
    """Asks for random keys and holds every answer against what may be answered then."""

    def __init__(self, gate, published, revoked, stop, seed):
        super().__init__()
        self.gate, self.published, self.revoked, self.stop_, self.random = gate, published, revoked, stop, random.Random(seed)
        self.allowed, self.denied, self.wrong, self.slowest, self.latest = {}, {}, [], 0, 0

    def run(self):
        heads = [gateway.head(X_Api_Key=key_text(n)) for n in range(WATCHED)] + [gateway.head(X_Api_Key=key_text(KEYS + 1))]
        with self.gate.connect() as connection:
            while not self.stop_.is_set():
                number = self.random.randrange(len(heads))
                begun = time.monotonic()
                connection.send(heads[number])
                answer = connection.read()
                ended = time.monotonic()
                self.slowest = max(self.slowest, ended - begun)
                self.judge(number, answer, begun, ended)

    def judge(self, number, answer, begun, ended):
        if number == WATCHED:
            good = answer.status == 401 and answer.rule == "unknown"
        else:
            # Taken just before the rename, and just after it.
            since = self.revoked.get(number)
            may_deny = ended > self.published.get(number, ended)
            may_allow = since is None or begun < since + BOUND
            if answer.status == 200 and since is not None:
                self.latest = max(self.latest, begun - since)
            good = (answer.status == 200 and may_allow) or (answer.status == 403 and answer.rule == "revoked" and may_deny)
        if not good:
            self.wrong.append((number, str(answer), begun - (self.revoked.get(number) or 0)))
        to = self.allowed if answer.status == 200 else self.denied
        to[number] = to.get(number, 0) + 1


class Snapshots:
    """One after the other, each with one more key revoked; the lines of the others are made once."""

    def __init__(self, signer):
        self.signer, self.sequence = signer, 1
        first = signer.snapshot([{"number": n} for n in range(KEYS)], good_for=2 * SECONDS + 3600)
        self.header, *self.lines = first.decode().splitlines()[:-1]
        self.first = first

    def revoke(self, number):
        self.sequence += 1
        self.lines[number] = self.lines[number].replace('"revoked":false', '"revoked":true')
        header = self.header.replace('"sequence":1,', f'"sequence":{self.sequence},')
        return self.signer.signed("\n".join([header, *self.lines]) + "\n")


class Soak(gateway.GatewayCase):
    def test_load_with_reloads_and_revocations(self):
        snapshots = Snapshots(self.signer)
        gate = self.gateway(None, "--threads", SERVER_THREADS, "--flush-interval", "1s", data=snapshots.first)
        published, revoked, stop = {}, {}, threading.Event()
        clients = [Client(gate, published, revoked, stop, seed) for seed in range(4)]
        for client in clients:
            client.start()
        begun, memory, told = time.monotonic(), [], 60
        pause = max(0.5, SECONDS / WATCHED * 1.1)
        while time.monotonic() - begun < SECONDS:
            time.sleep(pause)
            number = len(revoked) % WATCHED
            data = snapshots.revoke(number)
            published[number] = time.monotonic()
            gateway.replace(self.snapshot, data)
            revoked[number] = time.monotonic()
            memory.append(gate.memory())
            if time.monotonic() - begun > told:
                told += 60
                print(f"{time.monotonic() - begun:4.0f} s: {len(revoked)} revoked, wrong {sum(len(c.wrong) for c in clients)}, memory {memory[-1]:.0f} MiB", flush=True)
        time.sleep(1.5)
        metrics = gate.metrics()
        stop.set()
        for client in clients:
            client.join()
        wrong = [w for client in clients for w in client.wrong]
        self.assertEqual(wrong[:5], [])
        self.assertEqual(metrics["kmtool_apikey_snapshot_sequence"], snapshots.sequence)
        code, _ = gate.stop()
        self.assertEqual(code, 0)
        self.counted(clients)
        answers = sum(sum(c.allowed.values()) + sum(c.denied.values()) for c in clients)
        print(f"{SECONDS:.0f} s, {KEYS} keys, {snapshots.sequence} snapshots, {len(revoked)} revocations: {answers} answers, none wrong, "
              f"the last allowed {max(c.latest for c in clients) * 1e3:.0f} ms after its revocation, slowest {max(c.slowest for c in clients) * 1e3:.0f} ms, memory {memory[0]:.0f} → {memory[-1]:.0f} MiB (most {max(memory):.0f})")
        self.assertGreater(answers, 1000)

    def counted(self, clients):
        counts = gateway.usage(self.state)
        for number in range(WATCHED):
            own = counts.get(gateway.digits(number, gateway.BASE32, 10), {"allowed": 0, "denied": {}})
            self.assertEqual(own["allowed"], sum(c.allowed.get(number, 0) for c in clients), number)
            self.assertEqual(own["denied"].get("revoked", 0), sum(c.denied.get(number, 0) for c in clients), number)
        self.assertEqual(counts["-"]["denied"], {"unknown": sum(c.denied.get(WATCHED, 0) for c in clients)})


if __name__ == "__main__":
    harness.main()
