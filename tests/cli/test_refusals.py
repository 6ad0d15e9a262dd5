"""What goes wrong is said with its documented exit code and a hint, and changes nothing (acceptance 7)."""

import os
import shutil
import subprocess
import unittest

import harness


class Refusals(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token(own_module=True)
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "payments", "--role", "data", "--exportable")
        cls.bundle = cls.dir / "p.kmb"
        cls.ok("wrap", "payments", "--kek", "root", "--out", cls.bundle)

    @classmethod
    def token_access(cls, home):
        access = super().token_access(home)
        return (harness.SOFTHSM, *access[1:])

    def setUp(self):
        self.before = self.snapshot(self.home)

    def hinted(self, *args, **more):
        result = self.refused(*args, **more)
        self.assertIn("\nhint: ", "\n" + result.err, f"no hint: {result}")
        self.assertEqual(self.snapshot(self.home), self.before)
        return result

    def test_duplicate_name(self):
        self.hinted(73, "gen", "payments", "--role", "data", says="payments")
        self.hinted(73, "unwrap", self.bundle, says="payments")
        self.hinted(73, "gen", "payments", "--role", "mac", "--force", says="payments")

    def test_duplicate_on_the_token(self):
        """Somebody else's object with the same label: never guessed at, never overwritten."""
        made = self.pkcs11_tool(self.home, "--keygen", "--key-type", "AES:32", "--label", "foreign@1", "--id", "0815")
        self.assertEqual(made.code, 0, made)
        self.before = self.snapshot(self.home)
        result = self.kmtool("gen", "foreign", "--role", "data")
        if result.code == 0:  # ours has its own id: both must stand, and ours must work
            labels = [o["id"] for o in self.objects(self.home) if o["label"] == "foreign@1"]
            self.assertEqual(len(labels), 2)
            self.assertIn("0815", labels)
            self.ok("gen", "foreign-user", "--role", "data", "--exportable")
        else:
            self.assertEqual(self.snapshot(self.home), self.before)

    def test_unknown_key(self):
        self.hinted(66, "wrap", "paymets", "--kek", "root", "--out", self.dir / "n.kmb", says="paymets")
        self.hinted(66, "wrap", "payments", "--kek", "rot", "--out", self.dir / "n.kmb", says="rot")
        self.hinted(66, "wrap", "payments@9", "--kek", "root", "--out", self.dir / "n.kmb", says="version 9")
        self.hinted(66, "show", "paymets", says="payments")
        self.hinted(66, "unwrap", self.bundle, "other", says="other")

    def test_wrong_pin(self):
        wrong = self.dir / "wrong-pin"
        wrong.write_text("not-the-pin\n")
        wrong.chmod(0o600)
        entries = len(self.entries(self.home))
        result = self.hinted(77, "gen", "x", "--role", "data", "--pin-source", f"file:{wrong}", says="pin")
        self.assertNotIn("not-the-pin", result.err)
        later = self.entries(self.home)[entries:]
        self.assertEqual([(e["authenticated"], e["phase"]) for e in later], [(False, "refusal")])
        wrong.touch()  # else it would not be tried again
        error = self.kmtool("gen", "x", "--role", "data", "--pin-source", f"file:{wrong}", "--json").error()
        self.assertEqual(error["code"], "CKR_PIN_INCORRECT")
        self.ok("gen", "after-wrong-pin", "--role", "data")
        self.before = self.snapshot(self.home)

    def test_empty_and_missing_pin(self):
        empty = self.dir / "empty-pin"
        empty.write_text("\n")
        empty.chmod(0o600)
        self.hinted(77, "gen", "x", "--role", "data", "--pin-source", f"file:{empty}")
        self.refused(66, "gen", "x", "--role", "data", "--pin-source", f"file:{self.dir}/no-such-pin")
        self.refused(77, "gen", "x", "--role", "data", "--pin-source", "prompt", "--no-input")
        self.refused(64, "gen", "x", "--role", "data", "--pin-source", "carrier-pigeon")
        self.assertEqual(self.snapshot(self.home), self.before)

    def test_pin_file_that_others_read(self):
        loose = self.dir / "loose-pin"
        loose.write_text(harness.PIN)
        loose.chmod(0o644)
        self.hinted(78, "gen", "x", "--role", "data", "--pin-source", f"file:{loose}", says="chmod")
        for odd in ("/dev/null", self.dir):  # what is no file is not made one by a chmod
            result = self.hinted(78, "gen", "x", "--role", "data", "--pin-source", f"file:{odd}", says="is not a regular file")
            self.assertNotIn("chmod", result.err)

    def test_pin_sources(self):
        for number, (source, more) in enumerate({
            "env:THE_PIN": {"env": {"THE_PIN": harness.PIN}},
            f"exec:cat {self.token.pin_file}": {},
            "fd:0": {"stdin": harness.PIN + "\n"},
            f"file:{self.token.pin_file}": {},
        }.items()):
            with self.subTest(source=source):
                self.ok("gen", f"by-source-{number}", "--role", "data", "--pin-source", source, **more)

    def test_missing_module(self):
        hidden = self.dir / "hidden.so"
        self.module.rename(hidden)
        try:
            result = self.refused(69, "gen", "x", "--role", "data", says=str(self.module))
            self.assertIn("hint: ", result.err)
            self.ok("list")
            self.ok("show", "payments")
        finally:
            hidden.rename(self.module)
        self.assertEqual(self.snapshot(self.home), self.before)

    def test_module_that_others_can_write(self):
        self.module.chmod(0o777)
        try:
            self.refused(78, "gen", "x", "--role", "data", says="chmod")
        finally:
            self.module.chmod(0o755)
        self.assertEqual(self.snapshot(self.home), self.before)

    def test_not_a_module(self):
        for name in ("/usr/lib/os-release", "/etc/hostname", harness.KILLFS):
            with self.subTest(name=name):
                self.refused(69, "init", "--module", name, "--token-label", "x", "--home", self.dir / "none")
        self.assertFalse((self.dir / "none" / "config.json").exists())

    def test_missing_token(self):
        other = harness.SoftToken(self.dir / "other-hsm", label="other")
        self.hinted_elsewhere(69, "gen", "x", "--role", "data", env={"SOFTHSM2_CONF": str(other.conf)}, says=harness.TOKEN_LABEL)

    def hinted_elsewhere(self, *args, **more):
        result = self.refused(*args, **more)
        self.assertIn("hint: ", result.err, result)
        self.assertEqual(self.snapshot(self.home), self.before)

    def test_existing_output(self):
        content = self.bundle.read_bytes()
        self.hinted(73, "wrap", "payments", "--kek", "root", "--out", self.bundle, says="exists")
        self.hinted(73, "gen", "born", "--role", "data", "--backup", self.bundle, "--kek", "root", says="exists")
        self.assertEqual(self.bundle.read_bytes(), content)
        copy = self.dir / "forced.kmb"
        copy.write_bytes(content)
        self.ok("wrap", "payments", "--kek", "root", "--out", copy, "--force")
        self.assertNotEqual(copy.read_bytes(), content)

    def test_output_that_cannot_be(self):
        self.refused(73, "wrap", "payments", "--kek", "root", "--out", self.dir / "no" / "such" / "p.kmb")
        self.refused(73, "wrap", "payments", "--kek", "root", "--out", self.dir)
        self.refused(73, "wrap", "payments", "--kek", "root", "--out", self.bundle / "p.kmb")
        self.refused(73, "wrap", "payments", "--kek", "root", "--out", self.dir, "--force")
        self.refused(73, "wrap", "payments", "--kek", "root", "--out", "/dev/null", "--force")
        self.assertEqual(self.snapshot(self.home), self.before)

    def test_missing_bundle(self):
        for command in (("verify",), ("inspect",), ("unwrap",)):
            self.refused(66, *command, self.dir / "none.kmb", says="none.kmb")

    def test_no_home(self):
        nowhere = {"KMTOOL_HOME": str(self.dir / "nowhere")}
        for words in (("list",), ("gen", "x", "--role", "data"), ("show", "x"), ("doctor",), ("token",)):
            self.refused(66, *words, env=nowhere, says="init")
        self.assertFalse((self.dir / "nowhere").exists())

    def test_second_init(self):
        self.refused(73, "init", "--embedded", says=str(self.home))
        self.refused(77, "init", "--module", self.module, "--token-label", self.token.label, "--home", self.dir / "second", says="join")
        self.assertFalse((self.dir / "second" / "config.json").exists())
        self.assertEqual(self.snapshot(self.home), self.before)

    def test_damaged_home(self):
        copy = self.dir / "damaged"
        for name, content, code in (("config.json", b"{", 78), ("config.json", b'{"kmtool_home":2}', 78), ("journal.db", b"not a database at all" * 50, 65)):
            with self.subTest(name=name, content=content[:10]):
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(self.home, copy)
                for suffix in ("-wal", "-shm"):
                    if name == "journal.db":
                        (copy / (name + suffix)).unlink(missing_ok=True)
                (copy / name).write_bytes(content)
                self.refused(code, "gen", "x", "--role", "data", env={"KMTOOL_HOME": str(copy)})
        self.assertEqual(self.snapshot(self.home), self.before)

    def test_home_that_others_can_write(self):
        for path in (self.home, self.home / "config.json", self.home / "policy.json"):
            mode = path.stat().st_mode & 0o777
            with self.subTest(path=path.name):
                path.chmod(mode | 0o022)
                try:
                    self.refused(78, "gen", "x", "--role", "data", says="chmod")
                finally:
                    path.chmod(mode)
        link = self.dir / "linked"
        shutil.copytree(self.home, link)
        (link / "config.json").unlink()
        (link / "config.json").symlink_to(self.home / "config.json")
        self.refused(78, "list", env={"KMTOOL_HOME": str(link)})

    def test_symlink_as_output(self):
        target = self.dir / "precious"
        target.write_text("precious")
        link = self.dir / "link.kmb"
        link.symlink_to(target)
        self.refused(73, "wrap", "payments", "--kek", "root", "--out", link)
        self.kmtool("wrap", "payments", "--kek", "root", "--out", link, "--force")
        self.assertEqual(target.read_text(), "precious")


