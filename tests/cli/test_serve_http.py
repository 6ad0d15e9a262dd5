"""Malformed, slow and greedy HTTP against the gateway, byte by byte."""

import os
import resource
import signal
import socket
import threading
import time

import gateway
import harness
from gateway import key_text

ONE = [{"number": 1}]
KEY = f"X-Api-Key: {key_text(1)}\r\n"
GOOD = f"GET /auth HTTP/1.1\r\nHost: gate\r\n{KEY}\r\n"


class Malformed(gateway.GatewayCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        snapshot = cls.dir / "keys.kmk"
        gateway.replace(snapshot, cls.signer.snapshot(ONE))
        cls.gate = gateway.Gateway(cls, snapshot, cls.signer, cls.dir / "state", "--header-timeout", "2s")
        cls.addClassCleanup(cls.gate.kill)

    def bad(self, data, status, why):
        """Refused with this word, the connection closed, and nothing behind it answered."""
        with self.gate.connect() as connection:
            connection.send(data)
            answer = connection.read()
            self.assertEqual((answer.status, answer.body, answer.headers["connection"]), (status, why + "\n", "close"), data[:200])
            self.assertTrue(connection.at_end(), "more than one answer")

    def test_smuggling(self):
        start = "POST /auth HTTP/1.1\r\nHost: gate\r\n"
        inner = GOOD
        for fields, status, why in (
                ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400, "length-and-encoding"),
                ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400, "length-and-encoding"),
                ("Content-Length: 5\r\nContent-Length: 6\r\n", 400, "two-lengths"), ("Content-Length: 5\r\nContent-Length: 5\r\n", 400, "two-lengths"),
                ("Content-Length: 5, 5\r\n", 400, "bad-length"), ("Content-Length: +5\r\n", 400, "bad-length"), ("Content-Length: -5\r\n", 400, "bad-length"),
                ("Content-Length: 0x5\r\n", 400, "bad-length"), ("Content-Length:\r\n", 400, "bad-length"), ("Content-Length: 5 5\r\n", 400, "bad-length"),
                ("Content-Length: 99999999999999999999999\r\n", 400, "bad-length"),
                ("Transfer-Encoding: xchunked\r\n", 400, "bad-encoding"), ("Transfer-Encoding: gzip, chunked\r\n", 400, "bad-encoding"),
                ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400, "bad-encoding"), ("Transfer-Encoding: chunked, identity\r\n", 400, "bad-encoding"),
                ("Transfer-Encoding: \x0bchunked\r\n", 400, "control-character"), ("Transfer-Encoding : chunked\r\n", 400, "bad-field"),
                ("Content-Length : 5\r\n", 400, "bad-field"), (" Content-Length: 5\r\n", 400, "folded-line"), ("X: a\r\n b\r\n", 400, "folded-line"),
                ("X: a\r\n\tb\r\n", 400, "folded-line"), ("X: a\rContent-Length: 5\r\n", 400, "bare-cr"), ("X: a\nContent-Length: 5\r\n", 400, "bare-lf"),
                ("X: a\0b\r\n", 400, "control-character"), ("X\0: a\r\n", 400, "control-character"), ("X: \x7f\r\n", 400, "control-character"),
                (": a\r\n", 400, "bad-field"), ("X\r\n", 400, "bad-field"), ("X(Y): a\r\n", 400, "bad-field"), ("Host: other\r\n", 400, "two-hosts"),
                ("Referer: a\r\nReferer: b\r\n", 400, "repeated-field"), ("X-Original-URI: /a\r\nX-original-uri: /b\r\n", 400, "repeated-field")):
            with self.subTest(fields=fields):
                self.bad(start + KEY + fields + "\r\n" + inner, status, why)

    def test_request_lines(self):
        rest = f"Host: gate\r\n{KEY}\r\n"
        for line, status, why in (
                ("GET /auth HTTP/2.0", 505, "bad-version"), ("GET /auth HTTP/0.9", 505, "bad-version"), ("GET /auth HTTP/1.2", 505, "bad-version"),
                ("GET /auth", 400, None), ("GET  /auth HTTP/1.1", 400, None), ("GET /auth  HTTP/1.1", 505, "bad-version"), ("GET /a b HTTP/1.1", 505, "bad-version"),
                (" GET /auth HTTP/1.1", 400, None), ("GET http://gate/auth HTTP/1.1", 400, "bad-target"), ("OPTIONS * HTTP/1.1", 400, "bad-target"),
                ("CONNECT gate:443 HTTP/1.1", 400, "bad-target"), ("GET /\u00e4 HTTP/1.1", 400, "bad-target"), ("G\0T / HTTP/1.1", 400, "control-character"),
                ("G(T / HTTP/1.1", 400, "bad-request-line"), ("", 400, None), ("\x16\x03\x01\x02", 400, "control-character"),
                ("PRI * HTTP/2.0", 505, "bad-version")):
            with self.subTest(line=line):
                data = line + "\r\n" + rest
                if why:
                    self.bad(data.encode("latin-1"), status, why)
                else:
                    with self.gate.connect() as connection:
                        connection.send(data)
                        self.assertIn(connection.read().status, (400, 505))
                        self.assertTrue(connection.at_end())
        self.bad(f"GET /auth HTTP/1.1\r\n{KEY}\r\n", 400, "no-host")

    def test_sizes(self):
        fits = 16384 - len(GOOD) - len("X: \r\n")
        pad = GOOD[:-2] + "X: " + "a" * fits + "\r\n\r\n"
        self.assertEqual(len(pad), 16384)
        with self.gate.connect() as connection:
            connection.send(pad + GOOD)
            self.assertEqual([connection.read().status, connection.read().status], [200, 200])
        self.bad(GOOD[:-2] + "X: " + "a" * (fits + 1) + "\r\n\r\n", 431, "head-too-large")
        self.bad("GET /" + "a" * 20000, 431, "head-too-large")
        self.bad(GOOD[:-2] + "X: 1\r\n" * 200 + "\r\n", 431, "too-many-fields")
        with self.gate.connect() as connection:  # a megabyte that is no head is not kept
            try:
                for _ in range(64):
                    connection.send(b"a" * 65536)
            except (ConnectionResetError, BrokenPipeError):
                pass

    def test_bodies_are_ignored(self):
        for fields, body in (("Content-Length: 11\r\n", "hello world"), ("Content-Length: 400\r\n", GOOD), ("Transfer-Encoding: chunked\r\n", f"{len(GOOD):x}\r\n{GOOD}\r\n0\r\n\r\n"),
                             ("Content-Length: 100000\r\n", "x" * 100000), ("Content-Length: 5\r\nExpect: 100-continue\r\n", "")):
            with self.subTest(fields=fields), self.gate.connect() as connection:
                connection.send(f"POST /auth HTTP/1.1\r\nHost: gate\r\n{KEY}{fields}\r\n{body}")
                answer = connection.read()
                self.assertEqual((answer.status, answer.headers["connection"]), (200, "close"))
                self.assertTrue(connection.at_end(), "the body was answered as a request")
        with self.gate.connect() as connection:
            connection.send(f"POST /auth HTTP/1.1\r\nHost: gate\r\n{KEY}Content-Length: 0\r\n\r\n" + GOOD)
            self.assertEqual([connection.read().status, connection.read().status], [200, 200])
        with self.gate.connect() as connection:  # an endless body is not read for ever
            connection.send(f"POST /auth HTTP/1.1\r\nHost: gate\r\n{KEY}Content-Length: 999999999\r\n\r\n")
            with self.assertRaises((ConnectionResetError, BrokenPipeError)):
                for _ in range(1000):
                    connection.send(b"x" * 65536)

    def test_pipelining_and_pieces(self):
        with self.gate.connect() as connection:
            connection.send(GOOD * 500)
            self.assertEqual([connection.read().status for _ in range(500)], [200] * 500)
            mixed = GOOD + "GET / HTTP/1.1\r\nHost: gate\r\n\r\n" + GOOD.replace("GET", "HEAD", 1) + GOOD
            connection.send(mixed)
            self.assertEqual([connection.read().status, connection.read().status, connection.read(body=False).status, connection.read().status], [200, 401, 200, 200])
        with self.gate.connect() as connection:  # each byte on its own
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in (GOOD + GOOD).encode():
                connection.send(bytes([byte]))
            self.assertEqual([connection.read().status, connection.read().status], [200, 200])
        with self.gate.connect() as connection:
            connection.send(GOOD[:-2] + "Connection: close\r\n\r\n" + GOOD)
            self.assertEqual(connection.read().status, 200)
            self.assertTrue(connection.at_end())
        with self.gate.connect() as connection:
            connection.send(GOOD.replace("1.1", "1.0", 1))
            self.assertEqual(connection.read().headers["connection"], "close")
            self.assertTrue(connection.at_end())

    def test_always_within_a_head(self):
        """A busy pipeline whose pieces never end where a request does is not slow."""
        with self.gate.connect() as connection:
            connection.send(GOOD[:40])
            begun, count = time.monotonic(), 0
            while time.monotonic() - begun < 3.5:
                connection.send(GOOD[40:] + GOOD[:40])
                self.assertEqual(connection.read().status, 200)
                count += 1
                time.sleep(0.05)
            self.assertGreater(count, 10)

    def test_a_reader_that_does_not_read(self):
        with self.gate.connect() as greedy:
            greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.socket.settimeout(0.5)
            sent = 0
            try:
                for _ in range(400):
                    greedy.send(("GET /metrics HTTP/1.1\r\nHost: gate\r\n\r\n" * 400)[:65536])
                    sent += 1
            except (TimeoutError, ConnectionResetError, BrokenPipeError):
                pass
            self.assertLess(sent, 400)  # it was made to wait
            self.assertEqual(self.gate.ask(X_Api_Key=key_text(1)).status, 200)
        self.assertLess(self.gate.memory(), 600 if harness.SANITIZED else 100)

    def test_slow_heads(self):
        slow = [self.gate.connect() for _ in range(50)]
        begun = time.monotonic()
        for connection in slow:
            connection.send(GOOD[:20])
        while time.monotonic() - begun < 1.5:
            for connection in slow:
                connection.send("a")
            before = time.monotonic()
            self.assertEqual(self.gate.ask(X_Api_Key=key_text(1)).status, 200)
            self.assertLess(time.monotonic() - before, 1)
            time.sleep(0.1)
        for connection in slow:
            self.assertEqual(connection.read().status, 408)
            self.assertTrue(connection.at_end())
            connection.close()
        self.assertLess(time.monotonic() - begun, 5)

    def test_noise(self):
        """Bytes without sense, some of them behind a good beginning: never 200, never a crash."""
        import random
        noise = random.Random(4711)
        for _ in range(400):
            data = bytearray(GOOD.replace(key_text(1), "none").encode())
            for _ in range(noise.randrange(1, 6)):
                place = noise.randrange(len(data))
                data[place:place + noise.randrange(3)] = bytes(noise.randrange(256) for _ in range(noise.randrange(4)))
            with self.gate.connect() as connection:
                connection.send(bytes(data))
                connection.socket.shutdown(socket.SHUT_WR)
                received = b""
                try:
                    while chunk := connection.socket.recv(65536):
                        received += chunk
                except ConnectionResetError:
                    pass
                self.assertNotIn(b"HTTP/1.1 200", received, data)
        self.assertEqual(self.gate.ask(X_Api_Key=key_text(1)).status, 200)


