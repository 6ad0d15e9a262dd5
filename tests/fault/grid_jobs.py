"""What grid.py runs: every subcommand that meets the token or changes the home, and what must be true of its product when it says 0.

A changing job runs in a copy of a prepared place, which is held against crash_loop.check afterwards; a reading one runs in the
prepared place itself, and must leave home and token octet by octet as they were (or pass the same check).
"""

import collections
import dataclasses
import json
import pathlib
import subprocess
import sys
import typing

import crash_loop
from crash_loop import Place, Wrong, plain, require
import harness

TEXT = "nobody but the holder of the key may read this line\n"
STORED = "sk_live_third_party_0123456789"


@dataclasses.dataclass
class Job:
    words: list
    product: typing.Callable = lambda place, result: None  # raises Wrong where exit 0 was a lie
    changing: bool = True
    stdin: str = ""
    setup: typing.Callable = lambda place: None
    after: typing.Callable = lambda place, base: None  # before the check: what a user would do next, and what may differ
    files: tuple = ()  # what it may leave among the outputs
    exits: tuple = (0, 1, 64, 65, 66, 69, 70, 73, 74, 75, 77, 78)
    blind: tuple = ()  # calls whose garbage nobody without the key's value could tell from the truth


def run(place, job, **env):
    words = [str(w).format(out=place.out, dir=place.dir, fingerprint=place.fingerprint()) for w in job.words]
    return harness.run_program([harness.BINARY, *words], dict(place.env, **env), stdin=job.stdin, timeout=60)


def pkcs11_tool(place, *words):
    result = harness.run_program(["pkcs11-tool", "--module", harness.SOFTHSM, "--token-label", harness.TOKEN_LABEL, "--login", "--pin", harness.PIN, *words], place.env)
    require(result.code == 0, str(result))


def prepare(folder):
    place = crash_loop.prepare(folder)
    place.must("gen", "pair", "--role", "sign")
    pkcs11_tool(place, "--keygen", "--key-type", "AES:32", "--label", "stray", "--id", "77", "--sensitive", "--usage-decrypt")
    for name, content in (("text", TEXT), ("runbook.md", "# none\n")):
        (place.dir / name).write_text(content)
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(place.dir / "other.key")], check=True)
    subprocess.run(["openssl", "pkey", "-in", str(place.dir / "other.key"), "-pubout", "-out", str(place.dir / "other.pem")], check=True)
    place.must("encrypt", "cargo", "--in", "{dir}/text", "--out", "{dir}/sealed")
    (place.dir / "tag").write_text(place.must("mac", "tags", "--in", "{dir}/text").out.strip())
    place.must("sign", "pair", "--in", "{dir}/text", "--out", "{dir}/signature")
    place.must("wrap", "cargo", "tags", "--kek", "root", "--out", "{dir}/good.kmb")
    bad = (place.dir / "good.kmb").read_text().splitlines(keepends=True)
    bad[1] = bad[1].replace('"name":"cargo"', '"name":"Cargo"')
    (place.dir / "bad.kmb").write_text("".join(bad))
    storing = Job(["apikey", "store", "third", "--app", "shop"], stdin=STORED)
    require(run(place, storing).code == 0, "apikey store")
    place.must("apikey", "create", "--app", "desk", "--ip", "10.0.0.1", "--out", "{dir}/desk.key")
    key_id = place.must("apikey", "list", "--json").json()["keys"][0]["id"]
    for name, words in CHANGING_KEY.items():
        JOBS[name].words = [word.replace("ID", key_id) for word in words]
    place.must("audit", "checkpoint", "--out", "{dir}/checkpoint")
    place.must("doctor")
    return place


# -- products ------------------------------------------------------------------------------------------------------------


def must(place, *words, **more):
    job = Job(list(words), **more)
    result = run(place, job)
    require(result.code == 0, f"its product is wrong: {result}")
    return result


def prints(text):
    return lambda place, result: require(result.out == text, f"printed something else: {result}")


def key_is_there(name):
    return lambda place, result: require(any(k["name"] == name for k in place.keys()), f"{name} is not there")


def opens(path="{out}/b.kmb"):
    """The bundle opens, and what opens is what the token has."""
    def check(place, result):
        must(place, "verify", path)
        must(place, "unwrap", path, "--check")
    return check