class FullDisk(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = cls.embedded_home()
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "bulk", "--role", "data", "--exportable", "--count", "40")

    @unittest.skipUnless(os.geteuid() == 0, "mounting needs root")
    def test_full_output_folder(self):
        """A real file system without room."""
        folder = self.dir / "tiny"
        folder.mkdir(mode=0o700)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "tmpfs", folder], stderr=subprocess.DEVNULL, check=False).returncode:
            self.skipTest("no mounting here")
        try:
            before = self.snapshot(self.home)
            self.refused(74, "wrap", "--all", "--kek", "root", "--out", folder / "p.kmb")
            self.assertEqual(list(folder.iterdir()), [])
            self.refused(74, "gen", "born", "--role", "data", "--count", "40", "--backup", folder / "q.kmb", "--kek", "root")
            self.assertEqual(list(folder.iterdir()), [])
            self.assertEqual(self.snapshot(self.home), before)
        finally:
            subprocess.run(["umount", folder], check=True)
        self.assertIs(self.ok_json("doctor")["healthy"], True)

    def test_every_write_fails_from_here_on(self):
        """ENOSPC at the Nth write and all later ones, for every N: an error, nothing under the final name, nothing left behind."""
        counts = self.dir / "count"
        count_env = {"LD_PRELOAD": harness.KILLFS, "KILLFS_COUNT_FILE": str(counts), "KILLFS_NAMES": "write,pwrite,pwrite64,ftruncate,fallocate"}
        out = self.dir / "counted.kmb"
        self.ok("wrap", "bulk-0001", "--kek", "root", "--out", out, env=count_env)
        total, _ = harness.counter_of(counts)
        self.assertGreater(total, 3)
        for at in range(1, total + 1):
            out = self.dir / f"full-{at}.kmb"
            result = self.kmtool("wrap", "bulk-0001", "--kek", "root", "--out", out, env=dict(count_env, KILLFS_FAIL_FROM=str(at), KILLFS_ERRNO="28"))
            with self.subTest(at=at):
                self.assertNotEqual(result.code, -6, result)
                if result.code == 0:  # only the very last writes (standard output) may be lost without harm
                    self.assertTrue(out.exists())
                else:
                    self.assertIn(result.code, (65, 74), result)
                if out.exists():
                    self.ok("verify", out)
            self.ok("doctor", "--repair")
            self.assertEqual([p for p in self.dir.iterdir() if "kmtmp" in p.name], [], at)


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root to become somebody else")
class AsSomebodyElse(harness.Case):
    """Permissions: as a user whom they bind (root reads everything)."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.dir.chmod(0o755)
        cls.binary = cls.dir / "kmtool"
        shutil.copy(harness.BINARY, cls.binary)
        cls.binary.chmod(0o755)
        cls.mine = cls.dir / "mine"
        cls.mine.mkdir(mode=0o700)
        os.chown(cls.mine, 65534, 65534)
        cls.env["HOME"] = str(cls.mine)

    def other(self, *args):
        words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(self.binary), *map(str, args)]
        return harness.run_program(words, self.env)

    def test_unreadable_home(self):
        home = self.embedded_home("roots-home")
        result = self.other("list", "--home", home)
        self.assertIn(result.code, (74, 78), result)
        self.assertIn("hint: ", result.err)
        self.assert_error_style(result)

    def test_unreadable_bundle_and_closed_folder(self):
        own = self.mine / "home"
        made = self.other("init", "--embedded", "--home", own)
        self.assertEqual(made.code, 0, made)
        for words in (("gen", "root", "--role", "kek"), ("gen", "a", "--role", "data", "--exportable")):
            self.assertEqual(self.other(*words, "--home", own).code, 0)
        closed = self.dir / "closed"
        closed.mkdir(mode=0o755)
        result = self.other("wrap", "a", "--kek", "root", "--out", closed / "p.kmb", "--home", own)
        self.assertEqual(result.code, 73, result)
        self.assertEqual(list(closed.iterdir()), [])
        secret = self.dir / "secret.kmb"
        secret.write_text("x")
        secret.chmod(0o600)
        self.assertEqual(self.other("inspect", secret).code, 74)

    def test_a_bundle_by_a_named_signer_needs_no_home(self):
        home = self.embedded_home("closed-home")
        for words in (("root", "--role", "kek"), ("a", "--role", "data", "--exportable")):
            self.ok("gen", *words, home=home)
        shutil.copy(home / "signers/document.pem", self.dir / "signer.pem")
        self.ok("wrap", "a", "--kek", "root", "--out", self.dir / "a.kmb", home=home)
        for name in ("signer.pem", "a.kmb"):
            (self.dir / name).chmod(0o644)
        words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(self.binary), "verify", str(self.dir / "a.kmb")]
        env = dict(self.env, KMTOOL_HOME=str(home))
        done = harness.run_program([*words, "--signer", str(self.dir / "signer.pem")], env)
        self.assertEqual(done.code, 0, done)
        self.assertIn("note: no home was asked", done.err)
        self.assertIn(harness.run_program(words, env).code, (74, 78))

    def test_somebody_elses_home(self):
        """A home that another user owns is not believed, readable or not."""
        own = self.mine / "theirs"
        self.assertEqual(self.other("init", "--embedded", "--home", own).code, 0)
        self.refused(78, "list", home=own)


if __name__ == "__main__":
    harness.main()
