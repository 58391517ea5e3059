"""Seconds a call takes, for each contender and round: block after block in one process, in changing order."""

import json
import sys
import time

from contenders import CONTENDERS

base_url, rounds, calls, *names = sys.argv[1:]
made = [(name, CONTENDERS[name](base_url)) for name in names]
seconds: dict[str, list[float]] = {name: [] for name in names}
for number in range(-1, int(rounds)):
    for name, call in made[number % len(made) :] + made[: number % len(made)]:
        start = time.perf_counter()
        for _ in range(int(calls)):
            call()
        if number >= 0:  # the one before is the warm-up
            seconds[name].append((time.perf_counter() - start) / int(calls))
print(json.dumps(seconds))
