"""kill -9 at every point of the commands that change something, then repair, then hold catalog and token against each other.

    crash_loop.py kill     SIGKILL before and after every C_ call, and before and after each of kmtool's own file calls
    crash_loop.py fail     CKR_DEVICE_ERROR from every C_ call, not made or made; EIO from each file call

For each command a home and its token are prepared once; for each point N, from 1 until a run completes, they are copied, the
command runs in the copy and is disturbed at N, then `doctor --repair` (or first the next command) must mend it, and then:
every key of the catalog stands on the token with exactly the objects of its role, nothing else does, what was there before
is still there, no partial file is left, a bundle under its final name verifies, and the key it is a backup of exists.

KM_CRASH_STRIDE (default 1): only each so-manieth point. KM_CRASH_ONLY: names of commands, with commas between.
KM_CRASH_DIR: where the copies are made (default: /dev/shm where there is one: a kill does not ask for a real disk).
"""

import base64
import collections
import hashlib
import json
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
import harness  # noqa: E402

STRIDE = max(1, int(os.environ.get("KM_CRASH_STRIDE", "1")))
WORKERS = max(2, os.cpu_count() or 2)
COMMANDS = {
    "gen": ["gen", "made", "--role", "data"],
    "gen-kek": ["gen", "made", "--role", "kek", "--exportable"],
    "gen-sign": ["gen", "made", "--role", "sign"],
    "gen-count-5": ["gen", "made", "--role", "data", "--count", "5"],
    "gen-backup": ["gen", "made", "--role", "data", "--backup", "{out}/b.kmb", "--kek", "root"],
    "wrap": ["wrap", "cargo", "tags", "--kek", "root", "--out", "{out}/b.kmb"],
    "unwrap": ["unwrap", "{dir}/ready.kmb", "--activate"],
    "export-kek": ["export-kek", "movable", "--to-kek", "root", "--to-public-key", "{dir}/in.pem", "--fingerprint", "{fingerprint}", "--out", "{out}/b.kmb"],
    "gen-backup-kek": ["gen", "made", "--role", "kek", "--type", "aes-128", "--to-public-key", "{dir}/in.pem", "--fingerprint", "{fingerprint}",
                       "--kek", "root", "--backup", "{out}/b.kmb"],
    "import-kek": ["import-kek", "{dir}/ready-kek.kmb", "--activate"],
    "import-kek-rsa": ["import-kek", "{dir}/ready-kek.kmb", "--using", "incoming"],
}
# Of these only each so-manieth point, unless KM_CRASH_STRIDE is set: they share their steps with the others.
SAMPLED = {"export-kek": 4, "gen-backup-kek": 4, "import-kek": 4, "import-kek-rsa": 9}
CLASSES = {"kek": ["secret", "secret"], "data": ["secret"], "mac": ["secret"], "sign": ["private", "public"], "transport": ["private", "public"]}


class Place:
    """A home, its token and a folder for outputs, all under one folder that can be copied."""

    def __init__(self, folder):
        self.dir = pathlib.Path(folder)
        self.home, self.hsm, self.out = self.dir / "home", self.dir / "hsm", self.dir / "out"
        self.pin = self.hsm / "pin"
        self.env = harness.base_env(self.dir)
        self.env.update(SOFTHSM2_CONF=str(self.hsm / "softhsm2.conf"), KMFORWARD_MODULE=harness.SOFTHSM, KMTOOL_HOME=str(self.home),
                        KMTOOL_PIN_SOURCE=f"file:{self.pin}")

    def run(self, *words, **env):
        words = [str(w).format(out=self.out, dir=self.dir, fingerprint=self.fingerprint()) for w in words]
        return harness.run_program([harness.BINARY, *words], dict(self.env, **env), timeout=60)

    def fingerprint(self):
        """Of the transport key: SHA-256 of what the PEM holds."""
        pem = self.dir / "in.pem"
        if not pem.exists():
            return ""
        text = "".join(line for line in pem.read_text().splitlines() if "-----" not in line)
        return hashlib.sha256(base64.b64decode(text)).hexdigest()

    def must(self, *words):
        result = self.run(*words)
        if result.code != 0:
            raise AssertionError(f"should have succeeded: {result}")
        return result

    def objects(self):
        result = harness.run_program([harness.LISTER, harness.SOFTHSM, "", harness.TOKEN_LABEL, self.pin, "list"], self.env)
        if result.code != 0:
            raise AssertionError(str(result))
        return [json.loads(line) for line in result.out.splitlines()]

    def keys(self):
        return self.must("list", "--json").json()["keys"]

    def copy_to(self, folder):
        shutil.copytree(self.dir, folder)
        other = Place(folder)
        conf = other.hsm / "softhsm2.conf"
        conf.write_text(conf.read_text().replace(str(self.hsm), str(other.hsm)))
        return other


