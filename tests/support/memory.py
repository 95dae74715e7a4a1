"""How much memory a process had at most: `python -m support.memory MODULE` runs a module and prints it at its end.

The `ru_maxrss` that `wait4` gives for a child begins with the memory of the process that started it, which is large
where pytest did. So it is started from here, a small process.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

_PRINTED = re.compile(r"^peak memory: (\d+) MiB$", flags=re.MULTILINE)


def own_peak() -> int:
    """MiB that this process had at most so far; 0 where the kernel does not say."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found.group(1)) // 1024 if found else 0


def say(mebibytes: int) -> None:
    """Print a peak for `printed`."""
    print(f"\npeak memory: {mebibytes} MiB", flush=True)


def printed(output: str) -> int:
    """The MiB that the last process has printed in `output`."""
    return int(_PRINTED.findall(output)[-1])


def main(arguments: list[str]) -> int:
    """Run the module, print its peak, and end with its exit code."""
    process = subprocess.Popen([sys.executable, "-m", *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    say(usage.ru_maxrss // 1024)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
