"""Options that cannot do what they say are refused, and documents are documents: nothing is ignored silently."""

import json

import harness


class Options(harness.EmbeddedCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ok("gen", "cargo", "--role", "data", "--exportable")
        cls.ok("gen", "tags", "--role", "mac")
        cls.ok("gen", "ed", "--role", "sign", "--type", "ed25519")
        cls.bundle = cls.dir / "p.kmb"
        cls.ok("wrap", "cargo", "--kek", "root", "--out", cls.bundle)

    def unchanged(self):
        return self.ok_json("list")["keys"], len(self.entries(self.home))

    def failed(self, code, *words):
        """The error of a command with --json."""
        result = self.kmtool(*words)
        self.assertEqual((result.code, result.out), (code, ""), result)
        return result.error()

    def test_formats(self):
        """One that the command has not is refused before anything is done."""
        before = self.unchanged()
        for words in (["gen", "x", "--role", "data"], ["wrap", "cargo", "--kek", "root", "--out", self.dir / "x.kmb"], ["unwrap", self.bundle, "--as", "x"], ["list"], ["show", "cargo"],
                      ["state", "cargo", "suspend", "--reason", "x"], ["rotate", "cargo"], ["doctor"], ["audit", "keys"], ["random", "4"], ["policy", "show"], ["signer", "rotate"]):
            self.refused(64, *words, "--format", "bogus", says="no format bogus")
        for words in (["random", "4", "--format", "raw"], ["sign", "ed", "--format", "base64"], ["audit", "keys", "--format", "html"]):
            self.assertIn("exclude each other", self.failed(64, *words, "--json")["message"])
        self.refused(64, "mac", "tags", "--verify", "00", "--out", self.dir / "tag", stdin=b"x", says="--out")
        self.assertEqual(self.unchanged(), before)
        self.assertEqual(self.ok("list", "--format", "names").out.splitlines()[0], "cargo")
        self.assertEqual(len(self.ok("random", "4", "--format", "json").json()["value"]), 8)
        self.assertIn("exclude each other", self.failed(64, "list", "--json", "--format", "table")["message"])
        self.assertIn("no JSON", self.failed(64, "completion", "bash", "--json")["message"])
        self.assertIn("no format json", self.failed(64, "completion", "bash", "--format", "json")["message"])
        self.ok("list", "--json", "--format", "json")

    def test_random_says_where_it_went(self):
        out = self.dir / "drawn"
        self.assertEqual(self.planned("random", "16", "--out", out), {"bytes": 16, "out": str(out)})
        self.assertFalse(out.exists())
        self.assertEqual(self.planned("random", "16"), {"bytes": 16, "out": ""})
        self.assertEqual(self.ok_json("random", "16", "--out", out), {"bytes": 16, "out": str(out)})
        self.assertEqual(len(json.loads(out.read_text())["value"]), 32)

    def test_numbers_are_decimal(self):
        self.assertEqual(len(self.ok("random", "010").out.strip()), 20)
        self.assertEqual(self.ok_json("gen", "counted", "--role", "mac", "--count", "08", "--dry-run")["keys"][-1]["name"], "counted-0008")
        for words in (["random", "0x10"], ["random", "-1"], ["random", "+4"], ["random", "1e2"], ["audit", "log", "--last", "0x2"], ["gen", "n", "--role", "mac", "--count", "0x2"],
                      ["cert", "ed", "--subject", "CN=x", "--self-signed", "--days", "0x10"], ["rotate", "tags", "--max-failures", "0x1"]):
            self.refused(64, *words)
        self.assertEqual(len(self.ok("audit", "log", "--last", "02", "--format", "jsonl").out.splitlines()), 2)

    def test_what_was_meant(self):
        self.refused(64, "export-kek", "root", "--kek", "root", "--out", self.dir / "x.kmk", says="did you mean --to-kek")
        self.refused(64, "gen", "x", "--rloe", "data", says="did you mean --role")
        self.refused(64, "gen", "--", "-x", "--role", "data", says=["unexpected argument --role", "give options before it"])

    def test_standard_output_is_no_bundle(self):
        before = self.unchanged()
        for words in (["export-kek", "root", "--to-kek", "root"], ["wrap", "cargo", "--kek", "root"]):
            self.refused(64, *words, "--out", "-", cwd=self.dir)
        self.refused(64, "gen", "born", "--role", "data", "--backup", "-", "--kek", "root", cwd=self.dir, says="standard output")
        self.refused(64, "home", "backup", "-", cwd=self.dir, says="standard output")
        self.assertFalse((self.dir / "-").exists())
        self.assertEqual(self.unchanged(), before)

    def test_one_line_of_standard_error(self):
        """With --json a failure is one line; what would have been warnings stands in it."""
        self.ok("gen", "only", "--role", "data")
        result = self.kmtool("state", "only", "destroy", "--reason", "a test", "--json", "--no-input")
        self.assertEqual((result.code, result.out), (77, ""), result)
        lines = result.err.splitlines()
        self.assertEqual(len(lines), 1, result)
        error = json.loads(lines[0])["error"]
        self.assertEqual((error["code"], error["exit"]), ("confirm", 77))
        self.assertIn("lost for ever", error["warnings"][0])
        # Where it goes well they are said, beside the document.
        result = self.ok("state", "only", "destroy", "--reason", "a test", "--json", "--yes")
        self.assertIn("warning: no bundle holds only@1", result.err)
        self.assertEqual(result.json()["keys"][0]["state"], "destroyed")

    def test_rehearsals_of_destruction(self):
        self.ok("gen", "doomed", "--role", "data")
        self.assertEqual(self.ok_json("state", "doomed", "destroy", "--reason", "x", "--dry-run")["keys"][0]["state"], "destroyed")
        self.assertIn("doomed@1 is destroyed", self.ok("state", "doomed", "destroy", "--reason", "x", "--dry-run").out)
        self.assertEqual(self.ok_json("show", "doomed")["keys"][0]["state"], "active")

    def test_dry_runs_are_marked(self):
        """No script takes the document of a plan for that of what was done."""
        before = self.unchanged()
        for words in (["gen", "planned", "--role", "data"], ["state", "cargo", "suspend", "--reason", "x"], ["wrap", "cargo", "--kek", "root", "--out", self.dir / "planned.kmb"],
                      ["unwrap", self.bundle, "--as", "planned"], ["rotate", "cargo"], ["random", "4"], ["policy", "accept"], ["home", "backup", self.dir / "planned.kmh"], ["doctor"],
                      ["apikey", "create", "--app", "planned", "--unrestricted"], ["audit", "export", self.dir / "planned"]):
            self.assertIs(self.ok_json(*words, "--dry-run")["dry_run"], True, words)
        self.assertIs(self.ok("gen", "planned", "--role", "data", "-n", "--format", "json").json()["dry_run"], True)
        self.assertEqual(self.unchanged(), before)
        for words in (["gen", "done", "--role", "data"], ["random", "4"], ["policy", "accept"], ["doctor"]):
            self.assertNotIn("dry_run", self.ok_json(*words))
        for words in (["audit", "keys", "--format", "sarif"], ["audit", "inventory", "--format", "cyclonedx"]):  # what may stand in these others say
            self.assertNotIn("dry_run", json.loads(self.kmtool(*words, "--dry-run").out))

    def test_documents(self):
        plan = self.planned("signer", "rotate")
        self.assertEqual(plan, {"signers": [{"name": "log@2", "fingerprint": None}, {"name": "document@2", "fingerprint": None}]})
        pem = self.ok("show", "ed", "--public").out
        shown = self.ok_json("show", "ed", "--public")["keys"][0]
        self.assertEqual((shown["public"], shown["name"]), (pem, "ed"))
        self.assertEqual(self.ok_json("show", "ed", "--uri")["keys"][0]["uri"] + "\n", self.ok("show", "ed", "--uri").out)
        self.failed(64, "show", "cargo", "--public", "--json")

    def test_a_rehearsed_decryption_verifies(self):
        sealed = self.dir / "s.kme"
        self.ok("encrypt", "cargo", "--out", sealed, stdin=b"x" * 100000)
        entries = len(self.entries(self.home))
        plan = self.ok_json("decrypt", "--in", sealed, "--out", self.dir / "plain", "--dry-run")
        self.assertEqual((plan["bytes"], (self.dir / "plain").exists()), (100000, False))
        data = bytearray(sealed.read_bytes())
        data[-1] ^= 1
        (self.dir / "bad.kme").write_bytes(data)
        self.refused(65, "decrypt", "--in", self.dir / "bad.kme", "--dry-run")
        self.assertLessEqual(len(self.entries(self.home)), entries + 1)  # the refusal


if __name__ == "__main__":
    harness.main()