def prepare(folder):
    place = Place(folder)
    place.dir.mkdir()
    harness.SoftToken(place.hsm)
    place.out.mkdir(mode=0o700)
    place.must("init", "--module", harness.FORWARD, "--token-label", harness.TOKEN_LABEL)
    place.must("gen", "root", "--role", "kek")
    place.must("gen", "cargo", "--role", "data", "--exportable")
    place.must("gen", "tags", "--role", "mac", "--exportable")
    place.must("gen", "old", "--role", "data")
    place.must("gen", "movable", "--role", "kek", "--type", "aes-128", "--exportable")
    place.must("gen", "incoming", "--role", "transport", "--type", "rsa-3072")
    (place.dir / "in.pem").write_text(place.must("show", "incoming", "--public").out)
    # What unwrap restores: keys that this token has no more. Made in a copy, whose bundle is brought here.
    donor = place.copy_to(place.dir.with_name(place.dir.name + "-donor"))
    donor.must("gen", "lost", "--role", "data", "--exportable")
    donor.must("gen", "lost-signer", "--role", "sign", "--exportable", "--waive", "G-SEALED=a test of restoring pairs", "--waive", "G-KEK=a test")
    donor.must("wrap", "lost", "lost-signer", "--kek", "root", "--out", donor.dir / "ready.kmb")
    donor.must("gen", "lost-kek", "--role", "kek", "--type", "aes-128", "--exportable")
    donor.must("export-kek", "lost-kek", "--to-kek", "root", "--to-public-key", "{dir}/in.pem", "--fingerprint", "{fingerprint}", "--out", donor.dir / "ready-kek.kmb")
    for name in ("ready.kmb", "ready-kek.kmb"):
        shutil.copy(donor.dir / name, place.dir / name)
    shutil.rmtree(donor.dir)
    place.must("doctor")
    return place


class Wrong(Exception):
    pass


def require(condition, what):
    if not condition:
        raise Wrong(what)


def ours(key):
    return (key["label"], key["id"])


def plain(identity):
    """A KEK's seal may carry the KEK's id with a suffix."""
    return identity[:32]


def check(place, base, number):
    """Everything that must hold after a repair."""
    if number % 5 == 0:  # sometimes it is not doctor but the next command that mends
        result = place.run("gen", "next", "--role", "data")
        require(result.code == 0, f"the next command: {result}")
    repaired = place.run("doctor", "--repair", "--json")
    require(repaired.code == 0, f"doctor --repair: {repaired}")
    require(repaired.json()["healthy"], f"doctor --repair: {repaired}")

    keys, objects = place.keys(), place.objects()
    catalog = collections.Counter()
    for key in keys:
        if key["state"] != "destroyed" and key["id"] not in base.get("adopted", ()):
            for kind in CLASSES[key["role"]]:
                catalog[(kind, *ours(key))] += 1
    token = collections.Counter()
    anchors = 0
    for item in objects:
        if plain(item["id"]) == base["anchor"]:
            anchors += 1
        else:
            token[(item["class"], item["label"], plain(item["id"]))] += 1
    require(token - base["signers"] == catalog, f"only on the token: {token - base['signers'] - catalog}; only in the catalog: {catalog - token}")
    require(base["signers"] - token == collections.Counter(), f"signers lost: {base['signers'] - token}")
    require(base["keys"] - catalog == collections.Counter(), f"keys lost: {base['keys'] - catalog}")
    require(1 <= anchors <= 2, f"{anchors} anchor objects")
    by_id = {key["id"]: key for key in keys}
    for item in objects:
        key = by_id.get(plain(item["id"]))
        if key and item["class"] != "public" and key["id"] not in base.get("adopted", ()):
            require(item["extractable"] is key["extractable"], f"{item} is {key['extractable']} in the catalog")
            require(item["sensitive"] and item["private"] and not item["modifiable"], f"badly made: {item}")

    left = [str(path) for path in place.dir.rglob("*") if "kmtmp" in path.name]
    require(not left, f"left behind: {left}")
    for path in set(place.out.iterdir()) - base.get("outputs", set()):
        require(path.name == "b.kmb", f"left behind: {path}")
        verified = place.run("verify", path, "--json")
        require(verified.code == 0 and set(verified.json()["seals"]) == {"ok"}, f"the bundle under its final name: {verified}")
        for line in path.read_text().splitlines()[1:-2]:
            record = json.loads(line)["key"]
            require(record["id"] in by_id, f"a bundle holds {record['name']}, which the catalog does not know")
    if number % 7 == 0:
        result = place.run("gen", "afterwards", "--role", "data")
        require(result.code == 0, f"afterwards: {result}")


