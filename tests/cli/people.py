"""Operator and witness at a pseudo-terminal. Standard library only."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time


class Room:
    """A program with a terminal of its own. `answers`: what is typed at which question."""

    ANSWERS = {
        "Operator (name): ": "Ada Example",
        "Witness (name): ": "Bert Example",
        "Is this the approved runbook? [y/n] ": "y",
        "Run it? [y/n] ": "y",
        "Operator's initials: ": "AE",
        "Witness's initials: ": "BE",
    }

    def __init__(self, words, env, cwd):
        master, slave = pty.openpty()
        self.master = master

        def take_terminal():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen([str(w) for w in words], env=env, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal, close_fds=True)
        os.close(slave)
        self.seen = ""
        self.rest = ""

    def read(self, seconds):
        """More of what is shown; False at the end."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += data.decode("utf-8", "replace").replace("\r\n", "\n")
        self.rest += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)

    def until(self, *texts, seconds=60):
        """Waits until one of these is shown; which."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            places = [(self.rest.find(text), text) for text in texts if text in self.rest]
            if places:
                place, text = min(places)
                self.rest = self.rest[place + len(text):]
                return text
            if not self.read(0.2) and not any(text in self.rest for text in texts):
                raise AssertionError(f"ended without {texts}:\n{self.seen}")
        raise AssertionError(f"nothing of {texts} within {seconds} s:\n{self.seen}")

    def say(self, text):
        os.write(self.master, text.encode() + b"\n")

    def conduct(self, answers=None, stop_at=None, count=1):
        """Answers every question until the program ends, or until `stop_at` was shown for the `count`-th time."""
        answers = dict(self.ANSWERS, **(answers or {}))
        while True:
            wanted = [*answers, *([stop_at] if stop_at else [])]
            try:
                found = self.until(*wanted)
            except AssertionError:
                if self.process.poll() is None and self.alive():
                    raise
                return self.end()
            if found == stop_at:
                count -= 1
                if count == 0:
                    return None
                if found not in answers:
                    continue
            answer = answers[found]
            self.say(answer.pop(0) if isinstance(answer, list) else answer)

    def alive(self):
        time.sleep(0.2)
        return self.process.poll() is None

    def end(self):
        while self.read(0.5) and self.process.poll() is None:
            pass
        while self.read(0.1) and select.select([self.master], [], [], 0)[0]:
            pass
        code = self.process.wait(60)
        os.close(self.master)
        return code

    def kill(self, command_too=True):
        """kill -9, as a power cut would end it: whatever it started goes with it. Or only the program itself."""
        (os.killpg if command_too else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.master)
