"""A gateway to try: snapshots signed as a home signs them (with openssl, so that no token is needed), the server, and raw HTTP."""

import base64
import datetime
import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import zlib

import harness

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
HOME_ID = "6f0c1c52-7d3b-4c39-9a55-0a2f0f6c7d11"


def digits(number, alphabet, length):
    out = ""
    for _ in range(length):
        number, digit = divmod(number, len(alphabet))
        out = alphabet[digit] + out
    return out


def key_text(number, secret=None):
    """A key of the documented form; the same number gives the same one."""
    seed = hashlib.sha256(f"{number}/{secret}".encode()).digest()
    body = f"kmt_{digits(number, BASE32, 10)}_{digits(int.from_bytes(seed, 'big'), BASE62, 43)}"
    return body + digits(zlib.crc32(body.encode()), BASE62, 6)


def rfc3339(when):
    return datetime.datetime.fromtimestamp(when, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Signer:
    """A P-256 key on the host, in the place of a home's document signer."""

    def __init__(self, folder, name="document"):
        self.key, self.pem = pathlib.Path(folder) / f"{name}.key", pathlib.Path(folder) / f"{name}.pem"
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key], check=True)
        subprocess.run(["openssl", "ec", "-in", self.key, "-pubout", "-out", self.pem], check=True, capture_output=True)
        der = subprocess.run(["openssl", "ec", "-pubin", "-in", self.pem, "-outform", "DER"], check=True, capture_output=True).stdout
        self.fingerprint = hashlib.sha256(der).hexdigest()

    def snapshot(self, keys, sequence=1, good_for=3600, created=None, home=HOME_ID):
        """The file's bytes. `keys`: dictionaries with number, and what differs from a plain unrestricted key."""
        created = time.time() - 1 if created is None else created
        header = {"kmapikeys": 1, "home": home, "sequence": sequence, "created": rfc3339(created), "not_after": rfc3339(time.time() + good_for),
                  "creator": "kmtool test", "keys": len(keys)}
        lines = [compact(header)]
        for key in sorted(keys, key=lambda k: k["number"]):
            lines.append(compact({
                "id": digits(key["number"], BASE32, 10), "app": key.get("app", "shop"), "environment": key.get("environment", "production"),
                "digest": key.get("digest") or hashlib.sha256(key_text(key["number"]).encode()).hexdigest(), "revoked": key.get("revoked", False),
                "created": rfc3339(created), "not_before": key.get("not_before"), "expires": key.get("expires"), "until": key.get("until"),
                "restrictions": key.get("restrictions", {"unrestricted": True})}))
        return self.signed("\n".join(lines) + "\n")

    def signed(self, body):
        """The lines, with the signature's below."""
        body = body.encode()
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=body, check=True, capture_output=True).stdout
        return body + (compact({"signature": {"algorithm": "ecdsa-p256-sha256", "key": self.fingerprint, "value": base64.b64encode(signature).decode()}}) + "\n").encode()


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def replace(path, data):
    """As `apikey publish` does it: never half there."""
    temporary = pathlib.Path(path).with_suffix(".new")
    temporary.write_bytes(data)
    temporary.rename(path)


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __str__(self):
        return f"{self.status} {self.headers} {self.body!r}"

    @property
    def rule(self):
        return self.headers.get("x-kmtool-rule")


class Connection:
    """A connection that sends what it is told to, and reads whole responses."""

    def __init__(self, address, timeout=10):
        self.buffer = b""
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout=timeout)

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def fill(self):
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def read(self, body=True):
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                raise EOFError(f"closed after {self.buffer!r}")
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, value = line.split(": ", 1)
            headers[name.lower()] = value
        length = int(headers["content-length"]) if body else 0
        while len(self.buffer) < length:
            if not self.fill():
                raise EOFError("closed within a body")
        text, self.buffer = self.buffer[:length], self.buffer[length:]
        return Response(int(first.split(" ")[1]), headers, text.decode())

    def at_end(self):
        """Nothing more comes: the server closed."""
        try:
            while self.fill():
                pass
        except ConnectionResetError:
            pass
        return self.buffer == b""

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def head(path="/auth", method="GET", **fields):
    """A request's head; X_Api_Key="…" becomes X-Api-Key, a list becomes several lines."""
    lines = [f"{method} {path} HTTP/1.1", "Host: gate"]
    for name, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            lines.append(f"{name.replace('_', '-')}: {value}")
    return "\r\n".join(lines) + "\r\n\r\n"


