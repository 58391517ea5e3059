"""Import, build a client, end one stream; the most memory that took, in MiB. The caller takes the time."""

import json
import resource
import sys

from contenders import CONTENDERS

contender, base_url = sys.argv[1:]
CONTENDERS[contender](base_url)()
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
