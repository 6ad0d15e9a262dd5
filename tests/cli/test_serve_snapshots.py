"""Which snapshot is served, when nothing is, and what becomes of the counts."""

import os
import pathlib
import signal
import threading
import time
import unittest

import gateway
import harness
from gateway import key_text

FAKETIME = harness.first_file("/usr/lib/*/faketime/libfaketimeMT.so.1")
ONE, REVOKED = [{"number": 1}], [{"number": 1, "revoked": True}]


class Snapshots(gateway.GatewayCase):
    def denied(self, gate, rule, status=403):
        self.verdict(gate.ask(X_Api_Key=key_text(1)), status, rule)

    def test_none_then_one(self):
        gate = self.gateway()
        self.denied(gate, "no-snapshot")
        self.assertEqual(gate.ask("/healthz").status, 503)
        self.assertEqual(gate.metrics()["kmtool_apikey_ready"], 0)
        gateway.replace(self.snapshot, self.signer.snapshot(ONE))
        self.assertLess(gate.wait(lambda: gate.ask(X_Api_Key=key_text(1)).status == 200), 1)
        self.assertEqual(gate.ask("/healthz").status, 200)

    def test_what_is_not_accepted(self):
        good = self.signer.snapshot(ONE)
        other = gateway.Signer(self.dir, "stranger")
        swapped = good.replace(b'"revoked":false', b'"revoked":true ')
        cases = {"by a stranger": other.snapshot(ONE), "changed": good.replace(b'"app":"shop"', b'"app":"shap"'), "spaced": swapped, "cut": good[:-10],
                 "without a signature": b"\n".join(good.split(b"\n")[:-2]) + b"\n", "empty": b"", "nothing like it": b"\0" * 100,
                 "with more behind it": good + b"\n"}
        for name, data in cases.items():
            with self.subTest(name):
                gate = self.gateway(data=data, state=self.dir / f"state-{name.replace(' ', '-')}")
                self.denied(gate, "no-snapshot")
                self.assertEqual(gate.ask("/healthz").status, 503)
                self.assertIn("snapshot not accepted", gate.text())
                gate.stop()

    def test_what_is_served_stays_until_a_better_one_comes(self):
        gate = self.gateway(ONE, sequence=5)
        for data in (self.signer.snapshot(REVOKED, 6)[:-20], self.signer.snapshot(ONE, 4), gateway.Signer(self.dir, "mallory").snapshot(REVOKED, 9),
                     self.signer.snapshot(REVOKED, 5), self.signer.snapshot(REVOKED, 9, home="11111111-2222-4333-8444-555555555555")):
            failures = gate.metrics()["kmtool_apikey_snapshot_reload_failures_total"]
            gateway.replace(self.snapshot, data)
            gate.wait(lambda: gate.metrics()["kmtool_apikey_snapshot_reload_failures_total"] > failures)
            self.assertEqual(gate.ask(X_Api_Key=key_text(1)).status, 200)
            self.assertEqual(gate.metrics()["kmtool_apikey_snapshot_file_accepted"], 0)
        self.snapshot.unlink()
        gate.wait(lambda: "no such file" in gate.text())
        self.assertEqual(gate.ask(X_Api_Key=key_text(1)).status, 200)
        gateway.replace(self.snapshot, self.signer.snapshot(REVOKED, 6))
        self.assertLess(gate.wait(lambda: gate.ask(X_Api_Key=key_text(1)).rule == "revoked"), 1)
        gate.wait(lambda: gate.metrics()["kmtool_apikey_snapshot_file_accepted"] == 1)  # its sequence is written once it is served

    def test_a_file_written_in_place(self):
        gate = self.gateway(ONE)
        data = self.signer.snapshot(REVOKED, 2)
        with open(self.snapshot, "wb", buffering=0) as file:
            file.write(data[:200])
            time.sleep(0.3)
            self.assertEqual(gate.ask(X_Api_Key=key_text(1)).status, 200)
            file.write(data[200:])
        self.assertLess(gate.wait(lambda: gate.ask(X_Api_Key=key_text(1)).rule == "revoked"), 1)

    def test_expiry_denies_at_the_second(self):
        gate = self.gateway(data=self.signer.snapshot(ONE, good_for=2))
        self.assertEqual(gate.ask(X_Api_Key=key_text(1)).status, 200)
        gate.wait(lambda: gate.ask(X_Api_Key=key_text(1)).rule == "snapshot-expired", 4)
        self.assertEqual(gate.ask("/healthz").status, 503)
        gate.wait(lambda: "snapshot 1 has expired; everything is denied" in gate.text())
        gateway.replace(self.snapshot, self.signer.snapshot(ONE, 2))
        gate.wait(lambda: gate.ask(X_Api_Key=key_text(1)).status == 200)
        # A newer one that has expired is newer all the same: the older must not come back.
        gateway.replace(self.snapshot, self.signer.snapshot(ONE, 3, good_for=-5, created=time.time() - 60))
        gate.wait(lambda: gate.ask(X_Api_Key=key_text(1)).rule == "snapshot-expired")
        gateway.replace(self.snapshot, self.signer.snapshot(ONE, 2))
        gate.wait(lambda: gate.metrics()["kmtool_apikey_snapshot_reload_failures_total"] == 1)
        self.denied(gate, "snapshot-expired")

    def test_a_clock_behind_the_snapshot(self):
        gate = self.gateway(data=self.signer.snapshot(ONE, created=time.time() + 3600, good_for=7200))
        self.denied(gate, "clock")

    @unittest.skipUnless(FAKETIME, "needs faketime")
    def test_a_clock_that_is_set_back(self):
        clock, hour = self.dir / "clock", 3600
        clock.write_text("+7200")
        env = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        between = gateway.rfc3339(time.time() + hour)
        keys = [{"number": 1, "expires": between}, {"number": 2, "until": between}, {"number": 3, "not_before": between}, {"number": 4}]
        gate = self.gateway(data=self.signer.snapshot(keys, good_for=6 * hour), env=env)
        rules = lambda: [gate.ask(X_Api_Key=key_text(number)).rule for number in (1, 2, 3, 4)]
        self.assertEqual(rules(), ["expired", "replaced", None, None])
        clock.write_text("+0")
        gate.wait(lambda: rules()[2] == "not-before")
        self.assertEqual(rules(), ["expired", "replaced", "not-before", None])
        self.assertGreater(gate.metrics()["kmtool_clock_behind_seconds"], hour)
        gate.wait(lambda: "set the clock right" in gate.text())
        time.sleep(0.2)
        self.assertEqual(gate.text().count("set the clock right"), 1)
        clock.write_text("+90000")  # for a moment: everything has ended, but not for good
        gate.wait(lambda: gate.ask(X_Api_Key=key_text(4)).rule == "snapshot-expired")
        time.sleep(0.2)
        clock.write_text("+0")
        gate.wait(lambda: rules() == ["expired", "replaced", "not-before", None])
        gateway.replace(self.snapshot, self.signer.snapshot(keys, 2, good_for=6 * hour))
        gate.wait(lambda: rules() == [None, None, "not-before", None])  # signed by the time that is
        clock.write_text("+7260")
        gate.wait(lambda: rules() == ["expired", "replaced", None, None])
        gate.wait(lambda: gate.metrics()["kmtool_clock_behind_seconds"] == 0)
        self.assertEqual(gate.ask("/healthz").body, "ok\n")

    def test_what_has_ended_when_the_snapshot_was_made(self):
        """The clock is behind the publisher's, within what is tolerated: the snapshot's time has come all the same."""
        now = time.time()
        keys = [{"number": 1, "expires": gateway.rfc3339(now + 60)}, {"number": 2, "expires": gateway.rfc3339(now + 600)}]
        gate = self.gateway(data=self.signer.snapshot(keys, created=now + 120))
        self.denied(gate, "expired")
        self.assertEqual(gate.ask(X_Api_Key=key_text(2)).status, 200)
        words = ("--snapshot", self.snapshot, "--signer", self.signer.pem, "--key-stdin")
        result = self.kmtool("apikey", "check", *words, "--json", stdin=key_text(1))
        self.assertEqual((result.code, result.json()["rule"]), (1, "expired"), result)
        self.assertIn("but the snapshot was made at", result.err)
        self.assertEqual(self.kmtool("apikey", "check", *words, stdin=key_text(2)).code, 0)
        self.assertIn("but it has been", self.kmtool("apikey", "explain", *words, stdin=key_text(1)).out)

    def test_no_restart_revives_a_key(self):
        gate = self.gateway(ONE, sequence=3)
        old = self.snapshot.read_bytes()
        gateway.replace(self.snapshot, self.signer.snapshot(REVOKED, 4))
        gate.wait(lambda: gate.ask(X_Api_Key=key_text(1)).rule == "revoked")
        gate.kill()
        gate = self.gateway(data=old, state=self.state)
        self.denied(gate, "no-snapshot")
        self.assertIn("number 3, and number 4 was served before", gate.text())
        gate.stop()
        # The same number with other contents is a fork; the same bytes again are fine.
        gate = self.gateway(data=self.signer.snapshot(ONE, 4), state=self.state)
        self.denied(gate, "no-snapshot")
        gateway.replace(self.snapshot, self.signer.snapshot(ONE, 5))
        gate.wait(lambda: gate.ask(X_Api_Key=key_text(1)).status == 200)
        gate.stop()
        self.assertEqual(self.gateway(data=self.snapshot.read_bytes(), state=self.state).ask(X_Api_Key=key_text(1)).status, 200)

    def test_a_state_that_is_not_ours(self):
        state = self.dir / "odd-state"
        state.mkdir(mode=0o700)
        for text in ("", "{}\n", '{"kmserve":1,"home":"x","sequence":1,"digest":""}\n', '{"kmserve":2}\n'):
            (state / "sequence").write_text(text)
            result = self.refused(65, "apikey", "serve", "--snapshot", self.dir / "x", "--signer", self.signer.pem, "--state", state, "--listen", "127.0.0.1:0")
            self.assertIn("remove it only when", result.err)
        (state / "sequence").unlink()
        gate = self.gateway(ONE, state=state)
        self.refused(75, "apikey", "serve", "--snapshot", self.snapshot, "--signer", self.signer.pem, "--state", state, "--listen", "127.0.0.1:0", says="lock")
        gate.stop()
        state.chmod(0o777)
        self.refused(78, "apikey", "serve", "--snapshot", self.snapshot, "--signer", self.signer.pem, "--state", state, "--listen", "127.0.0.1:0")

    def test_a_state_that_cannot_be_written(self):
        """The folder's place is taken by a file while the server runs: nothing durable can be written any more."""
        gate = self.gateway(ONE)
        aside = self.state.with_suffix(".aside")
        self.state.rename(aside)
        self.state.write_text("")
        self.assertEqual(gate.ask(X_Api_Key=key_text(1)).status, 200)  # nothing new was to be remembered
        gateway.replace(self.snapshot, self.signer.snapshot(ONE, 2))
        gate.wait(lambda: gate.ask(X_Api_Key=key_text(1)).rule == "state")
        self.assertEqual(gate.ask("/healthz").status, 503)
        self.state.unlink()
        aside.rename(self.state)
        gate.wait(lambda: gate.ask(X_Api_Key=key_text(1)).status == 200)
        self.assertIn('"sequence":2', (self.state / "sequence").read_text())


