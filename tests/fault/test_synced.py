"""SoftHSM never calls fsync: kmtool does it for an embedded home, before it records as done what the token did.

A power cut cannot be made here. What is looked at is the order of the system calls (strace): the files of the token first, the
journal's outcome after them, in the command itself and in the one that takes an interrupted command up again.
"""

import pathlib
import re
import shutil
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
import harness  # noqa: E402

STRACE = shutil.which("strace")


@unittest.skipUnless(STRACE, "needs strace")
class Synced(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env = dict(cls.env, KMTOOL_HOME=str(cls.home))
        cls.ok("gen", "root", "--role", "kek")

    def token_files(self):
        return set(self.home.glob("token/*/*.object"))

    def syncs(self, *words):
        """The paths that kmtool fsyncs, in order; the command must succeed."""
        log = self.dir / "strace.log"
        traced = [STRACE, "-f", "-qq", "-y", "-e", "trace=fsync,fdatasync", "-o", log, harness.BINARY, *words]
        result = harness.run_program(traced, self.env)
        self.assertEqual(result.code, 0, result)
        return result, [pathlib.Path(path) for path in re.findall(r"f(?:data)?sync\(\d+<([^>]*)>\)\s+= 0", log.read_text())]

    def before(self, synced, commit):
        """What was synced before the journal's commit of this number."""
        commits = [i for i, path in enumerate(synced) if path.name == "journal.db-wal"]
        return set(synced[: commits[commit]])

    def interrupted(self, *words):
        """Kills the command at each of its own fsyncs and renames, from the first until it succeeds; yields the object files that it made."""
        for number in range(1, 100):
            before = self.token_files()
            env = {"LD_PRELOAD": harness.KILLFS, "KILLFS_NAMES": "fsync,rename,renameat2", "KILLFS_KILL_AT": str(number)}
            if self.kmtool(*words, env=env).code == 0:
                return
            yield self.token_files() - before

    def test_commands(self):
        for words in (("gen", "plain", "--role", "data"), ("rotate", "plain"), ("rotate", "root")):
            with self.subTest(words=words):
                before = self.token_files()
                synced = self.syncs(*words)[1]
                new = self.token_files() - before
                self.assertTrue(new)
                last = -2 if words == ("rotate", "root") else -1  # that its bundles are done is noted after the outcome
                self.assertLessEqual(new | {file.parent for file in new}, self.before(synced, last))

    def test_destroying(self):
        """What was destroyed must not come back."""
        self.ok("gen", "gone", "--role", "data")
        before = self.token_files()
        synced = self.syncs("state", "gone", "destroy", "--reason", "a test", "--yes")[1]
        removed = before - self.token_files()
        self.assertEqual(len(removed), 1)
        self.assertIn(removed.pop().parent, self.before(synced, -1))

    def test_taken_up_again(self):
        """Finished or undone: the token's files reach the disk first."""
        self.ok("gen", "torn", "--role", "data", "--backup", self.dir / "torn.kmb", "--kek", "root")
        ends = {"finished": 0, "undid": 0}
        for new in self.interrupted("rotate", "torn", "--backup", self.dir / "torn2.kmb", "--force"):
            result, synced = self.syncs("doctor", "--repair")
            for end in ends:
                if not re.search(rf"\b{end} (unfinished )?rotate", result.out + result.err) or not new:
                    continue
                ends[end] += 1
                left = new & self.token_files()
                self.assertEqual(bool(left), end == "finished", result)
                self.assertLessEqual(left | {file.parent for file in new}, self.before(synced, 0), result)
            if all(ends.values()):
                return
        self.fail(str(ends))


if __name__ == "__main__":
    harness.main()
