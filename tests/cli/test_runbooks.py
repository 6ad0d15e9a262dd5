"""The runbooks that come with kmtool: rehearsed, and run by people at a terminal with two sites; the manual followed literally."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

import harness
import people

SOURCE = pathlib.Path(os.environ["KMTOOL_SOURCE"])
EXAMPLES = SOURCE / "cmd/examples"


class Runbooks(harness.Case):
    def test_each_rehearses_cleanly(self):
        for book in sorted(EXAMPLES.glob("*.md")):
            with self.subTest(book=book.name):
                result = self.ok("ceremony", "rehearse", book)
                self.assertIn("all would go", result.out)

    def test_a_broken_one_is_found(self):
        book = self.dir / "broken.md"
        text = (EXAMPLES / "disaster-recovery.md").read_text()
        book.write_text(text.replace("  --share shares/custodian-5/root-5.share\n", "  --share shares/custodian-5/root-4.share\n"))
        result = self.kmtool("ceremony", "rehearse", book)
        self.assertEqual(result.code, 1, result)
        self.assertIn("root-4.share", result.out)

    def run_book(self, book, home, room, transcript):
        env = dict(self.env, KMTOOL_HOME=str(home), TERM="dumb")
        shutil.copy(EXAMPLES / book, room)
        session = people.Room([harness.BINARY, "ceremony", "run", book, "--transcript", transcript], env, room)
        self.assertEqual(session.conduct(), 0, session.seen)
        done = self.ok_json("ceremony", "verify", room / transcript, "--signer", home / "signers/document.pem", home=home)
        self.assertEqual((done["signature"], done["journal"], done["deviations"]), ("ok", "ok", 0))
        return (room / transcript).read_text()

    def test_the_three_of_them_one_after_the_other(self):
        """The first HSM makes its KEK, the drill is held, the first HSM is lost, the second takes over."""
        a, b, room = self.embedded_home("site-a"), self.embedded_home("site-b"), self.dir / "room"
        room.mkdir()
        self.ok("gen", "intake", "--role", "transport", home=b)
        (room / "site-b.request").write_text(self.ok("show", "intake", "--request", home=b).out)
        (room / "site-b.pem").write_text(self.ok("signer", "show", home=b).out)
        text = self.run_book("first-kek.md", a, room, "first-kek-done.md")
        self.assertIn("- SHA-256 of the file root.kmk: ", text)
        self.assertNotRegex(text, r"\b[0-9A-Z]{4}(-[0-9A-Z]{4}){3}\b")  # no row of a share; a UUID is another thing
        (room / "home.kmh").unlink()
        self.run_book("restore-drill.md", b, room, "drill-done.md")
        shutil.rmtree(a)
        self.run_book("disaster-recovery.md", b, room, "recovery-done.md")
        keys = {k["label"]: k["state"] for k in self.ok_json("list", home=b)["keys"]}
        self.assertEqual((keys["root@1"], keys["ledger@1"]), ("active", "active"))
        self.ok("doctor", home=b)


@unittest.skipUnless(shutil.which("mandoc"), "needs mandoc")
class Manual(harness.Case):
    def test_the_manual_followed_literally(self):
        """Every command of kmtool-ceremony(7) up to the ceremony, in an empty folder, as a shell reads it."""
        page = subprocess.run(["mandoc", "-Tutf8", SOURCE / "man/kmtool-ceremony.7"], capture_output=True, check=True).stdout.decode()
        page = re.sub(r".\x08", "", page)
        page = page[page.index("\nBEFORE"):page.index("\nAS A CEREMONY")]
        blocks, block = [], []
        for line in page.splitlines():
            if re.match(r" {11}\S", line) or (block and block[-1].endswith("\\") and line.startswith(" " * 11)):
                block.append(line.strip())
            elif block:
                blocks.append("\n".join(block))
                block = []
        commands = [b for b in blocks if b.startswith(("kmtool ", "export ")) and "--module" not in b]
        self.assertGreater(len(commands), 10, page)
        script = self.dir / "literally.sh"
        script.write_text("set -e\n" + "\n".join(commands) + "\n")
        env = dict(self.env, PATH=f"{pathlib.Path(harness.BINARY).parent}:{self.env['PATH']}")
        empty = self.dir / "empty"
        empty.mkdir()
        done = harness.run_program(["sh", script], env, cwd=empty)
        self.assertEqual(done.code, 0, f"{script.read_text()}\n{done}")
        for wanted in ("share      ok: 1 of 5", "root@1", "ledger@1", "opens      root@1", "root@1 -> root@2", "ledger@1 -> ledger@2"):
            self.assertIn(wanted, done.out)
        self.assertEqual(done.out.count("ok: by"), 4)


if __name__ == "__main__":
    harness.main()
