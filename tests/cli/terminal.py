"""Runs a program on a terminal of its own, and types after each prompt: terminal.py KEYS… -- PROGRAM…

Standard output: all that the terminal showed. The exit code is the program's.
"""

import os
import pty
import sys

split = sys.argv.index("--")
keys, program = sys.argv[1:split], sys.argv[split + 1 :]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program[0], program)
shown = b""
while True:
    try:
        part = os.read(terminal, 4096)
    except OSError:
        break
    if not part:
        break
    shown += part
    if shown.endswith(b": ") and keys:
        os.write(terminal, keys.pop(0).encode().decode("unicode_escape").encode("latin-1"))
sys.stdout.write(shown.decode())
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
