"""No PIN and no key value in the memory of a running wrap, in its arguments or in a core dump (acceptance 10).

The module runs in another process (p11-kit server), so that what is searched is kmtool's own memory only. p11-kit's protocol
carries only mechanisms that it knows: AES key wrapping travels as CAST, changed there and back by the forwarding module.
"""

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import time
import unittest

import harness

THERE, BACK = "2109=301,210a=311", "301=2109,311=210a"
CLIENT = harness.first_file("/usr/lib/*/pkcs11/p11-kit-client.so")


def spellings(secret):
    return {"raw": secret, "hex": secret.hex().encode(), "HEX": secret.hex().upper().encode(), "base64": base64.b64encode(secret).rstrip(b"=")}


def memory_of(pid):
    """Every readable byte of a process, those left out of core dumps too: (mapping, data) pairs."""
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if not match:
                continue
            begin, end = (int(text, 16) for text in match.groups())
            try:
                memory.seek(begin)
                yield line.strip(), memory.read(end - begin)
            except (OSError, ValueError, OverflowError):
                continue


@unittest.skipUnless(CLIENT and shutil.which("p11-kit") and shutil.which("gcore"), "needs p11-kit and gcore")
class Memory(harness.Case):
    COUNT = 60

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.start_server(delay=0)
        cls.home = cls.dir / "home"
        cls.env.update(SOFTHSM2_CONF=str(cls.token.conf), KMFORWARD_MODULE=CLIENT, KMFORWARD_MAP=THERE, KMTOOL_HOME=str(cls.home),
                       KMTOOL_PIN_SOURCE=f"file:{cls.token.pin_file}")
        cls.ok("init", "--module", harness.FORWARD, "--token-label", cls.token.label)
        cls.ok("gen", "root", "--role", "kek", "--exportable")
        cls.ok("gen", "bulk", "--role", "data", "--exportable", "--count", str(cls.COUNT))
        cls.values = [json.loads(line)["value"] for name in ["root@1", *(f"bulk-{n:04}@1" for n in range(1, cls.COUNT + 1))]
                      for line in cls.look(cls.home, "reveal", name)]

    @classmethod
    def start_server(cls, delay):
        """The token behind a socket; `delay` slows each call down so that a running command can be looked at."""
        env = dict(cls.env, **cls.token.env(), KMFORWARD_MAP=BACK, KMFORWARD_DELAY_MS=str(delay), XDG_RUNTIME_DIR=str(cls.dir))
        socket = cls.dir / f"p11-{delay}.sock"
        server = subprocess.Popen(["p11-kit", "server", "--provider", harness.FORWARD, "--name", socket, "--foreground", "pkcs11:"], env=env,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def stop():
            server.terminate()
            server.wait()

        cls.addClassCleanup(stop)
        for _ in range(200):
            if socket.exists():
                break
            time.sleep(0.05)
        cls.env["P11_KIT_SERVER_ADDRESS"] = f"unix:path={socket}"

    def test_running_wrap(self):
        self.start_server(delay=20)
        out = self.dir / "p.kmb"
        begun = [harness.BINARY, "wrap", "--all", "--kek", "root", "--out", str(out)]
        with subprocess.Popen(begun, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
            self.wait_for_records(running)
            limits = pathlib.Path(f"/proc/{running.pid}/limits").read_text()
            self.assertRegex(limits, r"Max core file size +0 +0 ")
            arguments = pathlib.Path(f"/proc/{running.pid}/cmdline").read_bytes()
            self.assertNotIn(harness.PIN.encode(), arguments)
            subprocess.run(["gcore", "-o", self.dir / "core", str(running.pid)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.assertIsNone(running.poll(), "the command ended before it was looked at")
            live = self.search_live(running.pid)
            running.wait()
            self.assertEqual(running.returncode, 0, running.stderr.read())
        core = next(self.dir.glob("core*")).read_bytes()
        self.assertGreater(len(core), 1 << 20)
        self.assertIn(b"bulk-0001", core, "the search finds nothing at all: it would prove nothing")
        found = [f"{name} of {what}" for what, secret in self.secrets(pin=True) for name, text in spellings(secret).items() if text in core]
        self.assertEqual(found, [])
        self.assertEqual(live, [])
        self.ok("verify", out)

    def wait_for_records(self, running):
        """Until the temporary file is there: keys are being wrapped."""
        for _ in range(600):
            if any("kmtmp" in p.name for p in self.dir.iterdir()):
                time.sleep(0.3)
                return
            if running.poll() is not None:
                self.fail(running.stderr.read())
            time.sleep(0.05)
        self.fail("the command never began to write")

    def secrets(self, pin):
        if pin:
            yield "the PIN", harness.PIN.encode()
        for value in self.values:
            yield "a key", bytes.fromhex(value)

    def search_live(self, pid):
        """Key values are nowhere; the PIN may stand in memory that no dump shows (it is needed until logout)."""
        found = []
        for mapping, data in memory_of(pid):
            found += [f"{name} of {what} in {mapping}" for what, secret in self.secrets(pin=False) for name, text in spellings(secret).items() if text in data]
        return found

    def test_nothing_secret_is_printed_or_kept(self):
        for words in (("-v", "list", "--json"), ("-v", "token", "--json"), ("-v", "gen", "seen", "--role", "data")):
            result = self.ok(*words)
            for _, secret in self.secrets(pin=True):
                for text in spellings(secret).values():
                    self.assertNotIn(text.decode("latin-1"), result.out + result.err)
        for path in self.home.rglob("*"):
            data = path.read_bytes() if path.is_file() else b""
            for _, secret in self.secrets(pin=True):
                for text in spellings(secret).values():
                    self.assertNotIn(text, data, path)


class CoreLimit(harness.Case):
    def test_no_core_even_when_asked(self):
        """A crash leaves no core file although the caller's limit allows it."""
        token = harness.SoftToken(self.dir / "hsm")
        home = self.module_home(token)
        folder = self.dir / "cwd"
        folder.mkdir()
        env = dict(self.env, KMTOOL_HOME=str(home), KMFORWARD_DELAY_MS="100")
        with subprocess.Popen(["bash", "-c", f'ulimit -c unlimited 2>/dev/null; exec "{harness.BINARY}" token'], env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
            time.sleep(0.4)
            self.assertRegex(pathlib.Path(f"/proc/{running.pid}/limits").read_text(), r"Max core file size +0 +0 ")
            os.kill(running.pid, 11)
            running.wait()
        self.assertEqual(list(folder.iterdir()), [])


if __name__ == "__main__":
    harness.main()
