"""Rotation: new versions, KEKs and their bundles, hooks."""

import json
import os
import signal
import subprocess
import time

import harness


class Plain(harness.Rotation):
    def test_new_version_and_old_ciphertext(self):
        made = self.ok_json("gen", "payments", "--role", "data")["keys"][0]
        text = b"x" * 33
        before = self.look(self.home, "encrypt", "payments@1", text.hex())
        report = self.ok_json("rotate", "payments")
        self.assertEqual(report["rotated"], [{"name": "payments", "from": 1, "to": 2}])
        self.assertEqual((report["failed"], report["rewrapped"]), ([], []))
        uri = self.ok("show", "payments", "--uri").out.strip()
        self.assertIn("object=payments%402", uri)
        old = self.key("payments@1")
        self.assertEqual((old["state"], old["id"]), ("deactivated", made["id"]))
        self.assertEqual(self.states("payments"), {1: "deactivated", 2: "active"})
        # What version 1 protected it still opens: the object is as it was.
        self.assertEqual(self.look(self.home, "encrypt", "payments@1", text.hex()), before)
        self.assertNotEqual(self.look(self.home, "encrypt", "payments@2", text.hex()), before)
        self.assertIn("succeeds payments@1", json.dumps(self.entries(self.home)))

    def test_roles_keep_type_and_attributes(self):
        for role, kind in (("sign", "ec-p384"), ("mac", "hmac-sha384"), ("transport", "rsa-3072")):
            with self.subTest(role=role):
                name = f"{role}-{kind}"
                self.ok("gen", name, "--role", role, "--type", kind, "--cryptoperiod", "90d", "--owner", "me")
                self.ok("rotate", name)
                new, old = self.key(f"{name}@2"), self.key(f"{name}@1")
                for field in ("role", "type", "extractable"):
                    self.assertEqual(new[field], old[field])
                self.assertNotEqual(new["id"], old["id"])

    def test_dry_run_is_the_plan(self):
        self.ok("gen", "planned", "--role", "data")
        before = self.snapshot(self.home)
        planned = self.ok("rotate", "planned", "--dry-run")
        self.assertEqual(self.snapshot(self.home), before)
        self.assertEqual(self.ok("rotate", "planned").out, planned.out)
        self.assertIn("planned@1 -> planned@2", planned.out)

    def test_refusals(self):
        self.refused(64, "rotate")
        self.refused(64, "rotate", "root", "--all")
        self.refused(64, "rotate", "root@1", says="not a version")
        self.refused(64, "rotate", "root", "--within", "7d", says="--due")
        self.refused(66, "rotate", "nothing")
        self.refused(66, "rotate", "root", "--hook", "/no/such/program")
        self.refused(64, "rotate", "root", "--hook", "relative/program")

    def test_backed_up_at_birth(self):
        self.ok("gen", "born", "--role", "data", "--backup", self.dir / "born.kmb", "--kek", "root")
        report = self.kmtool("rotate", "born", "--json")
        self.assertEqual(report.code, 1, report)
        self.assertIn("--backup", report.json()["failed"][0]["hint"])
        self.assertEqual(self.states("born"), {1: "active"})
        out = self.dir / "born2.kmb"
        self.ok("rotate", "born", "--backup", out)
        self.assertEqual(self.ok_json("verify", out)["records"], 1)
        self.ok("unwrap", out, "--check")
        self.assertFalse(self.key("born@2")["extractable"])

    def test_overlap(self):
        self.ok("gen", "lapping", "--role", "data")
        self.ok("rotate", "lapping", "--overlap", "1s")
        self.assertEqual(self.states("lapping"), {1: "active", 2: "active"})
        self.assertIn("%402", self.ok("show", "lapping", "--uri").out)
        time.sleep(2)
        self.assertEqual(self.ok_json("rotate", "--due")["deactivated"], ["lapping@1"])
        self.assertEqual(self.states("lapping"), {1: "deactivated", 2: "active"})

    def test_due_activation(self):
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        self.ok("gen", "later", "--role", "data", "--activate-at", soon)
        self.assertEqual(self.states("later"), {1: "pre-activation"})
        time.sleep(3)
        self.assertEqual(self.ok_json("rotate", "--due")["activated"], ["later@1"])
        self.assertEqual(self.states("later"), {1: "active"})


