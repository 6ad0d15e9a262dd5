"""Ceremonies: rehearsed, run at a terminal, broken off and resumed, verified."""

import re
import sqlite3
import time
import unittest

import harness
import people

BOOK = """# A small ceremony

Everybody is here.

## A KEK

```kmtool
gen root --role kek
```

```check
contains root@1
```

## A key

```kmtool
kmtool gen payments --role data --exportable --json > payments.json
list --json
```

```check
json keys count 2
json keys[*].state equals active
file payments.json exists
```

## Its bundle

```kmtool
wrap payments --kek root --out p.kmb
verify p.kmb
```

```check
contains signature  ok
```

Thank you all.
"""


class Ceremony(harness.Case):
    def setUp(self):
        self.room = self.dir / self.id().rsplit(".", 1)[-1]
        self.room.mkdir()
        self.home = self.embedded_home(self.room.name + "-home")
        self.book = self.room / "book.md"
        self.book.write_text(BOOK)

    def start(self, *more, transcript="out.md"):
        env = dict(self.env, KMTOOL_HOME=str(self.home), TERM="dumb")
        return people.Room([harness.BINARY, "ceremony", "run", self.book, "--transcript", transcript, *more], env, self.room)

    def verify(self, name="out.md", **more):
        return self.ok_json("ceremony", "verify", self.room / name, "--signer", self.home / "signers/document.pem", home=self.home, **more)

    def notes(self):
        return [e["details"]["what"] for e in self.entries(self.home) if e["command"] == "ceremony" and e["phase"] == "note"]

    def test_run_and_verify(self):
        room = self.start()
        self.assertEqual(room.conduct(), 0, room.seen)
        self.assertIn("5 steps, 0 deviations", room.seen)
        text = (self.room / "out.md").read_text()
        self.assertTrue(text.startswith("kmtool ceremony transcript 1\n\n# A small ceremony\n"), text[:200])
        for wanted in ("- operator: Ada Example", "- witness: Bert Example", "> Everybody is here.", "## Step 5 of 5: verify", "    kmtool gen root --role kek", "> Thank you all.",
                       "- holds: contains signature  ok", ": operator AE, witness BE", "- SHA-256 of the file p.kmb: ", "  in words: ", "- deviations: 0", "Journal checkpoint:"):
            self.assertIn(wanted, text)
        self.assertNotIn("sh: ", text)
        self.assertFalse((self.room / "out.md.unfinished").exists())
        self.assertEqual((self.room / "out.md").stat().st_mode & 0o777, 0o600)
        verified = self.verify()
        self.assertEqual([verified[k] for k in ("title", "signature", "steps", "deviations", "journal")], ["A small ceremony", "ok", 5, 0, "ok"])
        self.assertEqual(self.notes(), ["begun", *["step", "ran", "done"] * 5, "ended", "signed"])
        self.ok("doctor", home=self.home)
        # And with openssl alone.
        lines = text.splitlines(keepends=True)
        (self.room / "text").write_text("".join(lines[:-1]))
        (self.room / "sig.b64").write_text(lines[-1].split()[3] + "\n")
        env = dict(self.env)
        harness.run_program(["openssl", "base64", "-d", "-A", "-in", "sig.b64", "-out", "sig"], env, cwd=self.room)
        done = harness.run_program(["openssl", "dgst", "-sha256", "-verify", self.home / "signers/document.pem", "-signature", "sig", "text"], env, cwd=self.room)
        self.assertEqual(done.out, "Verified OK\n", done)
        self.tampered(text)

    def tampered(self, text):
        """Every kind of change is found, and another's signature is said to be one."""
        signer = self.home / "signers/document.pem"
        changed = self.room / "changed.md"
        for old, new in (("operator AE", "operator XE"), ("- deviations: 0", "- deviations: 1"), ("root@1", "root@2"), ("kmtool ceremony transcript 1", "kmtool ceremony transcript 2"), ("\nsignature ", "\n\nsignature ")):
            changed.write_text(text.replace(old, new, 1))
            self.refused(65, "ceremony", "verify", changed, "--signer", signer, home=self.home)
        for cut in (text[:-1], text[: len(text) // 2], text.rsplit("\n", 2)[0] + "\n", ""):
            changed.write_text(cut)
            self.refused(65, "ceremony", "verify", changed, "--signer", signer, home=self.home)
        self.refused(1, "ceremony", "verify", self.room / "out.md", "--signer", self.home / "signers/log.pem", home=self.home, says="someone else")

    def test_a_kill_between_steps(self):
        room = self.start()
        room.conduct(stop_at="Run it? [y/n] ", count=2)
        room.kill()
        self.refused_at_terminal(73, "--resume")
        room = self.start("--resume")
        self.assertEqual(room.conduct(), 0, room.seen)
        self.assertIn("Resumed: 1 of 5 steps are done", room.seen)
        self.assertEqual(self.verify()["steps"], 5)
        self.assertIn("- interrupted; resumed: ", (self.room / "out.md").read_text())
        self.assertEqual(len(self.ok_json("list", home=self.home)["keys"]), 2)

    def refused_at_terminal(self, code, says, *more):
        room = self.start(*more)
        self.assertEqual(room.conduct(), code, room.seen)
        self.assertIn(says, room.seen)

    def test_a_kill_before_the_initials(self):
        """The command has run, and its output is in the transcript: only the people have not signed it off."""
        room = self.start()
        room.conduct(stop_at="Operator's initials: ")
        room.kill()
        room = self.start("--resume")
        self.assertEqual(room.conduct(), 0, room.seen)
        self.assertEqual(self.verify()["steps"], 5)
        self.assertEqual((self.room / "out.md").read_text().count("    kmtool gen root --role kek\n"), 1)

    def test_kills_inside_steps(self):
        """At many moments after the yes: nothing is done twice, nothing is lost, and the journal decides."""
        for delay in (0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.7):
            with self.subTest(delay=delay):
                self.room = self.dir / f"inside-{delay}"
                self.room.mkdir()
                self.home = self.embedded_home(f"inside-{delay}-home")
                room = self.start()
                room.conduct(stop_at="Run it? [y/n] ")
                room.say("y")
                time.sleep(delay)
                room.kill(command_too=delay != 0.1)  # at 0.1 the command lives on, and is waited for
                room = self.start("--resume")
                self.assertEqual(room.conduct({"Take it as done (y), or run it again (n)? [y/n] ": "y"}), 0, room.seen)
                self.assertEqual(self.verify()["steps"], 5)
                self.assertEqual(sorted(k["label"] for k in self.ok_json("list", home=self.home)["keys"]), ["payments@1", "root@1"])
                self.ok("doctor", home=self.home)

    def test_a_step_that_fails(self):
        self.book.write_text(BOOK.replace("contains root@1", "contains toor@1"))
        room = self.start()
        question = "Run it again (r), stop here and resume later (s), or go on all the same (g)? "
        self.assertEqual(room.conduct({question: ["s"]}), 75, room.seen)
        room = self.start("--resume")
        self.assertEqual(room.conduct({question: ["r", "g"], "Why? ": "a typing error in the runbook"}), 0, room.seen)
        text = (self.room / "out.md").read_text()
        self.assertIn("- FAILED: contains toor@1: it is not there", text)
        self.assertIn("- the step is run again", text)
        self.assertIn("- FAILED: exit 0: it ended with 73", text)  # the key is there already
        self.assertIn("- DEVIATION, the ceremony went on all the same: a typing error in the runbook", text)
        self.assertEqual(self.verify()["deviations"], 1)

    def test_the_journal_decides_where_to_resume(self):
        room = self.start()
        room.conduct(stop_at="Run it? [y/n] ", count=3)
        room.kill()
        unfinished = self.room / "out.md.unfinished"
        text = unfinished.read_text()
        # What the journal does not know is cut off; what it knows must be there.
        unfinished.write_text(text + "\n- seen at …: operator AE, witness BE\n")
        unfinished.chmod(0o600)
        room = self.start("--resume")
        room.conduct(stop_at="Run it? [y/n] ")
        room.kill()
        self.assertNotIn("seen at …", unfinished.read_text())
        # Not silently: whose it was nobody knows, and both the people and the transcript are told.
        self.assertIn("    - seen at …: operator AE, witness BE", room.seen)
        self.assertIn("- cut off, as the journal does not know it: ", unfinished.read_text())
        known = unfinished.read_text()
        for other in (known.replace("operator AE", "operator XX"), known[:-30], ""):
            unfinished.write_text(other)
            self.refused_at_terminal(65, "is not what the journal knows of it", "--resume")
        unfinished.unlink()
        self.refused_at_terminal(66, "begin anew under another name", "--resume")
        self.refused_at_terminal(73, "--resume")
        unfinished.write_text(known)
        self.book.write_text(BOOK + "\n")
        self.refused_at_terminal(65, "the runbook is not the one", "--resume")
        self.book.write_text(BOOK)
        room = self.start("--resume")
        self.assertEqual(room.conduct(), 0, room.seen)
        self.refused_at_terminal(73, "exists")
        self.refused_at_terminal(66, "no ceremony with this transcript is open", "--resume")

    def test_people(self):
        """Two people; nobody is asked under --no-input; names and initials are what they should be."""
        room = self.start()
        answers = {"Operator (name): ": ["", "Ada"], "Witness (name): ": ["Ada", "Bert"], "Is this the approved runbook? [y/n] ": ["maybe", "y"],
                   "Operator's initials: ": ["A1", "AE", "AE", "AE", "AE", "AE"], "Witness's initials: ": ["AE", "BE", "BE", "BE", "BE", "BE"]}
        self.assertEqual(room.conduct({**answers, "Operator's initials: ": ["A1", *["AE"] * 6]}), 0, room.seen)
        self.assertEqual(room.seen.count("Operator and witness are two people."), 2)
        self.refused(77, "ceremony", "run", self.book, "--transcript", self.room / "b.md", "--no-input", home=self.home, says="nobody can be asked")
        self.refused(64, "ceremony", "run", self.book, "--transcript", self.room / "b.md", "--dry-run", home=self.home, says="rehearse")
        room = self.start(transcript="c.md")
        self.assertEqual(room.conduct({"Is this the approved runbook? [y/n] ": "n"}), 75, room.seen)
        self.assertFalse((self.room / "c.md.unfinished").exists())

    def test_one_person_one_role(self):
        """Initials neither change nor are swapped from one step to the next, nor over a pause."""
        room = self.start()
        answers = {"Operator's initials: ": ["AE", "BE", "CE", "ae", "AE"], "Witness's initials: ": ["BE", "AE", "BE"]}
        room.conduct(answers, stop_at="Run it? [y/n] ", count=3)
        room.kill()
        self.assertIn("Operator and witness are two people.", room.seen)
        self.assertIn("This role is Ada Example's, with the initials AE, for the whole ceremony.", room.seen)
        room = self.start("--resume")
        self.assertEqual(room.conduct({"Operator's initials: ": ["BE", *["AE"] * 5], "Witness's initials: ": ["XY", *["BE"] * 5]}), 0, room.seen)
        self.assertIn("This role is Bert Example's, with the initials BE", room.seen)
        text = (self.room / "out.md").read_text()
        self.assertEqual(text.count(": operator AE, witness BE\n"), 5)
        self.assertEqual(self.verify()["steps"], 5)

    def test_rehearsal(self):
        result = self.ok("ceremony", "rehearse", self.book)  # no home is needed, and none is touched
        self.assertIn("5 steps rehearsed on a throwaway token: all would go", result.out)
        broken = BOOK.replace("wrap payments --kek root", "wrap paymnets --kek root").replace("json keys count 2", "json keys count 3")
        self.book.write_text(broken)
        result = self.kmtool("ceremony", "rehearse", self.book, "--json")
        self.assertEqual(result.code, 1, result)
        steps = result.json()["steps"]
        self.assertEqual([bool(s["problems"]) for s in steps], [False, False, True, True, True])
        self.assertIn("there are 2", steps[2]["problems"][0])
        self.assertIn("did you mean payments", steps[3]["message"])
        said = self.kmtool("ceremony", "rehearse", self.book).out
        self.assertIn("FAILS   step 4 of 5: kmtool wrap paymnets --kek root --out p.kmb", said)
        self.assertIn("3 of 5 would fail", said)
        folder = self.room / "tmp"
        folder.mkdir()
        before = len(self.entries(self.home))
        self.kmtool("ceremony", "rehearse", self.book, env={"TMPDIR": str(folder)}, home=self.home)
        self.assertEqual(list(folder.iterdir()), [])
        self.assertEqual(len(self.entries(self.home)), before)
        self.book.write_text(BOOK.replace("gen root --role kek", "gen root --role kek --home /tmp/x"))
        self.refused(77, "ceremony", "rehearse", self.book, says="--home is refused in a runbook")

    def test_a_pin_that_is_asked_for(self):
        """Once, for every command of the ceremony."""
        token = harness.SoftToken(self.room / "hsm")
        self.home = self.room / "hsm-home"
        self.ok("init", "--module", harness.SOFTHSM, "--token-label", token.label, "--pin-source", f"file:{token.pin_file}", "--home", self.home, env=token.env())
        env = dict(self.env, KMTOOL_HOME=str(self.home), TERM="dumb", **token.env())
        room = people.Room([harness.BINARY, "ceremony", "run", self.book, "--transcript", "out.md", "--pin-source", "prompt"], env, self.room)
        self.assertEqual(room.conduct({"PIN: ": [harness.PIN]}), 0, room.seen)
        self.assertNotIn(harness.PIN, room.seen + (self.room / "out.md").read_text())
        database = sqlite3.connect(f"file:{self.home}/journal.db?mode=ro", uri=True)
        self.assertNotIn(harness.PIN, str(database.execute("SELECT * FROM entries").fetchall()))
        database.close()
        self.assertTrue(re.search(r"- steps: 5\n", (self.room / "out.md").read_text()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
