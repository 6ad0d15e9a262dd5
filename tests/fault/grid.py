"""Every subcommand on a token, or a disk, that does each wrong thing at each of its calls. What must hold stands in grid_jobs.py.

    grid.py codes    a CKR from the Nth call, not made or made and its success withheld
    grid.py lies     the Nth call answers lengths, counts, handles or octets that are not true (lies.hpp)
    grid.py losses   before the Nth call the sessions, the login or the token are gone
    grid.py hang     the Nth call never returns, or all are slow: SIGTERM or SIGINT asks for a clean stop, a second one ends it
    grid.py files    the Nth write, fsync, rename or unlink fails: disk full, once or from then on, or an I/O error
    grid.py busy     another process holds the database for a while, and for longer than anybody waits

KM_GRID_POINTS (default 200): so many points, spread over all jobs and kinds of call, the same in each run; `each`: every call of every
job, with one of the ways in turn; `all`: each of them in every way (hours).
KM_GRID_CODES: 5 (default) or all. KM_GRID_ONLY: names of jobs, with commas between. KM_CRASH_DIR: where the copies are made.
"""

import collections
import hashlib
import multiprocessing
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib

import crash_loop
import harness
from grid_jobs import JOBS, Place, Wrong, check, hold, outputs, prepare, run

POINTS = os.environ.get("KM_GRID_POINTS", "200")
CODES = {"5": (0x30, 0x32, 0xB3, 0x101, 0x31)}  # DEVICE_ERROR, DEVICE_REMOVED, SESSION_HANDLE_INVALID, USER_NOT_LOGGED_IN, DEVICE_MEMORY
CODES["all"] = CODES["5"] + (0x02, 0x05, 0x06, 0x07, 0x10, 0x11, 0x12, 0x13, 0x20, 0x21, 0x40, 0x50, 0x54, 0x60, 0x63, 0x68, 0x6A, 0x70, 0x71, 0x82, 0x90, 0x91,
                             0xA0, 0xA4, 0xB0, 0xB1, 0xC0, 0xD0, 0xD1, 0xE0, 0x100, 0x110, 0x150, 0x190, 0x80000001)
ANSWERING = {"C_GetInfo", "C_GetSlotList", "C_GetSlotInfo", "C_GetTokenInfo", "C_GetMechanismList", "C_GetMechanismInfo", "C_OpenSession", "C_GetSessionInfo",
             "C_CreateObject", "C_CopyObject", "C_GetAttributeValue", "C_FindObjects", "C_Encrypt", "C_Decrypt", "C_Sign", "C_SignFinal", "C_GenerateKey",
             "C_GenerateKeyPair", "C_WrapKey", "C_UnwrapKey", "C_DeriveKey", "C_GenerateRandom"}
INFOS = {"C_GetInfo", "C_GetSlotInfo", "C_GetTokenInfo", "C_GetMechanismInfo", "C_GetSessionInfo", "C_GenerateRandom"}
HANDLES = {"C_OpenSession", "C_CreateObject", "C_CopyObject", "C_GenerateKey", "C_GenerateKeyPair", "C_UnwrapKey", "C_DeriveKey"}
place = base = pristine = None  # of this worker


# -- the points ----------------------------------------------------------------------------------------------------------


def variants(mode, call):
    if mode == "codes":
        return [(code, when) for code in CODES[os.environ.get("KM_GRID_CODES", "5")] for when in ("before", "after")]
    if mode == "lies":
        lies = ("nothing", "cut", "garbage") + (() if call in INFOS else ("huge", "most") if call in HANDLES else ("long", "huge", "most", "full"))
        items = (0, 1, 2, 5) if call == "C_GetAttributeValue" else (0, 2) if call == "C_GenerateKeyPair" else (0,)
        return [(lie, item) for lie in lies for item in items] if call in ANSWERING else []
    if mode == "losses":
        return ["sessions", "login", "token"]
    if mode == "hang":
        return ["hang", "slow"]
    return ["full", "stays full", "broken"]


def disturbance(mode, number, variant):
    if mode == "codes":
        return {"KMFORWARD_FAIL_AT": str(number), "KMFORWARD_FAIL_RV": f"{variant[0]:x}", "KMFORWARD_FAIL_WHEN": variant[1]}
    if mode == "lies":
        return {"KMFORWARD_LIE_AT": str(number), "KMFORWARD_LIE": variant[0], "KMFORWARD_LIE_ITEM": str(variant[1])}
    if mode == "losses":
        return {"KMFORWARD_LOSE_AT": str(number), "KMFORWARD_LOSE": variant}
    if mode == "hang":
        return {"KMFORWARD_HANG_AT": str(number)} if variant == "hang" else {"KMFORWARD_DELAY_MS": "3"}
    return {"KILLFS_FAIL_FROM" if variant == "stays full" else "KILLFS_FAIL_AT": str(number), "KILLFS_ERRNO": "5" if variant == "broken" else "28"}


