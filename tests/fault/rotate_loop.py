"""Rotation disturbed at every point, then run again.

    rotate_loop.py kill     SIGKILL before and after every C_ call, and before and after each of kmtool's own file calls
    rotate_loop.py fail     five CKR codes from every C_ call; EIO from each file call
    rotate_loop.py hsm      SIGKILL at each system call that writes (strace), SoftHSM's own among them, on an embedded home

Bundles stand in the catalog by absolute path, so each worker has a place of its own that is put back before each point. After
a point: every bundle file is whole, doctor --repair (or simply the same command again) mends, the command succeeds, and then
each key has one active version, every bundle verifies and restores what the token has, nothing depends on the old KEK, and
catalog and token hold the same.

KM_CRASH_STRIDE (default 1), KM_CRASH_ONLY, KM_CRASH_DIR as in crash_loop.py.
"""

import collections
import json
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import crash_loop
from crash_loop import STRIDE, WORKERS, Place, Wrong, disturb, plain, require
import harness

COMMANDS = {
    "rotate-kek": ["rotate", "root", "--rewrap-all"],
    "rotate": ["rotate", "cargo"],
    "rotate-backup": ["rotate", "born", "--backup", "{out}/born2.kmb"],
    "destroy": ["state", "old", "destroy", "--reason", "a test", "--yes"],
}
CODES = ("30", "32", "b3", "101", "31")  # DEVICE_ERROR, DEVICE_REMOVED, SESSION_HANDLE_INVALID, USER_NOT_LOGGED_IN, DEVICE_MEMORY
WRITING = ("write", "ftruncate", "unlink", "rename")  # the system calls by which SoftHSM changes its files
place = base = pristine = None  # of this worker


class Embedded(Place):
    """A home with its own token; the strace mode needs no forwarding module."""

    def __init__(self, folder):
        super().__init__(folder)
        for name in ("SOFTHSM2_CONF", "KMFORWARD_MODULE", "KMTOOL_PIN_SOURCE"):
            self.env.pop(name)

    def objects(self):
        env = dict(self.env, SOFTHSM2_CONF=str(self.home / "softhsm2.conf"))
        config = json.loads((self.home / "config.json").read_text())
        result = harness.run_program([harness.LISTER, config["module"], "", config["token"]["label"], self.home / "token.pin", "list"], env)
        if result.code != 0:
            raise AssertionError(str(result))
        return [json.loads(line) for line in result.out.splitlines()]


def fill(here):
    here.must("gen", "root", "--role", "kek")
    here.must("gen", "cargo", "--role", "data", "--exportable", "--count", "1")
    here.must("gen", "tags", "--role", "mac", "--exportable")
    here.must("gen", "pair", "--role", "sign", "--exportable", "--waive", "G-SEALED=a test of pairs")
    here.must("gen", "old", "--role", "data")
    here.must("gen", "born", "--role", "data", "--backup", "{out}/born.kmb", "--kek", "root")
    here.must("wrap", "cargo", "tags", "--kek", "root", "--out", "{out}/one.kmb")
    here.must("wrap", "cargo", "pair", "--kek", "root", "--out", "{out}/two.kmb")
    here.must("doctor")


def start_worker(root, mode):
    """Prepares this worker's place and a copy to put it back from."""
    global place, base, pristine
    folder = pathlib.Path(root) / f"worker-{os.getpid()}"
    if mode == "hsm":
        place = Embedded(folder)
        place.dir.mkdir()
        place.out.mkdir(mode=0o700)
        place.must("init", "--embedded")
    else:
        place = Place(folder)
        place.dir.mkdir()
        harness.SoftToken(place.hsm)
        place.out.mkdir(mode=0o700)
        place.must("init", "--module", harness.FORWARD, "--token-label", harness.TOKEN_LABEL)
    fill(place)
    anchor = json.loads((place.home / "config.json").read_text())["home_id"].replace("-", "")
    known = {key["id"] for key in place.keys()}
    signers = collections.Counter((o["class"], o["label"], plain(o["id"])) for o in place.objects() if plain(o["id"]) not in known and plain(o["id"]) != anchor)
    base = {"anchor": anchor, "signers": signers}
    pristine = folder.with_name(folder.name + "-pristine")
    shutil.copytree(place.dir, pristine)


