"""What the record says of policy.json: what was allowed when; and a file that is missing is said to be missing."""

import hashlib
import json
import subprocess

import harness


class Policy(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.path = cls.home / "policy.json"
        cls.original = cls.path.read_text()

    def setUp(self):
        self.write(self.original)
        self.ok("policy", "accept")

    def write(self, text):
        self.path.write_text(text)
        self.path.chmod(0o600)

    def accept(self, text):
        self.write(text)
        self.ok("policy", "accept")
        return [e for e in self.entries(self.home) if e["command"] == "policy accept"][-1]

    def rows(self, entry):
        return {(c["kind"], c["id"]): c["value"] for c in entry["changes"]}

    def test_what_changed_is_on_record(self):
        """Relaxed, used, and put back: the record tells what was allowed in between."""
        first = self.rows(self.entries(self.home)[0])["policy", "accepted"]
        self.assertEqual(first["text"], self.original)
        relaxed = '{"minimum_strength": {"kek": 112}, "forbidden_waivers": ["G-KEK"], "sessions": 1} // for a day\n'
        entry = self.accept(relaxed)
        self.assertEqual(entry["details"], {"changed": [{"field": "forbidden_waivers", "old": [], "new": ["G-KEK"]}, {"field": "minimum_strength.kek", "old": 128, "new": 112}]})
        row = self.rows(entry)["policy", "accepted"]
        self.assertEqual(row, {"digest": hashlib.sha256(relaxed.encode()).hexdigest(), "text": relaxed})
        back = self.accept(self.original)
        self.assertIn({"field": "minimum_strength.kek", "old": 112, "new": 128}, back["details"]["changed"])
        log = self.ok("audit", "log", "--command", "policy accept").out
        self.assertIn('minimum_strength.kek 128 → 112', log)
        self.assertIn('minimum_strength.kek 112 → 128', log)
        self.assertIn("minimum_strength.kek 128 \\u2192 112", self.ok("audit", "log", "--command", "policy accept", "--format", "ocsf").out)
        self.assertEqual(self.accept(self.original + "// a comment\n")["details"], {"changed": []})
        self.assertIn("no value changed", self.ok("audit", "log", "--command", "policy accept", "--last", "1").out)
        self.assertEqual(self.accept('{"checkpoint_sink_wait": null, "destroy_after": {"mac": "3y"}}')["details"],
                         {"changed": [{"field": "destroy_after.mac", "old": None, "new": "3y"}]})
        self.ok("audit", "verify")

    def test_long_comments_are_left_out(self):
        text = '{"sessions": 2}\n' + "// \x7f and so on\n" * 2000
        row = self.rows(self.accept(text))["policy", "accepted"]
        self.assertEqual((row["text"], row["digest"]), ('{"sessions":2}', hashlib.sha256(text.encode()).hexdigest()))
        entry = self.accept('{"sessions": 3}\n')
        self.assertEqual(entry["details"], {"changed": [{"field": "sessions", "old": 2, "new": 3}]})
        self.write(json.dumps({"forbidden_waivers": ["G-KEK"] * 2000}))
        self.refused(78, "policy", "accept", says="too long to be put on record")
        self.ok("audit", "verify")

    def test_all_of_it_is_shown(self):
        """Every field that a policy.json may have, under its own name."""
        full = {"cryptoperiods": {role: {"originator": "50d", "recipient": "71d"} for role in ("kek", "data", "mac", "sign", "transport")},
                "minimum_strength": {"kek": 192, "data": 129, "mac": 130, "sign": 131, "transport": 132},
                "destroy_after": {"kek": "11d", "data": "12d", "mac": "0", "sign": "13d", "transport": "15d"},
                "require_hardware": False, "min_validation": "FIPS 140-3", "min_validation_level": 2, "forbidden_waivers": ["G-KEK"], "checkpoint_sink": "syslog",
                "checkpoint_sink_wait": "21s", "sessions": 7,
                "api_keys": {"prefix": "shop", "allow_unrestricted": False, "longest_life": "31d", "overlap": "32d", "snapshot_life": "33d"}}  # fmt: skip
        written = json.loads("\n".join(line for line in self.original.splitlines() if not line.strip().startswith("//")))
        # init writes every field down: one that is new must be added here, and to what is shown.
        self.assertEqual({name: sorted(value) if isinstance(value, dict) and name != "destroy_after" else None for name, value in written.items()},
                         {name: sorted(value) if isinstance(value, dict) and name != "destroy_after" else None for name, value in full.items()})
        written["api_keys"]["overlap"] = "1w"  # as kmtool spells 7d
        for policy in (full, written):
            self.write(json.dumps(policy))
            shown = self.ok_json("policy", "show")
            self.assertEqual({name: value for name, value in shown.items() if name not in ("digest", "accepted", "missing")}, policy)
        self.write(json.dumps(full))
        text = self.ok("policy", "show").out
        for value in ("50d", "71d", *map(str, full["minimum_strength"].values()), "11d", "12d", "13d", "15d", "destroyed when it is deactivated", "preferred", "FIPS 140-3 level 2", "G-KEK",
                      "syslog", "21s", "sessions", "7", "shop", "may not be unrestricted", "31d", "32d", "33d"):  # fmt: skip
            self.assertIn(value, text)

    def test_missing(self):
        backup = self.dir / "home.kmh"
        self.ok("home", "backup", backup)
        size = len(self.entries(self.home))
        for says, lose in (("policy.json is missing", self.path.unlink), ("policy.json is empty", lambda: self.write(""))):
            lose()
            for words in (("policy", "accept"), ("gen", "a", "--role", "data")):
                self.refused(78, *words, says=(says, "put it back from a backup", "write {} into it"))
            doctor = self.kmtool("doctor")
            self.assertEqual(doctor.code, 1, doctor)
            self.assertIn(says, doctor.out)
            self.assertNotIn("has changed", doctor.out)
            shown = self.ok("policy", "show")
            self.assertIn("is missing or empty", shown.out)
            self.assertEqual((self.ok("policy", "show", "--json").json()["missing"], "NOT accepted" in shown.out), (True, True))
            self.assertIn("policy.json is missing", self.kmtool("monitor").out)
        self.assertEqual(len(self.entries(self.home)), size)
        self.path.unlink()
        subprocess.run(["sqlite3", "-A", "-x", "-f", str(backup), "policy.json"], cwd=self.home, check=True)  # as the hint says
        self.assertEqual(self.path.read_text(), self.original)
        self.ok("gen", "b", "--role", "data")
        self.path.unlink()
        self.accept("{}\n")
        self.ok("gen", "c", "--role", "data")
        self.assertEqual(self.ok("policy", "show", "--json").json()["missing"], False)


if __name__ == "__main__":
    harness.main()
