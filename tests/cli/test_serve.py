"""The gateway's verdicts, snapshots and usage, as a proxy sees them."""

import os
import pathlib
import signal
import stat
import threading
import time

import gateway
import harness
from gateway import key_text

ONE = [{"number": 1}]


class Verdicts(gateway.GatewayCase):
    def test_allowed_and_denied(self):
        gate = self.gateway([
            {"number": 1, "app": "shop", "environment": "staging"}, {"number": 2, "revoked": True}, {"number": 3, "expires": "2020-01-01T00:00:00Z"},
            {"number": 4, "not_before": "2190-01-01T00:00:00Z"}, {"number": 5, "until": "2020-01-01T00:00:00Z"},
            {"number": 6, "restrictions": {"ip": ["10.0.0.0/8"]}}, {"number": 7, "restrictions": {"ip": ["127.0.0.0/8"]}},
            {"number": 8, "restrictions": {"referrer": ["https://shop.example"], "unrestricted": True}},
            {"number": 9, "restrictions": {"ios": ["com.example.shop"], "unrestricted": True}},
            {"number": 10, "restrictions": {"android": ["com.example.shop=" + "ab" * 32], "unrestricted": True}}])
        yes = gate.ask(X_Api_Key=key_text(1))
        self.verdict(yes, 200)
        self.assertEqual([yes.headers[f"x-kmtool-{n}"] for n in ("id", "app", "environment", "client")], ["0000000001", "shop", "staging", "127.0.0.1"])
        self.assertEqual(yes.headers["cache-control"], "no-store")
        wrong_check = key_text(1)[:-1] + ("A" if key_text(1)[-1] != "A" else "B")
        for key, status, rule in (
                (None, 401, "missing"), ("nonsense", 401, "format"), (wrong_check, 401, "checksum"), (key_text(99), 401, "unknown"),
                (key_text(1, "another secret"), 401, "unknown"), (key_text(2), 403, "revoked"), (key_text(3), 403, "expired"),
                (key_text(4), 403, "not-before"), (key_text(5), 403, "replaced"), (key_text(6), 403, "ip"), (key_text(7), 200, None),
                (key_text(8), 403, "referrer"), (key_text(9), 403, "ios"), (key_text(10), 403, "android")):
            with self.subTest(rule=rule):
                answer = gate.ask(**({"X_Api_Key": key} if key else {}))
                self.verdict(answer, status, rule)
                self.assertEqual("www-authenticate" in answer.headers, status == 401)
                self.assertEqual("x-kmtool-id" in answer.headers, status in (200, 403))
        self.verdict(gate.ask(X_Api_Key=key_text(8), Referer="https://shop.example/cart"), 200)
        self.verdict(gate.ask(X_Api_Key=key_text(8), Referer="https://shop.example.evil/"), 403, "referrer")
        self.verdict(gate.ask(X_Api_Key=key_text(9), X_Ios_Bundle_Identifier="com.example.shop"), 200)
        app = {"X_Android_Package": "com.example.shop", "X_Android_Cert": "AB" * 32}
        self.verdict(gate.ask(X_Api_Key=key_text(10), **app), 200)
        self.assertEqual(gate.stop()[0], 0)

    def test_where_the_key_may_stand(self):
        gate = self.gateway(ONE + [{"number": 2}])
        one, two = key_text(1), key_text(2)
        for fields in ({"Authorization": f"Bearer {one}"}, {"Authorization": f"bEARER  {one}"}, {"X_Api_Key": one}, {"X_Original_URI": f"/a?x=1&api_key={one}&y"},
                       {"X_Forwarded_Uri": f"/a?api_key={one}#api_key={two}"}, {"X_Original_URI": f"/a?api%5Fkey={one.replace('_', '%5f')}"},
                       {"X_Api_Key": one, "Authorization": f"Bearer {one}", "X_Forwarded_Uri": f"/?api_key={one}"}, {"X_Api_Key": [one, one]},
                       {"X_Api_Key": one, "Authorization": "Basic dTpw"}):
            with self.subTest(fields=fields):
                self.verdict(gate.ask(**fields), 200)
        for fields in ({"X_Api_Key": [one, two]}, {"X_Api_Key": one, "Authorization": f"Bearer {two}"}, {"X_Api_Key": one, "X_Original_URI": f"/?api_key={two}"},
                       {"X_Original_URI": f"/?api_key={one}&api_key={two}"}, {"X_Original_URI": f"/?api_key={one}", "X_Forwarded_Uri": f"/?api_key={two}"}):
            with self.subTest(fields=fields):
                self.verdict(gate.ask(**fields), 403, "two-keys")
        for fields in ({"Authorization": one}, {"Authorization": "Bearer"}, {"X_Original_URI": f"/?key={one}"}, {"X_Original_URI": f"/{one}"},
                       {"path": f"/auth?api_key={one}"}, {"Cookie": f"api_key={one}"}):
            with self.subTest(fields=fields):
                self.verdict(gate.ask(**fields), 401, "missing")
        self.verdict(gate.ask(f"/auth/envoy/metrics?api_key={one}"), 200)
        self.verdict(gate.ask("/auth/envoy/metrics"), 401, "missing")
        gate.stop()
        other = self.gateway(ONE, "--query-key", "k")
        self.verdict(other.ask(X_Original_URI=f"/?k={one}&api_key={two}"), 200)
        other.stop()
        none = self.gateway(ONE, "--query-key", "")
        self.verdict(none.ask(X_Original_URI=f"/?api_key={one}&={one}"), 401, "missing")
        self.verdict(none.ask(X_Api_Key=one), 200)

    def test_rate_and_what_each_proxy_is_told(self):
        rate = {"rate": "2/hour", "unrestricted": True}
        gate = self.gateway([{"number": n, "restrictions": rate} for n in (1, 2, 3)])
        for number, path, status in ((1, "/auth", 429), (2, "/auth/nginx", 403), (3, "/auth/envoy/orders", 429)):
            for _ in range(2):
                self.verdict(gate.ask(path, X_Api_Key=key_text(number)), 200)
            answer = gate.ask(path, X_Api_Key=key_text(number))
            self.verdict(answer, status, "rate")
            self.assertTrue(1 <= int(answer.headers["retry-after"]) <= 1800, answer)
        # A new snapshot does not fill the buckets.
        gateway.replace(self.snapshot, self.signer.snapshot([{"number": n, "restrictions": rate} for n in (1, 2, 3, 4)], 2))
        gate.wait(lambda: gate.ask(X_Api_Key=key_text(4)).status == 200)
        self.verdict(gate.ask(X_Api_Key=key_text(1)), 429, "rate")

    def test_client_address(self):
        ten, proxy = {"restrictions": {"ip": ["203.0.113.7"]}}, ("--trusted-proxy", "127.0.0.0/8", "--trusted-proxy", "192.0.2.0/24")
        gate = self.gateway([{"number": 1, **ten}, {"number": 2}], *proxy)
        one = key_text(1)
        for hops in ("203.0.113.7", "203.0.113.7, 192.0.2.9", ["203.0.113.7", "192.0.2.9"], "garbage, 203.0.113.7 ,192.0.2.9", ["garbage,,", "203.0.113.7"], "::ffff:203.0.113.7"):
            with self.subTest(hops=hops):
                self.verdict(gate.ask(X_Api_Key=one, X_Forwarded_For=hops), 200)
        for hops in ("203.0.113.7, 198.51.100.1", ["203.0.113.7", "198.51.100.1"], "192.0.2.1, 192.0.2.2"):
            with self.subTest(hops=hops):
                self.verdict(gate.ask(X_Api_Key=one, X_Forwarded_For=hops), 403, "ip")
        for hops in ("203.0.113.7:443", "203.0.113.7, garbage", "203.0.113.7,", "", "unknown", "fe80::1%eth0", "203.0.113.007", "[2001:db8::1]"):
            for number in (1, 2):
                with self.subTest(hops=hops):
                    self.verdict(gate.ask(X_Api_Key=key_text(number), X_Forwarded_For=hops), 403, "forwarded")
        # A proxy that says nothing does not lend its own address.
        self.verdict(gate.ask(X_Api_Key=one), 403, "ip")
        self.assertNotIn("x-kmtool-client", gate.ask(X_Api_Key=key_text(2)).headers)
        self.assertEqual(gate.ask(X_Api_Key=key_text(2), X_Forwarded_For="192.0.2.1, 192.0.2.2").headers["x-kmtool-client"], "192.0.2.1")
        gate.stop()
        direct = self.gateway([{"number": 1, **ten}, {"number": 2, "restrictions": {"ip": ["127.0.0.1"]}}])
        self.verdict(direct.ask(X_Api_Key=one, X_Forwarded_For="203.0.113.7"), 403, "ip")
        self.verdict(direct.ask(X_Api_Key=key_text(2), X_Forwarded_For="203.0.113.7"), 200)

    def test_scopes_are_the_proxys_to_demand(self):
        keys = [{"number": 1, "restrictions": {"scopes": ["orders:read", "orders:write"], "unrestricted": True}}]
        gate = self.gateway(keys, "--trusted-proxy", "127.0.0.1")
        for scope, status in (("orders:read", 200), ("orders:read orders:write", 200), (["orders:read", "orders:admin"], 403), ("admin", 403)):
            with self.subTest(scope=scope):
                self.assertEqual(gate.ask(X_Api_Key=key_text(1), X_Forwarded_For="198.51.100.1", X_Kmtool_Scope=scope).status, status)
        self.verdict(gate.ask(X_Api_Key=key_text(1), X_Forwarded_For="198.51.100.1"), 403, "scope")
        gate.stop()
        self.verdict(self.gateway(keys).ask(X_Api_Key=key_text(1), X_Kmtool_Scope="orders:read"), 403, "scope")

    def test_unix_socket(self):
        path = self.dir / "gate.sock"
        keys = [{"number": 1, "restrictions": {"ip": ["203.0.113.7"]}}, {"number": 2}]
        gate = self.gateway(keys, "--socket-mode", "606", listen=f"unix:{path}")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o606)
        self.verdict(gate.ask(X_Api_Key=key_text(2)), 200)
        self.verdict(gate.ask(X_Api_Key=key_text(1), X_Forwarded_For="203.0.113.7"), 403, "ip")
        self.refused(75, "apikey", "serve", "--snapshot", self.snapshot, "--signer", self.signer.pem, "--state", self.dir / "another", "--listen", f"unix:{path}",
                     says="listen")
        gate.kill()
        self.assertTrue(path.exists())  # left behind by a kill, and taken over by the next
        gate = self.gateway(keys, "--trusted-proxy", "unix", listen=f"unix:{path}", state=self.dir / "third")
        self.verdict(gate.ask(X_Api_Key=key_text(1), X_Forwarded_For="203.0.113.7"), 200)
        self.assertEqual(gate.stop()[0], 0)
        self.assertFalse(path.exists())

    def test_ipv6(self):
        gate = self.gateway([{"number": 1, "restrictions": {"ip": ["::1"]}}], listen="[::1]:0")
        self.verdict(gate.ask(X_Api_Key=key_text(1)), 200)

    def test_metrics_and_health_are_no_way_around(self):
        gate = self.gateway(ONE)
        self.assertEqual(gate.ask("/healthz").status, 200)
        self.assertEqual(gate.ask("/healthz", method="HEAD").status, 200)
        for fields in ({"X_Forwarded_For": "1.2.3.4"}, {"X_Original_URI": "/metrics"}, {"X_Envoy_Internal": "true"}, {"Via": "1.1 proxy"}):
            for path in ("/metrics", "/healthz"):
                self.verdict(gate.ask(path, **fields), 401, "missing")
        for path in ("/metrics/", "//metrics", "/Metrics", "/healthz/x", "/%6detrics"):
            self.verdict(gate.ask(path), 401, "missing")
        gate.stop()
        split = self.gateway(ONE, "--admin-listen", "127.0.0.1:0")
        self.verdict(split.ask("/metrics"), 401, "missing")
        self.assertEqual(split.ask("/metrics", 1).status, 200)
        self.assertEqual(split.ask("/healthz", 1, X_Forwarded_For="1.2.3.4").status, 200)
        self.assertEqual(split.ask("/auth", 1, X_Api_Key=key_text(1)).status, 404)

    def test_metrics(self):
        gate = self.gateway([{"number": n} for n in range(3)], sequence=7)
        for number in (1, 1, 50):
            gate.ask(X_Api_Key=key_text(number))
        gate.ask(X_Api_Key="kmt_x")
        text = gate.ask("/metrics")
        self.assertEqual(text.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        metrics = gate.metrics()
        checks = 'kmtool_apikey_checks_total{verdict="%s",rule="%s"}'
        for verdict, rule, count in (("allowed", "none", 2), ("denied", "unknown", 1), ("denied", "format", 1), ("denied", "ip", 0), ("denied", "two-keys", 0)):
            self.assertEqual(metrics[checks % (verdict, rule)], count)
        self.assertEqual(metrics["kmtool_apikey_check_seconds_count"], 4)
        self.assertEqual(metrics['kmtool_apikey_check_seconds_bucket{le="+Inf"}'], 4)
        self.assertEqual((metrics["kmtool_apikey_registry_keys"], metrics["kmtool_apikey_snapshot_sequence"], metrics["kmtool_apikey_ready"]), (3, 7, 1))
        self.assertTrue(3500 < metrics["kmtool_apikey_snapshot_not_after_timestamp_seconds"] - time.time() < 3601)
        for line in text.body.splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) \w+ .+|\w+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+)$')
        self.assertNotIn("0000000001", text.body)

    def test_threads(self):
        gate = self.gateway([{"number": n} for n in range(50)], "--threads", "4", "--flush-interval", "1h")
        failures = []

        def many(begin):
            with gate.connect() as connection:
                for n in range(200):
                    connection.send(gateway.head(X_Api_Key=key_text((begin + n) % 100)))
                    if connection.read().status != (200 if (begin + n) % 100 < 50 else 401):
                        failures.append(n)
        threads = [threading.Thread(target=many, args=(n * 13,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        code, out = gate.stop()
        self.assertEqual((code, "800 allowed, 800 denied" in out), (0, True), out)
        counts = gateway.usage(self.state)
        self.assertEqual((sum(k["allowed"] for k in counts.values()), counts["-"]["denied"]), (800, {"unknown": 800}))


class CommandLine(gateway.GatewayCase):
    def test_refused(self):
        good = {"--snapshot": self.dir / "none.kmk", "--signer": self.signer.pem, "--state": self.dir / "state", "--listen": "127.0.0.1:0"}

        def words(**changed):
            return [w for name, value in {**good, **{"--" + k.replace("_", "-"): v for k, v in changed.items()}}.items() for w in (name, value)]
        for listen in ("localhost:80", "127.0.0.1", "127.0.0.1:", ":80", "::1:80", "127.0.0.1:65536", "127.0.0.1:8a", "unix:", "[127.0.0.1]:80", "unix:" + "x" * 200):
            self.refused(64, "apikey", "serve", *words(listen=listen), says="listen")
        self.refused(64, "apikey", "serve", *words(trusted_proxy="10.0.0.1/8"), says="10.0.0.0/8 for the network")
        self.refused(64, "apikey", "serve", *words(threads="0"))
        self.refused(64, "apikey", "serve", *words(idle_timeout="never"), says="duration")
        self.refused(64, "apikey", "serve", *words(socket_mode="888"), says="octal")
        self.refused(66, "apikey", "serve", *words(signer=self.dir / "nobody.pem"))
        (self.dir / "junk.pem").write_text("junk")
        self.refused(65, "apikey", "serve", *words(signer=self.dir / "junk.pem"))
        (self.dir / "file").write_text("")
        self.refused(73, "apikey", "serve", *words(state=self.dir / "file"))
        self.refused(73, "apikey", "serve", *words(listen=f"unix:{self.dir}/file"))
        if os.getuid() != 0:
            self.refused(74, "apikey", "serve", *words(listen="127.0.0.1:1"))
        self.refused(74, "apikey", "serve", *words(listen="203.0.113.1:80"), says="203.0.113.1")


if __name__ == "__main__":
    harness.main()