def put_back():
    shutil.rmtree(place.dir)
    shutil.copytree(pristine, place.dir)


def bundles():
    return sorted(place.out.glob("*.kmb"))


def check_files():
    """Before any repair: a file under a final name is whole, by the signature alone."""
    for path in bundles():
        result = place.run("verify", path, "--signer", place.home / "signers/document.pem", "--no-token")
        require(result.code == 0, f"not whole: {result}")


def check_all(name, mode):
    keys = place.keys()
    active = collections.Counter(key["name"] for key in keys if key["state"] == "active")
    for key in ("root", "cargo", "tags", "pair", "born"):
        require(active[key] == 1, f"{active[key]} active versions of {key}")
    if name == "rotate-kek":
        require(place.must("bundles", "--depends-on", "root@1", "--json").json()["bundles"] == [], "a bundle depends on root@1")
    for path in bundles():
        require(place.run("verify", path, "--json").json()["seals"] == ["ok"], f"{path} does not verify")
        drill = place.must("unwrap", path, "--check")
        require("compared with the token" in drill.out and "0 compared" not in drill.out, str(drill))
    check_token(keys, mode)
    # A copy of token.object that was being written is swept a minute later.
    left = [str(path) for path in place.dir.rglob("*kmtmp*") if not path.name.startswith(".token.object.copy")]
    require(not left, f"left behind: {left}")


def remnants(objects):
    """What SoftHSM leaves of an object whose file it was rewriting: no label, no id, not even a class. Of no use and no harm."""
    return [item for item in objects if (item["class"], item["label"], item["id"]) == ("data", "", "")]


def check_token(keys, mode):
    catalog = collections.Counter()
    for key in keys:
        if key["state"] != "destroyed":
            for kind in crash_loop.CLASSES[key["role"]]:
                catalog[(kind, key["label"], key["id"])] += 1
    token, anchors = collections.Counter(), 0
    objects = place.objects()
    left = remnants(objects) if mode == "hsm" else []
    for item in objects:
        if item in left:
            continue
        if plain(item["id"]) == base["anchor"]:
            anchors += 1
        else:
            token[(item["class"], item["label"], plain(item["id"]))] += 1
    require(token - base["signers"] == catalog, f"only on the token: {token - base['signers'] - catalog}; only in the catalog: {catalog - token}")
    require(base["signers"] - token == collections.Counter(), "a signer is lost")
    require(1 <= anchors <= 2, f"{anchors} anchor objects")


def run_again(name, number):
    """doctor --repair, or at once the command; twice is allowed where the first finishes what the disturbed one had decided."""
    if number % 2 == 0:
        repaired = place.run("doctor", "--repair", "--json")
        require(repaired.code == 0 and repaired.json()["healthy"], f"doctor --repair: {repaired}")
    if name == "destroy":
        state = {key["label"]: key["state"] for key in place.keys()}["old@1"]
        if state == "destroyed":
            return require(place.run("doctor", "--repair").code == 0, "doctor --repair")
    words = COMMANDS[name] + (["--force"] if name == "rotate-backup" else [])
    result = place.run(*words)
    require(result.code == 0, f"again: {result}")


