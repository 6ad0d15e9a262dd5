"""Checkpoints on paper, records whose log signer was rotated, and what careless options do to the audit commands."""

import base64
import hashlib
import shutil

import harness


class Kept(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.ok("gen", "first", "--role", "data")
        cls.away = harness.base_env(cls.dir)  # neither home nor token
        cls.away["KMTOOL_HOME"] = str(cls.dir / "nowhere")

    # -- paper --------------------------------------------------------------------------------------------------------------

    def test_paper(self):
        document = self.ok_json("audit", "checkpoint")
        body = "\n".join(document["checkpoint"].split("\n")[:3]) + "\n"
        page = self.ok("audit", "checkpoint", "--format", "paper").out
        words = document["words"].split(" ")
        self.assertEqual(len(words), 20)
        self.assertIn(" ".join(words[:5]) + "\n", page)
        self.assertIn(f"entries   {document['size']}\n", page)
        self.assertIn(document["root"], page)
        self.assertLessEqual(max(len(line) for line in page.splitlines()), 100)
        if shutil.which("python3") is not None:  # the words are what the page of the format says: another implementation of the digest
            digest = hashlib.sha256(b"kmtool-paper-v1\n" + body.encode()).digest()[:20]
            self.assertEqual(self.octets(words), digest)
        self.ok("gen", "later", "--role", "data")
        found = self.ok_json("audit", "consistency", "--entries", document["size"], "--words", document["words"])
        self.assertEqual((found["consistent"], found["old_size"], found["size"]), (True, document["size"], document["size"] + 2))
        spoken = document["words"].upper().replace(" ", "-")
        proof = self.dir / "from-paper"
        self.ok("audit", "consistency", "--entries", document["size"], "--words", spoken, "--out", proof)
        kept = self.dir / "kept"
        kept.write_text(document["checkpoint"])
        self.ok("audit", "verify-proof", proof, "--signer", self.home / "signers/log.pem", "--old", kept, env=self.away)
        # What does not fit.
        self.refused(65, "audit", "consistency", "--entries", document["size"] - 1, "--words", document["words"], says="not those of that paper")
        self.refused(65, "audit", "consistency", "--entries", 100000, "--words", document["words"], says="that one 100000")
        self.refused(65, "audit", "consistency", "--entries", 0, "--words", document["words"])
        other = words[:]
        other[4] = "aardvark" if other[4] != "aardvark" else "absurd"
        self.refused(65, "audit", "consistency", "--entries", document["size"], "--words", " ".join(other), says="not those of that paper")
        self.refused(64, "audit", "consistency", "--entries", document["size"], "--words", " ".join(words[1:]), says="words")
        self.refused(64, "audit", "consistency", "--entries", document["size"], "--words", " ".join(words[:18]), says="18 were given")
        self.refused(64, "audit", "consistency", says="which checkpoint")
        self.refused(64, "audit", "consistency", kept, "--entries", 1, "--words", document["words"])
        self.refused(64, "audit", "consistency", "--entries", 1)

    def octets(self, words):
        """The list itself is taken from the source: the test is of what the words stand for."""
        import os
        import pathlib
        import re
        text = (pathlib.Path(os.environ["KMTOOL_SOURCE"]) / "src/core/words.cpp").read_text()
        lists = [re.findall(r'"([a-z]+)"', part) for part in re.findall(r"_words\{(.*?)\};", text, re.S)]
        return bytes(lists[i % 2].index(word) for i, word in enumerate(words))

    def test_the_code_holds_the_checkpoint(self):
        """Read back where a reader of QR codes is installed."""
        zbar = shutil.which("zbarimg")
        page = self.ok("audit", "checkpoint", "--format", "paper").out
        rows = [line for line in page.splitlines() if "█" in line]
        self.assertGreater(len(rows), 20)
        if zbar is None:
            self.skipTest("zbarimg (zbar-tools) is not installed")
        bits = []
        for row in rows:
            bits.append([c in "█▀" for c in row])
            bits.append([c in "█▄" for c in row])
        width = max(len(row) for row in bits)
        image = self.dir / "code.pgm"
        scale = 4
        with open(image, "wb") as file:
            file.write(f"P5 {width * scale} {len(bits) * scale} 255\n".encode())
            for row in bits:
                line = b"".join((b"\xff" if light else b"\x00") * scale for light in row + [True] * (width - len(row)))
                file.write(line * scale)
        read = harness.run_program([zbar, "-q", "--raw", image], self.env)
        self.assertEqual(read.out.rstrip("\n"), self.ok("audit", "checkpoint").out.rstrip("\n"))

    # -- rotated signers ------------------------------------------------------------------------------------------------------

    def rotated(self, name, *commands):
        """A home of its own with an export from before; returns its environment, the old PEM and the export."""
        env = dict(KMTOOL_HOME=str(self.dir / name))
        self.ok("init", "--embedded", env=env)
        pem = self.dir / f"{name}.pem"
        shutil.copy(self.dir / name / "signers/log.pem", pem)
        checkpoint = self.dir / f"{name}.checkpoint"
        self.ok("audit", "checkpoint", "--out", checkpoint, env=env)
        for words in commands:
            self.ok(*words, env=env)
        folder = self.dir / f"{name}-export"
        self.ok("audit", "export", folder, env=env)
        return env, pem, folder, checkpoint

    def test_rotated(self):
        env, old, folder, checkpoint = self.rotated("rotated", ("gen", "a", "--role", "data"), ("signer", "rotate"), ("gen", "b", "--role", "data"), ("signer", "rotate"),
                                                    ("gen", "c", "--role", "data"))
        new = self.dir / "rotated/signers/log.pem"
        self.assertEqual(sorted(p.name for p in (folder / "handovers").iterdir()), ["2", "3"])
        direct = self.kmtool("audit", "verify", folder, "--signer", new, "--json", env=self.away)
        self.assertEqual((direct.code, direct.json()["handovers"]), (0, []), direct)
        chain = self.kmtool("audit", "verify", folder, "--signer", old, "--json", env=self.away)
        self.assertEqual(chain.code, 0, chain)
        self.assertEqual(len(chain.json()["handovers"]), 2)
        self.assertIn("handover    ok", self.ok("audit", "verify", folder, "--signer", old, env=self.away).out)
        stranger = self.home / "signers/log.pem"
        self.refused(65, "audit", "verify", folder, "--signer", stranger, env=self.away, says="nor by one that it handed over to")
        self.ok("audit", "verify", "--all-signatures", env=env)
        # Each hand-over counts: altered, exchanged, gone.
        second, third = folder / "handovers/2", folder / "handovers/3"
        texts = second.read_text(), third.read_text()
        size = texts[0].split("\n")[1]
        for bad in (texts[0].replace(f"\n{size}\n", f"\n{int(size) - 1}\n"), texts[1], texts[0][:-8] + "AAAAAA=\n"):
            second.write_text(bad)
            self.assertEqual(self.kmtool("audit", "verify", folder, "--signer", old, env=self.away).code, 65, bad)
        second.unlink()
        self.refused(65, "audit", "verify", folder, "--signer", old, env=self.away)
        second.write_text(texts[0])
        # An entry before the hand-over that was altered is found though the newest signer is not asked for it alone.
        self.ok("audit", "verify", folder, "--signer", old, env=self.away)
        bundle = next((folder / "tile/entries").rglob("*.p/*"))
        data = bundle.read_bytes()
        bundle.write_bytes(data.replace(b'"command":"gen"', b'"command":"gem"', 1))
        self.assertEqual(self.kmtool("audit", "verify", folder, "--signer", old, env=self.away).code, 65)
        bundle.write_bytes(data)
        # A consistency proof that spans the rotation needs both keys.
        proof = self.dir / "spans"
        self.ok("audit", "consistency", checkpoint, "--out", proof, env=env)
        self.refused(65, "audit", "verify-proof", proof, "--signer", new, "--old", checkpoint, env=self.away, says="not signed by this signer")
        self.ok("audit", "verify-proof", proof, "--signer", new, "--signer", old, "--old", checkpoint, env=self.away)
        # Brought up to date after another rotation.
        self.ok("signer", "rotate", env=env)
        self.ok("audit", "export", folder, env=env)
        self.ok("audit", "verify", folder, "--signer", old, env=self.away)

    def test_compromised(self):
        env = dict(KMTOOL_HOME=str(self.dir / "compromised"))
        self.ok("init", "--embedded", env=env)
        old = self.dir / "compromised.pem"
        shutil.copy(self.dir / "compromised/signers/log.pem", old)
        good = self.dir / "last-good"
        self.ok("audit", "checkpoint", "--out", good, env=env)
        self.ok("signer", "compromise", "--after", good, env=env)
        folder = self.dir / "compromised-export"
        self.ok("audit", "export", folder, env=env)
        self.refused(65, "audit", "verify", folder, "--signer", old, env=self.away, says="marked compromised")
        self.ok("audit", "verify", folder, "--signer", self.dir / "compromised/signers/log.pem", env=self.away)

    # -- careless options -------------------------------------------------------------------------------------------------------

    def test_numbers(self):
        for words in (("audit", "log", "--last", "-1"), ("audit", "prove", "-1"), ("audit", "prove", "1e3"), ("audit", "prove", "0x1"), ("audit", "log", "--last", "99999999999999999999")):
            self.assertEqual(self.kmtool(*words).code, 64, words)

    def test_dry_run_writes_nothing(self):
        checkpoint = self.dir / "dry-old"
        self.ok("audit", "checkpoint", "--out", checkpoint)
        for words in (("audit", "checkpoint"), ("audit", "checkpoint", "--json"), ("audit", "prove", "0"), ("audit", "prove", "0", "--json"), ("audit", "consistency", checkpoint)):
            out = self.dir / "dry"
            result = self.ok(*words, "--out", out, "--dry-run")
            self.assertFalse(out.exists(), result)
            self.assertNotIn(str(out), result.out)

    def test_what_is_no_module(self):
        plain = self.dir / "notamodule"
        plain.write_text("hello")
        for path in (plain, "/bin/true", self.dir):
            self.refused(69, "audit", "keys", "--module", path, "--no-input", says="not a PKCS#11 module", env=self.away)
        self.refused(66, "audit", "keys", "--module", self.dir / "absent", "--no-input", says="no PKCS#11 module", env=self.away)

    def test_verify_says_what_it_verified(self):
        found = self.ok_json("audit", "verify")
        self.assertEqual((found["signatures_of"], found["signatures"], found["size"]), ("the newest checkpoint", 1, found["entries"]))
        found = self.ok_json("audit", "verify", "--all-signatures")
        self.assertEqual((found["signatures_of"], found["signatures"]), ("all checkpoints", found["checkpoints"] + 1))
        self.assertEqual(len(base64.b64decode(found["root"])), 32)


if __name__ == "__main__":
    harness.main()
