"""Several processes at once on one home: mutations take turns, readers never fail (acceptance 9).

KM_PARALLEL_ROUNDS (default 20) rounds of 8 processes that each make 10 keys; a new home every 5 rounds.
"""

import concurrent.futures
import os
import threading

import harness

ROUNDS = int(os.environ.get("KM_PARALLEL_ROUNDS", "20"))
PROCESSES = 8
KEYS = 10


class Parallel(harness.Case):
    def make(self, number, worker):
        failed = []
        for key in range(KEYS):
            result = self.kmtool("gen", f"r{number}-w{worker}-k{key}", "--role", "data")
            if result.code != 0:
                failed.append(str(result))
        return failed

    def read(self, stop, failed):
        reads = 0
        while not stop.is_set():
            for words in (("list", "--json"), ("show", "first", "--json")):
                result = self.kmtool(*words)
                if result.code != 0:
                    failed.append(str(result))
                else:
                    result.json()
                reads += 1
            stop.wait(0.05)
        return reads

    def test_rounds(self):
        for batch in range(0, ROUNDS, 5):
            type(self).home = self.embedded_home(f"home-{batch}")
            type(self).env["KMTOOL_HOME"] = str(self.home)
            self.ok("gen", "first", "--role", "data")
            self.rounds(range(batch, min(batch + 5, ROUNDS)))

    def rounds(self, numbers):
        reads = 0
        for number in numbers:
            stop, failed = threading.Event(), []
            with concurrent.futures.ThreadPoolExecutor(PROCESSES + 1) as pool:
                reader = pool.submit(self.read, stop, failed)
                workers = [pool.submit(self.make, number, worker) for worker in range(PROCESSES)]
                for worker in workers:
                    failed += worker.result()
                stop.set()
                reads += reader.result()
            self.assertEqual(failed, [], f"round {number}")
        expected = {"first"} | {f"r{n}-w{w}-k{k}" for n in numbers for w in range(PROCESSES) for k in range(KEYS)}
        keys = self.ok_json("list")["keys"]
        self.assertEqual({k["name"] for k in keys}, expected)
        self.assertEqual(len(keys), len(expected))
        on_token = [o["id"] for o in self.objects(self.home) if o["label"].endswith("@1") and not o["label"].startswith("kmtool-")]
        self.assertEqual(sorted(on_token), sorted(k["id"] for k in keys))
        self.assertIs(self.ok_json("doctor")["healthy"], True)
        entries = self.entries(self.home)
        self.assertEqual([e["seq"] for e in entries], list(range(len(entries))))
        self.assertEqual(sum(e["command"] == "gen" and e.get("result") == "done" for e in entries), len(expected))
        print(f"{len(expected) - 1} keys in {len(numbers)} rounds of {PROCESSES} processes, {reads} reads beside them", flush=True)


class TwoHomesOneToken(harness.Case):
    """Two homes joined on one token work in turns and do not take each other's anchor for damage."""

    def test_joined(self):
        token = harness.SoftToken(self.dir / "hsm")
        one = self.module_home(token, "one")
        two = self.module_home(token, "two", None, "--join")
        for number in range(4):
            for home in (one, two):
                self.ok("gen", f"{home.name}-{number}", "--role", "data", home=home)
        for home in (one, two):
            self.assertEqual(len(self.ok_json("list", home=home)["keys"]), 4)
            self.assertIs(self.ok_json("doctor", home=home)["healthy"], True)


if __name__ == "__main__":
    harness.main()
