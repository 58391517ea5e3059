"""What a call takes, for each contender: pyperf's own processes and rounds."""

import pyperf
from contenders import CONTENDERS


def pass_on(command, options):  # type: ignore[no-untyped-def]
    command += ["--base-url", options.base_url]


runner = pyperf.Runner(add_cmdline_args=pass_on)
runner.argparser.add_argument("--base-url", required=True)
options = runner.parse_args()
for name, contender in CONTENDERS.items():
    runner.bench_func(name, contender(options.base_url))
