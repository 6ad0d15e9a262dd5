"""Quorums: a KEK's backup that only so many custodians can open, at another site."""

import itertools
import json
import pathlib
import shutil
import subprocess
import unittest

import harness


class Quorum(harness.Case):
    """Site A made the KEK `root` with a 3-of-5 backup to site B's transport key."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a, cls.b = cls.embedded_home("a"), cls.embedded_home("b")
        cls.room = cls.dir / "room"
        cls.room.mkdir()
        cls.ok("gen", "intake", "--role", "transport", home=cls.b)
        (cls.room / "b.request").write_text(cls.ok("show", "intake", "--request", home=cls.b).out)
        (cls.room / "b.pem").write_text(cls.ok("signer", "show", home=cls.b).out)
        (cls.room / "a.pem").write_text(cls.ok("signer", "show", home=cls.a).out)
        cls.ok("signer", "trust", "b.pem", "--name", "b", home=cls.a, cwd=cls.room)
        cls.made = cls.ok_json("gen", "root", "--role", "kek", "--type", "aes-128", "--backup", "root.kmk", "--to-public-key", "b.request", "--quorum", "3/5", "--shares", "shares", "--qr",
                               home=cls.a, cwd=cls.room)
        cls.shares = [cls.room / f"shares/custodian-{i}/root-{i}.share" for i in range(1, 6)]

    def drill(self, *shares, bundle="root.kmk", code=0, says=()):
        words = ["import-kek", bundle, "--signer", "a.pem", "--check", *(word for share in shares for word in ("--share", share))]
        if code == 0:
            return self.ok_json(*words, home=self.b, cwd=self.room)
        return self.refused(code, *words, home=self.b, cwd=self.room, says=says)

    def test_a_kill_leaves_no_half_share(self):
        """Whatever is killed before a share is whole, no file has any of it."""
        room = self.dir / "killed"
        room.mkdir()
        words = ["gen", "killed", "--role", "kek", "--type", "aes-128", "--backup", room / "killed.kmk", "--kek", "root", "--quorum", "2/2", "--shares", room / "shares", "--qr"]
        kill = {"LD_PRELOAD": harness.KILLFS, "KILLFS_NAMES": "fsync,renameat2"}
        for number in range(1, 200):
            result = self.kmtool(*words, home=self.a, env=dict(kill, KILLFS_KILL_AT=str(number)))
            self.assertEqual(sorted(room.glob("shares/**/.*")), [], number)
            if result.code != -9:
                self.assertIn(result.code, (0, 73), result)  # 73: the next command found the bundle whole, and finished
                break
        self.assertGreater(number, 12)
        for number, option in enumerate(("--png", "--text")):
            drawn = room / f"drawn{number}"
            drawn.mkdir()
            self.assertEqual(self.kmtool("share", "qr", self.shares[0], option, drawn / "share", env=dict(kill, KILLFS_KILL_AT="1")).code, -9)
            self.assertEqual(list(drawn.iterdir()), [])

    def test_every_three_open_it_and_no_two(self):
        for chosen in itertools.combinations(self.shares, 3):
            self.assertTrue(self.drill(*chosen)["checked"])
        self.assertTrue(self.drill(*reversed(self.shares))["checked"])
        before = len(self.entries(self.b))
        for chosen in itertools.combinations(self.shares, 2):
            self.drill(*chosen, code=77, says="1 more")
        self.drill(self.shares[0], code=77, says="2 more")
        self.drill(code=77, says="3 of 5 shares")
        refusals = [e for e in self.entries(self.b)[before:] if e["phase"] == "refusal"]
        self.assertEqual(len(refusals), 12)
        self.assertNotIn("intent", {e["phase"] for e in self.entries(self.b)[before:]}, "a refusal came after something was begun")

    def test_a_wrong_share_is_named(self):
        one, two, three = (str(s) for s in self.shares[:3])
        self.drill(one, two, one, code=65, says=["root-1.share is share 1 again", one])
        text = self.shares[2].read_text()
        altered = self.room / "altered.share"
        row = next(line for line in text.splitlines() if line.startswith("2 "))
        altered.write_text(text.replace(row, row[:-1] + ("7" if row[-1] != "7" else "8")))
        self.drill(one, two, altered, code=65, says=["altered.share: line 8", "mistyped"])
        other = self.ok_json("gen", "other", "--role", "kek", "--type", "aes-128", "--backup", "other.kmk", "--to-public-key", "b.request", "--quorum", "3/5", "--shares", "others", home=self.a, cwd=self.room)
        foreign = self.room / "others/custodian-3/other-3.share"
        self.drill(one, two, foreign, code=65, says=["other-3.share is a share of another bundle", other["backup"]["bundle"]])
        # A share that is whole in itself, with this bundle's id in it, and still not the one: remade with the format's own sums.
        self.drill(one, two, self.forged(text, foreign.read_text()), code=65, says="not the one that the bundle was made with")
        plain = self.ok("gen", "plain", "--role", "kek", "--type", "aes-128", "--backup", "plain.kmk", "--to-public-key", "b.request", home=self.a, cwd=self.room)
        self.assertEqual(plain.code, 0)
        self.drill(three, bundle="plain.kmk", code=64, says="no quorum")

    def forged(self, ours, foreign):
        import hashlib

        digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

        def decode(row):
            bits = "".join(f"{digits.index(c):05b}" for c in row.split()[1].replace("-", ""))
            return int(bits, 2).to_bytes(10, "big")

        rows = [line for line in foreign.splitlines() if line[:2] in ("1 ", "2 ", "3 ", "4 ")]
        value = b"".join(decode(row)[:8] for row in rows)
        bundle = next(line.split()[1] for line in ours.splitlines() if line.startswith("bundle"))
        check = hashlib.sha256(f"kmtool-share-v1\n{bundle}\n3 5 3\ncustodian-3\n".encode() + value).digest()[:10]
        bits = f"{int.from_bytes(check, 'big'):080b}"
        spelled = "".join(digits[int(bits[i:i + 5], 2)] for i in range(0, 80, 5))
        for line, at in zip(rows, range(0, 32, 8)):  # the rows' own checks as kmtool-share(5) has them
            number = int(line[0])
            sums = hashlib.sha256(b"kmtool-share-line-v1\n" + bytes([number]) + value[at:at + 8]).digest()[:2]
            self.assertEqual(decode(line), value[at:at + 8] + sums)
        text = ours.splitlines()
        for line in rows:
            place = next(i for i, mine in enumerate(text) if mine.startswith(line[:2]))
            text[place] = line
        text[-1] = "check     " + spelled
        path = self.room / "forged.share"
        path.write_text("\n".join(text) + "\n")
        return path

    def test_a_custodian_alone(self):
        """Neither home, nor token, nor the others."""
        for share in self.shares:
            said = self.ok("share", "verify", share, "--bundle", self.room / "root.kmk", "--signer", self.room / "a.pem").out
            self.assertIn("share      ok: ", said)
            self.assertIn("signature  ok", said)
        self.refused(1, "share", "verify", self.shares[0], "--bundle", self.room / "root.kmk", "--signer", self.room / "b.pem", says="someone else")
        self.refused(66, "share", "verify", "nowhere", "--bundle", self.room / "root.kmk")
        self.refused(65, "share", "verify", self.room / "root.kmk", "--bundle", self.room / "root.kmk", says="not a share")

    def test_a_custodian_with_a_home(self):
        """The home's own and pinned signers are asked, as verify asks them."""
        share, bundle = self.shares[0], self.room / "root.kmk"
        self.assertEqual(self.ok_json("share", "verify", share, "--bundle", bundle, home=self.a)["signature"], "ok")
        self.assertEqual(self.ok_json("share", "verify", share, "--bundle", bundle)["signature"], "not checked")
        home = self.embedded_home("custodian")
        result = self.refused(1, "share", "verify", share, "--bundle", bundle, home=home, says="unknown")
        self.assertIn("share      ok: ", result.out)
        self.ok("signer", "trust", self.room / "a.pem", "--name", "site-a", home=home)
        self.assertIn("ok: by site-a", self.ok("share", "verify", share, "--bundle", bundle, home=home).out)

    def test_shares_that_anybody_can_read_are_said_to_be(self):
        result = self.ok("gen", "said", "--role", "kek", "--type", "aes-128", "--backup", "said.kmk", "--to-public-key", "b.request", "--quorum", "2/3", "--shares", "said", home=self.a, cwd=self.room)
        self.assertIn("warning: 3 of 3 shares are not encrypted", result.err)
        shares = [word for i in (1, 2) for word in ("--share", f"said/custodian-{i}/said-{i}.share")]
        result = self.ok("share", "reissue", "--bundle", "said.kmk", *shares, "--out", "anew", home=self.a, cwd=self.room)
        self.assertIn("warning: 3 of 3 shares are not encrypted", result.err)

    def test_shares_lie_where_their_custodians_say(self):
        self.assertEqual([s["file"] for s in self.made["backup"]["shares"]], [str(s) for s in self.shares])
        for share in self.shares:
            self.assertEqual(share.stat().st_mode & 0o777, 0o600)
            self.assertEqual(share.parent.stat().st_mode & 0o777, 0o700)
            self.assertTrue(pathlib.Path(f"{share}.png").read_bytes().startswith(b"\x89PNG"))
            self.assertIn("█", pathlib.Path(f"{share}.qr.txt").read_text())
        header = json.loads((self.room / "root.kmk").read_text().splitlines()[0])
        self.assertEqual([header["quorum"][k] for k in ("needed", "shares", "algorithm")], [3, 5, "HKDF-SHA256+AES-256-GCM"])
        self.assertEqual(len(set(header["quorum"]["commitments"])), 5)
        self.assertEqual(list(header)[-1], "quorum")

    def test_every_change_to_the_quorum_is_found(self):
        text = (self.room / "root.kmk").read_text()
        bundle = self.room / "changed.kmk"
        for old, new in (('"needed":3', '"needed":2'), ('"shares":5', '"shares":6'), ('"needed":3', '"needed":03'), ("HKDF-SHA256", "HKDF-SHA512"), ('"quorum":{', '"quorum":{"x":1,')):
            bundle.write_text(text.replace(old, new, 1))
            self.drill(*self.shares[:3], bundle=bundle, code=65)
        start = text.index("commitments") + 16
        bundle.write_text(text[:start] + ("0" if text[start] != "0" else "1") + text[start + 1:])
        self.drill(*self.shares[:3], bundle=bundle, code=65)

    @unittest.skipUnless(shutil.which("openssl"), "needs openssl")
    def test_shares_encrypted_to_custodians(self):
        for name, kind in (("ada", ["rsa:3072"]), ("bob", ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"])):
            subprocess.run(["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2"], cwd=self.room, check=True, stderr=subprocess.DEVNULL)
        words = ["gen", "cms", "--role", "kek", "--type", "aes-128", "--backup", "cms.kmk", "--to-public-key", "b.request", "--quorum", "2/3", "--shares", "cms-shares"]
        self.ok(*words, "--custodian", "ada=ada.pem", "--custodian", "bob=bob.pem", home=self.a, cwd=self.room)
        sealed = [self.room / "cms-shares/ada/cms-1.share.cms", self.room / "cms-shares/bob/cms-2.share.cms"]
        self.assertTrue((self.room / "cms-shares/custodian-3/cms-3.share").exists())
        self.drill(*sealed, bundle="cms.kmk", code=77, says="still encrypted to its custodian")
        for name, path in zip(("ada", "bob"), sealed):
            self.assertNotIn("custodian ", path.read_text())
            out = self.room / f"{name}.share"
            done = harness.run_program(["openssl", "cms", "-decrypt", "-inform", "PEM", "-in", path, "-inkey", f"{name}.key", "-out", out], self.env, cwd=self.room)
            self.assertEqual(done.code, 0, done)
            self.assertIn(f"custodian {name}\n", out.read_text())
            wrong = "bob" if name == "ada" else "ada"
            done = harness.run_program(["openssl", "cms", "-decrypt", "-inform", "PEM", "-in", path, "-inkey", f"{wrong}.key"], self.env, cwd=self.room)
            self.assertNotIn("kmtool share", done.out)
        self.assertTrue(self.drill(self.room / "ada.share", self.room / "bob.share", bundle="cms.kmk")["checked"])

    def test_nothing_is_left_where_it_cannot_be_done(self):
        words = ["gen", "none", "--role", "kek", "--type", "aes-128", "--backup", "none.kmk", "--to-public-key", "b.request"]
        self.refused(64, *words, "--quorum", "3/5", home=self.a, cwd=self.room, says="--shares")
        self.refused(64, *words, "--quorum", "1/5", "--shares", "n", home=self.a, cwd=self.room, says="none")
        self.refused(64, *words, "--quorum", "2/2", "--shares", "n", "--custodian", "a", "--custodian", "a", home=self.a, cwd=self.room, says="two custodians")
        self.refused(64, *words, "--quorum", "2/2", "--shares", "n", "--custodian", "a", "--custodian", "b", "--custodian", "c", home=self.a, cwd=self.room)
        self.refused(66, *words, "--quorum", "2/2", "--shares", "n", "--custodian", "a=nowhere.pem", home=self.a, cwd=self.room)
        self.refused(73, *[w.replace("none", "root") for w in words], "--quorum", "3/5", "--shares", "shares", home=self.a, cwd=self.room)
        self.ok(*words, "--quorum", "2/2", "--shares", "n", "--dry-run", home=self.a, cwd=self.room)
        self.assertFalse((self.room / "n").exists())
        self.assertFalse((self.room / "none.kmk").exists())

    def test_reissue(self):
        old = [str(s) for s in self.shares[1:4]]
        words = ["share", "reissue", "--bundle", "root.kmk", "--out", "new", "--quorum", "2/4"]
        self.refused(77, *words, "--share", old[0], home=self.a, cwd=self.room, says="2 more")
        self.refused(66, *words, *(w for s in old for w in ("--share", s)), "--signer", "a.pem", home=self.b, cwd=self.room, says="not on this token")
        self.ok(*words, *(w for s in old for w in ("--share", s)), "--dry-run", home=self.a, cwd=self.room)
        self.assertFalse((self.room / "new").exists())
        made = self.ok(*words, *(w for s in old for w in ("--share", s)), home=self.a, cwd=self.room)
        self.assertIn("old shares still open old copies", made.err)
        new = [self.room / f"new/custodian-{i}/root-{i}.share" for i in range(1, 5)]
        bundle = self.room / "new/root.kmk"
        for chosen in itertools.combinations(new, 2):
            self.assertTrue(self.drill(*chosen, bundle=bundle)["checked"])
        self.drill(*self.shares[:3], bundle=bundle, code=65, says="another bundle")
        self.drill(*new[:3], code=65, says="another bundle")
        self.assertTrue(self.drill(*self.shares[:3])["checked"])  # as it was said
        self.ok("verify", bundle, home=self.a)
        self.assertIn(str(bundle), [b["path"] for b in self.ok_json("bundles", home=self.a)["bundles"]])
        self.ok("doctor", home=self.a)


if __name__ == "__main__":
    harness.main()