class Keks(harness.Rotation):
    def wrapped(self, out, *names, keks=("root",)):
        self.ok("wrap", *names, *[word for kek in keks for word in ("--kek", kek)], "--out", out, "--force")

    def test_bundles_follow(self):
        self.ok("gen", "many", "--role", "data", "--exportable", "--count", "100")
        self.ok("gen", "tag", "--role", "mac", "--exportable")
        self.ok("gen", "pair", "--role", "sign", "--exportable", "--waive", "G-SEALED=a test")
        self.ok("gen", "carrier", "--role", "transport", "--exportable")
        files = [self.dir / f"follow-{n}.kmb" for n in range(6)]
        for n in range(5):
            self.wrapped(files[n], *[f"many-{n * 20 + i + 1:04}" for i in range(20)])
        self.wrapped(files[5], "tag", "pair", "carrier")
        old = [path.read_bytes() for path in files]
        report = self.ok_json("rotate", "root", "--rewrap-all", "--sessions", "4")
        version = report["rotated"][0]["from"]
        self.assertEqual(sorted(one["file"] for one in report["rewrapped"]), sorted(map(str, files)))
        self.assertEqual(report["left"], [])
        self.assertEqual(self.ok_json("bundles", "--depends-on", f"root@{version}")["bundles"], [])
        for path, before in zip(files, old):
            self.assertNotEqual(path.read_bytes(), before)
            self.assertEqual(self.ok_json("verify", path)["seals"], ["ok"])
            self.assertIn("compared with the token", self.ok("unwrap", path, "--check").out)
        self.ok("unwrap", files[5], "pair", "--as", "pair-again", "--sessions", "4")
        self.assertIs(self.ok_json("doctor")["healthy"], True)
        self.refused(77, "wrap", "tag", "--kek", f"root@{version}", "--out", self.dir / "never.kmb", says="only unwraps")

    def test_two_recipients(self):
        for name in ("first", "second"):
            self.ok("gen", name, "--role", "kek")
        self.ok("gen", "shared", "--role", "data", "--exportable")
        out = self.dir / "shared.kmb"
        self.wrapped(out, "shared", keks=("first", "second"))
        self.ok("rotate", "first", "--rewrap-all")
        header = json.loads(out.read_text().splitlines()[0])
        self.assertEqual([r["kek"] for r in header["recipients"]], ["first@2", "second@1"])
        self.assertEqual(self.ok_json("verify", out)["seals"], ["ok", "ok"])

    def test_a_recipient_that_is_not_here(self):
        for name in ("here", "gone"):
            self.ok("gen", name, "--role", "kek")
        self.ok("gen", "halved", "--role", "data", "--exportable")
        out = self.dir / "halved.kmb"
        self.wrapped(out, "halved", keks=("here", "gone"))
        self.ok("state", "gone", "destroy", "--reason", "a test", "--yes")
        before = out.read_bytes()
        report = self.ok_json("rotate", "here", "--rewrap-all")
        self.assertEqual([left["file"] for left in report["left"]], [str(out)])
        self.assertIn("gone@1", report["left"][0]["why"])
        self.assertEqual(out.read_bytes(), before)
        # The key itself is not left behind: it is under the new version, in the home.
        self.assertEqual(len(report["rewrapped"]), 1)
        self.assertEqual(self.ok_json("verify", report["rewrapped"][0]["file"])["seals"], ["ok"])

    def test_missing_and_damaged(self):
        self.ok("gen", "shaky", "--role", "kek")
        self.ok("gen", "cargo", "--role", "data", "--exportable", "--count", "3")
        files = [self.dir / f"shaky-{n}.kmb" for n in (1, 2, 3)]
        for n, path in enumerate(files, 1):
            self.wrapped(path, f"cargo-{n:04}", keks=("shaky",))
        files[0].rename(self.dir / "moved.kmb")
        good = files[1].read_bytes()
        files[1].write_bytes(good.replace(b'"aes-256"', b'"aes-192"', 1))
        result = self.kmtool("rotate", "shaky", "--rewrap-all", "--json")
        self.assertEqual(result.code, 1, result)
        report = result.json()
        self.assertEqual([failed["name"] for failed in report["failed"]], [str(files[1])])
        self.assertIn(str(files[0]), [left["file"] for left in report["left"]])
        self.assertIn(str(files[2]), [one["file"] for one in report["rewrapped"]])
        self.assertNotEqual(files[1].read_bytes(), good)  # not touched
        files[1].write_bytes(good)
        (self.dir / "moved.kmb").rename(files[0])
        report = self.ok_json("rotate", "--due")
        self.assertEqual(report["rotated"], [])
        self.assertLessEqual({str(files[0]), str(files[1])}, {one["file"] for one in report["rewrapped"]})
        self.assertEqual(self.states("shaky"), {1: "deactivated", 2: "active"})
        self.assertEqual(self.ok_json("bundles", "--depends-on", "shaky@1")["bundles"], [])

    def test_named_files(self):
        self.ok("gen", "picky", "--role", "kek")
        self.ok("gen", "picked", "--role", "data", "--exportable")
        one, two = self.dir / "picked.kmb", self.dir / "left.kmb"
        self.wrapped(one, "picked", keks=("picky",))
        self.wrapped(two, "picked", keks=("picky",))
        self.refused(66, "rotate", "picky", "--rewrap", self.dir / "mistyped.kmb")
        self.refused(65, "rotate", "picky", "--rewrap", "/etc/passwd", says=("is no bundle", "nothing was rotated"))
        self.assertEqual(self.states("picky"), {1: "active"})
        link = self.dir / "link.kmb"
        link.symlink_to(one)
        planned = self.ok_json("rotate", "picky", "--rewrap", link, "--dry-run")
        report = self.ok_json("rotate", "picky", "--rewrap", link)
        self.assertEqual(report["rewrapped"], planned["rewrapped"])
        self.assertEqual([done["file"] for done in report["rewrapped"]], [str(one)])
        self.assertEqual([left["file"] for left in report["left"]], [str(two)])

    def test_disk_full(self):
        """Two bundles on a disk with room for a second copy of the small one only."""
        disk = self.dir / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "none", disk], stderr=subprocess.PIPE, check=False)
        if mounted.returncode != 0:
            self.skipTest("may not mount a tmpfs: " + mounted.stderr.decode().strip())
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=False)
        self.ok("gen", "tight", "--role", "kek")
        self.ok("gen", "load", "--role", "data", "--exportable", "--count", "60")
        names = [f"load-{n:04}" for n in range(1, 61)]
        files = [disk / "1-small.kmb", disk / "2-large.kmb"]
        self.wrapped(files[0], *names[:4], keks=("tight",))
        self.wrapped(files[1], *names[4:], keks=("tight",))
        before = [path.read_bytes() for path in files]
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "filler").write_bytes(b"x" * (free - 12288))
        self.refused(74, "rotate", "tight", "--rewrap-all", says=("space", "rotate --due goes on with the bundles of tight"))
        self.assertNotEqual(files[0].read_bytes(), before[0])
        self.assertEqual(files[1].read_bytes(), before[1])
        for path in files:
            self.assertEqual(self.ok_json("verify", path)["seals"], ["ok"])
        (disk / "filler").unlink()
        self.ok("rotate", "tight", "--rewrap-all")
        self.assertEqual(self.states("tight"), {1: "deactivated", 2: "active"})
        self.assertEqual(self.ok_json("bundles", "--depends-on", "tight@1")["bundles"], [])
        for path in files:
            self.ok("unwrap", path, "--check")
        self.assertEqual(sorted(path.name for path in disk.iterdir()), ["1-small.kmb", "2-large.kmb"])

    def test_sessions_give_the_same(self):
        self.ok("gen", "par", "--role", "data", "--exportable", "--count", "40")
        one, many = self.dir / "one.kmb", self.dir / "par.kmb"
        names = [f"par-{n:04}" for n in range(1, 41)]
        self.wrapped(one, *names)
        self.ok("wrap", *names, "--kek", "root", "--out", many, "--sessions", "8")
        keys = [[json.loads(line)["key"]["name"] for line in path.read_text().splitlines()[1:-2]] for path in (one, many)]
        self.assertEqual(keys[0], keys[1])
        self.assertIn("40 compared", self.ok("unwrap", many, "--check").out)
        self.refused(64, "wrap", "par-0001", "--kek", "root", "--out", self.dir / "x.kmb", "--sessions", "0")