def trace_of(name, mode):
    """The calls of an undisturbed run, by name."""
    start(name)
    try:
        trace = place.dir / "trace"
        if mode == "files":
            result = run(place, JOBS[name], LD_PRELOAD=harness.KILLFS, KILLFS_COUNT_FILE=str(trace))
            calls = ["file"] * harness.counter_of(trace)[0]
        else:
            result = run(place, JOBS[name], KMFORWARD_TRACE_FILE=str(trace))
            calls = trace.read_text().split() if trace.exists() else []
        trace.unlink(missing_ok=True)
        if name != "verify-bad" and result.code != 0:
            raise Wrong(f"{name} undisturbed: {result}")
        finish(name, result, 0, "")
        return name, calls, None
    except (Wrong, AssertionError, OSError, ValueError, subprocess.TimeoutExpired) as error:
        put_back()
        return name, [], f"{name}: {type(error).__name__}: {error}"


def chosen(mode, traces):
    """All points, or POINTS of them: jobs in turn, within a job by a number made from the point's name."""
    by_job = {}
    for name, calls in traces.items():
        points = []
        for number, call in enumerate(calls, 1):
            ways = variants(mode, call)
            points += [(mode, name, number, call, way) for i, way in enumerate(ways) if POINTS != "each" or i == (number + zlib.crc32(name.encode())) % len(ways)]
        by_job[name] = sorted(points, key=lambda p: zlib.crc32(repr(p[1:]).encode()))
    everything = sum(len(points) for points in by_job.values())
    most = everything if POINTS in ("each", "all") else min(int(POINTS), everything)
    out, turn = [], 0
    while len(out) < most:
        out += [points[turn] for points in by_job.values() if turn < len(points)]
        turn += 1
    return out[:most], everything


# -- one point -----------------------------------------------------------------------------------------------------------


def start_worker(root, ready, known):
    global place, base, pristine
    for name, words in known["words"].items():
        JOBS[name].words = words
    base, pristine = known["base"], pathlib.Path(ready)
    place = Place(pristine).copy_to(pathlib.Path(root) / f"worker-{os.getpid()}")


def put_back():
    global place
    folder = place.dir
    shutil.rmtree(folder)
    place = Place(pristine).copy_to(folder)


def start(name):
    JOBS[name].setup(place)