class Usage(gateway.GatewayCase):
    def ask(self, gate, times, number=1, **fields):
        with gate.connect() as connection:
            for _ in range(times):
                connection.send(gateway.head(X_Api_Key=key_text(number), **fields))
                connection.read()

    def test_nothing_is_lost_on_sigterm(self):
        gate = self.gateway([{"number": 1}, {"number": 2, "restrictions": {"ip": ["10.0.0.0/8"]}}], "--flush-interval", "1h", "--trusted-proxy", "127.0.0.1")
        self.ask(gate, 70, X_Forwarded_For="198.51.100.1")
        self.ask(gate, 30, X_Forwarded_For="198.51.100.2")
        self.ask(gate, 20, 2, X_Forwarded_For="198.51.100.2")
        self.ask(gate, 10, 3, X_Forwarded_For="198.51.100.2")
        code, out = gate.stop()
        self.assertEqual((code, out), (0, "stopped: 100 allowed, 30 denied, 0 bad requests, 4 connections\n"))
        counts = gateway.usage(self.state)
        self.assertEqual(counts["0000000001"], {"allowed": 100, "denied": {}, "sources": {"198.51.100.1": 70, "198.51.100.2": 30}})
        self.assertEqual((counts["0000000002"]["denied"], counts["-"]["denied"]), ({"ip": 20}, {"unknown": 10}))

    def test_a_kill_costs_one_interval(self):
        gate = self.gateway(ONE, "--flush-interval", "1s")
        self.ask(gate, 100)
        gate.wait(lambda: gateway.usage(self.state).get("0000000001", {}).get("allowed") == 100, 3)
        self.ask(gate, 7)
        gate.kill()
        self.assertIn(gateway.usage(self.state)["0000000001"]["allowed"], range(100, 108))

    def test_counts_outlive_a_full_disk(self):
        gate = self.gateway(ONE, "--flush-interval", "1s")
        aside = self.state.with_suffix(".aside")
        self.state.rename(aside)
        self.ask(gate, 5)
        gate.wait(lambda: gate.metrics()["kmtool_apikey_usage_failures_total"] > 0)
        aside.rename(self.state)
        self.ask(gate, 5)
        gate.wait(lambda: gateway.usage(self.state).get("0000000001", {}).get("allowed") == 10)
        gate.stop()
        # A last batch that cannot be written is no success.
        gate = self.gateway(ONE, "--flush-interval", "1h", state=self.dir / "second")
        self.ask(gate, 5)
        self.state.rename(self.dir / "gone")
        self.assertEqual(gate.stop(), (74, ""))

    def test_reload_on_hangup_and_summary_as_json(self):
        gate = self.gateway(ONE, "--json")
        self.ask(gate, 2)
        gate.process.send_signal(signal.SIGHUP)
        self.ask(gate, 1)
        code, out = gate.stop(signal.SIGINT)
        self.assertEqual((code, out), (0, '{"allowed":3,"denied":0,"bad_requests":0,"connections":2}\n'))

    def test_requests_in_flight_are_answered(self):
        gate = self.gateway(ONE)
        with gate.connect() as begun, gate.connect() as idle:
            whole = gateway.head(X_Api_Key=key_text(1))
            begun.send(whole[:30])
            gate.ask("/healthz")
            gate.process.send_signal(signal.SIGTERM)
            self.assertTrue(idle.at_end())
            begun.send(whole[30:])
            answer = begun.read()
            self.assertEqual((answer.status, answer.headers["connection"]), (200, "close"))
            self.assertTrue(begun.at_end())
        self.assertEqual(gate.stop(None), (0, "stopped: 1 allowed, 0 denied, 0 bad requests, 3 connections\n"))
        self.assertEqual(gateway.usage(self.state)["0000000001"]["allowed"], 1)

    def test_ready_for_systemd(self):
        import socket
        path = self.dir / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(path))
            manager.settimeout(5)
            gate = self.gateway(ONE, env={"NOTIFY_SOCKET": str(path)})
            self.assertEqual(manager.recv(100), b"READY=1")
            gate.stop()
            self.assertEqual(manager.recv(100), b"STOPPING=1")


if __name__ == "__main__":
    harness.main()