def opens_kek(path="{out}/b.kmb"):
    return lambda place, result: must(place, "import-kek", path, "--using", "incoming", "--check")


def decrypts(place, result):
    job = Job(["decrypt", "--in", "{out}/sealed"])
    require(run(place, job).out == TEXT, "what was encrypted does not decrypt")


def usable(name):
    """The key does its work: decrypts what it encrypted."""
    def check(place, result):
        must(place, "encrypt", name, "--in", "{dir}/text", "--out", "{dir}/by-it")
        require(must(place, "decrypt", "--in", "{dir}/by-it").out == TEXT, f"{name} does not work")
        (place.dir / "by-it").unlink()
    return check


def signs(place, result):
    must(place, "verify-signature", "pair", "--signature", "{out}/signature", "--in", "{dir}/text")


def certifies(kind):
    def check(place, result):
        words = ["openssl", kind, "-noout", "-verify"] if kind == "req" else ["openssl", "verify", "-CAfile", "/dev/stdin", "/dev/stdin"]
        if kind == "x509":
            (place.dir / "cert.pem").write_text(result.out)
            words = ["openssl", "verify", "-check_ss_sig", "-CAfile", str(place.dir / "cert.pem"), str(place.dir / "cert.pem")]
        done = subprocess.run(words, input=result.out.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        require(done.returncode == 0 and b"verify failure" not in done.stdout, f"openssl: {done.stdout.decode()} {result}")
        own = must(place, "show", "pair", "--public").out
        held = subprocess.run(["openssl", kind, "-noout", "-pubkey"], input=result.out.encode(), stdout=subprocess.PIPE, check=False).stdout.decode()
        require(held.strip() == own.strip(), f"another key's: {result}")
    return check


def says_good(place, result):
    """Nothing but the whole truth: this place is in order."""
    require('"ok"' in result.out or "ok" in result.out or "OK" in result.out, f"{result}")


def is_document(place, result):
    json.loads(result.out)


def random_enough(place, result):
    value = bytes.fromhex(result.out)
    require(len(value) == 24 and len(set(value)) > 8, f"not random: {result}")


def restores(place, result):
    """A home's backup holds what the home holds."""
    target = place.dir / "restored"
    done = harness.run_program([harness.BINARY, "--home", target, "home", "restore", place.out / "h.db"], place.env)
    require(done.code == 0, f"the backup does not restore: {done}")
    listed = harness.run_program([harness.BINARY, "--home", target, "list", "--json"], place.env)
    require(listed.code == 0 and listed.json()["keys"] == place.keys(), f"the backup holds something else: {listed}")


def opens_stored(name):
    show = [sys.executable, "-c", "import os; print(os.environ['V'], end='')"]
    return lambda place, result: require(must(place, "apikey", "exec", "--app", "shop", "--set", f"V={name}", "--", *show).out == STORED, f"{name} opens to something else")


def checks(place, result):
    """The key that was shown is the one that is known."""
    must(place, "apikey", "check", "--key-stdin", "--ip", "10.0.0.1", stdin=result.out)


# -- what may be otherwise afterwards ------------------------------------------------------------------------------------


def signers_as_listed(place, base):
    """Signers are no keys of the catalog: exactly the listed ones stand on the token, as pairs."""
    listed = {signer["name"] for signer in place.must("signer", "list", "--json").json()["signers"]}
    found = collections.Counter()
    for item in place.objects():
        if item["label"].startswith(("kmtool-log-signer-", "kmtool-document-signer-")):
            use, version = item["label"].removeprefix("kmtool-").split("-")[0], item["label"].split("@")[1]
            require(f"{use}@{version}" in listed, f"a signer that nobody knows: {item['label']}")
            found[(item["class"], item["label"], plain(item["id"]))] += 1
    require(len(found) == 2 * len(listed) and set(found.values()) == {1}, f"signers {listed}, on the token {found}")
    stray = [object_ for object_ in base["signers"] if object_[1] == "stray"]
    base["signers"] = found + collections.Counter(stray)


def repair_then(step):
    """doctor --repair, and what then differs from before."""
    def after(place, base):
        repaired = place.run("doctor", "--repair")
        require(repaired.code == 0, f"doctor --repair: {repaired}")
        step(place, base)
    return after


def adopted(place, base):
    base["adopted"] = {"77"}  # keeps its own label on the token


def may_be_gone(place, base):
    base["keys"] = collections.Counter(o for o in base["keys"].elements() if o[1] != "old@1")


def change_policy(place):
    path = place.home / "policy.json"
    path.write_text(path.read_text() + "\n")
    path.chmod(0o600)


def switch_sink_off(place):
    """The acceptance is an intent and an outcome: the sink so far is told before."""
    path = place.home / "policy.json"
    text = path.read_text()
    path.write_text(text.replace('"checkpoint_sink": null', f'"checkpoint_sink": "file:{place.home.parent}/sink"'))
    place.must("policy", "accept")
    path.write_text(text + "\n")


def accept_policy(place, base):
    repaired = place.run("doctor", "--repair")
    require(repaired.code in (0, 1), f"doctor --repair: {repaired}")
    place.must("policy", "accept")


def second_token(place):
    subprocess.run(["softhsm2-util", "--module", harness.SOFTHSM, "--init-token", "--free", "--label", "second", "--pin", harness.PIN, "--so-pin", harness.SO_PIN],
                   env=dict(place.env), check=True, stdout=subprocess.DEVNULL)


INIT = ["--home", "{dir}/second", "init", "--module", harness.FORWARD, "--token-label", "second"]


def inits_at_last(place, base):
    """What broke off can be repaired or begun again, and is then a home that works."""
    job = Job(["--home", "{dir}/second", "doctor", "--repair"])
    repaired = run(place, job)
    if repaired.code != 0:
        again = run(place, Job(INIT))
        require(again.code in (0, 73), f"init again: {again}")
        repaired = run(place, job)
    require(repaired.code == 0, f"doctor --repair: {repaired}")
    must(place, "--home", "{dir}/second", "gen", "made", "--role", "data")


# -- the jobs ------------------------------------------------------------------------------------------------------------

JOBS = {name: Job(words) for name, words in crash_loop.COMMANDS.items()}
for _name, _product in (("gen", usable("made")), ("gen-kek", key_is_there("made")), ("gen-sign", key_is_there("made")), ("gen-backup", opens()), ("wrap", opens()),
                        ("unwrap", usable("lost")), ("import-kek", key_is_there("lost-kek")), ("export-kek", opens_kek())):
    JOBS[_name].product = _product
for _name in ("gen-backup", "wrap", "export-kek", "gen-backup-kek"):
    JOBS[_name].blind = ("C_WrapKey",)
CHANGING_KEY = {"apikey-rotate": ["apikey", "rotate", "ID", "--overlap", "0"], "apikey-revoke": ["apikey", "revoke", "ID", "--reason", "a test"]}
JOBS |= {
    "init": Job(INIT, setup=second_token, after=inits_at_last),
    "suspend": Job(["state", "old", "suspend", "--reason", "a test"]),
    "destroy": Job(["state", "old", "destroy", "--reason", "a test", "--yes"], after=repair_then(may_be_gone)),
    "rotate": Job(["rotate", "cargo"], usable("cargo")),
    "rotate-kek": Job(["rotate", "root"]),
    "adopt": Job(["adopt", "found", "--label", "stray", "--role", "data"], key_is_there("found"), after=adopted),
    "signer-rotate": Job(["signer", "rotate"], lambda place, result: must(place, "verify", "{dir}/good.kmb"), after=repair_then(signers_as_listed)),
    "signer-trust": Job(["signer", "trust", "{dir}/other.pem", "--name", "other"]),
    "policy-accept": Job(["policy", "accept"], setup=change_policy, after=accept_policy),
    "policy-switch": Job(["policy", "accept"], setup=switch_sink_off, after=accept_policy),
    "home-backup": Job(["home", "backup", "{out}/h.db"], restores, files=("h.db",)),
    "checkpoint": Job(["audit", "checkpoint", "--out", "{out}/cp"], files=("cp",)),
    "apikey-create": Job(["apikey", "create", "--app", "shop", "--ip", "10.0.0.1"], checks),
    "apikey-keep": Job(["apikey", "create", "--app", "shop", "--ip", "10.0.0.1", "--keep"], checks),
    "apikey-store": Job(["apikey", "store", "fourth", "--app", "shop"], opens_stored("fourth"), stdin=STORED, blind=("C_Encrypt",)),
    "apikey-publish": Job(["apikey", "publish", "--out", "{out}/snap"], files=("snap",)),
    "apikey-rotate": Job([]),
    "apikey-revoke": Job([]),
    "repair": Job(["doctor", "--repair"]),
}


def reading(words, product=lambda place, result: None, **more):
    return Job(words, product, changing=False, **more)


JOBS |= {
    "token": reading(["token"]),
    "mechanisms": reading(["token", "--mechanisms"]),
    "doctor": reading(["doctor"], says_good),
    "verify": reading(["verify", "{dir}/good.kmb"], says_good),
    "verify-bad": reading(["verify", "{dir}/bad.kmb"], lambda place, result: require(False, f"a changed bundle verifies: {result}")),
    "check": reading(["unwrap", "{dir}/good.kmb", "--check"], lambda place, result: require("2 compared" in result.out, str(result))),
    "check-kek": reading(["import-kek", "{dir}/ready-kek.kmb", "--check"]),
    "encrypt": reading(["encrypt", "cargo", "--in", "{dir}/text", "--out", "{out}/sealed"], decrypts, files=("sealed",), blind=("C_Encrypt",)),
    "decrypt": reading(["decrypt", "--in", "{dir}/sealed"], prints(TEXT), blind=("C_Decrypt",)),
    "mac": reading(["mac", "tags", "--in", "{dir}/text"],
                   lambda place, result: require(result.out.strip() == (place.dir / "tag").read_text(), f"another tag: {result}"), blind=("C_SignFinal", "C_Sign")),
    "sign": reading(["sign", "pair", "--in", "{dir}/text", "--out", "{out}/signature"], signs, files=("signature",)),
    "verify-signature": reading(["verify-signature", "pair", "--signature", "{dir}/signature", "--in", "{dir}/text"]),
    "csr": reading(["csr", "pair", "--subject", "CN=grid"], certifies("req")),
    "cert": reading(["cert", "pair", "--subject", "CN=grid", "--days", "5"], certifies("x509")),
    "random": reading(["random", "24"], random_enough, blind=("C_GenerateRandom",)),
    "audit-keys": reading(["audit", "keys", "--json"], is_document),
    "audit-probe": reading(["audit", "keys", "--probe", "--json"], is_document),
    "audit-verify": reading(["audit", "verify", "--allow-foreign"], says_good),
    "guidance": reading(["audit", "guidance", "--json"], is_document),
    "inventory": reading(["audit", "inventory", "--json"], is_document),
    "bundles": reading(["bundles", "--verify-all"]),
    "apikey-exec": reading(["apikey", "exec", "--app", "shop", "--set", "V=third", "--", sys.executable, "-c", "import os; print(os.environ['V'], end='')"],
                           prints(STORED), blind=("C_Decrypt",)),
    "monitor": reading(["monitor"], says_good, exits=(0, 1, 2, 3)),
}


def hold(job, place, result, told=""):
    """What must be true of any run, disturbed or not."""
    require(result.code in job.exits, f"exit {result.code} is none that is documented: {result}")
    printed = result.out + result.err
    require(harness.PIN not in printed and harness.SO_PIN not in printed, f"a PIN is printed: {result}")
    require(TEXT.strip() not in result.err and STORED not in result.err, f"a secret is printed: {result}")
    require("unexpected: " not in result.err, f"an exception that nobody foresaw: {result}")
    if result.code >= 64:
        require(result.out == "", f"something on standard output: {result}")
        errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
        as_json = '"error":{' in result.err
        require(len(errors) == 1 or as_json, f"no clear error: {result}")
    if result.code == 0 and told not in job.blind:
        job.product(place, result)


def outputs(place, job):
    return {place.out / name for name in job.files}


def check(place, base, job, number):
    """Consistent after a repair, whatever happened."""
    base = dict(base, outputs=outputs(place, job))
    job.after(place, base)
    crash_loop.check(place, base, number)


__all__ = ["JOBS", "Job", "Place", "Wrong", "check", "hold", "outputs", "pathlib", "prepare", "run"]
