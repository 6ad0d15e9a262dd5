"""The shipped nginx configuration in a real nginx, before a real backend. Skipped (77) without nginx."""

import http.client
import http.server
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time

import gateway
import harness
from gateway import key_text

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
EXAMPLE = pathlib.Path(os.environ["KMTOOL_SOURCE"]) / "cmd" / "examples" / "kmtool-nginx.conf"

KEYS = [{"number": 1, "app": "shop"}, {"number": 2, "revoked": True}, {"number": 3, "restrictions": {"ip": ["203.0.113.7"]}},
        {"number": 4, "restrictions": {"ip": ["127.0.0.1"]}}, {"number": 5, "restrictions": {"rate": "3/hour", "unrestricted": True}},
        {"number": 6, "restrictions": {"scopes": ["orders:read"], "unrestricted": True}}]


class Backend(http.server.BaseHTTPRequestHandler):
    """Says what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        type(self).seen += 1
        text = "".join(f"{name.lower()}: {value}\n" for name, value in self.headers.items()) + f"path: {self.path}\nbody: {body.decode()}\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_GET
    seen = 0

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nginx(gateway.GatewayCase):
    def setUp(self):
        backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        self.addCleanup(backend.server_close)
        self.addCleanup(backend.shutdown)
        Backend.seen = 0
        self.socket = self.dir / f"{self.id().rsplit('.', 1)[1]}.sock"
        self.port = free_port()
        self.start_nginx(backend.server_address[1])

    def start_nginx(self, backend_port):
        text = EXAMPLE.read_text()
        for what, by in (("server unix:/run/kmtool-gate/gate.sock", f"server unix:{self.socket}"), ("127.0.0.1:8080", f"127.0.0.1:{backend_port}"), ("listen 80;", f"listen 127.0.0.1:{self.port};")):
            self.assertEqual(text.count(what), 1, what)
            text = text.replace(what, by)
        place = self.dir / f"nginx-{self.port}"
        place.mkdir()
        (place / "site.conf").write_text(text)
        temporary = "".join(f"{kind}_temp_path {place}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;\n" if os.getuid() == 0 else ""
        (place / "nginx.conf").write_text(f"{user}daemon off;\nmaster_process off;\npid {place}/pid;\nerror_log {place}/error.log;\nevents {{}}\n"
                                          f"http {{\naccess_log off;\n{temporary}include {place}/site.conf;\n}}\n")
        nginx = subprocess.Popen([NGINX, "-c", place / "nginx.conf", "-e", place / "error.log"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(lambda: (nginx.terminate(), nginx.communicate()))
        for _ in range(500):
            if nginx.poll() is not None:
                raise AssertionError(nginx.communicate()[0])
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.01)
        raise AssertionError("nginx does not listen")

    def get(self, path="/", method="GET", body=None, key=None, **fields):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        if key:
            headers["X-Api-Key"] = key_text(key)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer, text

    def status(self, **what):
        return self.get(**what)[0].status

    def gate(self):
        return self.gateway(KEYS, "--trusted-proxy", "unix", listen=f"unix:{self.socket}")

    def again(self):
        """The same snapshot, the same state."""
        return self.gateway(None, "--trusted-proxy", "unix", listen=f"unix:{self.socket}", state=self.state)

    def test_the_example(self):
        gate = self.gate()
        answer, text = self.get("/orders?x=1", key=1, X_Kmtool_App="forged", X_Kmtool_Id="forged", X_Forwarded_For="6.6.6.6")
        self.assertEqual(answer.status, 200)
        for line in ("path: /orders?x=1", "x-kmtool-app: shop", "x-kmtool-id: 0000000001", "x-kmtool-environment: production", "x-forwarded-for: 127.0.0.1"):
            self.assertIn(line + "\n", text)
        self.assertNotIn(key_text(1), text)
        self.assertEqual(self.get("/", "POST", b"some body", key=1)[1].split("body: ")[1], "some body\n")
        self.assertEqual(self.status(path=f"/?api_key={key_text(1)}"), 200)
        self.assertEqual(self.status(Authorization=f"Bearer {key_text(1)}"), 200)
        answer, _ = self.get()
        self.assertEqual((answer.status, answer.headers["WWW-Authenticate"]), (401, 'Bearer realm="kmtool"'))
        self.assertEqual([self.status(key=2), self.status(key=99), self.status(X_Api_Key="junk")], [403, 401, 401])
        self.assertEqual(self.status(path=f"/?api_key={key_text(99)}", key=1), 403)
        self.assertEqual(self.status(path="/_kmtool", key=1), 404)  # internal
        # The client's address is the one nginx saw, whatever the client writes.
        self.assertEqual([self.status(key=3), self.status(key=4)], [403, 200])
        for forged in ("203.0.113.7", "203.0.113.7, 127.0.0.1", "garbage"):
            self.assertEqual([self.status(key=3, X_Forwarded_For=forged), self.status(key=4, X_Forwarded_For=forged)], [403, 200], forged)
        # Nor does it choose its scope, nor hide a key from the gateway in a header that nginx sets.
        self.assertEqual(self.status(key=6, X_Kmtool_Scope="orders:read"), 403)
        self.assertEqual(self.status(X_Original_URI=f"/?api_key={key_text(1)}"), 401)
        allowed = Backend.seen
        code, out = gate.stop()
        self.assertEqual((code, f"stopped: {allowed} allowed" in out), (0, True), out)
        self.assertEqual(gateway.usage(self.state)["0000000004"]["sources"], {"127.0.0.1": 4})

    def test_rate_limit(self):
        self.gate()
        self.assertEqual([self.status(key=5) for _ in range(3)], [200] * 3)
        answer, _ = self.get(key=5)
        self.assertEqual(answer.status, 429)
        self.assertTrue(1 <= int(answer.headers["Retry-After"]) <= 1200)
        self.assertEqual([self.status(key=5), self.status(key=1), self.status(key=2)], [429, 200, 403])
        self.assertIsNone(self.get(key=2)[0].headers["Retry-After"])

    def test_closed_when_the_gateway_is_away(self):
        self.assertEqual(self.status(key=1), 500)  # never started
        gate = self.gate()
        self.assertEqual(self.status(key=1), 200)
        gate.stop()
        self.assertEqual(self.status(key=1), 500)
        gate = self.again()
        self.assertEqual(self.status(key=1), 200)
        gate.kill()
        self.assertEqual(self.status(key=1), 500)
        gate = self.gateway(None, "--trusted-proxy", "unix", listen=f"unix:{self.socket}", data=b"junk", state=self.state)
        self.assertEqual(self.status(key=1), 403)
        self.assertEqual(Backend.seen, 2)

    def test_restart_under_load(self):
        """Requests while gateways come and go: allowed, or failed closed; an unknown key never gets through."""
        gate = self.gate()
        wrong, stop = [], threading.Event()

        def ask(key, good):
            while not stop.is_set():
                status = self.status(key=key)
                if status not in good:
                    wrong.append((key, status))
        threads = [threading.Thread(target=ask, args=a) for a in ((1, (200, 500)), (99, (401, 500)), (2, (403, 500)))]
        for thread in threads:
            thread.start()
        for _ in range(3):
            time.sleep(0.3)
            self.assertEqual(gate.stop()[0], 0)
            gate = self.again()
        time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        gate.stop()
        self.assertEqual(gateway.usage(self.state)["0000000001"]["allowed"], Backend.seen)


if __name__ == "__main__":
    if NGINX is None:
        print("nginx is not installed")
        sys.exit(77)
    harness.main()
