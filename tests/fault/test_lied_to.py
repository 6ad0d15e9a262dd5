"""What kmtool does when it is lied to, by the lie: the ones that it fell for once."""

import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
import harness  # noqa: E402


class LiedTo(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "cargo", "--role", "data", "--exportable")

    def test_the_handle_of_another_object(self):
        """The module gives out, for what was just made, the handle of the object before it: that one must not be destroyed for it."""
        for call in ("C_GenerateKey", "C_CopyObject"):
            for number in ("1", "2"):
                with self.subTest(call=(number, call)):
                    before = self.snapshot(self.home)
                    lie = {"KMFORWARD_LIE": "cut", "KMFORWARD_LIE_NAME": call, "KMFORWARD_LIE_AT": number}
                    self.refused(70, "gen", "made", "--role", "kek", env=lie)
                    self.ok("doctor", "--repair")
                    self.assertEqual(self.snapshot(self.home), before)

    def anchors(self):
        return sum(o["label"].startswith("kmtool-anchor:") for o in self.objects(self.home))

    def test_an_anchor_that_was_hidden_for_a_moment(self):
        """It is taken for lost and made anew; when it shows again, there is one too many."""
        reads = 1
        while self.anchors() == 2 and reads < 40:
            lie = {"KMFORWARD_LIE": "garbage", "KMFORWARD_LIE_NAME": "C_GetAttributeValue", "KMFORWARD_LIE_AT": str(reads)}
            self.kmtool("state", "cargo", "suspend" if reads % 2 else "resume", "--reason", "a test", env=lie)
            reads += 1
        self.assertEqual(self.anchors(), 3)
        self.assertIn("anchor", self.ok("doctor", "--repair").out)
        self.assertEqual(self.anchors(), 2)
        self.ok("doctor")

    def test_a_search_that_never_ends(self):
        lie = {"KMFORWARD_LIE": "full", "KMFORWARD_LIE_NAME": "C_FindObjects"}
        self.refused(70, "doctor", env=lie, says="does not come to an end", timeout=60)
        self.ok("doctor")


class FullDisk(harness.Case):
    """A commit whose fsync fails may be there after all, or not: what was made on the token is undone only once that is known."""

    WRITES = "write,writev,pwrite,pwrite64,fsync,fdatasync,fallocate,ftruncate,ftruncate64"

    def test_a_disk_that_stays_full(self):
        self.on_own_token()
        for name in ("home", "hsm"):
            shutil.copytree(self.dir / name, self.dir / "clean" / name)
        reached, number = True, 0
        while reached:
            number += 1
            counts = self.dir / "count"
            env = {"LD_PRELOAD": harness.KILLFS, "KILLFS_COUNT_FILE": str(counts), "KILLFS_FAIL_FROM": str(number), "KILLFS_ERRNO": "28", "KILLFS_NAMES": self.WRITES}
            result = self.kmtool("gen", "made", "--role", "data", env=env)
            reached = harness.counter_of(counts)[0] >= number
            self.assertEqual(result.code, 74 if reached else 0, (number, str(result)))
            self.assertTrue(self.ok_json("doctor", "--repair")["healthy"], number)
            counts.unlink()
            for name in ("home", "hsm"):
                shutil.rmtree(self.dir / name)
                shutil.copytree(self.dir / "clean" / name, self.dir / name)
        self.assertGreater(number, 10)


if __name__ == "__main__":
    harness.main()
