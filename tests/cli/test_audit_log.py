"""audit log in its formats, audit inventory against CycloneDX's schema, and a disk that is full or cannot be written."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import unittest

import harness

SCHEMAS = pathlib.Path(os.environ.get("KMTOOL_SCHEMAS") or pathlib.Path(os.environ.get("KMTOOL_SOURCE", ".")) / "../shared/schemas")


class Log(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "pay", "--role", "data", "--exportable")
        cls.ok("gen", "pay2", "--role", "data", "--exportable")
        cls.ok("wrap", "pay", "--kek", "root", "--out", cls.dir / "p|=\\\x9b31m\u202eü.kmb")
        cls.ok("state", "pay", "suspend", "--reason", "a|b=c\\d end")
        cls.ok("gen", "fixed", "--role", "data")
        cls.kmtool("wrap", "fixed", "--kek", "root", "--out", cls.dir / "q.kmb")

    def lines(self, *args):
        return self.ok("audit", "log", *args).out.splitlines()

    def jsonl(self, *args):
        return [json.loads(line) for line in self.lines("--format", "jsonl", *args)]

    def test_jsonl_is_the_entries(self):
        self.assertEqual(self.jsonl(), self.entries(self.home))
        self.assertEqual(self.ok_json("audit", "log")["entries"], self.entries(self.home))
        self.assertEqual(self.jsonl("--last", "2"), self.entries(self.home)[-2:])

    def test_nothing_for_a_terminal_to_obey(self):
        for form in ("table", "jsonl", "ocsf", "cef", "json"):
            out = self.ok("audit", "log", "--format", form).out
            self.assertIsNone(re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", out), form)
            self.assertTrue("31m" in out or form in ("table", "cef"))

    def test_filters(self):
        for entry in self.jsonl("--key", "pay"):
            self.assertNotIn("pay2", entry["target"])
        commands = [(e["command"], e["phase"]) for e in self.jsonl("--key", "pay")]
        self.assertEqual(commands[0], ("gen", "intent"))
        self.assertIn(("wrap", "outcome"), commands)
        self.assertEqual([(e["command"], e["phase"]) for e in self.jsonl("--key", "fixed")], [("gen", "intent"), ("gen", "outcome"), ("wrap", "refusal")])
        self.assertEqual(self.jsonl("--key", "pay@1"), self.jsonl("--key", "pay"))
        self.assertEqual(self.jsonl("--key", "pay@2"), [])
        self.assertEqual({e["command"] for e in self.jsonl("--command", "gen")}, {"gen"})
        self.assertEqual({e["result"] for e in self.jsonl("--result", "refused")}, {"refused"})
        self.assertEqual(self.jsonl("--user", "nobody-of-that-name"), [])
        self.assertEqual(self.jsonl("--since", "1h"), self.entries(self.home))
        self.assertEqual(self.jsonl("--until", "1h"), [])
        self.assertEqual(self.jsonl("--since", "2099-01-01T00:00:00Z"), [])
        self.refused(64, "audit", "log", "--since", "yesterday")
        self.refused(64, "audit", "log", "--format", "sarif")

    def test_table(self):
        lines = self.lines()
        self.assertTrue(lines[0].lstrip().startswith("ENTRY"), lines[0])
        self.assertEqual(len(lines), len(self.entries(self.home)) + 1)
        self.assertIn("refused", lines[-1])

    def test_ocsf(self):
        for line, entry in zip(self.lines("--format", "ocsf"), self.entries(self.home)):
            event = json.loads(line)
            for name in ("activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid", "entity", "actor", "status_id", "message"):
                self.assertIn(name, event)
            self.assertEqual((event["class_uid"], event["category_uid"]), (3004, 3))
            self.assertEqual(event["type_uid"], event["class_uid"] * 100 + event["activity_id"])
            self.assertEqual(event["metadata"]["sequence"], entry["seq"])
            self.assertEqual(event["unmapped"]["details"], entry["details"])
            self.assertEqual(event["status_id"], {"done": 1, "refused": 2, None: 99}[entry.get("result")])
        self.assertEqual(event["severity_id"], 3)
        suspended = [json.loads(line) for line in self.lines("--format", "ocsf", "--command", "state suspend")]
        self.assertEqual({e["activity_name"] for e in suspended}, {"Suspend"})

    def test_cef(self):
        lines = self.lines("--format", "cef")
        self.assertEqual(len(lines), len(self.entries(self.home)))
        for line in lines:
            parts = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
            self.assertEqual(parts[:3], ["CEF:0", "kmtool", "kmtool"], line)
            self.assertEqual(len(parts), 8, line)
            # Every = that is not escaped stands behind a key.
            for key in re.findall(r"(\S*?)(?<!\\)=", parts[7]):
                self.assertRegex(key, r"^(rt|externalId|dvchost|suser|suid|act|outcome|reason|cs[1-4](Label)?)$", line)
        self.assertIn(r"reason=a|b\=c\\d", "\n".join(lines))

    def test_follow(self):
        with subprocess.Popen([harness.BINARY, "audit", "log", "--follow", "--format", "jsonl", "--last", "1"], env=self.env, stdout=subprocess.PIPE, text=True) as tail:
            try:
                first = json.loads(tail.stdout.readline())
                self.assertEqual(first, self.entries(self.home)[-1])
                self.kmtool("wrap", "fixed", "--kek", "root", "--out", self.dir / "r.kmb")
                fresh = json.loads(tail.stdout.readline())
                self.assertEqual(fresh["seq"], first["seq"] + 1)
            finally:
                tail.send_signal(signal.SIGTERM)
            self.assertEqual(tail.wait(20), 0)
        self.assertEqual(self.kmtool("audit", "log", "--follow", "--json").code, 64)

    def test_reads_beside_a_writer_and_without_module(self):
        env = dict(self.env, KMTOOL_SOFTHSM2="/nonexistent", SOFTHSM2_CONF="/nonexistent")
        self.ok("audit", "log", env=env)
        done = subprocess.run(f"'{harness.BINARY}' audit log | head -1", shell=True, env=self.env, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class Inventory(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.ok("gen", "root", "--role", "kek", "--owner", "Ops")
        for role, kind in (("data", "aes-128"), ("mac", "hmac-sha384"), ("sign", "ec-p384"), ("sign", "ed25519"), ("transport", "rsa-3072")):
            cls.ok("gen", kind, "--role", role, "--type", kind, *(["--exportable"] if role == "data" else []))
        cls.ok("wrap", "aes-128", "--kek", "root", "--out", cls.dir / "p.kmb")
        cls.ok("state", "hmac-sha384", "destroy", "--reason", "test", "--yes")

    def test_json_and_table(self):
        found = self.ok_json("audit", "inventory")
        keys = {k["label"]: k for k in found["keys"]}
        self.assertEqual(len(keys), 6)
        self.assertIs(found["token"]["hardware"], False)
        self.assertTrue(found["token"]["serial"])
        self.assertEqual(keys["aes-128@1"]["bundles"][0]["path"], str(self.dir / "p.kmb"))
        self.assertEqual(keys["aes-128@1"]["bundles"][0]["recipients"], ["root@1"])
        self.assertIs(keys["hmac-sha384@1"]["on_token"], False)
        out = self.ok("audit", "inventory").out
        self.assertIn(str(self.dir / "p.kmb"), out)
        self.assertIn("software", out)

    def test_cyclonedx(self):
        try:
            import jsonschema
        except ImportError:
            self.skipTest("python3-jsonschema is not installed")
        if not SCHEMAS.is_dir():
            self.skipTest(f"no schemas at {SCHEMAS}")
        bom = json.loads(self.ok("audit", "inventory", "--format", "cyclonedx").out)
        schemas = {name: json.loads((SCHEMAS / name).read_text()) for name in ("bom-1.6.schema.json", "spdx.schema.json", "jsf-0.82.schema.json")}
        store = {schema.get("$id", name): schema for name, schema in schemas.items()}
        main = schemas["bom-1.6.schema.json"]
        resolver = jsonschema.RefResolver(main["$id"], main, store={**store, **{f"http://cyclonedx.org/schema/{n}": s for n, s in schemas.items()}})
        validator = jsonschema.Draft7Validator(main, resolver=resolver, format_checker=jsonschema.FormatChecker())
        self.assertEqual([error.message for error in validator.iter_errors(bom)], [])
        broken = json.loads(json.dumps(bom))
        broken["components"][0]["cryptoProperties"]["relatedCryptoMaterialProperties"]["state"] = "sleeping"
        self.assertNotEqual(list(validator.iter_errors(broken)), [], "the validator accepts anything")
        states = {c["name"]: c["cryptoProperties"]["relatedCryptoMaterialProperties"]["state"] for c in bom["components"] if c["bom-ref"].startswith("key:")}
        self.assertEqual(states["hmac-sha384@1"], "destroyed")
        refs = {c["bom-ref"] for c in bom["components"]}
        for component in bom["components"]:
            material = component["cryptoProperties"].get("relatedCryptoMaterialProperties")
            if material:
                self.assertIn(material["algorithmRef"], refs)
                self.assertNotIn("value", material)


class FailClosed(harness.Case):
    """Nothing is done that cannot be recorded."""

    MUTATIONS = (("gen", "new", "--role", "data"), ("wrap", "a", "--kek", "root", "--out", "{out}"), ("state", "a", "suspend", "--reason", "x"), ("rotate", "a"),
                 ("signer", "rotate"), ("state", "a", "destroy", "--reason", "x", "--yes"))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "a", "--role", "data", "--exportable")

    def refused_unrecorded(self, env=None, silent=False):
        before = self.snapshot(self.home)
        for number, words in enumerate(self.MUTATIONS):
            out = self.dir / f"out-{number}.kmb"
            result = self.kmtool(*(word.format(out=out) for word in words), env=env)
            self.assertEqual(result.code, 74, result)
            self.assertEqual(result.out, "", result)
            if not silent:
                self.assert_error_style(result)
            self.assertFalse(out.exists())
        self.assertEqual(self.snapshot(self.home), before)

    def test_full_disk(self):
        """Every write to the home's files fails with ENOSPC; the token lies elsewhere."""
        if not harness.KILLFS or harness.SANITIZED:
            self.skipTest("no shim")
        self.refused_unrecorded({"LD_PRELOAD": harness.KILLFS, "KILLFS_NAMES": "write,pwrite,pwrite64,ftruncate,fallocate", "KILLFS_FAIL_FROM": "1", "KILLFS_ERRNO": "28"},
                                silent=True)  # standard error is written to as well
        self.ok("audit", "verify")

    def test_small_disk(self):
        """A real one: a tmpfs with the home on it, filled to the last byte."""
        disk = self.dir / "disk"
        disk.mkdir(mode=0o700)
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", disk], stderr=subprocess.DEVNULL, check=False).returncode:
            self.skipTest("no mounting here")
        kept = self.home
        try:
            home = disk / "home"
            shutil.copytree(self.home, home)
            with open(disk / "filler", "wb", buffering=0) as filler:
                try:
                    while True:
                        filler.write(b"x" * 4096)
                except OSError:
                    pass
            type(self).home = home
            type(self).env = dict(self.env, KMTOOL_HOME=str(home))
            self.refused_unrecorded()
        finally:
            type(self).home = kept
            type(self).env = dict(self.env, KMTOOL_HOME=str(kept))
            subprocess.run(["umount", "-l", disk], check=True)

    def test_read_only_home(self):
        """Mounted read-only: readers read, nothing is done."""
        if os.geteuid() != 0 or not shutil.which("unshare"):
            self.skipTest("needs root to mount")
        script = f"mount --bind '{self.home}' '{self.home}' && mount -o remount,bind,ro '{self.home}' && exec \"$@\""
        probe = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", "true"], stderr=subprocess.DEVNULL, check=False)
        if probe.returncode:
            self.skipTest("no mounting here")
        before = self.snapshot(self.home)
        for number, words in enumerate(self.MUTATIONS):
            out = self.dir / f"ro-{number}.kmb"
            result = harness.run_program(["unshare", "-m", "sh", "-c", script, "sh", harness.BINARY, *(word.format(out=out) for word in words)], self.env)
            self.assertEqual(result.code, 74, result)
            self.assertFalse(out.exists())
        self.assertEqual(self.snapshot(self.home), before)
        result = harness.run_program(["unshare", "-m", "sh", "-c", script, "sh", harness.BINARY, "audit", "log"], self.env)
        self.assertEqual(result.code, 0, result)


if __name__ == "__main__":
    harness.main()
