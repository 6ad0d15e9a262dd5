"""Journals, trust and signers that the token does not vouch for, as the commands that only look see them."""

import base64
import hashlib
import json
import pathlib
import sqlite3
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
import harness  # noqa: E402
from forging import append_entry, bucket_of, mend_buckets, public_of, tree_root  # noqa: E402


class Unproven(harness.Case):
    """Commands that only look believe no more than those that change something."""

    def setUp(self):
        name = self.id().rsplit(".", 1)[-1]
        self.token = harness.SoftToken(self.dir / f"hsm-{name}")
        type(self).home = self.module_home(self.token, f"home-{name}")
        self.env["KMTOOL_HOME"] = str(self.home)
        self.ok("gen", "root", "--role", "kek")
        self.ok("gen", "cargo", "--role", "data", "--exportable")
        self.bundle = self.dir / f"{name}.kmb"
        self.ok("wrap", "cargo", "--kek", "root", "--out", self.bundle)

    def test_planted_trust_without_login(self):
        database = sqlite3.connect(self.home / "journal.db")
        with database:
            database.execute("INSERT INTO items(kind, id, bucket, value, seq) VALUES('trust', 'evil', ?, '{}', 1)", (bucket_of("trust", "evil"),))
            mend_buckets(database)
        database.close()
        self.refused(65, "verify", self.bundle, "--no-token")

    def test_log_pem_missing(self):
        (self.home / "signers" / "log.pem").unlink()
        self.refused(66, "verify", self.bundle, says="log.pem")

    def test_journal_signed_by_another(self):
        """log.pem, the signer's row and the newest entry and checkpoint are all the attacker's: only the token can tell."""
        key = self.dir / "evil.key"
        openssl = lambda *words: subprocess.run(["openssl", *map(str, words)], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout  # noqa: E731
        openssl("genpkey", "-algorithm", "ed25519", "-out", key)
        spki = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")
        pem = self.home / "signers" / "log.pem"
        origin = "kmtool/" + json.loads((self.home / "config.json").read_text())["home_id"]
        database = sqlite3.connect(self.home / "journal.db")
        with database:
            value = json.loads(database.execute("SELECT value FROM items WHERE kind = 'signer' AND id = 'log@1'").fetchone()[0])
            field = next(name for name in value if value[name] == base64.b64encode(public_of(pem)).decode())
            value[field] = base64.b64encode(spki).decode()
            database.execute("UPDATE items SET value = ? WHERE kind = 'signer' AND id = 'log@1'", (json.dumps(value, separators=(",", ":")),))
            mend_buckets(database)
            digests = dict(database.execute("SELECT bucket, digest FROM buckets"))
            root = hashlib.sha256(b"kmtool-catalog-v1\n" + b"".join(digests.get(n, bytes(32)) for n in range(256))).hexdigest()
            seq, data = database.execute("SELECT seq, data FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
            append_entry(database, json.dumps(dict(json.loads(data), seq=seq + 1, catalog=root, changes=[]), separators=(",", ":")))
            tree = tree_root([row[0] for row in database.execute("SELECT data FROM entries ORDER BY seq")])
            text = self.dir / "note-text"
            text.write_text(f"{origin}\n{seq + 2}\n{base64.b64encode(tree).decode()}\n")
            signature = openssl("pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", text)
            hint = hashlib.sha256(origin.encode() + b"\n\x01" + spki[-32:]).digest()[:4]
            note = f"{text.read_text()}\n\u2014 {origin} {base64.b64encode(hint + signature).decode()}\n"
            database.execute("INSERT INTO checkpoints(size, note) VALUES(?, ?)", (seq + 2, note))
        database.close()
        pem.write_bytes(openssl("pkey", "-in", key, "-pubout"))
        for words in (("doctor",), ("verify", self.bundle), ("gen", "x", "--role", "data")):
            with self.subTest(words=words):
                self.refused(65, *words, says="log signer does not belong")

    def test_foreign_object_with_the_anchors_id(self):
        anchor = json.loads((self.home / "config.json").read_text())["home_id"].replace("-", "")
        self.pkcs11_tool(self.home, "--keygen", "--key-type", "AES:32", "--label", "foreign", "--id", anchor)
        count = lambda: sum(o["label"] == "foreign" for o in self.objects(self.home))  # noqa: E731
        self.assertEqual(count(), 1)
        self.ok("doctor", "--accept-rollback", "--reason", "a test")
        self.ok("gen", "beside", "--role", "data")
        self.assertEqual(count(), 1)

    def test_compromise_reaches_retired_signers(self):
        database = sqlite3.connect(self.home / "journal.db")
        (self.dir / "checkpoint").write_text(database.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()[0])
        database.close()
        self.ok("signer", "rotate")
        self.ok("signer", "compromise", "--after", self.dir / "checkpoint", "--yes")
        states = {s["name"]: s["state"] for s in self.ok_json("signer", "list")["signers"]}
        for use in ("log", "document"):
            self.assertEqual([states[f"{use}@{n}"] for n in (1, 2, 3)], ["compromised", "compromised", "active"])


if __name__ == "__main__":
    harness.main()
