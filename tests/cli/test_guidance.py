"""audit guidance: every line of the guideline with evidence and verdict, and verdicts that follow the facts."""

import re
import subprocess
import unittest

import harness

IDS = ["G-GEN", "G-RNG", "G-HW", "G-TRANSPORT", "G-WHERE", "G-MEMORY", "G-PLAINTEXT", "G-VAULT", "G-KEK", "G-INTEGRITY", "G-NOAPP", "G-SEALED",
       "G-WORK", "A-RESTRICT", "A-UNIQUE", "A-MONITOR", "A-ENV"]  # fmt: skip
VERDICTS = {"met", "partly", "not met", "not applicable"}


class Guidance(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.home = cls.module_home(cls.token, "home", harness.SOFTHSM, "--validation", "FIPS 140-3:3:CMVP-4567")
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "payments", "--role", "data", "--backup", cls.dir / "p.kmb", "--kek", "root")

    def lines(self, **more):
        return {line["id"]: line for line in self.ok_json("audit", "guidance", **more)["guidance"]}

    def test_1_every_line_with_evidence(self):
        lines = self.lines()
        self.assertEqual(list(lines), IDS)
        for line in lines.values():
            self.assertIn(line["verdict"], VERDICTS)
            self.assertTrue(line["evidence"] and line["says"] and line["answers"], line)
        verdicts = {name: line["verdict"] for name, line in lines.items()}
        self.assertEqual(verdicts["G-HW"], "not met")  # SoftHSM
        for name in ("G-GEN", "G-RNG", "G-TRANSPORT", "G-WHERE", "G-MEMORY", "G-PLAINTEXT", "G-VAULT", "G-KEK", "G-INTEGRITY", "G-NOAPP", "G-SEALED", "G-WORK"):
            self.assertEqual(verdicts[name], "met", lines[name])
        self.assertIn("CMVP-4567", " ".join(lines["G-GEN"]["evidence"]))
        self.assertIn("1 bundle left the token", " ".join(lines["G-TRANSPORT"]["evidence"]))
        self.assertRegex(" ".join(lines["G-WHERE"]["evidence"]), r"2 key versions are on token km-test \(serial [0-9a-f]{16}")

    def test_2_no_api_keys(self):
        for name, line in self.lines().items():
            if name.startswith("A-"):
                self.assertEqual((line["verdict"], line["evidence"]), ("not applicable", ["no API keys issued"]))

    def test_3_formats(self):
        table = self.ok("audit", "guidance").out
        self.assertRegex(table, r"(?m)^G-HW +not met")
        page = self.ok("audit", "guidance", "--format", "html").out
        self.assertEqual(page.count('class="badge'), len(IDS))
        self.assertNotRegex(page, r"<script|<link|(https?:)?//[a-z]")
        self.assertTrue(re.search(r"</html>\s*$", page))
        self.refused(64, "audit", "guidance", "--format", "sarif")

    def test_4_verdicts_follow_the_facts(self):
        """A bad key made behind kmtool's back turns the lines that it breaks."""
        words = ["pkcs11-tool", "--module", harness.SOFTHSM, "--token-label", self.token.label, "--login", "--pin", harness.PIN]
        words += ["--keygen", "--key-type", "aes:32", "--label", "bad", "--id", "0bad", "--usage-wrap", "--usage-decrypt", "--extractable"]
        subprocess.run(words, env=self.env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lines = self.lines()
        for name in ("G-PLAINTEXT", "G-SEALED"):
            self.assertEqual(lines[name]["verdict"], "not met", lines[name])
            self.assertIn("bad", " ".join(lines[name]["evidence"]))
        self.assertEqual(lines["G-WHERE"]["verdict"], "partly")
        self.assertEqual(lines["G-KEK"]["verdict"], "met")

    def test_5_an_embedded_home_says_so(self):
        self.env.pop("KMTOOL_PIN_SOURCE")  # it is the other token's
        lines = self.lines(home=self.embedded_home("embedded"))
        self.assertEqual((lines["G-VAULT"]["verdict"], lines["G-MEMORY"]["verdict"]), ("partly", "partly"))
        self.assertEqual(lines["G-GEN"]["verdict"], "partly")  # no validation is recorded


if __name__ == "__main__":
    unittest.main(verbosity=2)
