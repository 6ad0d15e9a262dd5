#!/usr/bin/env python3
"""Makes the corpus of the bundle format: bad/*.kmb with one failure each, good/*.kmb, INDEX.tsv (file, exit code, line, text).

    make.py            writes the files anew
    make.py --check    compares with what is there; exit 1 when something differs
"""

import base64
import json
import pathlib
import re
import sys

import cases
import writer
from writer import Kek, Signer, compact

HERE = pathlib.Path(__file__).resolve().parent
SIGNER, STRANGER, PAIR = Signer(0x1001), Signer(0x2002), Signer(0x3003)
ROOT, SPARE = Kek("root@1", 0x10), Kek("spare@1", 0x20, "AES-KW", "CKM_AES_KEY_WRAP")
KEKS = [ROOT, SPARE]
WAIVER = {"rule": "G-KEK", "reason": "ticket 7"}
SECTIONS = {"header": (cases.HEADER, 1), "secret": (cases.SECRET, 2), "pair": (cases.PAIR, 3), "seals": (cases.SEALS, 4),
            "signature": (cases.SIGNATURE, 5)}


def padded_pair():
    """A PKCS#8 key whose length is a multiple of eight, so that AES-KW takes it too."""
    value = PAIR.pkcs8
    return value + b"\0" * (-len(value) % 8)


def lines():
    pair = writer.record(KEKS, "release-sign", 0x60, role="sign", kind="ec-p256", value=padded_pair(), spki=PAIR.spki, expires=None, version=1)
    return [compact(writer.header(KEKS, 2, [WAIVER])), compact(writer.record(KEKS, "payments", 0x40)), compact(pair)]


def replaced(line, old, new):
    if old not in line:
        raise SystemExit(f"nothing to replace: {old!r}")
    return line.replace(old, new, 1)


def raw_lines(data):
    return data.splitlines(keepends=True)


def resigned(above):
    return above + (compact(writer.signature(SIGNER, above)) + "\n").encode()


def edit_record(line, edit):
    """Those failures that need more than a replaced text; the record is sealed and signed with them."""
    kind, *rest = edit
    if kind == "text":
        return replaced(line, *rest)
    document = json.loads(line)
    wrapped, key = document["wrapped"], document["key"]
    if kind == "wrapped":
        document["wrapped"] = [writer.b64(writer.pattern(size, 0x33)) for size in rest[0]]
    elif kind == "base64":
        old, new = rest
        wrapped[0] = writer.b64(b"\xfb\xff" + writer.pattern(38, 0x33))
        wrapped[0] = wrapped[0].replace(old, new)
    elif kind == "loose bits":
        wrapped[0] = re.sub(r".==$", lambda m: chr(ord(m.group()[0]) + 1) + "==", wrapped[0])
    elif kind == "swap fields":
        document = {"wrapped": wrapped, "key": key}
    elif kind == "public":
        spki = base64.b64decode(key["public"])
        what = rest[0]
        changed = {None: None, -1: spki[:-1], 1: spki + b"\0", "off": spki[:-1] + bytes([spki[-1] ^ 1])}.get(what, what)
        key["public"] = None if changed is None else writer.b64(changed)
    elif kind == "twin":
        if rest[0] == "name":
            key["name"], key["version"] = "payments", 3
        else:
            key["id"] = writer.pattern(16, 0x40).hex()
    else:
        raise SystemExit(f"unknown edit {edit}")
    return compact(document)


def signature_line(data, what):
    *above, last = raw_lines(data)
    body = json.loads(last)
    fields = body["signature"]
    der = base64.b64decode(fields["value"])
    if what == "upper":
        fields["key"] = fields["key"].upper()
    elif what == "short":
        fields["key"] = fields["key"][:-2]
    else:
        r = der[4:4 + der[3]]
        wrong = {"raw": der[4:], "long form": b"\x30\x81" + der[1:], "zero": bytes.fromhex("3006020100020100"), "trailing": der + b"\0",
                 "of another text": SIGNER.sign(b"another text")}
        assert r
        fields["value"] = writer.b64(wrong[what])
    return b"".join(above) + (compact(body) + "\n").encode()


def spoil_finished(data, edit):
    """Failures of the finished file. Where seals change, the signature is made anew: only the seals are wrong."""
    kind, *rest = edit
    all_lines = raw_lines(data)
    above = b"".join(all_lines[:3])
    if kind == "after":
        old, new = (t.encode() for t in rest)
        at = 4 if old in all_lines[4] else 3
        all_lines[at] = all_lines[at].replace(old, new, 1)
        return b"".join(all_lines) if at == 4 else resigned(b"".join(all_lines[:4]))
    if kind in ("seals", "seal value"):
        list_of = json.loads(all_lines[3])["seals"]
        if kind == "seals":
            chosen = [list_of[i] for i in rest[0]]
        else:
            list_of[0]["value"] = writer.b64(base64.b64decode(list_of[0]["value"])[:rest[0]])
            chosen = list_of
        return resigned(above + (compact({"seals": chosen}) + "\n").encode())
    if kind in ("signature key", "signature value"):
        return signature_line(data, rest[0])
    if kind == "data":
        return data.replace(rest[0].encode(), rest[1].encode(), 1)
    if kind == "drop":
        del all_lines[rest[0] - 1]
    elif kind == "insert":
        all_lines.insert(rest[0] - 1, all_lines[rest[1] - 1])
    elif kind == "insert text":
        all_lines.insert(rest[0] - 1, rest[1])
    elif kind == "keep":
        all_lines = all_lines[:rest[0]]
    elif kind == "order":
        all_lines = [all_lines[i - 1] for i in rest[0]]
    elif kind == "append":
        all_lines.append(data if rest[0] == "itself" else rest[0])
    elif kind == "cut":
        return data[:rest[0]]
    elif kind == "crlf":
        return data.replace(b"\n", b"\r\n")
    elif kind == "whole":
        return rest[0]
    else:
        raise SystemExit(f"unknown edit {edit}")
    return b"".join(all_lines)


