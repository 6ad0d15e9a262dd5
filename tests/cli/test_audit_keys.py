"""audit keys: bad patterns on a token that nobody manages, a token that kmtool alone made, the formats, the probe."""

import html.parser
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import bad_token
import cryptoki
import harness

SCHEMAS = pathlib.Path(os.environ.get("KMTOOL_SCHEMAS") or pathlib.Path(os.environ.get("KMTOOL_SOURCE", ".")) / "../shared/schemas")
SEVERITIES = ["low", "medium", "high", "critical"]


def found(report):
    """(check, label) and (check, id) of every finding."""
    pairs = set()
    for finding in report["findings"]:
        pairs |= {(finding["check"], finding["object"]["label"]), (finding["check"], finding["object"]["id"])}
    return pairs


def of_check(report, check):
    return [f for f in report["findings"] if f["check"] == check]


def above_low(report):
    return [f for f in report["findings"] if f["severity"] != "low" and "software token" not in f["evidence"]]


class Page(html.parser.HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.text = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "action") or name.startswith("on")]

    def handle_data(self, data):
        self.text.append(data)


@unittest.skipUnless(shutil.which("pkcs11-tool") and shutil.which("faketime"), "needs opensc and faketime")
class Seeded(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.env.update(cls.token.env())
        cls.expected = bad_token.seed(cls.token, cls.dir)
        cls.words = ("audit", "keys", "--module", harness.SOFTHSM, "--token-label", cls.token.label, "--pin-source", f"file:{cls.token.pin_file}")
        cls.report = cls.ok_json(*cls.words)

    def test_every_bad_pattern_is_found(self):
        self.assertGreaterEqual(len({check for check, _ in self.expected}), 25)
        self.assertEqual([pair for pair in self.expected if pair not in found(self.report)], [])

    def test_findings_are_whole(self):
        self.assertEqual(self.report["objects"], 58)
        for finding in self.report["findings"]:
            for field in ("rule", "check", "evidence", "why", "fix"):
                self.assertTrue(finding[field], finding)
            self.assertIn(finding["severity"], SEVERITIES)
            self.assertNotRegex(finding["fix"], r"[{}]", finding)
        ranks = [SEVERITIES.index(f["severity"]) for f in self.report["findings"]]
        self.assertEqual(ranks, sorted(ranks, reverse=True))

    def test_attacks_have_their_path(self):
        paths = {f["attack"]: f["path"] for f in self.report["findings"] if f.get("attack") and f.get("path")}
        for attack in ("A1", "A2", "A3", "A4", "Clulow"):
            self.assertIn(attack, paths)
        one = next(f for f in of_check(self.report, "wrap-decrypt") if f["object"]["label"] == "wraps-and-decrypts")
        self.assertEqual(one["severity"], "critical")
        self.assertRegex(one["path"][0], r"C_WrapKey: wraps-and-decrypts .* wraps ")
        self.assertRegex(one["path"][1], r"C_Decrypt: wraps-and-decrypts .* decrypts")
        pair = next(f for f in of_check(self.report, "public-wrap-decrypt") if f["object"]["label"] == "pair-wraps-and-decrypts")
        self.assertIn("private half", pair["path"][1])

    def test_what_is_sound_is_not_found(self):
        """Each key is bad in the ways it was made bad, and in no other."""
        checks = {f["check"] for f in self.report["findings"] if f["object"]["label"] == "can-be-copied"}
        self.assertEqual(checks, {"copyable"})

    def test_fail_on(self):
        self.assertEqual(self.kmtool(*self.words, "--fail-on", "critical", "--json").code, 1)
        self.refused(64, *self.words, "--fail-on", "dreadful")
        waivers = [word for rule in sorted({f["rule"] for f in self.report["findings"]}) for word in ("--waive", f"{rule}=known")]
        waived = self.ok_json(*self.words, "--fail-on", "low", *waivers)
        self.assertEqual({f["waived"] for f in waived["findings"]}, {"known"})
        self.assertEqual(sum(waived["summary"].values()), 0)

    def test_table_says_why_and_how(self):
        plain, told = self.ok(*self.words).out, self.ok(*self.words, "-v").out
        self.assertIn("G-SEALED/wrap-decrypt", plain)
        self.assertIn("58 objects (49 keys)", plain)
        self.assertIn("fix: kmtool gen", told)
        self.assertGreater(len(told), len(plain))

    def test_sarif(self):
        sarif = json.loads(self.ok(*self.words, "--format", "sarif").out)
        run = sarif["runs"][0]
        rules = run["tool"]["driver"]["rules"]
        self.assertEqual(len(run["results"]), len(self.report["findings"]))
        for result in run["results"]:
            self.assertEqual(rules[result["ruleIndex"]]["id"], result["ruleId"])
        schema = SCHEMAS / "sarif-2.1.0.schema.json"
        try:
            import jsonschema  # pylint: disable=import-outside-toplevel
        except ImportError:
            self.skipTest("needs python3-jsonschema")
        if not schema.exists():
            self.skipTest("needs the SARIF schema (KMTOOL_SCHEMAS)")
        schema = json.loads(schema.read_text())
        jsonschema.validators.validator_for(schema)(schema).validate(sarif)

    def test_the_manual_has_every_check(self):
        """kmtool-rules(7) against the program: ids, severities, reasons and remedies."""
        page = (pathlib.Path(os.environ["KMTOOL_SOURCE"]) / "man/kmtool-rules.7").read_text(encoding="utf-8")
        entries = dict(re.findall(r"^\.It Li (\S+)\n(.*?)(?=^\.It|^\.El)", page, re.M | re.S))
        rules = json.loads(self.ok(*self.words, "--format", "sarif").out)["runs"][0]["tool"]["driver"]["rules"]
        self.assertEqual(sorted(entries), sorted(rule["id"] for rule in rules))
        names = {"9.5": "critical", "8.0": "high", "5.5": "medium", "2.0": "low"}
        for rule in rules:
            entry = " ".join(entries[rule["id"]].replace("\\e", "\\").replace("\\&", "").split())
            self.assertIn(f".Pq {names[rule['properties']['security-severity']]}", entry, rule["id"])
            for text in (rule["fullDescription"]["text"], rule["help"]["text"]):
                self.assertIn(" ".join(text.split()), entry, rule["id"])

    def test_html(self):
        text = self.ok(*self.words, "--format", "html").out
        page = Page(text)
        self.assertEqual(page.tags & {"script", "link", "iframe", "img", "object"}, set())
        self.assertEqual(page.links, [])
        self.assertNotRegex(text, r"(https?:)?//[a-z]")
        self.assertIn("svg", page.tags)
        words = "".join(page.text)
        for _, name in self.expected:
            self.assertIn(name, words)

    def test_without_a_login(self):
        seen = self.ok_json(*self.words[:-2], "--no-login")
        self.assertLess(seen["objects"], self.report["objects"])
        self.assertIn(("data-public", "notes"), found(seen))
        self.assertNotIn("leaves", json.dumps(seen))
        self.refused(64, *self.words[:-2], "--no-login", "--probe")

    def test_usage(self):
        self.refused(64, "audit", "keys", "--token-label", "x", says="module")
        self.refused(66, "audit", "keys", "--module", "/nowhere/p11.so", "--token-label", "x")
        self.refused(64, *self.words, "--format", "xml", says="sarif")
        self.refused(77, *self.words[:-2], "--no-input", says="--pin-source")


class Hostile(harness.Case):
    def test_labels_from_elsewhere(self):
        token = harness.SoftToken(self.dir / "hsm")
        self.env.update(token.env())
        os.environ.update(token.env())
        label = "<script>alert(1)</script>\x1b[31m' $(reboot) \"&"
        with cryptoki.Session(harness.SOFTHSM, token.label, harness.PIN) as s:
            s.generate("aes", 32, label=label, id=b"")
            s.generate("aes", 32, label=b"\xff\xfe broken", id=b"\1")
        words = ("audit", "keys", "--module", harness.SOFTHSM, "--token-label", token.label, "--pin-source", f"file:{token.pin_file}", "-v")
        for form in ("table", "json", "sarif", "html"):
            out = self.ok(*words, "--format", form).out
            self.assertNotIn("\x1b", out)
            if form == "html":
                self.assertNotIn("<script", out)
                self.assertIn("&lt;script&gt;", out)
        fixes = [f["fix"] for f in self.ok_json(*words)["findings"] if f["object"]["label"] == label]
        self.assertIn("'\\''", fixes[0])


class Own(harness.Case):
    """A token that only kmtool has touched."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.home = cls.module_home(cls.token, module=harness.SOFTHSM)
        cls.env["KMTOOL_HOME"] = str(cls.home)
        for words in (("root", "--role", "kek"), ("payments", "--role", "data", "--exportable"), ("s", "--role", "sign"), ("t", "--role", "transport"),
                      ("m", "--role", "mac", "--backup", cls.dir / "m.kmb", "--kek", "root"), ("e", "--role", "sign", "--type", "ed25519")):  # fmt: skip
            cls.ok("gen", *words)
        cls.ok("rotate", "payments")
        cls.ok("wrap", "payments", "--kek", "root", "--out", cls.dir / "p.kmb")
        cls.ok("unwrap", cls.dir / "p.kmb", "--as", "restored")
        cls.foreign = ("--module", harness.SOFTHSM, "--token-label", cls.token.label)

    def test_nothing_above_low_but_the_software_token(self):
        for words in ((), self.foreign, (*self.foreign, "--probe"), ("--probe",)):
            report = self.ok_json("audit", "keys", *words)
            self.assertEqual(above_low(report), [], words)
            self.assertIn("G-HW", [f["rule"] for f in report["findings"]])
            self.assertEqual(of_check(report, "unmanaged"), [])
            self.assertEqual([f for f in report["findings"] if "kmtool-anchor" in f["object"]["label"]], [])

    def test_probe_leaves_nothing(self):
        os.environ.update(self.token.env())
        with cryptoki.Session(harness.SOFTHSM, self.token.label, harness.PIN) as s:
            before = s.count()
        probe = self.ok_json("audit", "keys", "--probe")["probe"]
        with cryptoki.Session(harness.SOFTHSM, self.token.label, harness.PIN) as s:
            self.assertEqual(s.count(), before)
        self.assertEqual(probe["objects_before"], probe["objects_after"])
        answers = {t["id"]: t["answer"] for t in probe["trials"]}
        for trial, answer in {"wrap-unextractable": "refused", "wrap-with-trusted": "refused", "wrap-decrypt": "allowed", "add-decrypt": "allowed",
                              "add-decrypt-locked": "refused", "read-sensitive": "refused", "read-unextractable": "refused", "set-extractable": "refused",
                              "copy-extractable": "refused", "weaker-kek": "allowed", "unwrap-readable": "allowed", "local": "allowed"}.items():  # fmt: skip
            self.assertEqual(answers[trial], answer, trial)

    def test_a_token_that_keeps_nothing(self):
        """A3, A4 and A5 on the token itself, with the keys that are open to it."""
        words = ("audit", "keys", "--module", harness.FORWARD, "--token-label", self.token.label, "--probe")
        env = {"KMFORWARD_MODULE": harness.SOFTHSM, "KMFORWARD_WEAK": "1"}
        self.assertEqual(above_low(self.ok_json(*words, env={"KMFORWARD_MODULE": harness.SOFTHSM})), [])
        report = self.ok_json(*words, env=env)
        for check, attack in (("sensitive-readable", "A3"), ("unextractable-readable", "A4"), ("sensitive-cleared", "A5"), ("extractable-set", "A5")):
            finding = of_check(report, check)[0]
            self.assertEqual(finding["attack"], attack)
            self.assertGreaterEqual(len(finding["path"]), 2)
            if attack != "A4":  # no key here is without CKA_SENSITIVE
                self.assertEqual(finding["severity"], "critical")
                self.assertRegex(" ".join(finding["path"]), r"@\d")
        self.assertEqual(report["probe"]["objects_before"], report["probe"]["objects_after"])

    def test_behind_kmtools_back(self):
        home = self.dir / "copy"
        token = harness.SoftToken(self.dir / "hsm2")
        env = {**token.env(), "KMTOOL_HOME": str(home), "KMTOOL_PIN_SOURCE": f"file:{token.pin_file}"}
        self.ok("init", "--module", harness.SOFTHSM, "--token-label", token.label, env=env)
        for name in ("lost", "old", "fine"):
            self.ok("gen", name, "--role", "data", env=env)
        self.ok("state", "old", "compromise", "--reason", "test", env=env)
        keys = {k["name"]: k["id"] for k in self.ok_json("list", env=env)["keys"]}
        tool = ["pkcs11-tool", "--module", harness.SOFTHSM, "--token-label", token.label, "--login", "--pin", harness.PIN]
        run = lambda *words: subprocess.run([*tool, *words], env={**self.env, **env}, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        run("--delete-object", "--type", "secrkey", "--id", keys["lost"])
        run("--keygen", "--key-type", "aes:32", "--label", "shadow", "--id", "0bad")
        report = self.ok_json("audit", "keys", env=env)
        have = found(report)
        for pair in (("missing", "lost@1"), ("unmanaged", "shadow"), ("compromised-present", "old@1")):
            self.assertIn(pair, have)
        self.assertEqual([f["check"] for f in report["findings"] if f["object"]["label"] == "fine@1" and f["severity"] != "low"], [])
        later = subprocess.run(["faketime", "+370 days", harness.BINARY, "audit", "keys", "--json"], env={**self.env, **env}, check=True, stdout=subprocess.PIPE)
        self.assertIn(("cryptoperiod-over", "fine@1"), found(json.loads(later.stdout)))


@unittest.skipUnless(harness.NSS and shutil.which("certutil"), "needs libnss3 and libnss3-tools")
class Nss(harness.Case):
    def test_what_nss_allows(self):
        folder = self.dir / "nss"
        folder.mkdir()
        pin = self.dir / "pin"
        pin.write_text(harness.PIN + "\n")
        pin.chmod(0o600)
        subprocess.run(["certutil", "-N", "-d", f"sql:{folder}", "-f", pin], check=True)
        home = self.dir / "home"
        args = f"configdir='sql:{folder}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
        self.env.update(KMTOOL_HOME=str(home), KMTOOL_PIN_SOURCE=f"file:{pin}")
        self.ok("init", "--module", harness.NSS, "--module-args", args, "--token-label", "NSS Certificate DB")
        self.ok("gen", "root", "--role", "kek")
        before = len(self.objects(home))
        words = ("audit", "keys", "--module", harness.NSS, "--module-args", args, "--token-label", "NSS Certificate DB")
        for report in (self.ok_json(*words, "--probe"), self.ok_json("audit", "keys", "--probe")):
            answers = {t["id"]: t["answer"] for t in report["probe"]["trials"]}
            self.assertEqual(answers["wrap-unextractable"], "allowed")
            self.assertEqual(answers["copy-extractable"], "allowed")
            self.assertEqual(answers["read-sensitive"], "refused")
            self.assertEqual(answers["wrap-cbc-pad"], "allowed")
            self.assertEqual(report["probe"]["objects_before"], report["probe"]["objects_after"])
            self.assertEqual(above_low(report), [])
            wraps = of_check(report, "extractable-not-enforced")[0]
            self.assertEqual((wraps["attack"], wraps["severity"]), ("A5", "critical"))
            self.assertRegex(wraps["path"][0], "C_WrapKey with CKM_AES_KEY_WRAP_KWP: .* wraps ")
            self.assertEqual(of_check(report, "imported"), [])  # NSS says CKA_LOCAL of no key
        self.assertEqual(len(self.objects(home)), before)


if __name__ == "__main__":
    harness.main()