def one_point(job):
    mode, name, source, when, number = job
    call, losses = "", []
    try:
        put_back()
        if mode == "hsm":
            reached, losses = killed_by_strace(name, source, number)
        else:
            counts = place.dir / "count"
            moment, _, code = when.partition(" ")
            env = disturb("kill" if mode == "kill" else "fail", source, moment, number)
            if "KMFORWARD_FAIL_RV" in env:
                env["KMFORWARD_FAIL_RV"] = code or CODES[number % len(CODES)]
            env["KMFORWARD_COUNT_FILE" if source == "token" else "KILLFS_COUNT_FILE"] = str(counts)
            result = place.run(*COMMANDS[name], **env)
            calls, call = harness.counter_of(counts)
            counts.unlink()
            reached = calls >= number
            if mode == "kill":
                require(result.code == (-9 if reached else 0), f"the command: {result}")
            else:
                require(0 <= result.code and (result.code != 70 or not reached), f"the command: {result}")
        check_files()
        run_again(name, number)
        check_all(name, mode)
        if mode == "hsm":
            losses += ["remnant"] * len(remnants(place.objects()))
        return job, reached, call, None, losses
    except (Wrong, AssertionError, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        return job, True, call, f"{type(error).__name__}: {error}", losses


def killed_by_strace(name, call, number):
    """Kills at the Nth system call of this name; what only SoftHSM can lose is mended as its users would, and counted. (One name at a
    time: strace counts each by itself, and with several the Nth of one would hide the Nth of the others.)"""
    words = [str(w).format(out=place.out, dir=place.dir) for w in COMMANDS[name]]
    inject = f"inject={call}:signal=SIGKILL:when={number}"
    result = harness.run_program(["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject,
                                  harness.BINARY, *words], place.env, timeout=120)
    losses = [path.name for path in place.home.glob("token/*/*.object") if path.stat().st_size == 0]
    if losses:
        place.run("doctor", "--repair")
    return result.code != 0, losses


def points_of(pool, mode, name, source, when):
    """Every point from 1 until a run completes."""
    number, hits, wrong, lost, ended = 1, 0, [], collections.Counter(), False
    while not ended:
        jobs = [(mode, name, source, when, n) for n in range(number, number + 8 * STRIDE * WORKERS, STRIDE)]
        number += 8 * STRIDE * WORKERS
        for job, reached, call, error, losses in pool.imap_unordered(one_point, jobs):
            hits += reached
            ended = ended or not reached
            lost.update(loss if loss in ("token.object", "remnant") else "an object" for loss in losses)
            if error:
                wrong.append(f"{name}, {source} call {job[4]} ({call}), {when}: {error}")
                print(f"WRONG {wrong[-1]}\n", flush=True)
        if number > 5000:
            wrong.append(f"{name} {source} {when}: no run completes")
            break
    return hits, wrong, lost


def moments(mode, source):
    """Before or after the call; a failing call with each code where every point is wanted, else with one of them in turn."""
    if mode == "fail" and source == "token":
        return [f"{moment} {code}" for moment in ("before", "after") for code in CODES] if STRIDE == 1 else ("before", "after")
    return ("before", "after") if mode == "kill" else ("before",)


def main():
    mode = sys.argv[1] if len(sys.argv) > 1 else "kill"
    only = [name for name in os.environ.get("KM_CRASH_ONLY", "").split(",") if name] or list(COMMANDS)
    parent = os.environ.get("KM_CRASH_DIR") or ("/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    root = pathlib.Path(tempfile.mkdtemp(prefix="kmtool-rotate-", dir=parent))
    begun, total, failures, lost = time.monotonic(), 0, [], collections.Counter()
    try:
        with multiprocessing.Pool(WORKERS, start_worker, (str(root), mode)) as pool:
            for name in only:
                for source in WRITING if mode == "hsm" else ("token", "files"):
                    for when in moments(mode, source):
                        hits, wrong, losses = points_of(pool, mode, name, source, when)
                        total += hits
                        failures += wrong
                        lost += losses
                        print(f"{name:14} {source:9} {when:10} {hits:4} points, {time.monotonic() - begun:6.1f} s", flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if lost:
        print("left empty or half-written by SoftHSM: " + ", ".join(f"{what} {count} times" for what, count in sorted(lost.items())))
    print(f"{total} points ({mode}), {len(failures)} wrong, {time.monotonic() - begun:.0f} s")
    if mode == "kill" and total * STRIDE < 100 and "KM_CRASH_ONLY" not in os.environ:
        print("fewer than 100 points: the loop does not see the program")
        return 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
