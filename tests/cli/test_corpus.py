"""The public corpus of the bundle format (tests/bundle/corpus): every file is refused, or not, as INDEX.tsv says."""

import os
import pathlib
import subprocess
import sys
import unittest

import harness

CORPUS = pathlib.Path(os.environ["KMTOOL_SOURCE"]) / "tests/bundle/corpus"


def index():
    for line in (CORPUS / "INDEX.tsv").read_text().splitlines()[1:]:
        yield line.split("\t")


class Corpus(harness.Case):
    def verify(self, path):
        """Without home and token, as somebody who was handed the file and the signer's public key."""
        return self.kmtool("verify", CORPUS / path, "--signer", CORPUS / "signer.pem")

    def test_verify(self):
        counts = {}
        for path, code, line, says in index():
            with self.subTest(path):
                result = self.verify(path)
                self.assertEqual(result.code, int(code), result)
                if code == "65":
                    self.assertEqual(result.out, "")
                    self.assertIn(f"{path}: line {line}: ", result.err)
                    self.assert_error_style(result)
                self.assertIn(says.lower(), (result.err + result.out).lower())
                counts[code] = counts.get(code, 0) + 1
        print(f"corpus: {counts.get('65', 0)} refused with their line, {counts.get('0', 0)} verified, {counts.get('1', 0)} by a stranger")
        self.assertGreaterEqual(counts.get("65", 0), 120)

    def test_inspect(self):
        """Verifies nothing, so wrong seals and signatures do not trouble it; what it cannot read it refuses, and it prints no control character."""
        for path, code, line, _ in index():
            with self.subTest(path):
                result = self.kmtool("inspect", CORPUS / path)
                self.assertIn(result.code, (0,) if code != "65" else (0, 65), result)
                if result.code == 65:
                    self.assertIn(f": line {line}: ", result.err)
                self.assertFalse([c for c in result.out + result.err if ord(c) < 32 and c != "\n"], path)

    def test_made_by_the_script(self):
        """The files are those that make.py makes: an independent writer of the format, from the manual page."""
        done = subprocess.run([sys.executable, "-B", str(CORPUS / "make.py"), "--check"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    harness.main()
