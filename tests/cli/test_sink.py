"""Policy checkpoint_sink: every checkpoint leaves the host, and while it cannot, nothing is done."""

import json
import os
import socket
import threading
import time

import harness


class Sink(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        cls.env["SECRET_OF_THE_CALLER"] = "must-not-reach-it"
        cls.ok("gen", "root", "--role", "kek")

    def sink(self, value, *more, wait="10s"):
        """As a user changes it: policy.json, then policy accept."""
        path = self.home / "policy.json"
        lines = []
        for line in path.read_text().splitlines():
            for name, to in (("checkpoint_sink", value), ("checkpoint_sink_wait", wait)):
                if line.strip().startswith(f'"{name}":'):
                    line = f'  "{name}": {json.dumps(to)},'
            lines.append(line)
        path.write_text("\n".join(lines) + "\n")
        return self.kmtool("policy", "accept", *more)

    def program(self, name, text):
        path = self.dir / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o700)
        return path

    def keys(self):
        return [k["name"] for k in self.ok_json("list")["keys"]]

    def size(self):
        return self.ok_json("audit", "checkpoint")["size"]

    def tearDown(self):
        result = self.sink(None, "--force")  # most have switched off what listened
        self.assertEqual(result.code, 0, result)
        self.ok("audit", "verify")

    def test_file(self):
        out = self.dir / "checkpoints"
        self.assertEqual(self.sink(f"file:{out}").code, 0)
        self.ok("gen", "sent", "--role", "data")
        text = out.read_text()
        notes = text.split("\n\nkmtool/")
        self.assertEqual(len(notes), 4, text)  # what was there, policy accept, intent, outcome
        newest = self.ok("audit", "checkpoint").out
        self.assertTrue(text.endswith(newest + "\n"), text)
        first = self.dir / "first"
        first.write_text(notes[0] + "\n")
        self.ok("gen", "later", "--role", "data")
        self.assertEqual(self.ok_json("audit", "consistency", first)["consistent"], True)
        self.assertEqual(out.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.ok_json("policy", "show")["checkpoint_sink"], f"file:{out}")
        before = out.read_text()
        self.ok("gen", "rehearsed", "--role", "data", "--dry-run")
        self.ok("list")
        self.ok("audit", "verify")
        self.assertEqual(out.read_text(), before)

    def test_nothing_is_done_while_it_is_away(self):
        fifo = self.dir / "fifo"
        os.mkfifo(fifo, 0o600)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.assertEqual(self.sink(f"file:{fifo}").code, 0)
        self.ok("gen", "heard", "--role", "data")
        self.assertIn(b"kmtool/", os.read(reader, 65536))
        os.close(reader)
        before = self.snapshot(self.home)
        bundle = self.dir / "unheard.kmb"
        for words in (("gen", "unheard", "--role", "data"), ("rotate", "heard"), ("state", "heard", "destroy", "--reason", "x", "--yes"),
                      ("gen", "kept", "--role", "data", "--kek", "root", "--backup", bundle)):
            self.refused(74, *words, says=("nothing was done", "did not reach"))
        self.assertEqual(self.snapshot(self.home), before)
        self.assertFalse(bundle.exists())
        self.assertEqual(self.ok_json("doctor")["healthy"], True)

    def test_lost_after_the_act(self):
        """The intent's checkpoint arrives, the outcome's does not: the key is there and on record, and the exit code says that something is wrong."""
        path = self.dir / "socket"
        heard = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(str(path))
            self.assertEqual(self.sink(f"unix:{path}").code, 0)
            heard += [server.recv(65536), server.recv(65536)]

            def once():
                heard.append(server.recv(65536))
                server.close()

            listener = threading.Thread(target=once)
            listener.start()
            self.refused(74, "gen", "late", "--role", "data", says="it is done and recorded, but the checkpoint did not reach")
            listener.join(20)
        self.assertEqual(len(heard), 3)
        self.assertIn("late", self.keys())
        size = self.size()
        self.refused(74, "gen", "never", "--role", "data", says="nothing was done")
        self.assertNotIn("never", self.keys())
        self.assertEqual(self.size(), size)
        path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(str(path))
            self.ok("gen", "again", "--role", "data")
            sizes = [int(server.recv(65536).split(b"\n")[1]) for _ in range(3)]
        self.assertEqual(sizes, [size, size + 1, size + 2])  # the one that was owed comes first

    def test_api_key_of_a_moment(self):
        """A key is in force from its entry on: where that one's checkpoint is lost, whoever made it learns of the key, or has it."""
        path = self.dir / "moment"
        for name, out in (("shown", None), ("filed", self.dir / "filed.key")):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
                server.bind(str(path))
                self.assertEqual(self.sink(f"unix:{path}").code, 0)
            words = ("apikey", "create", "--app", name, "--ip", "192.0.2.0/24", *(("--out", out) if out else ()))
            result = self.refused(74, *words, says="the checkpoint did not reach" if out else ("is in force, but nobody was given it", "kmtool apikey rotate"))
            key = self.ok_json("apikey", "list")["keys"]
            self.assertEqual([k["app"] for k in key if k["state"] == "live" and k["app"] == name], [name], result)
            if out:
                self.assertEqual(self.kmtool("apikey", "check", "--key-stdin", "--ip", "192.0.2.7", stdin=out.read_bytes()).code, 0)
            path.unlink()

    def test_command(self):
        log, environment = self.dir / "command.log", self.dir / "command.env"
        # The shell itself adds PWD, and perhaps OLDPWD, SHLVL and _.
        program = self.program("collect", f'cat >> "$1"\nenv > {environment}\necho chatter\n')
        self.assertEqual(self.sink(f"exec:{program} {log} $HOME;x").code, 0)
        result = self.ok("gen", "told", "--role", "data", "--json")
        self.assertEqual(result.json()["keys"][0]["name"], "told")  # nothing of the program's on standard output
        newest = self.ok("audit", "checkpoint").out
        self.assertTrue(log.read_text().endswith(newest))
        variables = dict(line.split("=", 1) for line in environment.read_text().splitlines())
        self.assertEqual(variables["KMTOOL_SIZE"], str(self.size()))
        self.assertEqual(variables["KMTOOL_HOME"], str(self.home))
        self.assertEqual(variables["KMTOOL_ORIGIN"], newest.split("\n")[0])
        self.assertEqual(set(variables) - {"PWD", "OLDPWD", "SHLVL", "_"}, {"PATH", "HOME", "LANG", "KMTOOL_HOME", "KMTOOL_ORIGIN", "KMTOOL_SIZE"})

    def test_command_hears_of_what_a_mere_look_met(self):
        """audit keys changes nothing, and its refusal is an entry under a checkpoint like any other."""
        log, path = self.dir / "looks.log", self.home / "policy.json"
        text = path.read_text()
        path.write_text(text.replace('"forbidden_waivers": []', '"forbidden_waivers": ["G-KEK"]'))
        self.addCleanup(lambda: (path.write_text(text), self.ok("policy", "accept")))
        self.assertEqual(self.sink(f"exec:{self.program('hears', f'cat >> {log}')}").code, 0)
        self.refused(77, "audit", "keys", "--waive", "G-KEK=why not", says="policy forbids")
        self.assertEqual(self.entries(self.home)[-1]["phase"], "refusal")
        self.assertTrue(log.read_text().endswith(self.ok("audit", "checkpoint").out))
        self.assertEqual(self.kmtool("monitor").code, 0)

    def test_command_fails(self):
        switch = self.dir / "switch"
        program = self.program("fails", f"cat > /dev/null\ntest -e {switch} && exit 3\nexit 0\n")
        self.assertEqual(self.sink(f"exec:{program}").code, 0)
        switch.write_text("")
        before = self.snapshot(self.home)
        self.refused(74, "gen", "unheard", "--role", "data", says=("nothing was done", "ended with exit code 3"))
        self.assertEqual(self.snapshot(self.home), before)
        switch.unlink()
        self.ok("gen", "heard-again", "--role", "data")

    def test_command_hangs(self):
        program = self.program("hangs", f"cat > /dev/null\ntest -e {self.dir}/hang && sleep 600\nexit 0\n")
        self.assertEqual(self.sink(f"exec:{program}", wait="1s").code, 0)
        (self.dir / "hang").write_text("")
        before = self.snapshot(self.home)
        begun = time.monotonic()
        self.refused(74, "gen", "unheard", "--role", "data", says=("nothing was done", "did not end within 1s"))
        self.assertLess(time.monotonic() - begun, 20)
        self.assertEqual(self.snapshot(self.home), before)
        (self.dir / "hang").unlink()

    def acceptances(self):
        return [e for e in self.entries(self.home) if e["command"] == "policy accept"]

    def test_the_old_sink_is_told(self):
        """Whoever switches the sink off, or to another place, is seen doing so there."""
        old, new = self.dir / "old-sink", self.dir / "new-sink"
        self.assertEqual(self.sink(f"file:{old}").code, 0)
        self.assertEqual(self.sink(f"file:{new}").code, 0)
        accepted = self.acceptances()[-1]
        self.assertEqual((accepted["phase"], accepted["details"]["changed"]), ("outcome", [{"field": "checkpoint_sink", "old": f"file:{old}", "new": f"file:{new}"}]))
        newest = self.ok("audit", "checkpoint").out
        for out in (old, new):
            self.assertTrue(out.read_text().endswith(newest + "\n"), out)
        told = old.read_text()
        self.ok("gen", "after-it", "--role", "data")
        self.assertEqual(old.read_text(), told)
        self.assertTrue(new.read_text().endswith(self.ok("audit", "checkpoint").out + "\n"))
        result = self.sink(None)
        self.assertEqual((result.code, result.err), (0, ""), result)
        self.assertTrue(new.read_text().endswith(self.ok("audit", "checkpoint").out + "\n"))
        self.assertIsNone(self.ok_json("policy", "show")["checkpoint_sink"])

    def test_the_old_sink_is_a_program(self):
        log = self.dir / "told.log"
        program = self.program("told", f"cat >> {log}\n")
        self.assertEqual(self.sink(f"exec:{program}").code, 0)
        self.assertEqual(self.sink(None).code, 0)
        self.assertTrue(log.read_text().endswith(self.ok("audit", "checkpoint").out))

    def test_the_old_sink_is_gone(self):
        path, new = self.dir / "gone", self.dir / "instead"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(str(path))
            self.assertEqual(self.sink(f"unix:{path}").code, 0)
        before = len(self.acceptances())
        for value in (None, f"file:{new}"):
            result = self.sink(value)
            self.assertEqual(result.code, 74, result)
            self.assertIn("nothing was done: the checkpoint did not reach its sink", result.err)
            self.assertIn("kmtool policy accept --force", result.err)
            self.assertFalse(self.ok_json("policy", "show")["accepted"])
        self.assertFalse([e for e in self.acceptances()[before:] if e.get("result") == "done"])
        result = self.sink(f"file:{new}", "--force", "--json")
        self.assertEqual(result.code, 0, result)
        self.assertIn("was not told", result.err)
        self.assertIn(str(path), result.json()["untold"])
        self.assertIsNone(self.ok_json("policy", "accept")["untold"])
        self.assertIn(str(path), self.acceptances()[-1]["details"]["untold"])
        self.assertIn("was not told", self.ok("audit", "log", "--command", "policy accept", "--last", "1").out)
        self.assertTrue(new.read_text().endswith(self.ok("audit", "checkpoint").out + "\n"))
        self.ok("gen", "goes-on", "--role", "data")

    def test_a_policy_that_nobody_accepted_switches_none_off(self):
        old, mark = self.dir / "still", self.dir / "started"
        self.assertEqual(self.sink(f"file:{old}").code, 0)
        path = self.home / "policy.json"
        program = self.program("unaccepted", f"touch {mark}\n")
        path.write_text(path.read_text().replace(f'"file:{old}"', f'"exec:{program}"'))
        self.refused(78, "gen", "x", "--role", "data", says="has changed since it was accepted")
        size = self.size()
        self.assertEqual(self.kmtool("doctor", "--accept-rollback", "--reason", "only to make an entry").code, 1)  # the policy is still not accepted
        self.assertGreater(self.size(), size)
        self.assertTrue(old.read_text().endswith(self.ok("audit", "checkpoint").out + "\n"))
        self.assertFalse(mark.exists())

    def test_malformed(self):
        for value in ("mail:root", "file:relative", "exec:relative", "", 7):
            result = self.sink(value)
            self.assertEqual(result.code, 78, result)
            self.assertIn("checkpoint_sink", result.err)
        for wait in ("1h", "0", "soon"):
            result = self.sink(None, wait=wait)
            self.assertEqual(result.code, 78, result)
            self.assertIn("checkpoint_sink_wait", result.err)
        self.refused_program(66, "exec:/nonexistent")
        open_to_all = self.program("open", "exit 0\n")
        open_to_all.chmod(0o777)
        self.refused_program(78, f"exec:{open_to_all}")

    def refused_program(self, code, value):
        result = self.sink(value)
        self.assertEqual((result.code, result.out), (code, ""), result)


if __name__ == "__main__":
    harness.main()