class Gateway:
    """A running `kmtool apikey serve`."""

    def __init__(self, case, snapshot, signer, state, *more, listen="127.0.0.1:0", env=None, wrapper=()):
        self.log_file = open(state.parent / f"{state.name}.log", "ab")
        words = [*wrapper, harness.BINARY, "apikey", "serve", "--snapshot", snapshot, "--signer", signer.pem, "--state", state, "--listen", listen, *more]
        begun = self.log_file.tell()
        self.process = subprocess.Popen([str(w) for w in words], env=dict(case.env, **(env or {})), stdout=subprocess.PIPE, stderr=self.log_file)
        self.address, self.addresses = None, []
        wanted = 1 + sum(w == "--admin-listen" or w == "--listen" for w in more)
        for _ in range(1000):
            self.log = pathlib.Path(self.log_file.name).read_text()[begun:]
            self.addresses = re.findall(r'listening on ([^\s"]+)', self.log)
            if len(self.addresses) == wanted or self.process.poll() is not None:
                break
            time.sleep(0.01)
        else:
            self.kill()
            raise AssertionError(f"does not listen: {self.log}")
        self.addresses = [self.parse(a) for a in self.addresses]
        self.address = self.addresses[0] if self.addresses else None
        self.begun = begun

    @staticmethod
    def parse(text):
        if text.startswith("unix:"):
            return text[5:]
        host, port = text.rsplit(":", 1)
        return host.strip("[]"), int(port)

    def text(self):
        return pathlib.Path(self.log_file.name).read_text()[self.begun:]

    def connect(self, which=0, **more):
        return Connection(self.addresses[which], **more)

    def ask(self, path="/auth", which=0, method="GET", **fields):
        with self.connect(which) as connection:
            connection.send(head(path, method, **fields))
            return connection.read(body=method != "HEAD")

    def metrics(self, which=0):
        """{'name{labels}': value}"""
        out = {}
        for line in self.ask("/metrics", which).body.splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                out[name] = float(value)
        return out

    def memory(self):
        """Resident MiB."""
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.process.pid}/status").read_text()).group(1)) / 1024

    def cpu(self):
        """Seconds of CPU time so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def wait(self, condition, seconds=5):
        """Seconds until condition() is true."""
        begun = time.monotonic()
        while not condition():
            if time.monotonic() - begun > seconds:
                raise AssertionError(f"did not happen within {seconds} s; log: {self.text()}")
            time.sleep(0.02)
        return time.monotonic() - begun

    def stop(self, number=signal.SIGTERM):
        """Exit code and standard output; None: it was told already."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        try:
            out, _ = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self.log_file.close()
        return self.process.returncode, out.decode()

    def kill(self):
        self.process.kill()
        self.process.communicate()
        self.log_file.close()


def usage(state):
    """Counts by key id from the spool: {id: {"allowed": n, "denied": {rule: n}, "sources": {address: n}}}."""
    out = {}
    for file in sorted(state.glob("usage-*.jsonl")):
        for line in file.read_text().splitlines():
            for key in json.loads(line)["keys"]:
                to = out.setdefault(key["id"], {"allowed": 0, "denied": {}, "sources": {}})
                to["allowed"] += key["allowed"]
                for rule, count in key["denied"].items():
                    to["denied"][rule] = to["denied"].get(rule, 0) + count
                for source in key["sources"]:
                    to["sources"][source["address"]] = to["sources"].get(source["address"], 0) + source["count"]
    return out


class GatewayCase(harness.Case):
    """Starts gateways, and ends those that a failed test left running."""

    gateways = 0

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.signer = Signer(cls.dir)

    def gateway(self, keys=None, *more, state=None, sequence=1, data=None, **how):
        name = self.id().rsplit(".", 1)[1]
        self.snapshot = self.dir / f"{name}.kmk"
        type(self).gateways += 1
        self.state = state or self.dir / f"state-{self.gateways}"
        if data is not None or keys is not None:
            replace(self.snapshot, data if data is not None else self.signer.snapshot(keys, sequence))
        gate = Gateway(self, self.snapshot, self.signer, self.state, *more, **how)
        self.addCleanup(lambda: gate.process.poll() is None and gate.kill())
        return gate

    def verdict(self, response, status, rule=None):
        self.assertEqual((response.status, response.rule), (status, rule), response)