class Inventory(harness.Rotation):
    def test_verify_all(self):
        self.ok("gen", "listed", "--role", "data", "--exportable")
        files = [self.dir / f"inventory-{n}.kmb" for n in range(3)]
        for path in files:
            self.ok("wrap", "listed", "--kek", "root", "--out", path)
        listed = self.ok_json("bundles")["bundles"]
        self.assertEqual([(b["path"], b["kek"], b["records"], b["verified"]) for b in listed], [(str(p), "root@1", 1, None) for p in files])
        self.assertEqual(self.kmtool("bundles", "--verify-all").code, 0)
        self.assertTrue(all(b["verified"] for b in self.ok_json("bundles")["bundles"]))
        files[1].unlink()
        files[2].write_bytes(files[2].read_bytes()[:-20])
        result = self.kmtool("bundles", "--verify-all", "--json")
        self.assertEqual(result.code, 1, result)
        self.assertEqual([b["verdict"] for b in result.json()["bundles"]], ["ok", "missing", "bad"])
        self.assertIn("bundles --verify-all", json.dumps(self.entries(self.home)[-2:]))
        whole = files[2].read_bytes()
        files[2].unlink()
        os.mkfifo(files[2])
        result = self.kmtool("bundles", "--verify-all", "--json", timeout=60)
        self.assertEqual([b["verdict"] for b in result.json()["bundles"]], ["ok", "missing", "bad"])
        files[2].unlink()
        files[2].write_bytes(whole)
        self.refused(66, "bundles", "--confirm-restored", self.dir / "unknown.kmb")
        self.ok("bundles", "--confirm-restored", files[0])
        self.assertTrue(self.ok_json("bundles")["bundles"][0]["restored"])
        # A file that is overwritten is one bundle, not two.
        self.ok("wrap", "listed", "--kek", "root", "--out", files[0], "--force")
        self.assertEqual([b["path"] for b in self.ok_json("bundles")["bundles"]].count(str(files[0])), 1)


