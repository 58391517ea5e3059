"""Seconds that an import takes on top of what a file of its kind has imported already."""

import json
import sys
import time

base, measured = sys.argv[1:]
exec(base)
start = time.perf_counter()
exec(measured)
print(json.dumps(time.perf_counter() - start))
