"""Bundles and shares that a restore forgot lie where they were: they may be the only copies of what they hold, and are not written over."""

import shutil

import harness


class Bundles(harness.Case):
    """The home is put back to before `born` was made; each test begins there."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        other = cls.embedded_home("other")
        cls.ok("gen", "root", "--role", "kek", home=other)
        cls.ok("gen", "theirs", "--role", "data", "--backup", cls.dir / "theirs.kmb", "--kek", "root", home=other)
        cls.on_own_token()
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "cargo", "--role", "data", "--exportable")
        cls.ok("gen", "branch", "--role", "kek", "--exportable")
        cls.old = cls.dir / "old.kmb"
        cls.ok("gen", "old", "--role", "mac", "--backup", cls.old, "--kek", "root")
        cls.ok("home", "backup", cls.dir / "h.kmh")
        cls.born, cls.spare, cls.exported, cls.before = cls.dir / "born.kmb", cls.dir / "spare.kmb", cls.dir / "branch.kmk", cls.dir / "old.before"
        cls.ok("gen", "born", "--role", "data", "--backup", cls.born, "--kek", "root")
        cls.ok("wrap", "cargo", "--kek", "root", "--out", cls.spare)
        cls.ok("export-kek", "branch", "--to-kek", "root", "--out", cls.exported)
        shutil.copy(cls.old, cls.before)
        cls.ok("rotate", "root", "--rewrap-all")
        cls.kept = {path: path.read_bytes() for path in (cls.born, cls.spare, cls.exported, cls.old, cls.before, cls.dir / "theirs.kmb")}
        cls.ok("home", "restore", cls.dir / "h.kmh", "--force")
        cls.ok("doctor", "--accept-rollback", "--reason", "a test")
        shutil.copytree(cls.home, cls.dir / "kept")
        shutil.copytree(cls.token.folder, cls.dir / "hsm.kept")

    def setUp(self):
        for folder, kept in ((self.home, "kept"), (self.token.folder, "hsm.kept")):
            shutil.rmtree(folder)
            shutil.copytree(self.dir / kept, folder)
        for path in (p for p in self.dir.iterdir() if p.suffix in (".kmb", ".kmk", ".before") or ".@" in p.name):
            path.unlink()
        for path, octets in self.kept.items():
            path.write_bytes(octets)

    def beside(self, path, number=1):
        return path.with_name(f"{path.name}.@{number}")

    def paths(self):
        return sorted(bundle["path"] for bundle in self.ok_json("bundles")["bundles"])

    def test_one_with_a_key_that_is_forgotten_too(self):
        words = ("wrap", "cargo", "--kek", "root", "--out", self.born, "--force")
        self.assertEqual(self.ok_json(*words, "--dry-run")["kept"], str(self.beside(self.born)))
        self.assertEqual(self.ok_json(*words)["kept"], str(self.beside(self.born)))
        self.assertEqual(self.beside(self.born).read_bytes(), self.kept[self.born])
        # By the label of a key that nobody knows a row would pass for a copy of the next one of that name.
        self.assertEqual(self.paths(), sorted(map(str, (self.born, self.old))))
        # It opens to what it held.
        self.ok("adopt", "root", "--label", "root@2")
        self.assertEqual(self.ok_json("unwrap", self.beside(self.born), "--as", "again")["keys"][0]["name"], "again")
        self.ok("doctor")

    def test_one_with_a_key_that_came_back(self):
        self.ok("adopt", "born", "--label", "born@1")
        kept = self.beside(self.born)
        self.assertIn(str(kept), self.ok("wrap", "cargo", "--kek", "root", "--out", self.born, "--force").err)
        self.assertEqual(kept.read_bytes(), self.kept[self.born])
        self.assertEqual(self.paths(), sorted(map(str, (self.born, kept, self.old))))
        row = [bundle for bundle in self.ok_json("bundles")["bundles"] if bundle["path"] == str(kept)][0]
        self.assertEqual((row["kek"], row["kept_for"]), ("root@2", None))
        # On record it is the only one that holds the key: what takes its place keeps it as well.
        self.assertEqual(self.ok_json("wrap", "cargo", "--kek", "root", "--out", kept, "--force")["kept"], str(kept) + ".@1")
        self.ok("adopt", "root", "--label", "root@2")
        self.assertEqual(self.ok_json("unwrap", str(kept) + ".@1", "--check")["compared"], ["born@1"])

    def test_every_way_to_write_over_it(self):
        (self.dir / "ways.kmb").write_bytes(self.kept[self.born])
        for number, words in enumerate((("gen", "new", "--role", "mac", "--backup"), ("gen", "parent", "--role", "kek", "--backup"), ("rotate", "old", "--backup"),
                                        ("export-kek", "branch", "--to-kek", "root", "--out"), ("wrap", "cargo", "--out")), 1):
            with self.subTest(words[0]):
                shutil.copy(self.dir / "born.kmb", self.dir / "ways.kmb")
                kek = () if words[0] in ("export-kek", "rotate") else ("--kek", "root")
                result = self.ok(*words, self.dir / "ways.kmb", *kek, "--force")
                kept = [path for path in self.dir.iterdir() if path.name.startswith("ways.kmb.@") and path.read_bytes() == self.kept[self.born]]
                self.assertEqual(len(kept), number, result)
                self.assertIn("ways.kmb.@", result.out + result.err)
        self.ok("doctor")

    def test_one_of_another_key_with_that_name(self):
        """The forgotten key was destroyed on the token, and another came to its name."""
        for item in self.objects(self.home):
            if item["label"] == "born@1":
                self.assertEqual(self.pkcs11_tool(self.home, "--delete-object", "--type", "secrkey", "--id", item["id"]).code, 0)
        self.ok("gen", "born", "--role", "data", "--exportable")
        self.ok("wrap", "born", "--kek", "root", "--out", self.dir / "other.kmb")
        self.assertEqual(self.ok_json("wrap", "born", "--kek", "root", "--out", self.born, "--force")["kept"], str(self.beside(self.born)))
        self.assertEqual(self.beside(self.born).read_bytes(), self.kept[self.born])

    def test_in_the_place_of_one_that_is_on_record(self):
        made = self.ok_json("wrap", "cargo", "--kek", "root", "--out", self.old, "--force")
        self.assertEqual(made["kept"], str(self.beside(self.old)))
        self.assertEqual(self.beside(self.old).read_bytes(), self.kept[self.old])
        self.assertEqual(self.paths(), sorted(map(str, (self.old, self.beside(self.old)))))
        self.ok("doctor")

    def test_what_is_not_lost_is_not_kept(self):
        self.assertIsNone(self.ok_json("wrap", "cargo", "--kek", "root", "--out", self.spare, "--force")["kept"])
        self.assertIsNone(self.ok_json("export-kek", "branch", "--to-kek", "root", "--out", self.exported, "--force")["kept"])
        # A KEK's export is another site's, where what takes its place is no export of that KEK.
        shutil.copy(self.exported, self.dir / "copy.kmb")
        self.assertIsNone(self.ok_json("wrap", "cargo", "--kek", "root", "--out", self.dir / "copy.kmb", "--force")["kept"])  # the original is on record

    def test_the_export_of_a_kek(self):
        kept = self.ok_json("wrap", "cargo", "--kek", "root", "--out", self.exported, "--force")["kept"]
        self.assertEqual(self.beside(self.exported).read_bytes(), self.kept[self.exported])
        self.assertIn(kept, self.paths())
        self.ok("import-kek", kept, "--check")

    def test_a_damaged_one_and_one_of_another_home(self):
        self.born.write_bytes(self.kept[self.born].replace(b'"wrapped":["', b'"wrapped":["A', 1))
        self.assertEqual(self.ok_json("wrap", "cargo", "--kek", "root", "--out", self.born, "--force")["kept"], str(self.beside(self.born)))
        self.assertEqual(self.ok_json("wrap", "cargo", "--kek", "root", "--out", self.dir / "theirs.kmb", "--force")["kept"], str(self.beside(self.dir / "theirs.kmb")))
        self.assertNotIn(str(self.beside(self.dir / "theirs.kmb")), self.paths())

    def test_one_that_was_moved(self):
        """It is on record under another name, where it is no more."""
        moved = self.dir / "moved.kmb"
        shutil.copy(self.before, self.old)
        shutil.copy(self.old, moved)
        self.assertIsNone(self.ok_json("wrap", "cargo", "--kek", "root", "--out", moved, "--force")["kept"])  # a copy
        self.old.rename(moved)
        self.assertEqual(self.ok_json("wrap", "cargo", "--kek", "root", "--out", moved, "--force")["kept"], str(self.beside(moved)))
        self.assertEqual(self.paths(), sorted(map(str, (moved, self.beside(moved)))))
        self.assertEqual(self.ok_json("unwrap", self.beside(moved), "--check")["compared"], ["old@1"])

    def test_rewrapped_by_name(self):
        """The KEK's backup makes the old file stay beside; the catalog knew neither."""
        under = self.dir / "under.kmb"
        self.ok("wrap", "cargo", "--kek", "branch", "--out", under)
        self.ok("home", "restore", self.dir / "h.kmh", "--force")
        self.ok("doctor", "--accept-rollback", "--reason", "again")
        octets = under.read_bytes()
        self.ok("export-kek", "branch", "--to-kek", "root", "--out", self.dir / "branch1.kmk")
        at, kills = 30, 0
        while True:
            env = {"KMFORWARD_KILL_AT": str(at)}
            result = self.kmtool("rotate", "branch", "--backup", self.dir / "branch2.kmk", "--rewrap", under, env=env)
            if result.code == 0:
                break
            self.assertEqual(result.code, -9, result)
            at, kills = at + 7, kills + 1
            self.ok("doctor", "--repair")
            if under.read_bytes() == octets:
                self.assertFalse(self.beside(under).exists())
            else:
                self.assertEqual(self.beside(under).read_bytes(), octets)
            if (self.dir / "branch2.kmk").exists():
                self.ok("rotate", "branch", "--rewrap", under)
                break
        self.assertGreater(kills, 3)
        self.assertEqual(self.beside(under).read_bytes(), octets)
        rows = {bundle["path"]: bundle for bundle in self.ok_json("bundles")["bundles"]}
        self.assertEqual(rows[str(self.beside(under))]["kept_for"], rows[str(under)]["id"])
        self.ok("bundles", "--confirm-restored", under)
        self.assertFalse(self.beside(under).exists())

    def kill_loop(self, env, step):
        """Killed later and later: it lies where it was and nowhere else, or beside what took its place."""
        words = ("wrap", "cargo", "--kek", "root", "--out", self.born, "--force")
        at = kills = 0
        while self.born.read_bytes() == self.kept[self.born]:
            self.assertFalse(self.beside(self.born).exists())
            at += step
            result = self.kmtool(*words, env={name: value.format(at=at) for name, value in env.items()})
            if result.code == 0:
                break
            self.assertEqual(result.code, -9, result)
            kills += 1
            self.ok("doctor", "--repair")
        self.assertGreaterEqual(kills, 4)
        self.assertEqual(self.beside(self.born).read_bytes(), self.kept[self.born])
        self.assertEqual([path.name for path in self.dir.iterdir() if path.name.endswith(".kmtmp")], [])
        self.ok("verify", self.born)
        self.ok("doctor")

    def test_killed_in_the_token(self):
        self.kill_loop({"KMFORWARD_KILL_AT": "{at}"}, 1)

    def test_killed_before_file_calls(self):
        self.kill_loop({"LD_PRELOAD": harness.KILLFS, "KILLFS_KILL_AT": "{at}", "KILLFS_NAMES": "link,linkat,rename,renameat2,fsync,unlink"}, 1)

    def test_killed_after_file_calls(self):
        self.kill_loop({"LD_PRELOAD": harness.KILLFS, "KILLFS_KILL_AT": "{at}", "KILLFS_WHEN": "after", "KILLFS_NAMES": "link,linkat,rename,renameat2,fsync,unlink"}, 1)


