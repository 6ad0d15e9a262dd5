"""Every change to a bundle is refused with exit 65 and a line number, before any C_UnwrapKey (acceptance 5)."""

import concurrent.futures
import random
import re
import subprocess

import harness


class Tampered(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "a", "--role", "data", "--exportable")
        cls.ok("gen", "b", "--role", "data", "--exportable")
        cls.ok("wrap", "a", "b", "--kek", "root", "--out", cls.dir / "good.kmb")
        cls.good = (cls.dir / "good.kmb").read_bytes()
        cls.signer = cls.home / "signers" / "document.pem"
        cls.away = harness.base_env(cls.dir)  # no home, no token: structure and signature alone
        cls.away["KMTOOL_HOME"] = str(cls.dir / "nowhere")

    def check(self, label, data):
        """None when refused as it must be, else what was wrong."""
        path = self.dir / f"bad-{label}.kmb"
        path.write_bytes(data)
        try:
            done = subprocess.run([harness.BINARY, "verify", str(path), "--signer", str(self.signer)], env=self.away, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60, check=False)
        finally:
            path.unlink()
        if done.returncode == 65 and not done.stdout and re.search(rb"line \d+", done.stderr):
            return None
        return f"{label}: exit {done.returncode}, stdout {done.stdout!r}, stderr {done.stderr!r}"

    def check_all(self, changed):
        """`changed`: (label, bytes) pairs; all are tried, and every one must be refused."""
        tried = 0
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            wrong = []
            for answer in pool.map(lambda pair: self.check(*pair), changed):
                tried += 1
                if answer is not None:
                    wrong.append(answer)
        print(f"{tried} changes tried, {len(wrong)} not refused", flush=True)
        self.assertEqual(len(wrong), 0, "\n".join(wrong[:12]))

    def test_the_bundle_itself_is_good(self):
        path = self.dir / "again.kmb"
        path.write_bytes(self.good)
        result = self.kmtool("verify", path, "--signer", self.signer, env=self.away)
        self.assertEqual(result.code, 0, result)

    def test_every_byte(self):
        def changes():
            for at, old in enumerate(self.good):
                yield f"x01-{at}", self.good[:at] + bytes([old ^ 0x01]) + self.good[at + 1:]

        self.check_all(changes())

    def test_some_other_values_of_every_third_byte(self):
        def changes():
            for at in range(0, len(self.good), 3):
                old = self.good[at]
                for new in {old ^ 0x20, old ^ 0x80, 0x00, 0x0A, 0x22} - {old}:
                    yield f"v{new}-{at}", self.good[:at] + bytes([new]) + self.good[at + 1:]

        self.check_all(changes())

    def test_inserted_and_removed_bytes(self):
        def changes():
            for at in range(0, len(self.good), 3):
                yield f"cut-{at}", self.good[:at] + self.good[at + 1:]
                yield f"space-{at}", self.good[:at] + b" " + self.good[at:]
                yield f"twice-{at}", self.good[:at] + self.good[at:at + 1] + self.good[at:]

        self.check_all(changes())

    def test_every_truncation(self):
        self.check_all((f"first-{n}", self.good[:n]) for n in range(len(self.good)))

    def test_lines(self):
        lines = self.good.splitlines(keepends=True)

        def changes():
            for at in range(len(lines)):
                yield f"drop-{at}", b"".join(lines[:at] + lines[at + 1:])
                yield f"double-{at}", b"".join(lines[:at + 1] + lines[at:])
                for other in range(at + 1, len(lines)):
                    swapped = list(lines)
                    swapped[at], swapped[other] = lines[other], lines[at]
                    yield f"swap-{at}-{other}", b"".join(swapped)
            yield "tail-line", self.good + b"{}\n"
            yield "tail-lf", self.good + b"\n"
            yield "tail-space", self.good + b" "
            yield "bom", b"\xef\xbb\xbf" + self.good
            yield "crlf", self.good.replace(b"\n", b"\r\n")
            yield "no-lf", self.good[:-1]
            yield "long", lines[0] + b" " * (1 << 20) + b"".join(lines[1:])

        self.check_all(changes())

    def test_signature_of_another_document(self):
        """A line that is good in another bundle is not good in this one."""
        self.ok("wrap", "a", "b", "--kek", "root", "--out", self.dir / "other.kmb")
        lines = self.good.splitlines(keepends=True)
        others = (self.dir / "other.kmb").read_bytes().splitlines(keepends=True)
        self.check_all((f"borrowed-{at}", b"".join(lines[:at] + others[at:at + 1] + lines[at + 1:]))
                       for at in range(len(lines)) if lines[at] != others[at])

    def test_unwrap_touches_no_key(self):
        """A sample through the token: refused, and pkcs11-spy saw no C_UnwrapKey."""
        chosen = random.Random(4711)
        before = self.snapshot(self.home)
        lines = self.good.splitlines(keepends=True)
        bad = [b"".join(lines[:1] + lines[2:]), b"".join([lines[0], lines[2], lines[1], *lines[3:]]), self.good[:-1]]
        for _ in range(17):
            at = chosen.randrange(len(self.good))
            bad.append(self.good[:at] + bytes([self.good[at] ^ (1 << chosen.randrange(8))]) + self.good[at + 1:])
        for number, data in enumerate(bad):
            path = self.dir / f"sample-{number}.kmb"
            path.write_bytes(data)
            log = self.dir / f"spy-{number}"
            result = self.kmtool("unwrap", path, "--as", "evil", env=harness.spy_env(log))
            self.assertEqual(result.code, 65, result)
            self.assertRegex(result.err, r"line \d+")
            if log.exists():  # the fault may be found before any module is loaded
                self.assertEqual(harness.spy_calls(log).get("C_UnwrapKey", 0), 0, result)
        self.assertEqual(self.snapshot(self.home), before)
        log = self.dir / "spy-good"
        self.ok("unwrap", self.dir / "good.kmb", "--as", "c", "a", env=harness.spy_env(log))
        self.assertGreater(harness.spy_calls(log).get("C_UnwrapKey", 0), 0, "the spy sees nothing: the counts above prove nothing")

    def test_wrong_seal_with_good_signature(self):
        """Whoever can sign but has not the KEK: the seal is held against the token before anything is unwrapped."""
        home = self.dir / "forger"
        forger = harness.SoftToken(self.dir / "forger-hsm", label="forger")
        env = dict(forger.env(), KMTOOL_PIN_SOURCE=f"file:{forger.pin_file}", KMTOOL_HOME=str(home))
        self.ok("init", "--module", harness.FORWARD, "--token-label", "forger", env=env)
        self.ok("gen", "root", "--role", "kek", env=env)
        self.ok("gen", "a", "--role", "data", "--exportable", env=env)
        forged = self.dir / "forged.kmb"
        self.ok("wrap", "a", "--kek", "root", "--out", forged, env=env)
        log = self.dir / "spy-forged"
        before = self.snapshot(self.home)
        result = self.kmtool("unwrap", forged, "--as", "evil", "--signer", home / "signers" / "document.pem", env=harness.spy_env(log))
        self.assertNotEqual(result.code, 0, result)
        if log.exists():
            self.assertEqual(harness.spy_calls(log).get("C_UnwrapKey", 0), 0)
        self.assertEqual(self.snapshot(self.home), before)


if __name__ == "__main__":
    harness.main()
