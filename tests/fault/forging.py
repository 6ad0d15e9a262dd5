"""What somebody who can write journal.db can make right without the token."""

import base64
import hashlib


def stored_index(level, n):
    for _ in range(level):
        n = 2 * n + 1
    index = 0
    while n > 0:
        index += n
        n >>= 1
    return index + level


def append_entry(database, line):
    """What the journal does, but for the signature: the entry and the tree's hashes."""
    seq = database.execute("SELECT coalesce(max(seq) + 1, 0) FROM entries").fetchone()[0]
    database.execute("INSERT INTO entries(seq, data) VALUES(?, ?)", (seq, line))
    found = hashlib.sha256(b"\0" + line.encode()).digest()
    index = stored_index(0, seq)
    database.execute("INSERT INTO hashes(id, hash) VALUES(?, ?)", (index, found))
    level, n = 0, seq
    while n & 1:
        left = database.execute("SELECT hash FROM hashes WHERE id = ?", (stored_index(level, n - 1),)).fetchone()[0]
        found = hashlib.sha256(b"\1" + left + found).digest()
        level, n = level + 1, n >> 1
        index += 1
        database.execute("INSERT INTO hashes(id, hash) VALUES(?, ?)", (index, found))
    return seq


def tree_root(leaves):
    """RFC 6962's."""
    hashes = [hashlib.sha256(b"\0" + (leaf.encode() if isinstance(leaf, str) else leaf)).digest() for leaf in leaves]

    def root(part):
        if len(part) == 1:
            return part[0]
        half = 1 << (len(part) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + root(part[:half]) + root(part[half:])).digest()

    return root(hashes)


def public_of(pem):
    return base64.b64decode("".join(line for line in pem.read_text().splitlines() if "-----" not in line))


def bucket_of(kind, identity):
    return hashlib.sha256(f"{kind}\0{identity}".encode()).digest()[0]


def mend_buckets(database):
    """Makes the bucket digests agree with the rows, as the journal would have."""
    for bucket in range(256):
        rows = database.execute("SELECT kind, id, value, seq FROM items WHERE bucket = ? ORDER BY kind, id", (bucket,)).fetchall()
        digest = hashlib.sha256()
        for *texts, seq in rows:
            for text in texts:
                digest.update(len(text.encode()).to_bytes(8, "big") + text.encode())
            digest.update(seq.to_bytes(8, "big"))
        if rows:
            database.execute("INSERT OR REPLACE INTO buckets(bucket, digest) VALUES(?, ?)", (bucket, digest.digest()))
