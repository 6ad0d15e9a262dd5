"""Gate secret and shares stand nowhere but in locked memory that no dump shows, and in the share files."""

import pathlib
import re
import shutil
import subprocess
import time
import unittest

import harness

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def times(a, b):
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = (a << 1) ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


def power(a, n):
    result = 1
    for _ in range(n):
        result = times(result, a)
    return result


def value_of(text):
    """The 32 octets of a share, from its file as kmtool-share(5) has it."""
    value = b""
    for row in re.findall(r"^[1-4] +([0-9A-Z-]+)$", text, re.M):
        bits = "".join(f"{DIGITS.index(c):05b}" for c in row.replace("-", ""))
        value += int(bits, 2).to_bytes(10, "big")[:8]
    return value


def combined(shares):
    """Lagrange at 0 over GF(2^8), polynomial 0x11d: an implementation of its own."""
    secret = bytearray(32)
    for i, value in shares.items():
        factor = 1
        for j in shares:
            if j != i:
                factor = times(factor, times(j, power(i ^ j, 254)))
        for place, octet in enumerate(value):
            secret[place] ^= times(factor, octet)
    return bytes(secret)


def mappings(pid):
    """(range, flags) of every mapping."""
    found = []
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line)
        if match:
            found.append([int(match.group(1), 16), int(match.group(2), 16), match.group(3), set()])
        elif line.startswith("VmFlags:"):
            found[-1][3] = set(line.split()[1:])
    return found


@unittest.skipUnless(shutil.which("gcore"), "needs gcore")
class Memory(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        cls.ok("gen", "parent", "--role", "kek")

    def watched(self, words, seen, secrets_later):
        """Runs the command slowly; a core and the live memory are taken where `seen` says so. Then the secrets are looked for in both."""
        env = dict(self.env, KMFORWARD_DELAY_MS="60", KMFORWARD_COUNT_FILE=str(self.dir / "count"))
        with subprocess.Popen([harness.BINARY, *map(str, words)], env=env, cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            for _ in range(2000):
                if seen():
                    break
                self.assertIsNone(running.poll(), running.stderr.read() if running.poll() is not None else "")
                time.sleep(0.01)
            self.assertNotIn(b"share 1", pathlib.Path(f"/proc/{running.pid}/cmdline").read_bytes())
            live = []
            with open(f"/proc/{running.pid}/mem", "rb") as memory:
                for begin, end, access, flags in mappings(running.pid):
                    if "r" not in access:
                        continue
                    try:
                        memory.seek(begin)
                        live.append((flags, memory.read(end - begin)))
                    except (OSError, ValueError, OverflowError):
                        pass
            subprocess.run(["gcore", "-o", self.dir / "core", str(running.pid)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.assertIsNone(running.poll(), "the command ended before it was looked at")
            out, err = running.communicate()
            self.assertEqual(running.returncode, 0, err)
        core = b"".join(path.read_bytes() for path in self.dir.glob("core*"))
        for path in self.dir.glob("core*"):
            path.unlink()
        self.assertGreater(len(core), 1 << 20)
        self.assertIn(b"kmtool", core, "the search finds nothing at all: it would prove nothing")
        secrets = secrets_later()
        found = 0
        for secret in secrets:
            self.assertNotIn(secret, core)
            for flags, data in live:
                if secret in data:
                    found += 1
                    self.assertTrue({"lo", "dd"} <= flags, f"a secret lies in memory that is not locked or would be dumped: {flags}")
        self.assertGreater(found, 0, "no secret was in memory when it was looked at: nothing was proven")
        for path in self.home.rglob("*"):
            data = path.read_bytes() if path.is_file() else b""
            for secret in secrets:
                self.assertNotIn(secret, data, path)
                self.assertNotIn(secret.hex().encode(), data, path)
        for secret in secrets:
            self.assertNotIn(secret.hex(), (out + err).decode())
        return secrets

    def shares(self):
        return {i: (self.dir / f"shares/custodian-{i}/root-{i}.share").read_text() for i in range(1, 4)}

    def secrets(self):
        values = {i: value_of(text) for i, text in self.shares().items()}
        gate = combined({i: values[i] for i in (1, 3)})
        self.assertEqual(gate, combined({i: values[i] for i in (2, 3)}))
        rows = [row.encode() for text in self.shares().values() for row in re.findall(r"^[1-4] +([0-9A-Z-]+)$", text, re.M)]
        return [gate, *values.values(), *rows]

    def at(self, call):
        try:
            return harness.counter_of(self.dir / "count")[1] == call
        except OSError:
            return False

    def test_making_and_using_a_quorum(self):
        words = ["gen", "root", "--role", "kek", "--backup", "root.kmk", "--kek", "parent", "--quorum", "2/3", "--shares", "shares"]
        self.watched(words, lambda: any("kmtmp" in p.name for p in self.dir.iterdir()) and self.at("C_WrapKey"), self.secrets)
        before = len(self.entries(self.home))
        drill = ["import-kek", "root.kmk", "--check", "--share", "shares/custodian-1/root-1.share", "--share", "shares/custodian-3/root-3.share"]
        self.ok(*drill, cwd=self.dir)
        (self.dir / "count").unlink()
        self.watched(drill, lambda: self.at("C_UnwrapKey"), lambda: self.secrets()[:1])
        self.assertGreater(len(self.entries(self.home)), before)


if __name__ == "__main__":
    harness.main()
