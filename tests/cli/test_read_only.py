"""A home that cannot be written: what only looks works, what would act refuses (74) and does nothing."""

import os
import shutil
import subprocess

import harness

NOBODY = 65534


class ReadOnly(harness.Case):
    """The home belongs to another user than root, who may not write it: modes stop him as a read-only mount would."""

    @classmethod
    def setUpClass(cls):
        if os.getuid() != 0:
            raise harness.unittest.SkipTest("only root can become a user whom modes stop")
        super().setUpClass()
        cls.dir.chmod(0o711)
        cls.program = shutil.copy(harness.BINARY, cls.dir / "kmtool")  # whoever builds below /root builds where nobody else may look
        cls.token = harness.SoftToken(cls.dir / "hsm")
        cls.home = cls.module_home(cls.token, module=harness.SOFTHSM)
        cls.env["KMTOOL_HOME"] = str(cls.home)
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "payments", "--role", "data", "--exportable")
        cls.api_key = cls.ok_json("apikey", "create", "--app", "shop", "--unrestricted")
        cls.ok("apikey", "check", "--key-stdin", stdin=cls.api_key["key"])
        for folder, _, names in os.walk(cls.dir):
            os.chown(folder, NOBODY, NOBODY)
            for name in names:
                os.chown(os.path.join(folder, name), NOBODY, NOBODY)
        cls.lock(True)
        cls.addClassCleanup(cls.lock, False)

    @classmethod
    def lock(cls, locked):
        for folder, _, names in os.walk(cls.home):
            for name in names:
                os.chmod(os.path.join(folder, name), 0o400 if locked else 0o600)
            os.chmod(folder, 0o500 if locked else 0o700)

    def as_nobody(self, *words, env=None):
        def become():
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

        return harness.run_program([self.program, *words], dict(self.env, **(env or {})), preexec=become)

    def listing(self):
        out = []
        for folder, _, names in os.walk(self.home):
            for name in sorted(names):
                path = os.path.join(folder, name)
                out.append((path, os.stat(path).st_size, os.stat(path).st_mtime_ns))
        return out

    def test_looking(self):
        before = self.listing()
        for words in (("list",), ("show", "payments"), ("bundles",), ("audit", "log"), ("audit", "verify", "--no-token"), ("audit", "verify"), ("audit", "keys"), ("audit", "guidance"),
                      ("audit", "checkpoint"), ("audit", "prove", "0"), ("audit", "inventory"), ("doctor",), ("token",), ("policy", "show"), ("signer", "list"), ("apikey", "list"), ("apikey", "usage"),
                      ("monitor",)):
            result = self.as_nobody(*words, "--json")
            self.assertEqual(result.code, 0, result)
        self.assertEqual(self.as_nobody("audit", "verify", "--json").json()["anchor"], "ok")
        out = self.dir / "elsewhere"
        out.mkdir()
        os.chown(out, NOBODY, NOBODY)
        result = self.as_nobody("audit", "export", out / "record")
        self.assertEqual(result.code, 0, result)
        self.assertEqual([line for line in self.listing() if "-shm" not in line[0]], [line for line in before if "-shm" not in line[0]])

    def test_acting(self):
        bundle = self.dir / "elsewhere.kmb"
        objects = self.objects(self.home)
        for words in (("gen", "new", "--role", "data"), ("wrap", "payments", "--kek", "root", "--out", bundle), ("state", "payments", "suspend", "--reason", "x"),
                      ("rotate", "payments"), ("policy", "accept"), ("signer", "rotate"), ("state", "payments", "destroy", "--reason", "x", "--yes")):
            result = self.as_nobody(*words)
            self.assertEqual((result.code, result.out), (74, ""), result)
            self.assert_error_style(result)
        self.assertEqual(self.objects(self.home), objects)
        self.assertFalse(bundle.exists())

    def test_a_wrong_pin_is_still_what_is_said(self):
        wrong = self.dir / "wrong-pin"
        wrong.write_text("0000\n")
        os.chown(wrong, NOBODY, NOBODY)
        wrong.chmod(0o600)
        result = self.as_nobody("audit", "verify", env={"KMTOOL_PIN_SOURCE": f"file:{wrong}"})
        self.assertEqual((result.code, result.out), (77, ""), result)

    def test_embedded(self):
        """SoftHSM writes at every login: what needs one says what does not."""
        home = self.dir / "embedded"
        env = dict(KMTOOL_HOME=str(home), KMTOOL_PIN_SOURCE="")
        made = dict(self.env, KMTOOL_HOME=str(home))
        del made["KMTOOL_PIN_SOURCE"]
        self.assertEqual(harness.run_program([harness.BINARY, "init", "--embedded"], made).code, 0)
        for folder, _, names in os.walk(home):
            os.chown(folder, NOBODY, NOBODY)
            for name in names:
                os.chown(os.path.join(folder, name), NOBODY, NOBODY)
                os.chmod(os.path.join(folder, name), 0o400)
            os.chmod(folder, 0o500)
        for words in (("list",), ("audit", "log"), ("audit", "verify", "--no-token"), ("audit", "checkpoint")):
            result = self.as_nobody(*words, env=env)
            self.assertEqual(result.code, 0, result)
        for words in (("audit", "verify"), ("audit", "keys"), ("audit", "guidance"), ("doctor",)):
            result = self.as_nobody(*words, env=env)
            self.assertEqual((result.code, result.out), (74, ""), result)
            self.assertIn("--no-token", result.err)
        result = self.as_nobody("gen", "new", "--role", "data", env=env)
        self.assertEqual((result.code, result.out), (74, ""), result)
        self.assertIn("nothing is done", result.err)

    def test_mounted_read_only(self):
        """The same on a real read-only mount, where the test may make one."""
        if shutil.which("unshare") is None or shutil.which("setpriv") is None or subprocess.run(["unshare", "-m", "true"], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("no mount namespaces here")
        script = 'mount --bind "$KMTOOL_HOME" "$KMTOOL_HOME" && mount -o remount,ro,bind "$KMTOOL_HOME" && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'
        self.lock(False)
        self.addCleanup(self.lock, True)

        def mounted(*words):
            return harness.run_program(["unshare", "-m", "sh", "-c", script, "sh", harness.BINARY, *words], self.env)
        first = mounted("list")
        if first.code == 32:
            self.skipTest("no mounts here")
        self.assertEqual(first.code, 0, first)
        for words in (("audit", "verify"), ("audit", "keys"), ("audit", "guidance"), ("doctor",)):
            result = mounted(*words, "--json")
            self.assertEqual(result.code, 0, result)
        result = mounted("gen", "new", "--role", "data")
        self.assertEqual((result.code, result.out), (74, ""), result)


if __name__ == "__main__":
    harness.main()