def records_lie(count):
    texts = lines()
    texts[0] = replaced(texts[0], '"records":2', f'"records":{count}')
    return writer.finish(texts, KEKS, SIGNER)


def bad():
    """(file name, line, text, bytes)"""
    whole = writer.finish(lines(), KEKS, SIGNER)
    for section, (rows, line) in SECTIONS.items():
        for name, says, edit in rows:
            if section in ("seals", "signature"):
                data = spoil_finished(whole, edit)
            else:
                texts = lines()
                texts[line - 1] = edit_record(texts[line - 1], edit)
                data = writer.finish(texts, KEKS, SIGNER)
            yield f"{section}-{name}", line, says, data
    for name, line, says, edit in cases.FILE:
        yield f"file-{name}", line, says, records_lie(edit[1]) if edit[0] == "records" else spoil_finished(whole, edit)


def good():
    """(file name, exit code of verify with signer.pem, text, bytes): some that differ from each other in kind."""
    both = lines()
    one = [ROOT]
    weak = Kek("weak@7", 0x30, size=16)
    macs = [writer.record(one, f"mac-{bits}", seed, role="mac", kind=f"hmac-sha{bits}") for bits, seed in ((256, 0x50), (384, 0x70), (512, 0x90))]
    data = [writer.record(one, f"data-{bits}", seed, kind=f"aes-{bits}") for bits, seed in ((256, 0xA0), (192, 0xB0), (128, 0xC0))]
    states = [writer.record(one, f"is-{state}", 0x11 + 16 * i, state=state) for i, state in enumerate(("pre-activation", "active", "suspended", "deactivated", "compromised"))]

    def of(keks, records, signer=SIGNER, waivers=()):
        return writer.finish([compact(writer.header(keks, len(records), waivers)), *map(compact, records)], keks, signer)

    yield "two-recipients", 0, "", writer.finish(both, KEKS, SIGNER)
    yield "one-key", 0, "", of(one, [writer.record(one, "payments", 0x40)])
    yield "mac-keys", 0, "", of(one, macs)
    yield "data-keys", 0, "", of(one, data)
    yield "every-state", 0, "", of(one, states)
    yield "never-expires", 0, "", of(one, [writer.record(one, "payments", 0x40, expires=None)])
    yield "weak-kek-waived", 0, "", of([weak], [writer.record([weak], "payments", 0x40)], waivers=[WAIVER])
    yield "longest-name", 0, "", of(one, [writer.record(one, "a" * 64, 0x40, version=999999)])
    sixteen = [Kek(f"kek-{i}@1", i) for i in range(16)]
    yield "sixteen-recipients", 0, "", of(sixteen, [writer.record(sixteen, "payments", 0x40)])
    yield "many-keys", 0, "", of(one, [dict(r, key=dict(r["key"], id=writer.pattern(16, i).hex())) for i in range(100)
                                       for r in [writer.record(one, f"key-{i:04}", i & 0xFF)]])
    yield "signed-by-a-stranger", 1, STRANGER.fingerprint, writer.finish(both, KEKS, STRANGER)


def tree():
    """Everything that the corpus is: path → bytes."""
    out = {"signer.pem": SIGNER.pem.encode(), "stranger.pem": STRANGER.pem.encode()}
    index = ["# file\texit\tline\tthe refusal says"]
    for name, line, says, data in bad():
        path = f"bad/{name}.kmb"
        if path in out:
            raise SystemExit(f"twice: {path}")
        out[path] = data
        index.append(f"{path}\t65\t{line}\t{says}")
    for name, code, says, data in good():
        out[f"good/{name}.kmb"] = data
        index.append(f"good/{name}.kmb\t{code}\t-\t{says}")
    out["INDEX.tsv"] = ("\n".join(index) + "\n").encode()
    return out


def main():
    wanted = tree()
    there = {str(p.relative_to(HERE)) for folder in ("bad", "good") for p in (HERE / folder).glob("*")}
    if "--check" in sys.argv[1:]:
        wrong = [p for p, data in wanted.items() if not (HERE / p).is_file() or (HERE / p).read_bytes() != data]
        wrong += sorted(there - set(wanted))
        print("\n".join(f"differs: {p}" for p in wrong) or f"{len(wanted)} files as make.py makes them")
        return 1 if wrong else 0
    for path in there - set(wanted):
        (HERE / path).unlink()
    for path, data in wanted.items():
        (HERE / path).parent.mkdir(exist_ok=True)
        (HERE / path).write_bytes(data)
    print(f"{sum(p.startswith('bad/') for p in wanted)} bad, {sum(p.startswith('good/') for p in wanted)} good")
    return 0


if __name__ == "__main__":
    sys.exit(main())