class Destroyed(harness.Case):
    """The catalog was put back to before a key was destroyed: it calls active what the token does not have."""

    def test_a_kek_is_rotated_past_it(self):
        self.on_own_token()
        out, both = self.dir / "gone.kmb", self.dir / "both.kmb"
        self.ok("gen", "root", "--role", "kek")
        self.ok("gen", "gone", "--role", "sign", "--exportable", "--waive", "G-SEALED=a test of pairs")
        self.ok("gen", "lost", "--role", "data", "--exportable")
        self.ok("gen", "stays", "--role", "data", "--exportable")
        self.ok("wrap", "gone", "--kek", "root", "--out", out)
        self.ok("wrap", "lost", "stays", "--kek", "root", "--out", both)
        self.ok("home", "backup", self.dir / "h.kmh")
        for name in ("gone", "lost"):
            self.ok("state", name, "destroy", "--reason", "a test", "--yes")
        self.ok("home", "restore", self.dir / "h.kmh", "--force")
        self.assertEqual(self.kmtool("doctor", "--accept-rollback", "--reason", "a test").code, 1)
        for words in (("--dry-run",), ()):
            done = self.ok_json("rotate", "root", *words)
            self.assertEqual([(one["from"], one["to"]) for one in done["rotated"]], [(1, 2)])
            self.assertEqual([one["records"] for one in done["rewrapped"]], [1])
            why = {one["file"]: one["why"] for one in done["left"]}
            self.assertLessEqual({"gone@1", "lost@1", str(out), str(both)}, why.keys())
            for label in ("gone@1", "lost@1"):
                self.assertIn("the token does not have it", why[label])
                self.assertIn("kmtool rotate root --rewrap-all", why[label])
        carried = self.ok_json("bundles", "--depends-on", "root@2")["bundles"]
        self.assertEqual(self.ok_json("unwrap", carried[0]["path"], "--check")["compared"], ["stays@1"])
        # And that is the road on: what the bundles hold goes under the new one.
        moved = self.ok_json("rotate", "root", "--rewrap-all")
        self.assertEqual(sorted(one["file"] for one in moved["rewrapped"]), [str(both), str(out)])
        self.assertEqual(self.ok_json("bundles", "--depends-on", "root@1")["bundles"], [])


