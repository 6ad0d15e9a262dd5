"""States of SP 800-57: every transition that is legal, no other, and what each state forbids."""

import itertools
import json
import time

import harness
import people

STATES = ("pre-activation", "active", "suspended", "deactivated", "compromised", "destroyed")
VERBS = {"activate": "active", "suspend": "suspended", "resume": "active", "deactivate": "deactivated", "compromise": "compromised", "destroy": "destroyed"}
LEGAL = {
    "pre-activation": {"activate", "compromise", "destroy"},
    "active": {"suspend", "deactivate", "compromise", "destroy"},
    "suspended": {"resume", "deactivate", "compromise", "destroy"},
    "deactivated": {"compromise", "destroy"},
    "compromised": {"destroy"},
    "destroyed": set(),
}
WAY = {"pre-activation": [], "active": [], "suspended": ["suspend"], "deactivated": ["deactivate"], "compromised": ["compromise"], "destroyed": ["destroy"]}


class States(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.ok("gen", "root", "--role", "kek")

    numbers = itertools.count(1)

    def key_in(self, state, role="data", *words):
        name = f"k{next(self.numbers)}"
        later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
        words = list(words) + (["--activate-at", later] if state == "pre-activation" else [])
        self.ok("gen", name, "--role", role, *words)
        return name + "@1"

    def move(self, key, state):
        for verb in WAY[state]:
            self.change(key, verb)

    def change(self, key, verb, **more):
        return self.ok("state", key, verb, "--reason", "a test", "--yes", **more)

    def state_of(self, key):
        return {k["label"]: k["state"] for k in self.ok_json("list")["keys"]}[key]

    def test_every_transition(self):
        """From each of six states with each of six verbs: 36 cases, of which 14 are legal."""
        legal = 0
        for state, verb in itertools.product(STATES, VERBS):
            with self.subTest(state=state, verb=verb):
                key = self.key_in(state)
                self.move(key, state)
                if verb in LEGAL[state]:
                    self.change(key, verb)
                    self.assertEqual(self.state_of(key), VERBS[verb])
                    legal += 1
                else:
                    self.refused(77, "state", key, verb, "--reason", "a test", "--yes")
                    self.assertEqual(self.state_of(key), state)
        self.assertEqual(legal, 14)

    def test_what_a_kek_may(self):
        """Wraps: only active. Unwraps: active, deactivated, compromised."""
        self.ok("gen", "cargo", "--role", "data", "--exportable")
        for state in STATES:
            with self.subTest(state=state):
                kek = self.key_in(state, "kek")
                out = self.dir / f"{kek}.kmb"
                if state != "pre-activation":
                    self.ok("wrap", "cargo", "--kek", kek, "--out", out)
                self.move(kek, state)
                result = self.kmtool("wrap", "cargo", "--kek", kek, "--out", self.dir / f"{kek}-again.kmb")
                self.assertEqual(result.code == 0, state == "active", result)
                if state != "active":
                    self.assertIn(result.code, (66, 77), result)
                if state == "pre-activation":
                    continue
                result = self.kmtool("unwrap", out, "--check")
                self.assertEqual(result.code == 0, state in ("active", "deactivated", "compromised"), result)

    def test_a_compromised_key_is_not_wrapped(self):
        key = self.key_in("active", "data", "--exportable")
        name = key.split("@")[0]
        out = self.dir / "held.kmb"
        self.ok("wrap", name, "--kek", "root", "--out", out)
        self.refused(64, "state", key, "compromise", "--reason", "  ", says="reason")
        changed = self.ok_json("state", key, "compromise", "--reason", "seen on a screen")
        self.assertEqual([one["path"] for one in changed["affected"]], [str(out)])
        self.assertEqual(changed["keys"][0]["state"], "compromised")
        self.refused(77, "wrap", key, "--kek", "root", "--out", self.dir / "never.kmb")
        self.assertNotIn(name, [json.loads(line).get("key", {}).get("name") for line in self.wrap_all().splitlines()])

    def wrap_all(self):
        out = self.dir / f"all-{next(self.numbers)}.kmb"
        self.ok("gen", f"filler{next(self.numbers)}", "--role", "data", "--exportable")
        self.ok("wrap", "--all", "--kek", "root", "--out", out)
        return out.read_text()

    def test_destroying(self):
        kek = self.key_in("active", "kek")
        key = self.key_in("active", "data", "--exportable")
        out = self.dir / "only.kmb"
        self.ok("wrap", key, "--kek", kek, "--out", out)
        before = self.snapshot(self.home)
        dry = self.ok("state", kek, "destroy", "--reason", "x", "--dry-run")
        self.assertIn(str(out), dry.err)
        self.refused(77, "state", kek, "destroy", "--reason", "x", "--no-input", says="--yes")
        self.assertEqual(self.snapshot(self.home), before)
        result = self.change(kek, "destroy")
        self.assertIn("opens under no other kek", result.err)
        self.assertEqual(self.state_of(kek), "destroyed")
        self.assertFalse([o for o in self.objects(self.home) if o["label"] == kek])
        self.refused(66, "unwrap", out, "--check")
        alone = self.key_in("active")
        self.assertIn("lost for ever", self.change(alone, "destroy").err)
        self.assertIs(self.ok_json("doctor")["healthy"], True)

    def test_bundles_that_give_nothing_back(self):
        """What the catalog knows of a bundle is not the bundle."""
        out = self.dir / "gone.kmb"
        self.ok("gen", "kept-once", "--role", "data", "--backup", out, "--kek", "root")
        look = lambda key: self.ok("state", key, "destroy", "--reason", "x", "--dry-run").err
        self.assertNotIn("lost for ever", look("kept-once@1"))
        whole = out.read_bytes()
        out.unlink()
        self.assertIn(f"no bundle of kept-once@1 is left, and what it protects is lost for ever, unless it is elsewhere ({out}: it is not there", look("kept-once@1"))
        out.write_text("something else\n")
        self.assertIn("what lies there is not that bundle", look("kept-once@1"))
        out.write_bytes(whole.replace(b'"wrapped":["', b'"wrapped":["A', 1))
        self.assertEqual(self.kmtool("bundles", "--verify-all").code, 1)
        self.assertIn("the last verification found", look("kept-once@1"))
        out.write_bytes(whole)
        self.ok("bundles", "--verify-all")
        self.assertNotIn("lost for ever", look("kept-once@1"))

    def test_a_kek_whose_backup_is_gone(self):
        backup, out = self.dir / "below.kmk", self.dir / "below.kmb"
        self.ok("gen", "below", "--role", "kek", "--exportable")
        self.ok("export-kek", "below", "--to-kek", "root", "--out", backup)
        self.ok("gen", "under-below", "--role", "data", "--exportable")
        self.ok("wrap", "under-below", "--kek", "below", "--out", out)
        look = lambda: self.ok("state", "below", "destroy", "--reason", "x", "--dry-run").err
        self.assertNotIn("no other kek", look())
        backup.rename(self.dir / "away.kmk")
        self.assertIn(f"{out} (1 key) opens under no other kek", look())
        self.assertIn(f"{backup}: it is not there", look())
        (self.dir / "away.kmk").rename(backup)
        affected = self.ok_json("state", "below", "compromise", "--reason", "seen")["affected"]
        self.assertEqual({one["path"] for one in affected}, {str(backup), str(out)})

    def test_one_active_version(self):
        self.ok("gen", "two", "--role", "data")
        self.ok("state", "two", "suspend", "--reason", "a test")
        self.refused(66, "show", "two", says="no active version")
        self.ok("state", "two@1", "resume", "--reason", "a test")
        self.ok("rotate", "two")
        self.refused(77, "state", "two@1", "resume", "--reason", "a test")

    def test_reasons(self):
        key = self.key_in("active")
        self.refused(64, "state", key, "suspend", says="--reason")
        self.refused(64, "state", key, "suspend", "--reason", "")
        self.refused(64, "state", key, "suspend", "--reason", "two\nlines")
        self.refused(64, "state", key, "melt", "--reason", "x")
        self.refused(66, "state", "nothing@1", "suspend", "--reason", "x")
        self.ok("state", key, "suspend", "--reason", "the quarterly review")
        entry = self.entries(self.home)[-1]
        self.assertEqual((entry["command"], entry["target"]), ("state suspend", key))
        self.assertEqual(entry["details"]["reason"], "the quarterly review")

    def asked(self, key, meanwhile):
        """Exit code and terminal of `state KEY destroy` where `meanwhile` happens before the question is answered with yes."""
        room = people.Room([harness.BINARY, "state", key, "destroy", "--reason", "x"], self.env, self.dir)
        room.until("cannot be brought back? [y/N] ", "cannot be brought back [y/N] ")
        meanwhile()
        room.say("y")
        return room.end(), room.seen

    def test_what_was_asked_about_is_what_is_destroyed(self):
        self.ok("gen", "pay", "--role", "data")
        code, seen = self.asked("pay", lambda: self.ok("rotate", "pay"))
        self.assertEqual((code, self.state_of("pay@1"), self.state_of("pay@2")), (75, "deactivated", "active"), seen)
        self.assertIn("pay@1 changed while you were asked: nothing was destroyed", seen)
        # Its backup goes away while it is thought about.
        out = self.dir / "pay.kmb"
        self.ok("gen", "backed", "--role", "data", "--backup", out, "--kek", "root")
        code, seen = self.asked("backed@1", out.unlink)
        self.assertEqual((code, self.state_of("backed@1")), (75, "active"), seen)
        self.assertIn("what is lost with backed@1 changed", seen)
        code, seen = self.asked("backed@1", lambda: None)
        self.assertEqual((code, self.state_of("backed@1")), (0, "destroyed"), seen)

    def test_a_destroyed_key_that_comes_back_is_destroyed_again(self):
        for name, role, parts in (("risen", "data", 1), ("risen-kek", "kek", 2)):
            with self.subTest(name):
                label = name + "@1"
                self.ok("gen", name, "--role", role)
                files = {path: path.read_bytes() for path in self.home.rglob("*") if path.suffix in (".object", ".lock")}
                self.change(label, "destroy")
                for path, content in files.items():
                    if not path.exists():  # as an older copy of the token has it
                        path.write_bytes(content)
                advice = f"kmtool state {label} destroy --reason TEXT"
                self.assertIn(advice, self.kmtool("doctor").out)
                verified = self.kmtool("audit", "verify")
                self.assertIn(advice, verified.out + verified.err)
                differs = [f for f in self.kmtool("audit", "keys", "--json").json()["findings"] if f["check"] == "differs"]
                self.assertEqual({f["fix"] for f in differs}, {advice})
                self.ok("state", label, "destroy", "--reason", "x", "--dry-run")
                self.assertEqual(len([o for o in self.objects(self.home) if o["label"] == label]), parts)
                self.change(label, "destroy")
                self.assertFalse([o for o in self.objects(self.home) if o["label"] == label])
                self.assertIs(self.ok_json("doctor")["healthy"], True)
                intent, outcome = self.entries(self.home)[-2:]
                self.assertEqual((intent["command"], intent["target"], intent["details"]), ("state destroy", label, {"again": True, "reason": "a test"}))
                self.assertEqual(outcome["details"], {"objects": parts})
                self.refused(77, "state", label, "destroy", "--reason", "x", "--yes", says="destroyed again")

    def test_objects_that_are_not_its_own(self):
        """Under another label they stay; under its label nobody can tell which is which."""
        for name, label in (("lone", "foo"), ("twin", "twin@1")):
            self.ok("gen", name, "--role", "data")
            number = {k["label"]: k["id"] for k in self.ok_json("list")["keys"]}[name + "@1"]
            made = self.pkcs11_tool(self.home, "--keygen", "--key-type", "AES:32", "--label", label, "--id", number)
            self.assertEqual(made.code, 0, made)
        self.change("lone@1", "destroy")
        self.assertEqual([o["label"] for o in self.objects(self.home) if o["label"] in ("lone@1", "foo")], ["foo"])
        self.refused(77, "state", "lone@1", "destroy", "--reason", "x", "--yes", says="destroyed again")
        self.refused(65, "state", "twin@1", "destroy", "--reason", "x", "--yes", says=["several objects that pass for twin@1", "vendor's tool"])
        self.assertEqual((self.state_of("twin@1"), len([o for o in self.objects(self.home) if o["label"] == "twin@1"])), ("active", 2))
        for label in ("foo", "twin@1", "twin@1"):
            self.assertEqual(self.pkcs11_tool(self.home, "--delete-object", "--type", "secrkey", "--label", label).code, 0)
        self.change("twin@1", "destroy")

    def test_a_kek_whose_backup_no_transport_key_opens_any_more(self):
        """One of this home's own opens it while it is not destroyed; another site's is taken to."""
        out, pem = self.dir / "inward.kmb", self.dir / "inward.request"
        self.ok("gen", "inward", "--role", "transport", "--type", "rsa-3072")
        pem.write_text(self.ok("show", "inward", "--request").out)
        self.ok("gen", "outer", "--role", "kek", "--type", "aes-128", "--exportable")
        self.ok("export-kek", "outer", "--to-public-key", pem, "--out", self.dir / "outer.kmk")
        self.ok("gen", "under-outer", "--role", "data", "--type", "aes-128", "--exportable")
        self.ok("wrap", "under-outer", "--kek", "outer", "--out", out)
        look = lambda: self.ok("state", "outer", "destroy", "--reason", "x", "--dry-run").err
        self.assertNotIn("no other kek", look())
        self.change("inward@1", "destroy")
        self.assertIn(f"{out} (1 key) opens under no other kek", look())
        # Nor does it get another backup.
        self.refused(77, "export-kek", "outer", "--to-public-key", pem, "--out", self.dir / "again.kmk", says="inward@1 is destroyed")

    def test_what_to_do_is_said_as_it_is_typed(self):
        out = self.dir / "same.kmb"
        self.ok("gen", "same", "--role", "data", "--exportable")
        self.ok("wrap", "same", "--kek", "root", "--out", out)
        self.ok("unwrap", out, "--as", "same-again", "--activate")
        self.assertIn("kmtool state same@1 suspend --reason TEXT\n", self.change("same-again@1", "suspend").err)
        self.ok("gen", "brief", "--role", "data", "--cryptoperiod", "1s")
        time.sleep(1.1)
        expired = self.refused(77, "encrypt", "brief", "--in", out, "--out", self.dir / "never", says=["the originator period of brief@1 ended on", "kmtool rotate brief"])
        self.assertNotIn("use the active version", expired.err)


if __name__ == "__main__":
    harness.main()