class Many(gateway.GatewayCase):
    def test_idle_connections_are_pushed_out(self):
        gate = self.gateway(ONE, "--max-connections", "50")
        idle = [gate.connect() for _ in range(50)]
        gate.ask("/healthz")
        for _ in range(20):
            idle.append(gate.connect())
            idle[-1].send(GOOD)
            self.assertEqual(idle[-1].read().status, 200)
        self.assertGreaterEqual(gate.metrics()["kmtool_http_connections_evicted_total"], 20)
        self.assertTrue(all(connection.at_end() for connection in idle[:20]))
        for connection in idle:
            connection.close()

    def test_no_descriptors_left(self):
        # The server's own limit leaves room; another process's inheritance does not.
        gate = self.gateway(ONE, wrapper=["prlimit", "--nofile=90:90"])
        idle = [gate.connect() for _ in range(200)]
        for _ in range(5):
            self.assertEqual(gate.ask(X_Api_Key=key_text(1)).status, 200)
        for connection in idle:
            connection.close()
        spent = sum(os.times()[2:4])
        self.assertEqual(gate.stop()[0], 0)
        self.assertLess(sum(os.times()[2:4]) - spent, 5, "it span")

    def test_idle_time(self):
        gate = self.gateway(ONE, "--idle-timeout", "1s")
        with gate.connect() as fresh, gate.connect() as used:
            used.send(GOOD)
            used.read()
            begun = time.monotonic()
            self.assertTrue(used.at_end())
            self.assertTrue(fresh.at_end())
            self.assertTrue(0.5 < time.monotonic() - begun < 3)

    def test_ten_thousand_idle(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = min(10000, hard - 200)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        if count < 10000:
            self.skipTest(f"only {hard} descriptors are allowed here")
        gate = self.gateway(ONE)
        idle = []
        begun = time.monotonic()
        for _ in range(count):
            idle.append(gate.connect())
        gate.wait(lambda: gate.metrics()["kmtool_http_connections_open"] >= count)
        slowest = 0
        for _ in range(200):
            before = time.monotonic()
            self.assertEqual(gate.ask(X_Api_Key=key_text(1)).status, 200)
            slowest = max(slowest, time.monotonic() - before)
        self.assertLess(slowest, 2)
        self.assertLess(gate.memory(), 600 if harness.SANITIZED else 80)
        print(f"{count} idle connections: {gate.memory():.0f} MiB, slowest of 200 checks {slowest * 1e3:.1f} ms, {time.monotonic() - begun:.1f} s")
        for connection in idle:
            connection.close()
        self.assertEqual(gate.stop()[0], 0)


if __name__ == "__main__":
    harness.main()