def fingerprint():
    """Of everything that home and token are made of; an empty write-ahead log and its index are nothing."""
    digest = hashlib.sha256()
    for root in (place.home, place.hsm):
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.name.endswith(("-shm", ".lock")) and not (path.name.endswith("-wal") and path.stat().st_size == 0):
                digest.update(str(path.relative_to(root)).encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


def finish(name, result, number, told):
    """Holds result, home and token to what must be; puts the place back where it was changed."""
    job = JOBS[name]
    try:
        hold(job, place, result, told)
        if job.changing or fingerprint() != untouched():
            check(place, base, job, number)
        else:
            left = [str(path) for path in place.dir.rglob("*") if "kmtmp" in path.name]
            extra = set(place.out.iterdir()) - outputs(place, job)
            if left or extra:
                raise Wrong(f"left behind: {left or extra}")
    except BaseException:
        put_back()
        raise
    if job.changing or fingerprint() != untouched():
        put_back()
    for path in place.out.iterdir():
        path.unlink()


def untouched():
    global untouched_digest
    if untouched_digest is None:
        here = Place(pristine)
        mine, globals()["place"] = place, here
        untouched_digest = fingerprint()
        globals()["place"] = mine
    return untouched_digest


untouched_digest = None


def run_stopped(job, number, variant, env, counts):
    """SIGTERM when the Nth call is reached; a second one where the call hangs."""
    words = [str(w).format(out=place.out, dir=place.dir, fingerprint=place.fingerprint()) for w in job.words]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        given.write(job.stdin.encode())
        given.seek(0)
        child = subprocess.Popen([harness.BINARY, *words], env=dict(place.env, **env), stdin=given, stdout=out, stderr=err)
        try:
            while child.poll() is None and not (counts.exists() and counts.stat().st_size and harness.counter_of(counts)[0] >= number):
                time.sleep(0.001)
            child.send_signal(signal.SIGINT if number % 2 else signal.SIGTERM)
            asked = time.monotonic()
            while variant == "hang" and child.poll() is None and time.monotonic() < asked + 20:  # two that come as one count as one
                time.sleep(0.03)
                child.send_signal(signal.SIGTERM)
            code = child.wait(timeout=20)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        out.seek(0), err.seek(0)
        return harness.Result([harness.BINARY, *words], code, out.read().decode(), err.read().decode())


def one_point(point):
    mode, name, number, call, variant = point
    job, counts = JOBS[name], place.dir / "count"
    reached = False
    try:
        start(name)
        env = disturbance(mode, number, variant)
        if mode == "files":
            env |= {"LD_PRELOAD": harness.KILLFS, "KILLFS_COUNT_FILE": str(counts)}
            if variant == "stays full":  # what is there can still be removed
                env |= {"KILLFS_NAMES": "write,writev,pwrite,pwrite64,fsync,fdatasync,fallocate,ftruncate,ftruncate64,link,linkat"}
        else:
            env |= {"KMFORWARD_COUNT_FILE": str(counts)}
        result = run_stopped(job, number, variant, env, counts) if mode == "hang" else run(place, job, **env)
        reached = counts.exists() and harness.counter_of(counts)[0] >= number
        if mode == "lies":
            reached = int.from_bytes(counts.read_bytes()[56:64], "little") > 0
        counts.unlink(missing_ok=True)
        stopped = mode == "hang" and result.code in (-signal.SIGTERM, -signal.SIGINT)
        if stopped or "did not let kmtool log in" in result.err:  # the watch over libp11's login ends the process as a kill does
            for path in place.out.glob(".*.kmtmp") if job.files else ():
                path.unlink()  # what it had begun to write, private and under no name of anybody's: as after any kill
        if stopped:
            result.code = 75  # ended by the second one, or before the first could be asked: as after a kill
            result.out, result.err = "", "error: " + result.err.replace("error: ", "")
        if reached and result.code == 70 and (mode in ("losses", "files") or (mode == "codes" and variant[0] in CODES["5"])):
            raise Wrong(f"a fault of the token or the disk is called kmtool's own: {result}")
        told = call if mode == "lies" and variant[0] in ("garbage", "nothing", "cut") else ""
        finish(name, result, number, told)
        return point, reached, None
    except (Wrong, AssertionError, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        put_back()
        return point, True, f"{type(error).__name__}: {error}"


# -- another process holds the database ----------------------------------------------------------------------------------


def one_busy(point):
    mode, name, number, call, variant = point
    try:
        start(name)
        holder = sqlite3.connect(place.home / "journal.db", isolation_level=None, timeout=5, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")
        job = JOBS[name]
        words = [str(w).format(out=place.out, dir=place.dir, fingerprint=place.fingerprint()) for w in job.words]
        child = subprocess.Popen([harness.BINARY, *words], env=place.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if variant == "a while":
            time.sleep(0.6)
            holder.execute("ROLLBACK")
        out, err = child.communicate(job.stdin.encode(), timeout=120)
        holder.close()
        result = harness.Result(words, child.returncode, out.decode(), err.decode())
        wanted = {0} if variant == "a while" else {0, 75}
        if name != "verify-bad" and result.code not in wanted:
            raise Wrong(f"the database was held for {variant}: {result}")
        finish(name, result, number, "")
        return point, True, None
    except (Wrong, AssertionError, OSError, ValueError, KeyError, sqlite3.Error, subprocess.TimeoutExpired) as error:
        put_back()
        return point, True, f"{type(error).__name__}: {error}"


# -- all of them ---------------------------------------------------------------------------------------------------------


def jobs_of(mode):
    only = [name for name in os.environ.get("KM_GRID_ONLY", "").split(",") if name]
    names = only or [name for name, job in JOBS.items() if mode not in ("files", "busy") or job.changing or job.files]
    return names


def main():
    mode = sys.argv[1] if len(sys.argv) > 1 else "codes"
    parent = os.environ.get("KM_CRASH_DIR") or ("/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    root = pathlib.Path(tempfile.mkdtemp(prefix="kmtool-grid-", dir=parent))
    begun, failures, hits = time.monotonic(), [], collections.Counter()
    try:
        ready = prepare(root / "ready")
        known = {"base": crash_loop.base_of(ready), "words": {name: job.words for name, job in JOBS.items()}}
        with multiprocessing.Pool(crash_loop.WORKERS, start_worker, (str(root), str(ready.dir), known)) as pool:
            if mode == "busy":
                points = [(mode, name, 0, "", variant) for variant in ("ever", "a while") for name in jobs_of(mode)]
                everything = len(points)
                if POINTS not in ("each", "all"):  # one that waits for ever waits a minute
                    points = [point for point in points if point[4] != "ever" or point[1] in ("rotate", "encrypt")]
            else:
                traces = {}
                for name, calls, wrong in pool.starmap(trace_of, [(name, mode) for name in jobs_of(mode)], 1):
                    traces[name] = calls
                    if wrong:
                        failures.append(wrong)
                        print(f"WRONG {wrong}\n", flush=True)
                points, everything = chosen(mode, traces)
                print(f"{len(traces)} jobs, {sum(map(len, traces.values()))} calls, {everything} points, {time.monotonic() - begun:.0f} s", flush=True)
            for point, reached, wrong in pool.imap_unordered(one_busy if mode == "busy" else one_point, points, 1):
                hits[point[1]] += reached
                if wrong:
                    failures.append(f"{point[1]}, call {point[2]} ({point[3]}), {point[4]}: {wrong}")
                    print(f"WRONG {failures[-1]}\n", flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    total = sum(hits.values())
    for wrong in failures:
        print("WRONG", wrong.splitlines()[0][:300])
    print(f"{total} points ({mode}, of {everything}) in {len(hits)} jobs, {len(failures)} wrong, {time.monotonic() - begun:.0f} s")
    if total < len(points) / 2:
        print("fewer than half of the points were reached: the grid does not see the program")
        return 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