def base_of(place):
    """What a place holds before anything is disturbed."""
    anchor = json.loads((place.home / "config.json").read_text())["home_id"].replace("-", "")
    catalog = {ours(key) for key in place.keys()}
    counted = [((o["class"], o["label"], plain(o["id"])), (o["label"], plain(o["id"])) in catalog) for o in place.objects() if plain(o["id"]) != anchor]
    return {"anchor": anchor, "signers": collections.Counter(o for o, known in counted if not known), "keys": collections.Counter(o for o, known in counted if known)}


def disturb(mode, source, when, number):
    """The environment that makes it happen, and the file that tells whether it was reached."""
    if source == "token":
        if mode == "fail":
            return {"KMFORWARD_FAIL_AT": str(number), "KMFORWARD_FAIL_RV": "30", "KMFORWARD_FAIL_WHEN": when}
        return {"KMFORWARD_KILL_AT": str(number), "KMFORWARD_KILL_WHEN": when}
    env = {"LD_PRELOAD": harness.KILLFS}
    if mode == "fail":
        return dict(env, KILLFS_FAIL_AT=str(number), KILLFS_ERRNO="5")
    return dict(env, KILLFS_KILL_AT=str(number), KILLFS_WHEN=when)


def one_point(job):
    """Runs one point in a copy. Returns (job, was it reached, the call's name, what was wrong or None)."""
    (prepared, base, mode, name, source, when, number) = job
    folder = pathlib.Path(tempfile.mkdtemp(prefix="point-", dir=pathlib.Path(prepared).parent)) / "p"
    call = ""
    try:
        place = Place(prepared).copy_to(folder)
        counts = folder.parent / "count"
        counting = {"KMFORWARD_COUNT_FILE" if source == "token" else "KILLFS_COUNT_FILE": str(counts)}
        result = place.run(*COMMANDS[name], **disturb(mode, source, when, number), **counting)
        reached, call = harness.counter_of(counts)
        hit = reached >= number
        if mode == "kill":
            require(result.code == (-9 if hit else 0), f"the command: {result}")
        else:
            require(result.code >= 0 and result.code != 70 or not hit, f"the command: {result}")
            require(hit or result.code == 0, f"the command: {result}")
        check(place, base, number)
        return job, hit, call, None
    except (Wrong, AssertionError, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        return job, True, call, f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def calls_of(prepared, base, name, source):
    """How many calls an undisturbed run makes."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="count-", dir=pathlib.Path(prepared).parent)) / "p"
    try:
        place = Place(prepared).copy_to(folder)
        counts = folder.parent / "count"
        preload = {"LD_PRELOAD": harness.KILLFS, "KILLFS_COUNT_FILE": str(counts)} if source == "files" else {"KMFORWARD_COUNT_FILE": str(counts)}
        result = place.run(*COMMANDS[name], **preload)
        require(result.code == 0, f"{name} undisturbed: {result}")
        check(place, base, 0)
        return harness.counter_of(counts)[0]
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)


def main():
    mode = sys.argv[1] if len(sys.argv) > 1 else "kill"
    only = [name for name in os.environ.get("KM_CRASH_ONLY", "").split(",") if name] or list(COMMANDS)
    parent = os.environ.get("KM_CRASH_DIR") or ("/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    root = pathlib.Path(tempfile.mkdtemp(prefix="kmtool-crash-", dir=parent))
    begun = time.monotonic()
    total, failures = 0, []
    try:
        place = prepare(root / "ready")
        base = base_of(place)
        with multiprocessing.Pool(WORKERS) as pool:
            for name in only:
                for source in ("token", "files"):
                    calls = calls_of(place.dir, base, name, source)
                    points = 0
                    for when in ("before", "after") if mode == "kill" or source == "token" else ("before",):
                        step = STRIDE if "KM_CRASH_STRIDE" in os.environ else SAMPLED.get(name, 1)
                        jobs = [(str(place.dir), base, mode, name, source, when, n) for n in range(1, calls + 1, step)]
                        # The next ones until a run completes: the number of calls may differ a little from run to run.
                        number, completed = calls + 1, False
                        while not completed and number < calls + 20:
                            answer = one_point((*jobs[0][:6], number))
                            completed = not answer[1]
                            number += 1
                            if answer[1]:
                                jobs.append(answer[0])
                        if not completed:
                            failures.append(f"{name} {source} {when}: no run completes")
                        for job, hit, call, wrong in pool.imap_unordered(one_point, jobs, 4):
                            points += hit
                            if wrong:
                                failures.append(f"{name}, {source} call {job[6]} ({call}), {when}: {wrong}")
                                print(f"WRONG {failures[-1]}\n", flush=True)
                    total += points
                    print(f"{name:12} {source:5}  {calls:4} calls, {points:4} points, {time.monotonic() - begun:6.1f} s", flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"{total} points ({mode}), {len(failures)} wrong, {time.monotonic() - begun:.0f} s")
    if mode == "kill" and total * STRIDE < 100 and "KM_CRASH_ONLY" not in os.environ:
        print("fewer than 100 points: the loop does not see the program")
        return 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