class Hooks(harness.Rotation):
    def hook(self, name, text):
        path = self.dir / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o700)
        return path

    def test_environment(self):
        out = self.dir / "hook.out"
        hook = self.hook("ok.sh", f'{{ env; for a in "$@"; do echo "arg=$a"; done; }} > {out}\necho to stdout\n')
        self.ok("gen", "hooked", "--role", "data")
        result = self.ok("rotate", "hooked", "--json", "--hook", f"{hook} a $(id) ;b", env={"SECRET_OF_CALLER": "s3cr3t", "LD_AUDIT": ""})
        self.assertEqual(result.json()["hooks"], [{"key": "hooked@2", "status": 0}])
        seen = out.read_text().splitlines()
        for line in ("KMTOOL_KEY=hooked", "KMTOOL_FROM=hooked@1", "KMTOOL_TO=hooked@2", "arg=a", "arg=$(id)", "arg=;b"):
            self.assertIn(line, seen)
        self.assertTrue(any(line.startswith("KMTOOL_URI=pkcs11:") for line in seen))
        self.assertFalse([line for line in seen if "s3cr3t" in line or line.startswith("KMTOOL_PIN")])
        self.assertIn("to stdout", result.err)

    def test_a_pin_that_is_given_once(self):
        """The home is opened again for what the hook did."""
        flag = self.dir / "once"
        hook = self.hook("once.sh", f"echo x >> {flag}\n")
        self.ok("gen", "once", "--role", "mac")
        reading, writing = os.pipe()
        os.write(writing, harness.PIN.encode() + b"\n")
        os.close(writing)
        ways = (({"A_PIN": harness.PIN}, "env:A_PIN", ()), ({}, f"fd:{reading}", (reading,)))
        for env, source, descriptors in ways:
            flag.unlink(missing_ok=True)
            done = self.ok("rotate", "once", "--hook", hook, "--json", "--pin-source", source, env=env, pass_fds=descriptors)
            self.assertEqual([each["status"] for each in done.json()["hooks"]], [0])
            self.ok("rotate", "--due")  # nothing is owed
            self.assertEqual(flag.read_text(), "x\n")
        os.close(reading)

    def test_failing_hook_is_retried(self):
        flag = self.dir / "flag"
        hook = self.hook("fails.sh", f"test -e {flag}\n")
        self.ok("gen", "stubborn", "--role", "data")
        result = self.kmtool("rotate", "stubborn", "--hook", hook)
        self.assertEqual(result.code, 1, result)
        self.assertEqual(self.states("stubborn"), {1: "deactivated", 2: "active"})
        self.assertEqual(self.kmtool("rotate", "--due").code, 1)
        flag.touch()
        self.ok("rotate", "--due")
        self.assertEqual(self.ok("rotate", "--due").out, "")
        self.assertIn("hook failed", json.dumps(self.entries(self.home)))

    def test_a_newer_rotation_takes_a_failed_hook_over(self):
        """A hook that cannot succeed any more must not be owed for ever, nor run with the facts of an older version."""
        seen = self.dir / "seen"
        bad, good = self.hook("bad.sh", f'echo "bad $KMTOOL_FROM $KMTOOL_TO" >> {seen}; exit 3\n'), self.hook("good.sh", f'echo "good $KMTOOL_FROM $KMTOOL_TO" >> {seen}\n')
        self.ok("gen", "moving", "--role", "data")
        self.assertEqual(self.kmtool("rotate", "moving", "--hook", bad).code, 1)
        # Without a hook of its own the rotation takes the command over, with the newest version.
        result = self.kmtool("rotate", "moving", "--json")
        self.assertEqual((result.code, result.json()["hooks"]), (1, [{"key": "moving@3", "status": 3}]), result)
        self.assertEqual(self.kmtool("rotate", "--due", "--json").json()["hooks"], [{"key": "moving@3", "status": 3}])
        # With one it ends the old.
        result = self.ok_json("rotate", "moving", "--hook", good)
        self.assertEqual(result["hooks"], [{"key": "moving@4", "status": 0}])
        self.assertEqual(self.ok("rotate", "--due").out, "")
        self.assertEqual(seen.read_text().splitlines(), ["bad moving@1 moving@2", "bad moving@1 moving@3", "bad moving@1 moving@3", "good moving@1 moving@4"])
        self.ok("doctor")

    def test_a_hook_that_rotates(self):
        """It takes its own hook over for the next version, but is not started again inside itself without end."""
        self.ok("gen", "circle", "--role", "data")
        keep = " ".join(f"{name}={self.env[name]}" for name in ("SOFTHSM2_CONF", "KMFORWARD_MODULE", "KMTOOL_PIN_SOURCE"))
        hook = self.hook("circle.sh", f'[ "$KMTOOL_TO" = circle@2 ] || exit 0\nexport {keep}\nexec {harness.BINARY} rotate circle\n')
        result = self.ok("rotate", "circle", "--hook", hook, timeout=60)
        self.assertIn("in a hook no other is started", result.err)
        self.assertEqual(self.states("circle"), {1: "deactivated", 2: "deactivated", 3: "active"})
        self.assertEqual(self.ok_json("rotate", "--due")["hooks"], [{"key": "circle@3", "status": 0}])
        self.assertEqual(self.ok("rotate", "--due").out, "")

    def slow(self, name):
        """A hook that says that it began, and runs until it is let go."""
        begun, go = self.dir / f"{name}.begun", self.dir / f"{name}.go"
        hook = self.hook(f"{name}.sh", f"echo x >> {begun}\nuntil test -e {go}; do sleep 0.05; done\n")
        self.ok("gen", name, "--role", "data")
        self.addCleanup(go.touch)
        words = [harness.BINARY, "rotate", name, "--hook", str(hook), "--json"]
        with open(self.dir / f"{name}.err", "wb") as err:  # the hook has it too
            running = subprocess.Popen(words, env=self.env, stdout=subprocess.PIPE, stderr=err, start_new_session=True)
        until = time.monotonic() + 30
        while not begun.exists():
            self.assertLess(time.monotonic(), until)
            time.sleep(0.02)
        return running, begun, go

    def test_one_that_runs_is_not_started_again(self):
        running, begun, go = self.slow("busy")
        result = self.ok("rotate", "--due", "--json", timeout=30)
        self.assertEqual(result.json()["hooks"], [{"key": "busy@2", "status": None}])
        self.assertIn("the hook for busy@2 is running (started by another kmtool)", result.err)
        go.touch()
        out = running.communicate(timeout=60)[0]
        self.assertEqual((running.returncode, json.loads(out)["hooks"]), (0, [{"key": "busy@2", "status": 0}]))
        self.assertEqual(self.ok("rotate", "--due").out, "")
        self.assertEqual(begun.read_text(), "x\n")

    def test_one_that_is_left_running(self):
        """The signal ends what waits for the hook, not the hook."""
        running, begun, go = self.slow("left")
        os.killpg(running.pid, signal.SIGTERM)
        out, err = running.communicate(timeout=60)[0], (self.dir / "left.err").read_text()
        self.assertEqual((running.returncode, json.loads(out)["hooks"]), (1, [{"key": "left@2", "status": None}]), err)
        self.assertIn("the hook for left@2 was left running", err)
        go.touch()
        self.ok("rotate", "--due")
        self.assertEqual(begun.read_text(), "x\nx\n")

    def test_one_whose_program_is_gone(self):
        bad, good = self.hook("gone.sh", "exit 3\n"), self.hook("instead.sh", "exit 0\n")
        self.ok("gen", "orphan", "--role", "data")
        self.assertEqual(self.kmtool("rotate", "orphan", "--hook", bad).code, 1)
        self.assertEqual(self.kmtool("rotate", "--due", "--hook", good, "--json").json()["hooks"], [{"key": "orphan@2", "status": 3}])  # it can be started
        bad.unlink()
        result = self.kmtool("rotate", "--due")
        self.assertEqual(result.code, 1, result)
        self.assertIn("with --hook COMMAND another takes its place", result.err)
        result = self.ok("rotate", "--due", "--hook", good, "--json")
        self.assertEqual(result.json()["hooks"], [{"key": "orphan@2", "status": 0}])
        self.assertIn("instead.sh takes its place", result.err)
        self.assertEqual(self.ok("rotate", "--due").out, "")

    def test_writable_by_others(self):
        hook = self.hook("open.sh", "exit 0\n")
        hook.chmod(0o777)
        self.refused(78, "rotate", "root", "--hook", hook)


if __name__ == "__main__":
    harness.main()
