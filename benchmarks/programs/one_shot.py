"""Import, build a client, end one stream."""

import sys

from contenders import CONTENDERS

contender, base_url = sys.argv[1:]
CONTENDERS[contender](base_url)()
