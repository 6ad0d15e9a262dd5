"""Ctrl-C in long work: it stops at a clean point, says what was done and how to go on, and that is right."""

import json
import os
import re
import subprocess
import time

import harness
from people import Room

PROGRESS = r"{}: \d+/{} \(\d+%\), [\d.]+/s, \d+s left"


class Stop(harness.Rotation):
    def stopped(self, what, *words):
        """The command on a terminal, each token call slowed down; Ctrl-C at its first sign of progress. What was shown."""
        room = Room([harness.BINARY, *words], dict(self.env, KMFORWARD_DELAY_MS="4"), self.dir)
        room.until(what)
        room.until("left")
        os.write(room.master, b"\x03")
        code = room.end()
        self.assertEqual(code, 1, room.seen)  # not 75, "try again": part of it is done
        self.assertIn("error: stopped on request", room.seen)
        return room.seen

    def test_rewrapping(self):
        self.ok("gen", "load", "--role", "data", "--exportable", "--count", "150")
        files = [self.dir / f"{n}.kmb" for n in range(3)]
        for n, path in enumerate(files):
            self.ok("wrap", *[f"load-{n * 50 + i:04}" for i in range(1, 51)], "--kek", "root", "--out", path)
        before = [path.read_bytes() for path in files]
        seen = self.stopped("re-wrapping", "rotate", "root", "--rewrap-all")
        self.assertRegex(seen, PROGRESS.format("re-wrapping", 150))
        self.assertIn("root@1 -> root@2", seen)
        self.assertIn("hint: kmtool rotate --due goes on with the bundles of root", seen)
        self.assertEqual(files[2].read_bytes(), before[2])
        for path in files:
            self.assertEqual(self.ok_json("verify", path)["seals"], ["ok"])
        self.assertIn("1 rotation is open", self.kmtool("monitor").out)
        report = self.ok_json("rotate", "--due")
        self.assertEqual(report["rotated"], [])
        self.assertIn(str(files[2]), [done["file"] for done in report["rewrapped"]])
        self.assertEqual(self.states("root"), {1: "deactivated", 2: "active"})
        self.assertEqual(self.ok_json("bundles", "--depends-on", "root@1")["bundles"], [])
        self.assertIs(self.ok_json("doctor")["healthy"], True)

    def test_many_keys(self):
        """What is rotated would be rotated again by the same words: it is said."""
        self.ok("gen", "some", "--role", "mac", "--count", "30")
        names = [f"some-{n:04}" for n in range(1, 31)]
        seen = self.stopped("rotating", "rotate", *names)
        self.assertRegex(seen, PROGRESS.format("rotating", 30))
        done = re.findall(r"(some-\d+)@1 -> some-\d+@2", seen)
        self.assertTrue(0 < len(done) < 30, seen)
        self.assertIn("would rotate those that are done again", seen)
        for name in names:
            self.assertEqual(self.states(name), {1: "deactivated", 2: "active"} if name in done else {1: "active"})
        self.assertIs(self.ok_json("doctor")["healthy"], True)

    def test_what_was_done_is_the_result(self):
        """Also with --quiet; what is left is named, and the document is whole."""
        self.ok("gen", "heap", "--role", "mac", "--count", "20")
        env = dict(self.env, KMFORWARD_DELAY_MS="4")
        running = subprocess.Popen([harness.BINARY, "rotate", "--all", "-q", "--json"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until = time.monotonic() + 30
        while self.states("heap-0002") == {1: "active"}:
            self.assertLess(time.monotonic(), until)
        running.terminate()
        out, err = running.communicate(timeout=60)
        self.assertEqual(running.returncode, 1, err)
        report = json.loads(out)
        done = [each["name"] for each in report["rotated"]]
        self.assertIn("heap-0002", done)
        self.assertTrue(report["not_tried"])
        self.assertEqual(sorted(done + report["not_tried"]), sorted({key["name"] for key in self.ok_json("list")["keys"]}))
        self.assertIn(b"stopped on request", err)


if __name__ == "__main__":
    harness.main()