class Shares(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.on_own_token()
        cls.ok("gen", "root", "--role", "kek")
        cls.ok("gen", "vault", "--role", "kek", "--exportable")
        cls.ok("home", "backup", cls.dir / "h.kmh")

    def setUp(self):
        self.out = self.dir / self.id().rsplit(".", 1)[1]
        self.out.mkdir()

    def export(self, *more, name="vault.kmk", code=0, says=(), env=None):
        words = ("export-kek", "vault", "--to-kek", "root", "--quorum", "2/3", "--shares", self.out / "shares", "--out", self.out / name, *more)
        if env:
            return self.kmtool(*words, env=env)
        return self.ok(*words) if code == 0 else self.refused(code, *words, says=says)

    def all_of(self):
        return {path: path.read_bytes() for path in (self.out / "shares").rglob("*") if path.is_file()}

    def test_of_a_forgotten_bundle(self):
        self.export("--qr")
        shares, bundle = self.all_of(), (self.out / "vault.kmk").read_bytes()
        self.ok("home", "restore", self.dir / "h.kmh", "--force")
        self.ok("doctor", "--accept-rollback", "--reason", "a test")
        self.ok("home", "backup", self.dir / "h.kmh", "--force")
        for more in (("--force",), ("--force", "--qr")):
            self.export(*more, code=73, says=["vault-1.share is a share of the bundle", "not on this home's record", "not even --force"])
        self.assertEqual((self.all_of(), (self.out / "vault.kmk").read_bytes()), (shares, bundle))
        (self.out / "vault.kmk").unlink()  # gone from here: a copy may be where it is needed
        self.export(code=73, says="not on this home's record")
        self.assertEqual(self.all_of(), shares)
        # One that is known to be gone: the shares are removed by hand.
        shutil.rmtree(self.out / "shares")
        self.export()

    def test_of_one_that_never_came_to_be(self):
        at = 0
        while True:  # killed before the bundle has its name and after the shares have theirs
            at += 1
            result = self.export(env={"LD_PRELOAD": harness.KILLFS, "KILLFS_KILL_AT": str(at), "KILLFS_NAMES": "rename,renameat2"})
            self.assertEqual(result.code, -9, result)
            self.ok("doctor", "--repair")
            if len(list((self.out / "shares").rglob("*.share"))) == 3:
                break
        self.assertFalse((self.out / "vault.kmk").exists())
        before = self.all_of()
        self.export()
        after = self.all_of()
        self.assertEqual([path for path in before if path.suffix == ".share" and after[path] == before[path]], [])

    def test_of_one_whose_intent_was_dropped(self):
        """Nobody knows what became of the bundle: it may be whole, and somewhere else."""
        at = 0
        while not (self.out / "vault.kmk").exists():  # killed with the bundle in its place and not on record
            at += 1
            self.assertEqual(self.export(env={"LD_PRELOAD": harness.KILLFS, "KILLFS_KILL_AT": str(at), "KILLFS_WHEN": "after", "KILLFS_NAMES": "rename,renameat2"}).code, -9)
            shutil.rmtree(self.out / "home", ignore_errors=True)
            shutil.copytree(self.home, self.out / "home")
            self.ok("doctor", "--repair")
        shares = self.all_of()
        (self.out / "vault.kmk").rename(self.dir / "elsewhere.kmk")
        shutil.rmtree(self.home)
        shutil.copytree(self.out / "home", self.home)
        self.ok("doctor", "--accept-rollback", "--reason", "a test")
        self.export(code=73, says="not on this home's record")
        self.assertEqual(self.all_of(), shares)

    def test_of_one_whose_place_was_taken(self):
        self.export()
        shares = self.all_of()
        self.ok("export-kek", "vault", "--to-kek", "root", "--out", self.out / "vault.kmk", "--force")
        (self.out / "again").mkdir()
        self.export(name="again/vault.kmk", code=73, says="say --force")
        self.assertEqual(self.all_of(), shares)
        self.export("--force", name="again/vault.kmk")

    def test_codes_without_their_share(self):
        self.export("--qr")
        for path in (self.out / "shares").rglob("*.share"):
            path.unlink()  # handed out; the codes were left behind
        codes = self.all_of()
        (self.out / "again").mkdir()
        self.export("--qr", name="again/vault.kmk", code=73, says="vault-1.share.png exists")
        self.assertEqual(self.all_of(), codes)
        self.export("--qr", "--force", name="again/vault.kmk")


if __name__ == "__main__":
    harness.main()
